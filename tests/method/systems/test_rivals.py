"""All methods that IPR is compared with: the paper's figures, prototypes, and `own_weight`."""

import pytest
import torch

from helpers.steps import B, C, make_step, random_tensor, random_view
from ipr_core.config import BEYOND, TABLE2
from ipr_core.method.systems import SYSTEMS
from ipr_core.names import CONTROLS, GROUPS


def test_every_row_of_table_2_has_the_papers_figure_and_no_other_system_has():
    printed = [59.2, 58.0, 57.8, 58.55, 65.0, 67.0, 65.0, 65.75, 68.5, 68.75]
    assert [SYSTEMS[name].printed_accuracy for name in TABLE2] == printed
    assert {SYSTEMS[name].printed_accuracy for name in (*CONTROLS, *BEYOND)} == {None}


def test_a_word_stands_for_several_systems():
    assert set(CONTROLS) < set(GROUPS["all"]) <= set(SYSTEMS)
    assert set().union(*(GROUPS[word] for word in ("table3", "table2", "controls", "beyond"))) <= set(SYSTEMS)
    assert GROUPS["controls"][2:] == ("committee", "ipr_committee")
    assert not {"committee", "ipr_committee"} & {*GROUPS["table2"], *GROUPS["table3"], *GROUPS["beyond"]}


def test_a_system_with_its_own_prototypes_shows_them_and_table_2_has_none():
    names = {name for name in BEYOND if make_step(name).companion.prototypes is not None}
    assert "pico" in names
    assert all(SYSTEMS[name].shows_prototypes for name in names)
    assert not any(SYSTEMS[name].shows_prototypes or SYSTEMS[name].shows_gate for name in TABLE2)


@pytest.mark.parametrize(
    ("system", "defaults", "scaled"),
    [
        ("mmd", [0.1], [0.25]), ("bnm", [1], [0.25]), ("fixmatch", [1], [0.25]), ("softmatch", [1], [0.25]),
        ("freematch", [1, 0.01], [0.25, 0.0025]), ("pico", [1, 0.5], [1, 0.25]),
    ],
)  # fmt: skip
def test_own_weight_takes_the_place_of_the_authors_lambda(system, defaults, scaled):
    for own_weight, expected in ((None, defaults), (0.25, scaled)):
        step = make_step(system, own_weight=own_weight, ambiguous=random_view(5, 20 * random_tensor(B, C, seed=5)))
        terms = SYSTEMS[system].refinement_terms(step)
        assert [weight for _, weight in terms.extra.values()] == pytest.approx(expected)
        literal = terms.precise.item() + sum(weight * value.item() for value, weight in terms.extra.values())
        assert terms.total.item() == pytest.approx(literal)


@pytest.mark.parametrize("system", ["dann", "daan"])
def test_own_weight_scales_the_reversal_of_the_adversaries(system):
    gradients, losses = [], []
    for own_weight in (None, 0.25, 0):
        step = make_step(system, own_weight=own_weight)
        loss, weight = SYSTEMS[system].refinement_terms(step).extra["domain"]
        loss.backward()
        gradients.append(step.ambiguous.embedding.grad)
        losses.append(weight * loss.item())
    assert gradients[0].any()
    torch.testing.assert_close(gradients[1], 0.25 * gradients[0])
    assert not gradients[2].any()
    assert losses == [losses[0]] * 3  # the discriminators learn alike
