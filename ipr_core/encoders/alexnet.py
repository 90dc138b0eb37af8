"""Deep spectrum features: AlexNet's penultimate layer on pictures of spectrograms.

Cummins et al., ACM MM 2017. The picture of an utterance is its spectrogram in dB in the colours of viridis, 227 × 227
pixels whatever its length. AlexNet is Krizhevsky's (2014) with torchvision's names, so that its ImageNet weights fit;
it is never trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ipr_core.config import Encoder
from ipr_core.encoders.encoder import EncoderError, Parts, SpeechEncoder, valid

SIDE = 227
"""Pixels of a picture's edge."""
WIDTH = 4096
WEIGHTS = "model.safetensors"
_WINDOW, _HOP = 256, 128  # samples: 16 and 8 ms
_RANGE = 80.0  # dB below the loudest that a picture shows
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels
_VIRIDIS = "440154 482878 3E4989 31688E 26828E 1F9E89 35B779 6ECE58 B5DE2B FDE725"


class AlexNet(SpeechEncoder):
    """An utterance to one frame of 4096."""

    colours: Tensor
    one_frame = True

    def __init__(self, choice: Encoder):
        frozen = {"frozen_layers": -1, "layers": (-1,), "train_features": False}
        super().__init__(WIDTH, 0, choice.model_copy(update=frozen))
        self.folder = choice.image_weights
        self.register_buffer("colours", _colours(), persistent=False)  # (10, 3)
        self.convolutions = nn.ModuleDict({"features": _convolutions(), "classifier": _dense()})
        self.apply(_spread)
        self.requires_grad_(False)

    def load_weights_(self) -> None:
        """Load ImageNet's weights if their folder is set; raises EncoderError if it does not hold them."""
        if self.folder is not None:
            self.convolutions.load_state_dict(_read(Path(self.folder), self.convolutions.state_dict()))

    def front(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pictures (B, 3, SIDE, SIDE), and one frame each."""
        spectra, n = levels(waves, lengths)
        grey = resized(spectra, n).mT.flip(1)  # low frequencies at the bottom
        return painted(grey, self.colours), torch.ones_like(n)

    def features(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        x = self.convolutions["features"](x).flatten(1)
        return self.convolutions["classifier"](x)[:, None], n

    def train(self, mode: bool = True) -> Self:
        return super().train(False)

    def parts(self) -> Parts:
        return [[self.convolutions], []]

    def architecture(self) -> dict[str, Any]:
        return {"family": "alexnet"}


def levels(waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return the spectrogram in dB below the utterance's loudest.

    80 dB are 0, and 0 dB are 1.
    waves: (B, T), zero beyond (B,) lengths
    returns: (B, F, 129), and how many frames are valid (B,)
    """
    padded = F.pad(waves, (_WINDOW // 2, _WINDOW // 2))
    window = torch.hann_window(_WINDOW, device=waves.device)
    power = torch.stft(padded, _WINDOW, _HOP, window=window, center=False, return_complex=True).abs().square().mT
    n = (lengths // _HOP + 1).clamp(max=power.shape[1])
    mask = valid(n, power.shape[1])
    loudest = (power * mask[..., None]).amax(dim=(1, 2), keepdim=True).clamp_min(1e-10)
    decibels = 10 * (power.clamp_min(1e-10) / loudest).log10()
    return (1 + decibels / _RANGE).clamp(0, 1), n


def resized(spectra: Tensor, n: Tensor) -> Tensor:
    """Stretch the valid frames over the whole picture.

    spectra: (B, F, bins)   n: (B,) valid frames   returns: (B, SIDE, SIDE)
    """
    positions = torch.linspace(0, 1, SIDE, device=spectra.device)
    across = positions * (n[:, None] - 1) / max(spectra.shape[1] - 1, 1)  # (B, SIDE), share of all frames
    grid = torch.stack(torch.broadcast_tensors(2 * positions - 1, (2 * across - 1)[..., None]), dim=-1)
    return F.grid_sample(spectra[:, None], grid.to(spectra), mode="bilinear", align_corners=True)[:, 0]


def painted(grey: Tensor, colours: Tensor) -> Tensor:
    """Colour a grey picture, normalised as ImageNet's pixels are.

    grey: (B, H, W) from 0 to 1   colours: (K, 3) the scale   returns: (B, 3, H, W)
    """
    level = grey * (len(colours) - 1)
    index = level.long().clamp(max=len(colours) - 2)
    colour = torch.lerp(colours[index], colours[index + 1], (level - index)[..., None])  # (B, H, W, 3)
    # filled where they are, for a copy of them would wait for a GPU
    mean, deviation = (torch.stack([grey.new_full((), x) for x in pixel]) for pixel in (_MEAN, _DEVIATION))
    return ((colour - mean) / deviation).permute(0, 3, 1, 2)


def _colours() -> Tensor:
    return torch.tensor([list(bytes.fromhex(colour)) for colour in _VIRIDIS.split()]) / 255


def _convolutions() -> nn.Sequential:
    """Return the convolutions, to (B, 256, 6, 6)."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip


def _dense() -> nn.Sequential:
    """Return the two layers before ImageNet's classes."""
    return nn.Sequential(
        nn.Dropout(), nn.Linear(256 * 6 * 6, WIDTH), nn.ReLU(), nn.Dropout(), nn.Linear(WIDTH, WIDTH), nn.ReLU()
    )


def _spread(module: nn.Module) -> None:
    """Initialise as He does; through torch's own weights, all pictures would come out nearly alike."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        assert module.bias is not None, "every layer of AlexNet has a bias"
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)


def _read(folder: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Read the expected weights.

    raises EncoderError if a file lacks some, or has them in other shapes
    """
    file = folder / WEIGHTS
    cure = f"image_weights names the folder of AlexNet's ImageNet weights, {WEIGHTS} with torchvision's names"
    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise EncoderError(f"{file} cannot be read ({error}); {cure}") from None
    wrong = [name for name, value in expected.items() if name not in weights or weights[name].shape != value.shape]
    if wrong:
        raise EncoderError(f"{file} lacks {len(wrong)} weights or has them in another shape, {wrong[0]} first; {cure}")
    return {name: weights[name].float() for name in expected}
