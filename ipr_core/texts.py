"""Texts from data on pages: ids, speakers, classes, paths, notes and errors may come from a stranger.

Every text that a page, a figure, a report or a Markdown file takes from data goes through one of these functions. Each
returns one line that is read as text only: no markup, no formula, nothing that turns the direction of reading.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache

LETTERS = 60
"""Letters of an id, a name or a value that are shown; of a longer one the ends, where names differ."""
SENTENCE = 1000
"""Letters of an error or a note that are shown."""
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\ufffb]"
)
"""Control characters, marks of direction and lone surrogates; joiners stay, which some scripts and emoji need."""
_SPACE = re.compile(r"[\t\n\r\f\v]+")
_IN_FIGURES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;"}
"""Entities that plotly knows. Two $ would make a formula."""
_IN_MARKDOWN = re.compile(r"([\\`*_\[\]|~])")


def plain(text: object, letters: int = LETTERS) -> str:
    """Return a text in one line, without characters that are not seen, the middle of a long one left out."""
    line = _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", _SPACE.sub(" ", str(text)))
    if len(line) <= letters:
        return line
    end = letters // 3
    return f"{line[: letters - end - 1]}…{line[-end:]}"


def in_html(text: object, letters: int = LETTERS) -> str:
    """Return a text for HTML, between tags or in a quoted attribute."""
    return html.escape(plain(text, letters))


@lru_cache(maxsize=100_000)  # a plane of thousands of utterances is drawn at every move of a slider
def in_figure(text: str, letters: int = LETTERS) -> str:
    """Return a text for plotly, which reads tags and formulas in titles, names, labels and what a pointer shows."""
    line = plain(text, letters)
    return line if line.isalnum() else "".join(_IN_FIGURES.get(letter, letter) for letter in line)


def in_markdown(text: object, letters: int = LETTERS) -> str:
    """Return a text for a line of Markdown, where HTML in it is text too."""
    line = _IN_MARKDOWN.sub(r"\\\1", plain(text, letters))
    return html.escape(line, quote=False).replace("$", "&#36;")
