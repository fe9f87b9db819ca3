"""What the tensor kernels ask of their operands: numbers, modes, factors, and views in the order of the memory."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.arrays import as_array

Array = NDArray[Any]


def floating(array: Array, name: str = "tensor") -> Array:
    """`array` as float32, float64, complex64 or complex128, other real numbers as float64; where it lies.

    ValueError: no numbers.
    """
    array = as_array(array)
    if array.dtype.char in "fdFD" and array.dtype.isnative:
        return array
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    raise ValueError(f"the {name} holds {array.dtype}; it needs numbers")


def checked_mode(mode: int, order: int) -> int:
    """`mode` as an int between 0 and order - 1. ValueError: it is not."""
    index = operator.index(mode)
    if not 0 <= index < order:
        raise ValueError(f"mode is {index}; a tensor of order {order} has the modes 0 to {order - 1}")
    return index


def checked_factors(shape: Sequence[int], factors: Sequence[Array]) -> list[Array]:
    """The factors as floating arrays. ValueError: not one (I_n, R) for each mode, all with the same R."""
    arrays = [floating(factor, "factor") for factor in factors]
    shapes = [array.shape for array in arrays]
    if len(shapes) != len(shape) or any(len(sizes) != 2 for sizes in shapes):
        raise ValueError(f"factors of shapes {shapes}; a tensor of {tuple(shape)} needs a (size, rank) for each mode")
    if [sizes[0] for sizes in shapes] != list(shape) or len({sizes[1] for sizes in shapes}) > 1:
        raise ValueError(f"factors of shapes {shapes} do not fit a tensor of {tuple(shape)}: same sizes, one rank")
    return arrays


def memory_order(tensor: Array) -> tuple[list[int], tuple[slice, ...]]:
    """The modes from the largest stride to the smallest, and the slices that turn every stride positive."""
    axes = sorted(range(tensor.ndim), key=lambda axis: -abs(tensor.strides[axis]))
    return axes, tuple(slice(None, None, -1 if stride < 0 else 1) for stride in tensor.strides)


def merged(shape: Sequence[int], keep: int, *strides: Sequence[int]) -> tuple[list[int], int]:
    """The shape with neighbouring modes made one where each of the strides allows it, and where mode `keep` went.

    Mode `keep` stays by itself. Arrays of these strides reshape to the result without a copy.
    """
    groups = [[0]]
    for axis in range(1, len(shape)):
        fits = all(s[axis - 1] == s[axis] * shape[axis] for s in strides) or 1 in shape[axis - 1 : axis + 1]
        if fits and keep not in (axis - 1, axis):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    sizes = [math.prod([shape[axis] for axis in group]) for group in groups]
    return sizes, next(place for place, group in enumerate(groups) if keep in group)
