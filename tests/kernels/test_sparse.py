"""Sparse rows times dense blocks, against dense matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from tdtool.kernels import sparse_cpu

# Whole numbers below 2^24 in all sums: single precision is exact, so equality is.
D, V, Q = 5, 7, 3


@pytest.fixture(params=[np.int32, np.float32])
def counts(request: pytest.FixtureRequest, rng: np.random.Generator) -> sp.csr_array:
    dense = rng.integers(0, 4, (D, V)) * rng.integers(0, 2, (D, V))
    dense[2] = 0
    dense[4, 6] = 3
    return sp.csr_array(dense.astype(request.param))


@pytest.fixture
def scale() -> NDArray[np.float64]:
    return np.array([0.5, 0.0, 4.0, 2.0, 0.25])


def parts(counts: sp.csr_array) -> tuple[NDArray, NDArray, NDArray]:
    return counts.indptr.astype(np.int64), counts.indices.astype(np.int32), counts.data


def block(rows: int, rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.integers(-5, 6, (rows, Q)).astype(np.float32)


def test_pair_product(counts: sp.csr_array, scale: NDArray[np.float64], rng: np.random.Generator) -> None:
    right, out = block(V, rng), block(V, rng)
    expected = out + counts.toarray().T @ np.diag(scale) @ counts.toarray() @ right
    sparse_cpu.pair_product(*parts(counts), scale, right, out)
    np.testing.assert_array_equal(out, expected)


def test_csr_dot_replaces_what_was_there(counts: sp.csr_array, rng: np.random.Generator) -> None:
    right, out = block(V, rng), np.full((D, Q), np.nan, np.float32)
    sparse_cpu.csr_dot(*parts(counts), right, out)
    np.testing.assert_array_equal(out, counts.toarray() @ right)


def test_csr_transpose_dot(counts: sp.csr_array, scale: NDArray[np.float64], rng: np.random.Generator) -> None:
    left, out = block(D, rng), block(V, rng)
    expected = out + counts.toarray().T @ (scale[:, None] * left)
    sparse_cpu.csr_transpose_dot(*parts(counts), scale, left, out)
    np.testing.assert_array_equal(out, expected)


def test_weighted_column_sums(counts: sp.csr_array, scale: NDArray[np.float64]) -> None:
    out = np.arange(V, dtype=float)
    sparse_cpu.weighted_column_sums(*parts(counts), scale, out)
    np.testing.assert_array_equal(out, np.arange(V) + scale @ counts.toarray())


def test_row_sums(counts: sp.csr_array) -> None:
    out = np.full(D, np.nan)
    sparse_cpu.row_sums(counts.indptr.astype(np.int64), counts.data, out)
    np.testing.assert_array_equal(out, counts.toarray().sum(axis=1))


@pytest.mark.parametrize("kernel", [sparse_cpu.pair_product, sparse_cpu.csr_transpose_dot])
def test_a_document_of_scale_0_is_left_out_whatever_it_holds(kernel: Callable[..., None]) -> None:
    counts = sp.csr_array(np.array([[np.inf, 1.0], [0.0, 2.0]], np.float32))
    out = np.zeros((2, Q), np.float32)
    kernel(*parts(counts), np.array([0.0, 1.0]), np.ones((2, Q), np.float32), out)
    expected = {sparse_cpu.pair_product: 4.0, sparse_cpu.csr_transpose_dot: 2.0}[kernel]
    np.testing.assert_array_equal(out, [[0.0] * Q, [expected] * Q])
