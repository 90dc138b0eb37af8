"""The result in plain words."""

import pytest

from ipr_core.results.in_words import outcome
from ipr_core.training.advance import advance, prepare


@pytest.fixture(scope="module")
def baseline(tiny, data, tmp_path_factory):
    run, _ = prepare(tiny.replace(system="baseline"), tmp_path_factory.mktemp("runs"), data=data)
    return advance(run, data)


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
