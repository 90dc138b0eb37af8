"""A clip has the same soft labels in labels.csv, by `ipr annotate` and by the exported model, whatever its file is.

The exported model is that of Hugging Face's form, and that of ONNX.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import soundfile
import torch
from scipy.signal import resample

from helpers.checkpoints import WHISPER_TINY
from helpers.small_encoders import random_model
from ipr_core import cli
from ipr_core.annotation import annotate
from ipr_core.calibration import Calibration
from ipr_core.config import Config, Data, Encoder, demo
from ipr_core.data.clips import clips as ready
from ipr_core.data.waves import SAMPLE_RATE, padded
from ipr_core.encoders import load_encoder
from ipr_core.results.soft_labels import calibrated_labels
from ipr_core.runs.run import Run
from ipr_core.training import onnx_file
from ipr_core.training.advance import advance, prepare
from ipr_core.training.model import Recogniser

CLASSES = ("angry", "happy", "sad", "neutral")
SOFT = [f"soft_{name}" for name in CLASSES]
RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_056, 44_100, 48_000)
SHORT, LONG = (0.2, 0.31, 0.5, 0.83, 1.0, 1.27, 2.0, 3.1), (15.0, 15.1, 31.3, 60.0)
LONGEST = 15.0
PAIRS = [(seconds, rate) for seconds in SHORT for rate in RATES]
PAIRS += [(seconds, rate) for seconds in LONG for rate in (8_000, 16_000, 48_000)]


def voice(i: int, seconds: float, rate: int) -> np.ndarray:
    """Return a sound that changes all the time, so that its middle is like no other part of it."""
    random, t = np.random.default_rng(i), np.arange(round(seconds * rate)) / rate
    pitch = 90 + 60 * (i % 4) + 40 * np.sin(2 * np.pi * t / (1 + i % 3)) + 2 * t
    wave = sum(np.sin(2 * np.pi * k * np.cumsum(pitch) / rate) / k for k in range(1, 9))
    loudness = 0.05 + 0.1 * np.sin(2 * np.pi * t * (1 + i % 4) / 3) ** 2
    return (loudness * wave + 0.01 * random.standard_normal(len(t))).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Data:
    """84 clips from 0.2 to 60 s at 8 to 48 kHz, with votes for their classes, in three kinds of file."""
    folder, rows = tmp_path_factory.mktemp("voices"), []
    for i, (seconds, rate) in enumerate(PAIRS):
        name, subtype = (f"{i}.flac", "PCM_24") if i % 5 == 0 else (f"{i}.wav", "FLOAT" if i % 5 == 1 else "PCM_16")
        soundfile.write(folder / name, voice(i, seconds, rate), rate, subtype=subtype)
        votes = np.eye(4, dtype=int)[i % 4] * 3 + np.eye(4, dtype=int)[i // 4 % 4] * (3 - i % 3)
        rows.append([f"u{i}", name, f"s{i % 6}", CLASSES[i % 4], *votes])
    columns = ["id", "path", "speaker", "label", *(f"votes_{name}" for name in CLASSES)]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "manifest.csv", index=False)
    return Data(corpus="manifest", corpus_path=str(folder / "manifest.csv"))


@pytest.fixture(scope="module", params=["compact", "whisper"])
def run(request, corpus, tmp_path_factory) -> Run:
    """A run of IPR on the corpus: trained with the compact encoder, with the real Whisper kept as it is."""
    encoder: dict[str, object] = {"encoder": "compact", "train_features": True}
    if request.param == "whisper":
        if not WHISPER_TINY.is_dir():
            pytest.skip("no ../shared/models/whisper-tiny-en-encoder here")
        encoder = {"encoder": str(WHISPER_TINY), "train_features": False, "frozen_layers": -1, "layers": (2,)}
    config = config_of(corpus, max_seconds=LONGEST, pooling="mean+deviation", **encoder)
    run, data = prepare(config, tmp_path_factory.mktemp("runs"), progress=False)
    return advance(run, data)


def config_of(corpus: Data, **settings) -> Config:
    small = dict(epochs=3, warm_up=2, batch_size=8, test_size=16, test_balanced=False, map_size=0, device="cpu")
    return demo(corpus="manifest", corpus_path=corpus.corpus_path, **small | settings)


@pytest.fixture(scope="module")
def export(run, tmp_path_factory) -> Path:
    """The folder of the exported model."""
    folder = tmp_path_factory.mktemp("export")
    assert cli.main(["export", str(run.folder), str(folder), "--onnx"]) == 0
    return folder


@pytest.fixture(scope="module")
def exported(export) -> Recogniser:
    return Recogniser.from_pretrained(export)


@pytest.fixture(scope="module")
def annotated(run, corpus, tmp_path_factory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("annotated")
    return pd.read_parquet(annotate(run, corpus, folder, progress=False, segment="none")[0]).set_index("id")


def wave_of(path: str) -> tuple[np.ndarray, int]:
    return soundfile.read(path, dtype="float32")


def test_the_exported_model_answers_as_annotate_does(exported, annotated):
    assert len(annotated) == len(PAIRS)
    waves = {id: wave_of(path) for id, path in annotated["path"].items()}
    for rate in RATES:
        ids = [id for id, (_, its_rate) in waves.items() if its_rate == rate]
        soft = exported.predict([waves[id][0] for id in ids], rate)
        np.testing.assert_allclose(soft, annotated.loc[ids, SOFT], atol=1e-5)
    assert annotated[SOFT].max(axis=0).min() - annotated[SOFT].min(axis=0).max() > 0.05, "clips have different answers"


def test_labels_csv_and_the_board_answer_as_annotate_does(run, annotated):
    labels = pd.read_csv(run.folder / "labels.csv").set_index("id")
    durations = [soundfile.info(path).duration for path in labels["path"]]
    assert (min(durations), max(durations)) == pytest.approx((0.2, 60), abs=1e-4)
    columns = [name for name in labels.columns if name.startswith(("soft_", "model_", "prototypes_", "entropy"))]
    np.testing.assert_allclose(labels[columns], annotated.loc[labels.index, columns], atol=1e-5)
    np.testing.assert_allclose(calibrated_labels(run), annotated.loc[labels.index, SOFT], atol=1e-5)


def test_the_middle_is_heard_and_no_other_part(exported, annotated):
    long = annotated[[seconds > 30 for seconds in map(duration, annotated["path"])]]
    wave, rate = wave_of(long["path"].iloc[-1])
    begin = (len(wave) - round(LONGEST * rate)) // 2
    middle = exported.predict([wave[begin : begin + round(LONGEST * rate)]], rate)
    first = exported.predict([wave[: round(LONGEST * rate)]], rate)
    np.testing.assert_allclose(middle, long[SOFT].iloc[-1:], atol=2e-3)  # its very ends are filtered differently
    assert np.abs(first.numpy() - middle.numpy()).max() > 5e-3


def duration(path: str) -> float:
    return soundfile.info(path).duration


def test_an_answer_does_not_depend_on_the_others_nor_on_their_order(exported, annotated):
    clips = [wave for wave, rate in map(wave_of, annotated["path"]) if rate == 44_100]
    soft = exported.predict(clips, 44_100)
    torch.testing.assert_close(exported.predict(iter(clips[::-1]), 44_100).flip(0), soft, atol=1e-5, rtol=0)
    for wave, row in zip(clips, soft, strict=True):
        torch.testing.assert_close(exported.predict([wave], 44_100)[0], row, atol=1e-5, rtol=0)


def test_a_48_khz_clip_and_its_16_khz_copy_have_nearly_the_same_answer(exported, annotated):
    clips = [wave for wave, rate in map(wave_of, annotated["path"]) if rate == SAMPLE_RATE and len(wave) <= 3.2 * rate]
    high = [resample(wave.astype(np.float64), 3 * len(wave)) for wave in clips]
    difference = (exported.predict(high, 3 * SAMPLE_RATE) - exported.predict(clips)).abs()
    assert difference.max() < 0.01


# ONNX.


def of_onnx(folder: Path, clips: list[np.ndarray]) -> list[np.ndarray]:
    """Return embeddings and shares of clips at 16 kHz by the ONNX file of a folder."""
    waves, lengths = padded(clips, LONGEST)
    session = onnxruntime.InferenceSession(folder / onnx_file.FILE)
    return session.run(onnx_file.OUTPUTS, {"waves": waves.numpy(), "lengths": lengths.numpy()})


def test_the_onnx_file_answers_as_annotate_does(export, annotated):
    columns = [[f"{kind}_{name}" for name in CLASSES] for kind in ("soft", "model", "prototypes")]
    ids = [id for id, (_, rate) in zip(annotated.index, PAIRS, strict=True) if rate in (8_000, 16_000, 44_100)]
    ids.sort(key=lambda id: PAIRS[int(id[1:])])
    for batch in ([ids[0], ids[-1]], *(ids[i : i + 5] for i in range(0, len(ids), 5))):  # very unlike lengths, too
        clips = [clip for wave, rate in map(wave_of, annotated.loc[batch, "path"]) for clip in ready([wave], rate)]
        for shares, names in zip(of_onnx(export, clips)[1:], columns, strict=True):
            np.testing.assert_allclose(shares, annotated.loc[batch, names], atol=1e-4)


def test_wav2vec2_answers_alike_in_onnx(tmp_path):
    """A small one that has not learnt anything, calibrated with a bias; the others are of a run above."""
    random_model("wav2vec2-base").save_pretrained(tmp_path / "encoder")
    choice = Encoder(encoder=str(tmp_path / "encoder"), layers=(0, -1), pooling="mean+deviation")
    torch.manual_seed(0)
    model = Recogniser(load_encoder(choice), CLASSES, choice)
    torch.nn.init.normal_(model.prototypes)
    model.calibration, model.max_seconds = Calibration(1.7, (0.1, -0.3, 0.2, 0.0)), LONGEST
    onnx_file.save(model, tmp_path / onnx_file.FILE)
    clips = list(ready([voice(i, seconds, SAMPLE_RATE) for i, seconds in enumerate(SHORT + LONG)], SAMPLE_RATE))
    embedding, *answers = of_onnx(tmp_path, clips)
    for shares, expected in zip(answers, model.soft_labels(clips), strict=True):
        np.testing.assert_allclose(shares, expected, atol=1e-4)
    with torch.no_grad():
        np.testing.assert_allclose(embedding, model.eval()(*model.stem(*padded(clips, LONGEST)))[0], atol=1e-4)


PLAIN = """
import json, sys
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
noise = numpy.random.default_rng(0).standard_normal((3, 20_000)).astype("float32") / 10
[soft] = session.run(["soft"], {"waves": noise, "lengths": numpy.array([20_000, 1_600, 9_999])})
assert not {"torch", "ipr_core"} & set(sys.modules)
print(json.dumps([soft.tolist(), session.get_modelmeta().custom_metadata_map]))
"""


def test_a_program_without_torch_can_use_the_onnx_file(export, exported):
    command = [sys.executable, "-c", PLAIN, str(export / onnx_file.FILE)]
    soft, metadata = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    noise = np.random.default_rng(0).standard_normal((3, 20_000)).astype(np.float32) / 10
    with torch.no_grad():
        expected = exported.label(
            *exported(*exported.stem(torch.from_numpy(noise), torch.tensor([20_000, 1_600, 9_999])))
        )
    np.testing.assert_allclose(soft, expected.soft, atol=1e-4)
    assert json.loads(metadata["classes"]) == list(CLASSES)
    assert (metadata["sample_rate"], metadata["min_seconds"], metadata["max_seconds"]) == ("16000", "0.1", "15.0")


def test_the_onnx_file_is_compared_with_its_model(export, exported):
    file, seconds = str(export / onnx_file.FILE), (1.3, 0.4)
    assert onnx_file._difference(exported, file, seconds) < onnx_file.TOLERANCE
    other = Recogniser.from_pretrained(export)
    other.calibration = replace(other.calibration, temperature=2 * other.calibration.temperature)
    assert onnx_file._difference(other, file, seconds) > onnx_file.TOLERANCE
