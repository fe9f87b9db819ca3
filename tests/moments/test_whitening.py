"""The range finder whitens: against matrices whose eigenvalues are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.moments.whitening import Whitening, range_finder

V = 90  # more than the columns of the range finder, so that it has something to find
VALUES = np.array([9.0, 4.0, 2.5, 1.0, 0.25])


def symmetric(values: NDArray, n_terms: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(n_terms, n_terms) with these eigenvalues, and 0."""
    vectors = np.linalg.qr(rng.standard_normal((n_terms, values.size)))[0]
    return vectors * values @ vectors.T


def applied(matrix: NDArray[np.float64]) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    return lambda block: (matrix @ block).astype(np.float32)


def found(matrix: NDArray, n_topics: int, seed: int = 0, **settings: int) -> Whitening:
    return range_finder(applied(matrix), len(matrix), n_topics, rng=np.random.default_rng(seed), **settings)


@pytest.mark.parametrize("n_topics", [1, 3, 5])
@pytest.mark.parametrize("n_terms", [V, 7])
def test_it_whitens_and_unwhitens(n_topics: int, n_terms: int, rng: np.random.Generator) -> None:
    matrix = symmetric(VALUES, n_terms, rng)
    result = found(matrix, n_topics)
    W, B = result.whitening.astype(float), result.unwhitening
    assert (W.shape, W.dtype, result.whitening.dtype, B.dtype) == ((n_terms, n_topics), float, np.float32, float)
    # Eigenpairs to single precision, 1e-7 of the largest; whitening magnifies the smallest by 9 / 0.25.
    np.testing.assert_allclose(W.T @ matrix @ W, np.eye(n_topics), atol=2e-5)
    np.testing.assert_allclose(B.T @ W, np.eye(n_topics), atol=2e-5)
    np.testing.assert_allclose(B, np.linalg.pinv(W).T, atol=1e-4)
    np.testing.assert_allclose(result.spectrum[:5], VALUES, rtol=1e-5)
    if n_topics == 5:
        np.testing.assert_allclose(B @ B.T, matrix, atol=1e-5)


def test_noise_beyond_the_topics_does_not_turn_the_leading_ones(rng: np.random.Generator) -> None:
    noise = np.linspace(0.1, -0.1, V)
    matrix = symmetric(VALUES, V, rng) + symmetric(noise, V, rng)
    vectors = np.linalg.eigh(matrix)[1][:, ::-1][:, :5]
    W = found(matrix, 5).whitening.astype(float)
    cosines = np.linalg.svd(np.linalg.qr(W)[0].T @ vectors, compute_uv=False)
    assert cosines.min() > 0.999  # of 0.25 beside noise of 0.1, after three passes
    blunt = found(matrix, 5, power_rounds=0).whitening.astype(float)
    assert np.linalg.svd(np.linalg.qr(blunt)[0].T @ vectors, compute_uv=False).min() < cosines.min()


def test_columns_are_nested(rng: np.random.Generator) -> None:
    whole = found(symmetric(VALUES, V, rng), 5)
    part = whole.first(2)
    np.testing.assert_array_equal(part.whitening, whole.whitening[:, :2])
    np.testing.assert_array_equal(part.unwhitening, whole.unwhitening[:, :2])
    assert part.spectrum is whole.spectrum


def test_only_as_many_columns_as_positive_eigenvalues(rng: np.random.Generator) -> None:
    matrix = symmetric(np.array([3.0, 1.0, -2.0, -5.0]), V, rng)
    result = found(matrix, 6)
    assert result.whitening.shape == result.unwhitening.shape == (V, 2)
    W = result.whitening.astype(float)
    np.testing.assert_allclose(W.T @ matrix @ W, np.eye(2), atol=1e-5)
    assert result.spectrum[-1] == pytest.approx(-5, rel=1e-5)


def test_a_matrix_of_zeros_has_no_directions() -> None:
    assert found(np.zeros((9, 9)), 3).whitening.shape == (9, 0)


def test_noise_of_single_precision_is_no_direction(rng: np.random.Generator) -> None:
    assert found(symmetric(np.array([1.0, 0.5, 3e-7]), V, rng), 5).whitening.shape == (V, 2)


def test_the_same_seed_gives_the_same_bits(rng: np.random.Generator) -> None:
    matrix = symmetric(VALUES, V, rng)
    one, two, other = (found(matrix, 4, seed).whitening for seed in (5, 5, 6))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
