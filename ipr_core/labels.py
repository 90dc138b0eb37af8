"""Soft and single labels: of a run's own utterances, and of any corpus by a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from tqdm import tqdm

from ipr_core import corrections, dataset
from ipr_core.atomic import write
from ipr_core.batches import by_length
from ipr_core.config import Data
from ipr_core.metrics import entropy
from ipr_core.model import Recogniser
from ipr_core.runs import Run
from ipr_core.waves import WaveStore, default_cache

if TYPE_CHECKING:
    from ipr_core.session import Session


def of_session(session: Session) -> DataFrame:
    """The labels of every utterance of a session's data after its last evaluation.

    What the system labels with comes first: the prototypes where D2 moves them, the classifier otherwise.
    """
    own, soft = session.own.cpu().numpy(), session.soft.cpu().numpy()
    columns = ["id", "path", "start", "end", "speaker", "part", "label", "share"]
    return table(session.data.table[columns], session.data.classes, own, soft, session.system.moves_prototypes)


def annotate(run: Run, corpus: Data, out: Path | None = None, progress: bool = True) -> list[Path]:
    """Soft and single labels of any corpus, labelled or not, by a trained run; `table` says what they hold.

    Utterances that were corrected in this run have the corrected single label; `corrections.honoured` says which.
    corpus: as for training; its classes do not matter   out: a folder, the run's own if absent
    returns: the Parquet and the CSV file
    raises CorpusError with every fault of the corpus at once, RunError where the corrections' file is damaged
    """
    made = corrections.newest(run)  # first, since labelling takes long
    config = run.config.replace(**corpus.model_dump() | {"classes": run.config.data.classes})
    utterances = dataset.readable(config, default_cache(), progress, labels_needed=False)
    waves = WaveStore.build(utterances, default_cache(), progress=progress)
    model = Recogniser.load(run.folder / "model")
    own, soft = _predicted(model, waves, config.audio.max_seconds, progress)
    columns = [c for c in ("id", "path", "start", "end", "speaker", "label") if c in utterances]
    found = table(utterances[columns], model.classes, own, soft, model.by_prototypes)
    found = corrections.honoured(found, waves.keys, made)
    out = Path(out or run.folder)
    out.mkdir(parents=True, exist_ok=True)
    name = Path(corpus.corpus_path).stem if corpus.corpus == "manifest" else corpus.corpus
    places = [out / f"annotated-{name}.parquet", out / f"annotated-{name}.csv"]
    write(places[0], found.to_parquet)
    write(places[1], lambda path: found.to_csv(path, index=False))
    return places


@torch.no_grad()
def _predicted(model: Recogniser, waves: WaveStore, max_seconds: float, progress: bool) -> tuple[NDArray, NDArray]:
    """(N, C) shares of every utterance by the classifier and by the prototypes, on a GPU where there is one."""
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    where = model.prototypes.device
    own, soft = (np.empty((len(waves), len(model.classes)), np.float32) for _ in range(2))
    for rows in tqdm(by_length(waves.lengths, 16), "Labelling", unit="batch", delay=2, disable=not progress):
        batch, lengths = waves.batch(rows, max_seconds)
        by_model, by_prototypes = model.label(*model(*model.stem(batch.to(where), lengths.to(where))))
        own[rows], soft[rows] = by_model.cpu().numpy(), by_prototypes.cpu().numpy()
    return own, soft


def table(
    utterances: DataFrame, classes: tuple[str, ...], own: NDArray, soft: NDArray, by_prototypes: bool
) -> DataFrame:
    """Utterances with their labels.

    own, soft: (N, C) shares by the classifier and by the prototypes
    returns: the columns of `utterances`, then single_label, soft_<class> and entropy (bits) of what the system
    labels with, then model_<class> and prototypes_<class>, and whether both name the same class (views_agree)
    """
    chosen = soft if by_prototypes else own
    names = np.array(classes)
    return utterances.assign(
        single_label=names[chosen.argmax(axis=1)],
        **{f"soft_{c}": chosen[:, i] for i, c in enumerate(classes)},
        entropy=entropy(chosen),
        **{f"model_{c}": own[:, i] for i, c in enumerate(classes)},
        **{f"prototypes_{c}": soft[:, i] for i, c in enumerate(classes)},
        views_agree=own.argmax(axis=1) == soft.argmax(axis=1),
    )
