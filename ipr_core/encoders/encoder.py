"""Speech encoders: waves (B, T) → frames (B, F, H), the same for an utterance whoever its neighbours are (Eq. 1).

Every family is the same five steps: a fixed front end, convolutions, the input of the first layer, the layers, and
what follows the last one. `SpeechEncoder` cuts them into a stem that is never trained, so that its output can be kept
per utterance, and a trunk that is. `compact.py` holds our own small encoder, `pretrained.py` those of Hugging Face.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ipr_core.config import Encoder

MIN_SAMPLES = 400
"""25 ms at 16 kHz: one analysis window, and the receptive field of wav2vec 2.0's convolutions."""


class SpeechEncoder(nn.Module):
    """Waves to frames, as a stem that is never trained and a trunk that is.

    A family gives `front`, `features`, `embed`, `layer`, `finish` and `parts`. Hidden state 0 is the input of the
    first layer, i the output of layer i; the last is what `finish` makes of the last layer's output.
    """

    width: int
    """Size H of a frame."""
    depth: int
    """How many layers there are."""

    def __init__(self, width: int, depth: int, choice: Encoder, layerdrop: float = 0.0):
        super().__init__()
        self.width, self.depth = width, depth
        self.frozen = _frozen(choice, depth)
        self.kept = _kept(choice, depth, self.frozen)
        self.train_features = choice.train_features
        self.noise = choice.encoder_noise
        self.layerdrop = layerdrop

    def front(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) waves, zero beyond (B,) lengths, to (B, F, K) without parameters, and the valid frames (B,)."""
        raise NotImplementedError

    def check(self, lengths: Tensor) -> None:
        """raises ValueError for samples (B,) of which no frame can be made"""
        if lengths.min() < MIN_SAMPLES:
            raise ValueError(f"an utterance has {int(lengths.min())} samples; an encoder needs at least {MIN_SAMPLES}")

    def features(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        """The convolutions: (B, F, K), (B,) to fewer frames."""
        raise NotImplementedError

    def embed(self, x: Tensor, n: Tensor) -> Tensor:
        """The input of the first layer (B, F, H): hidden state 0."""
        raise NotImplementedError

    def context(self, x: Tensor, n: Tensor) -> Any:
        """What every layer needs besides its input: which frames may be attended to, (B, 1, 1, F)."""
        return valid(n, x.shape[1])[:, None, None]

    def layer(self, index: int, x: Tensor, context: Any) -> Tensor:
        """Layer `index`, counted from 1: (B, F, H) to (B, F, H)."""
        raise NotImplementedError

    def finish(self, x: Tensor) -> Tensor:
        """What follows the last layer."""
        return x

    def parts(self) -> list[list[nn.Module | nn.Parameter]]:
        """What holds parameters: of the features, of hidden state 0, of each layer, of the finish."""
        raise NotImplementedError

    def architecture(self) -> dict[str, Any]:
        """All that `build_encoder` needs to make the same network without its weights, as plain JSON."""
        raise NotImplementedError

    def load_weights_(self) -> None:
        """Load what was trained elsewhere, for a network that is not made from its checkpoint."""

    @property
    def trained(self) -> bool:
        """Whether any parameter is trained."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def stem(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The part that is never trained, in evaluation mode and without gradient.

        waves: (B, T) float32 at 16 kHz   lengths: (B,) samples, the rest is padding; on the CPU or as waves are
        returns: (B, F, K), zero beyond the valid frames, and how many are valid (B,)
        raises ValueError where an utterance is too short for one frame, or longer than the encoder hears
        """
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
            return self._zeroed(self._average(x, n, 0, self.kept_in_stem), n), n

    def trunk(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        """The rest, trained: what `stem` returned to frames (B, F, H), zero beyond the valid ones, and these (B,)."""
        if self.frozen == self.depth:
            return x, n
        if self.train_features:
            x, n = self.features(x, n)
        return self._zeroed(self._average(x, n, self.frozen, self.kept), n), n

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) waves, (B,) samples to (B, F, H) frames and how many are valid (B,)."""
        return self.trunk(*self.stem(waves, lengths))

    def train(self, mode: bool = True) -> SpeechEncoder:
        """Training mode for what is trained, and only if the encoder's own noise is wanted."""
        super().train(mode and self.noise)
        for part in self._frozen_parts():
            if isinstance(part, nn.Module):
                part.eval()
        return self

    def freeze_(self) -> None:
        """Takes the gradient from what is not trained; a family calls it once it has its modules."""
        for part in self._frozen_parts():
            part.requires_grad_(False)

    @property
    def kept_in_stem(self) -> tuple[int, ...]:
        """The hidden states that the stem averages: the chosen ones if it is all, else the one it ends with."""
        return self.kept if self.frozen == self.depth else (self.frozen,)

    def _frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        """Those of the stem, and the layers above the last one chosen, whose outputs nobody hears."""
        parts = self.parts()
        below = 2 + self.frozen if self.frozen else int(not self.train_features)
        above = len(parts) if self.kept[-1] == self.depth else 2 + self.kept[-1]
        if self.frozen == self.depth:
            below = above
        return [part for group in parts[:below] + parts[above:] for part in group]

    def _average(self, x: Tensor, n: Tensor, first: int, kept: tuple[int, ...]) -> Tensor:
        states = [state for index, state in self._states(x, n, first, kept[-1]) if index in kept]
        return torch.stack(states).mean(dim=0) if len(states) > 1 else states[0]

    def _states(self, x: Tensor, n: Tensor, first: int, last: int) -> Iterator[tuple[int, Tensor]]:
        """Hidden states `first` to `last`; x is state `first`, or the features where that is 0."""
        x = self.embed(x, n) if first == 0 else x
        context = self.context(x, n)
        for index in range(first, last + 1):
            if index > first and not self._dropped(index):
                x = self.layer(index, x, context)
            yield index, self.finish(x) if index == self.depth else x

    def _dropped(self, index: int) -> bool:
        """Layer drop (Fan et al. 2020) of trained layers, from torch's generator alone."""
        drawn = self.training and index > self.frozen and self.layerdrop > 0
        return drawn and torch.rand(()).item() < self.layerdrop

    @staticmethod
    def _zeroed(x: Tensor, n: Tensor) -> Tensor:
        return x * valid(n, x.shape[1])[..., None]


def valid(n: Tensor, frames: int) -> Tensor:
    """(B,) counts to a (B, frames) mask: True for the first n of each row."""
    return torch.arange(frames, device=n.device) < n[:, None]


def mel_power(waves: Tensor, lengths: Tensor, filters: Tensor, hop: int = 160) -> tuple[Tensor, Tensor]:
    """Power in mel bands, in Hann windows every `hop` samples.

    waves: (B, T), zero beyond (B,) lengths   filters: (n_fft // 2 + 1, M)
    returns: (B, F, M), and how many frames have their middle inside the utterance (B,)

    The end is padded with zeros, as Whisper pads: mirrored, it would depend on how long the batch is.
    """
    n_fft = 2 * (filters.shape[0] - 1)
    half = n_fft // 2
    padded = torch.cat([waves[:, 1 : half + 1].flip(1), waves, waves.new_zeros(len(waves), half)], dim=1)
    window = torch.hann_window(n_fft, device=waves.device)
    spectrum = torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True)
    frames = -(-waves.shape[1] // hop)
    power = spectrum[:, :, :frames].abs().square()  # (B, n_fft // 2 + 1, F)
    return power.mT @ filters, (lengths + hop - 1) // hop


def _frozen(choice: Encoder, depth: int) -> int:
    frozen = depth if choice.frozen_layers == -1 else choice.frozen_layers
    if frozen > depth:
        raise ValueError(f"frozen_layers is {frozen}; {choice.encoder} has {depth} layers (-1 freezes all)")
    if choice.train_features and frozen > 0:
        raise ValueError(
            f"train_features is on and frozen_layers is {choice.frozen_layers}; the convolutions lie below the layers: "
            "turn train_features off, or set frozen_layers to 0"
        )
    return frozen


def _kept(choice: Encoder, depth: int, frozen: int) -> tuple[int, ...]:
    for index in choice.layers:
        if not -depth - 1 <= index <= depth:
            raise ValueError(
                f"layers names {index}; {choice.encoder} has 0 to {depth}, or -1 to {-depth - 1} from the end"
            )
    kept = tuple(sorted({index % (depth + 1) for index in choice.layers}))
    if frozen < depth and kept[0] < frozen:
        raise ValueError(
            f"layers names {kept[0]}, below the {frozen} frozen layers, whose outputs are not kept; "
            f"name layers from {frozen} on, or set frozen_layers to {kept[0]} or -1"
        )
    return kept
