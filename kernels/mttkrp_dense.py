"""MTTKRP of a dense tensor where it lies: one matrix product of 2 R flops an entry, and a small pass.

The modes before and after mode n are merged, as far as the strides allow: the tensor is then (P, I, S). For the first
and the last mode it is one matrix product with the Khatri-Rao product of the others, of which only a block is made at a
time. For a mode between, the longer side goes first by a matrix product, the other column by column.

Source: Phan, Tichavsky, Cichocki 2013, "Fast alternating LS algorithms for high order CANDECOMP/PARAFAC tensor
factorizations", section III.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.arrays import as_owned, to_host
from tdtool.kernels.device_gpu import owner
from tdtool.kernels.mttkrp_cpu import add_over_first
from tdtool.kernels.mttkrp_gpu import dense_mttkrp_on_gpu
from tdtool.kernels.operands import memory_order, merged
from tdtool.kernels.skinny import multiply_left, multiply_right
from tdtool.kernels.threads import READING, blocks, pays, run_parallel, tree_sum

Array = NDArray[Any]

#: Entries of a workspace: what is written in a matrix product is read again before it has left the cache.
_BLOCK = 2**16
#: Rows of a result that are worth a thread; how many times smaller than the tensor all partial sums are.
_ROWS, _SMALL_SUMS = 16, 8


def dense_mttkrp(tensor: Array, factors: Sequence[Array], mode: int) -> Array:
    """unfold(tensor, mode) @ khatri_rao(the other factors in order): (I_n, R). Checked operands, any strides."""
    gpu = owner(tensor)
    if gpu is not None:
        return to_host(dense_mttkrp_on_gpu(gpu, tensor, [as_owned(f, tensor.dtype, tensor) for f in factors], mode))
    dtype = np.result_type(tensor, *factors)
    out = np.zeros(factors[mode].shape, dtype)
    if tensor.size and out.size:
        axes, slices = memory_order(tensor)
        turned = [np.ascontiguousarray(factors[axis][slices[axis]], dtype) for axis in axes]
        _share(tensor[slices].transpose(axes), turned, axes.index(mode), out[slices[mode]])
    return out


def _share(tensor: Array, factors: Sequence[Array], mode: int, out: Array) -> None:
    """`_add`, a large tensor in blocks that threads share.

    Blocks of the slowest other mode lie together and need their rows of the Khatri-Rao product alone, but each gives a
    partial sum; where that mode is too short, or the sums are too large, blocks of the mode itself write to their rows.
    """
    work = float(tensor.size) * (out.shape[1] + READING)
    if not pays(work):
        _add(tensor, factors, mode, out)
        return
    axis = next((axis for axis, size in enumerate(tensor.shape) if axis != mode and size > 1), mode)
    sums = blocks(tensor.shape[axis], work, most=tensor.size // (_SMALL_SUMS * out.size))
    rows = blocks(len(out), work, least=_ROWS)
    if axis == mode or len(rows) > len(sums):
        run_parallel([functools.partial(_add_block, tensor, factors, mode, out, mode, part) for part in rows])
    else:
        parts = [out, *(np.zeros(out.shape, out.dtype) for _ in sums[1:])]
        calls = zip(parts, sums, strict=True)
        run_parallel([functools.partial(_add_block, tensor, factors, mode, kept, axis, part) for kept, part in calls])
        tree_sum(parts)


def _add_block(tensor: Array, factors: Sequence[Array], mode: int, out: Array, axis: int, part: slice) -> None:
    """out += MTTKRP of slices of one mode; of the rows of `out` where it is that mode."""
    within = [factor[part] if other == axis else factor for other, factor in enumerate(factors)]
    _add(tensor[(slice(None),) * axis + (part,)], within, mode, out[part] if axis == mode else out)


def _add(tensor: Array, factors: Sequence[Array], mode: int, out: Array) -> None:
    """out += MTTKRP of a tensor whose modes run from the largest stride to the smallest.

    A tensor that is cut out of a larger one, so that its modes do not merge, is packed part by part.
    """
    shape, place = merged(tensor.shape, mode, tensor.strides)
    if place <= 1 and len(shape) <= place + 2:
        whole = tensor.reshape([*[1] * (1 - place), *shape, *[1] * (place + 2 - len(shape))])
        _add_merged(whole, factors[:mode], factors[mode + 1 :], out)
    elif tensor.size <= _BLOCK:
        _add(np.ascontiguousarray(tensor), factors, mode, out)
    else:
        axis = next(axis for axis, size in enumerate(tensor.shape) if size > 1)
        middle = tensor.shape[axis] // 2
        for half in (slice(None, middle), slice(middle, None)):
            _add_block(tensor, factors, mode, out, axis, half)


def _add_merged(tensor: Array, before: Sequence[Array], after: Sequence[Array], out: Array) -> None:
    """out += MTTKRP of the middle mode of a tensor (P, I, S)."""
    first, _, second = tensor.shape
    rank = out.shape[1]
    if first == 1:
        for columns, product in khatri_rao_blocks(after, rank, max(_BLOCK // rank, 1)):
            work = np.empty((1, *out.shape), out.dtype)
            multiply_right(tensor[:, :, columns], product * _row(before, rank), work)
            out += work[0]
    elif second == 1:
        for rows, product in khatri_rao_blocks(before, rank, max(_BLOCK // rank, 1)):
            work = np.empty((1, *out.shape[::-1]), out.dtype)
            multiply_left((product * _row(after, rank)).T, tensor[None, rows, :, 0], work)
            out += work[0].T
    elif second >= first or not tensor.flags.c_contiguous:
        _add_second_first(tensor, before, after, out)
    else:
        _add_first_first(tensor, before, after, out)


def _add_second_first(tensor: Array, before: Sequence[Array], after: Sequence[Array], out: Array) -> None:
    first, size, _ = tensor.shape
    rank = out.shape[1]
    step = max(_BLOCK // (size * rank), 1)
    work = np.empty((min(step, first), size, rank), out.dtype)
    for columns, right in khatri_rao_blocks(after, rank, max(_BLOCK // rank, 1)):
        for rows, left in khatri_rao_blocks(before, rank, step):
            partial = work[: len(left)]
            multiply_right(tensor[rows, :, columns], right, partial)
            add_over_first(partial, left, out, 0, size)


def _add_first_first(tensor: Array, before: Sequence[Array], after: Sequence[Array], out: Array) -> None:
    _, size, second = tensor.shape
    rank = out.shape[1]
    step = max(_BLOCK // (second * rank), 1)
    right = np.concatenate([product for _, product in khatri_rao_blocks(after, rank, _BLOCK)]).T[:, :, None]
    for rows, left in khatri_rao_blocks(before, rank, max(_BLOCK // rank, 1)):
        for start in range(0, size, step):
            block = tensor[rows, start : start + step]
            partial = np.empty((1, rank, block[0].size), out.dtype)
            multiply_left(left.T, block.reshape(1, len(left), -1), partial)
            out[start : start + step] += np.matmul(partial.reshape(rank, -1, second), right)[:, :, 0].T


def _row(factors: Sequence[Array], rank: int) -> Array:
    """The one row of the Khatri-Rao product of factors of one row each (1 where there is none)."""
    return next(product for _, product in khatri_rao_blocks(factors, rank, 1))


def khatri_rao_blocks(factors: Sequence[Array], rank: int, limit: int) -> Iterator[tuple[slice, Array]]:
    """The Khatri-Rao product of factors (I, R), the first slowest, by blocks of at most `limit` rows, with their place.

    Of no factor it is a row of ones. A block is whole runs of the last factors where they are short enough.
    """
    if not factors:
        yield slice(0, 1), np.ones((1, rank))
        return
    tail, n_head = factors[-1], len(factors) - 1
    while n_head and len(tail) * len(factors[n_head - 1]) <= limit:
        n_head -= 1
        tail = (factors[n_head][:, None, :] * tail).reshape(-1, rank)
    sizes = [len(factor) for factor in factors[:n_head]]
    if not sizes:
        for start in range(0, len(tail), limit):
            yield slice(start, min(start + limit, len(tail))), tail[start : start + limit]
        return
    total, group = math.prod(sizes), max(limit // len(tail), 1)
    for first in range(0, total, group):
        places = np.unravel_index(np.arange(first, min(first + group, total)), sizes)
        head = math.prod(
            (factor[place] for factor, place in zip(factors, places, strict=False)), start=np.ones(rank, tail.dtype)
        )
        for start in range(0, len(tail), max(limit, 1)):
            block = (head[:, None, :] * tail[start : start + limit]).reshape(-1, rank)
            begin = first * len(tail) + start
            yield slice(begin, begin + len(block)), block
