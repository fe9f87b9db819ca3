"""Sparse tensors: coordinates and values, checked and sorted once, and their products with the factors of a CP model.

Letters: N order, I_n size of mode n, R rank, nnz number of stored entries.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from tdtool.kernels.operands import checked_factors, checked_mode, floating
from tdtool.kernels.sparse_tensor_cpu import list_mttkrp, model_at, tree_mttkrp
from tdtool.kernels.sparse_tree import EntryList, FibreTree, entry_order, first_of_each, visit_order
from tdtool.kernels.threads import blocks, run_parallel, using

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: A dense (I, I) is made up to this I (0.8 GB), and a dense tensor up to this many entries (1 GB).
_LARGEST_GRAM, _LARGEST_DENSE = 10_000, 2**27
_MAX_ORDER = 8
#: What an operation on an entry costs more than one in a matrix product: its operands lie anywhere.
_SCATTERED = 4
#: Entries whose coordinates are put side by side at a time.
_ENTRIES = 2**16


@dataclasses.dataclass(frozen=True, eq=False)
class SparseTensor:
    """A tensor by its entries: all that is not stored is 0.

    coordinates : N arrays (nnz,) int32 or int64, in lexicographic order, no two places alike; values : (nnz,) float64,
    none of them 0; shape : N sizes. `from_coo` makes it, and sees to all that.
    """

    coordinates: tuple[Array, ...]
    values: Floats
    shape: tuple[int, ...]
    _orders: dict[int, FibreTree | EntryList] = dataclasses.field(default_factory=dict, init=False, repr=False)

    @classmethod
    def from_coo(cls, coordinates: Sequence[Array] | Array, values: Array, shape: Sequence[int]) -> SparseTensor:
        """Check, sort, add up the entries of one place, and drop zeros.

        coordinates : N arrays (n,) of whole numbers from 0, or one (N, n); values : (n,) real numbers.
        ValueError: order 0 or above 8, sizes below 1, a coordinate outside the shape, a value that is not finite.
        """
        sizes = _checked_shape(shape)
        places = _checked_coordinates(coordinates, sizes)
        numbers = _checked_values(values, places[0].size)
        order = entry_order(places, sizes)
        first = first_of_each(places, order)
        sums = np.add.reduceat(numbers[order], first) if first.size else numbers
        if not np.isfinite(sums).all():
            raise ValueError("entries of the same place add up to more than a float64 holds")
        kept = order[first[sums != 0]]
        index = np.int32 if max(sizes) <= np.iinfo(np.int32).max else np.int64
        return cls(tuple(place[kept].astype(index) for place in places), sums[sums != 0], sizes)

    @property
    def order(self) -> int:
        """Number of modes."""
        return len(self.shape)

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return int(self.values.size)

    @property
    def nbytes(self) -> int:
        """Bytes of the coordinates and values; what is kept beside them for MTTKRP is at most N times as much."""
        return self.values.nbytes + sum(place.nbytes for place in self.coordinates)

    def norm(self) -> float:
        """The Frobenius norm."""
        return float(np.linalg.norm(self.values))

    def to_dense(self) -> Floats:
        """The dense array. ValueError: it would have more than 2^27 entries (1 GB)."""
        size = math.prod(self.shape)
        if size > _LARGEST_DENSE:
            raise ValueError(
                f"a dense tensor of {self.shape} has {size:,} entries; at most {_LARGEST_DENSE:,} are made"
            )
        dense = np.zeros(self.shape)
        dense[self.coordinates] = self.values
        return dense

    def visit_order(self, mode: int) -> FibreTree | EntryList:
        """How MTTKRP of a mode visits the entries: made at the first call, kept. At most as large as the entries."""
        if mode not in self._orders:
            made = visit_order(self.coordinates, self.values, self.shape, mode, max_bytes=self.nbytes)
            self._orders[mode] = made
        return self._orders[mode]


def sparse_mttkrp(tensor: SparseTensor, factors: Sequence[Array], mode: int, *, threads: int | None = None) -> Floats:
    """unfold(tensor, mode) @ khatri_rao(the other factors in order): (I_n, R) float64.

    factors : N real arrays (I_n, R); of factors[mode] only the shape counts. threads : at most so many, default those
    that kernels may use here (`threads.using`); the result does not depend on them.
    ValueError: sizes that do not match, no such mode.
    """
    mode = checked_mode(mode, tensor.order)
    stacked, offsets = _stacked(tensor.shape, factors)
    out = np.zeros((tensor.shape[mode], stacked.shape[1]))
    if tensor.order == 1:
        out[tensor.coordinates[0]] = tensor.values[:, None]
        return out
    visit = tensor.visit_order(mode)
    places = np.stack(tensor.coordinates) if isinstance(visit, EntryList) else None

    def rows_of(first: int, last: int) -> None:
        if isinstance(visit, FibreTree):
            tree_mttkrp(visit.rows, visit.start, tensor.order, visit.values, stacked, first, last, out)
        else:
            shared = (mode, places, tensor.values, stacked, offsets)
            list_mttkrp(visit.order, visit.start, *shared, first, last, out)

    work = float(tensor.nnz) * _SCATTERED * stacked.shape[1] * tensor.order
    with contextlib.nullcontext() if threads is None else using(threads):
        run_parallel([functools.partial(rows_of, *part) for part in _cuts(visit, work)])
    return out


def sparse_model_at(coordinates: Sequence[Array], weights: Array, factors: Sequence[Array]) -> Floats:
    """The values (n,) float64 of the CP model sum_r weights_r a_r o b_r o ... at n places.

    coordinates : N arrays (n,) of whole numbers from 0; weights : (R,); factors : N real arrays (I_n, R).
    ValueError: sizes that do not match, a coordinate outside the factors.
    """
    shape = _checked_shape([len(factor) for factor in factors])
    stacked, offsets = _stacked(shape, factors)
    scale = _checked_values(weights, stacked.shape[1], "weights")
    places = _checked_coordinates(coordinates, shape)
    out = np.empty(places[0].size)
    for start in range(0, out.size, _ENTRIES):
        block = np.stack([place[start : start + _ENTRIES] for place in places])
        model_at(block, scale, stacked, offsets, out[start : start + _ENTRIES])
    return out


def sparse_inner(tensor: SparseTensor, weights: Array, factors: Sequence[Array]) -> float:
    """<tensor, CP model>, over the stored entries. weights : (R,); factors : N arrays (I_n, R)."""
    return float(tensor.values @ sparse_model_at(tensor.coordinates, weights, factors))


def sparse_gram(tensor: SparseTensor, mode: int) -> Floats:
    """unfold(tensor, mode) @ unfold(tensor, mode).T, dense (I_n, I_n). ValueError: I_n above 10,000."""
    mode = checked_mode(mode, tensor.order)
    size = tensor.shape[mode]
    if size > _LARGEST_GRAM:
        raise ValueError(f"mode {mode} has size {size:,}; a dense Gram matrix is made up to {_LARGEST_GRAM:,}")
    others = [other for other in range(tensor.order) if other != mode]
    columns = np.zeros(tensor.nnz, np.int64)
    if others and tensor.nnz:
        places = [tensor.coordinates[other] for other in others]
        order = entry_order(places, [tensor.shape[other] for other in others])
        begins = np.zeros(tensor.nnz, np.int64)
        begins[first_of_each(places, order)[1:]] = 1
        columns[order] = np.cumsum(begins)
    place = (tensor.coordinates[mode], columns)
    unfolded = sp.csr_array((tensor.values, place), shape=(size, int(columns.max(initial=0)) + 1))
    turned, out = unfolded.T.tocsr(), np.empty((size, size))
    for start in range(0, size, 256):
        out[start : start + 256] = (unfolded[start : start + 256] @ turned).toarray()
    return out


def _cuts(visit: FibreTree | EntryList, work: float) -> list[tuple[int, int]]:
    """Blocks of roots, first and last + 1, with about as many nodes below them each."""
    below = visit.start[: visit.n_roots + 1]
    wanted = [int(below[0]) + part.start for part in blocks(int(below[-1] - below[0]), work)]
    borders = [0, *(int(cut) for cut in np.searchsorted(below, wanted[1:])), visit.n_roots]
    return list(itertools.pairwise(borders))


def _stacked(shape: Sequence[int], factors: Sequence[Array]) -> tuple[Floats, NDArray[np.int64]]:
    """The factors one below the other as float64, and the row at which each begins."""
    arrays = checked_factors(shape, factors)
    if any(array.dtype.kind == "c" for array in arrays):
        raise ValueError("complex factors do not go with a sparse tensor; its values are real")
    offsets = np.cumsum([0, *shape[:-1]], dtype=np.int64)
    return np.concatenate(arrays, dtype=np.float64), offsets


def _checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in shape)
    if not 1 <= len(sizes) <= _MAX_ORDER or min(sizes) < 1:
        raise ValueError(f"shape is {sizes}; a sparse tensor has 1 to {_MAX_ORDER} modes of size 1 or more")
    if max(sizes) > np.iinfo(np.int64).max:
        raise ValueError(f"shape is {sizes}; the largest size is {np.iinfo(np.int64).max}")
    return sizes


def _checked_coordinates(coordinates: Sequence[Array] | Array, sizes: tuple[int, ...]) -> list[Array]:
    places = [np.asarray(place) for place in coordinates]
    shapes = [place.shape for place in places]
    if len(places) != len(sizes) or any(len(s) != 1 for s in shapes) or len(set(shapes)) > 1:
        raise ValueError(f"coordinates of shapes {shapes}; shape {sizes} needs {len(sizes)} lists of one length")
    for mode, (place, size) in enumerate(zip(places, sizes, strict=True)):
        if place.size and place.dtype.kind not in "iu":
            raise ValueError(f"the coordinates of mode {mode} are {place.dtype}; they need whole numbers")
        if place.size and (place.min() < 0 or place.max() >= size):
            raise ValueError(f"mode {mode} has coordinates from {place.min()} to {place.max()}; its size is {size}")
    return [place if place.dtype.char in "iql" else place.astype(np.int64) for place in places]


def _checked_values(values: Array, count: int, name: str = "values") -> Floats:
    numbers = floating(values, f"list of {name}")
    if numbers.shape != (count,) or numbers.dtype.kind == "c":
        raise ValueError(f"{name} are {numbers.dtype} of shape {numbers.shape}; they need {count} real numbers")
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        raise ValueError(f"{name}[{bad[0]}] is {numbers[bad[0]]}; {name} are finite (what a sparse tensor lacks is 0)")
    return numbers.astype(np.float64, copy=False)
