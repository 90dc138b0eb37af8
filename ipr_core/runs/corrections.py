"""Corrections: labels that a person gave utterances of a run after listening. The history is kept, the newest counts.

They lie in `corrections/history.csv` of the run folder, a line each, in the order in which they were made; a line is
never changed or removed. That folder is apart from what training writes, which clears up after killed writers there.

A correction belongs to what was heard: `audio` is the waveform's key (`WaveStore.keys`: the audio file's bytes, and
start and end of the part of it), so that `ipr annotate` finds the clip again under any name and in any folder or
manifest, and an utterance of another corpus that happens to have the same id stays as it is.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pandas import DataFrame, Series

from ipr_core.atomic import clear_unfinished, locked, write_text
from ipr_core.data.waves import WaveStore, default_cache
from ipr_core.runs.run import Run, RunError

COLUMNS = ("id", "label", "who", "when", "note", "audio")
WITHDRAWN = "withdrawn"
"""The label of a line that takes the utterance's correction back."""


def add(run: Run, id: str, label: str, who: str, note: str = "") -> None:
    """Keep a correction, whoever else keeps one at the same moment.

    label: a class of the run, or WITHDRAWN   who: not empty   note: whatever else is to be said, in one line
    raises ValueError for a request that cannot be kept, CorpusError where the audio file is gone, RunError
    """
    who, note = _line(who), _line(note)
    classes = run.meta["classes"]
    if not who:
        raise ValueError(f"a correction of {id!r} needs the name of who makes it")
    if label not in (*classes, WITHDRAWN):
        raise ValueError(f"{label!r} is not a class of this run; choose one of {', '.join(classes)}, or {WITHDRAWN!r}")
    audio = _key(run, id)
    with _locked(run):
        if id not in newest(run).index and label == WITHDRAWN:
            raise ValueError(f"{id!r} has no correction that could be withdrawn")
        row = (id, label, who, datetime.now(UTC).isoformat(timespec="seconds"), note, audio)
        write_text(_place(run), _text(run).removesuffix("\n") + "\n" + _csv([row]))


def read(run: Run) -> DataFrame:
    """Every correction that was made, oldest first: COLUMNS, all of them text, `when` in ISO 8601 and UTC.

    raises RunError with file, line and cure where the file is damaged
    """
    lines = csv.reader(io.StringIO(_text(run)), strict=True)
    allowed = (*run.meta["classes"], WITHDRAWN)
    rows = []
    try:
        for row in lines:
            if fault := _fault(row, lines.line_num, allowed):
                raise _damaged(run, lines.line_num, fault)
            rows.append(row)
    except csv.Error as error:
        raise _damaged(run, lines.line_num, str(error)) from None
    if not rows:
        raise _damaged(run, 1, "it is empty")
    return DataFrame(rows[1:], columns=list(COLUMNS), dtype=str)


def newest(run: Run) -> DataFrame:
    """The correction that counts of each utterance that has one: the newest, unless that withdrew it; index id."""
    last = read(run).drop_duplicates("id", keep="last").set_index("id")
    return last[last["label"] != WITHDRAWN]


def current(run: Run) -> Series:
    """The label that counts, by id, of the utterances that have a correction."""
    return newest(run)["label"]


def honoured(table: DataFrame, audio: Sequence[str], made: DataFrame) -> DataFrame:
    """A table of labels in which corrections replace single labels; soft labels stay the model's.

    table: N utterances with id and single_label   audio: (N,) keys of their waveforms   made: of `newest`
    returns: the table with corrected_by and corrected_at, "" where nobody corrected. Of two corrected utterances
    that sound the same, the one with the same id counts; without one, the one whose correction is newer.
    """
    by_audio = {row.audio: row for row in made.itertuples()}
    own = {(row.Index, row.audio): row for row in made.itertuples()}
    found = [own.get(pair) or by_audio.get(pair[1]) for pair in zip(table["id"], audio, strict=True)]
    labels = [row.label if row else given for row, given in zip(found, table["single_label"], strict=True)]
    return table.assign(
        single_label=labels,
        corrected_by=[row.who if row else "" for row in found],
        corrected_at=[row.when if row else "" for row in found],
    )


def _place(run: Run) -> Path:
    return run.folder / "corrections" / "history.csv"


def _text(run: Run) -> str:
    place = _place(run)
    try:
        return place.read_text("utf-8-sig") if place.exists() else _csv([COLUMNS])  # a spreadsheet may put a mark first
    except UnicodeDecodeError as error:
        line = place.read_bytes()[: error.start].count(b"\n") + 1
        raise _damaged(run, line, "it is not UTF-8") from None


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _line(text: str) -> str:
    return " ".join(text.split())


def _key(run: Run, id: str) -> str:
    """The waveform's key of an utterance of the run."""
    table = run.table
    mine = table[table["id"] == id]
    if mine.empty:
        raise ValueError(f"there is no utterance {id!r} in {run.folder}; `corpus.parquet` there lists them")
    return WaveStore.build(mine, default_cache(), progress=False).keys[0]


def _fault(row: list[str], number: int, labels: Sequence[str]) -> str:
    """What is wrong with a line of the file; "" if nothing."""
    if number == 1:
        return "" if tuple(row) == COLUMNS else f"it should be {','.join(COLUMNS)}"
    if len(row) != len(COLUMNS):
        return f"it has {len(row)} of {len(COLUMNS)} fields"
    _, label, who, when, _, _ = row
    if label not in labels:
        return f"{label!r} is not a class of this run"
    if not who:
        return "it does not say who made the correction"
    try:
        datetime.fromisoformat(when)
    except ValueError:
        return f"{when!r} is not a time in ISO 8601"
    return ""


def _damaged(run: Run, line: int, what: str) -> RunError:
    cure = "correct or remove that line, or put the file's copy back; nothing else of the run depends on it"
    return RunError(f"{_place(run)}, line {line}: {what}; {cure}")


@contextlib.contextmanager
def _locked(run: Run) -> Iterator[None]:
    """One writer at a time: another one waits its turn, which takes milliseconds."""
    folder = _place(run).parent
    folder.mkdir(exist_ok=True)
    with locked(folder / ".lock"):
        clear_unfinished(folder)
        yield
