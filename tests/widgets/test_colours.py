"""Colours: told apart with any sight, and read on a light and a dark page."""

import colorsys
import re
from itertools import combinations

import numpy as np
import pytest

from helpers.sight import DARK, SIGHT, WHITE, contrast, lab, linear
from ipr_widgets import colours


@pytest.mark.parametrize("sight", SIGHT)
def test_emotions_are_told_apart_with_any_sight(sight):
    distances = {
        (a, b): np.linalg.norm(lab(colours.colour(a), sight) - lab(colours.colour(b), sight))
        for a, b in combinations(colours.EMOTIONS, 2)
    }
    assert min(distances.values()) > 8, min(distances, key=distances.get)
    paper = ("angry", "happy", "sad", "neutral")
    assert min(distances[pair] for pair in combinations(paper, 2)) > 20


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


def test_text_has_the_same_contrast_on_both_pages():
    assert contrast(colours.INK, WHITE) == pytest.approx(contrast(colours.INK, DARK), rel=0.05)
    assert contrast(colours.INK, WHITE) > 4


def test_neutral_is_grey_and_a_class_that_nobody_listed_keeps_its_colour():
    assert len(set(linear(colours.colour("neutral")))) == 1
    assert colours.colour("contempt") == colours.colour("contempt") != colours.colour("pride")
    assert re.fullmatch("#[0-9A-F]{6}", colours.colour("contempt"))
