"""Figures drawn for tests, and the traces and the text on a figure."""

import re

from helpers.fake_events import CLASSES
from ipr_widgets import curves


def figures_over_epochs(events):
    """Draw every figure of `curves`."""
    return [
        curves.losses(events), curves.beta(events), curves.scores(events), curves.cosine_trends(events, CLASSES),
        curves.agreement(events), curves.label_counts(events, CLASSES, [3, 3, 4]), curves.gate(events),
    ]  # fmt: skip


def notes(fig):
    return [annotation.text for annotation in fig.layout.annotations]


def trace(fig, name, position=0):
    """Return a trace by its name.  position: among those of this name"""
    return [trace for trace in fig.data if trace.name == name][position]


def hover(trace, i):
    """Return the words under the pointer at a point, as plotly makes them of the template."""

    def fact(match):
        value = trace.customdata[i][int(match[1])]
        return f"{value:{match[2] or ''}}"

    return re.sub(r"%\{customdata\[(\d+)\](?::([^}]+))?\}", fact, trace.hovertemplate)
