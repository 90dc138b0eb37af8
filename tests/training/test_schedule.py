"""The prototypes' schedule in a session: labels and moves once an epoch or at each step, and the gate."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from helpers.sessions import ends
from ipr_core.config import FIELDS, TABLE3
from ipr_core.method.prototypes import Prototypes
from ipr_core.method.systems import SYSTEMS
from ipr_core.runs.events import EpochEnd, StepEnd
from ipr_core.training.loop import refine, warm_up
from ipr_core.training.session import Session


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
    torch.testing.assert_close(session.classifier_soft, logits.softmax(dim=1))
    cosine = F.normalize(embedding, dim=1) @ session.prototypes.vectors.T
    torch.testing.assert_close(session.schedule.soft, (cosine / 0.1).softmax(dim=1))


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
        assert step.classifier_soft.equal(session.classifier_soft[rows])
        assert step.prototype_soft.equal(session.schedule.soft[rows])
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


@pytest.mark.parametrize("reading", get_args(FIELDS["after_warm_up"][1].annotation))
def test_prototypes_after_the_warm_up_once_an_epoch(make, reading):
    session = make(after_warm_up=reading, gamma=0.9)
    for event in refine(session):
        if isinstance(event, StepEnd) or event.phase == "warm_up":
            old = session.prototypes.vectors.clone()
            continue
        bank = Prototypes(4, 64, session.config.method)
        bank.vectors = class_means(session) if "anchor" in reading else old
        for batch in session.plan(event.epoch) if "move" in reading else []:
            bank.move_(session.embeddings[batch.ambiguous], session.schedule.classes[batch.ambiguous])
        torch.testing.assert_close(session.prototypes.vectors, bank.vectors)
        assert session.prototypes.vectors.equal(old) is (reading == "keep")


def test_prototypes_move_at_each_step_where_that_is_asked_for(make):
    session = make(compare_when="step", after_warm_up="anchor+move", gamma=0.9, gate="none")
    ends(warm_up(session))
    history = [session.prototypes.vectors.clone()]
    for event in refine(session):
        history.append(session.prototypes.vectors.clone())
        if isinstance(event, EpochEnd):
            assert history[-1].equal(history[-2])  # the evaluation after the epoch moves nothing
        else:
            assert not history[-1].equal(history[-2])
    session.schedule.before_epoch_(2, session.embeddings)
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


def test_the_views_classes_are_of_d2_and_of_this_epoch(make):
    session = make()
    *_, end = ends(refine(session))
    classes = session.schedule.classes.classifier
    assert (classes[session.d1] == -1).all()
    assert (classes[session.d3] == -1).all()
    assert set(classes[session.d2].unique().tolist()) <= {0, 1, 2, 3}
    agreement = classes[session.d2][:, 0] == classes[session.d2][:, 1]
    assert end.gate == pytest.approx(agreement.float().mean().item())
    session.schedule.before_epoch_(2, session.embeddings)
    assert (session.schedule.classes.classifier == -1).all()


def test_there_is_a_gate_only_where_it_says_anything_and_d2_has_two_views(make):
    assert [name for name in TABLE3 if SYSTEMS[name].shows_gate] == ["baseline_plus_contrastive", "ipr"]
    assert all(system.ambiguous_views > 1 for system in SYSTEMS.values() if system.shows_gate)
    for system in SYSTEMS.keys() - {"deep_spectrum"}:
        first, *later = ends(refine(make(system=system)))
        assert first.gate is None
        assert {end.gate is not None for end in later} == {SYSTEMS[system].shows_gate}


def test_the_views_classes_are_those_of_their_logits(make):
    session = make()
    ends(warm_up(session))
    batch = session.begin_(1)[0]
    step = session.forward(batch, 1)
    session.schedule.after_step_(step)
    pairs = zip(step.ambiguous.logits.argmax(1), step.ambiguous_augmented.logits.argmax(1), strict=True)
    assert session.schedule.classes.classifier[batch.ambiguous].tolist() == [[int(a), int(b)] for a, b in pairs]


# What D2's moves did.


@pytest.mark.parametrize("when", ["epoch", "step"])
@pytest.mark.parametrize("reading", get_args(FIELDS["after_warm_up"][1].annotation))
def test_an_epoch_says_which_labels_d2s_moves_changed(make, when, reading):
    """Labels by the prototypes before the first move and after the last, both of the embeddings after the epoch."""
    session = make(after_warm_up=reading, compare_when=when, gamma=0.3, gate="none", epochs=3)
    start = means = None
    for event in refine(session):
        if isinstance(event, StepEnd):
            continue
        if event.phase == "warm_up":
            assert (event.labels_changed, event.labels_beyond_d1, event.angles) == (None, None, None)
        else:
            vectors, k = session.prototypes.vectors, F.normalize(session.embeddings[session.d2], dim=1)
            if "anchor" in reading:
                start = class_means(session) if when == "epoch" else means
            labels = (k @ vectors.T).argmax(dim=1)
            assert event.labels_changed == int((labels != (k @ start.T).argmax(dim=1)).sum())
            assert event.labels_beyond_d1 == int((labels != (k @ class_means(session).T).argmax(dim=1)).sum())
            cosine = F.cosine_similarity(start.double(), vectors.double()).clamp(max=1)
            assert event.angles == pytest.approx(cosine.acos().rad2deg().tolist(), abs=0.05)
            assert any(event.angles) is ("move" in reading)
        start, means = session.prototypes.vectors.clone(), class_means(session)


def test_d2_changes_no_label_where_it_moves_nothing(make):
    for system in ("baseline", "baseline_plus", "baseline_plus_contrastive", "pico"):
        assert {end.labels_changed for end in ends(refine(make(system=system)))} == {None}
    assert {end.labels_changed for end in ends(refine(make(gamma=1.0)))} == {None, 0}


def test_a_gamma_that_long_embeddings_make_meaningless_is_warned_of_once(make, caplog):
    session = make(embedding=0, unit_norm=False, soft_label="raw", gamma=0.99)
    ends(refine(session))
    (record,) = caplog.records
    for words in (
        "gamma 0.99 means little here: one utterance makes",
        ", not 1 % of it",
        "with unit_norm true it would",
    ):
        assert words in record.getMessage()


QUIET = [{}, {"embedding": 0, "unit_norm": False, "after_warm_up": "anchor"}, {"gamma": 1.0}, {"system": "baseline"}]


@pytest.mark.parametrize("settings", QUIET)
def test_a_gamma_that_means_what_it_says_is_not_warned_of(make, caplog, settings):
    ends(refine(make(**settings)))
    assert not caplog.records
