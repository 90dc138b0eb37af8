"""An epoch of `supervised` beside the recipe that a user would write with Hugging Face's Trainer, on the same clips.

    python tests/benchmarks/huggingface_recipe.py [--clips 40] [--layers 12] [--batch-size 16] [--rounds 1]

The recipe: `AutoModelForAudioClassification` and `Trainer`, shuffled batches, padded to their longest clip, the
convolutions frozen (`freeze_feature_encoder`), AdamW, the same precision, the same number of clips a step, the clips
decoded and cut to `max_seconds` in memory before it starts. Both train the same wav2vec 2.0 of random weights, on the
same clips of noise with the lengths of IEMOCAP's, each clip once an epoch, and take turns; both then evaluate all
clips. What is ours has its clean views kept already, as from the second epoch on; what that takes once is printed too.
The Trainer clips gradients and steps its schedule besides, as it does when nobody says otherwise.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from time import perf_counter

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import torch
import transformers

from ipr_core.bench import noise, random_weights
from ipr_core.config import Config, recommended
from ipr_core.data.dataset import Dataset
from ipr_core.runs.events import EpochEnd
from ipr_core.stopwatch import machine
from ipr_core.training.loop import refine
from ipr_core.training.session import Session


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
    ours, theirs = [], []
    epochs = (event for event in refine(session) if isinstance(event, EpochEnd))
    for _ in range(asked.rounds):
        clock = next(epochs).clock
        ours.append((clock["seconds"] - clock["evaluation_seconds"], clock["evaluation_seconds"]))
        theirs.append(recipe(config, data, folder, asked.batch_size, device))
    mine, other = (np.median(times, axis=0) for times in (ours, theirs))
    for name, (training, evaluation) in (("supervised", mine), ("the recipe", other)):
        print(f"{name}   training {training:8.1f} s   evaluation {evaluation:8.1f} s")
    print(f"the recipe takes {other[0] / mine[0]:.2f} times as long to train an epoch,", end=" ")
    print(f"{other[1] / mine[1]:.2f} times to evaluate all clips, {other.sum() / mine.sum():.2f} times for both")


def config_said(config: Config) -> str:
    return f"precision {config.training.precision}, clips of at most {config.audio.max_seconds:g} s"


def recipe(config: Config, data: Dataset, folder: Path, batch_size: int, device: torch.device) -> tuple[float, float]:
    """Seconds of an epoch of the Trainer, and of its evaluation of all clips; its set-up left out."""
    extractor = transformers.AutoFeatureExtractor.from_pretrained(config.encoder.encoder)
    model = transformers.AutoModelForAudioClassification.from_pretrained(
        config.encoder.encoder, num_labels=len(data.classes)
    )
    model.freeze_feature_encoder()
    clips = [data.waves.batch([row], config.audio.max_seconds)[0][0].numpy() for row in range(len(data.table))]
    examples = [{"input_values": clip, "label": int(label)} for clip, label in zip(clips, data.labels, strict=True)]
    trained = [examples[row] for part in ("D1", "D2") for row in data.rows(part)]

    def padded(batch: list[dict]) -> dict[str, torch.Tensor]:
        inputs = extractor(
            [one["input_values"] for one in batch], sampling_rate=16_000, padding=True, return_tensors="pt"
        )
        return {**inputs, "labels": torch.tensor([one["label"] for one in batch])}

    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "trainer"), num_train_epochs=1, per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=2 * batch_size,
        learning_rate=config.training.encoder_lr, weight_decay=config.training.weight_decay, save_strategy="no",
        report_to=[], disable_tqdm=True, use_cpu=device.type == "cpu", bf16=device.type == "cuda",
        remove_unused_columns=False, logging_strategy="no",
    )  # fmt: skip
    trainer = transformers.Trainer(model, arguments, data_collator=padded, train_dataset=trained)
    training = trainer.train().metrics["train_runtime"]
    return training, trainer.evaluate(examples)["eval_runtime"]


if __name__ == "__main__":
    main()
