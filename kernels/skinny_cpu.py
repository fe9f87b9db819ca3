"""Products of stacks of matrices with one narrow matrix, in tiles of registers and without packing: numba on the CPU.

All arrays are of one real dtype. Where rows are named wide, their entries are neighbours in memory and their number is
a multiple of LANES of that dtype.
"""

from __future__ import annotations

from tdtool.kernels.backend import jit
from tdtool.kernels.skinny_micro import MOST_ROWS, MOST_VECTORS, add_tile
from tdtool.kernels.vector_size import VECTOR_BYTES

_DEPTH = 256


@jit
def right_products(stack, narrow, out):  # type: ignore[no-untyped-def]
    """out[l] = stack[l] @ narrow.

    stack : (L, M, P), any strides; narrow : (P, W) wide; out : (L, M, W) wide.
    """
    lanes = VECTOR_BYTES // out.itemsize
    n_rows, n_vectors, n_sums = stack.shape[1], narrow.shape[1] // lanes, stack.shape[2]
    for begin in range(0, n_sums, _DEPTH):
        depth = min(_DEPTH, n_sums - begin)
        for l in range(stack.shape[0]):
            m = 0
            while m < n_rows:
                rows = _part(n_rows - m)
                v = 0
                while v < n_vectors:
                    vectors = min(MOST_VECTORS, n_vectors - v)
                    add_tile(rows, vectors, depth, stack[l], m, begin, narrow, begin, v * lanes, out[l], begin > 0)
                    v += vectors
                m += rows


@jit
def left_products(stack, narrow, out):  # type: ignore[no-untyped-def]
    """out[l] = narrow @ stack[l].

    stack : (L, P, W) wide; narrow : (M, P), any strides; out : (L, M, W) wide.
    """
    lanes = VECTOR_BYTES // out.itemsize
    n_rows, n_vectors, n_sums = narrow.shape[0], stack.shape[2] // lanes, narrow.shape[1]
    for l in range(stack.shape[0]):
        for begin in range(0, n_sums, _DEPTH):
            depth = min(_DEPTH, n_sums - begin)
            v = 0
            while v < n_vectors:
                vectors = min(MOST_VECTORS, n_vectors - v)
                m = 0
                while m < n_rows:
                    rows = _part(n_rows - m)
                    add_tile(rows, vectors, depth, narrow, m, begin, stack[l], begin, v * lanes, out[l], begin > 0)
                    m += rows
                v += vectors


@jit
def _part(left):  # type: ignore[no-untyped-def]
    """The largest number of rows of a tile that is not above what is left."""
    rows = MOST_ROWS
    while rows > left:
        rows //= 2
    return rows
