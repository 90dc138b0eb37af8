"""The validation part: a share of D1 and of D2 that no system is trained on.

V1 is held out of D1, V2 of D2. Free settings are chosen by V1's labels, soft labels are calibrated on the votes of V1
and V2, and D3 stays for the test alone. The paper has no such part.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core.config import Config

HELD_OUT = {"D1": "V1", "D2": "V2"}
"""A part of the training data → the name of what is held out of it."""
_NEAR = 2.0  # whole speakers hold between 1/2 of the share and twice the share, else utterances are drawn


def hold_out(table: DataFrame, sounds: NDArray[np.int64], config: Config) -> DataFrame:
    """Return the table with `validation_share` of D1 and of D2 as V1 and V2.

    Whole speakers are held out where their utterances are about that share of the training data and D1 keeps every
    class; else utterances of every class. `data_seed` chooses, by a hash, whatever the table's order. Utterances of one
    sound stay together.

    table: (N,) utterances with label, speaker, part   sounds: (N,) numbers, equal for utterances of the same sound
    """
    share = config.partition.validation_share
    training = table["part"].isin(list(HELD_OUT)).to_numpy()
    if not share or not training.any():
        return table
    held_out = _whole_speakers(table, training, share, config.data.data_seed)
    if held_out is None or not _is_enough(table, _with_copies(held_out & training, sounds, training)):
        held_out = _of_every_class(table, sounds, training, share, config.data.data_seed)
    rows = _with_copies(held_out & training, sounds, training)
    return table.assign(part=table["part"].mask(rows, table["part"].map(HELD_OUT)))


def with_its_parts(table: DataFrame) -> DataFrame:
    """Return the table with V1 as D1 and V2 as D2, as its partition was before the validation part was held out."""
    return table.assign(part=table["part"].replace({part: whole for whole, part in HELD_OUT.items()}))


def order(seed: int, name: object) -> int:
    """Return the place of a name in the random order of a seed, the same in every table and on every machine."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest())


def _whole_speakers(table: DataFrame, training: NDArray[np.bool_], share: float, seed: int) -> NDArray[np.bool_] | None:
    """Return (N,) the utterances of the drawn speakers; None where whole speakers are not near the share."""
    sizes = table.loc[training, "speaker"].value_counts()
    speakers = sorted(sizes.index, key=lambda name: order(seed, f"validation:{name}"))
    if "" in sizes.index or len(speakers) < 2:
        return None
    shares = sizes[speakers].to_numpy().cumsum() / training.sum()
    count = int(np.abs(shares - share).argmin()) + 1
    if not share / _NEAR <= shares[count - 1] <= share * _NEAR:
        return None
    return table["speaker"].isin(speakers[:count]).to_numpy()


def _of_every_class(
    table: DataFrame, sounds: NDArray[np.int64], training: NDArray[np.bool_], share: float, seed: int
) -> NDArray[np.bool_]:
    """Return (N,) whether an utterance is of the drawn share of its part and class, rounded down."""
    names = table["id"].groupby(sounds).transform("min")  # one place for all utterances of a sound
    places = DataFrame({"part": table["part"], "label": table["label"]})[training]
    places["place"] = [order(seed, f"validation:{name}") for name in names[training]]
    groups = places.groupby(["part", "label"])["place"]
    rank, size = groups.rank(method="first"), groups.transform("size")
    held_out = np.zeros(len(table), dtype=bool)
    held_out[training] = (rank <= np.floor(share * size + 1e-9)).to_numpy()
    return held_out


def _is_enough(table: DataFrame, held_out: NDArray[np.bool_]) -> bool:
    """Tell whether what is left of D1 has every class of it, and D2 an utterance."""
    left, precise = ~held_out, (table["part"] == "D1").to_numpy()
    classes = set(table.loc[precise, "label"]) == set(table.loc[precise & left, "label"])
    return classes and bool(((table["part"] == "D2") & left).any())


def _with_copies(
    held_out: NDArray[np.bool_], sounds: NDArray[np.int64], training: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the utterances held out, with those of the same sound."""
    return np.isin(sounds, sounds[held_out]) & training
