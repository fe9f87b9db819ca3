"""The order in which the entries of a sparse tensor are visited for a mode: a compressed fibre tree, or a list."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class FibreTree:
    """A tensor with a mode's coordinates as roots; levels go to the other modes, the smallest first.

    rows, start, values : as sparse_tensor_cpu.tree_mttkrp takes them; n_roots : nodes of the first level.
    """

    rows: Array
    start: Array
    values: Array
    n_roots: int

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.rows.nbytes + self.start.nbytes + self.values.nbytes


@dataclasses.dataclass(frozen=True)
class EntryList:
    """The entries by their coordinate in a mode. order : (nnz,); start : (roots + 1,), where each root begins."""

    order: Array
    start: Array

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.order.nbytes + self.start.nbytes

    @property
    def n_roots(self) -> int:
        """Number of different coordinates in the mode."""
        return self.start.size - 1


def entry_order(places: Sequence[Array], sizes: Sequence[int]) -> Array:
    """The stable lexicographic order (n,) of n places, given as one array (n,) for each mode.

    By one number a place where the product of the sizes fits 63 bits, else mode by mode.
    """
    if math.prod(sizes) > np.iinfo(np.int64).max:
        return np.lexsort(places[::-1])
    key = np.zeros(places[0].size, np.int64)
    for place, size in zip(places, sizes, strict=True):
        key *= size
        key += place.astype(np.int64, copy=False)
    if np.all(key[1:] >= key[:-1]):
        return np.arange(key.size)
    return np.argsort(key, kind="stable")


def first_of_each(places: Sequence[Array], order: Array) -> Array:
    """Where in the order each different place begins: positions, ascending."""
    new = np.ones(order.size, bool)
    if order.size:
        new[1:] = False
    for place in places:
        ordered = place[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    return np.flatnonzero(new)


def visit_order(
    coordinates: Sequence[Array], values: Array, shape: Sequence[int], mode: int, *, max_bytes: int
) -> FibreTree | EntryList:
    """The tree with the mode as its root if it needs at most max_bytes, else the list.

    coordinates : N >= 2 arrays (nnz,), no two places alike; values : (nnz,) float64.
    """
    levels = [mode, *sorted((other for other in range(len(shape)) if other != mode), key=lambda other: shape[other])]
    order = entry_order([coordinates[level] for level in levels], [shape[level] for level in levels])
    firsts = [
        first_of_each([coordinates[level] for level in levels[: depth + 1]], order) for depth in range(len(levels) - 1)
    ]
    nodes = sum(first.size for first in firsts) + order.size
    index = np.dtype(np.int32 if max(nodes, sum(shape)) < np.iinfo(np.int32).max else np.int64)
    if values.nbytes + index.itemsize * (2 * nodes - order.size + 1) > max_bytes:
        return EntryList(order.astype(index), np.append(firsts[0], order.size).astype(index))
    return _tree(coordinates, values, shape, levels, order, firsts, index)


def _tree(
    coordinates: Sequence[Array],
    values: Array,
    shape: Sequence[int],
    levels: Sequence[int],
    order: Array,
    firsts: Sequence[Array],
    index: np.dtype[Any],
) -> FibreTree:
    offsets = np.concatenate([[0], np.cumsum(shape)])
    begins = [*firsts, np.arange(order.size)]
    level_start = np.concatenate([[0], np.cumsum([first.size for first in begins])])
    rows = np.empty(level_start[-1], index)
    start = np.empty(level_start[-2] + 1, index)
    start[-1] = level_start[-1]
    for depth, (level, begin) in enumerate(zip(levels, begins, strict=True)):
        own = slice(level_start[depth], level_start[depth + 1])
        rows[own] = coordinates[level][order[begin]] + (offsets[level] if depth else 0)
        if depth + 1 < len(levels):
            start[own] = np.searchsorted(begins[depth + 1], begin) + level_start[depth + 1]
    return FibreTree(rows, start, values[order], firsts[0].size)
