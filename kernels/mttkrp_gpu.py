"""MTTKRP of a dense tensor of a GPU where it lies: one matrix product of 2 R flops an entry, and a small pass.

As in mttkrp_dense.py: the tensor is (P, I, S); the longer side goes first by a matrix product, the other column by
column with the kernels of mttkrp.cu.
Letters: P entries before mode n in the order of the memory, I its size, S after it, R rank.

Source: Phan, Tichavsky, Cichocki 2013, "Fast alternating LS algorithms for high order CANDECOMP/PARAFAC tensor
factorizations", section III.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from tdtool.kernels.device_gpu import BLOCK, DeviceArray, Gpu, gemm_call
from tdtool.kernels.khatri_rao import khatri_rao
from tdtool.kernels.modes_gpu import PACKED, add_pieces, batches, halves, multiply, squared_distance, stack_of
from tdtool.kernels.operands import memory_order

#: Entries of a Khatri-Rao product, or of partial products, that are there at a time.
_BLOCK = 1 << 24
#: Results of one thread of mttkrp.cu; blocks that keep a GPU busy; the fewest terms of a sum worth a piece.
_ROWS, _BUSY, _LEAST_TERMS = 4, 1024, 64
_NAMES = {"f": ("float", 4), "d": ("double", 2)}


def dense_mttkrp_on_gpu(gpu: Gpu, tensor: DeviceArray, factors: Sequence[DeviceArray], mode: int) -> DeviceArray:
    """unfold(tensor, mode) @ khatri_rao(the other factors in order): (I_n, R), on the GPU.

    factors : N arrays (I_n, R) of the GPU and of the tensor's dtype. Any strides.
    """
    out = gpu.zeros(factors[mode].shape, tensor.dtype)
    if tensor.size and out.size:
        axes, slices = memory_order(tensor)
        turned = [gpu.xp.ascontiguousarray(factors[axis][slices[axis]]) for axis in axes]
        _add(gpu, tensor[slices].transpose(axes), turned, axes.index(mode), out)
    return out[::-1] if tensor.strides[mode] < 0 else out


def times(gpu: Gpu, matrix: DeviceArray, product: DeviceArray) -> DeviceArray:
    """matrix (M, K) @ product (K, R): (M, R) C-ordered, the sum cut in pieces where it is long and M R small."""
    out = gpu.empty((matrix.shape[0], product.shape[1]), matrix.dtype)
    multiply(gpu, matrix, product, out)
    return out


def sum_of_rows(gpu: Gpu, partial: DeviceArray, weights: DeviceArray, *, over_first: bool) -> DeviceArray:
    """Weighted sums over one mode of partial products, column by column.

    partial : (P, S, R) C-ordered; over_first: out[s, r] = sum_p partial[p, s, r] weights[p, r], weights (P, R), else
    out[p, r] = sum_s partial[p, s, r] weights[s, r], weights (S, R). One read of `partial`.
    """
    first, second, rank = partial.shape
    n_terms, n_rows = (first, second) if over_first else (second, first)
    if partial.dtype.kind == "c":
        return gpu.xp.sum(partial * (weights[:, None, :] if over_first else weights), axis=0 if over_first else 1)
    if not partial.size:
        return gpu.zeros((n_rows, rank), partial.dtype)
    name, width = _NAMES[partial.dtype.char]
    width = width if rank % width == 0 else 1
    columns = rank // width
    arguments: tuple[np.generic, ...] = ()
    if over_first:
        n_blocks = -(-(-(-second // _ROWS) * columns) // BLOCK)
    else:
        tile = min(columns, BLOCK)
        slots = min(BLOCK // tile, second)
        across = BLOCK // tile // slots
        n_blocks = -(-first // (across * _ROWS)) * -(-columns // tile)
        arguments = (np.int32(slots), np.int32(across))
    n_pieces = max(1, min(_BUSY // n_blocks, n_terms // _LEAST_TERMS))
    length = -(-n_terms // n_pieces)
    n_pieces = -(-n_terms // length)
    out = gpu.empty((n_pieces, n_rows, rank), partial.dtype)
    sizes = np.int64(first), np.int64(second), np.int32(rank), np.int64(length)
    kernel = f"sum_{'first' if over_first else 'second'}_{name}{width}"
    gpu.launch("mttkrp.cu", kernel, n_blocks * n_pieces, BLOCK, partial, weights, *sizes, *arguments, out)
    if n_pieces == 1:
        return out[0]
    total = gpu.empty((n_rows, rank), partial.dtype)
    add_pieces(gpu, out, total)
    return total


def squared_residual_on_gpu(gpu: Gpu, tensor: DeviceArray, factors: Sequence[DeviceArray]) -> float:
    """The squared norm of a real tensor less the CP model of `factors`, summed in float64; the model in blocks."""
    rank = factors[0].shape[1]
    rest = khatri_rao(list(factors[1:])) if len(factors) > 1 else gpu.xp.ones((1, rank), tensor.dtype)
    step = max(1, _BLOCK // len(rest))
    total = []
    for start in range(0, tensor.shape[0], step):
        rows = factors[0][start : start + step]
        model = times(gpu, rows, rest.T)
        total.append(squared_distance(gpu, tensor[start : start + step].reshape(model.shape), model))
    return math.fsum(total)


def _add(gpu: Gpu, tensor: DeviceArray, factors: Sequence[DeviceArray], mode: int, out: DeviceArray) -> None:
    """out += MTTKRP of a tensor whose modes run from the largest stride to the smallest."""
    stack = stack_of(tensor, mode)
    if stack is not None:
        _add_stack(gpu, stack, factors[:mode], factors[mode + 1 :], out)
    elif tensor.size <= PACKED or tensor.size == tensor.shape[mode]:
        _add(gpu, gpu.xp.ascontiguousarray(tensor), factors, mode, out)
    else:
        axis, parts = halves(tensor, mode)
        for part in parts:
            within = [factor[part] if other == axis else factor for other, factor in enumerate(factors)]
            _add(gpu, tensor[(slice(None),) * axis + (part,)], within, mode, out)


def _add_stack(
    gpu: Gpu, stack: DeviceArray, before: Sequence[DeviceArray], after: Sequence[DeviceArray], out: DeviceArray
) -> None:
    """out += MTTKRP of the middle mode of a stack (P, I, S)."""
    first, size, second = stack.shape
    rank = out.shape[1]
    if first == 1:
        for columns, product in _products(gpu, after, out):
            right = product * _row(gpu, before, out) if before else product
            multiply(gpu, stack[0, :, columns], right, out, add=True)
    elif second == 1:
        for rows, product in _products(gpu, before, out):
            left = product * _row(gpu, after, out) if after else product
            multiply(gpu, stack[rows, :, 0].T, left, out, add=True)
    elif second >= first or stack.strides[1] != second * stack.itemsize:
        for columns, right in _products(gpu, after, out):
            for rows, left in _products(gpu, before, out, _BLOCK // (size * rank)):
                partial = _each(gpu, stack[rows, :, columns], right)
                out += sum_of_rows(gpu, partial, left, over_first=True)
    else:
        step = max(1, _BLOCK // (second * rank))
        right = gpu.xp.concatenate([product for _, product in _products(gpu, after, out)])
        for rows, left in _products(gpu, before, out):
            for start in range(0, size, step):
                block = stack[rows, start : start + step]
                partial = times(gpu, block.reshape(len(block), -1).T, left).reshape(-1, second, rank)
                out[start : start + step] += sum_of_rows(gpu, partial, right, over_first=False)


def _each(gpu: Gpu, stack: DeviceArray, right: DeviceArray) -> DeviceArray:
    """Each matrix of a stack (P, I, S) times (S, R): (P, I, R)."""
    (first, size, second), rank = stack.shape, right.shape[1]
    out = gpu.empty((first, size, rank), stack.dtype)
    far, step, near = (stride // stack.itemsize for stride in stack.strides)
    if far == size * step or first == 1:
        call = gemm_call(first * size, rank, second, (step, near, 0), (rank, 1, 0), (rank, 1, 0), 1)
        gpu.gemm(stack, right, out, call)
        return out
    for start, batch in batches(first):
        call = gemm_call(size, rank, second, (step, near, far), (rank, 1, 0), (rank, 1, size * rank), batch)
        gpu.gemm(stack, right, out, call, offsets=(start * far, 0, start * size * rank))
    return out


def _row(gpu: Gpu, factors: Sequence[DeviceArray], out: DeviceArray) -> DeviceArray:
    """The one row of the Khatri-Rao product of factors of one row each: ones where there is none."""
    return next(product for _, product in _products(gpu, factors, out))


def _products(
    gpu: Gpu, factors: Sequence[DeviceArray], out: DeviceArray, most: int | None = None
) -> Iterator[tuple[slice, DeviceArray]]:
    """Blocks of the Khatri-Rao product of factors (I, R), the first slowest, with their place; of none a row of ones.

    At most `most` rows (by default of _BLOCK entries together), but no less than one row of the first factor makes.
    """
    rank = out.shape[1]
    if not factors:
        yield slice(0, 1), gpu.xp.ones((1, rank), out.dtype)
        return
    inner = math.prod(len(factor) for factor in factors[1:])
    step = max(1, (_BLOCK // rank if most is None else most) // inner)
    for start in range(0, len(factors[0]), step):
        product = khatri_rao([factors[0][start : start + step], *factors[1:]])
        yield slice(start * inner, start * inner + len(product)), product
