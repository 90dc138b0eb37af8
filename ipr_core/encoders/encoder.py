"""Speech encoders: waves (B, T) to frames (B, F, H) (Eq. 1).

An utterance's frames do not depend on its neighbours in the batch.

Every family is the same five steps: a fixed front end, convolutions, the input of the first layer, the layers, and a
finish after the last one. `SpeechEncoder` cuts them into a stem and a trunk. The stem is never trained, so that its
output can be stored per utterance; the trunk is trained.

B batch, T samples, F frames, K channels, H size of a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from ipr_core.config import Encoder
from ipr_core.encoders.in_parts import Layer, in_parts
from ipr_core.sentence import SentenceError

MIN_SAMPLES = 400
"""25 ms at 16 kHz: one analysis window, and the receptive field of wav2vec 2.0's convolutions."""

Parts = list[Sequence[nn.Module | nn.Parameter]]
"""An encoder's parameters by step: of the features, of hidden state 0, of each layer, of the finish."""


class EncoderError(SentenceError, ValueError):
    """An encoder that cannot be loaded; the message has its name, the reason and the cure."""


class Context(NamedTuple):
    """What a layer is given beside the frames."""

    rows: Tensor
    """(B, …) of each utterance, without a gradient: the frames that attention may use."""
    shared: Tensor | None = None
    """Alike for all utterances."""


class SpeechEncoder(nn.Module):
    """Waves to frames, as a stem that is never trained and a trunk that is.

    A family defines `front`, `features`, `embed`, `layer`, `finish` and `parts`. Hidden state 0 is the input of the
    first layer, i the output of layer i. The last hidden state has gone through `finish`.
    """

    width: int
    """Size H of a frame."""
    depth: int
    """How many layers there are."""
    one_frame: bool = False
    """Whether an utterance has one frame, which has a mean but no deviation."""
    part: int | None = None
    """Utterances that a trained layer takes at a time, to be computed again in the backward pass; None: all, once."""

    def __init__(self, width: int, depth: int, choice: Encoder, layerdrop: float = 0.0):
        super().__init__()
        self.width, self.depth = width, depth
        self.frozen = _frozen(choice, depth)
        self.averaged_layers = _averaged_layers(choice, depth, self.frozen)
        self.train_features = choice.train_features
        self.noise = choice.encoder_noise
        self.layerdrop = layerdrop

    def front(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, F, K) made without parameters, and the valid frames (B,).

        waves: (B, T), zero beyond (B,) lengths
        """
        raise NotImplementedError

    def check(self, lengths: Tensor) -> None:
        """Raise ValueError if no frame can be made of one of (B,) lengths."""
        if lengths.min() < MIN_SAMPLES:
            raise ValueError(f"an utterance has {int(lengths.min())} samples; an encoder needs at least {MIN_SAMPLES}")

    def features(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the convolutions: (B, F, K), (B,) to fewer frames."""
        raise NotImplementedError

    def embed(self, x: Tensor, n: Tensor) -> Tensor:
        """Return the input of the first layer (B, F, H): hidden state 0."""
        raise NotImplementedError

    def context(self, x: Tensor, n: Tensor) -> Context:
        """Return a layer's second argument, by default (B, 1, 1, F) the frames that attention may use."""
        return Context(valid(n, x.shape[1])[:, None, None])

    def layer(self, index: int, x: Tensor, context: Context) -> Tensor:
        """Apply layer `index`, counted from 1: (B, F, H) to (B, F, H)."""
        raise NotImplementedError

    def finish(self, x: Tensor) -> Tensor:
        """Apply the step after the last layer, for example a norm."""
        return x

    def parts(self) -> Parts:
        """Return the modules and parameters of every step."""
        raise NotImplementedError

    def architecture(self) -> dict[str, Any]:
        """Return plain JSON from which `build_encoder` makes the same network without its weights."""
        raise NotImplementedError

    def load_weights_(self) -> None:
        """Load pre-trained weights, for a network that is not made from its checkpoint."""

    @property
    def trained(self) -> bool:
        """Whether any parameter is trained."""
        return any(parameter.requires_grad for parameter in self.parameters())

    @property
    def trained_layers(self) -> int:
        """How many layers a backward pass goes through."""
        return max(0, self.averaged_layers[-1] - self.frozen)

    def stem(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the part that is never trained, in evaluation mode and without gradient.

        waves: (B, T) float32 at 16 kHz   lengths: (B,) samples, the rest is padding; on the CPU or as waves are
        returns: (B, F, K), zero beyond the valid frames, and how many are valid (B,)
        raises ValueError if an utterance is too short for one frame, or longer than the encoder allows
        """
        if not torch.compiler.is_exporting():  # a graph has no lengths yet
            self.check(lengths)
        lengths = lengths.to(waves.device, non_blocking=True)
        with torch.no_grad():
            # bf16 has too few digits for spectra and for statistics of a waveform
            with torch.autocast(waves.device.type, enabled=False):
                x, n = self.front(waves.float() * valid(lengths, waves.shape[1]), lengths)
            if self.train_features:
                return x, n
            x, n = self.features(x, n)
            if self.frozen == 0:
                return x, n
            return self._zeroed(self._average(x, n, 0, self.stem_layers), n), n

    def trunk(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the trained part to the output of `stem`.

        returns: frames (B, F, H), zero beyond the valid ones, and how many are valid (B,)
        """
        if self.frozen == self.depth:
            return x, n
        if self.train_features:
            x, n = self._in_parts(lambda x, n, _: self.features(x, n), x, n)
        return self._zeroed(self._average(x, n, self.frozen, self.averaged_layers), n), n

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, F, H) frames of (B, T) waves, and how many are valid (B,).

        lengths: (B,) samples
        """
        return self.trunk(*self.stem(waves, lengths))

    def train(self, mode: bool = True) -> Self:
        """Set training mode for the trained parts, and only if the encoder's own noise is on."""
        super().train(mode and self.noise)
        for part in self._frozen_parts():
            if isinstance(part, nn.Module):
                part.eval()
        return self

    def freeze_(self) -> None:
        """Take the gradient from the frozen parts; a family calls it once it has its modules."""
        for part in self._frozen_parts():
            part.requires_grad_(False)

    @property
    def stem_layers(self) -> tuple[int, ...]:
        """The hidden states that the stem averages.

        The chosen ones if the whole encoder is frozen, else the stem's last one.
        """
        return self.averaged_layers if self.frozen == self.depth else (self.frozen,)

    def _frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        """Return the stem's parts and the unused layers', above the last one averaged."""
        parts, last = self.parts(), self.averaged_layers[-1]
        first_trained = 2 + self.frozen if self.frozen else int(not self.train_features)
        first_unused = len(parts) if last == self.depth else 2 + last
        if self.frozen == self.depth:
            first_trained = first_unused
        return [part for group in parts[:first_trained] + parts[first_unused:] for part in group]

    def _average(self, x: Tensor, n: Tensor, first: int, layers: tuple[int, ...]) -> Tensor:
        states = [state for index, state in self._states(x, n, first, layers[-1]) if index in layers]
        return torch.stack(states).mean(dim=0) if len(states) > 1 else states[0]

    def _states(self, x: Tensor, n: Tensor, first: int, last: int) -> Iterator[tuple[int, Tensor]]:
        """Yield hidden states `first` to `last`.  x: state `first`, or the features if that is 0"""
        x = self.embed(x, n) if first == 0 else x
        context = self.context(x, n)
        for index in range(first, last + 1):
            if index > first and not self._dropped(index):
                x = self._in_parts(partial(self._layer, index), x, *context)
            yield index, self.finish(x) if index == self.depth else x

    def _layer(self, index: int, x: Tensor, rows: Tensor, shared: Tensor | None) -> Tensor:
        return self.layer(index, x, Context(rows, shared))

    def _in_parts(self, layer: Layer, x: Tensor, rows: Tensor, shared: Tensor | None = None) -> Any:
        """Apply a layer, or the convolutions, in parts where a gradient is wanted and `part` says so."""
        if self.part is None or not torch.is_grad_enabled():
            return layer(x, rows, shared)
        return in_parts(layer, self.part, x, rows, shared)

    def _dropped(self, index: int) -> bool:
        """Draw layer drop (Fan et al. 2020) for a trained layer, from torch's generator alone."""
        droppable = self.training and index > self.frozen and self.layerdrop > 0
        return droppable and torch.rand(()).item() < self.layerdrop

    @staticmethod
    def _zeroed(x: Tensor, n: Tensor) -> Tensor:
        return x * valid(n, x.shape[1])[..., None]


def valid(n: Tensor, frames: int) -> Tensor:
    """Return a (B, frames) mask: True for the first n of each row.  n: (B,)"""
    return torch.arange(frames, device=n.device) < n[:, None]


def _frozen(choice: Encoder, depth: int) -> int:
    frozen = depth if choice.frozen_layers == -1 else choice.frozen_layers
    if frozen > depth:
        raise EncoderError(f"frozen_layers is {frozen}; {choice.encoder} has {depth} layers (-1 freezes all)")
    if choice.train_features and frozen > 0:
        raise EncoderError(
            f"train_features is on and frozen_layers is {choice.frozen_layers}; the convolutions lie below the layers: "
            "turn train_features off, or set frozen_layers to 0"
        )
    return frozen


def _averaged_layers(choice: Encoder, depth: int, frozen: int) -> tuple[int, ...]:
    """Return the numbers of the chosen hidden states, counted from the input, in order."""
    for index in choice.layers:
        if not -depth - 1 <= index <= depth:
            raise EncoderError(
                f"layers names {index}; {choice.encoder} has 0 to {depth}, or -1 to {-depth - 1} from the end"
            )
    layers = tuple(sorted({index % (depth + 1) for index in choice.layers}))
    if frozen < depth and layers[0] < frozen:
        raise EncoderError(
            f"layers names {layers[0]}, below the {frozen} frozen layers, whose outputs are not stored; "
            f"name layers from {frozen} on, or set frozen_layers to {layers[0]} or -1"
        )
    return layers
