"""Speed of the trained model on the CPU by torch and by onnxruntime, and how far their shares differ.

    python tests/benchmarks/onnx_speed.py AUDIO_FOLDER WHISPER_FOLDER [CLIPS [TURNS]]

Clips go through models with the compact encoder, Whisper and wav2vec 2.0 base (random weights), in the batches that
`ipr annotate` makes of them and one by one. Torch and onnxruntime take turns, with as many threads each
(OMP_NUM_THREADS). A ratio is of a turn's seconds, torch's over onnxruntime's: above 1, onnxruntime is faster. Seconds
of processors say more than those of the wall where others use the machine too.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import onnxruntime
import soundfile
import torch
import transformers

from ipr_core.config import SAMPLE_RATE, Audio, Encoder
from ipr_core.data.clips import middles
from ipr_core.data.waves import padded
from ipr_core.encoders import load_encoder
from ipr_core.training import onnx_file
from ipr_core.training.minibatches import PASS, by_length
from ipr_core.training.model import Recogniser

Batches = list[tuple[torch.Tensor, torch.Tensor]]
Answer = Callable[[torch.Tensor, torch.Tensor], np.ndarray]
WAYS = {"batches": PASS, "one by one": 1}
"""Samples of a batch, see `by_length`."""
COLUMNS = ("encoder", "clips", "torch, s/s", "onnxruntime, s/s", "ratio, processors", "ratio, wall", "difference")


def batches(folder: Path, count: int, limit: int) -> Batches:
    """Return some of a folder's clips side by side.  limit: samples of a batch"""
    max_seconds = Audio().max_seconds
    files = sorted(folder.rglob("*.wav"))
    sounds = [soundfile.read(file, dtype="int16") for file in files[:: max(1, len(files) // count)][:count]]
    clips = [clip for wave, rate in sounds for clip in middles([wave], rate, max_seconds)]
    rows = by_length(np.array([len(clip) for clip in clips]), limit)
    return [padded([clips[i] for i in batch], max_seconds) for batch in rows]


def recogniser(encoder: str) -> Recogniser:
    """Return a recogniser that has not learnt anything."""
    choice = Encoder(encoder=encoder, layers=(-1,), pooling="mean+deviation")
    model = Recogniser(load_encoder(choice), ("angry", "happy", "sad", "neutral"), choice).eval()
    torch.nn.init.normal_(model.prototypes)
    return model


def measure(name: str, encoder: str, clips: dict[str, Batches], turns: int) -> None:
    """Print a row of the table for every way in which clips go through a model."""
    model = recogniser(encoder)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, onnx_file.FILE)
        onnx_file.save(model, file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    @torch.inference_mode()
    def by_torch(waves: torch.Tensor, lengths: torch.Tensor) -> np.ndarray:
        return model.label(*model(*model.stem(waves, lengths))).soft.numpy()

    def by_onnx(waves: torch.Tensor, lengths: torch.Tensor) -> np.ndarray:
        return session.run(["soft"], {"waves": waves.numpy(), "lengths": lengths.numpy()})[0]

    for way, its_batches in clips.items():
        times: dict[Answer, list[np.ndarray]] = {by_torch: [], by_onnx: []}
        for turn in range(turns + 1):  # the first one warms up
            answers = []
            for answer in (by_torch, by_onnx) if turn % 2 else (by_onnx, by_torch):
                begin = clocks()
                answers.append([answer(*batch) for batch in its_batches])
                times[answer] += [clocks() - begin] if turn else []
        difference = max(float(np.abs(a - b).max()) for a, b in zip(*answers, strict=True))
        ratios = np.array(times[by_torch]) / np.array(times[by_onnx])  # (turns, 2)
        audio = sum(int(lengths.sum()) for _, lengths in its_batches) / SAMPLE_RATE
        speeds = [f"{audio / np.median(values, axis=0)[0]:,.1f}" for values in times.values()]
        spans = [f"{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})" for ratio in ratios.T]
        print(f"| {' | '.join([name, way, *speeds, *spans])} | {difference:.0e} |", flush=True)


def clocks() -> np.ndarray:
    """Return the seconds of this process's processors, and of the wall."""
    return np.array([process_time(), perf_counter()])


def main(audio: str, whisper: str, count: str = "48", turns: str = "7") -> None:
    ways = {way: batches(Path(audio), int(count), limit) for way, limit in WAYS.items()}
    print(f"{count} clips, {torch.get_num_threads()} threads, {turns} turns")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    with tempfile.TemporaryDirectory() as folder:
        transformers.Wav2Vec2Model(transformers.Wav2Vec2Config()).save_pretrained(folder)
        for name, encoder in (("`compact`", "compact"), ("Whisper tiny.en", whisper), ("wav2vec 2.0 base", folder)):
            measure(name, encoder, ways, int(turns))


if __name__ == "__main__":
    main(*sys.argv[1:])
