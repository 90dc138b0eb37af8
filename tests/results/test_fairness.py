"""Recall by speaker and sex, from runs written by hand."""

import numpy as np
import pandas as pd
import pytest
from pandas import DataFrame

from helpers.fake_runs import fake_run
from ipr_core.results import fairness


@pytest.fixture
def make(frozen, data, tmp_path):
    """Which utterances of D3 are right, and further columns of the table → a finished run."""

    def make(right, **columns):
        table = data.table.assign(**columns)
        return fake_run(tmp_path, frozen, type(data)(table, data.waves, data.classes, False), (0.2, 0.5), right=right)

    return make


def test_a_speakers_recall_is_its_share_of_right_utterances(make, data):
    d3 = data.table.iloc[data.rows("D3")]
    first = d3["speaker"].iloc[0]
    run = make(right=(d3["speaker"] != first).to_numpy())
    table = fairness.by_speaker(run).values.set_index("speaker")
    assert table.index[0] == first  # the lowest stands first
    assert table.loc[first, "recall, %"] == 0
    assert (table["recall, %"].drop(first) == 100).all()
    assert table["utterances"].sum() == len(d3)
    assert ((table["95 % from"] <= table["recall, %"]) & (table["recall, %"] <= table["to"])).all()
    assert "sex" not in table


def test_sexes_are_compared_where_the_corpus_names_them(make, data):
    sex = np.where(data.table["speaker"].str[-1].astype(int) % 2, "Female", "male")
    is_female = sex[data.rows("D3")] == "Female"
    table = fairness.by_sex(make(right=is_female, gender=sex)).values.set_index("sex")
    assert table["accuracy, %"].to_dict() == {"female": 100, "male": 0}
    assert table["UAR, %"].to_dict() == {"female": 100, "male": 0}
    assert table["utterances"].to_dict() == {"female": is_female.sum(), "male": (~is_female).sum()}


def test_one_sex_alone_is_not_compared(make, data):
    assert fairness.by_sex(make(right=None, sex="f")).values.empty
    assert fairness.by_sex(make(right=None)).values.empty


@pytest.mark.parametrize(
    ("corpus", "speakers"),
    [("emodb", ("08", "03")), ("ravdess", ("Actor_02", "Actor_01")), ("iemocap", ("Ses01F", "Ses01M"))],
)
def test_some_corpora_tell_the_sex_by_the_speakers_name(corpus, speakers):
    assert [fairness._BY_NAME[corpus](speaker) for speaker in speakers] == ["female", "male"]


def spread_of(hits_by_speaker):
    rows = [
        {"speaker": speaker, "label": label, "right": hit}
        for speaker, by_label in hits_by_speaker.items()
        for label, hits in by_label.items()
        for hit in hits
    ]
    return fairness.chance_of_spread(DataFrame(rows))


def test_speakers_that_are_alike_differ_by_chance_and_opposite_ones_do_not():
    half = {"angry": [True, False] * 5}
    assert spread_of({"a": half, "b": half}) > 0.9
    assert spread_of({"a": {"angry": [True] * 10}, "b": {"angry": [False] * 10}}) < 0.001


def test_a_speaker_with_the_harder_emotion_is_not_badly_recognised():
    # angry is always right, sad never, and each speaker has one of them: the emotion explains all
    assert spread_of({"a": {"angry": [True] * 10}, "b": {"sad": [False] * 10}}) == 1


def test_the_p_of_two_speakers_is_fishers_exact_one():
    from scipy.stats import fisher_exact

    hits = {"a": {"angry": [True] * 7 + [False] * 3}, "b": {"angry": [True] * 3 + [False] * 7}}
    assert spread_of(hits) == pytest.approx(fisher_exact([[7, 3], [3, 7]]).pvalue, abs=0.02)


def test_the_sentence_names_both_ends(make, data):
    d3 = data.table.iloc[data.rows("D3")]
    run = make(right=(d3["speaker"] == d3["speaker"].iloc[0]).to_numpy())
    counts = d3["speaker"].value_counts()
    text = fairness.spread(run)
    assert (text == "") == ((counts >= fairness.FEWEST).sum() < 2)
    assert pd.Series([text]).str.contains("chance").all() or text == ""
