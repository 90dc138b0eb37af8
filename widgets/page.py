"""Places in a notebook's page, and the one script that fills them.

An anywidget for each figure would be simpler. But an anywidget that a busy page does not load within two seconds counts
as failed: the page reports an error, and the widget receives nothing more. A board makes a dozen figures while the page
draws. So there is one anywidget for a kernel, made before all others, and a place of a figure is a plain box.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

import anywidget
import ipywidgets as w
import traitlets as t

_HERE = Path(__file__).parent
_SCRIPTS = ("figures.js", "shortcuts.js", "tips.js", "microphone.js", "page.js")


class Script(anywidget.AnyWidget):
    """The script and the style of every place of a kernel, with the plotly.js of the installed plotly."""

    _esm = "\n".join((_HERE / name).read_text("utf-8") for name in _SCRIPTS)
    _css = (_HERE / "page.css").read_text("utf-8")
    name = t.Unicode(help="the class of its places").tag(sync=True)
    source = t.Bytes(help="plotly.js").tag(sync=True)

    def __init__(self) -> None:
        source = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
        super().__init__(name=f"ipr-place-{uuid4().hex}", source=source)
        self.places: WeakValueDictionary[str, Place] = WeakValueDictionary()
        self.on_msg(self._pass_on)

    def _pass_on(self, _: object, message: dict[str, Any], buffers: Sequence[memoryview]) -> None:
        place = self.places.get(message["sheet"])
        if place is not None:
            place.receive(message["content"], *buffers)


class Place(w.Box):
    """A box that the script fills: by its kind, with what its sheet holds.

    kind: "figure", "shortcuts", "tips" or "microphone"; one of the script's
    receive: is called with what the place sends back, and with the bytes beside it
    """

    def __init__(self, kind: str, receive: Callable[..., None] | None = None, **layout: str):
        script = _script()
        self.sheet = w.Text(description=kind)
        self.receive = receive or (lambda content, *buffers: None)
        super().__init__(layout=w.Layout(**layout))
        self.add_class(script.name).add_class(f"ipr-sheet-{self.sheet.model_id}")
        script.places[self.sheet.model_id] = self

    def close(self) -> None:
        """Close the place and its sheet."""
        self.sheet.close()
        super().close()


class Keys(Place):
    """A child of a box that keeps arrow keys from JupyterLab, which would change cells.

    It also names sliders, sounds, and the buttons of a player of numbers, which are icons, for screen readers.
    """

    def __init__(self) -> None:
        super().__init__("tips", display="none")


@cache
def _script() -> Script:
    """Make the kernel's only script."""
    return Script()
