"""Orthogonal tensor power iteration recovers planted tensors exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.decompose.power import PowerFit, orthogonal_power, polar, random_orthogonal
from tests import oracles

Matrix = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def planted(weights: Matrix, vectors: Matrix) -> Callable[[Matrix], Matrix]:
    """The map of the tensor sum_i weights_i v_i (x) v_i (x) v_i, from its k x k x k array."""
    tensor = np.einsum("i,ai,bi,ci->abc", weights, vectors, vectors, vectors)
    return lambda directions: oracles.along(tensor, directions)


def recovered(fit: PowerFit, weights: Matrix, vectors: Matrix, atol: float = 1e-9) -> None:
    """Assert that a fit is the planted tensor; weights descending and positive."""
    np.testing.assert_allclose(fit.weights, weights, atol=atol)
    np.testing.assert_allclose(fit.vectors, vectors, atol=atol)


@settings(max_examples=50)
@given(seeds, st.integers(1, 8), st.booleans())
def test_exact_recovery_of_orthogonal_tensors(seed: int, k: int, equal: bool) -> None:
    rng = np.random.default_rng(seed)
    weights = np.full(k, 1.5) if equal else -np.sort(-rng.uniform(0.5, 3.0, k))
    vectors = random_orthogonal(k, rng)
    fit = orthogonal_power(planted(weights, vectors), random_orthogonal(k, rng), tol=1e-14)
    assert fit.stopped == "tol"
    if equal:  # any order will do
        order = np.argmax(np.abs(fit.vectors.T @ vectors), axis=0)
        fit = PowerFit(fit.vectors[:, order], fit.weights, fit.changes, fit.stopped)
    recovered(fit, weights, vectors, atol=1e-6)


WEIGHTS = np.array([4.0, 3.0, 2.0, 1.0, 0.5])


@given(seeds, st.permutations(range(5)), st.lists(st.sampled_from([-1.0, 1.0]), min_size=5, max_size=5))
@settings(max_examples=25)
def test_the_order_and_signs_of_the_start_do_not_matter(seed: int, order: list[int], signs: list[float]) -> None:
    rng = np.random.default_rng(seed)
    apply, start = planted(WEIGHTS, random_orthogonal(5, rng)), random_orthogonal(5, rng)
    one = orthogonal_power(apply, start, tol=1e-14)
    two = orthogonal_power(apply, start[:, order] * signs, tol=1e-14)
    recovered(two, one.weights, one.vectors, atol=1e-7)


@given(seeds)
@settings(max_examples=25)
def test_turning_the_tensor_turns_what_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, turn, start = (random_orthogonal(5, rng) for _ in range(3))
    one = orthogonal_power(planted(WEIGHTS, vectors), start, tol=1e-14)
    two = orthogonal_power(planted(WEIGHTS, turn @ vectors), turn @ start, tol=1e-14)
    recovered(two, one.weights, turn @ one.vectors, atol=1e-7)


def test_weights_come_out_positive_and_descending_with_their_signs_in_the_vectors(rng: np.random.Generator) -> None:
    vectors = random_orthogonal(4, rng)
    fit = orthogonal_power(planted(np.array([-1.0, 3.0, 0.5, -2.0]), vectors), random_orthogonal(4, rng), tol=1e-14)
    recovered(fit, np.array([3.0, 2.0, 1.0, 0.5]), (vectors * [-1, 1, 1, -1])[:, [1, 3, 0, 2]], atol=1e-7)


def test_noise_moves_the_answer_by_no_more_than_itself(rng: np.random.Generator) -> None:
    vectors = random_orthogonal(5, rng)
    exact, noise = planted(WEIGHTS, vectors), rng.standard_normal((5, 5, 5)) * 1e-3
    noise = sum(noise.transpose(order) for order in [(0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (1, 0, 2), (2, 1, 0)])
    fit = orthogonal_power(lambda u: exact(u) + oracles.along(noise, u), random_orthogonal(5, rng), tol=1e-12)
    recovered(fit, WEIGHTS, vectors, atol=np.linalg.norm(noise))
    assert np.abs(fit.weights - WEIGHTS).max() > 1e-5


def test_it_says_why_it_stopped(rng: np.random.Generator) -> None:
    apply, start = planted(WEIGHTS, random_orthogonal(5, rng)), random_orthogonal(5, rng)
    settled = orthogonal_power(apply, start, tol=1e-6)
    assert settled.stopped == "tol"
    assert settled.changes[-1] < 1e-6 <= min(settled.changes[:-1])
    cut = orthogonal_power(apply, start, max_iters=len(settled.changes) - 1, tol=1e-6)
    assert (cut.stopped, cut.changes) == ("max_iters", settled.changes[:-1])
    np.testing.assert_allclose(cut.vectors.T @ cut.vectors, np.eye(5), atol=1e-12)
    none = orthogonal_power(apply, start, max_iters=0)
    assert (none.stopped, none.changes) == ("max_iters", ())
    np.testing.assert_array_equal(np.sort(np.abs(none.vectors[0])), np.sort(np.abs(start[0])))
    np.testing.assert_allclose(none.weights, np.sum(none.vectors * apply(none.vectors), axis=0))
    assert none.weights.min() >= 0


def test_changes_are_mean_turns(rng: np.random.Generator) -> None:
    apply, start = planted(WEIGHTS, random_orthogonal(5, rng)), random_orthogonal(5, rng)
    after = polar(apply(start))
    fit = orthogonal_power(apply, start, max_iters=1)
    assert fit.changes[0] == pytest.approx(np.mean(1 - np.abs(np.sum(after * start, axis=0))))


def test_no_directions() -> None:
    fit = orthogonal_power(lambda directions: directions, random_orthogonal(0, np.random.default_rng(0)))
    assert (fit.vectors.shape, fit.weights.shape, fit.stopped) == ((0, 0), (0,), "tol")


@given(seeds, st.integers(1, 6))
@settings(max_examples=30)
def test_polar_is_the_nearest_orthogonal_matrix(seed: int, k: int) -> None:
    """U is orthogonal and U' A symmetric and positive semidefinite: that is what makes it the nearest."""
    matrix = np.random.default_rng(seed).standard_normal((k, k))
    nearest = polar(matrix)
    np.testing.assert_allclose(nearest.T @ nearest, np.eye(k), atol=1e-12)
    stretch = nearest.T @ matrix
    np.testing.assert_allclose(stretch, stretch.T, atol=1e-12)
    assert np.linalg.eigvalsh(stretch).min() > -1e-12


def test_random_orthogonal_is_orthogonal_and_prefers_no_sign(rng: np.random.Generator) -> None:
    drawn = np.array([random_orthogonal(3, rng) for _ in range(2000)])
    np.testing.assert_allclose(drawn @ drawn.transpose(0, 2, 1), np.broadcast_to(np.eye(3), drawn.shape), atol=1e-12)
    assert np.abs(drawn.mean(axis=0)).max() < 5 * np.sqrt(1 / 3 / 2000)
    assert np.abs(np.linalg.det(drawn).mean()) < 5 / np.sqrt(2000)
    np.testing.assert_array_equal(
        random_orthogonal(3, np.random.default_rng(1)), random_orthogonal(3, np.random.default_rng(1))
    )
