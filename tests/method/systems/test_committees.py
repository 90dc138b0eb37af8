"""MCIL and majority voting: the members' losses and their common labels."""

import pytest
import torch

from helpers.steps import B, C, D, make_step, random_shares, random_tensor, random_view
from ipr_core.config import Encoder, demo
from ipr_core.method import equations as eq
from ipr_core.method.systems import SYSTEMS, majority, mcil
from ipr_core.method.systems.step import Step
from ipr_core.training.model import build_model


def test_mean_distribution_and_vote_shares_by_hand():
    scores = torch.log(torch.tensor([[[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]]]))
    assert mcil.mean_distribution(scores).exp()[0].tolist() == pytest.approx([1.3 / 3, 1.4 / 3, 0.3 / 3])
    assert majority.vote_shares(scores)[0].tolist() == pytest.approx([(2 + 1.3 / 3) / 4, (1 + 1.4 / 3) / 4, 0.3 / 12])
    # the mean prefers the second class, the majority the first
    assert eq.pseudo_labels(mcil.mean_distribution(scores)).item() == 1
    assert eq.pseudo_labels(majority.vote_shares(scores)).item() == 0


def test_ties_of_votes_are_broken_by_the_mean():
    scores = torch.log(torch.tensor([[[0.9, 0.1], [0.4, 0.6]]]))
    assert eq.pseudo_labels(majority.vote_shares(scores)).item() == 0


def test_members_are_different_and_each_learns_from_the_label_of_all():
    torch.manual_seed(0)
    choice = Encoder(embedding=3)
    members, committee = mcil.Members(D, choice), mcil.Committee(12, C, choice)
    scores = committee(members(random_tensor(B, D)))
    assert scores.shape == (B, 4, C)
    target = random_shares(B, C)
    literal = sum(eq.cross_entropy(scores[:, m], target).item() for m in range(4)) / 4
    loss = mcil.members_loss(scores, target)
    assert loss.item() == pytest.approx(literal)
    loss.backward()
    assert all(parameter.grad.any() for parameter in (*members.parameters(), *committee.parameters()))
    assert len({tuple(map(type, way.modules())) for way in members.ways}) == 4


@pytest.mark.parametrize(("system", "target"), [("mcil", "soft"), ("majority", "majority")])
def test_d2s_label_is_the_committees(system, target):
    step = make_step(system, **{name: random_view(seed, random_tensor(B, 3, C, seed=seed)) for name, seed in PARTS})
    label = step.classifier_soft if target == "soft" else step.classifier_soft.argmax(dim=1)
    terms = SYSTEMS[system].refinement_terms(step)
    assert terms.ambiguous.item() == pytest.approx(mcil.members_loss(step.ambiguous.scores, label).item())
    assert terms.precise.item() == pytest.approx(mcil.members_loss(step.precise.scores, step.labels).item())
    assert terms.beta == 0.3


PARTS = (("precise", 1), ("ambiguous", 5), ("ambiguous_augmented", 9))


def committee_step(system: str) -> Step:
    """Make a step whose views are a committee's."""
    scores = {name: random_tensor(B, 3, C, seed=seed) for name, seed in PARTS}
    views = {name: random_view(seed, scores[name], mcil.mean_distribution(scores[name])) for name, seed in PARTS}
    return make_step(system, **views)


def test_the_committee_on_d1_alone_is_mcil_without_d2():
    step = committee_step("committee")
    terms, warm_up = SYSTEMS["committee"].refinement_terms(step), SYSTEMS["mcil"].warm_up_terms(step)
    assert terms.total.item() == warm_up.total.item() == SYSTEMS["mcil"].refinement_terms(step).precise.item()
    assert SYSTEMS["committee"].ambiguous_views == 0
    assert SYSTEMS["committee"].network == SYSTEMS["mcil"].network


def test_ipr_by_committee_is_ipr_whose_members_each_learn_the_labels():
    step = committee_step("ipr_committee")
    terms, plain = SYSTEMS["ipr_committee"].refinement_terms(step), SYSTEMS["ipr"].refinement_terms(step)
    assert terms.contrastive.item() == plain.contrastive.item()
    members = step.ambiguous.scores.unbind(dim=1)
    literal = sum(eq.cross_entropy(logits, step.prototype_labels).item() for logits in members) / 3
    assert terms.ambiguous.item() == pytest.approx(literal)
    assert terms.precise.item() == pytest.approx(mcil.members_loss(step.precise.scores, step.labels).item())
    assert terms.ambiguous.item() != pytest.approx(plain.ambiguous.item())
    ipr, mine = SYSTEMS["ipr"], SYSTEMS["ipr_committee"]
    for name in ("ambiguous_views", "moves_prototypes", "shows_prototypes", "shows_gate", "shows_beta", "companion"):
        assert getattr(mine, name) == getattr(ipr, name)


def test_controls_and_rivals_of_one_network_have_as_many_parameters():
    names = ("committee", "ipr_committee", "mcil", "majority")
    counts = {name: count(build_model(demo(system=name))) for name in names}
    assert len(set(counts.values())) == 1
    assert counts["mcil"] > count(build_model(demo(system="ipr")))


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
