"""The live plane: it follows the state, tells clicks and selections, and stops nothing when it fails."""

import base64
import html
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from ipr_core.runs.run import Run
from ipr_core.training.runner import Began
from ipr_widgets import layout, plane, umap
from ipr_widgets.layout import Layout
from ipr_widgets.listing import Listing
from ipr_widgets.live import Touch
from ipr_widgets.planes import growing
from ipr_widgets.state import RunState

SECONDS = 120


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """A copy of the finished run with its planes."""
    folder = tmp_path_factory.mktemp("umap") / "run"
    run = Run(shutil.copytree(trained.folder, folder, ignore=shutil.ignore_patterns("widgets")))
    list(growing(run, run.history()))
    return run


@pytest.fixture
def opened(run, data):
    """A panel of the finished run, and its state."""
    state = RunState()
    state.on_event(Began(run, data))
    panel = umap.panel(state)
    panel.source.wait(SECONDS)
    return panel, state


def figure(panel):
    return json.loads(panel.figure.figure)


def points(panel):
    """Traces of utterances."""
    return [trace for trace in figure(panel)["data"] if "customdata" in trace]


def rows(panel):
    return sorted(facts[0] for trace in points(panel) for facts in trace["customdata"])


def touch(kind, *rows):
    point = {"trace": 0, "point": 0, "x": 0, "y": 0, "meta": None}
    return Touch(kind, [point | {"customdata": None if row is None else [row, "a"]} for row in rows])


def test_before_anything_began_the_panel_says_so():
    panel = umap.panel(RunState())
    assert "No epoch has been trained yet" in figure(panel)["layout"]["annotations"][0]["text"]
    assert umap.panel(RunState()).children


def test_events_fed_one_by_one_end_with_the_figure_of_a_replay(run, data, opened):
    live_run = Run(shutil.copytree(run.folder, run.folder.with_name("live"), ignore=shutil.ignore_patterns("widgets")))
    live_run.reopen_()
    events, lines = list(run.replay()), (run.folder / "events.jsonl").read_text().splitlines()
    (live_run.folder / "events.jsonl").write_text("")
    state = RunState()
    state.on_event(Began(live_run, data))
    panel = umap.panel(state)
    for i, event in enumerate(events):
        (live_run.folder / "events.jsonl").write_text("\n".join(lines[: i + 1]) + "\n")
        state.on_event(event)
    assert len(panel.planes) < 3  # it did not wait for the layout
    panel.source.wait(SECONDS)
    assert state.faults == {}
    assert figure(panel) == figure(opened[0])


def test_every_utterance_of_the_sample_is_drawn_with_webgl_and_knows_its_row(opened):
    panel, state = opened
    assert rows(panel) == state.sample.tolist()
    assert {trace["type"] for trace in figure(panel)["data"]} == {"scattergl"}


def test_the_epoch_that_is_looked_at_is_drawn_within_axes_that_stay(opened):
    panel, state = opened
    frames = []
    for epoch in (0, 2):
        state.change(epoch=epoch)
        frames.append(figure(panel))
        assert f"epoch {epoch}" in frames[-1]["layout"]["title"]["text"]
    first, last = ([frame["layout"][axis]["range"] for axis in ("xaxis", "yaxis")] for frame in frames)
    assert first == last
    assert frames[0]["data"][0]["x"] != frames[1]["data"][0]["x"]


@pytest.mark.parametrize("colouring", plane.COLOURINGS)
def test_every_colouring_draws_every_utterance(opened, colouring):
    panel, state = opened
    panel.colour.value = colouring
    assert rows(panel) == state.sample.tolist()
    assert plane.COLOURINGS[colouring].meaning in html.unescape(panel.words.value)
    assert state.faults == {}


def test_entropy_has_a_colour_bar_in_bits_that_ends_at_the_most_undecided(opened):
    panel, state = opened
    panel.colour.value = "soft-label entropy"
    (trace,) = points(panel)
    assert (trace["marker"]["cmin"], trace["marker"]["cmax"]) == (0, np.log2(len(state.classes)))
    assert "bits" in trace["marker"]["colorbar"]["title"]["text"]


def test_pseudo_labels_are_those_of_the_epoch(opened):
    panel, state = opened
    panel.colour.value = "prototypes' pseudo-label"
    state.change(epoch=1)
    labels = state.arrays(1)["soft_prototypes"].argmax(axis=1)
    for trace in points(panel):
        assert {state.classes[labels[row]] for row, *_ in trace["customdata"]} <= {trace["name"]}


def test_a_click_sets_the_focus_and_marks_it(opened):
    panel, state = opened
    row = int(state.sample[3])
    panel.figure.receive({"kind": "click", "points": touch("click", row).points})
    assert state.focus == row
    panel._on_touch(touch("click", None))  # a star
    assert state.focus == row
    (ring,) = [trace for trace in figure(panel)["data"] if trace["name"] == "looked at"]
    assert (
        ring["x"] != plane.epoch(panel.planes[2], umap._sample_table(state, 2), state.classes, "").data[-5].x.tolist()
    )


def test_box_and_lasso_select_and_a_double_click_clears(opened):
    panel, state = opened
    pair = tuple(int(row) for row in state.sample[[5, 2]])
    panel._on_touch(touch("select", *pair, None))
    assert state.selection == tuple(sorted(pair))
    marked = [trace["customdata"][i][0] for trace in points(panel) for i in trace["selectedpoints"]]
    assert sorted(marked) == sorted(pair)
    panel._on_touch(touch("deselect"))
    assert state.selection == ()
    assert not any("selectedpoints" in trace for trace in points(panel))


def test_the_selection_is_listed_and_saved_whole(opened, monkeypatch):
    panel, state = opened
    monkeypatch.setattr(umap, "ROWS", 2)
    state.change(selection=(0, 4, 7), epoch=1)
    panel.fold.value = True
    ids = state.data.table["id"].to_list()
    assert [name in panel.table.value for name in (ids[0], ids[4], ids[7])] == [True, True, False]
    assert "and 1 more" in panel.table.value
    assert re.findall("<th>(.*?)</th>", panel.table.value)[0] == "id"
    panel.save.click()
    saved = pd.read_csv(state.run.folder / "selection-1.csv", dtype={"id": str})
    assert saved["id"].to_list() == [ids[0], ids[4], ids[7]]
    assert {"speaker", "votes_other", "single_label", "entropy"} <= set(saved)
    assert (saved["epoch"] == 1).all()
    shares = saved[[f"prototypes_{name}" for name in state.classes]]
    np.testing.assert_allclose(shares, state.arrays(1)["soft_prototypes"][[0, 4, 7]].astype(float), atol=1e-6)
    assert str(state.run.folder / "selection-1.csv") in panel.message.value


def test_a_selection_of_the_last_epoch_has_the_runs_own_labels(opened):
    state = opened[1]
    columns = ["single_label", "entropy", *(f"soft_{name}" for name in state.classes)]
    state.change(selection=(0, 4, 7), epoch=2)
    pd.testing.assert_frame_equal(
        umap.selected(state)[columns], state.run.labels.iloc[[0, 4, 7]][columns], check_dtype=False
    )
    state.change(epoch=1)
    earlier_labels = umap.selected(state)
    assert earlier_labels["soft_sad"].tolist() == earlier_labels["prototypes_sad"].tolist()


def test_what_was_saved_before_is_kept(run, data, tmp_path):
    state = RunState()
    copied = shutil.copytree(run.folder, tmp_path / "run", ignore=shutil.ignore_patterns("selection*"))
    state.on_event(Began(Run(copied), data))
    for rows in ((0, 4), (7,)):
        state.change(selection=rows)
        umap.save(state)
    saved = [pd.read_csv(copied / f"selection-{i}.csv", dtype={"id": str})["id"].to_list() for i in (1, 2)]
    assert saved == [data.table["id"].iloc[list(rows)].to_list() for rows in ((0, 4), (7,))]


def test_many_speakers_are_said_to_come_close(opened, monkeypatch):
    panel, state = opened
    panel.colour.value = "speaker"
    speakers = state.data.table["speaker"].iloc[state.sample].nunique()
    for limit, crowded in ((speakers, False), (speakers - 1, True)):
        monkeypatch.setattr(umap.colours, "DISTINCT", limit)
        panel._show_words()
        assert ("come close" in panel.words.value) == crowded


def test_nothing_selected_is_said_and_cannot_be_saved(opened):
    panel, _ = opened
    panel.fold.value = True
    assert "Nothing is selected" in panel.table.value
    assert panel.save.disabled


def test_too_small_a_sample_is_said(opened, monkeypatch):
    panel, state = opened
    monkeypatch.setattr(layout, "FEWEST", 100)
    assert "at least" in umap.draw(state, panel.planes).layout.annotations[0].text


def test_a_layout_that_fails_says_so_and_epochs_go_on(run, data, monkeypatch):
    def fail(*_):
        raise ArithmeticError("no plane <today>")

    monkeypatch.setattr(Layout, "next_plane", fail)
    monkeypatch.setattr(layout, "VERSION", "none is kept of it")
    state = RunState()
    state.on_event(Began(run, data))
    panel = umap.panel(state)
    panel.source.wait(SECONDS)
    assert "no plane <today>" in state.faults["UMAP layout"]
    assert "no plane &lt;today&gt;" in panel.words.value
    state.change(epoch=0)
    assert state.epoch == 0
    assert set(state.faults) == {"UMAP layout"}


def numbers(values):
    """Return an array that plotly has written as base64, or a list as it is."""
    return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]) if isinstance(values, dict) else values


def test_filters_dim_the_others_on_the_plane_and_a_selection_comes_first(opened):
    panel, state = opened
    listing = Listing(state)
    assert state.highlighted == ()
    listing.filters.part.value = "D1"
    rows = set(state.opened.data.rows("D1").tolist())
    assert set(state.highlighted) == rows
    chosen = {
        trace["customdata"][i][0]
        for trace in json.loads(panel.figure.figure)["data"] if trace.get("selectedpoints")
        for i in trace["selectedpoints"]
    }  # fmt: skip
    assert chosen == rows & set(state.sample.tolist())
    state.change(selection=(2,))
    assert state.highlighted == (2,)
    state.change(selection=())
    listing.filters.search.value = "no such id"
    assert state.highlighted == (-1,)
    listing.filters.reset()
    assert state.highlighted == ()


def test_the_way_of_the_utterance_in_view_leads_to_it_and_points_have_a_size(opened):
    panel, state = opened
    state.change(focus=int(state.sample[3]), epoch=2)
    traces = {trace["name"]: trace for trace in json.loads(panel.figure.figure)["data"]}
    way = traces["its way"]
    assert len(numbers(way["x"])) == 3
    np.testing.assert_allclose(numbers(way["x"])[-1], numbers(traces["looked at"]["x"])[0])
    panel.size.value = 12
    sizes = {t["marker"]["size"] for t in json.loads(panel.figure.figure)["data"] if "customdata" in t}
    assert sizes == {12}
