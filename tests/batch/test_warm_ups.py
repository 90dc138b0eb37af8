"""Shared warm-ups: which runs share one, and that their results are the same to the bit."""

import itertools

import pytest

from helpers.whole_runs import assert_same
from ipr_core.batch import warm_ups
from ipr_core.config import TABLE3, Mark, marked
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.names import name
from ipr_core.runs.run import Run
from ipr_core.training.advance import advance, prepare, shared_views

VALUES = {
    "mu": 0.7, "beta_max": 0.9, "beta_growth": 3.0, "beta_from": "warm_up", "compare_when": "step", "target": "soft",
    "compare_mode": "training", "confidence": True, "moves": "all", "gate": "none", "update": "batch", "epochs": 5,
    "after_warm_up": "keep", "positives": "label", "contrast": "dot", "tau": 0.4, "augmented_target": True,
    "own_weight": 0.3, "own_target": "soft", "anchors": "clean", "negatives": "other_label", "augmented_label": "own",
    "labels_when": "warm_up", "oracle": "random", "oracle_share": 0.4,
}  # fmt: skip
"""Another value than the default for every setting that comes into play after the warm-up."""
LATER = marked(Mark.AFTER_WARM_UP)
SHARING = [system for system in TABLE3 if system != "baseline_augmented"]  # that one's warm-up has more views
COMPANIONS = ["mmd", "dann", "daan", "freematch", "pico"]
"""Methods with losses or a companion of their own from the refinement on."""
SPECIAL = ["baseline_augmented", "emotion_existence", "majority", "mcil", "attention_pooling", "capsules"]


@pytest.fixture(scope="module")
def longer(frozen):
    """Two epochs of warm-up and two after it."""
    return frozen.replace(epochs=4, warm_up=2)


@pytest.fixture(scope="module")
def run_of(longer, data, views, tmp_path_factory):
    """Return a function: settings → a run that trained its own warm-up, in a folder of its own."""
    runs = {}

    def train(**settings):
        config = longer.replace(**settings)
        if config.digest() not in runs:
            run, _ = prepare(config, tmp_path_factory.mktemp("runs"), data=data)
            runs[config.digest()] = advance(run, data, views=views)
        return runs[config.digest()]

    return train


def with_warm_up_of(donor, run, data, views, folder):
    """Train a run like `run` after it took over the warm-up of one like `donor`."""
    donor, _ = prepare(donor.config, folder, data=data)
    advance(donor, data, "warm_up", views=views)
    copy, _ = prepare(run.config, folder, data=data)
    assert warm_ups.reuse(copy).folder == donor.folder
    assert (copy.epochs, copy.warmed_up) == (run.config.training.warm_up, True)
    return advance(copy, data, views=views)


@pytest.mark.parametrize("system", SHARING)
def test_the_systems_share_it_and_end_the_same_to_the_bit(run_of, data, views, tmp_path, system):
    run = run_of(system=system)
    for donor in SHARING:
        if donor != system:
            assert_same(with_warm_up_of(run_of(system=donor), run, data, views, tmp_path / donor), run)


@pytest.mark.parametrize("system", COMPANIONS)
def test_methods_with_companions_share_it_both_ways(run_of, data, views, tmp_path, system):
    for receiver, donor in ((system, "ipr"), ("ipr", system), (system, "dann")):
        if receiver != donor:
            run, folder = run_of(system=receiver), tmp_path / f"{receiver} of {donor}"
            assert_same(with_warm_up_of(run_of(system=donor), run, data, views, folder), run)


@pytest.mark.parametrize("system", SPECIAL)
def test_another_network_or_another_loss_of_d1_does_not_share_it(longer, system):
    key = warm_ups.key(longer.replace(system=system), "corpus", "code")
    assert key not in [warm_ups.key(longer.replace(system=name), "corpus", "code") for name in ("ipr", "dann")]
    assert key == warm_ups.key(longer.replace(system=system, mu=0.9), "corpus", "code")


@pytest.mark.parametrize("setting", sorted(LATER))
def test_a_setting_that_counts_later_shares_it(run_of, data, views, tmp_path, setting):
    run = run_of(**{setting: VALUES[setting]})
    assert_same(with_warm_up_of(run_of(), run, data, views, tmp_path), run)


def test_every_setting_that_counts_later_is_tried():
    assert VALUES.keys() == LATER


@pytest.mark.parametrize("system", ["baseline", "ipr"])
def test_prototypes_that_move_in_the_warm_up_are_not_shared_with_others(run_of, data, views, tmp_path, system):
    moving = run_of(system="ipr", warm_up_prototypes="moving")
    run = run_of(system=system, warm_up_prototypes="moving" if system == "baseline" else "means")
    assert warm_ups.run_key(moving) != warm_ups.run_key(run)
    donor = run_of(system="ipr", warm_up_prototypes="moving", mu=0.7)
    assert_same(with_warm_up_of(donor, moving, data, views, tmp_path), moving)


@pytest.mark.parametrize(
    "settings",
    [{"seed": 1}, {"stream": 1}, {"lr": 1e-3}, {"alpha": 0.5}, {"warm_up": 1}, {"batch_size": 4}, {"temperature": 0.5},
     {"unit_norm": False}, {"soft_label": "raw"}, {"embedding": 32}, {"dropout": 0.3}, {"map_size": 5},
     {"system": "baseline_augmented"}, {"system": "ipr", "gamma": 0.5, "warm_up_prototypes": "moving"}],
    ids=str,
)  # fmt: skip
def test_a_setting_that_counts_in_the_warm_up_does_not_share_it(longer, settings):
    key = warm_ups.key(longer, "corpus", "code")
    assert warm_ups.key(longer.replace(**settings), "corpus", "code") != key


def test_another_corpus_another_code_and_no_warm_up_share_nothing(longer):
    keys = [warm_ups.key(longer, *digests) for digests in itertools.product(("a", "b"), ("c", "d"))]
    assert len(set(keys)) == 4
    assert warm_ups.key(longer.replace(warm_up=0), "a", "c") is None
    assert warm_ups.key(longer, "a", None) is None


def test_gamma_counts_in_the_warm_up_only_where_prototypes_move(longer):
    keys = [warm_ups.key(longer.replace(gamma=gamma, system="ipr"), "corpus", "code") for gamma in (0.5, 0.9)]
    assert keys[0] == keys[1]


def test_nothing_is_taken_over_by_a_run_that_has_begun(run_of, longer, data, views, tmp_path):
    advance(prepare(longer.replace(system="baseline"), tmp_path, data=data)[0], data, "warm_up", views=views)
    run, _ = prepare(longer, tmp_path, data=data)
    stopped = Run(tmp_path / name(longer))
    with pytest.raises(StopIteration):
        advance(run, data, watch=_stop, views=views)
    assert warm_ups.reuse(stopped) is None
    assert stopped.epochs == 1
    assert_same(advance(stopped, data, views=views), run_of())


def test_a_kill_while_it_is_taken_over_does_no_harm(run_of, longer, data, views, tmp_path, monkeypatch):
    advance(prepare(longer.replace(system="baseline"), tmp_path, data=data)[0], data, "warm_up", views=views)
    link = warm_ups._link
    for moment in range(1, 5):  # two epochs, two states
        run, _ = prepare(longer.replace(map_size=longer.training.map_size), tmp_path, data=data)
        calls = itertools.count(1)

        def link_or_stop(file, target, calls=calls, moment=moment):
            if next(calls) == moment:
                raise KeyboardInterrupt
            link(file, target)

        monkeypatch.setattr(warm_ups, "_link", link_or_stop)
        with pytest.raises(KeyboardInterrupt):
            warm_ups.reuse(run)
    assert not (run.folder / "checkpoint.safetensors").exists()
    assert_same(advance(run, data, views=views), run_of())


def test_a_warm_up_is_on_disk_once(run_of, data, views, tmp_path):
    run = with_warm_up_of(run_of(), run_of(system="baseline"), data, views, tmp_path)
    donor = Run(tmp_path / name(run_of().config))
    assert (run.folder / "warm_up.safetensors").samefile(donor.folder / "warm_up.safetensors")
    assert not (run.folder / "checkpoint.safetensors").samefile(donor.folder / "warm_up.safetensors")


def test_an_encoder_that_is_trained_too_shares_it(tiny, data, tmp_path):
    views = shared_views(tiny, data)
    donor = advance(prepare(tiny.replace(system="supervised"), tmp_path, data=data)[0], data, views=views)
    run, _ = prepare(tiny, tmp_path, data=data)
    assert warm_ups.reuse(run).folder == donor.folder
    plain, _ = prepare(tiny, tmp_path / "plain", data=data)
    assert_same(advance(run, data, views=views), advance(plain, data, views=views))


def _stop(event):
    if isinstance(event, EpochEnd):
        raise StopIteration
