"""The figures of one utterance: sound, shares, history, caption."""

import json

import numpy as np
import pytest

from helpers.fake_events import event
from helpers.figures import notes
from ipr_widgets import colours, look, utterance

CLASSES = ("angry", "happy", "sad", "neutral")


def test_the_history_is_the_record(panel, state, run):
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
    fig.update_layout(height=102, uirevision="same", autosize=True)
    figure = json.loads(panel.history.figure)
    *_, mark = figure["layout"]["shapes"]
    assert (mark["type"], mark["x0"], mark["x1"]) == ("line", 1, 1)
    figure["layout"]["shapes"].remove(mark)
    assert figure == json.loads(fig.to_json())


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
