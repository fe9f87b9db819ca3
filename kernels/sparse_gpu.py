"""Sums over the rows of sparse matrices, and products with dense blocks, on a GPU. A row is summed in a fixed order.

A matrix is CSR on the GPU: indptr (n + 1,) int64, indices (nnz,) int32, values (nnz,). A group of lanes takes a row;
rows of many entries are cut into segments, whose sums are then added in their order.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.device_gpu import BLOCK, DeviceArray, Gpu, MatrixStrides, gemm_call

#: Entries of a row that one group of lanes adds up at most.
LONGEST = 512
_FILE = "sparse.cu"
_EVERY = np.int64(np.iinfo(np.int64).max)


@dataclasses.dataclass(frozen=True)
class Segments:
    """The rows of more than LONGEST entries, cut into segments of at most that many: arrays of the GPU.

    rows : (n_long,) int64; indptr : (n_long + 1,) int64, segments of each; begins, ends : (n_segments,) int64, entries.
    """

    rows: DeviceArray
    indptr: DeviceArray
    begins: DeviceArray
    ends: DeviceArray


@dataclasses.dataclass(frozen=True)
class ByWord:
    """The entries of documents sorted by word; document is by place in that order. Arrays of the GPU.

    indptr : (V + 1,) int64; order, document : (nnz,) int32; long_rows : the words of many entries, None without such.
    """

    indptr: DeviceArray
    order: DeviceArray
    document: DeviceArray
    long_rows: Segments | None


def segments(gpu: Gpu, indptr: NDArray[np.int64]) -> Segments | None:
    """The segments of the rows of many entries, None where there are no such rows. indptr : (n + 1,) of the host."""
    sizes = np.diff(indptr)
    rows = np.flatnonzero(sizes > LONGEST)
    if rows.size == 0:
        return None
    counts = -(-sizes[rows] // LONGEST)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    within = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
    begins = np.repeat(indptr[rows], counts) + within * LONGEST
    ends = np.minimum(begins + LONGEST, np.repeat(indptr[rows + 1], counts))
    return Segments(*(gpu.to_device(array.astype(np.int64)) for array in (rows, starts, begins, ends)))


def by_word(gpu: Gpu, indptr: DeviceArray, indices: DeviceArray, n_terms: int) -> ByWord:
    """Sort entries by word, stable. indptr : (D + 1,) int64, indices : (nnz,) int32; fewer than 2^31 entries.

    A radix sort, 8 passes over 12 bytes an entry; the host looks at V numbers once.
    """
    xp = gpu.xp
    document = gpu.empty(indices.shape, np.int32)
    n_documents = indptr.size - 1
    gpu.launch(_FILE, "entry_rows", _blocks(n_documents * 32), BLOCK, indptr, np.int64(n_documents), document)
    order = xp.argsort(indices, kind="stable").astype(np.int32)
    document = document[order]
    if indices.size == 0:  # cupy's searchsorted would look at a first entry
        words = gpu.zeros(n_terms + 1, np.int64)
    else:
        words = xp.searchsorted(indices[order], xp.arange(n_terms + 1, dtype=np.int32)).astype(np.int64)
    return ByWord(words, order, document, segments(gpu, gpu.to_host(words)))


def csr_dot(
    gpu: Gpu,
    indptr: DeviceArray,
    indices: DeviceArray,
    values: DeviceArray,
    block: DeviceArray,
    out: DeviceArray,
    long_rows: Segments | None,
) -> None:
    """out = S block. values : (nnz,) float32; block : (m, q), out : (n, q) float32, rows contiguous.

    2 nnz q operations; reads nnz (4 q + 8) bytes, of which rows of `block` that are met again come from the cache.
    """
    _csr_dot(gpu, (indptr[:-1], indptr[1:]), indices, values, block, out, np.int64(LONGEST))
    if long_rows is not None:
        parts = gpu.empty((long_rows.begins.size, out.shape[1]), np.float32)
        _csr_dot(gpu, (long_rows.begins, long_rows.ends), indices, values, block, parts, _EVERY)
        add_segments(gpu, long_rows, parts, out)


def row_sums(gpu: Gpu, indptr: DeviceArray, values: DeviceArray, long_rows: Segments | None) -> DeviceArray:
    """(n,) float64 sums of the values of each row. values : (nnz,) float32 or float64."""
    kernel = "row_sums_float" if values.dtype == np.float32 else "row_sums_double"
    out = gpu.empty(indptr.size - 1, np.float64)
    _row_sums(gpu, kernel, (indptr[:-1], indptr[1:]), values, out, np.int64(LONGEST))
    if long_rows is not None:
        parts = gpu.empty(long_rows.begins.size, np.float64)
        _row_sums(gpu, kernel, (long_rows.begins, long_rows.ends), values, parts, _EVERY)
        add_segments(gpu, long_rows, parts[:, None], out[:, None])
    return out


def scaled_squares(gpu: Gpu, rows: DeviceArray, scale: DeviceArray) -> None:
    """rows[r] = scale[r] rows[r]^2, in place. rows : (n, q), scale : (n,) float32, both contiguous."""
    n_rows, n_columns = rows.shape
    sizes = np.int64(n_rows), np.int32(n_columns)
    gpu.launch(_FILE, "scaled_squares", _blocks(rows.size), BLOCK, rows, scale, *sizes)


def word_terms(gpu: Gpu, along_v: DeviceArray, along_z: DeviceArray, n: DeviceArray) -> None:
    """along_z = n along_v^2 - along_v along_z, then along_v = along_v^2, in place. (words, q) float32; n : (words,)."""
    n_rows, n_columns = along_v.shape
    sizes = np.int64(n_rows), np.int32(n_columns)
    gpu.launch(_FILE, "word_terms", _blocks(along_v.size), BLOCK, along_v, along_z, n, *sizes)


def second_moment(
    gpu: Gpu,
    pairs: DeviceArray,
    block: DeviceArray,
    factor: float,
    diagonal: DeviceArray,
    mean: DeviceArray,
    along: DeviceArray,
) -> None:
    """pairs = factor pairs - diag(diagonal) block - mean along', in place.

    pairs, block : (V, q) float32, contiguous; diagonal : (V,) float32; mean : (V,), along : (q,) float64.
    """
    n_rows, n_columns = pairs.shape
    sizes = np.int64(n_rows), np.int32(n_columns)
    given = (pairs, block, np.float32(factor), diagonal, mean, along, *sizes)
    gpu.launch(_FILE, "second_moment", _blocks(pairs.size), BLOCK, *given)


def product(gpu: Gpu, left: DeviceArray, right: DeviceArray) -> DeviceArray:
    """left right, (n, d) by (d, m), of one dtype, in the precision that the GPU was opened with; either may be a view.

    A float32 or float64 product of cuBLAS without copies, of matrices with contiguous rows or columns.
    """
    out = gpu.empty((left.shape[0], right.shape[1]), left.dtype)
    if left.shape[1] == 0:
        out[...] = 0
        return out
    sizes = left.shape[0], right.shape[1], left.shape[1]
    gpu.gemm(left, right, out, gemm_call(*sizes, _strides(left), _strides(right), _strides(out), 1))
    return out


def _strides(matrix: DeviceArray) -> MatrixStrides:
    return matrix.strides[0] // matrix.itemsize, matrix.strides[1] // matrix.itemsize, 0


def _csr_dot(
    gpu: Gpu,
    places: tuple[DeviceArray, DeviceArray],
    indices: DeviceArray,
    values: DeviceArray,
    block: DeviceArray,
    out: DeviceArray,
    longest: np.int64,
) -> None:
    n_rows, n_columns = out.shape
    if n_columns == 0:
        return
    lanes = next(lanes for lanes in (8, 16, 32) if 4 * lanes >= n_columns or lanes == 32)
    leads = [array.strides[0] // 4 if array.shape[0] > 1 else n_columns for array in (block, out)]
    aligned = n_columns % 4 == 0 and all(lead % 4 == 0 for lead in leads)
    aligned = aligned and all(gpu.pointer(array) % 16 == 0 for array in (block, out))
    kernel = f"csr_dot_{lanes}_aligned" if aligned else f"csr_dot_{lanes}"
    grid = _blocks(n_rows * lanes) * -(-n_columns // (4 * lanes))
    sizes = np.int64(leads[0]), np.int32(n_columns)
    given = (*places, indices, values, np.int64(n_rows), block, *sizes, out, np.int64(leads[1]), longest)
    gpu.launch(_FILE, kernel, grid, BLOCK, *given)


def _row_sums(
    gpu: Gpu,
    kernel: str,
    places: tuple[DeviceArray, DeviceArray],
    values: DeviceArray,
    out: DeviceArray,
    longest: np.int64,
) -> None:
    grid = _blocks(out.size * 32)
    gpu.launch(_FILE, kernel, grid, BLOCK, *places, values, np.int64(out.size), out, longest)


def add_segments(gpu: Gpu, long_rows: Segments, parts: DeviceArray, out: DeviceArray) -> None:
    """The sums of the segments' rows of `parts`, into the long rows of `out`."""
    kernel = "add_segments_float" if parts.dtype == np.float32 else "add_segments_double"
    n_rows, n_columns = long_rows.rows.size, parts.shape[1]
    lead = out.strides[0] // out.itemsize if out.shape[0] > 1 else n_columns
    given = (long_rows.rows, long_rows.indptr, np.int64(n_rows), parts, np.int32(n_columns), out, np.int64(lead))
    gpu.launch(_FILE, kernel, _blocks(n_rows * n_columns), BLOCK, *given)


def _blocks(n_threads: int) -> int:
    return -(-n_threads // BLOCK)
