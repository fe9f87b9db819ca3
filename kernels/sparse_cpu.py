"""Products of sparse rows with dense blocks, one pass over the entries: numba on the CPU.

A partition is CSR: indptr (D + 1,) int64, indices (nnz,) int32 below V, counts (nnz,). Dense blocks are float32 and
row-major, so that the inner loop runs along memory.
"""

from __future__ import annotations

import numpy as np

from tdtool.kernels.backend import jit


@jit
def pair_product(indptr, indices, counts, scale, block, out):  # type: ignore[no-untyped-def]
    """Add C' diag(scale) C block to out. scale : (D,) float64, 0 leaves a document out; block, out : (V, q) float32.

    Fused over a document: its rows of `block` are still in the cache when they are written to.
    """
    q = block.shape[1]
    row = np.empty(q, block.dtype)
    for d in range(indptr.size - 1):
        if scale[d] == 0.0:
            continue
        row[:] = 0
        for e in range(indptr[d], indptr[d + 1]):
            weight, source = np.float32(counts[e]), block[indices[e]]
            for t in range(q):
                row[t] += weight * source[t]
        for t in range(q):
            row[t] *= np.float32(scale[d])
        for e in range(indptr[d], indptr[d + 1]):
            weight, target = np.float32(counts[e]), out[indices[e]]
            for t in range(q):
                target[t] += weight * row[t]


@jit
def csr_dot(indptr, indices, counts, block, out):  # type: ignore[no-untyped-def]
    """out = C block. block : (V, q) float32; out : (D, q) float32."""
    for d in range(indptr.size - 1):
        row = out[d]
        row[:] = 0
        for e in range(indptr[d], indptr[d + 1]):
            weight, source = np.float32(counts[e]), block[indices[e]]
            for t in range(row.size):
                row[t] += weight * source[t]


@jit
def csr_transpose_dot(indptr, indices, counts, scale, block, out):  # type: ignore[no-untyped-def]
    """Add C' diag(scale) block to out. scale : (D,) float64, 0 leaves one out; block : (D, q), out : (V, q) float32."""
    row = np.empty(block.shape[1], block.dtype)
    for d in range(indptr.size - 1):
        if scale[d] == 0.0:
            continue
        for t in range(row.size):
            row[t] = block[d, t] * np.float32(scale[d])
        for e in range(indptr[d], indptr[d + 1]):
            weight, target = np.float32(counts[e]), out[indices[e]]
            for t in range(row.size):
                target[t] += weight * row[t]


@jit
def weighted_column_sums(indptr, indices, counts, scale, out):  # type: ignore[no-untyped-def]
    """Add C' scale to out. scale : (D,) float64; out : (V,) float64."""
    for d in range(indptr.size - 1):
        if scale[d] != 0.0:
            for e in range(indptr[d], indptr[d + 1]):
                out[indices[e]] += scale[d] * counts[e]


@jit
def row_sums(indptr, counts, out):  # type: ignore[no-untyped-def]
    """out[d] = sum of the counts of document d. out : (D,) float64."""
    for d in range(indptr.size - 1):
        total = 0.0
        for e in range(indptr[d], indptr[d + 1]):
            total += counts[e]
        out[d] = total
