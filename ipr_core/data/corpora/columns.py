"""The columns of a manifest: which are read, which are passed over, and which look like a known one and are none."""

from __future__ import annotations

import difflib
import functools
import logging
import re
from collections.abc import Collection

from ipr_core.config import Data
from ipr_core.data.corpora.table import EMOTIONS
from ipr_core.data.faults import CorpusError, Fault, Note, enumeration
from ipr_core.data.reading import Choice

LAYOUT = "a CSV or Parquet file with the column path and, where known, label, votes_<emotion>, speaker, start, end"
FILE_NAME = "file_name"
"""The path in metadata.csv of a Hugging Face audiofolder."""
PLAIN = ("id", "path", "start", "end", "speaker", "session", "duration", "label", "part", "channel", "sex", "gender")
_ALIASES = {
    "id": "uttid utteranceid utterid clipid segmentid",
    "path": "file files filename filenames filepath fname wav wavs wavfile wavpath wavname audio audiofile audiopath "
    "audiofilepath audiofilename soundfile pathtofile pathtowav",
    "start": "starttime starts startsec startseconds startms startsample startframe begin begintime onset tstart "
    "tmin xmin from segmentstart offset",
    "end": "endtime ends endsec endseconds endms endsample endframe stop stoptime tend tmax xmax to segmentend",
    "speaker": "speakerid speakername spk spkid spkr talker",
    "session": "sessionid sessionname sess",
    "channel": "chan channelnumber channelno channelid channelindex audiochannel",
    "label": "emotion emotions emo class emotionlabel emolabel emotionclass emotionname classlabel goldlabel "
    "goldemotion truelabel majoritylabel majorityemotion finallabel affect",
    "votes_<emotion>": "vote votes",
}
"""What people call a known column, in small letters and digits alone."""
_SAME = {alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()}
_NOUNS = {
    "anger": "angry", "happiness": "happy", "joy": "happy", "sadness": "sad", "neutrality": "neutral",
    "frustration": "frustrated", "surprise": "surprised", "fear": "fearful", "disgust": "disgusted",
    "excitement": "excited", "boredom": "bored", "calmness": "calm", "contempt": "contemptuous",
}  # fmt: skip
_COUNTING = frozenset((
    "vote", "votes", "voted", "voter", "voters", "n", "no", "nr", "num", "number", "count", "counts", "cnt", "share",
    "shares", "fraction", "percent", "percentage", "pct", "annotator", "annotators", "rater", "raters", "listener",
    "listeners", "evaluator", "evaluators", "judge", "judges", "of", "for", "as",
))  # fmt: skip
_VOTES_IN_ONE_WORD = tuple(
    map(re.compile, ("(?:n|num|no)?votes(?:for|of)?(.+)", "(?:n|num|no)?vote(?:for|of)?(.+)", "(.+?)votes?"))
)
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[^\W\d_]+|\d+")


def choose(names: list[str], row: int | None, data: Data, source: str) -> Choice:
    """Choose the columns that have a meaning, and refuse those that look as if they should have it.

    names: of all columns   row: that holds them, None in Parquet   source: the file
    returns: the columns, with a fault for each that is named twice or looks like a known one, and a note
    raises CorpusError if no column is named "path"
    """
    if "path" not in names:  # a Hugging Face audiofolder
        names = ["path" if name == FILE_NAME else name for name in names]
    emotions = {*EMOTIONS, *data.classes}
    columns: dict[str, int] = {}
    faults: list[Fault] = []
    for position, name in enumerate(names):
        if name in columns:
            problem = f"column {name!r} is named twice, in places {columns[name] + 1} and {position + 1}"
            faults.append(Fault(source, row, problem, "keep one, or name each by what it holds"))
        elif name in PLAIN or name.startswith(("votes_", "mixture_")):
            columns[name] = position
    for name in dict.fromkeys(name for name in names if name and name not in columns):
        target = meaning(name, emotions)
        if target in columns and same_letters(name) == same_letters(target):
            faults.append(Fault(source, row, f"column {name!r} is {target!r} again, in another spelling", "keep one"))
        elif target and target not in columns and target != "path":
            faults.append(_lookalike(name, target, source, row))
    if "path" not in columns:
        raise CorpusError([_no_path(names, source, row), *faults])
    rest = [name for name in names if name and name not in columns]
    return Choice(columns, faults, [_note(list(columns), rest, source)])


def meaning(name: str, emotions: Collection[str]) -> str | None:
    """Return the known column that a name seems to mean, None if it is something else."""
    targets = [*PLAIN, *(f"{kind}_{emotion}" for kind in ("votes", "mixture") for emotion in (*emotions, "other"))]
    squashed = same_letters(name)
    by_letters = {same_letters(target): target for target in targets} | _SAME
    if squashed in by_letters:
        return by_letters[squashed]
    alike = [target for target in PLAIN if target != "part" and len(target) > 3 and _is_slip(squashed, target)]
    return alike[0] if alike else _voted_emotion(name, emotions)


def _voted_emotion(name: str, emotions: Collection[str]) -> str | None:
    """Return the column of votes that a name seems to mean: an emotion, alone or with a word for counting."""
    words = [word.casefold() for word in _WORD.findall(_CAPITAL.sub(" ", name))]
    nouns = _NOUNS | {emotion.casefold(): emotion for emotion in emotions}
    if any(word.startswith("vote") for word in words):
        nouns["other"] = "other"
    heard_emotions = [nouns[word] for word in words if word in nouns]
    rest = [word for word in words if word not in nouns]
    if len(heard_emotions) == 1 and all(_counts(word) for word in rest):
        return f"votes_{heard_emotions[0]}"
    stems = [match[1] for pattern in _VOTES_IN_ONE_WORD if (match := pattern.fullmatch("".join(words)))]
    alike = [
        noun
        for stem in stems
        for noun in (
            *filter(functools.partial(_is_slip, stem), nouns),
            *difflib.get_close_matches(stem, nouns, 1, 0.75),
        )
    ]
    return f"votes_{nouns[alike[0]]}" if alike else None


def known_emotion(word: str) -> str:
    """Return the known emotion that a word means or is a slip of; the word itself if it is none."""
    nouns = _NOUNS | {emotion: emotion for emotion in EMOTIONS}
    plain = word.strip().casefold()
    slips = (nouns[noun] for noun in nouns if _is_slip(plain, noun))
    return nouns.get(plain) or next(slips, word)


def _counts(word: str) -> bool:
    return word in _COUNTING or word.isdigit() or _is_slip(word, "votes")


def same_letters(name: str) -> str:
    """Return the small letters and digits of a name: what is the same in its spellings."""
    return "".join(_WORD.findall(name.casefold()))


def _is_slip(word: str, target: str) -> bool:
    """Tell whether two letters were exchanged, or one is missing or too many."""
    if len(word) == len(target):
        return sorted(word) == sorted(target)
    return abs(len(word) - len(target)) == 1 and difflib.SequenceMatcher(None, word, target).ratio() > 0.85


def _lookalike(name: str, target: str, source: str, row: int | None) -> Fault:
    unit = ", in seconds" if target in ("start", "end") else ""
    cure = f"did you mean {target!r}{unit}? Name it so, or give it a name that says what else it is"
    return Fault(source, row, f"column {name!r} is none that is read, and looks like {target!r}", cure)


def _no_path(names: list[str], source: str, row: int | None) -> Fault:
    alike = [name for name in names if meaning(name, ()) == "path"]
    cure = f"name {alike[0]!r} so, if it holds the paths" if alike else f"give {LAYOUT}"
    if len(names) == 1 and "path" in names[0]:
        cure = "separate the columns by commas, without quotes around a whole row"
    return Fault(source, row, f"it has no column 'path', only {enumeration(names, 20)}", cure)


def _note(columns: list[str], rest: list[str], source: str) -> Note:
    sentence = f"{source}: columns read: {enumeration(columns, 30)}"
    if not rest:
        return Note(logging.INFO, sentence)
    return Note(logging.WARNING, f"{sentence}; passed over: {enumeration(rest, 30)}")
