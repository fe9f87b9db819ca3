"""The sparse products of a GPU are those of scipy, for rows of every length, in one order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from tdtool.kernels import sparse_gpu
from tests.emulated_gpu import EmulatedGpu, needs_compiler

pytestmark = needs_compiler


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"])
def either(request: pytest.FixtureRequest) -> EmulatedGpu:
    """Threads in either order."""
    return EmulatedGpu(reverse=request.param)


def rows_of(sizes: list[int], n_columns: int, seed: int = 0) -> sp.csr_array:
    """Rows of these sizes, with values of both signs in distinct columns."""
    rng = np.random.default_rng(seed)
    indices = [np.sort(rng.choice(n_columns, size, replace=False)) for size in sizes]
    values = rng.standard_normal(sum(sizes)).astype(np.float32)
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    columns = np.concatenate([np.zeros(0, np.int64), *indices]).astype(np.int32)
    matrix = sp.csr_array((values, columns, indptr), shape=(len(sizes), n_columns))
    matrix.indptr, matrix.indices = indptr, columns
    return matrix


def dot(gpu: EmulatedGpu, matrix: sp.csr_array, block: Any, out: Any) -> None:
    arrays = (gpu.to_device(array) for array in (matrix.indptr, matrix.indices, matrix.data))
    sparse_gpu.csr_dot(gpu, *arrays, block, out, sparse_gpu.segments(gpu, matrix.indptr))


SIZES = [[0], [1], [0, 3, 0, 1, 8], [5, 1, 4, 2, 3, 33, 0, 7, 6, 9, 12, 4, 5], [513, 0, 512, 1500, 3]]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("q", [1, 3, 8, 30, 32, 36, 65, 132])
def test_products_with_blocks(either: EmulatedGpu, sizes: list[int], q: int) -> None:
    matrix = rows_of(sizes, 1600)
    block = np.random.default_rng(1).standard_normal((1600, q)).astype(np.float32)
    found = []
    for _ in range(2):
        out = either.empty((len(sizes), q), np.float32)
        dot(either, matrix, either.to_device(block), out)
        found.append(either.to_host(out))
    errors = np.abs(found[0] - matrix @ block.astype(np.float64))
    assert np.all(errors <= 2e-6 * (abs(matrix) @ np.abs(block.astype(np.float64))))
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize(("first", "last"), [(0, 4), (4, 12), (3, 8), (1, 2)])
def test_products_with_some_columns_of_a_block_leave_the_others_alone(
    either: EmulatedGpu, first: int, last: int
) -> None:
    matrix = rows_of([4, 0, 700, 9], 800)
    block = np.random.default_rng(1).standard_normal((800, 12)).astype(np.float32)
    out = either.zeros((4, 12), np.float32)
    dot(either, matrix, either.to_device(block)[:, first:last], out[:, first:last])
    wanted = np.zeros((4, 12))
    wanted[:, first:last] = matrix @ block[:, first:last].astype(np.float64)
    np.testing.assert_allclose(either.to_host(out), wanted, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_sums_of_rows_are_in_double_precision(either: EmulatedGpu, sizes: list[int], kind: Any) -> None:
    matrix = rows_of(sizes, 1600)
    values = matrix.data.astype(kind) * 10
    indptr, on_gpu = either.to_device(matrix.indptr), either.to_device(values)
    sums = [sparse_gpu.row_sums(either, indptr, on_gpu, sparse_gpu.segments(either, matrix.indptr)) for _ in range(2)]
    wanted = [values[a:b].astype(np.float64).sum() for a, b in zip(matrix.indptr, matrix.indptr[1:], strict=False)]
    np.testing.assert_allclose(either.to_host(sums[0]), wanted, rtol=1e-11, atol=1e-11)
    assert np.array_equal(either.to_host(sums[0]), either.to_host(sums[1]))


@pytest.mark.parametrize("sizes", [*SIZES, [2] * 1100], ids=lambda sizes: str(sizes[:5]))
def test_entries_by_word(either: EmulatedGpu, sizes: list[int]) -> None:
    matrix = rows_of(sizes, 1600) if len(sizes) < 100 else rows_of(sizes, 2)  # two words of 1100 documents
    n_words = matrix.shape[1]
    words = sparse_gpu.by_word(either, either.to_device(matrix.indptr), either.to_device(matrix.indices), n_words)
    rows, columns = np.repeat(np.arange(len(sizes)), sizes), matrix.indices
    order = np.argsort(columns, kind="stable")
    assert np.array_equal(either.to_host(words.order), order)
    assert np.array_equal(either.to_host(words.document), rows[order])
    assert np.array_equal(either.to_host(words.indptr), np.searchsorted(columns[order], np.arange(n_words + 1)))
    kinds = words.indptr.dtype, words.order.dtype, words.document.dtype
    assert kinds == (np.int64, np.int32, np.int32)
    assert (words.long_rows is None) == (len(sizes) < 100)


def test_segments_cover_the_long_rows_once() -> None:
    indptr = np.array([0, 512, 512, 1025, 1026, 3100])
    gpu = EmulatedGpu()
    found = sparse_gpu.segments(gpu, indptr)
    assert found is not None
    parts = [gpu.to_host(part) for part in (found.rows, found.indptr, found.begins, found.ends)]
    assert [part.tolist() for part in parts] == [
        [2, 4],
        [0, 2, 7],
        [512, 1024, 1026, 1538, 2050, 2562, 3074],
        [1024, 1025, 1538, 2050, 2562, 3074, 3100],
    ]
    assert sparse_gpu.segments(gpu, np.array([0])) is None


def test_elementwise_kernels(either: EmulatedGpu) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((37, 9)).astype(np.float32) for _ in range(2))
    scale, mean = rng.standard_normal(37).astype(np.float32), rng.standard_normal(37)
    along = rng.standard_normal(9)
    squares, first, second, pairs = (either.to_device(array) for array in (a, a, b, a))
    on_gpu = either.to_device(scale)
    sparse_gpu.scaled_squares(either, squares, on_gpu)
    sparse_gpu.word_terms(either, first, second, on_gpu)
    block, factor = either.to_device(b), 0.3
    sparse_gpu.second_moment(either, pairs, block, factor, on_gpu, either.to_device(mean), either.to_device(along))
    column = scale[:, None].astype(np.float64)
    check(either, squares, column * a.astype(np.float64) ** 2)
    check(either, first, a.astype(np.float64) ** 2)
    check(either, second, column * a.astype(np.float64) ** 2 - a.astype(np.float64) * b)
    check(either, pairs, factor * a - column * b - np.outer(mean, along))


def check(gpu: EmulatedGpu, found: Any, wanted: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(gpu.to_host(found), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sizes", [(3, 4, 5), (1, 1, 1), (7, 0, 2), (2, 6, 1)])
def test_products_of_views(sizes: tuple[int, int, int]) -> None:
    n, depth, m = sizes
    gpu, rng = EmulatedGpu(), np.random.default_rng(0)
    left, right = rng.standard_normal((n, depth + 2)), rng.standard_normal((depth, m))
    found = sparse_gpu.product(gpu, gpu.to_device(left)[:, 1 : depth + 1], gpu.to_device(right))
    np.testing.assert_allclose(gpu.to_host(found), left[:, 1 : depth + 1] @ right, rtol=1e-12, atol=1e-14)
    turned = sparse_gpu.product(gpu, gpu.to_device(right).T, gpu.to_device(left)[:, 1 : depth + 1].T)
    np.testing.assert_allclose(gpu.to_host(turned), (left[:, 1 : depth + 1] @ right).T, rtol=1e-12, atol=1e-14)
