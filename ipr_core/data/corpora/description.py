"""A corpus in a few lines: the TOML file that says what its file names or its tables mean.

    name = "SAVEE"
    pattern = '(?P<speaker>DC|JE|JK|KL)/(?P<emotion>sa|su|[adfhn])(?P<text>\\d\\d)'
    example = "DC/sa01.wav"
    [emotions]
    a = "angry"

The pattern is a regular expression for the end of a path, from a folder or the file's name on, without the suffix.
Instead of a pattern there may be tables with a row per file. What the groups of the pattern, or the columns of the
table, are called stands in braces in the texts for id, speaker, emotion, text, session and sex. Groups and columns of
these names need no text. `described` reads such a corpus.
"""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo

from ipr_core import refusals, toml_file
from ipr_core.data.corpora.columns import known_emotion
from ipr_core.data.corpora.table import EMOTIONS, UNLABELLED
from ipr_core.data.faults import CorpusError, Fault
from ipr_core.data.listing import OTHER_KINDS, READ_KINDS, VIDEO_KINDS
from ipr_core.sections import Section, Text, Words

FOLDER = Path(__file__).parent / "readers"
"""The descriptions that come with the workbench: NAME.toml is the corpus NAME."""
FIELDS = ("id", "speaker", "emotion", "text", "session", "sex")
"""What a description may say of an utterance."""
_VARIABLE = re.compile(r"\{([^{}]*)\}")
_TITLE = "the description of a corpus"

_Names = Annotated[dict[str, Text], Words("a table of texts")]


class TableFile(Section):
    """A table with a row per audio file."""

    file: Text
    """Its path in the corpus, or its name, wherever it lies: CSV of any separator, or Parquet."""
    path: Text
    """The end of the audio file's path, with columns in braces; the suffix may be left out."""


class Sexes(Section):
    """The speakers' sex, where their names tell it."""

    female: Text | None = None
    """A pattern of women's names, whole."""
    male: Text | None = None
    """A pattern of men's names, whole."""


class Origin(Section):
    """Where the corpus comes from."""

    licence: Text | None = None
    """The licence, as its authors say it."""
    home: Text | None = None
    """Where to get it."""
    layout: Text | None = None
    """Who says that its files lie and are called so."""
    citation: Text | None = None
    """What to cite."""


class Description(Section):
    """What a corpus's TOML file says."""

    name: Text = "a corpus of your own"
    """What the corpus is called."""
    about: Text | None = None
    """The corpus in one line."""
    files: Text = "*"
    """Which audio files are the corpus's: Actor_*/*, or a name's part alone, in any folder; * stops at a slash."""
    ignore: tuple[Text, ...] = ()
    """Files among them that are no utterances, likewise; every other one that does not fit is a fault."""
    pattern: Text | None = None
    """A regular expression for the end of a path, without its suffix; its groups have names."""
    example: Text | None = None
    """A path that fits the pattern."""
    tables: tuple[TableFile, ...] = ()
    """In place of a pattern: tables with a row per audio file."""
    id: Text | None = None
    """A text with groups or columns in braces; what the pattern matches, or the table's path, if there is none."""
    speaker: Text | None = None
    """A text with groups or columns in braces: who speaks."""
    emotion: Text | None = None
    """A text with groups or columns in braces: which emotion, in the corpus's own words; none: it is not labelled."""
    text: Text | None = None
    """A text with groups or columns in braces: the sentence, or its number."""
    session: Text | None = None
    """A text with groups or columns in braces: the session."""
    sex: Text | None = None
    """A text with groups or columns in braces: the speaker's sex."""
    emotions: _Names = Field(default={}, max_length=1000)
    """The corpus's words or codes for emotions, and what they are called here; none: as they are."""
    votes: _Names = Field(default={}, max_length=1000)
    """Columns that count votes, and the emotion that each counts."""
    sexes: Sexes = Sexes()
    """The speakers' sex, where their names tell it."""
    origin: Origin = Origin()
    """Where the corpus comes from."""

    def contradictions(self) -> Iterator[str]:
        """Yield a sentence on everything that does not fit together: the problem; the cure."""
        if bool(self.pattern) == bool(self.tables):
            yield "it has neither a pattern nor tables, or both; give one of them"
        wrong = list(self._no_patterns())
        yield from wrong
        if self.pattern and not wrong:
            yield from self._unknown_groups(self.pattern)
            if self.example and not self.match(self.example):
                yield f"the example {self.example!r} does not fit the pattern; change one of them"
        if self.pattern and self.votes:
            yield "it has votes and no tables; votes are columns of a table"
        for key, table in (("emotions", self.emotions), ("votes", self.votes)):
            for code, emotion in table.items():
                if known_emotion(emotion) != emotion:
                    yield f"{code} in {key} is {emotion!r}; did you mean {known_emotion(emotion)!r}?"

    def _no_patterns(self) -> Iterator[str]:
        patterns = {"pattern": self.pattern, "female": self.sexes.female, "male": self.sexes.male}
        for name, pattern in patterns.items():
            try:
                re.compile(pattern or "")
            except (re.error, RecursionError, OverflowError) as error:
                yield f"{name} is no regular expression ({error}); write \\( for a bracket that is meant as it is"

    def _unknown_groups(self, pattern: str) -> Iterator[str]:
        groups = re.compile(pattern).groupindex
        for field in FIELDS:
            for name in variables(getattr(self, field) or ""):
                if name not in groups:
                    nearest = difflib.get_close_matches(name, groups, 1)
                    cure = (
                        f"did you mean {nearest[0]!r}?" if nearest else f"its groups are {', '.join(groups) or 'none'}"
                    )
                    yield f"{field} names {name!r}, which is no group of the pattern; {cure}"

    def match(self, path: str) -> re.Match[str] | None:
        """Return the pattern's match of a path's end, the shortest one; the suffix is not looked at."""
        stem = unicodedata.normalize("NFC", without_kind(path))
        pattern = re.compile(self.pattern or "", re.DOTALL)
        begins = [0, *(index + 1 for index, letter in enumerate(stem) if letter == "/")]
        return next((match for begin in reversed(begins) if (match := pattern.fullmatch(stem, begin))), None)

    def texts(self, names: Iterable[str]) -> dict[str, str]:
        """Return the text of each field that is known of an utterance.  names: of the groups or columns there are"""
        names = set(names)
        templates = {field: getattr(self, field) or (f"{{{field}}}" if field in names else "") for field in FIELDS}
        return {field: text for field, text in templates.items() if text}

    def label(self, word: str, classes: Iterable[str]) -> str | None:
        """Return the emotion that a word of the corpus stands for, None if it is not known.

        An emotion that is neither known here nor one of the classes is "other".
        """
        if not self.emotions:
            return word
        emotion = self.emotions.get(word)
        if emotion is None or emotion in (*EMOTIONS, *classes, UNLABELLED):
            return emotion
        return "other"

    def sex_of(self, speaker: str) -> str:
        """Return "female", "male" or "" by a speaker's name."""
        rules = (("female", self.sexes.female), ("male", self.sexes.male))
        return next((sex for sex, pattern in rules if pattern and re.fullmatch(pattern, speaker)), "")


def file_of(corpus: str) -> Path | None:
    """Return the file that describes a corpus, None if a module reads it.  corpus: a name, or a file's path"""
    if corpus.endswith(".toml"):
        return Path(corpus).expanduser()
    file = FOLDER / f"{corpus}.toml"
    return file if file.is_file() else None


def read(file: Path) -> Description:
    """Read a description. raises CorpusError with every fault"""
    try:
        content = toml_file.read(file, _TITLE)
    except ValueError as error:
        raise CorpusError([_fault(file, str(error).removeprefix(str(file)).lstrip(",: "))]) from None
    return checked(content, file)


def checked(content: Mapping[str, Any], file: Path) -> Description:
    """Return the description that a file's content is. raises CorpusError with every fault"""
    faults = list(_unknown_keys(content))
    try:
        if not faults:
            description = Description.model_validate(content)
            faults = list(description.contradictions())
        if not faults:
            return description
    except ValidationError as error:
        faults = list(dict.fromkeys(refusals.sentences(error, _ALL_FIELDS)))
    raise CorpusError([_fault(file, fault) for fault in faults])


def without_kind(path: str) -> str:
    """Return a path without the suffix of an audio file."""
    stem, kind = os.path.splitext(path)
    return stem if kind.lower() in READ_KINDS | VIDEO_KINDS | OTHER_KINDS else path


def variables(text: str) -> list[str]:
    """Return the names that stand in braces in a text."""
    return _VARIABLE.findall(text)


def filled(text: str, values: Mapping[str, Any]) -> str:
    """Return a text with the values of the names in braces."""
    return _VARIABLE.sub(lambda name: str(values[name[1]] or ""), text).strip()


def globbed(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of paths that a glob stands for, whatever the case.

    Without a slash it is a name's, in any folder. ** stands for any folders, * and ? stop at a slash.
    """
    parts = re.split(r"(\*\*/|\*|\?|\[[^]/]+\])", pattern if "/" in pattern else f"**/{pattern}")
    signs = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    texts = (signs.get(part) or (part.replace("[!", "[^") if part[:1] == "[" else re.escape(part)) for part in parts)
    return re.compile("".join(texts), re.IGNORECASE | re.DOTALL)


_PARTS: dict[str, type[Section]] = {"": Description, "tables": TableFile, "sexes": Sexes, "origin": Origin}
_ALL_FIELDS: dict[str, tuple[str, FieldInfo]] = {
    name: (part, field) for part, section in _PARTS.items() for name, field in section.model_fields.items()
}


def _unknown_keys(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each key that no description has, with the nearest one."""
    for part, section in _PARTS.items():
        values = content if not part else content.get(part)
        for table in values if isinstance(values, list) else [values]:
            for name in table if isinstance(table, Mapping) else ():
                if name not in section.model_fields:
                    nearest = difflib.get_close_matches(name.lower(), section.model_fields, 1)
                    table_name = f" of [{part}]" if part else ""
                    cure = (
                        f"did you mean {nearest[0]!r}?"
                        if nearest
                        else f"the keys are {', '.join(section.model_fields)}"
                    )
                    yield f"{refusals.excerpt(name)} is no key{table_name}; {cure}"


def _fault(file: Path, sentence: str) -> Fault:
    problem, _, cure = sentence.partition("; ")
    return Fault(str(file), None, problem, cure or "see `ipr corpora show ravdess` for one that is right")
