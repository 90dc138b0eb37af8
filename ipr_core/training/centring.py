"""Centring by speaker: each speaker's mean is taken from the vectors of their utterances. No label is needed for it.

Beyond the paper. How a voice sounds from day to day is in every vector of a frozen encoder; what is left without it is
more about the emotion. All utterances of a speaker count, of every part, since nothing but the sound and the speaker's
name is used.

B utterances, P size of a pooled vector.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

SHRINKAGE = 4
"""Utterances at the centre of all that every speaker's mean counts in addition: one clip says little of its speaker."""


class SpeakerMeans:
    """Sums of vectors by speaker, added up batch by batch, and the offsets that follow from them.

    An utterance whose speaker is not known ("") has no offset.

    centre: (P,) where every speaker is moved to; None: the mean of all that was added
    """

    def __init__(self, centre: Tensor | None = None):
        self._centre = centre.cpu().double() if centre is not None else None
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, speakers: Sequence[str], vectors: Tensor) -> None:
        """Add utterances' vectors (B, P), each by its speaker's name."""
        # On the CPU first: Apple's GPU has no double precision.
        for speaker, vector in zip(speakers, vectors.cpu().double(), strict=True):
            self._sums[speaker] = self._sums[speaker] + vector if speaker in self._sums else vector
            self._counts[speaker] = self._counts.get(speaker, 0) + 1

    @property
    def known(self) -> bool:
        """Whether any speaker has a name."""
        return any(self._sums)

    def save(self, file: str | Path) -> None:
        """Write the sums and counts; `read` makes the same offsets of them, to the bit."""
        names = json.dumps([[name, self._counts[name]] for name in self._sums])
        save_file({"sums": torch.stack(list(self._sums.values()))}, file, metadata={"speakers": names})

    @classmethod
    def read(cls, file: str | Path, centre: Tensor) -> SpeakerMeans | None:
        """Read what `save` wrote; None if it cannot be read.  centre: (P,)"""
        try:
            with safe_open(file, "pt") as stored:
                counts = dict(json.loads(stored.metadata()["speakers"]))
                sums = stored.get_tensor("sums")
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None
        means = cls(centre)
        means._counts, means._sums = counts, dict(zip(counts, sums, strict=True))
        return means

    @property
    def centre(self) -> Tensor:
        """(P,) float32: where every speaker is moved to."""
        if self._centre is None:
            total = torch.stack(list(self._sums.values())).sum(dim=0)
            return (total / sum(self._counts.values())).float()
        return self._centre.float()

    def offsets(self, speakers: Sequence[str]) -> Tensor:
        """Return what is taken from every vector of utterances by these speakers, (B, P) float32, on the CPU.

        That is the speaker's mean less the centre, times n / (n + SHRINKAGE) for n utterances.
        """
        centre = self.centre.double()
        by_name = {name: self._offset(name, centre) for name in dict.fromkeys(speakers)}
        return torch.stack([by_name[name] for name in speakers]).float()

    def _offset(self, speaker: str, centre: Tensor) -> Tensor:
        n = self._counts.get(speaker, 0)
        if not speaker or not n:
            return torch.zeros_like(centre)
        return (self._sums[speaker] / n - centre) * (n / (n + SHRINKAGE))
