"""Agreement: published worked examples to their printed digits, intervals, pairs, listeners and repeats."""

import numpy as np
import pandas as pd
import pytest

from ipr_core.data import raters
from ipr_core.votes import agreement

# Krippendorff, K. (2011), Computing Krippendorff's Alpha-Reliability, sections A to C. "." is a missing vote.
BINARY = ("0100000010", "1110010000")  # Meg, Owen: two observers, 10 units
NOMINAL = ("aabbdcccedda", "babbbccceddd")  # Ben, Gerry: two observers, 12 units
FOUR = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")  # four observers, 12 units
# Wikipedia, "Krippendorff's alpha", a computational example: three coders, 15 units, 19 missing votes.
THREE = (".....34121133.3", "1.213343.......", "..21344.21133.4")

# Fleiss, J. L. (1971), Measuring nominal scale agreement among many raters, table 1: 30 patients, six psychiatrists;
# depression, personality disorder, schizophrenia, neurosis, other.
DIAGNOSES = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""

# Wikipedia, "Fleiss' kappa": ten subjects, fourteen raters, five categories.
WIKIPEDIA = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def long(rows):
    """Return the votes of observers, a text each with a letter per unit."""
    votes = [
        (str(unit), str(listener), label, 1.0) for listener, row in enumerate(rows) for unit, label in enumerate(row)
    ]
    return pd.DataFrame([vote for vote in votes if vote[2] != "."], columns=raters.COLUMNS)


def pairs(rows):
    return agreement.pairs_of_votes(raters.coded(long(rows)))


def of_counts(counts):
    counts = np.array(counts, float)
    return agreement.pairs_of_counts(tuple("abcde")[: counts.shape[1]], counts)


def literal_alpha(votes):
    """Krippendorff's α by a loop over all pairs of listeners."""
    agreed = {}
    for _, unit in votes.groupby("id"):
        ballots = list(unit.itertuples())
        for ballot in ballots:
            for rival in ballots:
                if ballot.annotator != rival.annotator:
                    key = ballot.label, rival.label
                    agreed[key] = agreed.get(key, 0) + 1 / (len(ballots) - 1)
    total = sum(agreed.values())
    margin = {
        label: sum(n for (ballot, _), n in agreed.items() if ballot == label) for label in votes["label"].unique()
    }
    observed = sum(n for (ballot, rival), n in agreed.items() if ballot != rival)
    expected = sum(a * b for ballot, a in margin.items() for rival, b in margin.items() if ballot != rival) / (
        total - 1
    )
    return 1 - observed / expected


@pytest.mark.parametrize(("rows", "printed"), [(BINARY, 0.095), (NOMINAL, 0.692), (FOUR, 0.743), (THREE, 0.691)])
def test_alpha_is_that_of_the_published_worked_examples(rows, printed):
    assert round(agreement.alpha(pairs(rows)), 3) == printed
    assert agreement.alpha(pairs(rows)) == pytest.approx(literal_alpha(long(rows)))


def test_alpha_of_counts_is_that_of_the_votes():
    votes = long(FOUR)
    counts = votes.groupby(["id", "label"]).size().unstack(fill_value=0).to_numpy(float)
    assert round(agreement.alpha(agreement.pairs_of_counts(tuple("12345"), counts)), 3) == 0.743


def test_kappa_is_that_of_fleiss_diagnoses():
    counts = [[int(digit) for digit in row] for row in DIAGNOSES.split()]
    assert len(counts) == 30
    assert {sum(row) for row in counts} == {6}
    assert np.sum(counts, axis=0).tolist() == [26, 26, 30, 55, 43]
    table = agreement.coefficients(of_counts(counts), samples=10)
    assert table["kappa"].round(3).tolist() == [0.430, 0.245, 0.245, 0.520, 0.471, 0.566]


def test_kappa_is_that_of_wikipedias_example():
    assert round(agreement.kappa(of_counts(WIKIPEDIA)), 3) == 0.210


def test_a_missing_vote_leaves_kappa_near_and_a_single_vote_counts_for_nothing():
    counts = np.array(WIKIPEDIA, float)
    counts[0, 4] -= 1
    assert agreement.kappa(of_counts(counts)) == pytest.approx(0.210, abs=0.01)
    with_single = np.vstack([WIKIPEDIA, [[1, 0, 0, 0, 0]]])
    assert agreement.kappa(of_counts(with_single)) == pytest.approx(agreement.kappa(of_counts(WIKIPEDIA)))
    assert agreement.alpha(of_counts(with_single)) == pytest.approx(agreement.alpha(of_counts(WIKIPEDIA)))


def test_the_order_of_utterances_and_the_names_do_not_matter():
    rows = ["".join(reversed(row)) for row in reversed(FOUR)]
    assert agreement.alpha(pairs(rows)) == pytest.approx(agreement.alpha(pairs(FOUR)))
    assert agreement.kappa(pairs(rows)) == pytest.approx(agreement.kappa(pairs(FOUR)))


def test_full_agreement_is_one_and_one_label_alone_is_unknown():
    assert agreement.alpha(pairs(("ab", "ab", "ab"))) == agreement.kappa(pairs(("ab", "ab"))) == 1
    assert np.isnan(agreement.alpha(pairs(("aa", "aa"))))
    assert np.isnan(agreement.kappa(pairs(("aa", "aa"))))


def test_a_split_vote_makes_no_pair_with_itself():
    """Two listeners who both hear half sad, half angry: one of two pairs agrees, as for a coin each."""
    rows = [("u", listener, label, 0.5) for listener in ("ada", "ben") for label in ("angry", "sad")]
    halves = agreement.pairs_of_votes(raters.coded(pd.DataFrame(rows, columns=raters.COLUMNS)))
    assert halves.tables[0] == pytest.approx(np.full((2, 2), 0.25))
    assert halves.counts[0] == pytest.approx([1, 1])


def test_votes_without_a_name_are_each_of_another_listener():
    rows = [("u", "", "sad", 2.0), ("u", "ada", "angry", 1.0)]
    unnamed = agreement.pairs_of_votes(raters.coded(pd.DataFrame(rows, columns=raters.COLUMNS)))
    assert unnamed.tables[0] == pytest.approx(np.array([[0, 2], [2, 2]]) / 6)


def test_an_interval_holds_the_value_and_narrows_with_utterances():
    small = agreement.coefficients(of_counts(WIKIPEDIA))
    large = agreement.coefficients(of_counts(WIKIPEDIA * 30))
    for table in (small, large):
        assert (table["kappa_low"] <= table["kappa"]).all()
        assert (table["kappa"] <= table["kappa_high"]).all()
    width = (small["alpha_high"] - small["alpha_low"]) / (large["alpha_high"] - large["alpha_low"])
    assert (width > 3).all()  # about the root of 30


def test_the_most_confused_pair_is_first():
    table = agreement.confusions(of_counts([[3, 1, 0], [2, 2, 0], [0, 0, 4], [1, 0, 3]]))
    assert (table["one"][0], table["other"][0]) == ("a", "b")
    assert table["share"].sum() == pytest.approx(1)
    assert table["times_chance"][0] > 1 > table["times_chance"][2]
    assert (table["low"] <= table["share"]).all()


def test_listeners_have_their_agreement_and_shares():
    table = agreement.listeners(long(("aab", "aab", "bb.")))
    assert list(table.index) == ["0", "1", "2"]
    assert table["agreement"].tolist() == pytest.approx([(0.5 + 0.5 + 1) / 3, (0.5 + 0.5 + 1) / 3, 0])
    assert table["a"].tolist() == pytest.approx([2 / 3, 2 / 3, 0])
    assert table["votes"].tolist() == [3, 3, 2]


def record(rows):
    names = ["listener", "audio", "emotions", "other", "cannot_tell", "repeat"]
    votes = [(listener, key, tuple(heard), False, not heard, repeat) for listener, key, heard, repeat in rows]
    table = pd.DataFrame(votes, columns=names)
    return table.assign(time=[f"2026-01-01T10:00:{i:02d}.000+00:00" for i in range(len(table))])


def test_consistency_is_the_share_that_is_heard_again():
    rows = [("ada", "k1", ["sad"], 0), ("ada", "k1", ["sad"], 1), ("ada", "k2", ["sad", "angry"], 0),
            ("ada", "k2", ["sad"], 1), ("ben", "k1", [], 0), ("ben", "k1", [], 1),
            ("cem", "k1", ["sad"], 0)]  # fmt: skip
    table = agreement.consistency(record(rows))
    assert table["consistency"].to_dict() == {"ada": 0.75, "ben": 1.0}
    assert table["repeats"].to_dict() == {"ada": 2, "ben": 1}
    assert agreement.consistency(record(rows[-1:])).empty


def test_votes_over_time_are_counted_by_listener():
    table = agreement.over_time(record([("ada", "k1", ["sad"], 0), ("ben", "k1", ["sad"], 0), ("ada", "k2", [], 0)]))
    assert table["votes"].tolist() == [1, 1, 2]
    assert table["time"].is_monotonic_increasing


def test_where_some_votes_are_known_to_be_for_another_emotion_alone_nobody_knows_how_far_they_agree():
    """As in EmoDB: of the utterances, those without such a vote are those that listeners agree on."""
    votes = long(("aab", "aab"))
    assert len(agreement.comparable(votes)) == 6
    assert agreement.comparable(votes.replace({"label": {"b": "unknown"}})).empty
