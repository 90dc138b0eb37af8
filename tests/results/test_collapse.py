"""Signs of a collapse, from records written by hand."""

import dataclasses

import pytest

from helpers.fake_runs import fake_event, fake_run
from ipr_core.results import collapse, over_seeds, selection, summary

SOUND = [[3, 1, 0, 0], [0, 2, 2, 0], [1, 0, 3, 0], [1, 1, 1, 1]]
DUMB = [[4, 0, 0, 0], [1, 3, 0, 0], [1, 0, 3, 0], [1, 1, 2, 0]]  # the last class is never named


@pytest.fixture
def make(frozen, data, tmp_path):
    """System, seed, and what is unlike a sound record → a finished run."""

    def make(system="ipr", seed=0, **values):
        run = fake_run(tmp_path, frozen.replace(system=system, seed=seed), data, (0.5,))
        event = dataclasses.replace(fake_event(1, 0.5, SOUND), **values)
        (run.folder / "labels.csv").unlink()
        run.record(event)
        run.save_labels(run.labels)
        return run

    return make


def cosines_of(cosine):
    return [[1.0, cosine, 0.0], [cosine, 1.0, 0.0], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, []),
        ({"labels_prototypes": [95, 5, 0, 0]}, []),
        ({"labels_prototypes": [96, 4, 0, 0]}, ["one class has nearly all labels of D2"]),
        ({"labels_model": [100, 0, 0, 0]}, []),  # IPR labels by its prototypes
        ({"confusion": DUMB}, ["a class is never named on D3"]),
        ({"confusion": [[4, 0], [0, 0]]}, []),  # D3 has no utterance of that class
        ({"cosines": cosines_of(0.998)}, []),
        ({"cosines": cosines_of(0.9995)}, ["two prototypes are one"]),
    ],
)
def test_the_signs_of_ipr(make, values, expected):
    assert collapse.signs(make(**values)) == expected


def test_a_system_without_prototypes_is_judged_by_its_classifier(make):
    assert collapse.signs(make("baseline", labels_prototypes=[100, 0], cosines=cosines_of(1.0))) == []
    assert collapse.signs(make("baseline", 1, labels_model=[100, 0])) == ["one class has nearly all labels of D2"]


def test_only_the_final_epoch_counts(frozen, data, tmp_path):
    run = fake_run(tmp_path, frozen, data, (0.2, 0.5), confusion=SOUND)
    assert collapse.signs(run) == []


def test_tables_mark_collapsed_systems_and_a_caution_names_them(make):
    runs = [make(), make(seed=1, confusion=DUMB, cosines=cosines_of(1.0)), make("baseline")]
    text = "**IPR** has collapsed in 1 of 2 runs: a class is never named on D3 (1); two prototypes are one (1)."
    assert selection.cautions(runs) == [text]
    assert over_seeds.systems(runs).values["collapsed"].tolist() == ["", "1 of 2"]
    assert summary.score_rows(runs)["collapsed"].tolist()[1] == "1 of 2"
    assert text in summary.summary(runs)
    assert "collapsed" not in over_seeds.systems([runs[0], runs[2]]).values
    assert "collapsed" not in summary.score_rows([runs[0], runs[2]])
