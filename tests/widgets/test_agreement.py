"""Figures of agreement, and their panel, without a browser."""

import json

import pandas as pd
import pytest
import soundfile

from helpers.figures import notes, trace
from ipr_core.config import SAMPLE_RATE, Data
from ipr_core.data import raters
from ipr_core.data.waves import WaveStore
from ipr_core.votes import record
from ipr_core.votes.record import Vote
from ipr_widgets import agreement


def votes(rows=("aab", "aab", "bb.", "abb")):
    """Return the votes of listeners, a text each with a letter per utterance."""
    names = {"a": "angry", "b": "sad"}
    table = [
        (str(unit), f"<b>{listener}</b>", names[letter], 1.0)
        for listener, row in enumerate(rows) for unit, letter in enumerate(row) if letter in names
    ]  # fmt: skip
    return pd.DataFrame(table, columns=raters.COLUMNS)


def content(figure):
    """Return what the page shows of a live figure."""
    return json.loads(figure.figure)


def test_alpha_and_kappa_stand_with_their_intervals():
    panel = agreement.Panel(votes())
    data = content(panel.figures["Classes"])["data"]
    assert [line["name"] for line in data] == ["Krippendorff's α", "Fleiss' κ"]
    assert data[0]["y"] == ["all", "angry", "sad"]
    assert list(panel.tabs.titles) == ["Classes", "Pairs", "Listeners"]


def test_the_confused_pairs_are_bars_in_per_cent():
    table = pd.DataFrame({"one": ["angry"], "other": ["$x$"], "share": [1.0], "low": [0.9], "high": [1.0]})
    fig = agreement.confusions(table.assign(times_chance=[1.5]))
    assert list(fig.data[0].x) == [100]
    assert list(fig.data[0].y) == ["angry, &#36;x&#36;"]  # no formula
    assert fig.data[0].error_x.arrayminus == pytest.approx([10])
    many = pd.concat([table.assign(times_chance=[1.5])] * 40, ignore_index=True)
    assert len(agreement.confusions(many).data[0].x) == agreement.PAIRS


def test_listeners_have_their_agreement_consistency_and_shares():
    table = pd.DataFrame({"votes": [3.0, 2], "compared": [3.0, 2], "agreement": [0.6, 0.1], "angry": [1, 0.5],
                          "sad": [0, 0.5]}, index=["ada", "<i>ben"])  # fmt: skip
    repeats = pd.DataFrame({"repeats": [4], "consistency": [0.75]}, index=["ada"])
    fig = agreement.listeners(table, repeats)
    assert list(trace(fig, "agreement with others").x) == [0.6, 0.1]
    assert list(trace(fig, "agreement with others").y) == ["ada", "&lt;i&gt;ben"]
    assert trace(fig, "consistency on repeats").x[0] == 0.75
    assert list(trace(fig, "angry").x) == [100, 50]
    assert len(agreement.listeners(pd.concat([table] * 60)).data[0].x) == agreement.LISTENERS


def test_without_votes_names_or_tests_a_figure_says_so():
    empty = pd.DataFrame()
    assert notes(agreement.coefficients(empty)) == notes(agreement.confusions(empty)) == [agreement.NO_VOTES]
    assert agreement.NO_NAMES in notes(agreement.listeners(empty))
    assert notes(agreement.over_time(empty)) == [agreement.NO_TIMES]
    unnamed = votes().assign(annotator="")
    assert agreement.NO_NAMES in json.dumps(content(agreement.Panel(unnamed).figures["Listeners"]))
    assert agreement.NO_VOTES in json.dumps(content(agreement.Panel(votes(("a",))).figures["Classes"]))


def test_the_panel_of_a_corpus_has_its_listening_tests(tmp_path, monkeypatch):
    monkeypatch.setenv("IPR_CACHE", str(tmp_path / "cache"))
    for i, name in enumerate("ab"):
        soundfile.write(tmp_path / f"{name}.wav", [0.1 * (-1) ** (t // (9 + i)) for t in range(4000)], SAMPLE_RATE)
    (tmp_path / "manifest.csv").write_text("id,path,label\na,a.wav,sad\nb,b.wav,angry\n")
    data = Data(corpus="manifest", corpus_path=str(tmp_path / "manifest.csv"))
    table = pd.DataFrame({"id": ["a", "b"], "path": [str(tmp_path / f"{name}.wav") for name in "ab"]})
    for clip, key in zip("ab", WaveStore.build(table, tmp_path / "cache").keys, strict=True):
        for listener in ("ada", "ben"):
            record.add(tmp_path / "votes", Vote(listener, clip, key, ("sad",) if clip == "a" else ("angry",)))
    panel = agreement.panel(data, tmp_path / "votes")
    assert list(panel.tabs.titles) == ["Classes", "Pairs", "Listeners", "Time"]
    assert content(panel.figures["Classes"])["data"][0]["x"]
    assert [line["name"] for line in content(panel.figures["Time"])["data"]] == ["ada", "ben"]


def test_votes_over_time_are_a_line_a_listener():
    time = pd.to_datetime(["2026-01-01T10:00", "2026-01-01T10:01", "2026-01-01T10:02"], utc=True)
    fig = agreement.over_time(pd.DataFrame({"time": time, "listener": ["ada", "ben", "ada"], "votes": [1, 1, 2]}))
    assert {line.name: list(line.y) for line in fig.data} == {"ada": [1, 2], "ben": [1]}
