"""Variational inference for the mixed membership block model: its steps from their definitions, and planted graphs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tdtool.data.planted_graph import planted_mmsb
from tdtool.models.cover import Cover
from tdtool.models.cover_scores import membership_error
from tests.bench.mmsb_variational import _balance, _expect, _Network, fit_mmsb


def error(memberships: np.ndarray, truth: np.ndarray) -> float:
    return membership_error(Cover.from_dense(memberships), Cover.from_dense(truth))


def test_expected_draws_are_those_of_the_joint_distribution(rng: np.random.Generator) -> None:
    shares, odds = rng.dirichlet(np.ones(3), size=5), np.array([4.0, 0.3, 2.5])
    starts, others = np.array([0, 2, 2, 5, 6, 7]), np.array([1, 3, 0, 4, 1, 2, 0])
    drawn, same = np.empty((5, 3)), np.empty(3)
    evidence, apart = _expect(starts, others, shares, odds, drawn, same)
    expected, both, logs, differ = np.zeros((5, 3)), np.zeros(3), 0.0, 0.0
    for a in range(5):
        for b in others[starts[a] : starts[a + 1]]:
            joint = np.outer(shares[a], shares[b])
            joint[np.diag_indices(3)] *= odds
            logs += np.log(joint.sum())
            joint /= joint.sum()
            expected[a] += joint.sum(axis=1)
            both += np.diag(joint)
            differ += 1 - np.trace(joint)
    np.testing.assert_allclose(drawn, expected, rtol=1e-12)
    np.testing.assert_allclose(same, both, rtol=1e-12)
    assert (evidence, apart) == pytest.approx((logs, differ), rel=1e-12)


def test_balanced_shares_are_a_fixed_point(rng: np.random.Generator) -> None:
    """gamma = evidence + returned * pi, where pi is gamma over its sum."""
    evidence, ratio = rng.gamma(0.5, 2.0, (7, 3)) + 0.01, rng.uniform(0.5, 1.02, (7, 3))
    shares = np.empty((7, 3))
    _balance(evidence, 50 * ratio, shares)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    gamma = evidence + 50 * ratio * shares
    np.testing.assert_allclose(gamma / gamma.sum(axis=1, keepdims=True), shares, rtol=1e-9)
    assert shares.min() > 0


def test_strangers_are_neither_neighbours_nor_the_node_itself(rng: np.random.Generator) -> None:
    edges = np.array([[0, 3], [3, 1], [0, 2], [4, 0]])
    network = _Network.of(edges, 6)
    starts, kept = network.strangers(200, rng)
    found = [set(kept[first:last].tolist()) for first, last in itertools.pairwise(starts)]
    assert found == [{1, 5}, {0, 2, 4, 5}, {1, 3, 4, 5}, {2, 4, 5}, {1, 2, 3, 5}, {0, 1, 2, 3, 4}]
    assert network.non_links.tolist() == [2, 4, 4, 3, 4, 5]


@pytest.mark.parametrize(("alpha0", "limit"), [(0.0, 0.05), (0.3, 0.13)])
def test_planted_memberships_are_found_from_random_starts(alpha0: float, limit: float) -> None:
    planted = planted_mmsb(500, 3, mean_degree=25, alpha0=alpha0, rng=np.random.default_rng(2))
    truth = planted.memberships.toarray()
    found = fit_mmsb(planted.edges, 500, 3, seed=1)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert error(found, truth) < limit
    assert error(np.full((500, 3), 1 / 3), truth) > 0.4
    turned = planted.edges[::-1, ::-1]
    np.testing.assert_array_equal(fit_mmsb(turned, 500, 3, seed=1), found)


@pytest.mark.parametrize(("n_nodes", "k"), [(2, 1), (5, 7), (6, 2)])
def test_small_complete_graphs_and_lone_nodes(n_nodes: int, k: int) -> None:
    edges = np.column_stack(np.triu_indices(n_nodes, 1))
    for extra in (0, 1):
        found = fit_mmsb(edges, n_nodes + extra, k, max_iters=40)
        assert found.shape == (n_nodes + extra, k)
        np.testing.assert_allclose(found.sum(axis=1), 1)
    with pytest.raises(ValueError, match="at least one of each"):
        fit_mmsb(edges[:0], n_nodes, k)
