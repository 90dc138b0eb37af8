"""A description proposed for a folder, from the names of its files or from a table that names them.

Names are cut into letters, digits and what stands between them. A part whose values are words or codes for emotions is
the emotion. A part is the speaker only where something says so. What cannot be told is a comment to fill in.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pandas import DataFrame

from ipr_core.config import Data
from ipr_core.data import corpora, tables
from ipr_core.data.corpora.columns import known_emotion, meaning, same_letters
from ipr_core.data.corpora.described import DescribedCorpus
from ipr_core.data.corpora.description import FOLDER, read, without_kind
from ipr_core.data.corpora.table import EMOTIONS
from ipr_core.data.faults import CorpusError, Fault, enumeration
from ipr_core.data.listing import AudioFiles
from ipr_core.names import CORPORA
from ipr_core.toml_file import in_toml

ENOUGH = 0.9
"""A corpus that comes with the workbench fits a folder if it reads this share of its files."""
_CUTS = (r"[^\W\d_]+|\d+|[\W_]+", r"[A-Z][a-z]{2,}|[A-Z]+|[a-z]+|[^\W\d_A-Za-z]+|\d+|[\W_]+")  # coarse; at capitals too
_SHORT = {
    "ang": "angry", "hap": "happy", "sad": "sad", "neu": "neutral", "fea": "fearful", "dis": "disgusted",
    "sur": "surprised", "exc": "excited", "fru": "frustrated", "bor": "bored", "cal": "calm",
}  # fmt: skip
_WHO = frozenset(("actor", "speaker", "spk", "spkr", "subject", "subj", "talker", "person", "participant"))
_SEX = frozenset(("f", "m", "w", "female", "male"))
_TEXTS = frozenset(("text", "transcript", "transcription", "utterance", "sentence"))
_MOST = 60  # different values of an emotion; more are something else
_OF_ANY_FOLDER = frozenset(("manifest", "synthetic"))
_TABLES = (".csv", ".tsv", ".txt", ".parquet")


class Proposal(NamedTuple):
    """What a folder seems to hold."""

    text: str
    """The description, as TOML; a corpus's own where one fits."""
    corpora: tuple[str, ...]
    """Corpora of the workbench that read the folder as it is."""


class _Part(NamedTuple):
    """What stands at one place of the names."""

    kind: str
    """"folder", "letters", "digits", or what stands between them."""
    values: tuple[str, ...]
    """(N,) of each name."""

    @property
    def different(self) -> list[str]:
        return sorted(set(self.values))

    @property
    def varies(self) -> bool:
        return len(set(self.values)) > 1


def propose(folder: Path) -> Proposal:
    """Propose a description. raises CorpusError if there is no audio file"""
    files = AudioFiles(folder)
    paths = sorted(files)
    if not paths:
        problem = f"there is no audio file in it ({files.note().text})"
        raise CorpusError([Fault(str(folder), None, problem, "name the folder of a corpus")])
    fitting = tuple(name for name in CORPORA if name not in _OF_ANY_FOLDER and _fits(name, folder, paths))
    text = next(filter(None, map(corpora.definition, fitting)), None)
    return Proposal(text or _of_table(folder, paths) or _of_names(folder, paths), fitting)


def _fits(name: str, folder: Path, paths: list[str]) -> bool:
    """Tell whether a corpus of the workbench reads most files of a folder."""
    reader = corpora.reader(name)
    if isinstance(reader, DescribedCorpus) and reader.description.pattern:
        return sum(reader.description.match(path) is not None for path in paths) >= ENOUGH * len(paths)
    try:
        table = reader.read(Data(corpus=name, corpus_path=str(folder)), progress=False).table
    except CorpusError:
        return False
    return len(table) >= ENOUGH * len(paths)


# From a table.


def _of_table(folder: Path, paths: list[str]) -> str:
    """Return the description by a table with a row for most files, "" if there is none."""
    stems = {os.path.basename(without_kind(path)) for path in paths}
    candidates = [file for depth in ("*", "*/*") for file in sorted(folder.glob(depth)) if file.suffix in _TABLES]
    for file in candidates:
        try:
            table = tables.read(file, "").table.fillna("").astype(str)
        except CorpusError:
            continue
        for column in table:
            cells = {os.path.basename(without_kind(cell.strip())) for cell in table[column]}
            if len(cells & stems) >= 0.5 * len(stems):
                return _table_text(folder, file, table, str(column))
    return ""


def _table_text(folder: Path, file: Path, table: DataFrame, path: str) -> str:
    fields: dict[str, str] = {}
    for name in map(str, table):
        letters, column = same_letters(name), meaning(name, EMOTIONS) or ""
        field = "sex" if letters in ("sex", "gender") else "text" if letters in _TEXTS else column
        field = "emotion" if field == "label" else field
        if field in ("emotion", "speaker", "session", "sex", "text") and name != path:
            fields.setdefault(field, name)
    lines = [f'tables = [{{ file = {in_toml(file.relative_to(folder).as_posix())}, path = "{{{path}}}" }}]']
    lines += [f'{field} = "{{{name}}}"' for field, name in fields.items() if field != name]
    rest = [name for name in map(str, table) if name not in (path, "row", *fields.values())]
    for field, question in (("speaker", "who speaks"), ("emotion", "which emotion")):
        if field not in fields:
            lines.append(f'# {field} = "{{}}"  # {question}? The other columns: {enumeration(rest, 12)}')
    words = Counter(table[fields["emotion"]].str.strip()) if "emotion" in fields else Counter[str]()
    return _text(folder, lines, words, {word: _emotion_of(word) for word in words})


# From names.


def _of_names(folder: Path, paths: list[str]) -> str:
    cuts = [_parts(paths, cut) for cut in _CUTS]
    parts, example = next((cut for cut in cuts if _emotion(cut[0]) is not None), cuts[-1])
    emotion = _emotion(parts)
    speaker = _speaker(parts, emotion)
    unclear = emotion is None or speaker is None
    pattern, names = _pattern(parts, emotion, speaker, unclear, paths)
    lines = [f"pattern = '{pattern}'", f"example = {in_toml(example)}"]
    for field, question, index in (("speaker", "who speaks", speaker), ("emotion", "which emotion", emotion)):
        if index is None:
            lines.append(f'# {field} = "{{}}"  # {question}? Name one of the parts, or take the line out')
    if unclear:
        lines += [f"# {name} is {enumeration(part.different, 8)}" for name, part in names.items()]
    words = Counter(parts[emotion].values) if emotion is not None else Counter[str]()
    return _text(folder, lines, words, _meanings(parts[emotion]) if emotion is not None else {})


def _parts(paths: list[str], cut: str) -> tuple[list[_Part], str]:
    """Return the parts of the names of the most frequent form, and one of the paths.

    Folders above a name are a part each, if they are there for all names of the form.
    """
    by_form: dict[tuple[str, ...], list[str]] = {}
    for path in paths:
        tokens = re.findall(cut, os.path.basename(without_kind(path)))
        by_form.setdefault(tuple(map(_kind, tokens)), []).append(path)
    form, chosen_paths = max(by_form.items(), key=lambda item: len(item[1]))
    depth = min(2, *(path.count("/") for path in chosen_paths))
    rows = []
    for path in chosen_paths:
        *folders, name = without_kind(path).split("/")
        rows.append([*folders[len(folders) - depth :], *re.findall(cut, name)])
    kinds = ["folder"] * depth + list(form)
    return [_Part(kind, values) for kind, values in zip(kinds, zip(*rows, strict=True), strict=True)], chosen_paths[0]


def _kind(token: str) -> str:
    return "digits" if token.isdecimal() else "letters" if token.isalpha() else token


def _emotion_of(word: str) -> str | None:
    """Return the emotion that a word or an abbreviation of three letters means, None for any other."""
    emotion = _SHORT.get(word.casefold()) or known_emotion(word)
    return emotion if emotion in EMOTIONS else None


def _meanings(part: _Part) -> dict[str, str | None]:
    """Return what each value of an emotion's part means: as a word, or as in a corpus with the same codes."""
    words = {value: _emotion_of(value) for value in part.different}
    return (
        next((dict(codes) for codes in _schemes() if set(words) <= set(codes)), words) if _are_codes(words) else words
    )


def _are_codes(words: dict[str, str | None]) -> bool:
    return sum(map(bool, words.values())) < 0.6 * len(words)


def _schemes() -> list[dict[str, str]]:
    """Return the codes of corpora that come with the workbench, of two letters or more: one says nothing."""
    codes = [read(file).emotions for file in sorted(FOLDER.glob("*.toml"))]
    return [scheme for scheme in codes if all(len(code) > 1 and code.isalpha() for code in scheme)]


def _emotion(parts: Sequence[_Part]) -> int | None:
    """Return the place of the emotion: most of its values mean one, and it is nearest to the name's end."""
    indices = [
        index for index, part in enumerate(parts)
        if part.kind in ("letters", "folder") and 1 < len(part.different) <= _MOST and not _are_codes(_meanings(part))
    ]  # fmt: skip
    return indices[-1] if indices else None


def _speaker(parts: Sequence[_Part], emotion: int | None) -> int | None:
    """Return the place of the speaker, None if nothing says which one it is.

    It is said by a word before it (Actor_03), by a sex before a number (m2), or by being the only part that could be.
    """
    indices = [index for index, part in enumerate(parts) if part.varies and index != emotion]
    for index in indices:
        word = re.match(r"[^\W\d_]*", parts[index].values[0])
        neighbours = [part.values[0].casefold() for part in parts[max(0, index - 2) : index] if part.kind == "letters"]
        is_folder = parts[index].kind == "folder"
        if (is_folder and word and word[0].casefold() in _WHO) or (not is_folder and _WHO & set(neighbours)):
            return index
        if parts[index].kind == "digits" and index and _is_sex(parts[index - 1]):
            return index
    whole = len(parts[0].values)
    likely = [
        index for index in indices
        if parts[index].kind in ("folder", "letters") and not _is_sex(parts[index])
        and len(parts[index].different) <= max(2, whole // 8) and _is_crossed(parts, index, emotion)
    ]  # fmt: skip
    return likely[0] if len(likely) == 1 else None


def _is_sex(part: _Part) -> bool:
    return part.kind == "letters" and {value.casefold() for value in part.values} <= _SEX


def _is_crossed(parts: Sequence[_Part], index: int, emotion: int | None) -> bool:
    """Tell whether each value of a part occurs with most emotions, as speakers do and folders of emotions do not."""
    if emotion is None:
        return False
    pairs = set(zip(parts[index].values, parts[emotion].values, strict=True))
    least = min(Counter(value for value, _ in pairs).values())
    return least > len(parts[emotion].different) / 2


def _pattern(
    parts: list[_Part], emotion: int | None, speaker: int | None, name_all: bool, paths: list[str]
) -> tuple[str, dict[str, _Part]]:
    """Return the pattern, and the parts in it that have a name but no meaning yet.

    Folders stand in it from the first that is needed on: as a part, or because names alone are not unique.
    """
    stems = [os.path.basename(without_kind(path)) for path in paths]
    folders = sum(part.kind == "folder" for part in parts)
    first = min([index for index in (emotion, speaker) if index is not None] + [folders])
    if len(set(stems)) < len(stems):
        first = min(first, max(0, folders - 1))
    texts, names = list[str](), dict[str, _Part]()
    for index, part in enumerate(parts[first:], first):
        text = _expression(part)
        if index in (emotion, speaker):
            text = f"(?P<{'emotion' if index == emotion else 'speaker'}>{text})"
            if index == speaker and part.kind == "digits" and index and _is_sex(parts[index - 1]):
                names = {name: field for name, field in names.items() if field is not parts[index - 1]}
                texts[-1] = f"(?P<speaker>(?P<sex>{_expression(parts[index - 1])}){_expression(part)})"
                continue
        elif name_all and part.varies and part.kind in ("letters", "digits", "folder"):
            names[f"part{len(names) + 1}"] = part
            text = f"(?P<part{len(names)}>{text})"
        texts.append(text + ("/" if part.kind == "folder" else ""))
    return "".join(texts), names


def _expression(part: _Part) -> str:
    """Return the regular expression of a part."""
    values = part.different
    if len(values) == 1:
        return re.escape(values[0]).replace(r"\ ", " ").replace(r"\-", "-")
    if part.kind == "folder":
        return "[^/]+"
    if part.kind != "digits" and not all(value.isalpha() for value in values):
        return r"[\W_]+"
    cases = {r"\d": str.isdecimal, "[a-z]": str.islower, "[A-Z]": str.isupper}
    letter = next((text for text, test in cases.items() if all(test(v) and v.isascii() for v in values)), r"[^\W\d_]")
    widths = {len(value) for value in values}
    if len(widths) > 1 or max(widths) > 4:
        return f"{letter}+"
    return letter * max(widths) if max(widths) < 3 else f"{letter}{{{max(widths)}}}"


def _text(folder: Path, lines: list[str], words: Counter[str], meanings: dict[str, str | None]) -> str:
    """Return a description.  words: for emotions, with how many files have each   meanings: None: not known"""
    title = folder.resolve().name
    text = [f"name = {in_toml(title)}", *lines]
    if words:
        text += ["", "[emotions]"]
        for word, count in sorted(words.items()):
            key = word if re.fullmatch(r"[A-Za-z0-9_-]+", word) else in_toml(word)
            emotion = meanings.get(word)
            question = f'# {key} = ""  # of {count:,}: which emotion is it?'
            text.append(f"{key} = {in_toml(emotion)}" if emotion else question)
    about = [f'# {key} = ""' for key in ("licence", "home", "layout", "citation")]
    return "\n".join([*text, "", "[origin]", *about]) + "\n"
