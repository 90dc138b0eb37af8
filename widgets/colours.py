"""The colours of every figure; change one here, as "#RRGGBB", and all figures follow.

An emotion's colour is in EMOTIONS, those of D1, D2 and D3 in PARTS; text and axes have INK, classifier and prototypes
MODEL and PROTOTYPES. Colours of systems are `spreads.LOOKS`, of loss terms `curves.TERMS`, of compared runs
`comparison.COLOURS`. `tests/widgets/test_colours.py` checks that a new colour is told apart from the others.

Emotions are told apart with normal, red-blind, green-blind and blue-blind sight, and stand out from white and from
JupyterLab's dark page. Vermilion, orange, blue, green, pink and sky blue follow Okabe and Ito (2008), angry a shade
darker so that a green-blind reader does not take it for happy.
"""

from __future__ import annotations

import colorsys
import hashlib

EMOTIONS = {
    "angry": "#C84800",
    "happy": "#E69F00",
    "sad": "#0072B2",
    "neutral": "#8A8A8A",
    "fearful": "#9900FF",
    "disgusted": "#009E73",
    "surprised": "#CC79A7",
    "calm": "#56B4E9",
    "bored": "#6644CC",
    "frustrated": "#994433",
    "excited": "#88BB66",
}

_SYMBOLS = (
    "circle", "square", "diamond", "triangle-up", "x", "triangle-down", "star", "pentagon", "cross", "hexagon",
    "star-square",
)  # fmt: skip
"""Of EMOTIONS, in their order: lines of angry and sad are the same grey in a printed paper."""

INK = "#757575"
"""Text, axes and reference lines, where a page says nothing else; its contrast on white is 4.6.

No grey has 4.5 on JupyterLab's dark page too (at best 4.3 on both), so every page of ours gives the text its own
colour: the board (`page`), the report, and JupyterLab around a notebook's figures (`look.THEMED`).
"""
ON_COLOUR = "#111111"
"""Text on a coloured surface: a matrix's cell, a bar. The surfaces are light enough for it."""
SHARES = [[0, "#F7FBFF"], [0.5, "#9ECAE1"], [1, "#4A98C9"]]
"""The scale of a share, 0 to 100 %: the lighter part of ColorBrewer's Blues."""
COSINES = [[0, "#E08214"], [0.25, "#FDB863"], [0.5, "#F7F7F7"], [0.75, "#C3BEDD"], [1, "#9A8FC4"]]
"""The scale of a cosine, −1 to 1: the lighter part of ColorBrewer's PuOr, which no colour blindness folds."""
OUTCOMES = {"both right": "#44AA99", "only first": "#D28CC6", "only second": "#6699CC", "neither": "#A6A6A6"}
"""What two runs make of an utterance."""
GRID = "rgba(127, 127, 127, 0.25)"
SHADE = "rgba(127, 127, 127, 0.15)"

MODEL, PROTOTYPES = "#AA4499", "#44AA99"
"""The two labellers, classifier and prototypes. Neither has an emotion's colour."""
SAME, DIFFERENT = "#009FB7", "#7A5C00"
"""Agreement of the two labellers. Neither is the colour of an emotion or a labeller."""
PARTS = {"D1": "#6699CC", "D2": "#AA4499", "D3": "#999933", "V1": "#117733", "V2": "#CC6677"}
"""The parts of the data."""

DISTINCT = 13
"""The number of numbered colours that can be told apart; of more, some come close."""


def colour(emotion: str) -> str:
    """Return an emotion's colour; an unlisted class gets one from its name."""
    return EMOTIONS.get(emotion) or _from_hue(_number(emotion) / 256)


def symbol(emotion: str) -> str:
    """Return the marker of an emotion's line, which tells it apart in grey too."""
    names = list(EMOTIONS)
    return _SYMBOLS[(names.index(emotion) if emotion in EMOTIONS else _number(emotion)) % len(_SYMBOLS)]


def numbered(i: int) -> str:
    """Return the colour of the i-th speaker or system; neighbours differ by the golden ratio.

    The first `DISTINCT` differ by 20 degrees of hue or more.
    """
    return _from_hue(i * 0.618034 % 1)


def _number(emotion: str) -> int:
    """Return a number from 0 to 255 that depends on the name alone."""
    return hashlib.blake2b(emotion.encode(errors="surrogatepass"), digest_size=1).digest()[0]


def _from_hue(hue: float) -> str:
    """Return a colour whose lightness and saturation read on light and dark pages."""
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, 0.42, 0.45))
    return f"#{red:02X}{green:02X}{blue:02X}"
