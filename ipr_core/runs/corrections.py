"""Corrections: labels that a person gave to utterances of a run after listening.

They lie in `corrections/history.csv` of the run folder, a line each, in the order in which they were made. A line is
never changed or removed; the newest of an utterance counts. The folder is apart from training's files, since training
removes unfinished files among its own.

A correction belongs to the sound: `audio` is the waveform's key (`WaveStore.keys`: the audio file's bytes, and start
and end of the part of it). So `ipr annotate` finds the clip again under any name and in any folder or manifest, and an
utterance of another corpus with the same id by chance is not corrected.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pandas import DataFrame

from ipr_core.atomic import clear_unfinished, locked, make_folder, write_text
from ipr_core.data.cache import default_cache
from ipr_core.data.waves import WaveStore
from ipr_core.runs.files import FileError, reading
from ipr_core.runs.run import Run, RunError
from ipr_core.spreadsheets import guard, unguard

COLUMNS = ("id", "label", "who", "when", "note", "audio")
WITHDRAWN = "withdrawn"
"""The label of a line that takes the utterance's correction back."""
_KEY = re.compile("[0-9a-f]{32}")  # of `WaveStore.keys`


def add(run: Run, id: str, label: str, author: str, note: str = "") -> None:
    """Keep a correction; several people may do so at the same moment.

    label: a class of the run, or WITHDRAWN   author: not empty   note: any text, kept as one line
    raises ValueError for an impossible correction, CorpusError if the audio file is gone, RunError
    """
    author, note = _one_line(author), _one_line(note)
    classes = run.meta["classes"]
    if not author:
        raise ValueError(f"a correction of {id!r} needs the name of who makes it")
    if label not in (*classes, WITHDRAWN):
        raise ValueError(f"{label!r} is not a class of this run; choose one of {', '.join(classes)}, or {WITHDRAWN!r}")
    audio = _key(run, id)
    with _locked(run):
        if id not in newest(run).index and label == WITHDRAWN:
            raise ValueError(f"{id!r} has no correction that could be withdrawn")
        row = (id, label, author, datetime.now(UTC).isoformat(timespec="seconds"), note, audio)
        write_text(_history(run), _text(run).removesuffix("\n") + "\n" + _csv([row]))


def read(run: Run) -> DataFrame:
    """Return every correction, oldest first.

    returns: COLUMNS, all of them text, `when` in ISO 8601 and UTC
    raises RunError with file, line and cure if the file is damaged
    """
    lines = csv.reader(io.StringIO(_text(run)), strict=True)
    allowed = (*run.meta["classes"], WITHDRAWN)
    rows = []
    try:
        for cells in lines:
            row = [unguard(cell) for cell in cells]
            if fault := _fault(row, lines.line_num, allowed):
                raise _damaged(run, lines.line_num, fault)
            rows.append(row)
    except csv.Error as error:
        raise _damaged(run, lines.line_num, str(error)) from None
    if not rows:
        raise _damaged(run, 1, "it is empty")
    return DataFrame(rows[1:], columns=list(COLUMNS), dtype=str)


def newest(run: Run) -> DataFrame:
    """Return the correction that counts of each corrected utterance; index id.

    It is the newest, unless that withdrew the one before it.
    """
    last = read(run).drop_duplicates("id", keep="last").set_index("id")
    return last[last["label"] != WITHDRAWN]


def apply(table: DataFrame, audio: Sequence[str], corrections: DataFrame) -> DataFrame:
    """Return a table of labels in which corrections replace single labels; soft labels stay the model's.

    table: N utterances with id and single_label   audio: (N,) keys of their waveforms   corrections: of `newest`
    returns: the table with corrected_by and corrected_at, "" for labels of the model. If two corrected utterances
    sound the same, the correction with the utterance's id counts, or else the newer one.
    """
    by_audio = {row.audio: row for row in corrections.itertuples()}
    by_both = {(row.Index, row.audio): row for row in corrections.itertuples()}
    rows = [by_both.get(pair) or by_audio.get(pair[1]) for pair in zip(table["id"], audio, strict=True)]
    return table.assign(
        single_label=[row.label if row else label for row, label in zip(rows, table["single_label"], strict=True)],
        corrected_by=[row.who if row else "" for row in rows],
        corrected_at=[row.when if row else "" for row in rows],
    )


def _history(run: Run) -> Path:
    """Return the file of the corrections. raises RunError if its folder is a link to another place"""
    return run.subfolder("corrections") / "history.csv"


def _text(run: Run) -> str:
    path = _history(run)
    if not os.path.lexists(path):
        return _csv([COLUMNS])
    try:
        with reading(path):
            content = path.read_bytes()
        return content.decode("utf-8-sig")  # a spreadsheet may put a mark first
    except FileError as error:
        raise RunError(f"{error}; put the file's copy back, or remove it") from error
    except UnicodeDecodeError as error:
        raise _damaged(run, content[: error.start].count(b"\n") + 1, "it is not UTF-8") from None


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([guard(cell) for cell in row] for row in rows)
    return text.getvalue()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _key(run: Run, id: str) -> str:
    """Return the waveform's key of an utterance of the run."""
    table = run.table
    rows = table[table["id"] == id]
    if rows.empty:
        raise ValueError(f"there is no utterance {id!r} in {run.folder}; `corpus.parquet` there lists them")
    return WaveStore.build(rows, default_cache(), progress=False).keys[0]


def _fault(row: list[str], number: int, labels: Sequence[str]) -> str:
    """Return the problem of a line of the file; "" if it has none."""
    if number == 1:
        return "" if tuple(row) == COLUMNS else f"it should be {','.join(COLUMNS)}"
    if len(row) != len(COLUMNS):
        return f"it has {len(row)} of {len(COLUMNS)} fields"
    _, label, author, time, _, audio = row
    if label not in labels:
        return f"{label!r} is not a class of this run"
    if not author:
        return "it does not say who made the correction"
    try:
        datetime.fromisoformat(time)
    except ValueError:
        return f"{time!r} is not a time in ISO 8601"
    return "" if _KEY.fullmatch(audio) else f"{audio!r} is not the key of a sound"


def _damaged(run: Run, line: int, problem: str) -> RunError:
    cure = "correct or remove that line, or put the file's copy back; nothing else of the run depends on it"
    return RunError(f"{_history(run)}, line {line}: {problem}; {cure}")


@contextlib.contextmanager
def _locked(run: Run) -> Iterator[None]:
    """Let one writer at a time at the file; another one waits some milliseconds."""
    folder = _history(run).parent
    make_folder(folder)
    with locked(folder / ".lock"):
        clear_unfinished(folder)
        yield
