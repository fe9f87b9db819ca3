"""Products of a tensor of a GPU with a matrix on one mode, its Gram matrices and its norm, where it lies.

A tensor in C or F order is (P, I, S) for each of its modes, and products on it are strided batched matrix products of
cuBLAS. A sum over long modes is cut in pieces that run at once; they are added in one fixed order.
Letters: P entries before mode n in the order of the memory, I its size, S after it; J rows of a matrix; K length of a
sum. Arrays of one call have one dtype: float32, float64, complex64 or complex128.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tdtool.kernels.device_gpu import BLOCK, DeviceArray, Gpu, gemm_call
from tdtool.kernels.operands import memory_order, merged

#: The most matrices of one batch.
_BATCH = 1 << 15
#: Entries of what is packed at a time, where strides fit no matrix product, and of the pieces of a sum together.
PACKED = 1 << 22
#: Entries of a tile of a product, and as many of them at once as keep a GPU busy; the shortest sum of a piece.
_TILE, _BUSY, _LEAST_DEPTH = 64, 256, 512
#: The most blocks of a sum over all entries.
_SUMS = 1024

_REAL = {"f": "float", "d": "double", "F": "float", "D": "double"}


def mode_dot_on_gpu(
    gpu: Gpu, tensor: DeviceArray, matrix: DeviceArray, mode: int, out: DeviceArray | None = None
) -> DeviceArray:
    """tensor x_n matrix: (.., I_n, ..) by (J, I_n) -> (.., J, ..), in the tensor's memory order or in `out`."""
    shape = (*tensor.shape[:mode], matrix.shape[0], *tensor.shape[mode + 1 :])
    axes, slices = memory_order(tensor)
    if out is None:
        made = gpu.empty(tuple(shape[axis] for axis in axes), tensor.dtype)
        out = made.transpose([axes.index(axis) for axis in range(len(axes))])
    if 0 in shape or tensor.shape[mode] == 0:
        out[...] = 0
        return out
    outer = tuple(slice(None) if axis == mode else part for axis, part in enumerate(slices))
    matrix = with_rows(gpu, matrix[:, slices[mode]])
    _multiply(gpu, tensor[slices].transpose(axes), matrix, axes.index(mode), out[outer].transpose(axes))
    return out


def gram_on_gpu(gpu: Gpu, tensor: DeviceArray, mode: int) -> DeviceArray:
    """unfold(tensor, mode) times its (conjugate) transpose: (I_n, I_n). No copy of the tensor, but of blocks of it."""
    size = tensor.shape[mode]
    total = gpu.zeros((size, size), tensor.dtype)
    axes, slices = memory_order(tensor)
    if tensor.size:
        _add_gram(gpu, tensor[slices].transpose(axes), axes.index(mode), total)
    return total[::-1, ::-1] if tensor.strides[mode] < 0 else total


def norm_on_gpu(gpu: Gpu, tensor: DeviceArray) -> float:
    """The Frobenius norm, summed in float64 whatever the dtype; one read of the tensor."""
    axes, slices = memory_order(tensor)
    return math.sqrt(_sum_of_squares(gpu, tensor[slices].transpose(axes)))


def squared_distance(gpu: Gpu, left: DeviceArray, right: DeviceArray) -> float:
    """The squared norm of left - right, in float64. Both (M, K), C-ordered and real: blocks of a tensor and a model."""
    sums = _room_for_sums(gpu, left.size)
    left, right = gpu.xp.ascontiguousarray(left), gpu.xp.ascontiguousarray(right)
    kernel = f"difference_sums_{_REAL[left.dtype.char]}"
    gpu.launch("modes.cu", kernel, len(sums), BLOCK, left, right, np.int64(left.size), sums)
    return math.fsum(gpu.to_host(sums).tolist())


def multiply(gpu: Gpu, left: DeviceArray, right: DeviceArray, out: DeviceArray, *, add: bool = False) -> None:
    """out = left right, or `add` it to out. left : (M, K); right : (K, N), both of whole rows or columns; out : (M, N).

    A long sum of a small result is cut in pieces, as many as keep the GPU busy. out : C-ordered.
    """
    (n_rows, depth), n_columns = left.shape, right.shape[1]
    if depth == 0 and not add:
        out[...] = 0
    if out.size == 0 or depth == 0:
        return
    tiles = -(-n_rows // _TILE) * -(-n_columns // _TILE)
    n_pieces = max(1, min(_BUSY // tiles, depth // _LEAST_DEPTH))
    (left_row, left_step), (right_step, right_column) = _steps(left), _steps(right)
    if n_pieces == 1:
        left_strides, right_strides = (left_row, left_step, 0), (right_step, right_column, 0)
        call = gemm_call(n_rows, n_columns, depth, left_strides, right_strides, (n_columns, 1, 0), 1)
        gpu.gemm(left, right, out, call, add=add)
        return
    length = depth // n_pieces
    whole = length * n_pieces
    parts = gpu.empty((n_pieces + (whole < depth), n_rows, n_columns), out.dtype)
    for start, deep, batch, place in ((0, length, n_pieces, 0), (whole, depth - whole, 1, n_pieces)):
        if deep:
            left_strides, right_strides = (
                (left_row, left_step, length * left_step),
                (right_step, right_column, length * right_step),
            )
            call = gemm_call(n_rows, n_columns, deep, left_strides, right_strides, (n_columns, 1, out.size), batch)
            gpu.gemm(left, right, parts, call, offsets=(start * left_step, start * right_step, place * out.size))
    add_pieces(gpu, parts, out, add=add)


def add_pieces(gpu: Gpu, pieces: DeviceArray, out: DeviceArray, *, add: bool = False) -> None:
    """out = the sum of pieces (C, ...) over the first mode, in its order; or `add` it to out. All C-ordered."""
    n_real = out.size * (2 if out.dtype.kind == "c" else 1)
    n_blocks = -(-n_real // BLOCK)
    kernel = f"add_pieces_{_REAL[out.dtype.char]}"
    if out.dtype.kind == "c":
        pieces, out = (array.view(np.dtype(out.dtype.char.lower())) for array in (pieces, out))
    gpu.launch("modes.cu", kernel, n_blocks, BLOCK, pieces, np.int32(len(pieces)), np.int64(n_real), np.int32(add), out)


def with_rows(gpu: Gpu, matrix: DeviceArray) -> DeviceArray:
    """The matrix, or a copy where it has neither contiguous rows nor contiguous columns."""
    return matrix if _has_rows(matrix) else gpu.xp.ascontiguousarray(matrix)


def _has_rows(matrix: DeviceArray) -> bool:
    """Whether a matrix has contiguous rows, or columns, that do not overlap."""
    (n_rows, n_columns), (down, right) = matrix.shape, matrix.strides
    return any(
        (near == matrix.itemsize or size == 1) and (far >= matrix.itemsize * size or count == 1)
        for near, size, far, count in ((right, n_columns, down, n_rows), (down, n_rows, right, n_columns))
    )


def stack_of(tensor: DeviceArray, mode: int) -> DeviceArray | None:
    """A tensor in its memory order as (P, I, S), a view of whole rows; None where its strides are none of those."""
    kept = [axis for axis, size in enumerate(tensor.shape) if size > 1 or axis == mode]
    tensor = tensor[tuple(slice(None) if axis in kept else 0 for axis in range(tensor.ndim))]
    mode = kept.index(mode)
    smallest = min((step for step, size in zip(tensor.strides, tensor.shape, strict=True) if size > 1), default=None)
    shape, place = merged(tensor.shape, mode, tensor.strides)
    if place > 1 or len(shape) > place + 2 or smallest not in (None, tensor.itemsize):
        return None
    stack = tensor.reshape([*[1] * (1 - place), *shape, *[1] * (place + 2 - len(shape))])
    return stack if _has_rows(stack[0] if stack.shape[2] > 1 else stack[:, :, 0]) else None


def halves(tensor: DeviceArray, mode: int) -> tuple[int, list[slice]]:
    """An axis other than `mode` where there is one longer than 1, and its two halves."""
    long = [axis for axis, size in enumerate(tensor.shape) if size > 1]
    axis = next((axis for axis in long if axis != mode), mode)
    middle = tensor.shape[axis] // 2
    return axis, [slice(None, middle), slice(middle, None)]


def batches(count: int, most: int = _BATCH) -> Iterator[tuple[int, int]]:
    """Where each batch of matrices begins, and how many it has."""
    for start in range(0, count, most):
        yield start, min(most, count - start)


def _steps(matrix: DeviceArray) -> tuple[int, int]:
    return matrix.strides[0] // matrix.itemsize, matrix.strides[1] // matrix.itemsize


def _multiply(gpu: Gpu, tensor: DeviceArray, matrix: DeviceArray, mode: int, out: DeviceArray) -> None:
    """out = tensor x_n matrix, the modes of both from the largest stride to the smallest."""
    stack = stack_of(tensor, mode)
    target = None if stack is None else stack_of(out, mode)
    if stack is not None and target is not None:
        _multiply_stack(gpu, stack, matrix, target)
    elif tensor.size <= PACKED or math.prod(tensor.shape) == tensor.shape[mode]:
        product = gpu.empty(out.shape, out.dtype)
        _multiply(gpu, gpu.xp.ascontiguousarray(tensor), matrix, mode, product)
        out[...] = product
    else:
        axis, parts = halves(tensor, mode)
        for part in parts:
            within = (slice(None),) * axis + (part,)
            _multiply(gpu, tensor[within], matrix, mode, out[within])


def _multiply_stack(gpu: Gpu, stack: DeviceArray, matrix: DeviceArray, out: DeviceArray) -> None:
    """out (P, J, S) = matrix (J, I) times each of a stack (P, I, S)."""
    (first, size, second), rows = stack.shape, matrix.shape[0]
    (far, step, near), (out_far, out_step, out_near) = _strides(stack), _strides(out)
    across, along = _steps(matrix)
    if second == 1:
        call = gemm_call(first, rows, size, (far, step, 0), (along, across, 0), (out_far, out_step, 0), 1)
        gpu.gemm(stack, matrix, out, call)
        return
    for start, batch in batches(first):
        strides = (across, along, 0), (step, near, far), (out_step, out_near, out_far)
        call = gemm_call(rows, second, size, *strides, batch)
        gpu.gemm(matrix, stack, out, call, offsets=(0, start * far, start * out_far))


def _strides(stack: DeviceArray) -> tuple[int, int, int]:
    far, step, near = (stride // stack.itemsize for stride in stack.strides)
    return far, step, near


def _add_gram(gpu: Gpu, tensor: DeviceArray, mode: int, total: DeviceArray) -> None:
    """total += the Gram matrix of mode n of a tensor whose modes run from the largest stride to the smallest."""
    stack = stack_of(tensor, mode)
    if stack is None and tensor.size > PACKED and math.prod(tensor.shape) > tensor.shape[mode]:
        axis, parts = halves(tensor, mode)
        for part in parts:
            _add_gram(gpu, tensor[(slice(None),) * axis + (part,)], mode, total)
        return
    if stack is None:
        _add_gram(gpu, gpu.xp.ascontiguousarray(tensor), mode, total)
        return
    first, size, second = stack.shape
    if first > 1 and second >= size and total.dtype.kind == "f":
        _add_many_grams(gpu, stack, total)
        return
    for block in _matrices(gpu, stack):
        other = block.conj() if total.dtype.kind == "c" else block
        multiply(gpu, block, other.T, total, add=True)


def _add_many_grams(gpu: Gpu, stack: DeviceArray, total: DeviceArray) -> None:
    """total (I, I) += S S^T of each matrix of a stack (P, I, S), many at once."""
    first, size, second = stack.shape
    far, step, near = _strides(stack)
    most = max(1, min(_BATCH, PACKED // total.size, first))
    parts = gpu.empty((most, size, size), total.dtype)
    for start, batch in batches(first, most):
        strides = (step, near, far), (near, step, far), (size, 1, total.size)
        gpu.gemm(stack, stack, parts, gemm_call(size, size, second, *strides, batch), offsets=(start * far,) * 2 + (0,))
        add_pieces(gpu, parts[:batch], total, add=True)


def _matrices(gpu: Gpu, stack: DeviceArray) -> Iterator[DeviceArray]:
    """Blocks (I, K) of the unfolding of a stack (P, I, S): views where they are, else packed; complex ones small."""
    first, size, second = stack.shape
    if 1 in (first, second):
        matrix = stack[0] if first == 1 else stack[:, :, 0].T
        step = max(1, PACKED // size) if stack.dtype.kind == "c" else matrix.shape[1]
        for start in range(0, matrix.shape[1], step):
            yield matrix[:, start : start + step]
        return
    step = max(1, PACKED // (size * second))
    for start in range(0, first, step):
        yield gpu.xp.ascontiguousarray(stack[start : start + step].transpose(1, 0, 2)).reshape(size, -1)


def _sum_of_squares(gpu: Gpu, tensor: DeviceArray) -> float:
    """Of a tensor in the order of its memory; where it does not lie together, part by part and packed."""
    if tensor.size == 0:
        return 0.0
    if tensor.flags.c_contiguous or tensor.size <= PACKED or max(tensor.shape) == 1:
        flat = gpu.xp.ascontiguousarray(tensor).reshape(-1)
        flat = flat.view(np.dtype(flat.dtype.char.lower())) if flat.dtype.kind == "c" else flat
        sums = _room_for_sums(gpu, flat.size)
        kernel = f"square_sums_{_REAL[flat.dtype.char]}"
        gpu.launch("modes.cu", kernel, len(sums), BLOCK, flat, np.int64(flat.size), sums)
        return math.fsum(gpu.to_host(sums).tolist())
    axis, parts = halves(tensor, -1)
    return math.fsum(_sum_of_squares(gpu, tensor[(slice(None),) * axis + (part,)]) for part in parts)


def _room_for_sums(gpu: Gpu, n_entries: int) -> Any:
    return gpu.empty(max(1, min(_SUMS, -(-n_entries // (8 * BLOCK)))), np.float64)
