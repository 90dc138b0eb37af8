"""The explorer's list: its measures, its order, its filters, and the choice in it."""

import dataclasses

import numpy as np
import pytest

from ipr_core.metrics import entropy, js_divergence
from ipr_core.runs import corrections
from ipr_core.training.runner import Began
from ipr_widgets import listing
from ipr_widgets.explorer import Explorer
from ipr_widgets.filters import ANY
from ipr_widgets.listing import ENTROPY, LABELLERS, PREVIOUS, VOTES, WARM_UP
from ipr_widgets.state import RunState

RNG = np.random.default_rng(0)


def random_arrays(n=200):
    soft = {name: RNG.dirichlet([0.5] * 4, n).astype(np.float16) for name in ("soft_prototypes", "soft_model")}
    soft["soft_prototypes"][5:9] = soft["soft_prototypes"][4]  # ties
    return soft


def slow_sort(values, mask, limit):
    rows = [row for row in range(len(values)) if mask[row] and not np.isnan(values[row])]
    return sorted(rows, key=lambda row: (-values[row], row))[:limit]


def test_the_largest_are_those_of_a_slow_sort_equal_ones_by_row():
    values = RNG.integers(0, 5, 300).astype(float)
    values[::7] = np.nan
    mask = RNG.random(300) < 0.6
    for limit in (10, 1000):
        assert listing.largest(values, mask, limit).tolist() == slow_sort(values, mask, limit)


def test_the_measures_are_those_of_each_row():
    arrays, earlier, votes = random_arrays(), RNG.dirichlet([1] * 4, 200), RNG.dirichlet([1] * 4, 200)
    votes[3] = np.nan
    prototypes, model = (arrays[name].astype(float) for name in ("soft_prototypes", "soft_model"))
    measures = {
        ENTROPY: lambda i: entropy(prototypes[i : i + 1])[0],
        LABELLERS: lambda i: js_divergence(prototypes[i : i + 1], model[i : i + 1])[0],
        VOTES: lambda i: js_divergence(prototypes[i : i + 1], votes[i : i + 1])[0],
        WARM_UP: lambda i: js_divergence(prototypes[i : i + 1], earlier[i : i + 1])[0],
        PREVIOUS: lambda i: js_divergence(prototypes[i : i + 1], earlier[i : i + 1])[0],
    }
    for order, measure in measures.items():
        values = listing.measure(order, arrays, earlier, votes, "soft_prototypes")
        np.testing.assert_allclose(values, [measure(i) for i in range(200)], atol=1e-12, err_msg=order)


def test_a_system_that_labels_by_its_classifier_is_measured_by_that():
    arrays = random_arrays()
    values = listing.measure(ENTROPY, arrays, None, None, "soft_model")
    np.testing.assert_array_equal(values, entropy(arrays["soft_model"]))


def test_the_reference_epoch():
    # a warm-up of 10 epochs ends with epoch 9
    assert listing.reference_epoch(WARM_UP, 30, warm_up=10) == 9
    assert listing.reference_epoch(PREVIOUS, 30, warm_up=10) == 29
    for args in ((WARM_UP, 9, 10), (WARM_UP, 3, 10), (WARM_UP, 3, 0), (PREVIOUS, 0, 10), (ENTROPY, 30, 10)):
        assert listing.reference_epoch(*args) is None


@pytest.mark.parametrize("order", listing.ORDERS.values())
def test_the_list_is_sorted_by_the_order(panel, state, data, order):
    panel.listing.order.value = order
    reference = {WARM_UP: 0, PREVIOUS: 1}.get(order)
    earlier = None if reference is None else state.arrays(reference)["soft_prototypes"]
    values = listing.measure(order, state.arrays(2), earlier, data.votes, "soft_prototypes")
    assert panel.listing.rows == slow_sort(values, np.ones(len(values), bool), listing.LIMIT)
    assert panel.listing.choice.options[0][0].split("\u00a0")[1] == f"{np.nanmax(values):.2f}"
    assert panel.listing.head.value.split() == ["id", "bits", "part", "label"]


def test_the_matching_rows_can_be_selected_without_a_mouse(panel, state, data):
    panel.listing.filters.part.value = "D2"
    panel.listing.select.click()
    assert list(state.selection) == data.rows("D2").tolist()
    panel.listing.filters.search.value = "no such id"
    assert panel.listing.select.disabled


def test_long_ids_show_their_ends_under_the_words_for_them(run, data):
    data = dataclasses.replace(data, table=data.table.assign(id=[f"a long corpus {i // 2:012d}" for i in range(64)]))
    state = RunState()
    state.on_event(Began(run, data))
    panel = Explorer(state)
    row, (name, _) = panel.listing.rows[0], panel.listing.choice.options[0]
    assert name.startswith(f"…{data.table['id'][row][1 - listing.LETTERS :]}".replace(" ", "\u00a0"))
    assert name.index(data.table["part"][row], listing.LETTERS) == panel.listing.head.value.index("part")
    for row in (6, 7):  # ids alike
        state.change(focus=row)
        assert panel.listing.choice.value == row


def test_an_order_without_values_says_why(panel, state):
    panel.listing.order.value = PREVIOUS
    state.change(epoch=0)
    assert panel.listing.rows == []
    assert panel.listing.count.value == "There is no epoch before this one."
    panel.listing.order.value = WARM_UP
    assert "not after the warm-up" in panel.listing.count.value
    panel.listing.order.value = ENTROPY
    assert len(panel.listing.rows) == 64


def test_filters(panel, state, data, run):
    for part in ("D1", "D2", "D3"):
        panel.listing.filters.part.value = part
        assert sorted(panel.listing.rows) == data.rows(part).tolist()
    panel.listing.filters.part.value = "*"
    assert panel.listing.rows == []
    state.change(selection=(3, 7, 11))
    assert sorted(panel.listing.rows) == [3, 7, 11]
    panel.listing.filters.part.value = ANY
    panel.listing.filters.corrected.value = True
    assert panel.listing.rows == []
    corrections.add(run, data.table["id"][9], "sad", "Ada")
    state.change(corrected=1)
    assert panel.listing.rows == [9]
    panel.listing.filters.corrected.value = False
    assert sorted(panel.listing.rows) == [row for row in range(64) if row != 9]
    panel.listing.filters.corrected.value = ANY
    panel.listing.filters.search.value = f"  {data.table['id'][12].upper()} "
    assert panel.listing.rows == [12]
    panel.listing.filters.search.value = "no such id"
    assert panel.listing.rows == []
    assert state.faults == {}


def test_the_list_follows_the_epoch_and_shows_a_few_hundred_at_most(panel, state, monkeypatch):
    newest_rows = panel.listing.rows
    state.change(epoch=0)
    values = entropy(state.arrays(0)["soft_prototypes"])
    assert panel.listing.rows == slow_sort(values, np.ones(64, bool), 300) != newest_rows
    monkeypatch.setattr(listing.largest, "__defaults__", (5,))
    state.change(epoch=1)
    assert len(panel.listing.rows) == 5
    assert panel.listing.count.value == "5 of 64 that match"


def test_a_choice_in_the_list_is_the_focus_and_a_focus_from_elsewhere_is_marked(panel, state):
    panel.listing.choice.value = panel.listing.rows[4]
    assert state.focus == panel.listing.rows[4]
    state.change(focus=panel.listing.rows[10])
    assert panel.listing.choice.value == panel.listing.rows[10]


def test_the_focus_stays_when_the_list_is_sorted_anew_or_does_not_hold_it(panel, state):
    state.change(focus=7)
    focuses = []
    state.observe(lambda change: focuses.append(change["new"]), "focus")
    for order in listing.ORDERS.values():
        panel.listing.order.value = order
        assert panel.listing.choice.value == 7
    for epoch in (0, 1, 2):
        state.change(epoch=epoch)
    panel.listing.filters.search.value = "no such id"
    assert panel.listing.choice.value is None
    panel.listing.filters.search.value = ""
    assert panel.listing.choice.value == 7
    assert focuses == []


def test_a_range_of_entropy_lists_what_lies_in_it(state):
    panel = listing.Listing(state)
    bits = panel.filters.bits
    assert (bits.max, panel.filters.active) == (2, 0)  # four classes
    values = entropy(listing.soft_labels(state))
    low, high = np.quantile(values, [0.25, 0.5]).round(2)
    bits.value = (low, high)
    assert panel.filters.active == 1
    assert set(panel.rows) == set(np.flatnonzero((values >= low) & (values <= high)))
    panel.filters.clear.click()
    assert bits.value == (0, 2)
    assert len(panel.rows) == len(values)
