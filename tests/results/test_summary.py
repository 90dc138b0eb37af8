"""Results for the terminal and the report, from run folders written by hand."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from helpers.fake_runs import fake_run
from ipr_core.atomic import write_text
from ipr_core.results import comparisons, over_seeds, significance, soft_labels, summary
from ipr_core.results.table import show


@pytest.fixture
def make(frozen, data, tmp_path):
    """System, seed, final accuracy → a finished run. Its best epoch is not the last."""

    def make(system, seed, accuracy, stream=0, **options):
        config = frozen.replace(system=system, seed=seed, stream=stream)
        return fake_run(tmp_path, config, data, (0.99, accuracy), **options)

    return make


@pytest.fixture
def campaign(make):
    """Three seeds of three systems, and of the baseline's second random stream."""
    accuracies = {
        ("ipr", 0): (0.60, 0.71, 0.80),
        ("baseline", 0): (0.50, 0.60, 0.70),
        ("baseline_plus", 0): (0.51, 0.60, 0.70),
        ("baseline", 1): (0.52, 0.60, 0.67),
    }
    return [
        make(system, seed, value, stream)
        for (system, stream), values in accuracies.items()
        for seed, value in enumerate(values)
    ]


def test_scores_have_mean_and_deviation_over_seeds(campaign):
    table = summary.score_rows(campaign).set_index("system")
    assert table.index.tolist() == [
        "baseline",
        "baseline+",
        "IPR",
        "baseline, random stream 1",
        *soft_labels.CONSTANTS.values(),
    ]
    assert table["seeds"].tolist() == [3, 3, 3, 3, 0, 0, 0]
    assert table["Acc D3 %"].tolist()[:1] == ["60.0 ± 10.0"]
    deviation = np.std([60, 71, 80], ddof=1)
    assert table["Acc D3 %"]["IPR"] == f"{211 / 3:.1f} ± {deviation:.1f}"
    assert table["UAR D3 %"]["baseline"] == "30.0 ± 5.0"
    assert table["Acc D1 %"].tolist()[:4] == ["100.0 ± 0.0"] * 4
    assert table["training, s"].tolist()[:4] == ["2000.0"] * 4
    assert "trained parameters" not in table  # of runs that version 0.1 made
    assert table["prototypes right on D2 %"]["IPR"] == "75.0 → 75.0 ± 0.0"
    assert set(table[over_seeds.INTERVAL][:4]) == {"none: all utterances right"}


def test_a_single_run_has_an_interval_and_no_deviation(make, data):
    wrong = np.arange(len(data.rows("D3"))) % 3 == 0
    runs = [make("baseline", 0, 0.5, right=~wrong), make("ipr", 0, 0.75)]
    table = summary.score_rows(runs)
    assert table["Acc D3 %"].tolist()[:2] == ["50.0", "75.0"]
    assert table[over_seeds.INTERVAL].tolist()[:2] == [
        str(significance.accuracy_interval(runs[0])),
        "none: all utterances right",
    ]
    assert list(table).index(over_seeds.INTERVAL) == list(table).index("Acc D3 %") + 1


def test_several_runs_have_an_interval_over_seeds_and_speakers(make, data):
    n = len(data.rows("D3"))
    runs = [make("ipr", seed, 0.5, right=np.arange(n) % 3 != seed) for seed in range(3)]
    (interval,) = summary.score_rows(runs)[over_seeds.INTERVAL].dropna()
    assert interval == str(significance.accuracy_interval(*runs))
    assert interval.endswith(f"({data.table['speaker'].iloc[data.rows('D3')].nunique()} speakers)")


def test_parameters_are_shown_where_a_run_keeps_their_number(make):
    run = make("ipr", 0, 0.5)
    run.keep(1, None, 66_308)
    assert summary.score_rows([run])["trained parameters"].tolist()[0] == "66,308"


def test_simulated_annotators_judge_no_soft_label(make):
    table = summary.score_rows([make("ipr", 1, 0.5, simulated=True)])
    assert not any("JS" in column for column in table)
    assert table["system"].tolist() == ["IPR"]


def test_only_finished_runs_count(make, campaign):
    unfinished = make("supervised", 0, 0.9)
    (unfinished.folder / "labels.csv").unlink()
    assert summary.score_rows([*campaign, unfinished]).equals(summary.score_rows(campaign))
    assert summary.score_rows([unfinished]).empty
    assert summary.summary([]) == "no finished run"
    for runs in ([unfinished], [*campaign, unfinished]):
        assert f"not trained to the end, and not counted: {unfinished.folder}; `ipr resume`" in summary.summary(runs)


def test_differences_are_those_of_the_notebooks_with_p_corrected_alone(campaign):
    _, tests = summary.tables(campaign)
    notebook = comparisons.differences(campaign).values
    assert tests.values["comparison"].tolist() == ["baseline − IPR", "baseline+ − IPR"]
    assert list(tests.values.columns) == [name for name in notebook if name != "p"]
    for name in tests.values:
        assert tests.values[name].equals(notebook[name])


def test_one_seed_is_compared_over_utterances(make, data):
    wrong = np.arange(len(data.rows("D3"))) % 3 == 0
    scores, tests = summary.tables([make("baseline", 0, 0.5, right=~wrong), make("ipr", 0, 0.75)])
    assert scores.name == "results"
    assert tests.name == "over_utterances"
    assert tests.values["worse on"].tolist() == [wrong.sum()]


def test_one_system_has_no_differences(make):
    assert len(summary.tables([make("ipr", 0, 0.5), make("ipr", 1, 0.5)])) == 1


def test_the_summary_has_both_tables_and_the_reference_may_be_chosen(campaign):
    text = summary.summary(campaign)
    assert text.index("| baseline ") < text.index("Differences of accuracy") < text.index("| baseline − IPR")
    assert "\n\nNo comparison survives." in text
    assert "IPR − baseline" in summary.summary(campaign, "baseline")
    assert "nan" not in text
    words = [line for line in text.splitlines() if not line.startswith("|")]
    assert max(map(len, words)) <= 120


def test_runs_of_other_settings_are_not_averaged(make, campaign):
    run = make("ipr", 0, 0.9)
    meta = run.meta | {"settings": run.meta["settings"] | {"gamma": 0.5}}
    write_text(run.folder / "config.json", json.dumps(meta))
    assert "### gamma 0.5" in summary.summary([*campaign[3:], run])


def test_a_table_in_markdown():
    frame = pd.DataFrame({"system": ["IPR", "b"], "x": [None, "1.0 ± 2.0"]})
    assert show(frame).split("\n") == [
        "| system | x         |",
        "|--------|-----------|",
        "| IPR    |           |",
        "| b      | 1.0 ± 2.0 |",
    ]


def test_the_noise_of_the_baseline_stands_beside_its_differences(campaign):
    _, tests = summary.tables(campaign, "baseline")
    assert tests.values["reference's noise"].tolist() == pytest.approx([2 * math.sqrt(13 / 3) / math.sqrt(3)] * 2)
    assert tests.texts["noise"].tolist() == ["unknown", "unknown"]
