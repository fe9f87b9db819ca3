"""One sweep of MTTKRP over all modes of a dense tensor with two passes over it: a dimension tree.

The modes are split in two halves. The tensor times the factors of the second half serves all modes of the first, and
the tensor times the new factors of the first half serves all modes of the second; each half is split again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, MutableSequence, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.arrays import as_owned, to_host
from tdtool.kernels.device_gpu import owner
from tdtool.kernels.khatri_rao import khatri_rao
from tdtool.kernels.mttkrp_cpu import add_over_first, add_over_second
from tdtool.kernels.mttkrp_dense import dense_mttkrp
from tdtool.kernels.mttkrp_gpu import sum_of_rows, times
from tdtool.kernels.operands import checked_factors
from tdtool.kernels.skinny import multiply_left, multiply_rows
from tdtool.kernels.threads import READING, blocks, pays, run_parallel, tree_sum

Array = NDArray[Any]

#: Columns, or sums, that are worth a thread.
_COLUMNS = 64


def split_mode(tensor: Array, rank: int) -> int | None:
    """The first mode of the second half, for the smallest partial products; None where no tree pays.

    It pays from order 3 on, for a tensor in C or F order whose partial products take at most half its size.
    """
    if tensor.ndim < 3 or not tensor.size or not rank or not (tensor.flags.c_contiguous or tensor.flags.f_contiguous):
        return None
    choices = []
    for split in range(1, tensor.ndim):
        halves = [(math.prod(tensor.shape[:split]), split), (math.prod(tensor.shape[split:]), tensor.ndim - split)]
        choices.append((max(entries for entries, modes in halves if modes > 1), -split))
    entries, split = min(choices)
    return -split if 2 * entries * rank <= tensor.size else None


def tree_sweep(
    tensor: Array, factors: MutableSequence[Array], update: Callable[[int, Array], Array], split: int
) -> None:
    """factors[mode] = update(mode, MTTKRP with the factors as they are by then), mode by mode. split : half's first."""
    backwards = not tensor.flags.c_contiguous
    stored = tensor.T if backwards else tensor
    low, high = list(range(split)), list(range(split, tensor.ndim))
    for kept, summed in ((low, high), (high, low)):
        if len(kept) == 1:
            arrays = checked_factors(tensor.shape, factors)
            factors[kept[0]] = update(kept[0], dense_mttkrp(tensor, arrays, kept[0]))
            continue
        matrix = stored.reshape(math.prod(tensor.shape[mode] for mode in (high if backwards else low)), -1)
        partial = _times(matrix, _product(factors, summed, backwards, matrix), (kept is low) != backwards)
        _descend(partial, kept, factors, update, backwards)


def _times(matrix: Array, product: Array, kept_first: bool) -> Array:
    """matrix @ product : (P, R), or matrix.T @ product : (S, R)."""
    gpu = owner(matrix)
    if gpu is not None:
        return times(gpu, matrix if kept_first else matrix.T, product)
    dtype = np.result_type(matrix, product)
    n_rows, n_columns = matrix.shape
    rank = product.shape[1]
    if kept_first:
        out = np.empty((n_rows, rank), dtype)
        multiply_rows(matrix, product, out)
        return out
    work = float(matrix.size) * (rank + READING)
    if not pays(work):
        turned = np.empty((1, rank, n_columns), dtype)
        multiply_left(product.T, matrix[None], turned)
        return np.ascontiguousarray(turned[0].T)
    if n_columns <= n_rows:
        rows = blocks(n_rows, work)
        parts = np.empty((len(rows), rank, n_columns), dtype)
        places = [(part, slice(None), parts[place : place + 1]) for place, part in enumerate(rows)]
    else:
        parts = np.empty((1, rank, n_columns), dtype)
        places = [(slice(None), part, parts[:, :, part]) for part in blocks(n_columns, work, least=_COLUMNS)]
    run_parallel([functools.partial(multiply_left, product[r].T, matrix[None, r, c], out) for r, c, out in places])
    return np.ascontiguousarray(tree_sum(list(parts)).T)


def _descend(
    partial: Array,
    modes: Sequence[int],
    factors: MutableSequence[Array],
    update: Callable[[int, Array], Array],
    backwards: bool,
) -> None:
    """Update the factors of `modes` from the tensor times all other factors. partial : (product of their sizes, R)."""
    if len(modes) == 1:
        factors[modes[0]] = update(modes[0], to_host(partial))
        return
    low, high = modes[: len(modes) // 2], modes[len(modes) // 2 :]
    for kept, summed in ((low, high), (high, low)):
        product = _product(factors, summed, backwards, partial)
        _descend(_weighted(partial, product, (kept is low) != backwards), kept, factors, update, backwards)


def _weighted(partial: Array, product: Array, kept_first: bool) -> Array:
    """Sums over the second half of the rows of partial (P S, R) with weights (S, R), or over the first with (P, R)."""
    n_rows, rank = len(partial) // len(product), partial.shape[1]
    blocked = partial.reshape(n_rows if kept_first else len(product), -1, rank)
    gpu = owner(partial)
    if gpu is not None:
        return sum_of_rows(gpu, blocked, product, over_first=not kept_first)
    out = np.zeros((n_rows, rank), np.result_type(partial, product))
    add = add_over_second if kept_first else add_over_first
    if pays(partial.size * READING):
        shares = blocks(n_rows, partial.size * READING, least=_COLUMNS)
        run_parallel([functools.partial(add, blocked, product, out, part.start, part.stop) for part in shares])
    else:
        add(blocked, product, out, 0, n_rows)
    return out


def _product(factors: Sequence[Array], modes: Sequence[int], backwards: bool, other: Array) -> Array:
    """The Khatri-Rao product of the factors of `modes`; where `other` lies, and in its dtype, when that is a GPU."""
    chosen = [factors[mode] for mode in (reversed(modes) if backwards else modes)]
    return khatri_rao(chosen if owner(other) is None else [as_owned(factor, other.dtype, other) for factor in chosen])
