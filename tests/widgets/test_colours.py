"""Colours: told apart with any sight, and read on a light and a dark page."""

import colorsys
import re
from itertools import combinations

import numpy as np
import pytest

from helpers.fake_events import CLASSES, EVENTS
from helpers.sight import DARK, SIGHT, WHITE, contrast, lab, linear
from ipr_core.method.systems import SYSTEMS
from ipr_core.results import report_look
from ipr_widgets import colours, curves, look, page, paper, spreads


@pytest.mark.parametrize("sight", SIGHT)
def test_emotions_are_told_apart_with_any_sight(sight):
    distances = {
        (a, b): np.linalg.norm(lab(colours.colour(a), sight) - lab(colours.colour(b), sight))
        for a, b in combinations(colours.EMOTIONS, 2)
    }
    assert min(distances.values()) > 8, min(distances, key=distances.get)
    paper = ("angry", "happy", "sad", "neutral")
    assert min(distances[pair] for pair in combinations(paper, 2)) > 20


def test_emotions_are_told_apart_in_grey_by_their_markers():
    symbols = [colours.symbol(name) for name in colours.EMOTIONS]
    assert len(set(symbols)) == len(symbols)
    assert colours.symbol("bewildered") == colours.symbol("bewildered")
    figures = [curves.label_counts(EVENTS, CLASSES), curves.moves(EVENTS, CLASSES)]
    lines = {(trace.name, trace.marker.symbol) for fig in figures for trace in fig.data if trace.name in CLASSES}
    assert lines == {(name, colours.symbol(name)) for name in CLASSES}


@pytest.mark.parametrize("name", [*colours.EMOTIONS, "contempt", "pride", "awe"])
def test_emotions_stand_out_from_a_light_and_a_dark_page(name):
    assert contrast(colours.colour(name), WHITE) > 2.2
    assert contrast(colours.colour(name), DARK) > 2.2


def test_labellers_and_parts_have_no_emotions_colour():
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
    distances = [min(abs(a - b), 1 - abs(a - b)) for a, b in combinations(hues, 2)]
    assert min(distances) > 0.02


TEXT = 4.5
"""The contrast of text that WCAG 2.2 asks for at level AA, success criterion 1.4.3."""


def test_text_reads_on_a_light_page():
    assert contrast(colours.INK, WHITE) >= TEXT
    assert contrast(paper.BLACK, paper.WHITE) >= TEXT


def test_no_grey_reads_on_both_pages_so_that_each_page_gives_the_text_its_own_colour():
    greys = [f"#{level:02X}{level:02X}{level:02X}" for level in range(256)]
    assert max(min(contrast(grey, page) for page in (WHITE, DARK)) for grey in greys) < TEXT
    ink = ", ".join(str(int(colours.INK[i : i + 2], 16)) for i in (1, 3, 5))
    rule = rf'axislayer"\] text,\s+\S+ text\[style\*="fill: rgb\({ink}\)"\] \{{\s*fill: var\((--[\w-]+)\) !important'
    pages = {"board": page.Script._css, "notebook": look.THEMED, "report": report_look.STYLE}
    names = {name: re.search(rule, style)[1] for name, style in pages.items()}
    assert names == {"board": "--jp-ui-font-color1", "notebook": "--jp-ui-font-color1", "report": "--ink"}


@pytest.mark.parametrize("scale", [colours.SHARES, colours.COSINES])
def test_numbers_read_on_every_cell_of_a_matrix(scale):
    assert all(contrast(colours.ON_COLOUR, colour) >= TEXT for _, colour in scale)


def test_numbers_read_on_bars():
    assert all(contrast(colours.ON_COLOUR, colour) >= TEXT for colour in colours.OUTCOMES.values())


def test_every_text_of_the_report_reads_in_both_themes():
    roots = re.findall(r":root \{([^}]*)\}", report_look.STYLE)
    assert len(roots) == 2
    for root in roots:
        values = dict(re.findall(r"--(\w+): (#\w+)", root))
        full = {
            name: value if len(value) == 7 else "#" + "".join(2 * c for c in value[1:])
            for name, value in values.items()
        }
        for name in ("ink", "faint", "link"):
            assert contrast(full[name], full["page"]) >= TEXT, name
            assert contrast(full[name], full["card"]) >= TEXT, name


PAPER = ("baseline", "baseline_plus", "ipr", "supervised", "mcil", "mmd", "daan", "dann", "bnm")
"""The systems of the paper's tables, whose curves lie in one figure."""


@pytest.mark.parametrize("sight", SIGHT)
def test_systems_of_a_table_are_told_apart_with_any_sight(sight):
    for a, b in combinations(PAPER, 2):
        assert np.linalg.norm(lab(spreads.LOOKS[a][0], sight) - lab(spreads.LOOKS[b][0], sight)) > 12, (a, b)


def test_systems_are_told_apart_in_grey_by_marker_and_by_dash_or_lightness():
    assert list(spreads.LOOKS) == list(SYSTEMS)
    markers = [marker for _, _, marker in spreads.LOOKS.values()]
    assert len(set(markers)) == len(markers)
    for a, b in combinations(SYSTEMS, 2):
        (first, dash, _), (second, second_dash, _) = spreads.LOOKS[a], spreads.LOOKS[b]
        lightness = abs(lab(first, "usual")[0] - lab(second, "usual")[0])
        assert dash != second_dash or lightness > 4.5, (a, b)
        assert first == second or np.linalg.norm(lab(first, "usual") - lab(second, "usual")) > 20, (a, b)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_systems_line_stands_out_from_both_pages(system):
    assert min(contrast(spreads.LOOKS[system][0], page) for page in (WHITE, DARK)) > 2.8


def test_a_control_has_the_colour_of_its_counterpart():
    for control, system in {"baseline_augmented": "baseline", "baseline_plus_contrastive": "baseline_plus"}.items():
        assert spreads.LOOKS[control][0] == spreads.LOOKS[system][0]


def test_neutral_is_grey_and_a_class_that_nobody_listed_keeps_its_colour():
    assert len(set(linear(colours.colour("neutral")))) == 1
    assert colours.colour("contempt") == colours.colour("contempt") != colours.colour("pride")
    assert re.fullmatch("#[0-9A-F]{6}", colours.colour("contempt"))
