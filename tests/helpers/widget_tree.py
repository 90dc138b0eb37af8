"""All widgets below a widget."""


def inside(widget):
    """A widget and all below it, in order."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from inside(child)
