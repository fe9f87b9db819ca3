"""The M step: strengths that give every membership the links that are expected of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.kernels.block_strengths_cpu import dense_strengths, sparse_strengths
from tests import oracles_communities as oracles

Array = NDArray[Any]
#: The kernel stops when no sum changes by more than 1e-4, or after eight steps.
TOLERANCE = 3e-3


@pytest.fixture
def expected(rng: np.random.Generator) -> Array:
    """a of 13 nodes in 3 communities, a third of it 0, no node with half of all links."""
    values = rng.uniform(0.5, 4.0, (13, 3)) * (rng.random((13, 3)) < 0.67)
    values[5] = 0
    return values


def sparse(matrix: Array, n_left: int | None = None) -> Array:
    """sparse_strengths on the entries that are not 0, put back in place."""
    support = matrix > 0
    left = None if n_left is None else int(support[:n_left].sum())
    found = np.zeros(matrix.shape)
    found[support] = sparse_strengths(matrix[support], np.nonzero(support)[1].astype(np.int32), matrix.shape[1], left)
    return found


def test_links_with_all_others_are_those_that_are_expected(expected: Array) -> None:
    """F_uz sum over v != u of F_vz = a_uz, by adding up over all pairs."""
    for found in (sparse(expected), dense_strengths(expected.astype(np.float32))):
        np.testing.assert_allclose(oracles.inside_links(found.astype(np.float64)), expected, rtol=TOLERANCE)


def test_dense_and_sparse_agree(expected: Array) -> None:
    found = dense_strengths(expected.astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, sparse(expected), rtol=2e-5)
    assert not found[expected == 0].any()


def test_links_of_a_node_to_itself_are_left_out() -> None:
    """n equal nodes with a links each: F = sqrt(a / (n - 1)), not sqrt(a / n)."""
    np.testing.assert_allclose(sparse(np.full((5, 1), 3.0)), np.sqrt(3 / 4), rtol=1e-3)
    np.testing.assert_allclose(dense_strengths(np.full((5, 1), 3.0, np.float32)), np.sqrt(3 / 4), rtol=1e-3)


def test_a_hub_that_has_all_links_stays_finite() -> None:
    """No F gives a star all its links, as the leaves would be linked too: the hub gets more than half of them."""
    expected = np.array([[6.0], [1.0], [1.0], [1.0], [1.0], [1.0], [1.0]])
    for found in (sparse(expected), dense_strengths(expected.astype(np.float32)).astype(float)):
        assert np.isfinite(found).all()
        assert found[0] > found[1:].max() > 0
        np.testing.assert_allclose(found[1:], found[1, 0], rtol=1e-6)
        assert 3.0 < oracles.inside_links(found)[0, 0] <= 6.0


def test_a_community_of_one_node_and_one_without_nodes() -> None:
    expected = np.array([[2.0, 0.0], [0.0, 0.0]])
    for found in (sparse(expected), dense_strengths(expected.astype(np.float32))):
        assert np.isfinite(found).all()
        assert not found[:, 1].any()
        assert found[0, 0] > 0 == found[1, 0]


@pytest.mark.parametrize("n_left", [4, 9])
def test_bipartite(rng: np.random.Generator, n_left: int) -> None:
    """Each side has the same links, and F_uz times the sum of the other side is a_uz; a node may have them all."""
    expected = rng.uniform(0.5, 4.0, (13, 3)) * (rng.random((13, 3)) < 0.67)
    expected[0], expected[n_left] = 1.0, 2.5
    expected[:n_left] *= expected[n_left:].sum(axis=0) / expected[:n_left].sum(axis=0)
    for found in (sparse(expected, n_left), dense_strengths(expected.astype(np.float32), n_left)):
        links = oracles.inside_links(found.astype(np.float64), n_left)
        np.testing.assert_allclose(links, expected, rtol=1e-5)
    np.testing.assert_allclose(found, sparse(expected, n_left), rtol=1e-5)


def test_scale(expected: Array) -> None:
    """Links a hundred times as many are strengths ten times as large."""
    np.testing.assert_allclose(sparse(100 * expected), 10 * sparse(expected), rtol=1e-12)


def test_nothing() -> None:
    assert sparse_strengths(np.zeros(0), np.zeros(0, np.int32), 3).shape == (0,)
    assert dense_strengths(np.zeros((0, 3), np.float32)).shape == (0, 3)
    assert dense_strengths(np.zeros((5, 0), np.float32)).shape == (5, 0)
    assert not dense_strengths(np.zeros((5, 2), np.float32)).any()
