"""The graph of neighbours: umap-learn's own, without its compilation."""

import numpy as np
import pytest
from umap.umap_ import fuzzy_simplicial_set

from ipr_widgets.neighbour_graph import graph, neighbours


def test_neighbours_are_those_of_the_smallest_cosine_distance_itself_first():
    vectors = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    indices, distances = neighbours(3 * vectors, 20)
    unit = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    cosine = 1 - unit @ unit.T
    np.fill_diagonal(cosine, 0)
    np.testing.assert_array_equal(indices, cosine.argsort(axis=1)[:, :20])
    np.testing.assert_allclose(distances, np.sort(cosine, axis=1)[:, :20], atol=1e-6)
    np.testing.assert_array_equal(indices[:, 0], np.arange(50))


def test_an_utterance_is_its_own_first_neighbour_also_among_equals():
    indices, distances = neighbours(np.ones((30, 4), np.float32), 20)
    np.testing.assert_array_equal(indices[:, 0], np.arange(30))
    assert (distances >= 0).all()


def _vectors(kind):
    draw = np.random.default_rng(1)
    if kind == "equal":
        return np.ones((40, 5), np.float32)
    vectors = draw.normal(size=(2500 if kind == "many" else 60, 5)).astype(np.float32)
    if kind == "twins":
        vectors[30:] = vectors[:30]
    if kind == "one far away":
        vectors[0] *= -1e3
    return vectors[:7] if kind == "few" else vectors


@pytest.mark.parametrize("kind", ["cloud", "many", "few", "twins", "equal", "one far away"])
def test_the_graph_is_that_of_umap_learn(kind):
    vectors = _vectors(kind)
    indices, distances = neighbours(vectors, 20)
    reference, _, _ = fuzzy_simplicial_set(
        vectors, indices.shape[1], np.random.RandomState(0), "cosine", knn_indices=indices, knn_dists=distances
    )
    np.testing.assert_allclose(graph(indices, distances).toarray(), reference.toarray(), atol=2e-4)


def test_the_graph_is_symmetric_and_no_point_is_its_own_neighbour():
    edges = graph(*neighbours(_vectors("cloud"), 20)).toarray()
    np.testing.assert_allclose(edges, edges.T)
    assert not edges.diagonal().any()
    assert edges.max() == pytest.approx(1, abs=1e-6)
