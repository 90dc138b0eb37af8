"""The session and the loop: what each phase may depend on, every reading once, and going on from a state."""

import dataclasses
from typing import Literal, get_args, get_origin

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ipr_core.config import FIELDS, TABLE3, paper
from ipr_core.data.waves import WaveStore
from ipr_core.method.prototypes import Prototypes
from ipr_core.method.systems import SYSTEMS
from ipr_core.method.systems.step import terms
from ipr_core.method.systems.system import Network
from ipr_core.runs.events import EpochEnd, StepEnd, to_json
from ipr_core.training.loop import refine, warm_up
from ipr_core.training.session import Session, device, map_sample


@pytest.fixture(scope="module")
def make(frozen, data, views):
    """Settings → a session with the frozen encoder, before its first epoch."""

    def make(state=None, **settings) -> Session:
        return Session(frozen.replace(**settings), data, None if own_network(settings) else views, state)

    return make


@pytest.fixture(scope="module")
def whole(tiny, data):
    """Settings → a session whose encoder is trained too."""
    views = Session(tiny, data).views

    def whole(data=data, views=views, state=None, **settings) -> Session:
        return Session(tiny.replace(**settings), data, views, state)

    return whole


def own_network(settings) -> bool:
    """Whether a system hears the corpus through an encoder of its own."""
    return SYSTEMS[settings.get("system", "ipr")].network.encoder is not None


def ends(events) -> list[EpochEnd]:
    return [event for event in events if isinstance(event, EpochEnd)]


def bits(session: Session) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in session.state().items()}


def weights(session: Session) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in session.model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)


def trained(session: Session) -> dict[str, torch.Tensor]:
    ends(refine(session))
    return bits(session)


# What the warm-up and the systems may depend on.


def test_every_system_is_the_same_at_the_end_of_the_warm_up(whole):
    found = {}
    ones_own = {name for name, of in SYSTEMS.items() if of.network != Network() or of.warm_up is not terms}
    assert ones_own.isdisjoint(TABLE3)
    for system in SYSTEMS.keys() - ones_own:
        session = whole(system=system)
        (end,) = ends(warm_up(session))
        found[system] = weights(session), to_json(dataclasses.replace(end, clock={}))
    one = found["ipr"]
    others = {name for name, (w, e) in found.items() if not (same(w, one[0]) and e == one[1])}
    assert others == {name for name in found if SYSTEMS[name].precise_views > 1}


class Overlaid(WaveStore):
    """The same waves, but noise of the same length where the keys say so."""

    hidden: frozenset[str] = frozenset()

    def __getitem__(self, i: int) -> np.ndarray:
        wave = super().__getitem__(i)
        if self.keys[i] not in self.hidden:
            return wave
        return np.random.default_rng(i).integers(-9_000, 9_000, len(wave)).astype(np.int16)


def test_nothing_in_the_warm_up_depends_on_d2(whole, data, cache):
    store = Overlaid.build(data.table, cache, progress=False)
    store.hidden = frozenset(data.waves.keys[row] for row in data.rows("D2"))
    noisy = dataclasses.replace(data, waves=store)
    plain, other = whole(), whole(data=noisy, views=None)
    assert not plain.embeddings[plain.d2].equal(other.embeddings[other.d2])
    ends(warm_up(plain))
    ends(warm_up(other))
    assert same(weights(plain), weights(other))
    assert plain.prototypes.vectors.equal(other.prototypes.vectors)
    ends(refine(plain))
    ends(refine(other))
    assert not same(weights(plain), weights(other))


@pytest.mark.parametrize("system", SYSTEMS)
def test_only_supervised_sees_d2s_labels(make, frozen, data, views, system):
    d2 = data.rows("D2")
    labels = data.table["label"].to_numpy(copy=True)
    labels[d2] = np.roll(labels[d2], 7)
    assert (labels != data.table["label"]).any()
    hidden = dataclasses.replace(data, table=data.table.assign(label=labels))
    asked = {"system": system, "epochs": 2}
    plain, other = make(**asked), Session(frozen.replace(**asked), hidden, None if own_network(asked) else views)
    assert same(trained(plain), trained(other)) is (system != "supervised")


def test_nobody_is_trained_on_d3(make, frozen, data, views):
    d3 = data.rows("D3")
    labels = data.table["label"].to_numpy(copy=True)
    labels[d3] = np.roll(labels[d3], 5)
    hidden = dataclasses.replace(data, table=data.table.assign(label=labels))
    plan = [rows for batch in make().plan(2) for rows in (batch.precise, batch.ambiguous)]
    assert not set(np.concatenate(plan)) & set(d3)
    assert same(trained(make()), trained(Session(frozen, hidden, views)))


def test_the_plan_is_alike_for_every_system(make):
    some = [*TABLE3, "capsules", "dann", "pico"]
    plans = {system: [str(make(system=system).plan(epoch)) for epoch in range(3)] for system in some}
    assert all(plan == plans["ipr"] for plan in plans.values())


def test_a_seed_and_a_stream(make, frozen, data):
    start = weights(make())
    other_stream, other_seed = (Session(frozen.replace(**{name: 1}), data) for name in ("stream", "seed"))
    assert same(start, weights(other_stream))
    assert not same(start, weights(other_seed))
    assert str(other_stream.plan(0)) != str(make().plan(0))
    assert not same(trained(other_stream), trained(make()))


def test_random_numbers_do_not_depend_on_what_ran_before(make):
    disturbed = make()
    for _ in refine(disturbed):
        torch.rand(5)
        np.random.default_rng().random()
    assert same(bits(disturbed), trained(make()))


def test_a_session_alone_is_as_one_with_shared_views(make, frozen, data):
    for settings in ({}, {"system": "baseline_augmented"}):
        assert same(trained(make(**settings)), trained(Session(frozen.replace(**settings), data)))


def test_views_that_are_not_kept_give_the_same_training(frozen, data, make, monkeypatch):
    monkeypatch.setattr("ipr_core.training.views.BUDGET", 0)
    poor = Session(frozen, data)
    rich = make()
    torch.testing.assert_close(poor.embeddings, rich.embeddings, atol=1e-6, rtol=1e-6)
    a, b = ends(refine(poor)), ends(refine(rich))
    assert [end.confusion for end in a] == [end.confusion for end in b]
    np.testing.assert_allclose([end.losses["total"] for end in a], [end.losses["total"] for end in b], rtol=1e-4)


# Every reading.

READINGS = [
    (name, value)
    for name, (section, field) in FIELDS.items()
    if section == "method" and (get_origin(field.annotation) is Literal or field.annotation is bool)
    for value in (get_args(field.annotation) or (False, True))
]


def finite(session: Session) -> bool:
    """Train to the end: all losses and all of the state are finite."""
    found = [end.losses[name] for end in ends(refine(session)) for name in end.losses]
    return np.isfinite(found).all() and all(value.isfinite().all() for value in session.state().values())


@pytest.mark.parametrize(("name", "value"), READINGS)
def test_every_reading_trains(make, name, value):
    session = make(**{"epochs": 2, name: value})
    assert finite(session)
    torch.testing.assert_close(session.soft.sum(dim=1), torch.ones(len(session.soft)))


CHANGED = [(name, value) for name, value in READINGS if value != FIELDS[name][1].default]
MATTERS = {
    "compare_when": {"compare_when": "epoch"},
    "compare_mode": {"compare_when": "step"},
    "warm_up_prototypes": {"after_warm_up": "move", "warm_up": 2},  # an anchor forgets the warm-up
}
"""Settings that a reading makes a difference under, where the usual ones are not such."""


@pytest.mark.parametrize(("name", "value"), CHANGED)
def test_every_reading_makes_a_difference(make, name, value):
    usual = {"compare_when": "step", "gamma": 0.5, "lr": 5e-3} | MATTERS.get(name, {})
    one, other = make(**usual), make(**usual | {name: value})
    assert finite(one)
    assert finite(other)
    assert not same(bits(one), bits(other))


@pytest.mark.parametrize("settings", [{"embedding": 0}, {"embedding": 0, "pooling": "mean+deviation"}])
def test_the_paper_preset_trains(make, frozen, data, settings):
    printed = {name: value for name, value in paper().settings().items() if FIELDS[name][0] == "method"}
    session = Session(frozen.replace(standardise=False, **printed, **settings), data)
    assert finite(session)


def test_views_passed_together_train_as_each_passed_alone(whole, monkeypatch):
    session = whole(dropout=0.0, encoder_noise=False)
    batch = session.begin_(1)[0]

    def passed() -> tuple[torch.Tensor, list[torch.Tensor]]:
        losses = session.system.refine(session.forward(batch, 1))
        session.optimizer.zero_grad()
        losses.total.backward()
        return losses.values(), [weight.grad for weight in session.model.parameters() if weight.grad is not None]

    values, gradients = passed()
    through = session._through

    def one_by_one(inputs, batch):
        return {name: through({name: padded}, batch)[name] for name, padded in inputs.items()}

    monkeypatch.setattr(session, "_through", one_by_one)
    values_alone, gradients_alone = passed()
    torch.testing.assert_close(values, values_alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients, gradients_alone, atol=1e-5, rtol=1e-3)


def test_bf16_trains_and_evaluates_in_fp32_beyond_the_encoder(whole):
    session, usual = whole(precision="bf16", epochs=1), whole(epochs=1)
    (end,) = ends(refine(session))
    assert np.isfinite(list(end.losses.values())).all()
    assert session.own.dtype == session.embeddings.dtype == torch.float32
    assert not same(weights(session), weights(usual))
    here = usual.embeddings.clone()
    usual.model.bf16 = True
    usual.evaluate_()
    assert not here.equal(usual.embeddings)
    torch.testing.assert_close(here, usual.embeddings, atol=0.05, rtol=0.1)


def test_a_batch_of_one_trains(make):
    session = make(batch_size=1, epochs=2)
    assert finite(session)
    assert len(session.plan(1)) == len(session.d2)


# Soft labels and prototypes.


def class_means(session: Session) -> torch.Tensor:
    """Eq. 2 literally, on unit vectors."""
    q, y = F.normalize(session.embeddings[session.d1], dim=1), session.labels[session.d1]
    means = [torch.stack([v for v, label in zip(q, y, strict=True) if label == c]).mean(dim=0) for c in range(4)]
    return F.normalize(torch.stack(means), dim=1)


@pytest.mark.parametrize("system", ["ipr", "baseline"])
def test_prototypes_are_class_means_before_and_after_each_epoch_of_the_warm_up(make, system):
    session = make(system=system, warm_up=2)
    torch.testing.assert_close(session.prototypes.vectors, class_means(session))
    for event in warm_up(session):
        if isinstance(event, EpochEnd):
            torch.testing.assert_close(session.prototypes.vectors, class_means(session))


def test_without_moves_prototypes_are_class_means_to_the_end(make):
    for system in SYSTEMS.keys() - {"deep_spectrum"}:
        session = make(system=system)
        if session.system.moves_prototypes or session.companion.prototypes is not None:
            continue
        ends(refine(session))
        torch.testing.assert_close(session.prototypes.vectors, class_means(session))


def test_soft_labels_of_an_epoch_are_those_of_its_evaluation(make, data, views):
    session = make()
    session.model.train()
    ends(refine(session))
    session.model.eval()
    with torch.no_grad():
        embedding, logits = session.model(*views.clean(range(len(data.table))))
    torch.testing.assert_close(session.embeddings, embedding)
    torch.testing.assert_close(session.own, logits.softmax(dim=1))
    cosine = F.normalize(embedding, dim=1) @ session.prototypes.vectors.T
    torch.testing.assert_close(session.soft, (cosine / 0.1).softmax(dim=1))


def one_step(session: Session):
    """The first step of the first refinement epoch, forward only."""
    ends(warm_up(session))
    batch = session.begin_(1)[0]
    torch.manual_seed(0)
    return batch.ambiguous, session.forward(batch, 1)


def test_labels_once_an_epoch_come_from_the_evaluation_before_it(make):
    for system in ("ipr", "baseline_plus", "baseline_plus_contrastive"):
        session = make(system=system)
        rows, step = one_step(session)
        assert step.classifier_soft.equal(session.own[rows])
        assert step.prototype_soft.equal(session.soft[rows])
        assert step.compared.equal(session.embeddings[rows])
        assert step.truth.equal(session.labels[rows])
        assert not step.classifier_soft.requires_grad
        assert not step.ambiguous.logits.softmax(dim=1).allclose(step.classifier_soft)  # dropout is on


def test_labels_at_each_step_come_from_the_mode_that_is_asked_for(make):
    session = make(compare_when="step", compare_mode="training")
    _, step = one_step(session)
    assert step.compared.equal(step.ambiguous.embedding)
    assert step.prototype_soft.equal(session.prototypes.soft(step.ambiguous.embedding))
    session = make(compare_when="step", compare_mode="evaluation")
    rows, step = one_step(session)
    torch.testing.assert_close(step.compared, session.embeddings[rows])  # no step was made since the evaluation
    assert not step.compared.allclose(step.ambiguous.embedding)
    assert session.model.training


@pytest.mark.parametrize("after", get_args(FIELDS["after_warm_up"][1].annotation))
def test_prototypes_after_the_warm_up_once_an_epoch(make, after):
    session = make(after_warm_up=after, gamma=0.9)
    for event in refine(session):
        if isinstance(event, StepEnd) or event.phase == "warm_up":
            before = session.prototypes.vectors.clone()
            continue
        bank = Prototypes(4, 64, session.config.method)
        bank.vectors = class_means(session) if "anchor" in after else before
        for batch in session.plan(event.epoch) if "move" in after else []:
            bank.move_(session.embeddings[batch.ambiguous], session.agreed[batch.ambiguous])
        torch.testing.assert_close(session.prototypes.vectors, bank.vectors)
        assert session.prototypes.vectors.equal(before) is (after == "keep")


def test_prototypes_move_at_each_step_where_that_is_asked_for(make):
    session = make(compare_when="step", after_warm_up="anchor+move", gamma=0.9, gate="none")
    ends(warm_up(session))
    seen = [session.prototypes.vectors.clone()]
    for event in refine(session):
        seen.append(session.prototypes.vectors.clone())
        if isinstance(event, EpochEnd):
            assert seen[-1].equal(seen[-2])  # the evaluation after the epoch moves nothing
        else:
            assert not seen[-1].equal(seen[-2])
    session.begin_(2)
    torch.testing.assert_close(session.prototypes.vectors, class_means(session))


def test_a_moving_average_starts_from_the_means_of_the_first_epoch(make):
    session = make(warm_up=2, warm_up_prototypes="moving", gamma=0.9)
    bank = Prototypes(4, 64, session.config.method)
    for event in warm_up(session):
        if not isinstance(event, EpochEnd):
            continue
        if event.epoch == 0:
            bank.vectors = class_means(session)
        else:
            bank.follow_(session.embeddings[session.d1], session.labels[session.d1])
        torch.testing.assert_close(session.prototypes.vectors, bank.vectors)
    assert not session.prototypes.vectors.allclose(class_means(session))


# The gate, β and the event.


def test_the_gates_flags_are_of_d2_and_of_this_epoch(make):
    session = make()
    *_, end = ends(refine(session))
    assert (session.agreed[session.d1] == -1).all()
    assert (session.agreed[session.d3] == -1).all()
    assert session.agreed[session.d2].max() < 4
    assert end.gate == pytest.approx((session.agreed[session.d2] >= 0).float().mean().item())
    session.begin_(2)
    assert (session.agreed == -1).all()


def test_there_is_a_gate_only_where_it_says_anything_and_d2_has_two_views(make):
    assert [name for name in TABLE3 if SYSTEMS[name].shows_gate] == ["baseline_plus_contrastive", "ipr"]
    assert all(system.ambiguous_views > 1 for system in SYSTEMS.values() if system.shows_gate)
    for system in SYSTEMS.keys() - {"deep_spectrum"}:
        first, *later = ends(refine(make(system=system)))
        assert first.gate is None
        assert {end.gate is not None for end in later} == {SYSTEMS[system].shows_gate}


def test_the_flag_is_the_class_on_which_both_views_agree(make):
    session = make()
    ends(warm_up(session))
    batch = session.begin_(1)[0]
    step = session.forward(batch, 1)
    session.note_(step)
    pairs = zip(step.ambiguous.logits.argmax(1), step.ambiguous_augmented.logits.argmax(1), strict=True)
    assert session.agreed[batch.ambiguous].tolist() == [int(a) if a == b else -1 for a, b in pairs]


def test_beta_by_hand(make):
    # r = 10, w = 0.5, E = 3: at e = 1 0.5 (10^(2/3) − 1) / 9, from e = 1.5 on 0.5; nothing in the warm-up
    session = make()
    expected = [0, 0.5 * (10 ** (2 / 3) - 1) / 9, 0.5]
    assert [session.beta(epoch) for epoch in range(3)] == pytest.approx(expected)
    assert [end.beta for end in ends(refine(session))] == pytest.approx(expected)
    later = make(beta_from="warm_up")  # E = 2, e = 0 and 1
    assert [later.beta(epoch) for epoch in range(3)] == pytest.approx([0, 0, 0.5])


def test_the_event_by_hand(make, data):
    session = make()
    steps, end = [], None
    for event in refine(session):
        if isinstance(event, StepEnd):
            steps.append(event)
        elif event.epoch < 2:
            steps = []
        end = event
    d2, d3, truth = session.d2, session.d3, data.labels
    model, prototypes = session.own.argmax(1).numpy(), session.soft.argmax(1).numpy()
    assert end.steps == len(steps) == steps[-1].steps == 4
    assert [step.step for step in steps] == [1, 2, 3, 4]
    assert list(end.losses.values()) == pytest.approx(torch.stack([s.values for s in steps]).mean(0).tolist())
    total = end.losses["precise"] + end.beta * end.losses["ambiguous"] + 0.2 * end.losses["contrastive"]
    assert end.losses["total"] == pytest.approx(total, rel=1e-5)
    assert end.accuracy == np.trace(end.confusion) / len(d3) == np.mean(model[d3] == truth[d3])
    assert np.sum(end.confusion, axis=1).tolist() == np.bincount(truth[d3], minlength=4).tolist()
    assert end.agreement_model == np.mean(model[d2] == truth[d2])
    assert end.agreement_prototypes == np.mean(prototypes[d2] == truth[d2])
    assert end.accuracy_prototypes == np.mean(prototypes[d3] == truth[d3])
    assert end.labels_model == np.bincount(model[d2], minlength=4).tolist()
    assert sum(end.labels_prototypes) == len(d2)
    np.testing.assert_allclose(np.diag(end.cosines), 1, rtol=1e-5)
    vectors = end.arrays["prototypes"] / np.linalg.norm(end.arrays["prototypes"], axis=1, keepdims=True)
    np.testing.assert_allclose(end.cosines, vectors @ vectors.T, atol=1e-6)
    np.testing.assert_array_equal(end.arrays["map"], session.embeddings[session.sample].numpy())
    np.testing.assert_allclose(end.arrays["soft_prototypes"], session.soft.numpy(), atol=1e-3)


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


# The loop, and going on.


def test_the_loop_can_be_stopped_and_gone_on_with(make):
    plain, stopped = make(), make()
    whole = [to_json(dataclasses.replace(end, clock={})) for end in ends(refine(plain))]
    first = ends(warm_up(stopped))
    assert ends(warm_up(stopped)) == []
    assert [to_json(dataclasses.replace(end, clock={})) for end in first + ends(refine(stopped))] == whole
    assert ends(refine(stopped)) == []
    assert same(bits(plain), bits(stopped))


@pytest.mark.parametrize("settings", [{}, {"compare_when": "step", "system": "ipr"}, {"system": "baseline_augmented"}])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_state_goes_on_to_the_bit(make, settings, epoch):
    goes_on_to_the_bit(lambda **state: make(**state, **settings), epoch)


def test_a_state_of_a_trained_encoder_goes_on_to_the_bit(whole):
    goes_on_to_the_bit(whole, 2)


def goes_on_to_the_bit(make_session, epoch: int) -> None:
    plain = make_session()
    state = next(bits(plain) for event in refine(plain) if isinstance(event, EpochEnd) and event.epoch == epoch - 1)
    rest = ends(refine(plain))
    again = make_session(state=state)
    assert again.epoch == epoch
    assert same(bits(again), state)
    assert ends(refine(again)) == rest
    assert same(bits(again), bits(plain))


def test_a_state_of_another_model_is_refused(make, whole):
    with pytest.raises(ValueError, match="the checkpoint is of another model"):
        make(state=bits(whole()))


def test_what_goes_on_evaluates_nothing_again(make, monkeypatch):
    state = bits(make())
    monkeypatch.setattr(Session, "evaluate_", None)
    monkeypatch.setattr(Session, "_pooled", None)
    assert same(bits(make(state=state)), state)


def test_devices():
    assert device("cpu") == torch.device("cpu")
    assert device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("system", ["baseline", "baseline_augmented", "supervised", "ipr"])
@pytest.mark.parametrize("warm_up", [0, 1])
def test_what_is_expected_of_the_views_is_what_a_step_asks_for(frozen, data, views, monkeypatch, system, warm_up):
    session = Session(frozen.replace(system=system, warm_up=warm_up), data, views)
    expected, asked = [], []
    monkeypatch.setattr(views, "expect", lambda rows, epoch: expected.extend((*map(int, r), aug) for r, aug in rows))
    clean, augmented = views.clean, views.augmented
    monkeypatch.setattr(views, "clean", lambda rows: asked.append((*map(int, rows), False)) or clean(rows))
    monkeypatch.setattr(views, "augmented", lambda rows, e: asked.append((*map(int, rows), True)) or augmented(rows, e))
    for batch in session.begin_(0):
        session.forward(batch, 0)
    assert asked == expected
    assert expected
