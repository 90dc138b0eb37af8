"""An epoch of `supervised` against a user's recipe with Hugging Face's Trainer, on the same clips.

    python tests/benchmarks/huggingface_recipe.py [--clips 40] [--layers 12] [--batch-size 16] [--rounds 1]

The recipe: `AutoModelForAudioClassification` and `Trainer`, shuffled batches, padded to their longest clip, the
convolutions frozen (`freeze_feature_encoder`), AdamW, the same precision, the same number of clips a step, the clips
decoded and cut to `max_seconds` in memory before it starts. Both train the same wav2vec 2.0 of random weights, on the
same clips of noise with the lengths of IEMOCAP's, each clip once an epoch, and take turns; both then evaluate all
clips. Ours has cached its clean views already, as from the second epoch on; the time of that is printed too.
The Trainer also clips gradients and steps its schedule, as it does by default.
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

from ipr_core.bench import machine, noise, random_weights
from ipr_core.config import Config, recommended
from ipr_core.data.dataset import Dataset
from ipr_core.runs.events import EpochEnd
from ipr_core.training.loop import refine
from ipr_core.training.session import Session


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=40, help="half of them D1, half D2")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=16, help="clips a step; ours are half of D1, half of D2")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        encoder = random_weights(Path(folder) / "encoder", num_hidden_layers=args.layers)
        config = recommended(
            encoder=encoder, system="supervised", batch_size=args.batch_size // 2, warm_up=0, epochs=args.rounds + 1
        )
        data = noise(config, args.clips // 2, Path(folder))
        compare(config, data, Path(folder), args)


def compare(config: Config, data: Dataset, folder: Path, args: argparse.Namespace) -> None:
    start = perf_counter()
    session = Session(config, data)
    cache_seconds = perf_counter() - start
    device, audio_seconds = session.device, data.waves.seconds[data.table["part"] != "D3"].sum()
    print(f"{machine(device)}; wav2vec 2.0 of base width, {args.layers} layers, random weights; {config_text(config)}")
    print(f"{args.clips} clips, {audio_seconds:.0f} s of audio, {args.batch_size} clips a step;", end=" ")
    print(f"kept once: {cache_seconds:.1f} s")
    workbench_times, recipe_times = [], []
    epochs = (event for event in refine(session) if isinstance(event, EpochEnd))
    for _ in range(args.rounds):
        clock = next(epochs).clock
        workbench_times.append((clock["seconds"] - clock["evaluation_seconds"], clock["evaluation_seconds"]))
        recipe_times.append(recipe(config, data, folder, args.batch_size, device))
    workbench, rival = (np.median(times, axis=0) for times in (workbench_times, recipe_times))
    for name, (training, evaluation) in (("supervised", workbench), ("the recipe", rival)):
        print(f"{name}   training {training:8.1f} s   evaluation {evaluation:8.1f} s")
    print(f"the recipe takes {rival[0] / workbench[0]:.2f} times as long to train an epoch,", end=" ")
    print(
        f"{rival[1] / workbench[1]:.2f} times to evaluate all clips, {rival.sum() / workbench.sum():.2f} times for both"
    )


def config_text(config: Config) -> str:
    return f"precision {config.training.precision}, clips of at most {config.audio.max_seconds:g} s"


def recipe(config: Config, data: Dataset, folder: Path, batch_size: int, device: torch.device) -> tuple[float, float]:
    """Return the Trainer's seconds of an epoch and of an evaluation, without its set-up."""
    extractor = transformers.AutoFeatureExtractor.from_pretrained(config.encoder.encoder)
    model = transformers.AutoModelForAudioClassification.from_pretrained(
        config.encoder.encoder, num_labels=len(data.classes)
    )
    model.freeze_feature_encoder()
    clips = [data.waves.padded([row], config.audio.max_seconds)[0][0].numpy() for row in range(len(data.table))]
    examples = [{"input_values": clip, "label": int(label)} for clip, label in zip(clips, data.labels, strict=True)]
    trained = [examples[row] for part in ("D1", "D2") for row in data.rows(part)]

    def padded(batch: list[dict]) -> dict[str, torch.Tensor]:
        inputs = extractor(
            [example["input_values"] for example in batch], sampling_rate=16_000, padding=True, return_tensors="pt"
        )
        return {**inputs, "labels": torch.tensor([example["label"] for example in batch])}

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
