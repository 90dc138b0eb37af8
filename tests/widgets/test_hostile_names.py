"""Names from a stranger's corpus or run folder in every figure, table and panel: read as text, never as markup."""

import csv
import dataclasses
import json
from itertools import pairwise
from types import SimpleNamespace

import ipywidgets as w
import numpy as np
import pandas as pd
import pytest
from pandas import DataFrame

from helpers.fake_events import event
from helpers.hostile import TEXTS, check_figure, check_html, check_line, check_tags
from helpers.widget_tree import descendants
from ipr_core.results import ablations, summary
from ipr_core.results.table import Table
from ipr_core.runs import corrections
from ipr_widgets import (
    cells,
    comparison,
    control,
    curves,
    form,
    look,
    matrices,
    parts,
    plane,
    players,
    pseudo,
    spreads,
    tables,
    utterance,
    votes,
)  # fmt: skip
from ipr_widgets.board import Board
from ipr_widgets.layout import Plane
from ipr_widgets.live import LiveFigure

CLASSES = tuple(TEXTS)
C = len(CLASSES)
SOFT = np.random.default_rng(0).dirichlet(np.ones(C), C)
TABLE = DataFrame(
    {
        "id": TEXTS, "part": (["D1", "D2", "D3"] * C)[:C], "label": CLASSES, "speaker": TEXTS[::-1],
        "share": 0.5, "duration": 1.0,
    }
)  # fmt: skip
EVENTS = [
    event(
        epoch, losses={"total": 1.0} | dict.fromkeys(TEXTS, 1.0), confusion=np.eye(C).tolist(),
        cosines=np.eye(C).tolist(), angles=[1.0] * C, labels_model=[C, *[0] * (C - 1)], labels_prototypes=[1] * C,
    )
    for epoch in range(3)
]  # fmt: skip


def figures():
    """Every figure that takes a name from data."""
    yield from (curves.losses(EVENTS), curves.cosine_trends(EVENTS, CLASSES), curves.label_counts(EVENTS, CLASSES))
    yield from (
        curves.moves(EVENTS, CLASSES),
        matrices.cosines(EVENTS, CLASSES),
        matrices.confusion(np.eye(C), CLASSES),
    )
    yield from (votes.partition(TABLE, CLASSES), votes.partition_by_speaker(TABLE, CLASSES))
    yield votes.soft_against_votes(SOFT, SOFT, CLASSES)
    points = plane.table(TABLE, SOFT, SOFT, CLASSES, True)
    for colouring in plane.COLOURINGS:
        yield plane.panels([Plane(np.ones((C, 2)), np.ones((C, 2)))], points, CLASSES, ["now"], colouring)
    yield utterance.shares(SOFT[0], SOFT[1], SOFT[2], CLASSES)
    yield utterance.history(SOFT[:3], EVENTS, CLASSES)
    for text in TEXTS:
        yield utterance.sound(np.zeros(1600, np.int16), text)
        yield parts.failed_figure("a figure", ValueError(text))
    yield spreads.recalls(Table("recalls", "", DataFrame({"system": ["IPR"]} | dict.fromkeys(CLASSES, 50.0))), CLASSES)
    rows = {"setting": TEXTS, "difference": 1.0, "95 % from": 0.0, "to": 2.0}
    yield spreads.differences(Table("ablations", "", DataFrame(rows)))


def test_no_figure_holds_a_tag_a_formula_or_a_hidden_letter():
    drawings = list(figures())
    assert len(drawings) > 50
    for fig in drawings:
        check_figure(fig.to_dict())


def test_runs_side_by_side_have_plain_names(monkeypatch):
    runs = dict.fromkeys(TEXTS)
    rows = [{"first": a, "second": b, **dict.fromkeys(("both right", "only first", "only second", "neither"), 1)}
            for a, b in pairwise(TEXTS)]  # fmt: skip
    monkeypatch.setattr(comparison, "paired", lambda _: DataFrame(rows).assign(**{comparison._P: 0.5}))
    check_figure(comparison.paired_bars(runs).to_dict())
    config = SimpleNamespace(training=SimpleNamespace(system="ipr"))
    system = SimpleNamespace(shows_prototypes=1)
    run = SimpleNamespace(history=lambda: EVENTS, meta={"classes": CLASSES}, system=system, config=config)
    check_figure(comparison.confusions(dict.fromkeys(TEXTS, run)).to_dict())
    check_figure(comparison.scores(dict.fromkeys(TEXTS, run)).to_dict())


def html_texts():
    """All HTML that takes a text from data."""
    for text in TEXTS:
        error = ValueError(text)
        yield from (parts.error_text(error), look.term(text, text), utterance.emotion(text), form._wrong([text]))
        yield control.trouble(error, {text: text}, error)
        yield control.numbers(SimpleNamespace(names=(text,), values=np.ones(1)), None)
        row = {"run": text, "system": text, "seed": text, "varied": text, "error": text, "status": "failed"}
        yield cells.page(DataFrame([row | {"epoch": 1, "epochs": 2, "left": 1.0, "seconds": 1.0}]))
        yield players.players([np.zeros(1600, np.int16)], [0], [text]).data
    for _, row in TABLE.iterrows():
        yield utterance.caption(row, SOFT[0], CLASSES)
    yield Table("t", TEXTS[0], DataFrame({text: [text] for text in TEXTS}))._repr_html_()


def labels_table() -> DataFrame:
    columns = {f"{kind}_{name}": SOFT[:, i] for kind in ("model", "prototypes") for i, name in enumerate(CLASSES)}
    return TABLE.assign(classifier_and_prototypes_agree=False, **columns)


def test_no_html_holds_a_tag_or_an_attribute_from_data():
    for html in html_texts():
        check_html(html)


def test_a_table_of_a_notebook_holds_no_tag_and_no_formula_from_data():
    html = tables.disagreements(labels_table(), CLASSES)._repr_html_()
    check_tags(html.partition("</style>")[2])
    assert "tex2jax_ignore" in html


@pytest.fixture
def hostile_state(state, data):
    """The state of a run whose utterances, speakers and classes have hostile names, one of them corrected."""
    names = dict(zip(data.classes, (data.classes[0], *TEXTS), strict=False))  # that of the corrections stays
    texts = np.resize(np.array(TEXTS, object), len(data.table))
    table = data.table.rename(columns={f"votes_{old}": f"votes_{new}" for old, new in names.items()})
    table = table.assign(id=texts, speaker=texts[::-1], label=data.table["label"].map(names))
    state.change(data=dataclasses.replace(data, table=table, classes=tuple(names.values())))
    history = corrections._history(state.run)
    history.parent.mkdir(exist_ok=True)
    with history.open("w", newline="", encoding="utf-8", errors="replace") as file:
        rows = [(text, data.classes[0], text or "x", "2024-01-01T00:00:00+00:00", text, "key") for text in TEXTS]
        csv.writer(file).writerows([corrections.COLUMNS, *rows])
    return state


def test_the_board_shows_hostile_names_as_text(hostile_state):
    state = hostile_state
    board = Board(state)
    state.change(selection=tuple(range(len(state.data.table))))
    for focus in range(len(TEXTS)):
        state.change(focus=focus)
        for widget in descendants(board):
            check_widget(widget)
    assert state.faults == {}


def check_widget(widget):
    """Check what a page shows of a widget; other texts than those of HTML and figures, it never reads as markup."""
    if isinstance(widget, w.HTML):
        check_html(widget.value)
    elif isinstance(widget, LiveFigure) and widget.figure:  # a tab that was not opened is not drawn
        check_figure(json.loads(widget.figure))
    for name in ("description", "tooltip"):
        check_line(str(getattr(widget, name, "") or ""))
    for option in getattr(widget, "options", ()):
        check_line(str(option[0] if isinstance(option, tuple) else option))


def test_a_collapse_names_the_class_as_text(hostile_state):
    counts = [60, 0, 0, 0]
    hostile_state.change(events=(event(0, labels_model=counts, labels_prototypes=counts),), epoch=0)
    words = pseudo.words(hostile_state)
    assert "Collapse" in words
    check_html(words)


def test_markdown_of_results_is_text():
    table = Table("t", "", DataFrame({text: [text] for text in TEXTS}))
    lines = table.markdown().strip().splitlines()
    assert len(lines) == 3  # with the caption away: head, rule and a row
    assert all(line.count("|") - line.count(r"\|") == len(TEXTS) + 1 for line in lines)
    assert "<img" not in table.markdown().replace(r"\<", "")
    for text in TEXTS:
        check_line(ablations._text(text))
    check_line(summary.show(table.texts).replace("\n", " "))


def test_the_csv_of_a_table_has_no_formula():
    text = Table("t", "", DataFrame({"system": ["=1+1", "-x", "plain"], "value": [-0.5, 1.0, 2.0]})).csv()
    assert text == "system,value\n'=1+1,-0.5\n'-x,1.0\nplain,2.0\n"
    assert pd.api.types.is_float_dtype(pd.Series([-0.5]))
