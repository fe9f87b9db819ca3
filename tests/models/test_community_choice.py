"""How many communities: what a description costs, which numbers are tried, and that the planted one wins."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdtool.config import CommunitiesConfig
from tdtool.data.planted_graph import PlantedGraph, planted_disjoint, planted_lfr, planted_mmsb
from tdtool.models import community_choice
from tdtool.models.communities import fit_communities
from tdtool.models.community_choice import grid, most_communities, refine
from tdtool.models.graph_parts import LEAST_MEMBERS
from tdtool.models.overlap_em import fit_propensity
from tdtool.models.overlap_model import Background, background_likelihood
from tests import oracles_communities as oracles
from tests.small_graphs import graph_of, on_support, thirteen

# ---- what a description takes


@pytest.mark.parametrize("weighted", [False, True])
def test_description(rng: np.random.Generator, weighted: bool) -> None:
    graph, adjacency = thirteen(rng, weighted=weighted, n_left=None)
    dense = rng.gamma(1.0, 0.5, (13, 4)) * (rng.random((13, 4)) < 0.6)
    dense[:, 3] = 0
    dense[1:3, 3] = 1.5  # two members make no community
    theta = fit_propensity(graph)
    background = Background(0.6, theta)
    empty = background_likelihood(graph, theta)
    gain, cost, n_found = community_choice.description(graph, on_support(dense), background, empty)
    with_them = oracles.log_likelihood(adjacency, dense, 0.6, theta)
    without = oracles.log_likelihood(adjacency, 0 * dense, 1.0, theta)
    assert gain == pytest.approx((with_them - without) / math.log(2), rel=1e-6)
    parts = (dense, dense > 0, adjacency.sum(axis=1), graph.n_edges)
    assert cost == pytest.approx(oracles.description_cost(*parts, least=LEAST_MEMBERS), rel=1e-9)
    assert n_found == 3


def test_only_memberships_that_nobody_would_miss_are_described(rng: np.random.Generator) -> None:
    """A weaker membership changes nothing, one of three quarters of the node's strongest does."""
    graph, _ = thirteen(rng, weighted=False, n_left=None)
    dense = np.zeros((13, 2))
    dense[:7, 0], dense[6:, 1] = 2.0, 3.0
    background = Background(0.4, fit_propensity(graph))
    descriptions = []
    for weak in (0.0, 0.74, 0.76):
        dense[2, 1] = weak * 2.0
        descriptions.append(community_choice.strict_description(graph, on_support(dense), background, -50.0))
    assert descriptions[0] == descriptions[1]
    assert descriptions[2][1] > descriptions[1][1]


# ---- which numbers are tried


@settings(max_examples=50)
@given(st.integers(0, 3000), st.sampled_from([1.05, 1.18, 2.0]))
def test_a_grid(last: int, ratio: float) -> None:
    """From 2 up to the last one, which is not left out; each at most by the ratio above the one before, or by 1."""
    numbers = grid(last, ratio=ratio)
    assert numbers == sorted(set(numbers))
    if last < 2:
        assert numbers == []
        return
    assert (numbers[0], numbers[-1]) == (2, last)
    for one, other in itertools.pairwise(numbers):
        assert other <= max(one * ratio + 1.5, one + 1)


def test_a_grid_leaves_out_no_small_number() -> None:
    assert grid(11) == [2, 3, 4, 5, 6, 7, 8, 10, 11]
    assert len(grid(1000)) < 40


def test_most_communities() -> None:
    assert [most_communities(n, 1) for n in (3, 10, 60, 600, 10_000)] == [2, 2, 12, 50, 200]
    assert most_communities(10_000, 400) == 600
    assert most_communities(1000, 400) == 200


@settings(max_examples=100)
@given(st.integers(2, 250), st.floats(0.2, 5), st.floats(0.2, 5), st.floats(0.3, 2))
def test_refining_finds_the_top_between_grid_points(top: int, left: float, right: float, power: float) -> None:
    """Of any function that climbs to one place and falls from there."""
    calls = []

    def height(k: int) -> float:
        return -((left * (top - k)) ** power) if k < top else -((right * (k - top)) ** power)

    def measure(k: int) -> float:
        calls.append(k)
        return height(k)

    tried = {k: height(k) for k in grid(250)}
    before = set(tried)
    assert refine(tried, measure, most=24) == top
    assert set(tried) == before | set(calls)
    assert len(calls) == len(set(calls))
    assert not before & set(calls)
    assert all(tried[k] == height(k) for k in tried)


@pytest.mark.parametrize("top", [9, 34, 57, 111, 180, 247])
def test_refining_is_near_the_top_after_a_few(top: int) -> None:
    tried = {k: -abs(k - top) for k in grid(250)}
    before = len(tried)
    assert refine(tried, lambda k: -abs(k - top)) == top
    assert len(tried) - before <= 12


def test_refining_stops_after_so_many() -> None:
    calls: list[int] = []

    def measure(k: int) -> float:
        calls.append(k)
        return -abs(k - 700.0)

    tried = {k: -abs(k - 700.0) for k in (2, 500, 1000)}
    assert refine(tried, measure, most=3) == max(tried, key=tried.__getitem__)
    assert len(calls) == 3


def test_of_equal_numbers_the_smallest() -> None:
    assert refine({2: 1.0, 3: 5.0, 4: 5.0, 5: 0.0}, lambda k: -1.0) == 3


# ---- planted graphs


def planted(kind: str) -> tuple[PlantedGraph, int]:
    rng = np.random.default_rng(7)
    if kind == "blocks":
        return planted_disjoint([40, 55, 70, 30, 25], mean_degree=12, mixing=0.15, spread=0.3, rng=rng), 5
    if kind == "mixed":
        return planted_mmsb(500, 4, mean_degree=30, alpha0=0.2, rng=rng), 4
    shape = {"mean_degree": 18, "max_degree": 36, "mixing": 0.1, "sizes": (25, 60), "n_overlapping": 40}
    graph = planted_lfr(400, **shape, rng=rng)
    return graph, graph.memberships.shape[1]


@pytest.mark.parametrize("kind", ["blocks", "mixed", "overlapping"])
def test_the_planted_number_describes_the_graph_best(kind: str) -> None:
    """Its objective is above those of all other numbers, by far above those of half and twice as many."""
    graph, truth = planted(kind)
    fit = fit_communities(graph_of(graph), CommunitiesConfig())
    objectives = {trial.n_asked: trial.objective for trial in fit.trials}
    assert objectives[truth] == max(objectives.values()) > 0
    assert fit.chosen is not None
    assert fit.trials[fit.chosen].n_asked == truth == fit.cover.n_communities
    far = [value for k, value in objectives.items() if k <= truth / 2 or k >= 1.6 * truth]
    assert len(far) >= 2
    assert max(far) < 0.9 * objectives[truth]
