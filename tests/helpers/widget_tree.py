"""The widgets below a widget, and the text in one."""

import re


def descendants(widget):
    """Yield a widget and all below it, in order."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from descendants(child)


def text(widget) -> str:
    """Return the text that a reader sees of a widget's HTML, or of HTML."""
    return re.sub("<[^>]*>", " ", getattr(widget, "value", widget))
