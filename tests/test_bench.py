"""`ipr bench`: its durations, its limit, and that measuring changes no training."""

import numpy as np
import pytest
import torch

from ipr_core import bench
from ipr_core.cli import main
from ipr_core.training.session import Session

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def short(tiny, tmp_path_factory):
    """Three steps' noise, of at most a second each."""
    return bench.noise(tiny, 24, tmp_path_factory.mktemp("noise"))


@pytest.fixture
def session(tiny, short):
    return Session(tiny.replace(warm_up=0), short)


def test_lengths_are_those_of_iemocap():
    seconds = bench.lengths(20_000)
    assert np.mean(seconds) == pytest.approx(4.55, rel=0.02)
    assert np.median(seconds) == pytest.approx(3.6, rel=0.02)
    assert np.quantile(seconds, 0.95) == pytest.approx(11, rel=0.03)
    assert (seconds.min(), seconds.max()) == pytest.approx((0.6, 34))
    assert np.array_equal(bench.lengths(5), bench.lengths(5))
    assert not np.array_equal(bench.lengths(5), bench.lengths(5, seed=1))


def test_noise_has_all_parts_and_classes_and_those_lengths(short):
    counts = short.table["part"].value_counts()
    assert counts.to_dict() == {"D1": 24, "D2": 24, "D3": 4}
    assert set(short.labels[short.rows("D1")]) == {0, 1, 2, 3}
    np.testing.assert_allclose(short.waves.seconds, bench.lengths(52), atol=1e-4)


@pytest.mark.parametrize("system", ["baseline", "baseline_augmented", "baseline_plus", "ipr", "supervised"])
def test_the_bare_passes_hear_what_a_step_hears(tiny, short, system):
    session = Session(tiny.replace(warm_up=0, system=system), short)
    assert session.passes.memory.part(*session.longest_step) is None  # it is estimated, by passes too
    inputs = []
    trunk = session.model.encoder.trunk
    session.model.encoder.trunk = lambda x, n: inputs.append((x.shape, n.tolist())) or trunk(x, n)
    minibatch = session.begin_(0)[0]
    session.forward(minibatch, 0)
    bench.bare_passes(session, minibatch)()
    (step, lengths), (bare, bare_lengths) = inputs
    assert step == bare
    assert sorted(lengths) == sorted(bare_lengths)


def test_the_bare_passes_reach_every_trained_weight_of_the_encoder_and_nothing_else(session):
    bench.bare_passes(session, session.begin_(0)[0])()
    for name, weight in session.model.named_parameters():
        assert (weight.grad is not None) == (name.startswith("encoder.") and weight.requires_grad), name


def test_measuring_does_not_change_what_is_trained(tiny, short):
    def trained(paired: bool) -> dict[str, torch.Tensor]:
        session = Session(tiny.replace(warm_up=0), short)
        plan = session.plan(0)
        if paired:
            assert len(
                list(bench._paired(session, [bench.bare_passes(session, minibatch) for minibatch in plan]))
            ) == len(plan)
        else:
            loop = bench.refine(session)
            for _ in plan:
                next(loop)
        return session.model.trained_state()

    torch.testing.assert_close(trained(True), trained(False), rtol=0, atol=0)


def test_a_row_adds_up(tiny, short):
    row = bench.measure(tiny, short, steps=2)
    assert set(row.shares) == set(bench.PARTS)
    assert sum(row.shares.values()) == pytest.approx(1)
    assert all(share >= 0 for share in row.shares.values())
    assert all(row.shares[part] > 0 for part in (bench.AUGMENTATION, bench.ENCODER, bench.OPTIMIZER))
    assert row.limit > 0
    assert row.step > 0
    assert row.ratio == pytest.approx(row.limit / row.step)
    assert 0 < row.padding < 0.5
    assert row.mfu is None
    assert row.memory_choice.startswith("at once, ")


def test_padding_is_what_a_batchs_longest_clip_adds_to_the_others(session):
    minibatch = session.plan(0)[0]
    views = np.concatenate([minibatch.precise] * session.system.precise_views + [minibatch.ambiguous] * 2)
    seconds = session.data.waves.seconds[views].clip(max=1)
    audio, padded = bench._audio_seconds(session, minibatch)
    assert audio == pytest.approx(seconds.sum(), rel=1e-4)
    assert padded == pytest.approx(len(views) * seconds.max(), rel=1e-4)


def test_where_everything_is_kept_there_is_no_limit(frozen, short):
    row = bench.measure(frozen.replace(system="baseline"), short, steps=1)
    assert row.limit is None
    assert row.ratio is None
    assert row.shares[bench.ENCODER] == 0


def test_afterwards_nothing_is_watched(session):
    bench.shares(session, session.plan(0)[:2])
    for call in (session.forward, session.views.clean, session.model.encoder.trunk, torch.autograd.backward):
        assert call.__name__ != "clocked"


def test_a_part_inside_another_is_taken_from_it(monkeypatch):
    times = iter([0.0, 1.0, 4.0, 10.0])  # outer from 0 to 10, inner from 1 to 4
    monkeypatch.setattr("ipr_core.bench.perf_counter", lambda: next(times))
    clock = bench.Clock(CPU)
    clock.timed("outer", clock.timed("inner", lambda: None))()
    assert clock.seconds == {"outer": 7.0, "inner": 3.0}


def test_flops_of_a_matrix_product_and_its_backward_pass():
    a, b = torch.randn(3, 5, requires_grad=True), torch.randn(5, 7, requires_grad=True)
    assert bench.flops(lambda: (a @ b).sum().backward()) == 3 * 2 * 3 * 5 * 7


def test_a_checkpoint_that_is_not_at_hand_has_its_architecture_stand_in(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "random_weights", lambda folder: str(folder))
    config, encoder = bench._with_encoder(
        tiny.replace(encoder="facebook/wav2vec2-base", train_features=False), tmp_path
    )
    assert config.encoder.encoder == str(tmp_path / "encoder")
    assert "random weights" in encoder
    with pytest.raises(ValueError, match="nobody/nothing"):
        bench._with_encoder(tiny.replace(encoder="nobody/nothing"), tmp_path)


def test_the_command_prints_a_row_a_system(capsys):
    small = "--preset demo --batch-size 2 --steps 1 --max-seconds 1 --systems ipr baseline --device cpu"
    assert main(["bench", *small.split()]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "encoder   compact, fp32, batch size 2"
    table = [line.split() for line in lines if line.startswith(("ipr ", "baseline "))]
    assert [row[0] for row in table] == ["ipr", "baseline"]
    assert len({len(line) for line in lines if line.startswith(("system", "ipr ", "baseline "))}) == 1


def test_the_command_refuses_an_encoder_that_cannot_be_had(capsys):
    assert main(["bench", "--encoder", "nobody/nothing"]) == 2
    assert "nobody/nothing" in capsys.readouterr().err
