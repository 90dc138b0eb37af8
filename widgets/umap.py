"""The live plane of utterances and prototypes, with colours, clicks, and a selection to save."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from pathlib import Path

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core.atomic import write
from ipr_core.results.soft_labels import calibrated_labels
from ipr_core.runs.run import Run
from ipr_core.spreadsheets import to_csv
from ipr_core.texts import SENTENCE, in_figure, in_html, plain
from ipr_core.training import labels
from ipr_widgets import colours, layout, look, plane
from ipr_widgets.layout import Plane, Points
from ipr_widgets.live import LiveFigure, Touch
from ipr_widgets.parts import failed_figure
from ipr_widgets.planes import Planes
from ipr_widgets.state import RunState
from ipr_widgets.votes import present

ROWS = 100
"""Rows of the selection in the table; all of them are saved."""
_NAME, _LAYING = "UMAP", "UMAP layout"
_HEIGHT = 272
_ENTRY = 19  # pixels of height of an entry of the legend
_ABOUT = look.term(
    "UMAP",
    "Lays the embeddings out on a plane so that neighbours stay neighbours. Who is next to whom means much, "
    "distances between clouds little. What keeps its neighbours keeps its place from epoch to epoch. "
    "Click a point to hear its utterance, drag to select.",
)


def panel(state: RunState) -> UmapPanel:
    """Return the plane of the epoch in view, about 320 px high.

    A click on a point sets the focus, box or lasso the selection.
    """
    return UmapPanel(state)


def draw(
    state: RunState,
    planes: Sequence[Plane],
    colouring: str = plane.TRUTH,
    axes: plane.Extent | None = None,
    size: int = 7,
) -> go.Figure:
    """Draw the plane of the epoch in view, or the newest there is; the title says which.

    planes: one an epoch, from epoch 0 on   axes: the `extent` of the planes, if it is known
    size: of a point in pixels
    """
    if not state.events:
        return look.note(look.figure(_title(state)), _known(state))
    if not layout.large_enough(len(_sample(state))):
        return look.note(look.figure(_title(state)), plane.TOO_FEW)
    epoch = min(state.epoch, len(planes) - 1)
    if epoch < 0:
        return look.note(look.figure(_title(state)), "The first plane is being laid out")
    rows, axes = _sample_table(state, epoch), axes or plane.extent(planes)
    points, view = _points(state, planes[epoch]), _view(state, planes[: epoch + 1], size)
    return plane.epoch(points, rows, state.classes, _title(state, epoch), colouring, axes, view)


def selected(state: RunState) -> DataFrame:
    """Return the selected rows of the utterance table with the labels of the epoch in view.

    The soft labels are calibrated in the last epoch of a finished run.
    """
    rows, (run, data, system) = list(state.selection), state.opened
    arrays = state.arrays(state.epoch)
    soft_model, soft_prototypes = (arrays[name][rows].astype(float) for name in ("soft_model", "soft_prototypes"))
    utterances = data.table.iloc[rows].assign(epoch=state.epoch)
    soft = calibrated_labels(run)[rows] if state.final else soft_prototypes if system.moves_prototypes else soft_model
    return labels.table(utterances, state.classes, soft, soft_model, soft_prototypes)


def save(state: RunState) -> Path:
    """Write all rows and columns of the selection into a new file of the run folder; returns the file."""
    folder, table = state.opened.run.folder, selected(state)
    path = next(path for i in count(1) if not (path := folder / f"selection-{i}.csv").exists())
    write(path, lambda temporary: to_csv(table, temporary))
    return path


class UmapPanel(w.VBox):
    """The plane with its colourings, and the selection as a table that folds away."""

    def __init__(self, state: RunState):
        self.state, self.source = state, Planes(lambda: state.guard(_LAYING))
        self.figure, self.words, self.table = LiveFigure(), w.HTML(), w.HTML()
        self.colour = w.Dropdown(
            options=list(plane.COLOURINGS), description="Colour by", style=dict(description_width="auto"),
            layout=w.Layout(width="250px", min_width="0", flex="0 1 auto"),
        )  # fmt: skip
        self.fold = w.ToggleButton(description="Selection", layout=w.Layout(width="auto", flex="0 0 auto"))
        self.fold.tooltip = "Show or hide the table of what box or lasso selected"
        self.size = w.IntSlider(7, 3, 15, description="Points", style=dict(description_width="auto"), readout=False)
        self.size.layout, self.size.tooltip = w.Layout(width="130px", min_width="0"), "Size of the points, in pixels"
        self.save = w.Button(description="Save", layout=w.Layout(width="auto", flex="0 0 auto"))
        self.save.tooltip = "Write every selected utterance with all its columns into the run folder"
        self.message = w.HTML()
        self._picture: tuple[object, ...] = ()  # the frame and the view of the figure
        self._extents: tuple[Sequence[Plane], plane.Extent | None] = (), None
        head = w.HBox([self.colour, self.fold, self.size], layout=w.Layout(width="100%", flex_flow="row wrap"))
        self.words.add_class("ipr-caption")
        layout = w.Layout(width="100%", min_width="0", overflow="hidden")
        super().__init__([head, self.words, self._body()], layout=layout)
        self._observe()
        self._offer()
        self._follow()
        self._show_words()
        self._redraw()
        self._show_selection()

    def _body(self) -> w.HBox:
        """Return the figure, and the selection beside it."""
        save = w.HBox([self.save, self.message], layout=w.Layout(flex="0 0 auto", align_items="center"))
        rows = w.Box([self.table], layout=w.Layout(flex="1 1 auto", min_height="0", overflow="auto"))
        self.side = w.VBox([save, rows])
        self.side.layout = w.Layout(width="55%", min_width="0", height=f"{_HEIGHT}px", display="none")
        return w.HBox([self.figure, self.side], layout=w.Layout(width="100%", min_width="0"))

    def _observe(self) -> None:
        state = self.state
        state.follow(self._offer, ["run"])
        state.follow(self._follow, ["run", "events"])
        state.follow(self._redraw, ["run", "data", "events", "epoch", "selection", "listed", "focus", "recordings"])
        state.follow(self._show_selection, ["run", "epoch", "selection"], patient=True)
        state.follow(self._show_words, ["run", "events", "faults"])
        self.source.observe(self._on_plane, ["latest", "working"])
        self.colour.observe(self._on_colour, "value")
        self.size.observe(lambda _: self._redraw(), "value")
        self.fold.observe(lambda _: self._show_selection(), "value")
        self.figure.on_touch(self._on_touch)
        self.save.on_click(self._on_save)

    @property
    def planes(self) -> Sequence[Plane]:
        """The planes so far."""
        return self.source.of_run(self.state.run) if self.state.run is not None else ()

    def _follow(self) -> None:
        if self.state.run is not None and self.state.events:
            self.source.follow(self.state.run, self.state.events)

    def _on_colour(self, _: object) -> None:
        self._show_words()
        self._redraw()

    def _on_plane(self, _: object) -> None:
        with self.state.lock:
            self._show_words()
            self._redraw()

    def _redraw(self) -> None:
        """Draw the figure, unless the only change is a new plane out of sight."""
        state, planes, colouring = self.state, self.planes, self.colour.value
        with state.lock, state.guard(_NAME):
            epoch, axes = min(state.epoch, len(planes) - 1), self._extent(planes)
            frame = state.run, bool(state.events), axes, colouring, state.highlighted, self.size.value, state.recordings
            view = epoch, planes[epoch].points.tobytes() if epoch >= 0 else b"", state.focus
            if (frame, view) == self._picture:
                return
            turn, self._picture = epoch >= 0 and self._picture[:1] == (frame,), ()
            try:
                if turn:
                    self._turn(planes, epoch)
                else:
                    figure = draw(state, planes, colouring, axes, self.size.value)
                    self.figure.draw(_compact(figure, colouring))
                self._picture = frame, view
            except Exception as error:
                self.figure.draw(failed_figure(_NAME, error, _HEIGHT))
                raise

    def _turn(self, planes: Sequence[Plane], epoch: int) -> None:
        """Show another epoch in the same frame."""
        state, points, rows = self.state, _points(self.state, planes[epoch]), _sample_table(self.state, epoch)
        view = _view(state, planes[: epoch + 1], self.size.value)
        self.figure.turn(plane.traces(points, rows, state.classes, self.colour.value, view), _title(state, epoch))

    def _offer(self) -> None:
        """Offer the colourings that the run's system has."""
        colouring, prototypes = self.colour.value, self.state.shows_prototypes
        names = [name for name, entry in plane.COLOURINGS.items() if prototypes or not entry.of_prototypes]
        if names != list(self.colour.options):
            self.colour.options = names
            self.colour.value = colouring if colouring in names else plane.TRUTH

    def _extent(self, planes: Sequence[Plane]) -> plane.Extent | None:
        """Return the extent of all planes, computed once, since the planes never change."""
        if self._extents[0] is not planes:
            self._extents = planes, plane.extent(planes) if planes else None
        return self._extents[1]

    def _show_words(self) -> None:
        """Show the progress of the layout, or the meaning of the colours."""
        count, fault = len(self.planes), self.state.faults.get(_LAYING)
        if fault:
            self.words.value = f"The layout failed: {in_html(fault, SENTENCE)}"
        elif self.source.working and count < len(self.state.events):
            self.words.value = f"laying out epoch {count} …"
        else:
            self.words.value = f"{_ABOUT}. {self._meaning()}"

    def _meaning(self) -> str:
        """Return the meaning of the colours as text.

        The page shows no tooltip on a list with a description.
        """
        state, colouring = self.state, self.colour.value
        crowded = False
        if colouring == plane.SPEAKER and state.data is not None:
            crowded = state.data.table["speaker"].iloc[_sample(state)].nunique() > colours.DISTINCT
        return in_html(
            plane.COLOURINGS[colouring].meaning + (" Many speakers: colours come close." if crowded else ""), SENTENCE
        )

    def _show_selection(self) -> None:
        state, size = self.state, len(self.state.selection)
        with state.lock, state.guard(f"{_NAME}, selection"):
            self.fold.description = f"Selection ({size})" if size else "Selection"
            self.side.layout.display = "flex" if self.fold.value else "none"
            self.save.disabled = size == 0 or state.epoch < 0
            self.message.value = ""
            if self.fold.value:
                self.table.value = _as_html(state)

    def _on_touch(self, touch: Touch) -> None:
        rows = [point["customdata"][0] for point in touch.points if point["customdata"]]
        with self.state.guard(f"{_NAME}, touch"):
            if touch.kind == "click" and rows:
                again = rows[0] == self.state.focus
                self.state.change(focus=rows[0], clicks=self.state.clicks + again)
            elif touch.kind == "select":
                self.state.change(selection=tuple(sorted(set(rows))))
            elif touch.kind == "deselect":
                self.state.change(selection=())

    def _on_save(self, _: object) -> None:
        with self.state.guard(f"{_NAME}, selection"):
            self.message.value = "not saved"
            path = save(self.state)
            self.message.value = f"saved as {look.term(path.name, str(path))}"


def _known(state: RunState) -> str:
    """Return what is known before the first epoch: the corpus, its parts and whose votes they rest on."""
    if state.run is None or state.data is None:
        return look.NO_EPOCH
    data, parts = state.data, present(state.data.table["part"])
    counts = [f"{name}: {len(data.rows(part)):,}" for part, name in parts.items()]
    voters = "simulated annotators" if data.simulated else "the corpus's annotators"
    corpus = f"{len(data.table):,} utterances of {in_figure(state.run.config.data.corpus)}"
    return "<br>".join(
        [corpus, *counts, f"by the votes of {voters}", "", "The first plane comes after the first epoch"]
    )


def _compact(fig: go.Figure, colouring: str) -> go.Figure:
    """Fit the figure to the board: the legend beside the plane, which is about square, unless a scale stands there."""
    if plane.COLOURINGS[colouring].scale:
        return look.compact(fig, _HEIGHT)
    entries = sum(trace.showlegend is not False for trace in fig.data)
    height = max(_HEIGHT, _ENTRY * entries + 12)
    beside = dict(orientation="v", x=1, xref="container", xanchor="right", y=1, yref="container", yanchor="top")
    look.compact(fig, height).update_layout(legend=beside, margin=dict(b=34, r=128))
    return fig.update_layout(legend=dict(maxheight=height, font_size=10))


def _as_html(state: RunState) -> str:
    """Return the first selected rows as a table in the page's own colours."""
    if not state.selection or state.epoch < 0:
        return "Nothing is selected: drag a box over the plane, or a lasso with the button above it."
    table = selected(state)
    rows = table[["id", "entropy", "part", "label", "single_label"]].head(ROWS).round({"entropy": 2})
    rows = rows.map(lambda cell: plain(cell) if isinstance(cell, str) else cell)
    rows.columns = ["id", "bits", "part", "label", "single"]
    rest = f"and {len(table) - ROWS} more" if len(table) > ROWS else ""
    style = "font-size: 11px; line-height: 1.3; white-space: nowrap"
    return f'<div style="{style}">{rows.to_html(index=False, border=0, justify="left")}{rest}</div>'


def _title(state: RunState, epoch: int | None = None) -> str:
    subject = "Utterances and prototypes" if state.shows_prototypes else "Utterances"
    return f"{subject} on one UMAP plane" if epoch is None else f"{subject}, epoch {epoch}"


def _sample_table(state: RunState, epoch: int) -> DataFrame:
    """Return the sample's utterances with an epoch's columns."""
    (run, _, system), rows, arrays = state.opened, _sample(state), state.arrays(epoch)
    soft_model, soft_prototypes = (arrays[name][rows].astype(float) for name in ("soft_model", "soft_prototypes"))
    soft = soft_prototypes if system.shows_prototypes else None
    return plane.table(_utterances(state, run), soft_model, soft, state.classes, system.moves_prototypes)


def _points(state: RunState, full: Plane) -> Plane:
    """Return the plane without prototypes where the run's system has none."""
    return full if state.shows_prototypes else full.bare()


def _view(state: RunState, planes: Sequence[Plane], size: int) -> plane.View:
    """Return what the reader looks at.  planes: up to the epoch in view, for the way of the utterance in view"""
    number = np.flatnonzero(_sample(state) == state.focus)
    trail = np.concatenate([p.points[number] for p in planes])
    return plane.View(state.highlighted, state.focus, trail, size, *_recordings(state, planes))


def _recordings(state: RunState, planes: Sequence[Plane]) -> tuple[Points, list[str]]:
    """Return where recordings are, and their single labels; none but on the last plane, whose model has heard them."""
    if not state.recordings or not state.final or len(planes) != len(state.events):
        return np.empty((0, 2), np.float32), []
    vectors, embeddings = (
        np.stack([recording.embedding for recording in state.recordings]),
        state.arrays(state.epoch)["map"],
    )
    names = [state.classes[int(recording.soft.argmax())] for recording in state.recordings]
    return layout.among(vectors, embeddings, planes[-1].points), names


def _sample(state: RunState) -> NDArray[np.int64]:
    return _utterances(state, state.opened.run).index.to_numpy()


@lru_cache(maxsize=2)
def _utterances(state: RunState, run: Run) -> DataFrame:
    """Return the utterances on the plane with what it shows of them, cached for the moves of a slider."""
    return state.opened.data.table.iloc[state.sample][["id", "part", "label", "speaker"]]
