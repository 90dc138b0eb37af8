"""The result in plain words."""

import re

import numpy as np
import pytest

from ipr_core.metrics import js_divergence
from ipr_core.results.in_words import changes, outcome, paragraphs, soft
from ipr_core.results.scores import divergences
from ipr_core.runs.run import Run
from ipr_core.training.advance import advance, prepare


@pytest.fixture(scope="module")
def baseline(tiny, data, tmp_path_factory):
    run, _ = prepare(tiny.replace(system="baseline"), tmp_path_factory.mktemp("runs"), data=data)
    return advance(run, data)


class WithoutMixtures(Run):
    """A run on a corpus whose true mixtures nobody knows."""

    @property
    def table(self):
        table = super().table
        return table.drop(columns=[name for name in table if name.startswith("mixture_")])


def test_the_accuracy_the_guess_and_the_rival_are_named(trained, baseline):
    text = outcome(trained, [baseline])
    accuracy, other = (100 * run.history()[-1].accuracy for run in (trained, baseline))
    labels = trained.table.loc[trained.table["part"] == "D3", "label"]
    assert f"the {len(labels)} utterances that annotators agree on least" in text
    assert f"IPR names the emotion of {accuracy:.1f} % of them" in text
    assert f"right in {100 * labels.value_counts().max() / len(labels):.0f} %" in text
    assert f"The baseline beside it: {other:.1f} %" in text


def test_without_a_rival_nothing_is_compared(trained):
    assert "beside" not in outcome(trained)


# What the refinement did to the labels of D2.


def test_changed_labels_are_counted_by_what_became_of_them(trained):
    names, d2 = np.array(trained.meta["classes"]), (trained.table["part"] == "D2").to_numpy()
    truth = trained.table.loc[d2, "label"].to_numpy()
    first, last = (names[trained.arrays(epoch)["soft_prototypes"][d2].argmax(axis=1)] for epoch in (0, 2))
    right, wrong = ((first != truth) & (last == truth)).sum(), ((first == truth) & (last != truth)).sum()
    changed = (first != last).sum()
    text = changes(trained)
    assert f"Refinement changed {changed} of the {len(truth)} labels" in text
    assert f"{right} became right, {wrong} wrong; {(first == truth).sum()} had been right." in text


def test_a_system_without_refinement_changes_nothing_in_words(baseline):
    assert changes(baseline) == ""


# Soft labels.


def test_soft_labels_are_beside_the_rival_s_and_equal_shares(trained, baseline):
    text = soft(trained, [baseline])
    distances, rival = divergences(trained), divergences(baseline)
    assert f"IPR's soft labels lie {distances['js_mixture']:.3f} bits from the true mixtures of D2 and D3" in text
    assert f"the baseline's {rival['js_mixture']:.3f}" in text
    assert f"equal shares {distances['js_mixture_uniform']:.3f}." in text


def test_the_example_is_the_utterance_of_the_median_distance(trained):
    table, classes = trained.table, trained.meta["classes"]
    (name,) = re.findall(r"A typical utterance of D3, '(\S+)': truth \d+ %", soft(trained))
    labels = trained.labels[[f"soft_{c}" for c in classes]].to_numpy(float)
    distances = js_divergence(labels, table[[f"mixture_{c}" for c in classes]].to_numpy(float))
    tested = (table["part"] == "D3").to_numpy()
    distance = distances[(table["id"] == name).to_numpy()].item()
    assert tested[(table["id"] == name).to_numpy()].item()
    assert abs((distances[tested] < distance).sum() - tested.sum() // 2) <= 1


def test_without_mixtures_the_votes_are_the_truth(trained):
    run = WithoutMixtures(trained.folder)
    assert f"{divergences(run)['js_votes']:.3f} bits from the votes of D2 and D3" in soft(run)
    assert re.search(r"A typical utterance of D3, '\S+': votes \d+ %", soft(run))


def test_paragraphs_are_those_that_apply(trained, baseline):
    about_labels = f"{changes(trained)} {soft(trained, [baseline])}"
    assert paragraphs(trained, [baseline]) == [outcome(trained, [baseline]), about_labels]
    assert paragraphs(baseline) == [outcome(baseline), soft(baseline)]
