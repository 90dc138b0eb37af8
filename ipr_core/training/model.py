"""The recogniser: encoder, pooling over frames, standardiser, projection to the embedding, classifier (MLP)."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ipr_core.atomic import write, write_text
from ipr_core.calibration import Calibration
from ipr_core.config import SAMPLE_RATE, Audio, Config, Encoder, Method, Training
from ipr_core.data.clips import middles
from ipr_core.data.waves import Clips, padded
from ipr_core.encoders import SpeechEncoder, build_encoder, checkpoint_digest, load_encoder, merged_state, valid
from ipr_core.method.prototypes import Prototypes
from ipr_core.method.systems import SYSTEMS
from ipr_core.method.systems.system import Classifier
from ipr_core.runs.files import DAMAGED, FileError, read_json, reading, sealed, tensors_digest
from ipr_core.training.centring import SpeakerMeans
from ipr_core.training.minibatches import PASS, Rows, by_length

WEIGHTS = "model.safetensors"
DESCRIPTION = "config.json"
MODEL_TYPE = "ipr-recogniser"
Precision = Literal["auto", "fp32", "bf16"]
_PART = 256  # clips that `predict` holds at a time
_log = logging.getLogger(__name__)


class SoftLabels(NamedTuple):
    """Soft labels of B utterances, (B, C) each."""

    soft: Tensor
    """The system's own: by its prototypes if D2 moves them, by its classifier otherwise, calibrated."""
    classifier: Tensor
    """As the classifier has them, uncalibrated."""
    prototypes: Tensor
    """As the prototypes have them, uncalibrated."""


class Recogniser(nn.Module):
    """Waves to embeddings q or k (Eq. 1) and to the classifier's logits.

    B utterances, T samples, F frames of width K or H, P pooled width, D embedding, C classes. `stem` is what is never
    trained, so its output can be kept per utterance; `forward` starts from there.

    system: its own parts, if any, take the place of the configured ones; see `systems.system.Network`
    """

    mean: Tensor
    deviation: Tensor
    prototypes: Tensor
    centre: Tensor
    """(P,) the vector that every speaker's mean is moved to, where `centred`."""
    centred: bool
    """Whether pooled vectors are centred by speaker before all else; see `centring`."""

    def __init__(self, encoder: SpeechEncoder, classes: Sequence[str], choice: Encoder, system: str = "ipr"):
        super().__init__()
        self.choice, self.classes, self.system = choice, tuple(classes), system
        network = SYSTEMS[system].network
        self.method, self.by_prototypes = Method(), False  # how `label` labels after training
        self.calibration = Calibration()  # of the system's own soft labels, fitted after training
        self.precision: Precision = "auto"  # of the encoder's passes; all that follows them is in float32
        self.max_seconds = Audio().max_seconds  # of a longer clip, `soft_labels` hears the middle
        self.encoder = encoder
        self.pool = network.pool(encoder.width, len(classes)) if network.pool else Pooling(encoder, choice)
        width = cast(int, self.pool.width)
        self.projection = (network.projection or Projection)(width, choice)
        self.dim = cast(int, self.projection.dim)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.register_buffer("prototypes", torch.zeros(len(self.classes), self.dim))
        self.classifier = (network.classifier or MLP)(self.dim, len(self.classes), choice)
        self.centred = choice.centring == "speaker" and not self.trained_below
        if self.centred:
            self.register_buffer("centre", torch.zeros(width))

    def stem(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Pass waves through the part that is never trained, in evaluation mode; see `SpeechEncoder.stem`.

        waves: (B, T) float32 at 16 kHz   lengths: (B,) samples, better on the CPU, where a GPU need not be waited for
        returns: (B, F, K) and how many frames are valid (B,); of a wholly frozen encoder the pooled vectors (B, 1, P)
        """
        with self.autocast():
            x, n = self.encoder.stem(waves, lengths)
            if self.trained_below:
                return x, n
            with torch.no_grad():
                return self.pool(*self.encoder.trunk(x, n))[:, None], torch.ones_like(n)

    def pooled(self, x: Tensor, n: Tensor) -> Tensor:
        """Pool the output of `stem` to one float32 vector an utterance (B, P), before it is standardised."""
        if not self.trained_below:
            return x[:, 0]
        with self.autocast():
            return self.pool(*self.encoder.trunk(x, n)).float()

    def autocast(self) -> AbstractContextManager:
        """Return the context of the encoder's passes, which are in bfloat16 or in float32."""
        device = self.mean.device
        return torch.autocast(device.type, torch.bfloat16, enabled=in_bf16(self.precision, device))

    def scores(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        """Pass the output of `stem` on to embeddings (B, D) and the classifier's scores (B, …)."""
        embedding = self.projection((self.pooled(x, n) - self.mean) / self.deviation)
        return embedding, self.classifier(embedding)

    def logits(self, scores: Tensor) -> Tensor:
        """Read logits (B, C) from the classifier's scores (B, …)."""
        return self.classifier.logits(scores)

    def forward(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        """Pass the output of `stem` on to embeddings (B, D) and logits (B, C)."""
        embedding, scores = self.scores(x, n)
        return embedding, self.logits(scores)

    def fit_standardiser_(self, pooled: Tensor) -> None:
        """Set mean and deviation per dimension from D1's pooled vectors (N, P), if `standardise` is on.

        A system's own pooling is trained, so statistics taken before training do not fit its output.
        """
        if not self.choice.standardise or SYSTEMS[self.system].network.pool:
            return
        deviation, mean = torch.std_mean(pooled.float(), dim=0, correction=0)
        self.mean.copy_(mean)
        # a dimension that hardly varies in D1 must not become the largest one elsewhere
        self.deviation.copy_(deviation.clamp_min(0.01 * float(deviation.mean())).clamp_min(1e-6))

    def label(self, embedding: Tensor, logits: Tensor) -> SoftLabels:
        """Return the soft labels of a trained recogniser.  embedding: (B, D)   logits: (B, C)"""
        bank = Prototypes(len(self.classes), self.dim, self.method, embedding.device)
        bank.vectors = self.prototypes
        return self.calibrated(logits.softmax(dim=1), bank.soft(embedding))

    def calibrated(self, classifier: Tensor, prototypes: Tensor) -> SoftLabels:
        """Return both uncalibrated soft labels (B, C) with the system's own choice of them, calibrated."""
        return SoftLabels(self.calibration(prototypes if self.by_prototypes else classifier), classifier, prototypes)

    @torch.no_grad()
    def soft_labels(self, clips: Clips, offsets: Tensor | None = None) -> SoftLabels:
        """Return the soft labels (N, C) of clips, on the CPU: what `ipr annotate` writes and `predict` returns.

        Clips of similar length go through together, so many of them or long ones take no more memory than few.

        clips: N times (T,) int16 samples at 16 kHz; of one longer than `max_seconds`, the middle
        offsets: (N, P) of their speakers, where the model is `centred`; see `centring.SpeakerMeans`
        """
        labels = SoftLabels(*torch.empty(len(SoftLabels._fields), len(clips), len(self.classes)))
        for rows, x, n in self._stems(clips):
            x = x if offsets is None else x - offsets[rows].to(x)[:, None]
            for whole, part in zip(labels, self.label(*self(x, n)), strict=True):
                whole[rows] = part.cpu()
        return labels

    @torch.no_grad()
    def add_to_means_(self, means: SpeakerMeans, clips: Clips, speakers: Sequence[str]) -> None:
        """Add clips, as `soft_labels` has them, to their speakers' means.  speakers: N names, "" if not known"""
        for rows, x, _ in self._stems(clips):
            means.add([speakers[row] for row in rows.tolist()], x[:, 0])

    def _stems(self, clips: Clips) -> Iterator[tuple[Rows, Tensor, Tensor]]:
        """Yield rows of clips and the output of `stem` for them, in evaluation mode as long as it goes on."""
        training = self.training
        self.eval()
        lengths = np.array([len(clips[i]) for i in range(len(clips))], np.int64)
        for rows in by_length(lengths.clip(max=round(self.max_seconds * SAMPLE_RATE)), PASS):
            waves, n = padded([clips[i] for i in rows.tolist()], self.max_seconds)
            yield rows, *self.stem(waves.to(self.mean.device), n)
        self.train(training)

    def predict(
        self, waves: Iterable[ArrayLike], rate: int = SAMPLE_RATE, speakers: Sequence[str] | None = None
    ) -> Tensor:
        """Return the trained system's calibrated soft labels (N, C), on the CPU; rows sum to 1.

        They are those that `ipr annotate` gives to files of these waves; (0, C) if there is none. Of a wave longer than
        `max_seconds` the middle is heard, and a warning says so: cut it into utterances first.

        waves: N times (T,) of any lengths, floats with full scale at 1, or int16; of a generator, some hundred are held
        at a time, with speakers all   rate: their samples per second
        speakers: N names, "" if not known, for a model that is `centred`; by default none is known
        raises ValueError with the wave's number, the problem and the cure; see `clips.clips`
        """
        heard_clips = middles(waves, rate, self.max_seconds)
        if self.centred and speakers is not None:
            return self._predict_by_speaker(list(heard_clips), speakers)
        parts = iter(lambda: list(islice(heard_clips, _PART)), [])
        return torch.cat([torch.empty(0, len(self.classes)), *(self.soft_labels(part).soft for part in parts)])

    def _predict_by_speaker(self, middles: list[NDArray[np.int16]], speakers: Sequence[str]) -> Tensor:
        if len(speakers) != len(middles):
            raise ValueError(f"speakers has {len(speakers)} names and waves {len(middles)}; give a name for each wave")
        means = SpeakerMeans(self.centre)
        self.add_to_means_(means, middles, speakers)
        return self.soft_labels(middles, means.offsets(speakers)).soft if middles else torch.empty(0, len(self.classes))

    def trained_state(self) -> dict[str, Tensor]:
        """Return trained parameters and buffers by name. A checkpoint holds them, not the frozen weights."""
        frozen = {name for name, parameter in self.named_parameters() if not parameter.requires_grad}
        return {name: value for name, value in self.state_dict().items() if name not in frozen}

    def load_trained_state(self, state: dict[str, Tensor]) -> None:
        """Put a `trained_state` back. raises ValueError if it is of another model"""
        wrong = sorted(state.keys() ^ self.trained_state().keys())
        if wrong:
            raise ValueError(f"the checkpoint is of another model: {len(wrong)} weights differ, for example {wrong[0]}")
        self.load_state_dict(state, strict=False)

    def parameter_groups(self, training: Training, companion: nn.Module | None = None) -> list[dict[str, Any]]:
        """Return AdamW's groups: a configured encoder at encoder_lr, all else at lr times the system's `Network.rate`.

        Biases and norms have no weight decay.

        companion: the system's own module beside the recogniser
        """
        network = SYSTEMS[self.system].network
        slow = () if network.encoder else ("encoder.",)
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        companion_parameters = companion.named_parameters("beside") if companion else ()
        for name, parameter in chain(self.named_parameters(), companion_parameters):
            if parameter.requires_grad:
                rate = training.encoder_lr if name.startswith(slow) else training.lr * network.rate
                decay = training.weight_decay if parameter.ndim > 1 else 0.0
                groups.setdefault((rate, decay), []).append(parameter)
        return [{"params": params, "lr": lr, "weight_decay": decay} for (lr, decay), params in groups.items()]

    def save(self, folder: str | Path) -> None:
        """Write model.safetensors and config.json. `load` needs nothing else, not even the original encoder.

        raises WriteError
        """
        folder = Path(folder)
        weights = {name: value.contiguous() for name, value in merged_state(self).items()}
        write(folder / WEIGHTS, lambda path: save_file(weights, path, metadata={"format": "pt"}))
        description = {
            "model_type": MODEL_TYPE,
            "system": self.system,
            "classes": self.classes,
            "encoder": self.choice.model_dump(mode="json"),
            "method": self.method.model_dump(mode="json"),
            "by_prototypes": self.by_prototypes,
            "calibration": dataclasses.asdict(self.calibration),
            "max_seconds": self.max_seconds,
            "precision": self.precision,
            "architecture": self.encoder.architecture(),
            "weights": tensors_digest(weights),
        }
        write_text(folder / DESCRIPTION, json.dumps(sealed(description), indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path, config: Config | None = None) -> Recogniser:
        """Load a saved recogniser from a local folder or a hub id, in evaluation mode, on the CPU.

        config: of its run, for a model that an older version saved without all it depends on
        raises FileError for a file that is missing, damaged or of something else, or if the hub has none
        """
        folder = Path(folder) if Path(folder).is_dir() else _download(str(folder))
        description = read_json(folder / DESCRIPTION)
        with reading(folder / DESCRIPTION):
            if description.get("model_type") != MODEL_TYPE:
                raise ValueError(f"it is of a {description.get('model_type')!r}, not of an exported recogniser")
            model = cls._described(description, config)
        if config is None and "max_seconds" not in description:
            sentence = (
                "%s does not say how much of a long clip is heard (an older version wrote it): the middle %g s are"
            )
            _log.warning(sentence, folder / DESCRIPTION, model.max_seconds)
        with reading(folder / WEIGHTS):
            weights = load_file(folder / WEIGHTS)
            if tensors_digest(weights) != description.get("weights", tensors_digest(weights)):
                raise ValueError(DAMAGED)
            model.load_state_dict(weights)
        return model.eval()

    @classmethod
    def _described(cls, description: dict[str, Any], config: Config | None) -> Recogniser:
        """Build the recogniser of a description, with random weights.  config: for what it does not hold"""
        choice = Encoder.model_validate(description["encoder"])
        system = description.get("system", "ipr")
        make = SYSTEMS[system].network.encoder
        encoder = make(choice) if make else build_encoder(description["architecture"], choice)
        model = cls(encoder, description["classes"], choice, system)
        model.method, model.by_prototypes = Method.model_validate(description["method"]), description["by_prototypes"]
        model.calibration = calibration_of(description)
        audio, training = (config.audio, config.training) if config else (Audio(), Training())
        model.max_seconds = Audio(max_seconds=description.get("max_seconds", audio.max_seconds)).max_seconds
        model.precision = Training(precision=description.get("precision", training.precision)).precision
        return model

    save_pretrained = save
    from_pretrained = load

    @property
    def trained_below(self) -> bool:
        """Whether anything below the pooled vectors is trained, so that they cannot be kept."""
        return self.encoder.trained or bool(SYSTEMS[self.system].network.pool)


class Pooling(nn.Module):
    """Frames to one vector: their mean, or mean and deviation side by side; Eq. 1 has neither.

    (B, F, H), zero beyond the valid frames (B,) → (B, width)   The deviation of an encoder's one frame is left out.
    """

    def __init__(self, encoder: SpeechEncoder, choice: Encoder):
        super().__init__()
        self.deviation = choice.pooling == "mean+deviation" and not encoder.one_frame
        self.width = encoder.width * (2 if self.deviation else 1)

    def forward(self, frames: Tensor, n: Tensor) -> Tensor:
        frames, count = frames.float(), n[:, None]
        mean = frames.sum(dim=1) / count
        if not self.deviation:
            return mean
        difference = (frames - mean[:, None]) * valid(n, frames.shape[1])[..., None]
        # the root of a variance of 0, as silence has, would have an infinite gradient
        return torch.cat([mean, (difference.square().sum(dim=1) / count + 1e-6).sqrt()], dim=1)


class Projection(nn.Sequential):
    """(B, P) to the embedding (B, D), through a hidden layer twice as wide; the identity if `embedding` is 0."""

    def __init__(self, width: int, choice: Encoder):
        super().__init__()
        self.dim = choice.embedding or width
        if choice.embedding == 0:
            return
        inner = 2 * self.dim
        self.extend([nn.Linear(width, inner), nn.GELU(), nn.Dropout(choice.dropout), nn.Linear(inner, self.dim)])
        if choice.embedding_activation == "relu":
            self.append(nn.ReLU())


class MLP(nn.Sequential, Classifier):
    """The classifier: embedding (B, D) → logits (B, C), which are its scores."""

    def __init__(self, dim: int, n_classes: int, choice: Encoder):
        super().__init__(nn.Linear(dim, dim), nn.GELU(), nn.Dropout(choice.dropout), nn.Linear(dim, n_classes))


def encoder_of(config: Config) -> SpeechEncoder:
    """Return the encoder of a configuration's system, its own or the configured one, in evaluation mode.

    raises EncoderError if it cannot be loaded
    """
    make = SYSTEMS[config.training.system].network.encoder
    encoder = make(config.encoder).eval() if make else load_encoder(config.encoder)
    encoder.load_weights_()
    return encoder


def calibration_of(description: Mapping[str, Any]) -> Calibration:
    """Return the calibration of a saved recogniser's description; the identity where an older version wrote it."""
    return Calibration.described(description.get("calibration", {}))


def encoder_digest(config: Config) -> str | None:
    """Return the digest of the files that a configuration's encoder is loaded from; None if there are none here."""
    choice = config.encoder
    network = SYSTEMS[config.training.system].network
    return checkpoint_digest(choice.image_weights if network.encoder else choice.encoder)


def build_model(config: Config) -> Recogniser:
    """Build a configuration's recogniser. New weights come from torch's generator."""
    model = Recogniser(encoder_of(config), config.data.classes, config.encoder, config.training.system)
    model.precision, model.max_seconds = config.training.precision, config.audio.max_seconds
    return model


def in_bf16(precision: Precision, device: torch.device) -> bool:
    """Tell whether the encoder's passes on a device are in bfloat16."""
    return precision == "bf16" or (precision == "auto" and device.type == "cuda")


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download  # only for hub ids

    try:
        return Path(snapshot_download(name, allow_patterns=[DESCRIPTION, WEIGHTS]))
    except (OSError, ValueError) as error:
        raise FileError(
            f"{name} is not a local folder and cannot be loaded from the hub; give the folder of an exported recogniser"
        ) from error
