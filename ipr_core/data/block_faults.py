"""The faults of a corpus that is read a block at a time, each once and in the order of its rows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core.config import Data
from ipr_core.data import corpora
from ipr_core.data.faults import CorpusError, Fault


class BlockFaults:
    """What is wrong with the blocks so far; ids are remembered by 8 bytes each."""

    def __init__(self, data: Data):
        self._data = data
        self._faults: list[Fault] = []
        self._ids: list[NDArray[np.uint64]] = []

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, utterances: DataFrame, faults: Iterable[Fault]) -> None:
        """Take up a block's utterances, and its faults."""
        self._ids.append(pd.util.hash_array(utterances["id"].to_numpy(object)))
        self._faults += faults

    def refuse(self) -> None:
        """Raise CorpusError with every fault, if there is one; also where an id stands in two blocks."""
        faults = self._faults
        if len(np.unique(np.concatenate(self._ids))) < sum(map(len, self._ids)):
            # rare, so that reading the whole table now is affordable
            faults = faults + corpora.survey(self._data, labels_needed=False, progress=False)[1]
        if faults:
            raise CorpusError(sorted(dict.fromkeys(faults), key=lambda fault: (fault.source, fault.row or 0)))
