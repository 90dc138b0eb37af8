"""The utterance explorer without a browser: what is listed, what is shown of one utterance, and corrections."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import ipywidgets as w
import numpy as np
import pytest

from helpers.fake_events import event
from helpers.figures import notes
from ipr_core.metrics import entropy, js_divergence
from ipr_core.runs import corrections
from ipr_core.runs.run import Run
from ipr_core.training.runner import Began
from ipr_widgets import colours, explorer, live, look, players, utterance
from ipr_widgets.explorer import BEFORE, ENTROPY, VIEWS, VOTES, WARM_UP
from ipr_widgets.state import RunState

CLASSES = ("angry", "happy", "sad", "neutral")
RNG = np.random.default_rng(0)


def walk(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


class Panel:
    """The panel, and its parts under names."""

    def __init__(self, state):
        self.state, self.widget = state, explorer.panel(state)
        parts = list(walk(self.widget))
        of = {kind: [p for p in parts if type(p) is kind] for kind in map(type, parts)}
        self.order, self.part, self.label = of[w.Dropdown]
        self.search, self.who, self.note = of[w.Text]
        (self.rows,), (self.player,), (self.listen,) = of[w.Select], of[w.Audio], of[w.Checkbox]
        self.take, *self.nearest, self.keep, self.withdraw = of[w.Button]
        self.sound, self.shares, self.history = (p for p in parts if isinstance(p, live.LiveFigure))
        self.head, self.count, self.caption, self.near, self.said = of[w.HTML]

    @property
    def listed(self):
        return [row for _, row in self.rows.options]


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the finished run, to be corrected."""
    return Run(shutil.copytree(trained.folder, tmp_path / "run"))


@pytest.fixture
def state(run, data):
    state = RunState()
    state.on_event(Began(run, data))
    return state


@pytest.fixture
def panel(state):
    return Panel(state)


@pytest.fixture(autouse=True)
def nobody(monkeypatch):
    monkeypatch.setattr(explorer._Correcting, "name", None)
    monkeypatch.setattr(explorer.getpass, "getuser", lambda: "ada")


# What is listed


def random_arrays(n=200):
    soft = {name: RNG.dirichlet([0.5] * 4, n).astype(np.float16) for name in ("soft_prototypes", "soft_model")}
    soft["soft_prototypes"][5:9] = soft["soft_prototypes"][4]  # ties
    return soft


def literal(values, allowed, most):
    known = [row for row in range(len(values)) if allowed[row] and not np.isnan(values[row])]
    return sorted(known, key=lambda row: (-values[row], row))[:most]


def test_the_largest_are_those_of_a_slow_sort_equal_ones_by_row():
    values = RNG.integers(0, 5, 300).astype(float)
    values[::7] = np.nan
    allowed = RNG.random(300) < 0.6
    for most in (10, 1000):
        assert explorer.largest(values, allowed, most).tolist() == literal(values, allowed, most)


def test_what_is_measured_row_by_row():
    now, then, votes = random_arrays(), RNG.dirichlet([1] * 4, 200), RNG.dirichlet([1] * 4, 200)
    votes[3] = np.nan
    own, other = (now[name].astype(float) for name in ("soft_prototypes", "soft_model"))
    literally = {
        ENTROPY: lambda i: entropy(own[i : i + 1])[0],
        VIEWS: lambda i: js_divergence(own[i : i + 1], other[i : i + 1])[0],
        VOTES: lambda i: js_divergence(own[i : i + 1], votes[i : i + 1])[0],
        WARM_UP: lambda i: js_divergence(own[i : i + 1], then[i : i + 1])[0],
        BEFORE: lambda i: js_divergence(own[i : i + 1], then[i : i + 1])[0],
    }
    for order, of in literally.items():
        values = explorer.measure(order, now, then, votes, "soft_prototypes")
        np.testing.assert_allclose(values, [of(i) for i in range(200)], atol=1e-12, err_msg=order)


def test_a_system_that_labels_by_its_classifier_is_measured_by_that():
    now = random_arrays()
    by_model = explorer.measure(ENTROPY, now, None, None, "soft_model")
    np.testing.assert_array_equal(by_model, entropy(now["soft_model"]))


def test_which_epoch_one_is_compared_with():
    # a warm-up of 10 epochs ends with epoch 9
    assert explorer.compared(WARM_UP, 30, warm_up=10) == 9
    assert explorer.compared(BEFORE, 30, warm_up=10) == 29
    for nothing in ((WARM_UP, 9, 10), (WARM_UP, 3, 10), (WARM_UP, 3, 0), (BEFORE, 0, 10), (ENTROPY, 30, 10)):
        assert explorer.compared(*nothing) is None


@pytest.mark.parametrize("order", explorer.ORDERS.values())
def test_the_list_is_sorted_by_what_is_asked(panel, state, data, order):
    panel.order.value = order
    epoch, before = state.arrays(2), {WARM_UP: 0, BEFORE: 1}.get(order)
    then = None if before is None else state.arrays(before)["soft_prototypes"]
    values = explorer.measure(order, epoch, then, data.votes, "soft_prototypes")
    assert panel.listed == literal(values, np.ones(len(values), bool), explorer.SHOWN)
    assert panel.rows.options[0][0].split("\u00a0")[1] == f"{np.nanmax(values):.2f}"
    assert panel.head.value.split() == ["id", "bits", "part", "label"]


def test_what_is_listed_can_be_selected_without_a_mouse(panel, state, data):
    panel.part.value = "D2"
    panel.take.click()
    assert list(state.selection) == data.rows("D2").tolist()
    panel.search.value = "no such id"
    assert panel.take.disabled


def test_long_ids_show_their_ends_under_the_words_for_them(run, data):
    data = dataclasses.replace(data, table=data.table.assign(id=[f"a long corpus {i // 2:012d}" for i in range(64)]))
    state = RunState()
    state.on_event(Began(run, data))
    panel = Panel(state)
    row, (name, _) = panel.listed[0], panel.rows.options[0]
    assert name.startswith(f"…{data.table['id'][row][1 - explorer.LETTERS :]}".replace(" ", "\u00a0"))
    assert name.index(data.table["part"][row], explorer.LETTERS) == panel.head.value.index("part")
    for row in (6, 7):  # ids alike
        state.change(focus=row)
        assert panel.rows.value == row


def test_an_order_that_cannot_be_had_says_why(panel, state):
    panel.order.value = BEFORE
    state.change(epoch=0)
    assert panel.listed == []
    assert panel.count.value == "There is no epoch before this one."
    panel.order.value = WARM_UP
    assert "not after the warm-up" in panel.count.value
    panel.order.value = ENTROPY
    assert len(panel.listed) == 64


def test_filters(panel, state, data, run):
    for part in ("D1", "D2", "D3"):
        panel.part.value = part
        assert sorted(panel.listed) == data.rows(part).tolist()
    panel.part.value = "*"
    assert panel.listed == []
    state.change(selection=(3, 7, 11))
    assert sorted(panel.listed) == [3, 7, 11]
    panel.part.value = "!"
    assert panel.listed == []
    corrections.add(run, data.table["id"][9], "sad", "Ada")
    state.change(corrected=1)
    assert panel.listed == [9]
    panel.part.value = ""
    panel.search.value = f"  {data.table['id'][12].upper()} "
    assert panel.listed == [12]
    panel.search.value = "no such id"
    assert panel.listed == []
    assert state.faults == {}


def test_the_list_follows_the_epoch_and_shows_a_few_hundred_at_most(panel, state, monkeypatch):
    newest = panel.listed
    state.change(epoch=0)
    values = entropy(state.arrays(0)["soft_prototypes"])
    assert panel.listed == literal(values, np.ones(64, bool), 300) != newest
    monkeypatch.setattr(explorer.largest, "__defaults__", (5,))
    state.change(epoch=1)
    assert len(panel.listed) == 5
    assert panel.count.value == "5 of 64 that match"


# Focus


def test_a_choice_in_the_list_is_the_focus_and_a_focus_from_elsewhere_is_chosen(panel, state):
    panel.rows.value = panel.listed[4]
    assert state.focus == panel.listed[4]
    state.change(focus=panel.listed[10])
    assert panel.rows.value == panel.listed[10]


def test_the_focus_stays_when_the_list_is_sorted_anew_or_does_not_hold_it(panel, state):
    state.change(focus=7)
    heard = []
    state.observe(lambda change: heard.append(change["new"]), "focus")
    for order in explorer.ORDERS.values():
        panel.order.value = order
        assert panel.rows.value == 7
    for epoch in (0, 1, 2):
        state.change(epoch=epoch)
    panel.search.value = "no such id"
    assert panel.rows.value is None
    panel.search.value = ""
    assert panel.rows.value == 7
    assert heard == []


def test_a_focus_is_heard_and_told(panel, state, data):
    assert not panel.player.autoplay  # nobody has clicked anything yet
    state.change(focus=7)
    assert bytes(panel.player.value) == players.mp3(data.waves[7])
    assert panel.player.autoplay
    assert not panel.player.loop
    assert "ipr-player" in panel.player._dom_classes
    assert "ipr-utterance" in panel.caption._dom_classes
    row, soft = data.table.iloc[7], state.arrays(2)["soft_prototypes"][7]
    for text in (row["id"], row["speaker"], row["label"], f"{row['share']:.0%}", CLASSES[soft.argmax()]):
        assert text in panel.caption.value
    panel.listen.value = False
    state.change(focus=8)
    assert not panel.player.autoplay
    assert bytes(panel.player.value) == players.mp3(data.waves[8])


def test_an_epoch_changes_what_is_told_but_does_not_play_again(panel, state):
    state.change(focus=7)
    heard, sound = [], panel.sound.figure
    panel.player.observe(heard.append)
    before = panel.caption.value, panel.shares.figure, panel.history.figure
    state.change(epoch=0)
    assert all(new != old for new, old in zip(
        (panel.caption.value, panel.shares.figure, panel.history.figure), before, strict=True))  # fmt: skip
    assert panel.sound.figure == sound
    assert heard == []


def test_a_new_run_forgets_the_focus(panel, state, trained, data):
    state.change(focus=7)
    state.on_event(Began(trained, data))
    assert utterance.NOTHING in panel.caption.value
    assert bytes(panel.player.value) == players.SILENCE
    assert panel.keep.disabled


def test_an_empty_state_shows_an_empty_panel():
    state = RunState()
    panel = Panel(state)
    assert panel.listed == []
    assert panel.count.value == "No epoch has been trained yet."
    assert utterance.NOTHING in panel.caption.value
    assert panel.keep.disabled
    assert panel.withdraw.disabled
    for control in (panel.order, panel.part):
        control.value = list(dict(control.options).values())[1]
    assert state.faults == {}


def test_a_run_without_an_epoch_can_be_listened_to(tiny, data, tmp_path):
    from ipr_core.training.advance import prepare

    state = RunState()
    state.on_event(Began(prepare(tiny, tmp_path, data=data)[0], data))
    panel = Panel(state)
    state.change(focus=3)
    assert bytes(panel.player.value) == players.mp3(data.waves[3])
    assert data.table["id"][3] in panel.caption.value
    assert state.faults == {}


# Neighbours


def test_the_nearest_have_the_largest_cosines_by_hand():
    vectors = np.array([[1, 0], [2, 0.2], [0, 1], [-1, 0], [3, 3]], float)
    rows, cosines = explorer.nearest(vectors, 0, np.array([0, 2, 3, 4]), 2)
    assert rows.tolist() == [4, 2]  # itself left out, length without meaning, 1 no candidate
    np.testing.assert_allclose(cosines, [2**-0.5, 0], atol=1e-7)


def test_neighbours_are_precise_and_choose_themselves(panel, state, data):
    row = int(state.sample[0])
    state.change(focus=row)
    vectors = state.arrays(2)["map"].astype(float)
    unit = dict(zip(state.sample.tolist(), vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strict=True))
    others = [other for other in unit if other != row and data.table["part"][other] == "D1"]
    expected = sorted(others, key=lambda other: -(unit[row] @ unit[other]))[: explorer.NEIGHBOURS]
    shown = [button for button in panel.nearest if button.layout.display != "none"]
    assert [button.tooltip.split(",")[0] for button in shown] == [data.table["id"][other] for other in expected]
    assert shown[0].description == f"{data.table['label'][expected[0]]} {unit[row] @ unit[expected[0]]:.2f}"
    shown[0].click()
    assert state.focus == expected[0]


def test_an_utterance_outside_the_sample_says_so(panel, state, data):
    state.change(focus=next(row for row in range(64) if row not in state.sample))
    assert "not in the sample of 20 embeddings" in panel.near.value
    assert all(button.layout.display == "none" for button in panel.nearest)


# Corrections


def test_a_correction_is_kept_shown_and_told_to_the_others(panel, state, run, data):
    assert panel.who.value == "ada"
    state.change(focus=7)
    panel.label.value, panel.who.value, panel.note.value = "sad", "Grace", "<slow>"
    panel.keep.click()
    (kept,) = corrections.read(run).to_dict("records")
    assert (kept["id"], kept["label"], kept["who"], kept["note"]) == (data.table["id"][7], "sad", "Grace", "<slow>")
    assert state.corrected == 1
    assert all(text in panel.said.value for text in ("sad", "Grace", kept["when"], "&lt;slow&gt;"))
    assert panel.note.value == ""
    state.change(focus=8)
    assert "Grace" not in panel.said.value
    assert panel.label.value is None
    assert panel.withdraw.disabled
    state.change(focus=7)
    assert panel.label.value == "sad"
    panel.withdraw.click()
    assert corrections.current(run).empty
    assert state.corrected == 2
    assert "Grace" not in panel.said.value
    assert state.faults == {}


def test_a_name_is_remembered_by_the_next_panel(panel, state):
    state.change(focus=7)
    panel.label.value, panel.who.value = "sad", "Grace"
    panel.keep.click()
    assert Panel(state).who.value == "Grace"


def test_corrections_that_were_made_before_are_shown(run, data):
    corrections.add(run, data.table["id"][5], "angry", "Grace")
    state = RunState()
    state.on_event(Began(run, data))
    panel = Panel(state)
    state.change(focus=5)
    assert "Grace" in panel.said.value
    assert panel.label.value == "angry"


def test_what_cannot_be_kept_is_said_and_not_raised(panel, state, run):
    state.change(focus=7)
    panel.keep.click()
    assert "choose an emotion first" in panel.said.value
    panel.label.value, panel.who.value = "sad", " "
    panel.keep.click()
    assert "needs the name" in panel.said.value
    assert corrections.read(run).empty
    assert state.corrected == 0


def test_a_damaged_history_is_said_and_the_utterance_is_still_heard(panel, state, run, data):
    (run.folder / "corrections").mkdir()
    (run.folder / "corrections" / "history.csv").write_text("nonsense\n")
    state.change(focus=7)
    assert "history.csv, line 1" in panel.said.value
    assert data.table["id"][7] in panel.caption.value
    panel.part.value = "!"
    assert "history.csv, line 1" in panel.count.value
    assert "history.csv, line 1" in state.faults["list of utterances"]


def test_what_nobody_could_have_known_is_a_fault_and_goes_when_it_works_again(panel, state, monkeypatch):
    state.change(focus=7)
    panel.label.value = "sad"
    with monkeypatch.context() as patch:
        patch.setattr(corrections, "add", lambda *_: 1 / 0)
        panel.keep.click()
    assert state.faults == {"corrections": "ZeroDivisionError: division by zero"}
    panel.label.value = "sad"
    panel.keep.click()
    assert state.faults == {}


@pytest.mark.parametrize("broken", ["sound", "shares", "history", "caption"])
def test_a_part_that_fails_leaves_the_others_and_the_state_alone(panel, state, data, monkeypatch, broken):
    monkeypatch.setattr(utterance, broken, lambda *_, **__: 1 / 0)
    state.change(focus=7)
    assert len(state.faults) == 1
    assert bytes(panel.player.value) == players.mp3(data.waves[7])
    assert panel.rows.value == 7


# Figures of one utterance


def test_the_history_is_what_was_recorded(panel, state, run):
    state.change(focus=7)
    recorded = np.array([run.arrays(epoch)["soft_prototypes"][7] for epoch in range(3)], float)
    fig = utterance.history(run.row_over_epochs("soft_prototypes", 7), state.events, CLASSES)
    assert "warm-up" not in notes(fig)  # which would lie on the curves
    assert "warm-up" in notes(
        utterance.history(run.row_over_epochs("soft_prototypes", 7), state.events, CLASSES, height=300)
    )
    assert [line.name for line in fig.data] == list(CLASSES)
    np.testing.assert_allclose(np.array([line.y for line in fig.data]).T, 100 * recorded)
    assert [line.line.color for line in fig.data] == [colours.colour(name) for name in CLASSES]
    (shade,) = fig.layout.shapes
    assert (shade.x0, shade.x1) == (-0.5, 0.5)  # one epoch of warm-up
    state.change(epoch=1)
    fig.update_layout(height=150, uirevision="same", autosize=True)
    shown = json.loads(panel.history.figure)
    *_, mark = shown["layout"]["shapes"]
    assert (mark["type"], mark["x0"], mark["x1"]) == ("line", 1, 1)
    shown["layout"]["shapes"].remove(mark)
    assert shown == json.loads(fig.to_json())


def test_bars_are_the_shares_in_the_emotions_colours_and_unknown_votes_are_said():
    prototypes, model, votes = np.eye(4)[0], np.full(4, 0.25), np.eye(4)[1]
    fig = utterance.shares(prototypes, model, votes, CLASSES)
    bars = {bar.name: bar for bar in fig.data}
    assert {name: list(bar.x) for name, bar in bars.items()} == {
        "prototypes": [100, 0, 0, 0], "classifier": [25] * 4, "votes": [0, 100, 0, 0],
    }  # fmt: skip
    assert all(list(bar.y) == list(CLASSES) for bar in bars.values())
    assert list(bars["prototypes"].marker.color) == [colours.colour(name) for name in CLASSES]
    assert notes(fig)[-1] == "■ prototypes ▨ classifier □ votes"
    unknown = utterance.shares(prototypes, model, np.full(4, np.nan), CLASSES)
    assert "votes are not known" in unknown.layout.title.text
    assert "votes" not in {bar.name for bar in unknown.data}


def tone(hertz, seconds=1.0):
    return np.rint(8000 * np.sin(2 * np.pi * hertz * np.arange(round(16_000 * seconds)) / 16_000)).astype(np.int16)


@pytest.mark.parametrize("hertz", [250, 1000, 4000])
def test_a_tone_is_loudest_at_its_own_height_on_the_mel_axis(hertz):
    heat = utterance.sound(tone(hertz), "a").data[1]
    loudest = np.asarray(heat.z)[:, 50].argmax()
    mel = heat.y0 + loudest * heat.dy
    assert 700 * (10 ** (mel / 2595) - 1) == pytest.approx(hertz, rel=0.06)
    assert np.asarray(heat.z).max() == 0
    assert np.asarray(heat.z).min() >= -utterance.RANGE


@pytest.mark.parametrize("seconds", [0.1, 3.3, 60])
def test_both_panels_have_the_utterances_seconds_and_few_points(seconds):
    wave = tone(300, seconds)
    wave[len(wave) // 2] = 30_000
    fig = utterance.sound(wave, "a")
    line, heat = fig.data
    assert max(line.y) == pytest.approx(30_000 / 32768, abs=1e-4)  # a peak is never lost
    assert line.x[int(np.argmax(line.y))] == pytest.approx(seconds / 2, abs=seconds / 300)
    assert len(line.y) <= 1602
    assert np.asarray(heat.z).shape[1] <= 401
    assert heat.dx * (np.asarray(heat.z).shape[1] - 1) == pytest.approx(seconds, abs=0.02 + heat.dx)
    assert fig.layout.xaxis2.range == (0, pytest.approx(seconds))
    assert fig.layout.xaxis.matches == "x2"
    assert len(fig.to_json()) < 150_000


def test_every_axis_has_a_title_and_nothing_says_so():
    soft = np.full((3, 4), 0.25)
    events = [event(epoch) for epoch in range(3)]
    full = [
        utterance.sound(tone(300), "a"), utterance.shares(*soft, CLASSES), utterance.history(soft, events, CLASSES),
    ]  # fmt: skip
    empty = [utterance.sound(None), utterance.shares(None, None, None, ()), utterance.history((), (), ())]
    for fig in full + empty:
        assert all(axis.title.text for axis in fig.select_yaxes())
        assert [*fig.select_xaxes()][-1].title.text
    assert [notes(fig)[-1] for fig in empty] == [utterance.NOTHING] * 3
    assert notes(utterance.history((), (), CLASSES))[-1] == look.NO_EPOCH


def test_a_caption_is_plain_text_in_html():
    row = dict(id="<b>", speaker="", part="D2", label="sad", share=2 / 3)
    text = utterance.caption(row, np.array([0.5, 0.5, 0, 0]), CLASSES)
    assert "&lt;b&gt;" in text
    assert "speaker unknown" in text
    assert "67%" in text
    assert "1.00 bits" in text


def test_a_container_without_names_still_has_a_panel(monkeypatch, state):
    def nobody():
        raise KeyError("uid not found")

    monkeypatch.setattr(explorer, "getpass", SimpleNamespace(getuser=nobody))
    assert Panel(state).who.value == ""
