"""Rotations leave the model as it is, reach the best of all angles, and find planted simple structure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from tdtool.decompose.power import random_orthogonal
from tdtool.decompose.rotation import oblimin, rotate, varimax
from tests import oracles_factors as oracles

METHODS = ["promax", "varimax", "oblimin", "none"]
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Matrices here are small: threads would only wait for each other."""
    with threadpool_limits(1, user_api="blas"):
        yield


def rough(seed: int, p: int, k: int) -> np.ndarray:
    """Loadings (p, k) near simple structure, turned."""
    draw = np.random.default_rng(seed)
    loadings = np.zeros((p, k))
    loadings[np.arange(p), np.arange(p) % k] = draw.uniform(0.4, 0.8, p)
    return (loadings + 0.1 * draw.standard_normal((p, k))) @ random_orthogonal(k, draw)


@given(seeds, st.sampled_from(METHODS), st.integers(1, 4))
@settings(max_examples=40)
def test_a_rotation_leaves_the_model_as_it_is(seed: int, method: str, k: int) -> None:
    loadings = rough(seed, 11, k)
    turned = rotate(loadings, method, rng=np.random.default_rng(seed), n_restarts=2)  # type: ignore[arg-type]
    model = turned.pattern @ turned.correlation @ turned.pattern.T
    np.testing.assert_allclose(model, loadings @ loadings.T, atol=1e-9)
    np.testing.assert_allclose(np.diag(turned.correlation), 1)
    np.testing.assert_allclose(turned.structure, turned.pattern @ turned.correlation)
    np.testing.assert_allclose(turned.variance.sum(), np.sum(loadings**2))
    assert np.all(np.diff(turned.variance) <= 1e-9)
    assert turned.pattern.sum(axis=0).min() >= 0
    assert np.linalg.eigvalsh(turned.correlation)[0] > 0
    if method in ("varimax", "none") or k == 1:
        np.testing.assert_allclose(turned.correlation, np.eye(k), atol=1e-9)
    assert turned.stopped in ("tol", "exact")


@given(seeds, st.sampled_from(["promax", "varimax", "oblimin"]))
@settings(max_examples=15)
def test_the_axes_before_do_not_matter(seed: int, method: str) -> None:
    loadings = rough(seed, 13, 3)
    turn = random_orthogonal(3, np.random.default_rng(seed + 1))
    one = rotate(loadings, method, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    two = rotate(loadings @ turn, method, rng=np.random.default_rng(1))  # type: ignore[arg-type]
    np.testing.assert_allclose(two.pattern, one.pattern, atol=1e-5)
    np.testing.assert_allclose(two.correlation, one.correlation, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_varimax_reaches_the_best_angle(seed: int) -> None:
    loadings = rough(seed, 9, 2)
    turned = rotate(loadings, "varimax", rng=np.random.default_rng(0))
    best = oracles.varimax_of_two(loadings)
    assert oracles.varimax_criterion(turned.pattern) == pytest.approx(best, rel=1e-6)
    assert oracles.varimax_criterion(loadings) < best


@pytest.mark.parametrize("seed", range(3))
def test_oblimin_reaches_the_best_pair_of_angles(seed: int) -> None:
    loadings = rough(seed, 9, 2)
    turned = rotate(loadings, "oblimin", rng=np.random.default_rng(0))
    normal = turned.pattern / np.linalg.norm(loadings, axis=1, keepdims=True)
    reached = float(np.sum(normal[:, 0] ** 2 * normal[:, 1] ** 2)) / 2
    best = oracles.quartimin_of_two(loadings)
    assert reached <= best + 1e-9
    assert reached == pytest.approx(best, abs=5e-3)


def test_the_gradient_of_oblimin_vanishes_on_the_manifold(rng: np.random.Generator) -> None:
    loadings = oracles.kaiser(rough(4, 12, 3))
    transform, value, stopped = oblimin(loadings, np.eye(3), max_iters=2000, tol=1e-9)
    assert stopped == "tol"

    def criterion(x: np.ndarray) -> float:
        axes = x.reshape(3, 3) / np.linalg.norm(x.reshape(3, 3), axis=0)
        square = (loadings @ np.linalg.inv(axes).T) ** 2
        return float(sum(square[:, a] @ square[:, b] for a in range(3) for b in range(3) if a != b)) / 4

    assert criterion(transform.ravel()) == pytest.approx(value)
    slopes = scipy.optimize.approx_fprime(transform.ravel(), criterion, 1e-7)
    np.testing.assert_allclose(slopes, 0, atol=1e-5)


def test_promax_is_the_least_squares_turn_to_powers_of_varimax() -> None:
    loadings = rough(7, 10, 3)
    size = np.linalg.norm(loadings, axis=1, keepdims=True)
    transform = varimax(loadings / size, np.eye(3), max_iters=1000, tol=1e-10)[0]
    turned = loadings / size @ transform
    towards = np.linalg.inv(turned.T @ turned) @ turned.T @ (turned * np.abs(turned) ** 3)
    towards = towards @ np.diag(np.sqrt(np.diag(np.linalg.inv(towards.T @ towards))))
    found = rotate(loadings, "promax", rng=np.random.default_rng(0))
    assert oracles.congruence(found.pattern, turned @ towards * size * np.sign(np.sum(turned, axis=0))).min() > 1 - 1e-9
    wanted = np.linalg.inv(towards.T @ towards)
    lower = np.tril_indices(3, -1)
    np.testing.assert_allclose(np.sort(np.abs(found.correlation[lower])), np.sort(np.abs(wanted[lower])), atol=1e-6)


@pytest.mark.parametrize("method", ["promax", "oblimin"])
def test_correlated_factors_of_simple_structure_come_back(method: str, rng: np.random.Generator) -> None:
    loadings = oracles.planted_loadings((4, 5, 7), 0.5, 0.9, rng)
    phi = np.array([[1.0, 0.5, 0.3], [0.5, 1.0, 0.4], [0.3, 0.4, 1.0]])
    mixed = loadings @ np.linalg.cholesky(phi) @ random_orthogonal(3, rng)
    turned = rotate(mixed, method, rng=rng)  # type: ignore[arg-type]
    assert oracles.congruence(turned.pattern, loadings).min() > (0.9999 if method == "oblimin" else 0.99)
    if method == "oblimin":
        order = [int(np.argmax(np.abs(turned.pattern[row]))) for row in (0, 4, 9)]
        np.testing.assert_allclose(turned.correlation[np.ix_(order, order)], phi, atol=1e-4)


def test_restarts_leave_a_poor_start_behind() -> None:
    """Without restarts some starts end in a worse place; the best of several is the same from all of them."""
    draw = np.random.default_rng(32)
    loadings = draw.standard_normal((8, 4))
    normal = oracles.kaiser(loadings)
    ends = [oblimin(normal, random_orthogonal(4, draw), max_iters=3000, tol=1e-8)[1] for _ in range(20)]
    assert max(ends) > min(ends) + 1e-3
    turned = rotate(loadings, "oblimin", n_restarts=20, max_iters=3000, rng=draw)
    square = (turned.pattern / np.linalg.norm(loadings, axis=1, keepdims=True)) ** 2
    reached = float(np.sum(square.sum(axis=1) ** 2 - np.sum(square**2, axis=1))) / 4
    assert reached <= min(ends) + 1e-6
