"""The plane of utterances and prototypes through the epochs, live: colours, clicks, and a selection that is saved."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from html import escape
from itertools import count
from pathlib import Path

import ipywidgets as w
import plotly.graph_objects as go
from pandas import DataFrame

from ipr_core.atomic import write
from ipr_core.runs.run import Run
from ipr_core.training import labels
from ipr_widgets import colours, layout, look, plane
from ipr_widgets.layout import Plane, Planes
from ipr_widgets.live import LiveFigure, Touch
from ipr_widgets.state import RunState

LISTED = 100
"""Rows of the selection that are shown; all of them are saved."""
_NAME, _LAYING = "UMAP", "UMAP layout"
_HEIGHT = 330
_ABOUT = look.term(
    "UMAP",
    "Lays the embeddings out on a plane so that neighbours stay neighbours. Who is next to whom means much, "
    "distances between clouds little. What keeps its neighbours keeps its place from epoch to epoch. "
    "Click a point to hear its utterance, drag to select.",
)
_SMALL = "line-height: 1.2; font-size: 12px"  # two lines are no higher than the row


def panel(state: RunState) -> w.Widget:
    """The plane of the epoch that is looked at, about 370 px high. A click sets focus, box or lasso the selection."""
    return _Panel(state).box


def draw(
    state: RunState, made: Sequence[Plane], by: str = plane.TRUTH, within: plane.Extent | None = None
) -> go.Figure:
    """The plane of the epoch that is looked at; while that is being made, the newest there is, as its title says.

    made: a plane an epoch, from epoch 0 on   within: their `extent`, if that is known
    """
    if not state.events:
        return look.note(look.figure(_title(state)), look.NO_EPOCH)
    if not layout.large_enough(len(_sample(state))):
        return look.note(look.figure(_title(state)), plane.TOO_FEW)
    shown = min(state.epoch, len(made) - 1)
    if shown < 0:
        return look.note(look.figure(_title(state)), "The first plane is being laid out")
    rows, within = _looked_up(state, shown), within or plane.extent(made)
    here = _of_system(state, made[shown])
    return plane.epoch(here, rows, state.classes, _title(state, shown), by, within, state.selection, state.focus)


def selected(state: RunState) -> DataFrame:
    """The selected utterances: their rows of the utterance table, and the labels of the epoch that is looked at."""
    rows = list(state.selection)
    arrays = state.arrays(state.epoch)
    own, soft = (arrays[name][rows].astype(float) for name in ("soft_model", "soft_prototypes"))
    utterances = state.data.table.iloc[rows].assign(epoch=state.epoch)
    return labels.table(utterances, state.classes, own, soft, state.system.moves_prototypes)


def save(state: RunState) -> Path:
    """Write the selection into the run folder, all rows and columns, beside those saved before.  returns: the file"""
    folder, found = state.run.folder, selected(state)
    path = next(path for i in count(1) if not (path := folder / f"selection-{i}.csv").exists())
    write(path, lambda temporary: found.to_csv(temporary, index=False))
    return path


class _Panel:
    def __init__(self, state: RunState):
        self.state, self.planes = state, Planes(lambda: state.guard(_LAYING))
        self.figure, self.words, self.listed = LiveFigure(), w.HTML(), w.HTML()
        self.words.layout = w.Layout(flex="1 1 0", min_width="0", margin="0 2px 0 8px")
        self.colour = w.Dropdown(
            options=list(plane.COLOURINGS), description="Colour by", style=dict(description_width="auto"),
            layout=w.Layout(width="250px", min_width="0", flex="0 1 auto"),
        )  # fmt: skip
        self.fold = w.ToggleButton(description="Selection", layout=w.Layout(width="auto", flex="0 0 auto"))
        self.fold.tooltip = "Show or hide the table of what box or lasso selected"
        self.saving = w.Button(description="Save", layout=w.Layout(width="auto", flex="0 0 auto"))
        self.saving.tooltip = "Write every selected utterance with all its columns into the run folder"
        self.saved = w.HTML()
        save = w.HBox([self.saving, self.saved], layout=w.Layout(flex="0 0 auto", align_items="center"))
        rows = w.Box([self.listed], layout=w.Layout(flex="1 1 auto", min_height="0", overflow="auto"))
        self.side = w.VBox([save, rows])
        self.side.layout = w.Layout(width="55%", min_width="0", height=f"{_HEIGHT}px", display="none")
        head = w.HBox([self.colour, self.fold, self.words], layout=w.Layout(width="100%", align_items="center"))
        body = w.HBox([self.figure, self.side], layout=w.Layout(width="100%", min_width="0"))
        self.box = w.VBox([head, body], layout=w.Layout(width="100%", min_width="0", overflow="hidden"))
        self._drawn: tuple = ()
        self._within: tuple = (), None
        self._listen()
        self._offer()
        self._follow()
        self._tell()
        self._redraw()
        self._list()

    def _listen(self) -> None:
        state = self.state
        state.follow(self._offer, ["run"])
        state.follow(self._follow, ["run", "events"])
        state.follow(self._redraw, ["run", "data", "events", "epoch", "selection", "focus"])
        state.follow(self._list, ["run", "epoch", "selection"], patient=True)
        state.follow(self._tell, ["run", "events", "faults"])
        self.planes.observe(self._on_plane, ["made", "working"])
        self.colour.observe(self._on_colour, "value")
        self.fold.observe(lambda _: self._list(), "value")
        self.figure.on_touch(self._on_touch)
        self.saving.on_click(self._on_save)

    @property
    def made(self) -> Sequence[Plane]:
        return self.planes.of(self.state.run) if self.state.run is not None else ()

    def _follow(self) -> None:
        if self.state.events:
            self.planes.follow(self.state.run, self.state.events)

    def _on_colour(self, _: object) -> None:
        self._tell()
        self._redraw()

    def _on_plane(self, _: object) -> None:
        with self.state.lock:
            self._tell()
            self._redraw()

    def _redraw(self) -> None:
        """Draw what changed, and nothing where a plane was made that is out of sight."""
        state, made, by = self.state, self.made, self.colour.value
        with state.lock, state.guard(_NAME):
            shown = min(state.epoch, len(made) - 1)
            frame = state.run, bool(state.events), self._extent(made), by, state.selection
            seen = shown, made[shown].points.tobytes() if shown >= 0 else b"", state.focus
            if (frame, seen) == self._drawn:
                return
            same, self._drawn = shown >= 0 and self._drawn[:1] == (frame,), ()
            try:
                if same:
                    here, rows = _of_system(state, made[shown]), _looked_up(state, shown)
                    traces = plane.traces(here, rows, state.classes, by, state.selection, state.focus)
                    self.figure.turn(traces, _title(state, shown))
                else:
                    self.figure.draw(look.compact(draw(state, made, by, frame[2]), _HEIGHT))
                self._drawn = frame, seen
            except Exception as error:
                self.figure.draw(look.note(look.figure(_NAME, _HEIGHT), f"This figure failed: {error}"))
                raise

    def _offer(self) -> None:
        """The colourings that say something of the run's system."""
        system, by = self.state.system, self.colour.value
        has = system is None or system.shows_prototypes
        names = [name for name, colouring in plane.COLOURINGS.items() if has or not colouring.of_prototypes]
        if names != list(self.colour.options):
            self.colour.options = names
            self.colour.value = by if by in names else plane.TRUTH

    def _extent(self, made: Sequence[Plane]) -> plane.Extent | None:
        """That of all planes; none changes once it is made."""
        if self._within[0] is not made:
            self._within = made, plane.extent(made) if made else None
        return self._within[1]

    def _tell(self) -> None:
        """What the layout is at."""
        done, wanted = len(self.made), len(self.state.events)
        fault = self.state.faults.get(_LAYING)
        if fault:
            self.words.value = f"The layout failed: {escape(fault)}"
        elif self.planes.working and done < wanted:
            self.words.value = f"laying out epoch {done} …"
        else:
            self.words.value = f'<div style="{_SMALL}">{_ABOUT}. {self._meaning()}</div>'

    def _meaning(self) -> str:
        """Of the colours, to be read: the page gives a list with a description no tooltip."""
        state, by = self.state, self.colour.value
        by_speaker = by == plane.SPEAKER and state.run is not None
        many = by_speaker and state.data.table["speaker"].iloc[_sample(state)].nunique() > colours.DISTINCT
        return escape(plane.COLOURINGS[by].meaning + (" Many speakers: colours come close." if many else ""))

    def _list(self) -> None:
        state, marked = self.state, len(self.state.selection)
        with state.lock, state.guard(f"{_NAME}, selection"):
            self.fold.description = f"Selection ({marked})" if marked else "Selection"
            self.side.layout.display = "flex" if self.fold.value else "none"
            self.saving.disabled = marked == 0 or state.epoch < 0
            self.saved.value = ""
            if self.fold.value:
                self.listed.value = _as_html(state)

    def _on_touch(self, touch: Touch) -> None:
        rows = [point["customdata"] for point in touch.points if isinstance(point["customdata"], int)]
        with self.state.guard(f"{_NAME}, touch"):
            if touch.kind == "click" and rows:
                self.state.change(focus=rows[0])
            elif touch.kind == "select":
                self.state.change(selection=tuple(sorted(set(rows))))
            elif touch.kind == "deselect":
                self.state.change(selection=())

    def _on_save(self, _: object) -> None:
        with self.state.guard(f"{_NAME}, selection"):
            self.saved.value = "not saved"
            path = save(self.state)
            self.saved.value = f"saved as {look.term(path.name, str(path))}"


def _as_html(state: RunState) -> str:
    """The first selected rows as a table in the page's own colours."""
    if not state.selection or state.epoch < 0:
        return "Nothing is selected: drag a box over the plane, or a lasso with the button above it."
    found = selected(state)
    shown = found[["id", "entropy", "part", "label", "single_label"]].head(LISTED).round({"entropy": 2})
    shown.columns = ["id", "bits", "part", "label", "single"]
    more = f"and {len(found) - LISTED} more" if len(found) > LISTED else ""
    style = "font-size: 11px; line-height: 1.3; white-space: nowrap"
    return f'<div style="{style}">{shown.to_html(index=False, border=0, justify="left")}{more}</div>'


def _title(state: RunState, epoch: int | None = None) -> str:
    both = state.system is None or state.system.shows_prototypes
    what = "Utterances and prototypes" if both else "Utterances"
    return f"{what} on one UMAP plane" if epoch is None else f"{what}, epoch {epoch}"


def _looked_up(state: RunState, epoch: int) -> DataFrame:
    """The sample's utterances with what an epoch says of them."""
    rows, arrays = _sample(state), state.arrays(epoch)
    own, soft = (arrays[name][rows].astype(float) for name in ("soft_model", "soft_prototypes"))
    soft = soft if state.system.shows_prototypes else None
    return plane.table(state.data.table.iloc[rows], own, soft, state.classes, state.system.moves_prototypes)


def _of_system(state: RunState, made: Plane) -> Plane:
    return made if state.system.shows_prototypes else made.bare()


def _sample(state: RunState):
    return _sampled(state, state.run)


@lru_cache(maxsize=2)
def _sampled(state: RunState, run: Run):
    """Which rows the plane shows; finding them takes too long for every move of a slider."""
    return state.sample
