"""The words of page one, from runs written by hand."""

import numpy as np
import pytest

from helpers.fake_runs import fake_run
from ipr_core.results import page_one


@pytest.fixture
def make(frozen, data, tmp_path):
    """System → a finished run."""

    def make(system="baseline", right=None, **options):
        hits = np.ones(len(data.rows("D3")), bool) if right is None else right
        accuracies = (0.2, float(hits.mean()))
        return fake_run(tmp_path, frozen.replace(system=system), data, accuracies, right=hits, **options)

    return make


@pytest.fixture
def mostly(data):
    """(size of D3,) right but for two."""
    return np.arange(len(data.rows("D3"))) > 1


def test_the_verdict_says_the_accuracy_its_interval_and_what_guessing_gives(make, mostly, data):
    text = page_one.verdict(make(right=mostly))
    share = 100 * mostly.mean()
    assert f"better than guessing: {share:.1f} % of {len(mostly)} are right, 95 % interval" in text
    labels = data.table["label"].iloc[data.rows("D3")]
    assert f"always the same emotion would be right in {100 * labels.value_counts(normalize=True).max():.0f} %" in text


def test_the_verdict_doubts_what_its_interval_does_not_bear_out(make, data):
    quarter = np.arange(len(data.rows("D3"))) < len(data.rows("D3")) // 4
    assert "no better than guessing, as far as can be told" in page_one.verdict(make(right=quarter))


def test_a_control_is_told_apart_only_if_the_interval_says_so(make, mostly):
    run, alike = make(right=mostly), make("supervised", right=mostly[::-1].copy())
    assert "One training each cannot tell it from the supervised beside it" in page_one.verdict(run, [alike])
    assert "it is better than the supervised" in page_one.verdict(run, [make("baseline_plus", right=~mostly)]).replace(
        "baseline+", "supervised"
    )


def test_a_run_alone_says_how_to_get_a_control(make):
    assert any("`ipr run --beside baseline`" in text for text in page_one.findings(make()))
    assert not any("--beside" in text for text in page_one.findings(make(), [make("supervised")]))


def test_only_the_caveats_that_apply_are_named(make):
    plain, simulated = (" ".join(page_one.caveats(make(simulated=value))) for value in (False, True))
    assert "**simulated**" in simulated
    assert "simulated" not in plain
    assert "**synthetic**" in plain
    assert "speakers of D3 are heard in training too" in plain
    assert "trained once (seed 0)" in plain
    assert "was not pre-trained" in plain


def test_facts_name_corpus_votes_parts_and_model(make, data):
    facts = page_one.facts(make())
    assert facts["Corpus"].startswith(f"synthetic: {len(data.table)} utterances")
    assert f"D3 {len(data.rows('D3'))} (the test)" in facts["Partition"]
    assert facts["Model"].startswith("baseline; encoder: a small log-mel network")
    assert "SIMULATED" in page_one.facts(make(simulated=True))["Votes"] or facts["Votes"].startswith("drawn")


def test_the_utterances_to_hear_are_those_with_the_most_divided_votes(make, data):
    clips = page_one.most_ambiguous(make())
    entropy = -(data.votes * np.log2(np.where(data.votes > 0, data.votes, 1))).sum(axis=1)
    judged = np.isin(data.table["part"], ["D2", "D3"])
    assert sorted(entropy[[clip.row for clip in clips]]) == pytest.approx(sorted(entropy[judged])[-page_one.TO_HEAR :])
    assert all(clip.votes and clip.name == data.table["id"].iloc[clip.row] for clip in clips)
