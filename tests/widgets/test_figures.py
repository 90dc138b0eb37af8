"""Figures and tables drawn from events and tables alone: what is in them, and that they read on any page."""

import base64
import colorsys
import io
import json
import re
from itertools import combinations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import pytest
import soundfile

from helpers.fake_events import CLASSES, EVENTS, event
from helpers.notes import notes
from helpers.sight import DARK, SIGHT, WHITE, contrast, lab, linear
from ipr_core.config import demo
from ipr_widgets import colours, curves, look, matrices, plane, players, tables, votes
from ipr_widgets.layout import Plane


def every_figure_over_epochs(events):
    return [
        curves.losses(events), curves.beta(events), curves.scores(events), curves.cosine_trends(events, CLASSES),
        curves.agreement(events), curves.label_counts(events, CLASSES, [3, 3, 4]), curves.gate(events),
    ]  # fmt: skip


def utterances():
    return pd.DataFrame(
        {
            "id": ["a", "b", "c", "d", "e"],
            "part": ["D1", "D1", "D2", "D3", "D2"],
            "label": ["angry", "sad", "angry", "happy", "angry"],
            "speaker": ["02", "10", "02", "02", "10"],
        }
    )


def trace(fig, name, which=0):
    return [t for t in fig.data if t.name == name][which]


# Colours


@pytest.mark.parametrize("sight", SIGHT)
def test_emotions_are_told_apart_with_any_sight(sight):
    apart = {
        (a, b): np.linalg.norm(lab(colours.colour(a), sight) - lab(colours.colour(b), sight))
        for a, b in combinations(colours.EMOTIONS, 2)
    }
    assert min(apart.values()) > 8, min(apart, key=apart.get)
    paper = ("angry", "happy", "sad", "neutral")
    assert min(apart[pair] for pair in combinations(paper, 2)) > 20


@pytest.mark.parametrize("name", [*colours.EMOTIONS, "contempt", "pride", "awe"])
def test_emotions_stand_out_from_a_light_and_a_dark_page(name):
    assert contrast(colours.colour(name), WHITE) > 2.2
    assert contrast(colours.colour(name), DARK) > 2.2


def test_what_is_no_emotion_has_no_emotions_colour():
    roles = [colours.MODEL, colours.PROTOTYPES, *colours.PARTS.values()]
    agreement = colours.SAME, colours.DIFFERENT
    assert not {*colours.EMOTIONS.values()} & {*roles, *agreement}
    assert not {*roles} & {*agreement}
    for sight in SIGHT:
        assert np.linalg.norm(np.subtract(*[lab(colour, sight) for colour in agreement])) > 40
    assert all(contrast(colour, page) > 3 for colour in agreement for page in (WHITE, DARK))


def test_numbered_colours_are_told_apart():
    hues = [colorsys.rgb_to_hls(*linear(colours.numbered(i)))[0] for i in range(colours.DISTINCT)]
    assert len({colours.numbered(i) for i in range(100)}) == 100
    apart = [min(abs(a - b), 1 - abs(a - b)) for a, b in combinations(hues, 2)]
    assert min(apart) > 0.02


def test_speakers_have_a_colour_each():
    rows = utterances().assign(speaker=["5", "6", "5", "10", "6"])
    (colour,) = [found for _, _, found in plane.COLOURINGS[plane.SPEAKER].groups(rows, CLASSES)]
    assert len({*colour}) == 3
    assert (colour[0], colour[1]) == (colour[2], colour[4])


def test_text_has_the_same_contrast_on_both_pages():
    assert contrast(colours.INK, WHITE) == pytest.approx(contrast(colours.INK, DARK), rel=0.05)
    assert contrast(colours.INK, WHITE) > 4


def test_neutral_is_grey_and_a_class_that_nobody_listed_keeps_its_colour():
    assert len(set(linear(colours.colour("neutral")))) == 1
    assert colours.colour("contempt") == colours.colour("contempt") != colours.colour("pride")
    assert re.fullmatch("#[0-9A-F]{6}", colours.colour("contempt"))


# Every figure


def test_every_axis_has_a_title_and_no_figure_a_background():
    rows = utterances()
    shares = np.full((5, 3), 1 / 3)
    figures = [
        *every_figure_over_epochs(EVENTS), matrices.cosines(EVENTS, CLASSES),
        matrices.confusion(EVENTS[0].confusion, CLASSES), votes.partition(rows, CLASSES),
        votes.partition_by_speaker(rows, CLASSES), votes.soft_against_votes(shares, shares, CLASSES),
        votes.entropy_against_entropy(shares, shares, rows["part"]), votes.entropies(shares, rows["part"]),
        plane.panels([Plane(np.zeros((5, 2)), np.zeros((3, 2)))], rows, CLASSES, ["now"]),
    ]  # fmt: skip
    for fig in figures:
        axes = [*fig.select_xaxes(), next(fig.select_yaxes())]  # panels beside each other share the first y axis
        assert all(axis.title.text for axis in axes), fig.layout.title.text
        assert fig.layout.template.layout.paper_bgcolor == "rgba(0, 0, 0, 0)"
        assert fig.layout.template.layout.plot_bgcolor == "rgba(0, 0, 0, 0)"


def test_figures_are_data_that_jupyterlab_draws_offline():
    bundle = curves.beta(EVENTS)._repr_mimebundle_()
    assert "application/vnd.plotly.v1+json" in bundle
    assert pio.renderers.default == "plotly_mimetype"


def test_figures_over_no_epoch_say_so():
    for fig in [*every_figure_over_epochs([]), matrices.cosines([], CLASSES)]:
        assert look.NO_EPOCH in notes(fig)


# Over the epochs


def test_the_warm_up_is_shaded_in_every_panel_and_epochs_count_from_0():
    for fig in every_figure_over_epochs(EVENTS):
        shades = [shape for shape in fig.layout.shapes if shape.type == "rect"]
        assert [(shape.x0, shape.x1) for shape in shades] == [(-0.5, 1.5)] * len(list(fig.select_xaxes()))
        assert list(fig.data[0].x) == [0, 1, 2, 3, 4]


def test_without_warm_up_nothing_is_shaded():
    assert not curves.beta([event(0, warm_up=0)]).layout.shapes


def test_warm_up_keeps_its_epochs_alone():
    assert [e.epoch for e in curves.warm_up(EVENTS)] == [0, 1]


def test_terms_that_the_warm_up_lacks_are_gaps_and_those_that_a_system_lacks_are_left_out():
    fig = curves.losses(EVENTS)
    assert list(trace(fig, "contrastive (Eq. 5)").y) == [None, None, 2.0, 2.0, 2.0]
    assert list(trace(fig, "loss on D1").y) == [1.0] * 5
    baseline = [event(e, losses=dict(precise=1.0, ambiguous=0.0, contrastive=0.0, total=1.0)) for e in range(3)]
    assert [t.name for t in curves.losses(baseline).data] == ["total", "loss on D1"]


def test_every_pair_of_prototypes_has_a_curve_in_the_colours_of_both():
    fig = curves.cosine_trends(EVENTS, CLASSES)
    assert {t.name: t.y[0] for t in fig.data} == {"angry and happy": 0.25, "angry and sad": -0.5, "happy and sad": 0.0}
    curve = trace(fig, "angry and sad")
    assert (curve.line.color, curve.marker.color) == (colours.colour("angry"), colours.colour("sad"))
    assert list(curve.meta) == [0, 2]


def test_a_pair_stands_out_among_the_trends_and_its_two_cells_have_an_outline():
    fig = curves.cosine_trends(EVENTS, CLASSES, pair=(0, 2))
    assert [(list(t.meta), t.opacity == 1, t.line.width) for t in fig.data] == [
        ([0, 1], False, 1), ([0, 2], True, 4), ([1, 2], False, 1),
    ]  # fmt: skip
    cells = matrices.cosines(EVENTS, CLASSES, pair=(0, 2)).layout.shapes
    assert [(cell.x0, cell.x1, cell.y0, cell.y1) for cell in cells] == [(-0.5, 0.5, 1.5, 2.5), (1.5, 2.5, -0.5, 0.5)]
    assert {t.opacity for t in curves.cosine_trends(EVENTS, CLASSES, pair=()).data} == {None}
    assert not matrices.cosines(EVENTS, CLASSES).layout.shapes


def test_the_epoch_that_is_looked_at_has_a_line_in_every_panel():
    for fig in (curves.cosine_trends(EVENTS, CLASSES), curves.label_counts(EVENTS, CLASSES)):
        traces = fig.to_dict()["data"]
        lines = [(line["x0"], line["x1"], line["xref"]) for line in curves.marks(traces, 3)]
        assert lines == [(3, 3, "x"), (3, 3, "x2")][: len(list(fig.select_xaxes()))]
        assert curves.marks(traces, -1) == []


def test_agreement_is_in_per_cent_and_unknown_truth_is_said():
    fig = curves.agreement(EVENTS)
    assert trace(fig, "the prototypes'").y[0] == pytest.approx(80)
    assert trace(fig, "the classifier's").y[0] == pytest.approx(70)
    unknown = [event(0, agreement_model=None, agreement_prototypes=None)]
    assert "The true labels of D2 are not known" in notes(curves.agreement(unknown))
    assert "The true labels of D2 are not known" not in notes(fig)


def test_scores_are_in_per_cent():
    heights = {t.name.split(" ")[0]: t.y[0] for t in curves.scores(EVENTS).data[:3]}
    assert heights == pytest.approx({"accuracy": 50, "UAR": 40, "macro-F1": 30})


def test_label_counts_show_both_labellers_and_the_truth():
    fig = curves.label_counts(EVENTS, CLASSES, truth=[3, 3, 4])
    assert [trace(fig, "angry", i).y[0] for i in (0, 1)] == [4, 5]  # prototypes, classifier
    assert sorted(shape.y0 for shape in fig.layout.shapes if shape.type == "line") == [3, 3, 3, 3, 4, 4]
    assert not [s for s in curves.label_counts(EVENTS, CLASSES).layout.shapes if s.type == "line"]


def test_the_gate_has_gaps_and_a_system_without_two_views_says_so():
    assert list(curves.gate(EVENTS).data[0].y) == [None, None, 90.0, 90.0, 90.0]
    assert "No epoch so far compared two views of D2" in notes(curves.gate([event(3, gate=None)]))


# Matrices


def test_confusion_gives_counts_and_shares_of_the_row():
    cells = matrices.confusion([[3, 1, 0], [0, 2, 2], [0, 0, 0]], CLASSES).data[0]
    np.testing.assert_allclose(cells.z, [[75, 25, 0], [0, 50, 50], [0, 0, 0]])
    assert cells.text[0][0] == "3<br>75 %"
    assert cells.text[2][2] == "0<br>0 %"


def test_cosines_are_those_of_the_last_epoch():
    fig = matrices.cosines([event(0), event(1, cosines=np.eye(3).tolist())], CLASSES)
    np.testing.assert_array_equal(fig.data[0].z, np.eye(3))
    assert "epoch 1" in fig.layout.title.text


# The plane


def test_no_plane_makes_a_figure_that_says_so():
    assert "at least 16" in notes(plane.panels([], utterances(), CLASSES, ["now"]))[0]


def test_points_have_the_colour_of_their_truth_the_symbol_of_their_part_and_their_row():
    points = np.arange(10.0).reshape(5, 2)
    rows = utterances().set_axis([3, 5, 7, 9, 11])
    fig = plane.panels([Plane(points, np.ones((3, 2)))] * 2, rows, CLASSES, ["before", "after"])
    angry = trace(fig, "angry")
    assert list(angry.customdata) == [3, 7, 11]
    assert list(angry.x) == [0, 4, 8]
    assert list(angry.marker.symbol) == [plane.SYMBOLS[part] for part in ("D1", "D2", "D2")]
    assert angry.marker.color == colours.colour("angry")
    assert "<b>c</b>, D2" in angry.text[1]
    assert {t.type for t in fig.data} == {"scattergl"}
    stars = [t for t in fig.data if t.name == "prototypes"]
    assert [list(t.marker.color) for t in stars] == [[colours.colour(name) for name in CLASSES]] * 2
    assert stars[0].marker.line.color == colours.INK  # white would not be seen on a light page
    assert [t.showlegend for t in fig.data if t.name == "angry"] == [True, False]


def test_a_plane_marks_what_is_selected_and_looked_at_within_the_axes_given():
    made = Plane(np.arange(10.0).reshape(5, 2), np.ones((3, 2)))
    fig = plane.epoch(made, utterances(), CLASSES, "now", "partition", (-1, 9, -1, 10), selection=(2, 4), focus=3)
    d1, d2 = trace(fig, "D1, precise"), trace(fig, "D2, ambiguous")
    assert (list(d1.selectedpoints), list(d2.selectedpoints)) == ([], [0, 1])
    assert list(trace(fig, "looked at").x) == [6]
    assert (list(fig.layout.xaxis.range), list(fig.layout.yaxis.range)) == ([-1, 9], [-1, 10])
    assert all(t.selectedpoints is None for t in plane.epoch(made, utterances(), CLASSES, "now").data)


@pytest.mark.parametrize("by", plane.COLOURINGS)
def test_plotly_knows_every_attribute_of_a_plane(by):
    rows = utterances().assign(prototypes="sad", classifier="happy", single_label="sad", agree=True, entropy=0.5)
    fig = plane.epoch(Plane(np.arange(10.0).reshape(5, 2), np.ones((3, 2))), rows, CLASSES, "now", by, focus=3)
    checked = go.Figure(fig.to_dict())  # which `epoch` leaves out
    assert json.loads(checked.to_json()) == json.loads(fig.to_json())


def test_what_an_epoch_says_of_utterances_follows_who_labels():
    own, soft = np.array([[1, 0, 0], [0.5, 0.5, 0]]), np.array([[0, 1, 0], [0.6, 0.4, 0]])
    rows = utterances().iloc[:2]
    by_both = [plane.table(rows, own, soft, CLASSES, by_prototypes) for by_prototypes in (True, False)]
    assert [list(found["single_label"]) for found in by_both] == [["happy", "angry"], ["angry", "angry"]]
    assert list(by_both[0]["agree"]) == [False, True]
    np.testing.assert_allclose(by_both[1]["entropy"], [0, 1])


# Votes


def test_the_partition_counts_utterances_of_each_class_and_speaker():
    fig = votes.partition(utterances(), CLASSES)
    assert {t.name: list(t.y) for t in fig.data} == {"angry": [1, 2, 0], "happy": [0, 0, 1], "sad": [1, 0, 0]}
    angry = [t for t in votes.partition_by_speaker(utterances(), CLASSES).data if t.name == "angry"]
    assert [list(t.y) for t in angry] == [["02", "10"]] * 3
    assert [list(t.x) for t in angry] == [[1, 0], [1, 1], [0, 0]]


def test_soft_labels_that_are_the_votes_lie_on_the_diagonal():
    shares = np.array([[1, 0, 0], [0.6, 0.4, 0], [0.2, 0.2, 0.6], [np.nan] * 3])
    soft = np.vstack([shares[:3], [[0, 0, 1]]])  # the fourth has no votes: it must not count
    fig = votes.soft_against_votes(soft, shares, CLASSES)
    for name in CLASSES:
        np.testing.assert_allclose(trace(fig, name).y, trace(fig, name).x)
        assert sum(trace(fig, name).customdata) == 3
    assert list(trace(fig, "angry").x) == pytest.approx([20, 60, 100])


def test_the_ends_of_the_vote_shares_have_bins_of_their_own():
    shares = np.array([[0.0, 1.0], [0.1, 0.9], [0.11, 0.89], [1.0, 0.0]])
    fig = votes.soft_against_votes(shares, shares, ("angry", "happy"))
    assert list(trace(fig, "angry").customdata) == [2, 1, 1]


def test_unknown_votes_are_said():
    unknown = np.full((5, 3), np.nan)
    soft = np.full((5, 3), 1 / 3)
    assert "not known" in notes(votes.soft_against_votes(soft, unknown, CLASSES))[0]
    assert "not known" in notes(votes.entropy_against_entropy(soft, unknown, utterances()["part"]))[0]


def test_entropies_are_in_bits_and_their_rank_correlation_is_in_the_title():
    shares = np.array([[1.0, 0, 0], [0.9, 0.1, 0], [0.5, 0.5, 0], [1 / 3] * 3, [np.nan] * 3])
    fig = votes.entropy_against_entropy(np.nan_to_num(shares, nan=1 / 3), shares, utterances()["part"])
    assert fig.layout.title.text.endswith("1.00")
    assert list(trace(fig, "D3, test").x) == pytest.approx([np.log2(3)])
    assert list(trace(fig, "D1, precise").y) == pytest.approx([0, -0.9 * np.log2(0.9) - 0.1 * np.log2(0.1)])
    bars = votes.entropies(shares[:4], ["D1", "D2", "D2", "D3"]).data[1]
    width = bars.xbins.size
    assert [x for x, y in zip(bars.x, bars.y, strict=True) if y] == pytest.approx([0.469, 1], abs=width / 2)
    assert (bars.y.sum(), width) == (2, pytest.approx(np.log2(3) / 20, abs=1e-6))


def test_figures_of_very_many_utterances_and_speakers_stay_small():
    n, speakers = 40_000, 200
    rng = np.random.default_rng(0)
    shares, parts = rng.dirichlet(np.ones(3), n), rng.choice(["D1", "D2", "D3"], n)
    fig = votes.entropy_against_entropy(shares, shares, parts)
    assert sum(len(points.x) for points in fig.data[1:]) == votes.POINTS
    assert fig.layout.title.text.endswith("5,000 of 40,000 utterances, rank correlation 1.00")
    assert len(votes.entropies(shares, parts).to_json()) < 20_000
    speaker = np.concatenate([np.arange(speakers), rng.integers(60, 120, n - speakers)])
    table = pd.DataFrame({"speaker": [f"{i:03d}" for i in speaker], "part": parts, "label": rng.choice(CLASSES, n)})
    fig = votes.partition_by_speaker(table, CLASSES)
    assert list(fig.data[0].y) == [f"{i:03d}" for i in range(60, 120)]
    assert "the 60 with the most utterances of 200" in fig.layout.title.text


# Tables


def labels():
    rows = utterances().iloc[:3]
    model = [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3]]
    prototypes = [[0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [0.1, 0.1, 0.8]]
    shares = {"soft": prototypes, "model": model, "prototypes": prototypes}
    columns = {f"{kind}_{c}": np.array(of)[:, i] for kind, of in shares.items() for i, c in enumerate(CLASSES)}
    return rows.assign(part=["D2", "D2", "D3"], **columns, views_agree=[True, False, False])


def test_results_report_the_final_epoch_and_warn_of_the_best():
    table = tables.results([event(0, accuracy=0.9), event(1, accuracy=0.6)])
    assert table.loc["final epoch", "accuracy, %"] == 60
    (other,) = set(table.index) - {"final epoch"}
    assert "optimistic" in other
    assert (table.loc[other, "epoch"], table.loc[other, "accuracy, %"]) == (0, 90)


def test_divergences_are_0_to_itself_and_leave_out_what_is_not_known():
    table = labels()
    truth = table[[f"soft_{c}" for c in CLASSES]].to_numpy()
    found = tables.divergences(table, truth, CLASSES)
    assert list(found.columns) == ["D2", "D3"]
    assert (found.loc["soft label"] == 0).all()
    assert (found.loc["uniform"] > 0).all()
    truth[2] = np.nan
    assert list(tables.divergences(table, truth, CLASSES).columns) == ["D2"]
    assert tables.divergences(table, None, CLASSES).empty


def test_divergence_of_disjoint_labels_is_one_bit():
    table = labels().iloc[:1].assign(soft_angry=1.0, soft_happy=0.0, soft_sad=0.0)
    assert tables.divergences(table, np.array([[0.0, 0.5, 0.5]]), CLASSES).loc["soft label", "D2"] == 1


def test_disagreements_are_those_of_ambiguous_utterances_the_surest_first():
    found = tables.disagreements(labels(), CLASSES)
    assert list(found.index) == [1, 2]  # the surer of b is sure to 60 %, of c too, in the table's order
    assert list(found.loc[1, ["classifier", "prototypes"]]) == ["happy", "sad"]
    assert list(found.loc[1, ["its share, %", "their share, %"]]) == [70, 60]
    surer = labels().assign(model_happy=[0.1, 0.7, 0.75])
    assert list(tables.disagreements(surer, CLASSES).index) == [2, 1]


def test_no_disagreement_is_an_empty_table():
    assert tables.disagreements(labels().assign(views_agree=True), CLASSES).empty


def test_readings_name_every_open_choice_and_its_value():
    table = tables.readings(demo(gamma=0.9))
    assert table.loc["gamma", "value"] == "0.9"
    assert {"unit_norm", "moves", "positives", "beta_growth"} <= set(table.index)
    assert "batch_size" not in table.index


# Players


def test_players_hold_the_sound_and_escape_their_captions():
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.int16)
    page = players.players([tone, np.tile(tone, 12)], [1, 0], ["<b>", "second"]).data
    clips = [base64.b64decode(found) for found in re.findall('base64,([^"]+)', page)]
    heard = [soundfile.read(io.BytesIO(clip)) for clip in clips]
    assert [round(len(samples) / rate) for samples, rate in heard] == [10, 1]
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    spectrum = np.abs(np.fft.rfft(heard[1][0]))
    assert spectrum.argmax() * 16_000 / len(heard[1][0]) == pytest.approx(440, abs=2)


def test_nothing_to_listen_to_is_said():
    assert "No utterance" in players.players([], [], []).data
