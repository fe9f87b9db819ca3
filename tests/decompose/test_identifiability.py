"""Kruskal's condition against all subsets of columns; degenerate models are told, healthy ones are not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.decompose.identifiability import degeneracy, k_rank, kruskal
from tests import oracles_power as oracles

Array = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60)
@given(seeds, st.integers(1, 6), st.integers(1, 7), st.integers(0, 3))
def test_k_rank_is_that_of_all_subsets(seed: int, size: int, rank: int, n_dependent: int) -> None:
    """Small whole numbers: columns double, vanish, and depend on one another in all manners."""
    rng = np.random.default_rng(seed)
    factor = rng.integers(-1, 2, (size, rank)).astype(np.float64)
    for _ in range(n_dependent):
        factor[:, rng.integers(rank)] = factor @ rng.integers(-1, 2, rank)
    assert k_rank(factor) == (oracles.k_rank(factor), True)


def test_k_rank_of_what_is_known() -> None:
    points = np.linspace(0.2, 1.8, 11)
    assert k_rank(np.vander(points, 5).T) == (5, True)  # any 5 columns of a Vandermonde matrix are independent
    assert k_rank(np.vander(points, 5)) == (5, True)
    assert k_rank(np.eye(7)) == (7, True)
    doubled = np.vander(points, 5).T
    doubled[:, 9] = -3 * doubled[:, 2]
    assert k_rank(doubled) == (1, True)
    doubled[:, 4] = 0
    assert k_rank(doubled) == (0, True)


def test_scale_and_basis_do_not_change_the_k_rank(rng: np.random.Generator) -> None:
    factor = rng.standard_normal((5, 6))
    factor[:, 5] = factor[:, 0] - 2 * factor[:, 3] + factor[:, 4]
    assert k_rank(factor) == (3, True)
    assert k_rank(factor * 10.0 ** rng.integers(-9, 9, 6)) == (3, True)
    assert k_rank(np.linalg.qr(rng.standard_normal((5, 5)))[0] @ factor) == (3, True)


def test_many_columns_are_bounded_from_below(rng: np.random.Generator) -> None:
    """Two orthonormal bases: 16 unit columns in 8 dimensions, with the cosines of one to the other."""
    turned = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    factor = np.hstack([np.eye(8), turned])
    bound, exact = k_rank(factor)
    largest = np.abs(turned).max()
    assert (bound, exact) == (int(np.ceil(1 / largest)), False)
    assert bound <= 8
    assert k_rank(rng.standard_normal((3, 30))) == (3, True)  # few subsets of 3: looked at
    assert k_rank(rng.standard_normal((40, 30))) == (30, True)
    assert k_rank(np.hstack([np.eye(9), np.eye(9)[:, 2:7]])) == (1, True)
    pair = rng.standard_normal((20, 30))
    pair[:, 1] = pair[:, 0] + 0.9 * pair[:, 1]
    assert k_rank(pair) == (2, False)


def test_the_bound_is_reached() -> None:
    """Differences of unit vectors: cosines of 1/2, and e0 - e1, e1 - e2, e0 - e2 are dependent, so k is 2 = 1/mu."""
    pairs = np.array(list(itertools.combinations(range(7), 2)))
    differences = np.eye(7)[:, pairs[:, 0]] - np.eye(7)[:, pairs[:, 1]]
    assert k_rank(differences) == (2, False)
    assert k_rank(differences[:6, :12])[0] == 2


@pytest.mark.parametrize(
    ("sizes", "rank", "unique"),
    [((4, 3, 5), 3, True), ((2, 3, 5), 3, True), ((2, 2, 5), 3, False), ((2, 3, 7), 4, False), ((2, 3, 5, 7), 5, True)],
)
def test_kruskal_at_its_boundary(sizes: tuple[int, ...], rank: int, unique: bool, rng: np.random.Generator) -> None:
    """Random factors have k-rank min(I, R); the sum must reach 2R + N - 1."""
    report = kruskal([rng.standard_normal((size, rank)) for size in sizes])
    assert report.k_ranks == tuple(min(size, rank) for size in sizes)
    assert (report.needed, report.exact) == (2 * rank + len(sizes) - 1, True)
    assert report.unique == unique == (sum(report.k_ranks) >= report.needed)
    assert report.text.startswith("unique up to order and scale") == unique


def test_what_failing_the_condition_means(rng: np.random.Generator) -> None:
    def random(*sizes: int, rank: int) -> list[Array]:
        return [rng.standard_normal((size, rank)) for size in sizes]

    open_case = kruskal(random(2, 3, 7, rank=4))
    assert "may be unique all the same" in open_case.text
    shared = random(5, 6, 7, rank=4)
    shared[1][:, 3] = 2 * shared[1][:, 1]
    assert "not unique: components 1 and 3" in kruskal(shared).text
    shared = random(5, 6, 7, 3, rank=4)  # one mode alike is allowed in order 4
    shared[1][:, 3] = 2 * shared[1][:, 1]
    assert not kruskal(shared).text.startswith("not unique")
    assert "necessary" in kruskal(random(2, 2, 5, rank=3)).text
    assert kruskal(random(5, 7, rank=2)).text.startswith("not unique: the factors of a matrix")
    assert not kruskal(random(5, 7, rank=2)).unique
    assert "without mode 2" in kruskal(random(2, 2, 9, rank=5)).text


def test_one_component_is_always_unique(rng: np.random.Generator) -> None:
    one = [rng.standard_normal((size, 1)) for size in (2, 3, 5)]
    assert kruskal(one).unique
    assert kruskal(one[:2]).unique
    one[0][:] = 0
    assert not kruskal(one).unique
    assert "empty" in kruskal(one).text


def test_duplicate_components_in_every_mode(rng: np.random.Generator) -> None:
    factors = [rng.standard_normal((size, 3)) for size in (5, 6, 7)]
    for factor in factors:
        factor[:, 2] = factor[:, 0]
    report = kruskal(factors)
    assert report.k_ranks == (1, 1, 1)
    assert not report.unique


@pytest.mark.parametrize(
    "factors",
    [[], [np.ones((3, 2)), np.ones((3, 1))], [np.ones(3)], [np.full((2, 2), np.nan)], [np.ones((2, 2), complex)]],
)
def test_bad_factors_are_refused(factors: list[Array]) -> None:
    with pytest.raises(ValueError, match=r"matrix|rank|finite"):
        kruskal(factors)
    with pytest.raises(ValueError, match=r"matrix|rank|finite"):
        degeneracy(np.ones(2), factors)


def border_rank_two(n: float, rng: np.random.Generator) -> tuple[Array, list[Array]]:
    """n (a + b/n)^3 - n a^3 -> a a b + a b a + b a a, whose rank is 3 but which two components come near to."""
    a, b = rng.standard_normal((2, 6))
    return np.array([n, -n]), [np.stack([a + b / n, a], axis=1)] * 3


def test_degenerate_models_are_told(rng: np.random.Generator) -> None:
    weights, factors = border_rank_two(100.0, rng)
    told = degeneracy(weights, factors)
    assert len(told) == 2
    assert "components 0 and 1 nearly cancel (cosine -" in told[0]
    assert "diverge" in told[1]
    assert degeneracy(-weights, factors)[0].startswith("components 0 and 1 nearly cancel")
    flipped = [factors[0] * [1, -1], factors[1], factors[2]]  # the sign may sit in a factor as well
    assert degeneracy(np.abs(weights), flipped) == told


def test_the_norm_that_is_told_is_the_models(rng: np.random.Generator) -> None:
    weights, factors = border_rank_two(50.0, rng)
    size = np.linalg.norm(oracles.cp_tensor(weights, factors))
    told = degeneracy(weights, factors)
    assert f"in a model of norm {size:.3g}" in told[0]
    assert f"in a model of norm {size:.3g}" in told[1]


def test_three_components_may_diverge_without_a_pair_that_cancels() -> None:
    """Cosines of -1/2: e0, and e0 at 120 degrees, add up to nothing."""
    angles = np.array([0, 2 * np.pi / 3, 4 * np.pi / 3])
    triangle = np.stack([np.cos(angles), np.sin(angles)])
    same = np.tile([[1.0], [2.0]], 3)
    told = degeneracy(np.array([1.0, 1.0, 1.001]), [triangle, same, same])
    assert len(told) == 1
    assert "diverge" in told[0]


def test_doubles_and_empty_components_are_told(rng: np.random.Generator) -> None:
    factors = [rng.standard_normal((size, 4)) for size in (5, 6, 7)]
    for factor in factors:
        factor[:, 3] = factor[:, 1] + 0.02 * factor[:, 0]
    factors[1][:, 2] = 0
    told = degeneracy(np.array([2.0, 1.0, 1.0, 1.0]), factors)
    assert "components 1 and 3 are nearly the same" in told[0]
    assert told[1:] == ("component 2 is empty: take a lower rank",)


@settings(max_examples=40)
@given(seeds, st.integers(1, 6))
def test_healthy_models_are_left_alone(seed: int, rank: int) -> None:
    """Orthogonal in one mode: components cannot cancel, whatever their weights and signs."""
    rng = np.random.default_rng(seed)
    factors = [np.linalg.qr(rng.standard_normal((7, 7)))[0][:, :rank], *rng.standard_normal((2, 5, rank))]
    assert degeneracy(rng.standard_normal(rank) * 100, factors) == ()
