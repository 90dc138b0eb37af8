"""The session: which data the warm-up and each system may depend on, and how a step's views are passed."""

import dataclasses

import numpy as np
import pytest
import torch

from helpers.sessions import bits, ends, equal, finite, own_network, trained, weights
from ipr_core.config import TABLE3
from ipr_core.data.waves import WaveStore
from ipr_core.method.systems import SYSTEMS
from ipr_core.method.systems.step import terms
from ipr_core.method.systems.system import Network
from ipr_core.runs.events import to_json
from ipr_core.training.loop import refine, warm_up
from ipr_core.training.processes import device
from ipr_core.training.session import Session, map_sample


def test_every_system_is_the_same_at_the_end_of_the_warm_up(whole):
    results = {}
    ones_own = {
        name for name, system in SYSTEMS.items() if system.network != Network() or system.warm_up_terms is not terms
    }
    assert ones_own.isdisjoint(TABLE3)
    for system in SYSTEMS.keys() - ones_own:
        session = whole(system=system)
        (end,) = ends(warm_up(session))
        results[system] = weights(session), to_json(dataclasses.replace(end, clock={}))
    reference = results["ipr"]
    different = {name for name, (w, e) in results.items() if not (equal(w, reference[0]) and e == reference[1])}
    assert different == {name for name in results if SYSTEMS[name].precise_views > 1}


class Overlaid(WaveStore):
    """The same waves, but noise of the same length where the keys say so."""

    shuffled: frozenset[str] = frozenset()

    def __getitem__(self, i: int) -> np.ndarray:
        wave = super().__getitem__(i)
        if self.keys[i] not in self.shuffled:
            return wave
        return np.random.default_rng(i).integers(-9_000, 9_000, len(wave)).astype(np.int16)


def test_nothing_in_the_warm_up_depends_on_d2(whole, data, cache):
    store = Overlaid.build(data.table, cache, progress=False)
    store.shuffled = frozenset(data.waves.keys[row] for row in data.rows("D2"))
    noisy = dataclasses.replace(data, waves=store)
    plain, second = whole(), whole(data=noisy, views=None)
    assert not plain.embeddings[plain.d2].equal(second.embeddings[second.d2])
    ends(warm_up(plain))
    ends(warm_up(second))
    assert equal(weights(plain), weights(second))
    assert plain.prototypes.vectors.equal(second.prototypes.vectors)
    ends(refine(plain))
    ends(refine(second))
    assert not equal(weights(plain), weights(second))


@pytest.mark.parametrize("system", SYSTEMS)
def test_only_supervised_sees_d2s_labels(make, frozen, data, views, system):
    d2 = data.rows("D2")
    labels = data.table["label"].to_numpy(copy=True)
    labels[d2] = np.roll(labels[d2], 7)
    assert (labels != data.table["label"]).any()
    shuffled = dataclasses.replace(data, table=data.table.assign(label=labels))
    settings = {"system": system, "epochs": 2}
    plain, second = (
        make(**settings),
        Session(frozen.replace(**settings), shuffled, None if own_network(settings) else views),
    )
    assert equal(trained(plain), trained(second)) is (system != "supervised")


def test_nobody_is_trained_on_d3(make, frozen, data, views):
    d3 = data.rows("D3")
    labels = data.table["label"].to_numpy(copy=True)
    labels[d3] = np.roll(labels[d3], 5)
    shuffled = dataclasses.replace(data, table=data.table.assign(label=labels))
    plan = [rows for batch in make().plan(2) for rows in (batch.precise, batch.ambiguous)]
    assert not set(np.concatenate(plan)) & set(d3)
    assert equal(trained(make()), trained(Session(frozen, shuffled, views)))


def test_the_plan_is_alike_for_every_system(make):
    systems = [*TABLE3, "deep_spectrum", "dann", "pico"]
    plans = {system: [str(make(system=system).plan(epoch)) for epoch in range(3)] for system in systems}
    assert all(plan == plans["ipr"] for plan in plans.values())


def test_a_network_that_begins_from_nothing_goes_through_an_epoch_several_times(make):
    plain, several = make(system="ipr"), make(system="capsules")
    for epoch in range(2):
        plan, plans = plain.plan(epoch), several.plan(epoch)
        assert [str(batch) for batch in plans[: len(plan)]] == [str(batch) for batch in plan]
        turns = [str(plans[i : i + len(plan)]) for i in range(0, len(plans), len(plan))]
        assert len(plans) == 3 * len(plan)
        assert len(set(turns)) == 3
    assert str(make(system="capsules", epochs=9).plan(0)) == str(several.plan(0))  # shared warm-ups


def test_a_seed_and_a_stream(make, frozen, data):
    start = weights(make())
    other_stream, other_seed = (Session(frozen.replace(**{name: 1}), data) for name in ("stream", "seed"))
    assert equal(start, weights(other_stream))
    assert not equal(start, weights(other_seed))
    assert str(other_stream.plan(0)) != str(make().plan(0))
    assert not equal(trained(other_stream), trained(make()))


def test_random_numbers_do_not_depend_on_what_ran_before(make):
    disturbed = make()
    for _ in refine(disturbed):
        torch.rand(5)
        np.random.default_rng().random()
    assert equal(bits(disturbed), trained(make()))


def test_a_session_alone_is_as_one_with_shared_views(make, frozen, data):
    for settings in ({}, {"system": "baseline_augmented"}):
        assert equal(trained(make(**settings)), trained(Session(frozen.replace(**settings), data)))


def test_views_that_are_not_kept_give_the_same_training(frozen, data, make, monkeypatch):
    monkeypatch.setattr("ipr_core.training.views.BUDGET", 0)
    monkeypatch.setattr("ipr_core.training.tensor_store._SHARE_OF_DISK", 0)
    poor = Session(frozen, data)
    rich = make()
    torch.testing.assert_close(poor.embeddings, rich.embeddings, atol=1e-6, rtol=1e-6)
    a, b = ends(refine(poor)), ends(refine(rich))
    assert [end.confusion for end in a] == [end.confusion for end in b]
    np.testing.assert_allclose([end.losses["total"] for end in a], [end.losses["total"] for end in b], rtol=1e-4)


def test_views_passed_together_train_as_each_passed_alone(whole, monkeypatch):
    session = whole(dropout=0.0, encoder_noise=False)
    batch = session.begin_(1)[0]

    def losses_and_gradients() -> tuple[torch.Tensor, list[torch.Tensor]]:
        losses = session.system.refinement_terms(session.forward(batch, 1))
        session.optimizer.zero_grad()
        losses.total.backward()
        return losses.values(), [weight.grad for weight in session.model.parameters() if weight.grad is not None]

    values, gradients = losses_and_gradients()
    through = session.passes.forward

    def one_by_one(inputs, batch):
        return {name: through({name: padded}, batch)[name] for name, padded in inputs.items()}

    monkeypatch.setattr(session.passes, "forward", one_by_one)
    values_alone, gradients_alone = losses_and_gradients()
    torch.testing.assert_close(values, values_alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients, gradients_alone, atol=1e-5, rtol=1e-3)


def test_bf16_trains_and_evaluates_in_fp32_beyond_the_encoder(whole):
    session, usual = whole(precision="bf16", epochs=1), whole(epochs=1)
    (end,) = ends(refine(session))
    assert np.isfinite(list(end.losses.values())).all()
    assert session.classifier_soft.dtype == session.embeddings.dtype == torch.float32
    assert not equal(weights(session), weights(usual))
    in_fp32 = usual.embeddings.clone()
    usual.model.precision = "bf16"
    usual.evaluate_()
    assert not in_fp32.equal(usual.embeddings)
    torch.testing.assert_close(in_fp32, usual.embeddings, atol=0.05, rtol=0.1)


def test_a_batch_of_one_trains(make):
    session = make(batch_size=1, epochs=2)
    assert finite(session)
    assert len(session.plan(1)) == len(session.d2)


def test_the_maps_sample_is_a_function_of_the_ids(data):
    sample = map_sample(data, 20)
    assert sample.tolist() == sorted(set(sample))
    assert set(map_sample(data, 10)) < set(sample)
    assert len(map_sample(data, 1000)) == len(data.table)
    turned = dataclasses.replace(data, table=data.table.iloc[::-1].reset_index(drop=True))
    assert set(turned.table["id"][map_sample(turned, 20)]) == set(data.table["id"][sample])


def test_pooled_vectors_are_standardised_by_d1(make, views):
    session = make()
    pooled = session.model.pooled(*views.clean(session.d1))
    standard = (pooled - session.model.mean) / session.model.deviation
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(96), atol=1e-5, rtol=0)
    torch.testing.assert_close(standard.std(dim=0, correction=0), torch.ones(96), atol=1e-3, rtol=0)
    assert make(standardise=False).model.deviation.equal(torch.ones(96))


def test_devices():
    assert device("cpu") == torch.device("cpu")
    assert device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("system", ["baseline", "baseline_augmented", "supervised", "ipr"])
@pytest.mark.parametrize("warm_up", [0, 1])
def test_what_is_expected_of_the_views_is_what_a_step_asks_for(frozen, data, views, monkeypatch, system, warm_up):
    session = Session(frozen.replace(system=system, warm_up=warm_up), data, views)
    assert session.passes.memory.part(*session.longest_step) is None  # it is estimated, by a view too
    expected, requests = [], []
    monkeypatch.setattr(views, "expect", lambda rows, epoch: expected.extend((*map(int, r), aug) for r, aug in rows))
    clean, augmented = views.clean, views.augmented
    monkeypatch.setattr(views, "clean", lambda rows: requests.append((*map(int, rows), False)) or clean(rows))
    monkeypatch.setattr(
        views, "augmented", lambda rows, e: requests.append((*map(int, rows), True)) or augmented(rows, e)
    )
    for batch in session.begin_(0):
        session.forward(batch, 0)
    assert requests == expected
    assert expected
