"""The plane: the same for the same run, steady where the embeddings are, and kept in the run folder."""

import shutil
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from safetensors.numpy import load_file

from ipr_core.runs.run import Run
from ipr_widgets import layout
from ipr_widgets.layout import Layout, Planes

SECONDS = 120


def clouds(noise, seed=0, size=40):
    """Three clouds of embeddings round their prototypes."""
    prototypes = np.eye(3, 8, dtype=np.float32) * 5
    truth = np.repeat(np.arange(3), size)
    noise = np.random.default_rng(seed).normal(0, noise, (3 * size, 8))
    return (prototypes[truth] + noise).astype(np.float32), prototypes


@pytest.fixture(scope="module")
def laid_out():
    """Two epochs with other embeddings each, then the second one's again."""
    place = Layout(seed=3).place
    return [place(*clouds(3.0, 0)), place(*clouds(2.0, 1)), place(*clouds(2.0, 1))]


def displacement(before, after):
    """Mean over the points, in diameters of the layout."""
    return np.linalg.norm(after.points - before.points, axis=1).mean() / np.linalg.norm(np.ptp(before.points, axis=0))


def same(some, others):
    return len(some) == len(others) and all(
        np.array_equal(a, b) for one, other in zip(some, others, strict=True) for a, b in zip(one, other, strict=True)
    )


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the finished run, without planes."""
    return Run(shutil.copytree(trained.folder, tmp_path / "run", ignore=shutil.ignore_patterns("widgets")))


def planes_of(run):
    *_, planes = layout.growing(run, run.history())
    return planes


def made_by_thread(run, events, **settings):
    faults = []

    @contextmanager
    def guard():
        try:
            yield
        except Exception as error:
            faults.append(error)

    planes = Planes(guard, **settings)
    planes.follow(run, events)
    planes.wait(SECONDS)
    return planes, faults


def test_neighbours_are_those_of_the_smallest_cosine_distance_itself_first():
    vectors = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    near, distances = layout.neighbours(3 * vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    cosine = 1 - unit @ unit.T
    np.fill_diagonal(cosine, 0)
    np.testing.assert_array_equal(near, cosine.argsort(axis=1)[:, : layout.NEIGHBOURS])
    np.testing.assert_allclose(distances, np.sort(cosine, axis=1)[:, : layout.NEIGHBOURS], atol=1e-6)
    np.testing.assert_array_equal(near[:, 0], np.arange(50))


def test_an_utterance_is_its_own_first_neighbour_also_among_equals():
    near, distances = layout.neighbours(np.ones((30, 4), np.float32))
    np.testing.assert_array_equal(near[:, 0], np.arange(30))
    assert (distances >= 0).all()


def test_kept_neighbours_count_those_of_both_over_those_of_either():
    before = np.array([[0, 1, 2, 3], [1, 0, 2, 3]], np.int32)
    now = np.array([[0, 3, 1, 4], [1, 5, 6, 7]], np.int32)
    np.testing.assert_allclose(layout._kept(now, before), [2 / 4, 0])


def test_the_same_seed_gives_the_same_planes_and_another_one_others(laid_out):
    again, other = (Layout(seed=seed).place(*clouds(3.0, 0)) for seed in (3, 4))
    assert same([again], laid_out[:1])
    assert not same([other], laid_out[:1])


def test_prototypes_lie_among_their_own_and_each_cloud_keeps_together(laid_out):
    for points, prototypes in laid_out:
        assert (points.shape, prototypes.shape) == ((120, 2), (3, 2))
        centres = points.reshape(3, 40, 2).mean(axis=1)
        np.testing.assert_array_equal(np.linalg.norm(prototypes[:, None] - centres, axis=2).argmin(axis=1), [0, 1, 2])


def test_where_no_embedding_moved_hardly_a_point_does(laid_out):
    assert displacement(laid_out[1], laid_out[2]) < 0.02
    assert displacement(laid_out[0], laid_out[1]) > 2 * displacement(laid_out[1], laid_out[2])


def test_an_utterance_that_changed_sides_goes_to_its_new_neighbours():
    embeddings, prototypes = clouds(0.5)
    place = Layout().place
    place(embeddings, prototypes)
    embeddings = embeddings.copy()
    embeddings[0] = embeddings[-1] + 0.01
    points, _ = place(embeddings, prototypes)
    centres = points.reshape(3, 40, 2).mean(axis=1)
    assert np.linalg.norm(points[0] - centres, axis=1).argmin() == 2


def test_the_fewest_utterances_make_a_plane_and_one_less_makes_none(trained):
    events, counts = trained.events()[:2], []
    for size in (layout.FEWEST, layout.FEWEST - 1, 0):
        for event in events:
            event.arrays["map"] = event.arrays["map"][:size]
        planes = layout.planes(events)
        counts.append(len(planes))
        assert all(np.isfinite(part).all() for plane in planes for part in plane)
    assert counts == [2, 0, 0]
    assert layout.planes([]) == []


def test_planes_made_live_are_those_of_a_replay_and_are_kept(run, monkeypatch):
    events = run.history()
    planes, faults = made_by_thread(run, events[:1])
    planes.follow(run, events)  # later epochs follow
    planes.wait(SECONDS)
    live = planes.of(run)
    assert (len(live), faults) == (len(events), [])
    assert same(live, layout.planes(run.events()))
    monkeypatch.setattr(Layout, "place", lambda *_: pytest.fail("what is kept is not computed"))
    assert same(planes_of(run), live)


def test_planes_of_other_epochs_seeds_or_algorithms_are_made_anew(run, monkeypatch):
    events = run.history()
    planes_of(run)
    prints = [layout.fingerprint(event) for event in events]
    assert len(layout._read(run, prints, 0)) == 3
    assert len(layout._read(run, [*prints[:2], "trained otherwise"], 0)) == 2
    assert len(layout._read(run, prints[:1], 0)) == 1
    assert layout._read(run, prints, 1) == []
    monkeypatch.setattr(layout, "_VERSION", "0")
    assert layout._read(run, prints, 0) == []


def test_planes_that_are_no_file_of_ours_are_made_anew(run):
    (run.folder / "widgets").mkdir()
    (run.folder / "widgets" / "planes.safetensors").write_bytes(b"half a file")
    assert len(planes_of(run)) == 3
    assert load_file(run.folder / "widgets" / "planes.safetensors")["points"].shape == (3, 20, 2)


def test_a_folder_that_may_not_be_written_still_has_planes(run):
    (run.folder / "widgets").write_text("in the way")
    assert len(planes_of(run)) == 3


def test_the_layout_has_a_thread_of_its_own_that_reports_a_failure_and_can_be_asked_again(run, monkeypatch):
    threads = []

    def broken(*_):
        threads.append(threading.current_thread())
        raise ArithmeticError("no plane today")

    with monkeypatch.context() as patch:
        patch.setattr(Layout, "place", broken)
        planes, faults = made_by_thread(run, run.history())
    assert [str(fault) for fault in faults] == ["no plane today"]
    assert threads[0].daemon
    assert threads[0] is not threading.main_thread()
    assert (planes.of(run), planes.working) == ([], False)
    planes.follow(run, run.history())
    planes.wait(SECONDS)
    assert len(planes.of(run)) == 3


def test_planes_of_one_run_are_not_shown_for_another(run, trained):
    planes, _ = made_by_thread(run, run.history())
    assert len(planes.of(run)) == 3
    assert len(planes.of(trained)) == 0
