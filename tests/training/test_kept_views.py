"""Second views kept on disk: the same to the bit, made once, and never another run's."""

import pytest
import torch

from helpers.small_encoders import random_model
from ipr_core.config import recommended
from ipr_core.training.kept_views import KeptViews, kept_views
from ipr_core.training.loop import refine
from ipr_core.training.model import build_model
from ipr_core.training.session import Session
from ipr_core.training.views import Views

CPU = torch.device("cpu")
REQUESTS = [([3, 0, 11], True), ([5, 6], False), ([1, 2], True)]
AUGMENTED = [rows for rows, augmented in REQUESTS if augmented]


@pytest.fixture
def stem():
    """A wholly frozen encoder's: one vector an utterance.  It counts the passes."""

    def stem(waves, lengths):
        stem.passes += 1
        vectors = torch.stack([waves.mean(dim=1), waves.std(dim=1)], dim=1)
        return vectors[:, None], torch.ones_like(lengths)

    stem.passes = 0
    return stem


@pytest.fixture
def epoch(stem, data, tiny, tmp_path):
    """Ask for an epoch's second views as a session does."""

    def epoch(number=2, basis="an encoder", requests=REQUESTS, share=False):
        views = Views(stem, data, tiny.audio, (0, 0), CPU, share, kept=KeptViews(basis, data, tmp_path))
        stem.passes = 0
        views.expect(requests, number)
        inputs = [views.augmented(rows, number) for rows, augmented in requests if augmented]
        views.keep_()
        return inputs

    return epoch


def equal(first, second):
    return all(a.equal(b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True))


def test_an_epoch_is_made_once_and_recalled_to_the_bit(epoch, stem, tmp_path):
    first_views = epoch()
    assert stem.passes == len(AUGMENTED)
    assert len(list(tmp_path.glob("*.npy"))) == 1
    assert equal(epoch(), first_views)
    assert stem.passes == 0
    assert equal(epoch(share=True), first_views)
    assert stem.passes == 0


@pytest.mark.parametrize(
    "other", [{"number": 3}, {"basis": "another encoder"}, {"requests": [([3, 11, 0], True), ([1, 2], True)]}], ids=str
)
def test_other_views_are_not_recalled(epoch, stem, other):
    epoch()
    epoch(**other)
    assert stem.passes == len(AUGMENTED)


def test_a_damaged_file_is_made_again(epoch, stem, tmp_path):
    first_views = epoch()
    (file,) = tmp_path.glob("*.npy")
    for content in (file.read_bytes()[:-20], file.read_bytes()[:150] + b"x" + file.read_bytes()[151:], b""):
        file.write_bytes(content)
        assert equal(epoch(), first_views)
        assert stem.passes == len(AUGMENTED)


def test_an_epoch_that_is_not_made_to_its_end_is_not_kept(stem, data, tiny, tmp_path):
    views = Views(stem, data, tiny.audio, (0, 0), CPU, kept=KeptViews("an encoder", data, tmp_path))
    views.expect(REQUESTS, 2)
    views.augmented(AUGMENTED[0], 2)
    views.keep_()
    views.expect(REQUESTS, 3)
    views.augmented(AUGMENTED[1], 3)
    views.augmented([7], 3)  # which nothing expects
    views.keep_()
    assert not list(tmp_path.glob("*.npy"))


def test_a_cache_that_cannot_be_written_keeps_nothing(stem, data, tiny, tmp_path):
    (tmp_path / "file").touch()
    views = Views(stem, data, tiny.audio, (0, 0), CPU, kept=KeptViews("an encoder", data, tmp_path / "file"))
    views.expect(REQUESTS, 2)
    assert all(len(views.augmented(rows, 2)[0]) == len(rows) for rows in AUGMENTED)
    views.keep_()


def test_a_session_keeps_the_views_of_every_epoch_of_the_refinement(frozen, data, tmp_path, monkeypatch):
    random_model("wav2vec2-base").save_pretrained(tmp_path / "encoder")
    monkeypatch.setenv("IPR_CACHE", str(tmp_path / "cache"))
    session = Session(frozen.replace(encoder=str(tmp_path / "encoder")), data)
    list(refine(session))
    assert len(list((tmp_path / "cache" / "second_views").glob("*.npy"))) == frozen.training.epochs - 1


def test_nothing_is_kept_of_an_encoder_that_is_trained_or_has_no_file(data):
    config = recommended(encoder="compact", train_features=True, embedding=8)
    assert kept_views(config, build_model(config), data) is None
    frozen = recommended(encoder="compact", frozen_layers=-1, embedding=8)
    assert kept_views(frozen, build_model(frozen), data) is None  # new weights in every run


def test_what_comes_after_the_vectors_does_not_matter(frozen, data, tmp_path, monkeypatch):
    monkeypatch.setattr("ipr_core.training.kept_views.encoder_digest", lambda config: "an encoder")
    monkeypatch.setenv("IPR_CACHE", str(tmp_path))
    key, view = (0, 3, 5), (torch.rand(2, 1, 4), torch.ones(2, dtype=torch.long))

    def views_of(**settings) -> KeptViews:
        config = frozen.replace(**settings)
        kept = kept_views(config, build_model(config), data)
        assert kept is not None
        return kept

    views_of().write({key: view})
    for settings in ({"centring": "speaker"}, {"embedding": 16, "dropout": 0.5, "standardise": False}):
        assert equal(views_of(**settings).read([key], CPU)[key], view)
    for settings in ({"pooling": "mean+deviation"}, {"layers": (0,)}, {"seed": 1}):
        assert not views_of(**settings).read([key], CPU)
