"""Both views of every utterance: what they are a function of, and that keeping them changes nothing."""

import threading

import numpy as np
import pytest
import torch

from ipr_core.training import tensor_store
from ipr_core.training import views as module
from ipr_core.training.augment import second_view, view_key
from ipr_core.training.model import build_model
from ipr_core.training.session import Session
from ipr_core.training.views import Ahead, Views

CPU = torch.device("cpu")
ROWS = [3, 0, 11]


@pytest.fixture(scope="module")
def stem(tiny):
    """The log-mel front end: the encoder is trained."""
    torch.manual_seed(0)
    return build_model(tiny).stem


@pytest.fixture(scope="module")
def make_views(stem, data, tiny):
    """Views with a random stream and other choices; the frozen encoder's, where another stem is given."""

    def make_views(seed=0, stream=0, share=False, stem=stem, block=None) -> Views:
        return Views(stem, data, tiny.audio, (seed, stream), CPU, share, block)

    return make_views


@pytest.fixture(scope="module")
def plain(make_views):
    return make_views()


def equal(a, b) -> bool:
    return all(x.equal(y) for x, y in zip(a, b, strict=True))


def without_room(monkeypatch) -> None:
    """Leave kept views no room, in memory and on disk."""
    monkeypatch.setattr(module, "BUDGET", 0)
    monkeypatch.setattr(tensor_store, "_SHARE_OF_DISK", 0)


def test_the_clean_view_is_the_stem_of_the_waves(plain, stem, data, tiny):
    rows = plain.passes()[0]
    x, n = stem(*data.waves.padded(rows, tiny.audio.max_seconds))
    assert equal(plain.clean(rows), (x, n))
    for row in ROWS:
        x, n = plain.clean([row])
        single, n_alone = stem(*data.waves.padded([row], tiny.audio.max_seconds))
        assert n.equal(n_alone)
        torch.testing.assert_close(x, single, atol=1e-5, rtol=1e-5)


def test_kept_views_are_padded_with_zeros(plain):
    x, n = plain.clean(range(20))
    assert x.shape[:2] == (20, n.max())
    for frames, count in zip(x, n, strict=True):
        assert not frames[count:].any()


def test_the_augmented_view_is_the_stem_of_the_second_view(plain, stem, data, tiny):
    waves, lengths = data.waves.padded(ROWS, tiny.audio.max_seconds)
    keys = [view_key(0, 0, 2, data.table["id"][row]) for row in ROWS]
    assert equal(plain.augmented(ROWS, 2), stem(second_view(waves, lengths, keys, tiny.audio), lengths))


def test_an_augmented_view_is_a_function_of_seed_stream_epoch_and_utterance(make_views, plain):
    first = plain.augmented(ROWS, 2)
    plain.augmented([5, 6], 1)
    assert equal(first, plain.augmented(ROWS, 2))
    assert equal(first, make_views().augmented(ROWS, 2))
    different = [
        plain.augmented(ROWS, 1),
        make_views(seed=1).augmented(ROWS, 2),
        make_views(stream=1).augmented(ROWS, 2),
    ]
    different.append(plain.clean(ROWS))
    for i, (x, n) in enumerate(different):
        assert n.equal(first[1])
        assert all(not a.equal(b) for a, b in zip(x, first[0], strict=True)), i
    torch.testing.assert_close(plain.augmented(ROWS[1:2], 2)[0][0], first[0][1, : first[1][1]], atol=1e-4, rtol=1e-4)


def test_sessions_of_different_systems_see_the_same_views(frozen, data):
    a, b = (Session(frozen.replace(system=system), data).views for system in ("baseline_augmented", "ipr"))
    assert equal(a.clean(ROWS), b.clean(ROWS))
    assert equal(a.augmented(ROWS, 1), b.augmented(ROWS, 1))


def test_sharing_changes_nothing_to_the_bit(make_views, views, plain, frozen, data):
    """The smaller part is gone through several times an epoch, an utterance each time among others."""
    for shared, single in ((make_views(share=True), plain), (views, Session(frozen, data).views)):
        batches = [np.array(rows) for rows in ([0, 1, 2], [2, 3, 40], [1, 40], [2], [0, 1, 2])]
        for _ in range(2):
            for rows in batches:
                assert equal(shared.augmented(rows, 1), single.augmented(rows, 1))


def test_a_shared_view_is_made_once(make_views, monkeypatch):
    shared = make_views(share=True)
    shared.augmented(ROWS, 1)
    monkeypatch.setattr(module, "second_view", None)  # making another one would fail
    shared.augmented(ROWS, 1)
    with pytest.raises(TypeError, match="not callable"):
        shared.augmented(ROWS, 2)


def test_without_a_budget_everything_is_computed_again_and_is_the_same(make_views, plain, stem, monkeypatch):
    without_room(monkeypatch)
    calls = []

    def count_calls(waves, lengths):
        calls.append(len(waves))
        return stem(waves, lengths)

    poor = make_views(share=True, stem=count_calls)
    for _ in range(2):
        for view, kept_view in (
            (poor.clean(ROWS), plain.clean(ROWS)),
            (poor.augmented(ROWS, 1), plain.augmented(ROWS, 1)),
        ):
            assert view[1].equal(kept_view[1])
            torch.testing.assert_close(view[0], kept_view[0], atol=1e-6, rtol=1e-6)
    assert calls[-4:] == [len(ROWS)] * 4


ASKED = [(ROWS, True), ([5, 6], False), ([1, 2], True), ([7, 8, 9], True), ([4], True)]
"""Rows and whether augmented, as a session asks for them."""


def test_what_is_made_ahead_is_the_same(make_views, plain, monkeypatch):
    """As on a GPU, but for the copies to it: several batches' second views are made at once."""
    views, read, sizes = make_views(block=5), [], []
    padded, mixed = views._data.waves.padded, module.second_view
    monkeypatch.setattr(views._data.waves, "padded", lambda rows, seconds: read.append(rows) or padded(rows, seconds))
    monkeypatch.setattr(module, "second_view", lambda waves, *rest: sizes.append(len(waves)) or mixed(waves, *rest))
    views.expect(ASKED, 2)
    view = [views.augmented(rows, 2) if augmented else views.clean(rows) for rows, augmented in ASKED]
    assert sizes == [5, 4]  # of 3 and 2, of 3 and 1
    assert read == [(3, 0, 11, 1, 2), (7, 8, 9, 4)]  # once each
    for (rows, augmented), (x, n) in zip(ASKED, view, strict=True):
        usual, n_usual = plain.augmented(rows, 2) if augmented else plain.clean(rows)
        assert n.equal(n_usual)
        torch.testing.assert_close(x, usual, atol=1e-3, rtol=1e-3)


def test_what_was_not_expected_is_made_when_it_is_asked_for(make_views, plain):
    views = make_views(block=4)
    views.expect(ASKED, 2)
    for rows, epoch in (([4], 2), (ROWS, 1), (ROWS, 2), ([10], 2), ([1, 2], 2)):
        x, n = views.augmented(rows, epoch)
        usual, n_usual = plain.augmented(rows, epoch)
        assert n.equal(n_usual)
        torch.testing.assert_close(x, usual, atol=1e-3, rtol=1e-3)


def test_clean_waves_are_read_ahead_where_none_are_kept(make_views, plain, monkeypatch):
    without_room(monkeypatch)
    views, requests = make_views(block=1), [([5, 6], False), (ROWS, False)]
    views.expect(requests, 0)
    for rows, _ in requests:
        x, n = views.clean(rows)
        assert n.equal(plain.clean(rows)[1])
        torch.testing.assert_close(x, plain.clean(rows)[0], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("share_of_memory", [0, 0.4])
def test_what_memory_has_no_room_for_lies_on_disk_and_is_the_same(make_views, plain, share_of_memory, monkeypatch):
    budget = int(share_of_memory * plain._store.size)
    monkeypatch.setattr(module, "BUDGET", budget)
    poor, rich = make_views(share=True), make_views(share=True)
    monkeypatch.setattr(poor, "_stem", None)  # nothing is passed through it again
    assert equal(poor.clean(range(40)), plain.clean(range(40)))
    monkeypatch.undo()
    for _ in range(2):
        assert equal(poor.augmented(ROWS, 1), rich.augmented(ROWS, 1))
    assert 0 <= poor._store.memory_left <= budget
    assert poor.most_bytes(epochs=3) == budget


def test_views_that_find_the_disk_full_are_made_anew_and_a_sentence_says_so(make_views, plain, monkeypatch, capsys):
    monkeypatch.setattr(module, "BUDGET", plain._store.size // 2)
    put, keys = tensor_store.TensorStore._append, []
    monkeypatch.setattr(
        tensor_store.TensorStore, "_append", lambda *args: keys.append(args) or (len(keys) < 5 and put(*args))
    )
    views = make_views()
    assert views._store.size == 0
    torch.testing.assert_close(views.clean(ROWS)[0], plain.clean(ROWS)[0], atol=1e-6, rtol=1e-6)
    lines = capsys.readouterr().err.splitlines()
    assert "Features of the encoder's frozen part: 0.0 GiB, of which 0.0 in memory, the rest on disk" in lines[0]
    assert "so they are made anew in each step; make room there, or set IPR_CACHE" in lines[1]


def test_a_long_clip_counts_as_long_as_it_is_heard(plain, data):
    assert (data.waves.lengths > 16_000).any()
    assert plain.lengths.tolist() == np.minimum(data.waves.lengths, 16_000).tolist()


def test_passes_take_every_row_once(plain, data):
    rows = np.concatenate(plain.passes())
    assert sorted(rows) == list(range(len(data.table)))
    assert [p.tolist() for p in plain.passes()] == [p.tolist() for p in plain.passes()]


# Outputs made ahead.


def test_an_output_made_ahead_is_the_one_made_at_once():
    pool = Ahead(lambda key: key * 10)
    assert pool.get(7) == 70
    pool.expect([1, 2, 3, 4])
    assert [pool.get(key) for key in (1, 2, 9, 3, 4, 4)] == [10, 20, 90, 30, 40, 40]


def test_the_next_outputs_are_made_early_and_once():
    inputs, enough = [], threading.Event()

    def make(key):
        inputs.append(key)
        if len(inputs) == 2:
            enough.set()
        return key

    pool = Ahead(make, depth=2)
    pool.expect(range(5))
    assert enough.wait(timeout=20)
    assert inputs == [0, 1]
    assert [pool.get(key) for key in range(5)] == list(range(5))
    assert inputs == list(range(5))


def test_another_expectation_takes_the_place_of_the_first():
    pool = Ahead(lambda key: -key)
    pool.expect([1, 2, 3])
    pool.expect([8, 9])
    assert [pool.get(key) for key in (8, 9, 1)] == [-8, -9, -1]


def test_what_fails_ahead_fails_where_it_is_asked_for():
    pool = Ahead(lambda key: 1 / key)
    pool.expect([1, 0])
    assert pool.get(1) == 1
    with pytest.raises(ZeroDivisionError):
        pool.get(0)
