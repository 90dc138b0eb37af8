"""The widgets below a widget."""


def descendants(widget):
    """Yield a widget and all below it, in order."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from descendants(child)
