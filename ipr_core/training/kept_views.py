"""Second views that passed a wholly frozen encoder, kept on disk: every run with the same ones has them for nothing.

Such a view is one pooled vector, so an epoch's are some megabytes. A file holds an epoch's vectors, and its name is a
digest of all that they depend on: utterances and their order in minibatches, audio, encoder, arithmetic, code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ipr_core.atomic import WriteError, write
from ipr_core.config import Config
from ipr_core.data import cache
from ipr_core.data.cache import default_cache
from ipr_core.data.dataset import Dataset
from ipr_core.runs import provenance
from ipr_core.training.model import Recogniser, encoder_digest

Key = tuple[int, ...]
"""An epoch, and the rows of a minibatch."""
Padded = tuple[Tensor, Tensor]
_ABOVE = {"centring", "standardise", "embedding", "embedding_activation", "dropout"}
"""Settings of what comes after the pooled vectors."""


class KeptViews:
    """The files of one encoder, corpus, seed and stream.

    basis: a text of all that the vectors depend on besides epoch and minibatches   folder: of the cache
    """

    def __init__(self, basis: str, data: Dataset, folder: Path | None = None):
        self._basis, self._folder = basis, folder or default_cache() / "second_views"
        cache.clear_once(self._folder)
        self._sounds = list(zip(data.table["id"].tolist(), data.waves.keys, strict=True))

    def read(self, keys: Sequence[Key], device: torch.device) -> dict[Key, Padded]:
        """Return the views (B, 1, P) of an epoch's minibatches, on a device; nothing where they are not kept."""
        array = cache.sealed(self._file(keys), np.float32, 2) if keys else None
        rows = [len(key) - 1 for key in keys]
        if array is None or len(array[0]) != sum(rows):
            return {}
        parts = torch.from_numpy(np.array(array[0])).to(device)[:, None].split(rows)
        one = torch.ones(max(rows), dtype=torch.long, device=device)
        return {key: (part, one[: len(part)]) for key, part in zip(keys, parts, strict=True)}

    def write(self, views: Mapping[Key, Padded]) -> None:
        """Keep the views of an epoch's minibatches, all of them. A cache that cannot be written keeps nothing."""
        vectors = torch.cat([x[:, 0] for x, _ in views.values()]).float().cpu().numpy()

        def save(file: str) -> None:
            np.save(file, vectors)
            cache.seal(file)

        try:
            write(self._file(list(views)), save)
        except WriteError:
            return

    def _file(self, keys: Sequence[Key]) -> Path:
        digest = hashlib.blake2b(self._basis.encode(), digest_size=16)
        for key in keys:
            digest.update(json.dumps([key[0], *(self._sounds[row] for row in key[1:])]).encode())
        return self._folder / f"{digest.hexdigest()}.npy"


def kept_views(config: Config, model: Recogniser, data: Dataset) -> KeptViews | None:
    """Return the kept second views of a configuration; None where the encoder is trained or has no file."""
    encoder = encoder_digest(config)
    if encoder is None or model.trained_below:
        return None
    training = config.training
    basis = [
        encoder, config.encoder.model_dump(mode="json", exclude=_ABOVE), config.audio.model_dump(mode="json"),
        training.system, training.seed, training.stream, training.precision,
        model.mean.device.type, torch.get_num_threads(),
        provenance.version(),
    ]  # fmt: skip
    return KeptViews(json.dumps(basis), data)
