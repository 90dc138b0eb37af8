"""The filters of the explorer's list: alone, together, cleared, and over epochs and runs."""

import dataclasses

import numpy as np
import pytest

from helpers.widget_tree import descendants
from ipr_core.runs import corrections
from ipr_core.runs.run import Run
from ipr_core.training.runner import Began
from ipr_widgets.explorer import Explorer
from ipr_widgets.filters import ANY, NO_LABEL, SELECTION, Filters
from ipr_widgets.state import RunState


def single(state, epoch):
    """Return the names of the single labels of an epoch."""
    if state.final:
        return state.run.labels["single_label"].to_numpy(str)
    return np.array(state.classes)[state.arrays(epoch)["soft_prototypes"].argmax(axis=1)]


def listed(panel):
    return sorted(panel.listing.rows)


@pytest.mark.parametrize("epoch", [0, 2])
def test_each_filter_lists_the_rows_of_a_slow_search_and_how_many(panel, state, data, epoch):
    state.change(epoch=epoch)
    filters, names, table = panel.listing.filters, single(state, epoch), data.table
    cases = [
        (filters.part, "D2", lambda i: table["part"][i] == "D2"),
        (filters.single, names[0], lambda i: names[i] == names[0]),
        (filters.released, "sad", lambda i: table["label"][i] == "sad"),
        (filters.verdict, True, lambda i: names[i] == table["label"][i]),
        (filters.verdict, False, lambda i: names[i] != table["label"][i]),
        (filters.speaker, table["speaker"][3], lambda i: table["speaker"][i] == table["speaker"][3]),
    ]
    for control, value, passes in cases:
        control.value = value
        rows = [i for i in range(64) if passes(i)]
        assert 0 < len(rows) < 64
        assert listed(panel) == rows
        assert panel.listing.count.value == f"{len(rows)} of {len(rows)} that match"
        assert filters.fold.description == "Filters: 1"
        control.value = ANY
    assert len(listed(panel)) == 64
    assert filters.fold.description == "Filters"
    assert state.faults == {}


def test_filters_hold_together_survive_an_epoch_and_are_cleared_by_one_button(panel, state, data, run):
    filters, table = panel.listing.filters, data.table
    corrections.add(run, table["id"][5], "angry", "Ada")
    filters.released.value, filters.verdict.value, filters.corrected.value = "happy", False, False
    filters.search.value = "synthetic"
    for epoch in (0, 1):
        state.change(epoch=epoch)
        names = single(state, epoch)
        rows = [i for i in range(64) if table["label"][i] == "happy" and names[i] != "happy" and i != 5]
        assert listed(panel) == rows
    assert filters.active == 4
    fills = []
    panel.listing.choice.observe(fills.append, "_options_labels")
    filters.clear.click()
    assert len(fills) == 1
    assert listed(panel) == list(range(64))
    assert filters.active == 0
    assert filters.clear.disabled


def test_an_utterance_without_a_released_label_is_neither_right_nor_wrong(run, data):
    table = data.table.assign(label=["" if i < 4 else label for i, label in enumerate(data.table["label"])])
    state = RunState()
    state.on_event(Began(run, dataclasses.replace(data, table=table)))
    panel = Explorer(state)
    filters = panel.listing.filters
    filters.released.value = NO_LABEL
    assert listed(panel) == [0, 1, 2, 3]
    filters.released.value = ANY
    rows = []
    for right in (True, False):
        filters.verdict.value = right
        rows += listed(panel)
    assert sorted(rows) == list(range(4, 64))


def test_speakers_are_in_the_order_of_their_numbers_and_read_as_text(run, data):
    names = ["s10", "s2", "", "<b>x", "s02"]
    table = data.table.assign(speaker=[names[i % 5] for i in range(64)])
    state = RunState()
    state.on_event(Began(run, dataclasses.replace(data, table=table)))
    panel = Explorer(state)
    speakers = panel.listing.filters.speaker
    texts = [text for text, _ in speakers.options]
    assert texts[:3] == ["speaker", "unknown speaker", "<b>x"]  # options of a menu are text
    assert texts[-1] == "s10"
    speakers.value = ""
    assert listed(panel) == list(range(2, 64, 5))


def test_a_choice_stays_in_a_run_that_has_it_and_goes_in_one_that_has_not(panel, state, run, data):
    filters, speaker = panel.listing.filters, data.table["speaker"][0]
    filters.speaker.value, filters.single.value = speaker, "sad"
    state.on_event(Began(Run(run.folder), dataclasses.replace(data, table=data.table.assign(speaker="new"))))
    assert filters.speaker.value == ANY
    assert filters.single.value == "sad"
    assert filters.fold.description == "Filters: 1"
    assert state.faults == {}


def test_the_filters_fold_away_and_every_control_has_a_name(panel):
    filters = panel.listing.filters
    assert filters.more.layout.display == "none"
    filters.fold.value = True
    assert filters.more.layout.display is None
    controls = [filters.part, filters.search, filters.fold, *filters.more.children, panel.listing.order]
    assert all(control.tooltip for control in controls)
    assert all(child in list(descendants(panel)) for child in controls)


def test_filters_without_a_run_offer_nothing_and_list_nothing():
    state, calls = RunState(), []
    filters = Filters(state, lambda: calls.append(1))
    filters.offer()
    assert [text for text, _ in filters.single.options] == ["single label"]
    filters.part.value = SELECTION
    filters.reset()
    assert len(calls) == 2
