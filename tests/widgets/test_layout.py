"""The layout: the same for the same seed, and steady where the embeddings are."""

import numpy as np
import pytest

from helpers.equal_planes import equal_planes
from ipr_widgets import layout
from ipr_widgets.layout import Layout


def clouds(noise, seed=0, size=40):
    """Three clouds of embeddings round their prototypes."""
    prototypes = np.eye(3, 8, dtype=np.float32) * 5
    truth = np.repeat(np.arange(3), size)
    noise = np.random.default_rng(seed).normal(0, noise, (3 * size, 8))
    return (prototypes[truth] + noise).astype(np.float32), prototypes


@pytest.fixture(scope="module")
def laid_out():
    """Two epochs with other embeddings each, then the second one's again."""
    next_plane = Layout(seed=3).next_plane
    return [next_plane(*clouds(3.0, 0)), next_plane(*clouds(2.0, 1)), next_plane(*clouds(2.0, 1))]


def displacement(first, second):
    """Mean over the points, in diameters of the layout."""
    return np.linalg.norm(second.points - first.points, axis=1).mean() / np.linalg.norm(np.ptp(first.points, axis=0))


def test_the_share_of_common_neighbours_is_those_of_both_over_those_of_either():
    old_indices = np.array([[0, 1, 2, 3], [1, 0, 2, 3]], np.int32)
    indices = np.array([[0, 3, 1, 4], [1, 5, 6, 7]], np.int32)
    np.testing.assert_allclose(layout._common_share(indices, old_indices), [2 / 4, 0])


def test_the_same_seed_gives_the_same_planes_and_another_one_others(laid_out):
    equal, different = (Layout(seed=seed).next_plane(*clouds(3.0, 0)) for seed in (3, 4))
    assert equal_planes([equal], laid_out[:1])
    assert not equal_planes([different], laid_out[:1])


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
    next_plane = Layout().next_plane
    next_plane(embeddings, prototypes)
    embeddings = embeddings.copy()
    embeddings[0] = embeddings[-1] + 0.01
    points, _ = next_plane(embeddings, prototypes)
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
