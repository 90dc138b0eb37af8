"""The main job with wav2vec 2.0's architecture and random weights, from a local folder."""

import shutil
from time import perf_counter

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

from helpers.whole_runs import comparable_lines
from ipr_core.annotation import annotate
from ipr_core.config import Config, Data
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.run import Run
from ipr_core.training.advance import advance, prepare
from ipr_core.training.model import Recogniser

SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "mask_time_length": 4,
}  # fmt: skip
SOFT = ["soft_angry", "soft_happy", "soft_sad", "soft_neutral"]


def checkpoint(folder, **size) -> str:
    """A wav2vec 2.0 of the base kind (group norm, post-norm layers) with random weights, as transformers saves it."""
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(**size)
    assert config.feat_extract_norm == "group"
    assert not config.do_stable_layer_norm
    transformers.Wav2Vec2Model(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def small(tiny, tmp_path_factory) -> Config:
    """The paper's encoder in small: convolutions fixed, all layers trained."""
    folder = tmp_path_factory.mktemp("checkpoints") / "wav2vec2-small"
    return tiny.replace(encoder=checkpoint(folder, **SMALL), train_features=False, embedding=16)


@pytest.fixture(scope="module")
def run(small, data, tmp_path_factory) -> Run:
    return advance(prepare(small, tmp_path_factory.mktemp("runs"), data=data)[0], data)


def test_it_trains(run, small):
    ends = run.events()
    assert [end.phase for end in ends] == ["warm_up", "refinement", "refinement"]
    assert np.isfinite([value for end in ends for value in end.losses.values()]).all()
    weights = Recogniser.load(run.folder / "model").state_dict()
    original = transformers.Wav2Vec2Model.from_pretrained(small.encoder.encoder).state_dict()
    name = "encoder.layers.0.attention.q_proj.weight"
    assert not weights[f"encoder.model.{name}"].equal(original[name])
    convolution = "feature_extractor.conv_layers.3.conv.weight"
    assert weights[f"encoder.model.{convolution}"].equal(original[convolution])


def test_it_resumes(run, small, data, tmp_path):
    def stop(event):
        if isinstance(event, EpochEnd) and event.epoch == 1:
            raise KeyboardInterrupt

    again, _ = prepare(small, tmp_path, data=data)
    with pytest.raises(KeyboardInterrupt):
        advance(again, data, watch=stop)
    advance(again, data)
    assert comparable_lines(again) == comparable_lines(run)
    pd.testing.assert_frame_equal(again.labels, run.labels, check_exact=True)


def test_it_is_exported_and_reloaded_without_the_original(run, small, data, tmp_path):
    Recogniser.load(run.folder / "model").save(tmp_path / "exported")
    folder = shutil.move(small.encoder.encoder, tmp_path / "away")
    try:
        model = Recogniser.from_pretrained(tmp_path / "exported")
    finally:
        shutil.move(folder, small.encoder.encoder)
    clips, lengths = data.waves.padded(range(4), 1.0)
    soft = model.predict([clip[:length].numpy() for clip, length in zip(clips, lengths, strict=True)])
    np.testing.assert_allclose(soft, run.labels[SOFT].iloc[:4], atol=1e-4)


def test_it_annotates(run, data, tmp_path):
    data.table[["id", "path"]].head(6).to_csv(tmp_path / "some.csv", index=False)
    corpus = Data(corpus="manifest", corpus_path=str(tmp_path / "some.csv"))
    labels = pd.read_parquet(annotate(run, corpus, tmp_path, progress=False, segment="none")[0])
    np.testing.assert_allclose(labels[SOFT], run.labels[SOFT].head(6), atol=1e-4)


@pytest.mark.parametrize("settings", [{"frozen_layers": 1}, {"frozen_layers": -1, "layers": "1,2"}])
def test_it_trains_with_layers_kept(small, data, tmp_path, settings):
    config = small.replace(**settings, epochs=2)
    run = advance(prepare(config, tmp_path, data=data)[0], data)
    assert np.isfinite([value for end in run.events() for value in end.losses.values()]).all()


@pytest.mark.speech
def test_the_true_size_trains_resumes_exports_and_annotates(tiny, tmp_path):
    """wav2vec2-base itself, 95 million random parameters, on a handful of clips of a second."""
    config = tiny.replace(
        encoder=checkpoint(tmp_path / "wav2vec2-base"), train_features=False, synthetic_size=40, test_size=4, epochs=2,
        batch_size=4,
    )  # fmt: skip
    began = perf_counter()
    run, data = prepare(config, tmp_path / "runs", progress=False)
    advance(run, data, until="warm_up")
    advance(run, data)
    model = Recogniser.from_pretrained(run.folder / "model")
    assert sum(p.numel() for p in model.encoder.parameters()) > 94_000_000
    assert np.isfinite(list(run.history()[-1].losses.values())).all()
    data.table[["id", "path"]].head(3).to_csv(tmp_path / "some.csv", index=False)
    corpus = Data(corpus="manifest", corpus_path=str(tmp_path / "some.csv"))
    labels = pd.read_parquet(annotate(run, corpus, tmp_path, progress=False, segment="none")[0])
    np.testing.assert_allclose(labels[SOFT], run.labels[SOFT].head(3), atol=1e-4)
    seconds = [epoch.clock["seconds"] for epoch in run.history()]
    print(f"{len(data.table)} clips, {perf_counter() - began:.0f} s, epochs {seconds} s")
