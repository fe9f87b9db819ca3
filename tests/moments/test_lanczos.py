"""Eigenpairs by block Lanczos against dense solvers and ARPACK: equal eigenvalues, components, small spaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh

from tdtool.moments.lanczos import largest_eigenpairs
from tests.emulated_gpu import EmulatedGpu

Array = NDArray[Any]


def spectrum(rng: np.random.Generator, values: Array) -> Array:
    """A symmetric matrix of these eigenvalues."""
    turn = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    return np.asarray((turn * values) @ turn.T)


def check(matrix: Any, k: int, found: tuple[Array, Array], atol: float) -> None:
    values, vectors = found
    dense = matrix.toarray() if sp.issparse(matrix) else matrix
    np.testing.assert_allclose(values, np.linalg.eigvalsh(dense)[::-1][:k], atol=atol)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=max(1e-5, atol))
    np.testing.assert_allclose(dense @ vectors, vectors * values, atol=30 * atol)


@pytest.mark.parametrize("block", [1, 3, 8])
@pytest.mark.parametrize("k", [1, 4, 17])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_leading_pairs(rng: np.random.Generator, k: int, block: int, dtype: Any) -> None:
    matrix = spectrum(rng, np.concatenate([np.linspace(1, 0.5, 30), rng.uniform(-1, 0.4, 270)]))
    small = matrix.astype(dtype)
    start = rng.standard_normal(300).astype(dtype)
    how: dict[str, Any] = {"tol": 1e-4 if dtype is np.float32 else 1e-8, "block": block, "size": 60}
    found = largest_eigenpairs(lambda x: small @ x, start, k, **how)
    assert (found[0].dtype, found[1].dtype, found[1].shape) == (np.float64, dtype, (300, k))
    check(matrix, k, found, 1e-4 if dtype is np.float32 else 1e-9)


@pytest.mark.parametrize("multiplicity", [2, 5, 8, 23])
def test_an_eigenvalue_as_often_as_it_occurs(rng: np.random.Generator, multiplicity: int) -> None:
    matrix = spectrum(rng, np.concatenate([np.ones(multiplicity), [0.9, 0.8, 0.7], rng.uniform(-0.5, 0.5, 200)]))
    start, k = rng.standard_normal(len(matrix)), multiplicity + 3
    check(matrix, k, largest_eigenpairs(lambda x: matrix @ x, start, k, tol=1e-8), 1e-9)


@pytest.mark.parametrize("n_cliques", [3, 12, 40])
def test_components(n_cliques: int) -> None:
    """Equal cliques: two eigenvalues in all, and the start is an eigenvector."""
    clique = (np.ones((11, 11)) - np.eye(11)) / 10
    matrix = sp.block_diag([clique] * n_cliques).tocsr()
    start = np.ones(11 * n_cliques)
    k = n_cliques + 2
    found = largest_eigenpairs(lambda x: matrix @ x, start, k, tol=1e-8)
    np.testing.assert_allclose(found[0], [*[1.0] * n_cliques, -0.1, -0.1], atol=1e-9)
    check(matrix, k, found, 1e-9)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 2), (7, 3), (9, 9), (20, 13)])
def test_small_spaces(rng: np.random.Generator, n: int, k: int) -> None:
    """The basis becomes the whole space; a zero matrix among them."""
    matrix = rng.standard_normal((n, n))
    matrix = matrix + matrix.T
    for some in (matrix, np.zeros((n, n))):
        check(some, k, largest_eigenpairs(lambda x, some=some: some @ x, np.ones(n), k, tol=1e-10), 1e-9)  # type: ignore[misc]


def test_as_arpack(rng: np.random.Generator) -> None:
    upper = sp.random_array((900, 900), density=0.01, rng=rng)
    matrix = (upper + upper.T).tocsr()
    values, vectors = largest_eigenpairs(lambda x: matrix @ x, np.ones(900), 20, tol=1e-9)
    expected, others = eigsh(matrix, 20, which="LA", v0=np.ones(900), tol=1e-10, rng=np.random.default_rng(0))
    np.testing.assert_allclose(values, expected[::-1], rtol=1e-8)
    np.testing.assert_allclose(np.abs(np.sum(vectors * others[:, ::-1], axis=0)), 1, atol=1e-6)


def test_the_same_on_a_gpu(rng: np.random.Generator) -> None:
    matrix = spectrum(rng, np.concatenate([np.ones(9), np.linspace(0.9, -0.9, 591)]))
    gpu = EmulatedGpu()
    there = gpu.to_device(matrix)
    # A basis of more than 512 vectors is solved there.
    for k, size in ((11, None), (90, 530)):
        how: dict[str, Any] = {"tol": 1e-8, "size": size}
        values, vectors = largest_eigenpairs(lambda x: there @ x, np.ones(600), k, gpu=gpu, **how)
        assert gpu.owns(vectors)
        again = largest_eigenpairs(lambda x: matrix @ x, np.ones(600), k, **how)
        np.testing.assert_allclose(values, again[0], atol=1e-9)
        check(matrix, k, (values, gpu.to_host(vectors)), 1e-8)


def test_the_same_bits_every_time(rng: np.random.Generator) -> None:
    matrix = spectrum(rng, rng.uniform(-1, 1, 150))
    first, second = (largest_eigenpairs(lambda x: matrix @ x, np.ones(150), 6, tol=1e-6) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_what_is_no_matrix_is_said(rng: np.random.Generator) -> None:
    with pytest.raises(np.linalg.LinAlgError, match="not finite"):
        largest_eigenpairs(lambda x: x * np.nan, np.ones(50), 3, tol=1e-6)
    drift = iter(range(10**9))
    with pytest.raises(np.linalg.LinAlgError, match="have not converged"):
        largest_eigenpairs(
            lambda x: np.roll(x, next(drift), axis=0) * np.arange(400)[:, None], np.ones(400), 3, tol=1e-12, size=20
        )
