"""One colour per emotion, in every figure.

Told apart with normal, red-blind, green-blind and blue-blind sight, and against white and JupyterLab's dark page.
Vermilion, orange, blue, green, pink and sky blue follow Okabe and Ito (2008), angry a shade darker so that a
green-blind reader does not take it for happy.
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

INK = "#7A7A7A"
"""Text, axes and reference lines: the same contrast, 4.3, on white and on JupyterLab's dark page."""
GRID = "rgba(127, 127, 127, 0.25)"
SHADE = "rgba(127, 127, 127, 0.15)"

MODEL, PROTOTYPES = "#AA4499", "#44AA99"
"""Who gave a label: the classifier, or the prototypes. Neither is an emotion's colour."""
SAME, DIFFERENT = "#009FB7", "#7A5C00"
"""Whether the two agree. Neither is an emotion's colour or a role's."""
PARTS = {"D1": "#6699CC", "D2": "#AA4499", "D3": "#999933"}


APART = 13
"""So many numbered colours are told apart; of more, some come close."""


def of(emotion: str) -> str:
    """An emotion's colour as "#RRGGBB"; a class that is not in the list always has the same one of its own."""
    return EMOTIONS.get(emotion) or _of_unknown(emotion)


def numbered(i: int) -> str:
    """The colour of the i-th of many things that are no emotions; neighbours are far apart (by the golden ratio).

    The first `APART` differ by 20 degrees of hue or more.
    """
    return _hue(i * 0.618034 % 1)


def _of_unknown(name: str) -> str:
    """Its hue from the name alone."""
    return _hue(hashlib.blake2b(name.encode(), digest_size=1).digest()[0] / 256)


def _hue(hue: float) -> str:
    """Lightness and saturation keep it legible on light and dark."""
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, 0.42, 0.45))
    return f"#{red:02X}{green:02X}{blue:02X}"
