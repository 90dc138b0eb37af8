"""Corpora that a TOML file describes: utterances by the names of their files, or by tables with a row per file.

A file or a row that the description does not fit is a fault with its cure, unless the description ignores it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pandas import DataFrame

from ipr_core.config import Data
from ipr_core.data import tables
from ipr_core.data.corpora.description import Description, TableFile, filled, globbed, variables, without_kind
from ipr_core.data.corpora.table import UNLABELLED, corpus_folder, with_points
from ipr_core.data.faults import CorpusError, Fault, Note, enumeration, number_of, quoted
from ipr_core.data.listing import AudioFiles
from ipr_core.data.reading import ROW, Reading

Row = dict[str, Any]


class DescribedCorpus:
    """The reader of a corpus by its description."""

    def __init__(self, name: str, description: Description):
        """name: by which users call it, a corpus's or a file's"""
        self.name, self.description = name, description
        self.__doc__ = f"{description.name}: {description.about}" if description.about else description.name
        tables_ = ", ".join(table.file for table in description.tables)
        self.LAYOUT = description.example or tables_ or description.files
        self.LICENCE, self.HOME = description.origin.licence or "", description.origin.home or ""

    def read(self, data: Data, progress: bool = True) -> Reading:
        """Return an utterance per file that fits, in the order of the paths, or per row of the tables."""
        root = corpus_folder(data, [], self.LAYOUT)
        return _Folder(self, root, data).reading()


class _Folder:
    """A folder as a description has it."""

    def __init__(self, reader: DescribedCorpus, root: Path, data: Data):
        self.name, self.layout, self.description = reader.name, reader.LAYOUT, reader.description
        self.root, self.classes = root, data.classes
        self.files = AudioFiles(root)
        self.faults: list[Fault] = []
        self.notes: list[Note] = []
        self._ignored = [globbed(pattern) for pattern in self.description.ignore]
        self._paths: dict[str, str] = {}  # by id

    def reading(self) -> Reading:
        """Return the utterances, the faults and the notes."""
        paths = sorted(self._own_files())
        if not paths:
            raise CorpusError([*self.files.faults, self._no_audio()])
        table = DataFrame(list(self._by_tables(paths) if self.description.tables else self._by_names(paths)))
        self.files.read = len(table)
        votes = {name: with_points(table[name]) for name in table if name.startswith("votes_")}
        return Reading(table.assign(**votes), [*self.files.faults, *self.faults], [self.files.note(), *self.notes])

    def _no_audio(self) -> Fault:
        files = "" if self.description.files == "*" else f" {self.description.files}"
        note = self.files.note()
        rest = f" ({note.text})" if note.level == logging.WARNING else ""
        problem, cure = f"there is no audio file{files} in it", f"{self.name} needs {self.layout}{rest}"
        return Fault(str(self.root), None, problem, cure)

    def _own_files(self) -> Iterator[str]:
        glob = globbed(self.description.files)
        for path in self.files:
            if not glob.fullmatch(path):
                self.files.leave_out(path, f"that {self.name} does not have ({self.description.files})")
            elif self._is_ignored(path):
                self.files.leave_out(path, f"that {self.name} ignores")
            else:
                yield path

    def _is_ignored(self, path: str) -> bool:
        return any(pattern.fullmatch(name) for pattern in self._ignored for name in (path, without_kind(path)))

    def _by_names(self, paths: list[str]) -> Iterator[Row]:
        for path in paths:
            match = self.description.match(path)
            if match is None:
                problem = f"its name is none of {self.description.name}'s"
                problem += f", such as {self.description.example}" if self.description.example else ""
                cure = f"rename it, move it elsewhere, or add it to `ignore` in {self._own_copy()}"
                self.faults.append(Fault(str(self.root / path), None, problem, cure, "a name that does not fit"))
                continue
            row = self._utterance(match.groupdict(), path, match[0])
            if row and self._is_first(row["id"], path):
                yield row | {"source": path, "row": 0}

    def _is_first(self, name: str, path: str) -> bool:
        first = self._paths.setdefault(name, path)
        if first != path:
            problem = f"{first} and {path} are both the clip {name!r}"
            self.faults.append(Fault(str(self.root), None, problem, "keep one of them", "clips of the same name"))
        return first == path

    def _by_tables(self, paths: list[str]) -> Iterator[Row]:
        without_row, ends = set(paths), dict[int, dict[str, list[str]]]()
        for table in self.description.tables:
            for end, row in self._rows(table):
                depth = end.count("/") + 1
                by_end = ends[depth] if depth in ends else ends.setdefault(depth, _by_end(paths, depth))
                candidates = by_end.get(end, [])
                without_row.difference_update(candidates)
                if self._is_one(end, candidates, row) and (utterance := self._utterance(row, candidates[0], end)):
                    yield utterance | {"source": row[_FILE], "row": row[ROW]}
        for path in sorted(without_row):
            self.files.leave_out(path, "without a row in a table")

    def _is_one(self, end: str, candidates: list[str], row: Mapping[str, Any]) -> bool:
        if len(candidates) == 1:
            return True
        if candidates:
            problem, cure = f"{candidates[0]} and {candidates[1]} are both its {end!r}", "keep one of them"
            cause = "several audio files of a row"
        else:
            problem = f"there is no audio file {quoted(end)}"
            cure = f"put it there, or add it to `ignore` in {self._own_copy()}"
            cause = "an audio file that is not there"
        self.faults.append(Fault(row[_FILE], row[ROW], problem, cure, cause))
        return False

    def _rows(self, table: TableFile) -> Iterator[tuple[str, Row]]:
        """Yield each row's end of a path, and its cells as texts without spaces around them."""
        file = self._file(table.file)
        if not file.is_file():
            cure = f"put it there: {self.name} needs {self.layout}"
            raise CorpusError([Fault(str(self.root), None, f"there is no {table.file} in it", cure)])
        frame, faults, notes = tables.read(file, next(iter(variables(table.path)), ""))[:3]
        self.faults += faults
        self.notes += notes
        self._check_columns(table, list(frame.columns), file)
        ignored = 0
        for cells in frame.fillna("").to_dict("records"):
            row = {str(name): cell if name == ROW else str(cell).strip() for name, cell in cells.items()}
            end = without_kind(filled(table.path, row))
            if self._is_ignored(end):
                ignored += 1
            else:
                yield end, row | {_FILE: file.name}
        if ignored:
            sentence = f"{file.name}: {number_of(ignored, 'row')} that {self.name} ignores"
            self.notes.append(Note(logging.INFO, sentence))

    def _file(self, name: str) -> Path:
        """Return a table: where the description says, or else wherever a file of this name lies."""
        file = self.root / name
        return file if file.is_file() else next(iter(sorted(self.root.rglob(name))), file)

    def _check_columns(self, table: TableFile, columns: list[str], file: Path) -> None:
        texts = self.description.texts(columns)
        names = [name for text in (table.path, *texts.values()) for name in variables(text)]
        if absent := [name for name in dict.fromkeys([*names, *self.description.votes]) if name not in columns]:
            problem = f"there is no column {', '.join(map(repr, absent))}"
            cure = f"its columns are {', '.join(name for name in columns if name != ROW)}"
            raise CorpusError([Fault(str(file), 1, problem, cure)])

    def _utterance(self, values: Mapping[str, Any], path: str, name: str) -> Row | None:
        """Return an utterance, None with a fault if its emotion is not known.

        values: of the groups or the columns   name: the id, if the description gives none
        """
        facts = {field: filled(text, values) for field, text in self.description.texts(values).items()}
        word = facts.pop("emotion", None)
        label = ("" if self.description.votes else UNLABELLED) if word is None else self._label(word, values, path)
        if label is None:
            return None
        if sex := facts.get("sex") or self.description.sex_of(facts.get("speaker", "")):
            facts["sex"] = sex
        votes = {f"votes_{emotion}": values[column] for column, emotion in self.description.votes.items()}
        return {"id": facts.pop("id", "") or name, "path": str(self.root / path), "label": label} | facts | votes

    def _label(self, word: str, values: Mapping[str, Any], path: str) -> str | None:
        label = self.description.label(word, self.classes)
        if label is None:
            cure = f"it has {enumeration(self.description.emotions, 20)}; rename it, or add it in {self._own_copy()}"
            source, row = values.get(_FILE, str(self.root / path)), values.get(ROW) if _FILE in values else None
            problem = f"the emotion {quoted(word)} is none of those that {self.description.name} has"
            self.faults.append(Fault(source, row, problem, cure, f"the unknown emotion {quoted(word)}"))
        return label

    def _own_copy(self) -> str:
        """Return where a user changes what is ignored: the file, or a copy of one that comes with the workbench."""
        copy = f"a copy of its description (`ipr corpora show {self.name} > my.toml`)"
        return self.name if self.name.endswith(".toml") else copy


_FILE = "\0file"
"""In a table's row, the name of its file; no column is called so."""


def _by_end(paths: list[str], depth: int) -> dict[str, list[str]]:
    ends: dict[str, list[str]] = {}
    for path in paths:
        ends.setdefault(without_kind("/".join(path.split("/")[-depth:])), []).append(path)
    return ends
