"""The overlapping block model, against its likelihood over all pairs of nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.models import overlap_model
from tdtool.models.overlap_em import fit_propensity
from tdtool.models.overlap_model import Background, Strengths
from tests import oracles_communities as oracles
from tests.small_graphs import as_matrix, on_support, thirteen

Array = NDArray[Any]
kinds = pytest.mark.parametrize(("weighted", "n_left"), [(False, None), (True, None), (False, 5), (True, 5)])


@pytest.fixture
def dense(rng: np.random.Generator) -> Array:
    """F of 13 nodes in 3 communities, a third of it 0; node 6 is in none."""
    values = rng.gamma(1.0, 0.5, (13, 3)) * (rng.random((13, 3)) < 0.67)
    values[6] = 0
    return values


@pytest.fixture
def background(rng: np.random.Generator) -> Background:
    return Background(0.6, rng.uniform(0.2, 0.8, 13))


# ---- the likelihood and what it is made of


@kinds
def test_log_likelihood(
    rng: np.random.Generator, dense: Array, background: Background, weighted: bool, n_left: int | None
) -> None:
    graph, adjacency = thirteen(rng, weighted=weighted, n_left=n_left)
    expected = oracles.log_likelihood(adjacency, dense, background.scale, background.propensity, n_left)
    assert overlap_model.log_likelihood(graph, on_support(dense), background) == pytest.approx(expected, rel=1e-9)
    alone = oracles.log_likelihood(adjacency, 0 * dense, 1.0, background.propensity, n_left)
    assert overlap_model.background_likelihood(graph, background.propensity) == pytest.approx(alone, rel=1e-9)


@kinds
def test_membership_gains(
    rng: np.random.Generator, dense: Array, background: Background, weighted: bool, n_left: int | None
) -> None:
    """Each is the likelihood that is lost when that membership alone is taken out."""
    graph, adjacency = thirteen(rng, weighted=weighted, n_left=n_left)
    model = (dense, background.scale, background.propensity)
    expected = [oracles.membership_gain(adjacency, *model, u, z, n_left) for u, z in np.argwhere(dense)]
    found = overlap_model.membership_gains(graph, on_support(dense), background)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


@kinds
def test_others(rng: np.random.Generator, dense: Array, weighted: bool, n_left: int | None) -> None:
    graph, _ = thirteen(rng, weighted=weighted, n_left=n_left)
    found = on_support(dense)
    expected = oracles.inside_links(dense, n_left)[dense > 0] / found.values
    np.testing.assert_allclose(overlap_model.others(graph, found), expected, rtol=1e-9, atol=1e-12)


def test_membership_costs(rng: np.random.Generator, dense: Array) -> None:
    """Which community, by how much it is used, and half a logarithm of the degree for how strong."""
    graph, adjacency = thirteen(rng, weighted=True, n_left=None)
    used = dense.sum(axis=0) + 1
    expected = [np.log2(used.sum() / used[z]) + np.log2(adjacency[u].sum() + 1) / 2 for u, z in np.argwhere(dense)]
    np.testing.assert_allclose(overlap_model.membership_costs(graph, on_support(dense)), expected, rtol=1e-9)


def test_one_community_says_the_same_as_none(rng: np.random.Generator) -> None:
    graph, _ = thirteen(rng, weighted=True, n_left=None)
    theta = fit_propensity(graph)
    theta[3] = 0
    whole, background = overlap_model.one_community(graph, theta)
    found = overlap_model.log_likelihood(graph, whole, background)
    assert found == pytest.approx(overlap_model.background_likelihood(graph, theta), rel=1e-9)
    assert whole.n_communities == 1
    assert whole.nodes.tolist() == [node for node in range(13) if node != 3]


# ---- background


@pytest.mark.parametrize("n_left", [None, 0, 2, 7])
def test_background_pairs(rng: np.random.Generator, n_left: int | None) -> None:
    values = rng.random(7)
    expected = sum(values[u] * values[v] for u, v in oracles.pairs(7, n_left))
    assert Background(0.5, values).pairs(n_left) == pytest.approx(expected)


def test_a_background_that_makes_so_many_links(rng: np.random.Generator) -> None:
    background = Background(0.5, rng.random(7)).making(11.0, 3)
    links = sum(
        oracles.rate(u, v, np.zeros((7, 1)), background.scale, background.propensity)
        for u in range(3)
        for v in range(3, 7)
    )
    assert links == pytest.approx(11)
    assert Background(0.5, np.zeros(7)).making(11.0, None).scale == 0


# ---- strengths


def test_what_strengths_know(dense: Array) -> None:
    found = on_support(dense)
    np.testing.assert_array_equal(np.column_stack((found.nodes, found.communities)), np.argwhere(dense))
    np.testing.assert_allclose(found.sums(), dense.sum(axis=0))
    np.testing.assert_allclose(found.links(), dense.sum(axis=0) + 1)
    np.testing.assert_array_equal(found.strongest(), dense.max(axis=1)[found.nodes])
    assert found.sizes().tolist() == (dense > 0).sum(axis=0).tolist()
    faded = Strengths(found.indptr, found.communities, found.values, 0 * found.expected, 3)
    assert faded.sizes().tolist() == [0, 0, 0]


def test_no_strengths() -> None:
    none = Strengths.none(5)
    assert (len(none.indptr), none.n_communities, none.nodes.size, none.strongest().size) == (6, 0, 0, 0)


def test_kept(dense: Array) -> None:
    """Communities keep their numbers, nodes may lose all."""
    found = on_support(dense)
    left = found.kept((found.communities != 1) & (found.nodes != 2))
    dense[:, 1] = dense[2] = 0
    np.testing.assert_array_equal(as_matrix(left), dense)
    np.testing.assert_array_equal(left.expected, left.values)
    assert left.n_communities == 3


def test_another_order_and_back(dense: Array, background: Background, rng: np.random.Generator) -> None:
    order = rng.permutation(13)
    there = on_support(dense[order])
    back = there.back_from(order)
    np.testing.assert_array_equal(as_matrix(back), dense)
    np.testing.assert_array_equal(as_matrix(back, back.expected), dense)
    np.testing.assert_array_equal(background.in_order(order).propensity, background.propensity[order])
