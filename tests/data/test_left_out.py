"""Utterances in no part of the partition: each is counted, once, with its cause."""

import numpy as np
import pandas as pd
import pytest

from helpers.corpus_files import TWO, real, utterances
from ipr_core.config import Data, recommended
from ipr_core.data import corpora, left_out
from ipr_core.data.ambiguity import partition
from ipr_core.data.corpora.table import tidy

SPEAKERS = {"speaker_disjoint": True, "test_speakers": ("p0",)}


def config(**settings):
    return recommended(**({"classes": TWO, "validation_share": 0} | settings))


def sentence(table, rules, sounds=None):
    return left_out.sentence(table, partition(table, rules, sounds), rules)


def agreed(shares, labels=TWO):
    """Return ten votes an utterance: per speaker, p0 and p1, and label, one utterance of each share."""
    rows = [(speaker, label, 10 * share) for speaker in ("p0", "p1") for label in labels for share in shares]
    speakers, labels, right = zip(*rows, strict=True)
    angry = [n if label == "angry" else 10 - n for label, n in zip(labels, right, strict=True)]
    return utterances({"angry": angry, "sad": [10 - n for n in angry]}, list(labels), list(speakers))


def manifest(rows):
    """Return a manifest's table: after one utterance of each part, rows of label, angry, sad, fearful and other."""
    rows = [("angry", 6, 0, 0, 0), ("sad", 0, 6, 0, 0), ("angry", 5, 1, 0, 0), ("angry", 3, 3, 0, 0), *rows]
    table = pd.DataFrame(rows, columns=["label", "votes_angry", "votes_sad", "votes_fearful", "votes_other"])
    return tidy(table.assign(id=[f"u{i}" for i in range(len(table))], path="x.wav"), Data(classes=TWO))


def test_every_cause_has_its_line_the_largest_first():
    table = manifest([
        *[("", 3, 3, 0, 0)] * 5, *[("fearful", 0, 0, 2, 0)] * 3, ("other", 0, 0, 0, 2), *[("angry", 1, 0, 0, 0)] * 3,
        *[("unlabelled", 0, 4, 1, 0)] * 2, ("", 0, 0, 0, 3),
    ])  # fmt: skip
    assert sentence(table, config(min_votes=2)).splitlines() == [
        "15 of 19 utterances left out:",
        "  5 with tied votes: two or more emotions have the most",
        "  4 with a label that is not among the classes: fearful 3, other 1",
        "  3 with fewer than 2 votes (min_votes)",
        "  2 marked as unlabelled, though the votes name an emotion",
        "  1 with neither a label nor a vote for an emotion",
    ]


def test_nothing_is_said_where_nothing_is_left_out():
    assert sentence(agreed([1, 0.8, 0.5]), config()) == ""


def test_votes_tied_with_an_emotion_that_is_no_class_are_tied():
    assert "1 with tied votes" in sentence(manifest([("", 1, 0, 1, 0)]), config())


def test_a_label_that_nobody_voted_on_is_told():
    assert "2 without a vote" in sentence(manifest([("sad", 0, 0, 0, 0)] * 2), config())


def test_speakers_whose_votes_fit_no_part_are_counted_by_the_reason():
    assert sentence(agreed([1, 0.9, 0.8, 0.5]), config(**SPEAKERS)).splitlines() == [
        "8 of 16 utterances left out:",
        "  6 of test speakers, agreed on too much for D3: a share of votes of 0.667 or more",
        "  2 of training speakers, agreed on too little for D2: a share of votes below 0.667",
    ]


def test_a_test_size_leaves_out_what_the_test_speakers_have_more():
    assert sentence(agreed([1, 0.9, 0.8, 0.5]), config(test_size=1, **SPEAKERS)).splitlines() == [
        "7 of 16 utterances left out:",
        "  5 of test speakers, beyond a test_size of 1",
        "  2 of test speakers, agreed on too much for D3: a share of votes of 1 or more",
    ]


@pytest.mark.parametrize("size", [None, 6])
def test_copies_of_what_is_tested_are_told(size):
    table = agreed([1, 0.9, 0.8, 0.5])
    sounds = np.arange(len(table))
    tested, trained = (table["speaker"] == "p0") & (table["votes_sad"] == 5), (table["speaker"] == "p1")
    sounds[np.flatnonzero(trained)[1]] = sounds[np.flatnonzero(tested)[0]]
    assert "  1 of training speakers, with the sound of one in D3" in sentence(
        table, config(test_size=size, **SPEAKERS), sounds
    )


def test_the_numbers_of_real_listeners_add_up():
    settings = {"corpus": "emodb", "corpus_path": str(real("emodb")), "speaker_disjoint": True, "ambiguous_share": 0.95}
    rules = recommended(**settings)
    table = corpora.read(rules.data)
    parts = partition(table, rules)
    header, *lines = left_out.sentence(table, parts, rules).splitlines()
    gone = len(table) - (parts["part"] != "").sum()
    assert header == f"{gone} of 535 utterances left out:"
    assert sum(int(line.split()[0]) for line in lines) == gone
    assert "196 with a label that is not among the classes: bored 81, fearful 69, disgusted 46" in lines[0]
