"""Everything on a GPU, once: the bench, a run of every family of encoders, a kill, labels, a batch, the recipe.

    python tests/benchmarks/gpu.py [--device cuda] [--layers 12] [--utterances 400]

Encoders have the architecture of each family's base model and random weights, so that nothing is downloaded; runs are
on the embedded corpus. It prints a table for the README of this folder, with the machine named. `--device cpu` with few
layers and utterances tries the script itself.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch
import transformers

from ipr_core.bench import machine, noise
from ipr_core.config import recommended
from ipr_core.runs.run import Run

FAMILIES = {
    "wav2vec 2.0": (transformers.Wav2Vec2Model, transformers.Wav2Vec2Config),
    "HuBERT": (transformers.HubertModel, transformers.HubertConfig),
    "WavLM": (transformers.WavLMModel, transformers.WavLMConfig),
    "data2vec-audio": (transformers.Data2VecAudioModel, transformers.Data2VecAudioConfig),
    "Whisper": (transformers.WhisperModel, transformers.WhisperConfig),
}
"""Name → transformers' model and configuration, whose defaults are the base size."""
RECIPE = Path(__file__).with_name("huggingface_recipe.py")


class Work:
    """Commands of `ipr` on one device, in a folder of their own."""

    def __init__(self, folder: Path, device: str, utterances: int):
        self.folder, self._device = folder, device
        corpus = ["--synthetic-size", str(utterances), "--test-size", str(utterances // 5)]
        self.settings = ["--preset", "demo", *corpus, "--epochs", "3", "--warm-up", "1", "--device", device]

    def train(self, name: str, *settings: str) -> tuple[Run, float]:
        """Train IPR below runs/`name`. returns: the run, and its seconds"""
        seconds = self.seconds(self._training(name, *settings))
        return self.run(name), seconds

    def train_and_kill(self, name: str, *settings: str) -> None:
        """Train IPR below runs/`name` until a checkpoint is there, then kill it."""
        command = _ipr(self._training(name, *settings))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not list((self.folder / name).glob("*/checkpoint.safetensors")):
            if process.poll() is not None:
                raise SystemExit(f"the run {name} ended before it could be killed")
            time.sleep(0.05)
        process.kill()
        process.wait()

    def run(self, name: str) -> Run:
        (folder,) = (self.folder / name).glob("*/config.json")
        return Run.open(folder.parent)

    def seconds(self, arguments: Sequence[str]) -> float:
        """Run `ipr` with these arguments. returns: seconds"""
        start = time.perf_counter()
        process = subprocess.run(_ipr(arguments), capture_output=True, text=True)
        if process.returncode:
            sys.exit(f"ipr {' '.join(arguments)} failed:\n{process.stderr}")
        return time.perf_counter() - start

    def _training(self, name: str, *settings: str) -> list[str]:
        return ["train", *self.settings, "--systems", "ipr", "--runs", str(self.folder / name), *settings]


def _ipr(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "ipr_core", *arguments]


def rows(work: Work, layers: int) -> Iterator[tuple[str, str]]:
    """Yield the rows of the table: the work, and its measurement."""
    _, seconds = work.train("compact")
    yield "`compact`, three epochs", f"{seconds:.0f} s"
    for name, (model, configuration) in FAMILIES.items():
        encoder = work.folder / "encoders" / name
        sizes = "encoder_layers" if name == "Whisper" else "num_hidden_layers"
        model(configuration(**{sizes: layers})).save_pretrained(encoder)
        run, seconds = work.train(name, "--encoder", str(encoder), "--no-train-features", "--batch-size", "8")
        clock = run.events()[-1].clock
        yield f"{name}, three epochs", f"{seconds:.0f} s, at most {clock['peak_memory_mb'] / 1024:.1f} GiB"
    yield "kill and resume, against the run without", resumed(work)
    audio = work.folder / "audio"
    audio.mkdir()
    clips = len(noise(recommended(), 40, audio).table)
    seconds = work.seconds(["annotate", str(work.run("compact").folder), str(audio)])
    yield f"annotate {clips} clips", f"{seconds:.0f} s"
    batch = ["batch", *work.settings, "--systems", "ipr", "baseline", "--jobs", "2", "--seeds", "0"]
    seconds = work.seconds([*batch, "--runs", str(work.folder / "batch")])
    yield "a batch of two cells at once", f"{seconds:.0f} s"


def resumed(work: Work) -> str:
    """Kill a run and resume it. returns: how far its soft labels are from those of the run that was not killed"""
    work.train_and_kill("killed")
    work.seconds(["resume", str(work.run("killed").folder)])
    first, second = (work.run(name).labels.filter(like="soft_") for name in ("compact", "killed"))
    pd.testing.assert_index_equal(first.columns, second.columns)
    return f"soft labels differ by at most {(first - second).abs().to_numpy().max():.1g}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--utterances", type=int, default=400)
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("There is no GPU here that torch can use; run this on a machine with one (`ipr doctor` tells).")
    transformers.utils.logging.disable_progress_bar()
    print(f"| {machine(torch.device(args.device))} | |\n|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, figure in rows(Work(Path(folder), args.device, args.utterances), args.layers):
            print(f"| {name} | {figure} |", flush=True)
    print()
    bench = ["bench", "--device", args.device, "--systems", "ipr", "supervised"]
    small = ["--preset", "demo", "--steps", "1"] if args.device == "cpu" else []
    subprocess.run(_ipr([*bench, *small]), check=True)
    print(flush=True)
    subprocess.run([sys.executable, str(RECIPE), "--layers", str(args.layers)], check=True)


if __name__ == "__main__":
    main()
