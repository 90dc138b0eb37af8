"""One warm-up for many runs: who shares it, and that the results are the same to the bit as without."""

import itertools

import pytest

from helpers.whole_runs import assert_same
from ipr_core.batch import warm_ups
from ipr_core.config import TABLE3, Mark, marked
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.run import Run, name
from ipr_core.training.advance import advance, prepare, shared_views

OTHERS = {
    "mu": 0.7, "beta_max": 0.9, "beta_growth": 3.0, "beta_from": "warm_up", "compare_when": "step", "target": "soft",
    "compare_mode": "training", "confidence": True, "moves": "all", "gate": "none", "update": "batch", "epochs": 5,
    "after_warm_up": "keep", "positives": "label", "contrast": "dot", "tau": 0.4, "augmented_target": True,
    "own_weight": 0.3,
}  # fmt: skip
"""Another value than the default for every setting that comes into play after the warm-up."""
LATER = marked(Mark.AFTER_WARM_UP)
SHARING = [system for system in TABLE3 if system != "baseline_augmented"]  # that one's warm-up has more views
BESIDE = ["mmd", "dann", "daan", "freematch", "pico"]
"""Methods that have something of their own from the refinement on."""
APART = ["baseline_augmented", "emotion_existence", "majority", "mcil", "attention_pooling", "capsules"]


@pytest.fixture(scope="module")
def longer(frozen):
    """Two epochs of warm-up and two after it."""
    return frozen.replace(epochs=4, warm_up=2)


@pytest.fixture(scope="module")
def alone(longer, data, views, tmp_path_factory):
    """Settings → a run that trained its own warm-up, in a folder of its own."""
    done = {}

    def alone(**settings):
        config = longer.replace(**settings)
        if config.digest() not in done:
            run, _ = prepare(config, tmp_path_factory.mktemp("alone"), data=data)
            done[config.digest()] = advance(run, data, views=views)
        return done[config.digest()]

    return alone


def taken_over(run, other, data, views, place):
    """A run like `run`, trained after it took over the warm-up of one like `other`."""
    donor, _ = prepare(other.config, place, data=data)
    advance(donor, data, "warm_up", views=views)
    made, _ = prepare(run.config, place, data=data)
    assert warm_ups.reuse(made).folder == donor.folder
    assert (made.epochs, made.warmed_up) == (run.config.training.warm_up, True)
    return advance(made, data, views=views)


@pytest.mark.parametrize("system", SHARING)
def test_the_systems_share_it_and_end_the_same_to_the_bit(alone, data, views, tmp_path, system):
    for other in SHARING:
        if other != system:
            place = tmp_path / other
            assert_same(taken_over(alone(system=system), alone(system=other), data, views, place), alone(system=system))


@pytest.mark.parametrize("system", BESIDE)
def test_methods_with_something_beside_share_it_both_ways(alone, data, views, tmp_path, system):
    for run, other in ((system, "ipr"), ("ipr", system), (system, "dann")):
        if run != other:
            place = tmp_path / f"{run} of {other}"
            assert_same(taken_over(alone(system=run), alone(system=other), data, views, place), alone(system=run))


@pytest.mark.parametrize("system", APART)
def test_another_network_or_another_loss_of_d1_does_not_share_it(longer, system):
    key = warm_ups.key(longer.replace(system=system), "corpus", "code")
    assert key not in [warm_ups.key(longer.replace(system=other), "corpus", "code") for other in ("ipr", "dann")]
    assert key == warm_ups.key(longer.replace(system=system, mu=0.9), "corpus", "code")


@pytest.mark.parametrize("setting", sorted(LATER))
def test_a_setting_that_counts_later_shares_it(alone, data, views, tmp_path, setting):
    run = alone(**{setting: OTHERS[setting]})
    assert_same(taken_over(run, alone(), data, views, tmp_path), run)


def test_every_setting_that_counts_later_is_tried():
    assert OTHERS.keys() == LATER


@pytest.mark.parametrize("system", ["baseline", "ipr"])
def test_prototypes_that_move_in_the_warm_up_are_not_shared_with_others(alone, data, views, tmp_path, system):
    moving = alone(system="ipr", warm_up_prototypes="moving")
    run = alone(system=system, warm_up_prototypes="moving" if system == "baseline" else "means")
    assert warm_ups.key_of(moving) != warm_ups.key_of(run)
    other = alone(system="ipr", warm_up_prototypes="moving", mu=0.7)
    assert_same(taken_over(moving, other, data, views, tmp_path), moving)


@pytest.mark.parametrize(
    "settings",
    [{"seed": 1}, {"stream": 1}, {"lr": 1e-3}, {"alpha": 0.5}, {"warm_up": 1}, {"batch_size": 4}, {"temperature": 0.5},
     {"unit_norm": False}, {"soft_label": "raw"}, {"embedding": 32}, {"dropout": 0.3}, {"map_size": 5},
     {"system": "baseline_augmented"}, {"system": "ipr", "gamma": 0.5, "warm_up_prototypes": "moving"}],
    ids=str,
)  # fmt: skip
def test_what_counts_in_the_warm_up_does_not_share_it(longer, settings):
    key = warm_ups.key(longer, "corpus", "code")
    assert warm_ups.key(longer.replace(**settings), "corpus", "code") != key


def test_another_corpus_another_code_and_no_warm_up_share_nothing(longer):
    keys = [warm_ups.key(longer, *of) for of in itertools.product(("a", "b"), ("c", "d"))]
    assert len(set(keys)) == 4
    assert warm_ups.key(longer.replace(warm_up=0), "a", "c") is None
    assert warm_ups.key(longer, "a", None) is None


def test_gamma_counts_in_the_warm_up_only_where_prototypes_move(longer):
    of = [warm_ups.key(longer.replace(gamma=gamma, system="ipr"), "corpus", "code") for gamma in (0.5, 0.9)]
    assert of[0] == of[1]


def test_nothing_is_taken_over_by_a_run_that_has_begun(alone, longer, data, views, tmp_path):
    advance(prepare(longer.replace(system="baseline"), tmp_path, data=data)[0], data, "warm_up", views=views)
    run, _ = prepare(longer, tmp_path, data=data)
    stopped = Run(tmp_path / name(longer))
    with pytest.raises(StopIteration):
        advance(run, data, watch=_stop, views=views)
    assert warm_ups.reuse(stopped) is None
    assert stopped.epochs == 1
    assert_same(advance(stopped, data, views=views), alone())


def test_killed_in_between_the_taking_over_does_no_harm(alone, longer, data, views, tmp_path, monkeypatch):
    advance(prepare(longer.replace(system="baseline"), tmp_path, data=data)[0], data, "warm_up", views=views)
    link = warm_ups._link
    for moment in range(1, 5):  # two epochs, two states
        run, _ = prepare(longer.replace(map_size=longer.training.map_size), tmp_path, data=data)
        calls = itertools.count(1)

        def killed(file, to, calls=calls, moment=moment):
            if next(calls) == moment:
                raise KeyboardInterrupt
            link(file, to)

        monkeypatch.setattr(warm_ups, "_link", killed)
        with pytest.raises(KeyboardInterrupt):
            warm_ups.reuse(run)
    assert not (run.folder / "checkpoint.safetensors").exists()
    assert_same(advance(run, data, views=views), alone())


def test_a_warm_up_is_on_disk_once(alone, data, views, tmp_path):
    run = taken_over(alone(system="baseline"), alone(), data, views, tmp_path)
    donor = Run(tmp_path / name(alone().config))
    assert (run.folder / "warm_up.safetensors").samefile(donor.folder / "warm_up.safetensors")
    assert not (run.folder / "checkpoint.safetensors").samefile(donor.folder / "warm_up.safetensors")


def test_an_encoder_that_is_trained_too_shares_it(tiny, data, tmp_path):
    views = shared_views(tiny, data)
    donor = advance(prepare(tiny.replace(system="supervised"), tmp_path, data=data)[0], data, views=views)
    run, _ = prepare(tiny, tmp_path, data=data)
    assert warm_ups.reuse(run).folder == donor.folder
    own, _ = prepare(tiny, tmp_path / "own", data=data)
    assert_same(advance(run, data, views=views), advance(own, data, views=views))


def _stop(event):
    if isinstance(event, EpochEnd):
        raise StopIteration
