"""Arrays of the host and of a GPU under one roof: what code that runs on both asks of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.device_gpu import owner

Array = NDArray[Any]

#: Entries of an array of a GPU up to which the host is faster: launches take longer than the work there, and the copy.
SMALL = 1 << 18


def namespace(array: Array) -> Any:
    """The library of an array: its functions take arrays of that kind. numpy for those of the host."""
    gpu = owner(array)
    return np if gpu is None else gpu.xp


def as_array(array: Any) -> Array:
    """An array of a GPU as it is, anything else as an array of numpy's."""
    return np.asarray(array) if owner(array) is None else array


def to_host(array: Any) -> Array:
    """The array in the memory of the host; one that is there already as it is."""
    gpu = owner(array)
    return np.asarray(array) if gpu is None else gpu.to_host(array)


def like(array: Array, other: Array) -> Array:
    """The array where `other` lies: a copy on its GPU, C-ordered, or the array itself."""
    gpu = owner(other)
    if gpu is None or gpu.owns(array):
        return array
    return gpu.to_device(array)


def small_to_host(array: Array) -> Array:
    """The array itself, or where it is one of a GPU and of at most SMALL entries a copy on the host."""
    return to_host(array) if owner(array) is not None and array.size <= SMALL else array


def as_owned(array: Array, dtype: Any, other: Array) -> Array:
    """The array in a dtype, where `other` lies."""
    return like(array.astype(dtype, copy=False), other)
