"""A run made by version 0.1, before the folders moved: it opens, replays, resumes and annotates.

`made_by_0_1` holds it without its audio, which is made here of the same integers. Its first epoch is the warm-up.
"""

import json
import shutil
import wave
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ipr_core.annotation import annotate
from ipr_core.config import Data
from ipr_core.runs.names import name
from ipr_core.runs.run import Run
from ipr_core.training.advance import advance
from ipr_widgets import board

OLD = Path(__file__).parent / "made_by_0_1"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The finished run, in a folder of its own with its encoder and its audio."""
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    Path("audio").mkdir()
    for i in range(12):
        samples = random.integers(-8000, 8000, 4000 + 100 * i, dtype=np.int16)
        with wave.open(f"audio/u{i:02d}.wav", "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(samples.astype("<i2").tobytes())
    return Run.open(next(Path("runs").iterdir()))


@pytest.fixture
def warmed_up_run(run):
    """The same run, as it was after its warm-up."""
    lines = (run.folder / "events.jsonl").read_text("utf-8").splitlines()
    (run.folder / "events.jsonl").write_text(lines[0] + "\n", "utf-8")
    shutil.copy(run.folder / "warm_up.safetensors", run.folder / "checkpoint.safetensors")
    shutil.rmtree(run.folder / "model")
    for file in ("labels.csv", "labels.parquet", "epochs/0001.safetensors"):
        (run.folder / file).unlink()
    return run


def assert_close(labels, old):
    """Assert the same labels, up to what another machine may round otherwise."""
    pd.testing.assert_frame_equal(labels, old, rtol=1e-3, atol=1e-4, check_dtype=False)


def test_it_opens(run):
    assert name(run.config) == run.folder.name  # so that the same settings find it again
    assert run.finished
    assert run.dataset(progress=False).table["part"].value_counts().to_dict() == {"D1": 6, "D2": 4, "D3": 2}
    assert run.labels["classifier_and_prototypes_agree"].tolist() == (
        pd.read_parquet(OLD / run.folder / "labels.parquet")["views_agree"].tolist()
    )


def test_it_replays(run):
    events = list(run.replay())
    assert [(event.epoch, event.phase) for event in events] == [(0, "warm_up"), (1, "refinement")]
    for event in events:
        assert event.arrays["prototypes"].shape == (2, 4)
        assert event.arrays["soft_model"].shape == (12, 2)
        np.testing.assert_allclose(event.arrays["soft_prototypes"].sum(axis=1), 1, rtol=1e-5)


def test_the_board_draws_it(run):
    assert board.replay(run).state.faults == {}


def test_it_resumes_after_its_warm_up(warmed_up_run):
    old = Run.open(OLD / warmed_up_run.folder)
    assert not warmed_up_run.finished
    assert advance(warmed_up_run, warmed_up_run.dataset(progress=False)).finished
    assert_close(warmed_up_run.labels, old.labels)
    assert json.loads((warmed_up_run.folder / "events.jsonl").read_text("utf-8").splitlines()[0]) == json.loads(
        (old.folder / "events.jsonl").read_text("utf-8").splitlines()[0]
    )
    for event, past in zip(warmed_up_run.history(), old.history(), strict=True):
        assert event.losses == pytest.approx(past.losses, rel=1e-3)
        assert event.accuracy == past.accuracy


def test_it_annotates(run, tmp_path):
    corpus = Data(corpus="manifest", corpus_path="manifest.csv")
    table = pd.read_parquet(annotate(run, corpus, tmp_path / "labels", progress=False, segment="none")[0])
    columns = ["single_label", "soft_angry", "soft_sad", "model_angry", "prototypes_sad"]
    assert_close(table.set_index("id")[columns], run.labels.set_index("id")[columns])
