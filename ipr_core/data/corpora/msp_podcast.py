"""MSP-Podcast: turns of podcasts, each with the votes of five workers or more, by name.

Lotfian and Busso 2019. Releases differ, and all of these are read: Labels/labels_consensus.csv or .json (spelt
labels_concensus before 1.10, in a folder Labels, labels or label), and labels_detailed.csv or .json. The detailed table
has a row per worker, in columns (a worker, EmoClass_Major, EmoClass_Second; releases 1.6 and 2.0) or in one text
EmoDetail (1.7 to 1.12); the JSON is {file: {worker: {"EmoClass_Major": …}}}. The label is the release's consensus; X,
no agreement, is no label. A vote is the worker's primary emotion (EmoClass_Major); the secondary ones
(EmoClass_Second), all that the worker heard, are not counted. The corpus was not at hand: the layout is that of public
loaders, see data/README.md.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from ipr_core.config import Data
from ipr_core.data import tables
from ipr_core.data.corpora.table import UNLABELLED, corpus_folder
from ipr_core.data.faults import CorpusError, Fault, Note, enumeration, number_of, shortened
from ipr_core.data.listing import AudioFiles
from ipr_core.data.reading import ROW, Choice, Reading, joined

LAYOUT = "Audios/*.wav, Labels/labels_consensus.csv and Labels/labels_detailed.csv (or .json)"
LICENCE = "for research, after signing an agreement with UT Dallas"
HOME = "https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html"
LETTERS = {
    "A": "angry", "H": "happy", "S": "sad", "N": "neutral", "U": "surprised", "F": "fearful", "D": "disgusted",
    "C": "contemptuous", "O": "other", "X": UNLABELLED,
}  # fmt: skip
WORDS = {
    "angry": "angry", "anger": "angry", "happy": "happy", "happiness": "happy", "sad": "sad", "sadness": "sad",
    "neutral": "neutral", "surprise": "surprised", "surprised": "surprised", "fear": "fearful", "disgust": "disgusted",
    "contempt": "contemptuous", "other": "other",
}  # fmt: skip
"""What a worker may choose, in small letters; anything else, such as "Other-annoyed", counts as other."""
_NAMES = {"consensus": ("labels_consensus", "labels_concensus"), "detailed": ("labels_detailed",)}
_FOLDERS = ("Labels", "labels", "Label", "label")
_WORKERS = ("WorkerID", "Workers", "Worker")
_DETAIL, _MAJOR = "EmoDetail", "EmoClass_Major"
_DETAILED = (*_WORKERS, _MAJOR, _DETAIL)
_EXTRA = {"Gender": "gender", "Split_Set": "split"}
_CURE = "use the file as released"


def read(data: Data, progress: bool = True) -> Reading:
    """Return the turns that have a consensus label, with the votes of each worker.

    Wavs without a label are left out, with a note. Columns gender and split are the release's.
    raises CorpusError if a file of labels is missing or has not the columns of any release
    """
    root = corpus_folder(data, ["Audio*", "[Ll]abel*"], LAYOUT)
    consensus, faults = _consensus(_file(root, "consensus"))
    votes, vote_faults, notes = _votes(_file(root, "detailed"), consensus["id"])
    files = AudioFiles(root, sorted(folder.name for folder in root.glob("Audio*") if folder.is_dir()))
    clips = files.by_stem()
    for name in sorted(clips.keys() - set(consensus["id"])):
        files.leave_out(clips[name], "without a consensus label")
    paths = {name: str(root / path) for name, path in clips.items()}
    path = consensus["id"].map(paths).fillna(str(root / "Audios") + "/" + consensus["id"] + ".wav")
    table = consensus.assign(path=path)
    return Reading(table, [*faults, *vote_faults, *files.faults], [files.note(), *notes], votes)


def primary(words: Series) -> tuple[Series, list[str]]:
    """Return the emotion of each worker's word, and the words that are none of the release's.

    words: (V,) text, not empty
    """
    codes, different = pd.factorize(words)
    plain = [re.split(r"[^a-z]", word.strip().lower(), maxsplit=1)[0] for word in different]
    odd = [word for word, start in zip(different, plain, strict=True) if start not in WORDS]
    emotions = np.array([WORDS.get(start, "other") for start in plain] or [""], object)
    return Series(emotions[codes] if len(codes) else [], index=words.index, dtype=object), odd


def without_copies(votes: DataFrame) -> tuple[DataFrame, int]:
    """Return votes with the first of each worker's on an utterance alone, and how many were left out."""
    copies = votes.duplicated(["id", "annotator"])
    return votes[~copies].reset_index(drop=True), int(copies.sum())


def _file(root: Path, kind: str) -> Path:
    """Return the file of labels, the CSV before the JSON. raises CorpusError if there is none"""
    for folder in _FOLDERS:
        for name in _NAMES[kind]:
            for suffix in (".csv", ".json"):
                if (file := root / folder / f"{name}{suffix}").is_file():
                    return file
    problem = f"there is no Labels/{_NAMES[kind][0]}.csv or .json in it"
    raise CorpusError([Fault(str(root), None, problem, f"msp_podcast needs {LAYOUT}")])


def _consensus(file: Path) -> tuple[DataFrame, list[Fault]]:
    """Return id, label, speaker, gender, split, source and row of every turn whose label is one of the release's."""
    if file.suffix == ".json":
        rows = [{"FileName": name} | entry for name, entry in _json(file).items() if isinstance(entry, dict)]
        reading = Reading(DataFrame(rows).assign(**{ROW: 0}))
    else:
        reading = tables.read(file, "FileName")
    raw = reading.table
    _check_columns(raw, ("FileName", "EmoClass"), file)
    cells = {name: raw[name].fillna("").astype(str).str.strip() for name in raw if name != ROW}
    label = cells["EmoClass"].map(LETTERS)
    wrong = label.isna() | (cells["FileName"] == "")
    problems = zip(cells["FileName"][wrong], cells["EmoClass"][wrong], raw.loc[wrong, ROW], strict=True)
    faults = [*reading.faults, *(_no_class(file, name, letter, row) for name, letter, row in problems)]
    nobody = Series("", index=raw.index)
    speaker = cells.get("SpkrID", nobody)
    table = {"id": _stem(cells["FileName"]), "label": label, "speaker": speaker.mask(speaker == "Unknown", "")}
    table |= {column: cells.get(name, nobody) for name, column in _EXTRA.items()}
    return DataFrame(table | {"source": file.name, "row": raw[ROW]})[~wrong].reset_index(drop=True), faults


def _votes(file: Path, ids: Series) -> tuple[DataFrame, list[Fault], list[Note]]:
    """Return the votes of the workers on the turns, faults of rows that are none, and notes."""
    raw, faults = _detailed_json(file) if file.suffix == ".json" else _detailed(file)
    blank = (raw["id"] == "") | (raw["annotator"] == "") | (raw["word"] == "")
    problem = "it does not say which worker heard which emotion in which file"
    faults = [*faults, *(Fault(file.name, row, problem, _CURE, "no vote in the row") for row in raw.loc[blank, ROW])]
    raw = raw[~blank]
    label, odd = primary(raw["word"])
    votes = DataFrame({"id": raw["id"], "annotator": raw["annotator"], "label": label, "weight": 1.0})
    strangers = ~votes["id"].isin(set(ids))
    votes, copies = without_copies(votes[~strangers])
    notes = [_note(file, odd, copies, int(strangers.sum()))]
    return votes, faults, [note for note in notes if note]


def _note(file: Path, odd: list[str], copies: int, strangers: int) -> Note | None:
    facts = []
    if strangers:
        facts.append(f"{number_of(strangers, 'vote')} on files without a consensus label passed over")
    if copies:
        facts.append(f"{number_of(copies, 'vote')} of a worker on a file that is there already passed over")
    if odd:
        words = enumeration((shortened(word) for word in odd), 3)
        facts.append(f"{number_of(len(odd), 'word')} that the release does not name count as other: {words}")
    return (
        Note(logging.WARNING if strangers or copies else logging.INFO, f"{file.name}: {'; '.join(facts)}")
        if (facts)
        else None
    )


def _detailed(file: Path) -> tuple[DataFrame, list[Fault]]:
    """Return id, annotator, word and row of a detailed table, in columns or as one text each."""
    reading = joined(tables.blocks(file, "FileName", lambda names, _: _choose(names, file)))
    table = reading.table
    if _DETAIL in table and _MAJOR not in table:
        parts = table[_DETAIL].fillna("").str.split(";", n=2, expand=True).reindex(columns=range(3)).fillna("")
        worker, word = parts[0], parts[1]
    else:
        worker, word = table[next(name for name in _WORKERS if name in table)], table[_MAJOR]
    cells = {"id": _stem(table["FileName"].fillna("").str.strip()), "annotator": worker, "word": word}
    texts = {name: cell.fillna("").astype(str).str.strip() for name, cell in cells.items()}
    return DataFrame(texts | {ROW: table[ROW]}), list(reading.faults)


def _choose(names: list[str], file: Path) -> Choice:
    columns = {name: names.index(name) for name in ("FileName", *_DETAILED) if name in names}
    absent = [] if _DETAIL in columns else [*([] if _MAJOR in columns else [_MAJOR]), *_no_worker(columns)]
    if "FileName" not in columns or absent:
        absent = [*([] if "FileName" in columns else ["FileName"]), *absent]
        problem = f"there is no column {', '.join(absent)}, only {enumeration(names, 20)}"
        raise CorpusError([Fault(str(file), 1, problem, _CURE)])
    return Choice(columns)


def _no_worker(columns: dict[str, int]) -> list[str]:
    return [] if any(name in columns for name in _WORKERS) else ["WorkerID"]


def _detailed_json(file: Path) -> tuple[DataFrame, list[Fault]]:
    """Return the same of {file: {worker: {"EmoClass_Major": word}}}; rows are 0."""
    rows: list[tuple[str, str, str]] = []
    faults: list[Fault] = []
    for name, workers in _json(file, _word).items():
        if isinstance(workers, dict):
            rows += [(name, worker, word) for worker, word in workers.items() if isinstance(word, str)]
            faults += [_no_vote(file, name, worker) for worker, word in workers.items() if not isinstance(word, str)]
        else:
            faults.append(_no_vote(file, name, None))
    table = DataFrame(rows, columns=["id", "annotator", "word"], dtype=str)
    return table.assign(id=_stem(table["id"]), **{ROW: 0}), faults


def _word(entry: dict[str, Any]) -> Any:
    """Return a worker's word alone, as soon as it is read, so that the file takes little memory."""
    return entry.get(_MAJOR, entry)


def _json(file: Path, hook: Any = None) -> dict[str, Any]:
    try:
        with file.open(encoding="utf-8-sig") as stream:
            content = json.load(stream, object_hook=hook)
    except json.JSONDecodeError as error:
        fault = Fault(str(file), error.lineno, f"it is no JSON from here on ({error.msg})", "copy it again")
        raise CorpusError([fault]) from error
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise CorpusError([Fault(str(file), None, f"it cannot be read ({error})", "copy it again")]) from error
    if not isinstance(content, dict) or not content:
        raise CorpusError([Fault(str(file), None, "it is no list of files with their labels", _CURE)])
    return content


def _check_columns(table: DataFrame, names: tuple[str, ...], file: Path) -> None:
    if absent := [name for name in names if name not in table]:
        raise CorpusError([Fault(str(file), 1, f"there is no column {', '.join(absent)}", _CURE)])


def _no_class(file: Path, name: str, letter: str, row: int) -> Fault:
    letters = ", ".join(LETTERS)
    problem = f"{shortened(name)!r} has the class {shortened(letter)!r}, which is none of {letters}"
    return Fault(file.name, int(row) or None, problem, "correct the row, or take it out", "an unknown class")


def _no_vote(file: Path, name: str, worker: str | None) -> Fault:
    subject = f"{shortened(worker)!r} of {shortened(name)!r}" if worker else f"{shortened(name)!r}"
    return Fault(file.name, None, f"{subject} has no {_MAJOR}", _CURE, f"no {_MAJOR}")


def _stem(names: Series) -> Series:
    return names.str.replace(r"\.wav$", "", case=False, regex=True)
