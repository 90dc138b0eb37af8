"""The keys of emotions, and the explorer's keys in the page."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Sequence
from typing import Any

import traitlets as t

from ipr_core.texts import in_html, plain
from ipr_widgets.page import Place

_RESERVED = "oxu"
"""Letters that mean "other" and "cannot tell" in the listening test, and "undo" on the board."""
SPEEDS = (0.75, 1.0, 1.25, 1.5)

Key = dict[str, str]
"""name, digit and letter of an emotion; "" for no key."""


def emotion_keys(classes: Sequence[str]) -> list[Key]:
    """Return the two keys of each class, on the board and in the listening test.

    The letter is the first of the name that no class before it has.
    """
    free, keys = set(string.ascii_lowercase) - set(_RESERVED), []
    for i, name in enumerate(classes):
        letter = next((letter for letter in name.lower() if letter in free), "")
        free.discard(letter)
        keys.append(dict(name=plain(name), digit=str(i + 1) if i < 9 else "", letter=letter))
    return keys


class Shortcuts(Place):
    """A child of a box of widgets that tells of the keys pressed in the box, and plays the sound in it.

    `on_press` is called with the kind of a key, "emotion", "undo", "next" or "previous", and an emotion's number; with
    "late" for a key that was meant for another utterance than the one in view.
    """

    emotions = t.List(t.Dict(), help="name, digit and letter of each")
    focus = t.Int(-1, help="the utterance in view")
    speed = t.Float(1.0, help="of the sound; its pitch stays")
    loop = t.Bool(False, help="whether the part of the sound that the waveform shows is played again")

    def __init__(self, on_press: Callable[[str, int], None]):
        super().__init__("shortcuts", self._on_message, display="none")
        self._on_press = on_press
        self.observe(self._write, ["emotions", "focus", "speed", "loop"])
        self._write()

    def _write(self, _: object = None) -> None:
        page = dict(emotions=self.emotions, focus=self.focus, speed=self.speed, loop=self.loop)
        self.sheet.value = json.dumps(page)

    @property
    def hint(self) -> str:
        """The keys, in a line of HTML."""
        emotions = [f"{_caps(key['digit'], key['letter'])} {in_html(key['name'])}" for key in self.emotions]
        others = [
            f"{_caps('u')} undo", f"{_caps('Space')} play", f"{_caps('↑', '↓')} previous, next"
        ]  # fmt: skip
        return f"Keys: {' · '.join([*others, *emotions])}"

    def _on_message(self, content: dict[str, Any]) -> None:
        kind = content["kind"] if content["focus"] == self.focus else "late"
        self._on_press(kind, content.get("number", -1))


def _caps(*keys: str) -> str:
    return " ".join(f"<code>{in_html(key)}</code>" for key in keys if key)
