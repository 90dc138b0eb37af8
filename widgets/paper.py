"""Figures for a paper: SVG and PDF in the width of one or two columns.

plotly.js draws, and a Chrome or Chromium that is on this machine prints (kaleido). Nothing is asked of the network.
A PDF holds its fonts; an SVG keeps its text as text, in whichever of `FONT` its reader has.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import kaleido
import plotly.graph_objects as go
from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError, KaleidoError

from ipr_core.atomic import WriteError
from ipr_core.runs.run import Run, RunError
from ipr_widgets import look, of_run

Columns = Literal[1, 2]

MILLIMETRES: dict[int, float] = {1: 80, 2: 170}
"""Widths of one column and of two: Interspeech's; IEEE's 88 and 181 are a little wider."""
SIZE = 7.5
"""Points of the text."""
FONT = "Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"
FORMATS = ("pdf", "svg")
BLACK, WHITE, GREY = "#1A1A1A", "#FFFFFF", "#D9D9D9"
NO_BROWSER = (
    "figures are printed by a browser, and neither Chrome nor Chromium was found; install one of them, or name its "
    "program in the environment variable BROWSER_PATH"
)
FAILED = (
    "the browser that prints figures did not start, or stopped; the environment variable BROWSER_PATH names another one"
)
_OFFLINE = {"proxy_server": "127.0.0.1:9"}
"""Whatever a browser would ask of the network goes to a port where nobody listens.

MathJax is left out too, which kaleido would fetch from a host; plotly.js is that of the installed plotly.
"""
_PIXELS = 96 / 25.4  # of a millimetre, as a browser prints
_POINT = 96 / 72  # pixels
_SQUARE, _FLAT = 0.78, 0.36  # height of the plot by the width of a figure, of one panel and of several


class _Page(kaleido.PageGenerator):
    """The page that is printed, without margins, of paper and of body, which would cut a wide figure's last line."""

    header = kaleido.PageGenerator.header + (
        "<style>@page { margin: 0 } body { margin: 0 } img { display: block }</style>"
    )


class BrowserError(RuntimeError):
    """There is no browser to print figures with, or it failed; the message is a sentence."""


def fitted(fig: go.Figure, columns: Columns = 1) -> go.Figure:
    """Return a figure as a paper prints it: in its width, black on white, without the title, which is the caption's.

    columns: 1 or 2   The legend stands below the plot, and makes the figure higher instead of covering it.
    """
    paper = go.Figure(look.vector(fig))
    width, size = round(MILLIMETRES[columns] * _PIXELS), SIZE * _POINT
    is_wide = "xaxis2" in paper.layout
    plot = width * (_FLAT if is_wide or columns == 2 else _SQUARE)
    legend = _legend_height(paper, width, size)
    is_open = is_wide or any(note.yanchor == "bottom" for note in paper.layout.annotations)
    paper.update_layout(
        width=width, height=round(plot + legend), title=None, paper_bgcolor=WHITE, plot_bgcolor=WHITE,
        font=dict(family=FONT, size=size, color=BLACK), margin=dict(l=8, r=8, t=26 if is_open else 10, b=8),
    )  # fmt: skip
    position = dict(orientation="h", x=0, xref="container", xanchor="left", y=0, yref="container", yanchor="bottom")
    paper.update_layout(legend=dict(font_size=size, maxheight=1, **position))
    ink = dict(linecolor=BLACK, tickcolor=BLACK, gridcolor=GREY, zerolinecolor=GREY, ticklen=3, title_standoff=4)
    paper.update_xaxes(title_font_size=size, tickfont_size=size, **ink)
    paper.update_yaxes(title_font_size=size, tickfont_size=size, **ink)
    paper.update_layout(uniformtext=dict(minsize=5, mode="hide"))
    for trace in paper.select_traces(selector=dict(type="heatmap")):
        trace.colorbar.update(title_font_size=size, tickfont_size=size, thickness=10)
    return paper.update_annotations(font_size=size, font_color=BLACK)


def save(figures: Iterable[tuple[go.Figure, str]], folder: Path | str, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write figures, as they are, into a folder.

    figures: each with the name of its files, without an ending   formats: of FORMATS
    returns: the files   raises BrowserError
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    jobs = [
        {"fig": fig.to_dict(), "path": str(Path(folder, f"{name}.{form}")), "opts": {"format": form} | _size(fig)}
        for fig, name in figures
        for form in formats
    ]
    try:
        kaleido.write_fig_from_object_sync(jobs, kopts=_OFFLINE | {"page_generator": _Page(mathjax=False)})
    except ChromeNotFoundError as error:
        raise BrowserError(NO_BROWSER) from error
    except (BrowserClosedError, BrowserFailedError, KaleidoError) as error:
        raise BrowserError(FAILED) from error
    return [Path(job["path"]) for job in jobs]


def figures(run: Run, folder: Path | str, rivals: Sequence[Run] = (), formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write all figures of a finished run, of one column and, named NAME-2, of two; those with panels of two alone.

    rivals: other finished runs on the same utterances, beside which it is drawn
    returns: the files   raises BrowserError; RunError
    """
    jobs: list[tuple[go.Figure, str]] = []
    for drawing in of_run.drawings(run, rivals):
        if not drawing.is_wide:
            jobs.append((fitted(drawing.figure), drawing.name))
        jobs.append((fitted(drawing.figure, 2), f"{drawing.name}-2"))
    return save(jobs, folder, formats)


def main(arguments: Sequence[str]) -> int:
    """Write the figures of a run for the command `ipr figures`: RUN FOLDER FORMATS [RIVAL ...].

    returns: 0; 1 with a sentence on the error output if there is no browser
    """
    folder, target, formats, *rivals = arguments
    try:
        paths = figures(Run.open(folder), target, [Run.open(rival) for rival in rivals], formats.split(","))
    except (BrowserError, RunError, WriteError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{target}: {len(paths)} figures, {' and '.join(formats.split(','))}; NAME-2 is two columns wide")
    return 0


def _size(fig: go.Figure) -> dict[str, int]:
    """Return width and height in pixels, those of the screen where the figure has none."""
    return {"width": round(fig.layout.width or 700), "height": round(fig.layout.height or 450)}


def _legend_height(fig: go.Figure, width: float, size: float) -> float:
    """Return the pixels of a legend below the plot; plotly makes its columns as wide as the longest name."""
    names = {
        str(trace.legendgroup or trace.name): str(trace.name or "")
        for trace in fig.data
        if trace.type != "heatmap" and trace.showlegend is not False and trace.name
    }
    is_shown = fig.layout.showlegend or (fig.layout.showlegend is None and len(fig.data) > 1)
    if not names or not is_shown:
        return 0
    columns = max(1, int(width // (46 + 0.55 * size * max(map(len, names.values())))))
    return math.ceil(len(names) / columns) * 1.9 * size + 6


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
