"""Utterances between pauses, of a clip whose frames are known to be speech or not.

A stretch of speech begins and ends where its probability falls below `LOWEST`, if it rises to `SPEECH` between.
Stretches with a pause shorter than `PAUSE` between them are one utterance, and a sound shorter than `BRIEF` is none.
Each utterance gets a margin before it, and ends with its last frame that is surely speech, where there is one. One that
is shorter than a second is joined to its neighbour over the shorter pause, if that is at most `NEAR` and both together
are not too long. One that is too long is cut where speech is least likely, in the second half of what is allowed.

N frames, K utterances, (K, 2) the first frame of each and the one after its last.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ipr_core.config import SAMPLE_RATE
from ipr_core.data.voice_activity import FRAME
from ipr_core.data.waves import MIN_SECONDS

Spans = NDArray[np.int64]

SPEECH, LOWEST, SURE = 0.3, 0.2, 0.5
"""The probability that a stretch of speech reaches somewhere, the one that it has everywhere, and that of its end.

Silero's own are 0.5 and 0.35, which miss one clip of EmoDB and RAVDESS in sixty. The lower ones alone would let an
utterance end late, the more so in noise.
"""


def _frames(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE / FRAME)


PAUSE = _frames(0.7)
"""A pause between two utterances. In acted sentences of EmoDB one in twenty has a longer one within it."""
BRIEF = _frames(0.25)
MARGIN = _frames(0.06)
"""Before an utterance. The network notices late that speech begins, and late that it ends."""
SECOND = _frames(1.0) + 1
"""An utterance with fewer frames is shorter than a second."""
NEAR = _frames(2.0)
_SMOOTHED = _frames(0.5) | 1  # frames over which the probability is averaged, to prefer a pause to a stop consonant
_LEAST = 2 * (int(MIN_SECONDS * SAMPLE_RATE) // FRAME + 1)  # of what is cut, so that no half is a fault


def utterances(speech: NDArray[np.float32], max_seconds: float) -> Spans:
    """Return the utterances of a clip, in their order.

    speech: (N,) how likely each frame is speech   max_seconds: of the longest utterance
    returns: (K, 2)
    """
    longest = max(_LEAST, int((max_seconds * SAMPLE_RATE - 1) // FRAME))
    spans = _bridged(_stretches(speech))
    spans = _ended(spans[_lengths(spans) >= BRIEF], speech)
    spans = (spans - (MARGIN, 0)).clip(0)
    return _cut(_joined(spans, longest), longest, speech)


def _lengths(spans: Spans) -> NDArray[np.int64]:
    return spans[:, 1] - spans[:, 0]


def _pauses(spans: Spans) -> NDArray[np.int64]:
    """Return (K - 1,) the frames between each utterance and the next."""
    return spans[1:, 0] - spans[:-1, 1]


def _stretches(speech: NDArray[np.float32]) -> Spans:
    audible = np.concatenate([[False], speech >= LOWEST, [False]])
    spans = np.flatnonzero(audible[1:] != audible[:-1]).reshape(-1, 2)
    if not len(spans):
        return spans
    return spans[np.maximum.reduceat(speech, spans[:, 0]) >= SPEECH]


def _bridged(spans: Spans) -> Spans:
    """Return stretches as utterances: those with a short pause between them are one."""
    if not len(spans):
        return spans
    breaks = _pauses(spans) >= PAUSE
    return np.column_stack([spans[np.append(True, breaks), 0], spans[np.append(breaks, True), 1]])


def _ended(spans: Spans, speech: NDArray[np.float32]) -> Spans:
    """Return utterances that end with their last frame that is surely speech, where there is one, none too brief."""
    if not len(spans):
        return spans
    first, last = spans.T
    sure = np.maximum.accumulate(np.where(speech >= SURE, np.arange(len(speech)), -1))[last - 1]
    return np.column_stack([first, np.where(sure >= first, np.maximum(sure + 1, first + BRIEF), last)])


def _joined(spans: Spans, longest: int) -> Spans:
    """Return utterances of which the short ones are joined, over the shortest pauses first."""
    while len(spans) > 1:
        short, pauses = _lengths(spans) < SECOND, _pauses(spans)
        fitting = spans[1:, 1] - spans[:-1, 0] <= longest
        possible = (short[1:] | short[:-1]) & (pauses <= NEAR) & fitting
        if not possible.any():
            break
        i = int(np.where(possible, pauses, NEAR + 1).argmin())
        spans = np.delete(spans.ravel(), [2 * i + 1, 2 * i + 2]).reshape(-1, 2)
    return spans


def _cut(spans: Spans, longest: int, speech: NDArray[np.float32]) -> Spans:
    """Return utterances of which none is too long."""
    level = np.convolve(speech, np.ones(_SMOOTHED), "same") if len(speech) else speech
    pieces = []
    for first, last in spans.tolist():
        while last - first > longest:
            earliest, latest = first + (longest + 1) // 2, min(first + longest, last - min(SECOND, longest // 2))
            middle = latest - int(level[earliest : latest + 1][::-1].argmin())  # of equal ones the last
            pieces.append((first, middle))
            first = middle
        pieces.append((first, last))
    return np.array(pieces, np.int64).reshape(-1, 2)
