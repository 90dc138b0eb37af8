"""An epoch of `supervised` beside the recipe that a user would write with Hugging Face's Trainer, on the same clips.

    python tests/benchmarks/huggingface_recipe.py [--clips 40] [--layers 12] [--batch-size 16] [--rounds 1]

The recipe: `AutoModelForAudioClassification` and `Trainer`, shuffled batches, padded to their longest clip, the
convolutions frozen (`freeze_feature_encoder`), AdamW, the same precision, the same number of clips a step, the clips
decoded and cut to `max_seconds` in memory before it starts. Both train the same wav2vec 2.0 of random weights, on the
same clips of noise with the lengths of IEMOCAP's, each clip once an epoch, and take turns. What is ours has its clean
views kept already, as from the second epoch on; what that takes once is printed too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
import transformers

from ipr_core.bench import noise, random_weights
from ipr_core.config import Config, recommended
from ipr_core.dataset import Dataset
from ipr_core.events import EpochEnd
from ipr_core.session import Session
from ipr_core.stopwatch import forget_peak, machine, peak_mb
from ipr_core.train import refine


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=40, help="half of them D1, half D2")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=16, help="clips a step; ours are half of D1, half of D2")
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        encoder = random_weights(Path(folder) / "encoder", num_hidden_layers=asked.layers)
        config = recommended(
            encoder=encoder, system="supervised", batch_size=asked.batch_size // 2, warm_up=0, epochs=asked.rounds + 1
        )
        data = noise(config, asked.clips // 2, Path(folder))
        compare(config, data, Path(folder), asked)


def compare(config: Config, data: Dataset, folder: Path, asked: argparse.Namespace) -> None:
    started = perf_counter()
    session = Session(config, data)
    kept = perf_counter() - started
    device, hours = session.device, data.waves.seconds[data.table["part"] != "D3"].sum()
    print(f"{machine(device)}; wav2vec 2.0 of base width, {asked.layers} layers, random weights; {config_said(config)}")
    print(f"{asked.clips} clips, {hours:.0f} s of audio, {asked.batch_size} clips a step; kept once: {kept:.1f} s")
    ours, evaluations, theirs, memory = [], [], [], {}
    epochs = (event for event in refine(session) if isinstance(event, EpochEnd))
    for _ in range(asked.rounds):
        forget_peak()
        clock = next(epochs).clock
        ours.append(clock["seconds"] - clock["evaluation_seconds"])
        evaluations.append(clock["evaluation_seconds"])
        memory["ours"] = peak_mb(device)
        forget_peak()
        theirs.append(recipe(config, data, folder, asked.batch_size, device))
        memory["theirs"] = peak_mb(device)
    mine, other = statistics.median(ours), statistics.median(theirs)
    print(f"supervised, an epoch of training   {mine:8.1f} s   {memory['ours']:8.0f} MB")
    print(f"the recipe, an epoch of training   {other:8.1f} s   {memory['theirs']:8.0f} MB")
    print(f"the recipe takes {other / mine:.2f} times as long; {other / (mine + statistics.median(evaluations)):.2f} "
          "times where ours also evaluates all clips, and the recipe none")  # fmt: skip


def config_said(config: Config) -> str:
    return f"precision {config.training.precision}, clips of at most {config.audio.max_seconds:g} s"


def recipe(config: Config, data: Dataset, folder: Path, batch_size: int, device: torch.device) -> float:
    """Seconds of an epoch of the Trainer, its own set-up left out."""
    extractor = transformers.AutoFeatureExtractor.from_pretrained(config.encoder.encoder)
    model = transformers.AutoModelForAudioClassification.from_pretrained(
        config.encoder.encoder, num_labels=len(data.classes)
    )
    model.freeze_feature_encoder()
    rows = [int(row) for part in ("D1", "D2") for row in data.rows(part)]
    clips = [data.waves.batch([row], config.audio.max_seconds)[0][0].numpy() for row in rows]
    examples = [
        {"input_values": clip, "label": int(label)} for clip, label in zip(clips, data.labels[rows], strict=True)
    ]

    def padded(batch: list[dict]) -> dict[str, torch.Tensor]:
        inputs = extractor(
            [one["input_values"] for one in batch], sampling_rate=16_000, padding=True, return_tensors="pt"
        )
        return {**inputs, "labels": torch.tensor([one["label"] for one in batch])}

    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "trainer"), num_train_epochs=1, per_device_train_batch_size=batch_size,
        learning_rate=config.training.encoder_lr, weight_decay=config.training.weight_decay, save_strategy="no",
        report_to=[], disable_tqdm=True, use_cpu=device.type == "cpu", bf16=device.type == "cuda",
        remove_unused_columns=False, logging_strategy="no",
    )  # fmt: skip
    trainer = transformers.Trainer(model, arguments, data_collator=padded, train_dataset=examples)
    return trainer.train().metrics["train_runtime"]


if __name__ == "__main__":
    main()
