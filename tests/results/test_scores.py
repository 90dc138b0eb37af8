"""Scores of runs whose folders are written by hand, so that every figure is known."""

import math

import numpy as np
import pytest

from helpers.fake_runs import fake_run
from ipr_core.config import SettingsError
from ipr_core.results import scores


@pytest.fixture
def make(frozen, data, tmp_path):
    """System, seed, final accuracy → a finished run. Its best epoch is not the last."""

    def make(system, seed, accuracy, stream=0, **options):
        config = frozen.replace(system=system, seed=seed, stream=stream)
        return fake_run(tmp_path, config, data, (0.99, accuracy), **options)

    return make


def test_scores_are_of_the_final_epoch(make):
    row = scores.run_scores(make("ipr", 3, 0.5))
    assert (row["system"], row["seed"], row["stream"], row["seconds"]) == ("ipr", 3, 0, 3600.0)
    assert row["accuracy"] == 50
    assert row["uar"] == 25
    assert row["macro_f1"] == 12.5
    assert row["agreement_model"] == 25
    assert row["agreement_prototypes"] == 75


def test_divergences_by_hand(make, data):
    judged = data.table["part"].isin(["D2", "D3"]).to_numpy()
    row = scores.divergences(make("ipr", 0, 0.5, soft=data.mixtures))
    assert row["js_mixture"] == pytest.approx(0, abs=1e-12)
    middle = (data.mixtures + 0.25) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        uniform = np.nansum(data.mixtures * np.log2(data.mixtures / middle) + 0.25 * np.log2(0.25 / middle), axis=1) / 2
    assert row["js_mixture_uniform"] == pytest.approx(uniform[judged].mean(), rel=1e-6)
    assert row["js_votes"] > 0
    assert row["js_votes_uniform"] > 0
    plain = scores.divergences(make("ipr", 1, 0.5))
    assert plain["js_mixture"] == pytest.approx(plain["js_mixture_uniform"])


def test_simulated_annotators_judge_no_soft_label(make):
    row = scores.divergences(make("ipr", 0, 0.5, simulated=True))
    assert all(math.isnan(value) for value in row.values())


def test_only_finished_runs_have_scores(make):
    finished, unfinished = make("ipr", 0, 0.5), make("supervised", 0, 0.9)
    (unfinished.folder / "labels.csv").unlink()
    assert scores.score_table([finished, unfinished])["system"].tolist() == ["ipr"]
    assert scores.score_table([unfinished]).empty


def test_noise_is_the_root_mean_square_between_two_streams(make):
    streams = {0: (0.50, 0.60, 0.70), 1: (0.52, 0.60, 0.67)}
    runs = [make("baseline", seed, value, stream) for stream, row in streams.items() for seed, value in enumerate(row)]
    table = scores.score_table(runs)
    # the baseline differs from itself by 2, 0 and −3: their mean square is 13/3
    assert scores.noise(table, "accuracy", "baseline") == pytest.approx(math.sqrt(13 / 3))
    assert math.isnan(scores.noise(table, "accuracy", "ipr"))
    assert math.isnan(scores.noise(scores.score_table([]), "accuracy", "baseline"))


def test_correct_is_the_classifiers_label_on_d3(make, data):
    d3 = data.rows("D3")
    hits = scores.correct(make("ipr", 0, 0.5, right=np.arange(len(d3)) > 0))
    assert list(hits.index) == data.table["id"].iloc[d3].tolist()
    assert hits.tolist() == [False] + [True] * (len(hits) - 1)


def test_speakers_are_those_of_d3(make, data):
    names = scores.speakers(make("ipr", 0, 0.5))
    expected = data.table.iloc[data.rows("D3")]
    assert names.to_dict() == dict(zip(expected["id"], expected["speaker"], strict=True))


def test_a_score_or_a_system_that_does_not_exist_is_named():
    scores.check("uar", "mcil")
    with pytest.raises(SettingsError, match="score is 'acc'; it must be one of accuracy, uar, ") as error:
        scores.check("acc", "ipr2")
    assert "system is 'ipr2'; it must be one of baseline, " in str(error.value)
