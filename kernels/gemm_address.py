"""Hand numpy arrays of any order and layout to one compiled function, as addresses.

Numba compiles an array argument once per order and layout, and looks at every argument of a call to find the version.
Here the compiled code gets the array's object and reads its fields: one version, and no look.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import NativeValue, intrinsic, models, register_model, unbox
from numpy.typing import NDArray

from tdtool.kernels.backend import jit


class ArrayData(types.Type):
    """A numpy array as the address of its object, which the caller keeps alive during the call."""

    def __init__(self) -> None:
        super().__init__(name="ArrayData")


array_data = ArrayData()


@register_model(ArrayData)
class _ArrayDataModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.IntType(64))


@unbox(ArrayData)
def _unbox_array_data(kind: Any, value: Any, context: Any) -> Any:
    return NativeValue(context.builder.ptrtoint(value, ir.IntType(64)))


# Where the fields of an array are in its object (numpy/ndarraytypes.h, PyArrayObject_fields).
_DATA = object.__basicsize__
_ORDER, _SHAPE, _STRIDES, _DTYPE = _DATA + 8, _DATA + 16, _DATA + 24, _DATA + 40


@intrinsic
def _address_of(typing: Any, array: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return arguments[0]

    return types.int64(array_data), emit


@intrinsic
def _word_at(typing: Any, place: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], ir.IntType(64).as_pointer()))

    return types.int64(types.int64), emit


@intrinsic
def pointer(typing: Any, place: Any) -> Any:
    """An int64 as a pointer to anything, for numba.carray."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), emit


@jit
def address(array):  # type: ignore[no-untyped-def]
    """The address of an array's first entry."""
    return _word_at(_address_of(array) + _DATA)


@jit
def has_layout(array, numbers, at):  # type: ignore[no-untyped-def]
    """Whether an array has the dtype object, order, shape and strides that are listed from numbers[at] on."""
    place = _address_of(array)
    order = _word_at(place + _ORDER) & 0xFFFFFFFF
    if _word_at(place + _DTYPE) != numbers[at] or order != numbers[at + 1]:
        return False
    shape, strides = _word_at(place + _SHAPE), _word_at(place + _STRIDES)
    for mode in range(order):
        if _word_at(shape + 8 * mode) != numbers[at + 2 + mode]:
            return False
        if _word_at(strides + 8 * mode) != numbers[at + 2 + order + mode]:
            return False
    return True


def layout_of(array: NDArray[Any]) -> list[int]:
    """What `has_layout` compares."""
    return [id(array.dtype), array.ndim, *array.shape, *array.strides]


def compile_entry(function: Any, n_arrays: int) -> Any:
    """The compiled `function` of `n_arrays` arrays, to be called with positional arrays alone.

    function : a numba dispatcher whose arguments are all ArrayData and which returns an int64.
    """
    return function.compile(numba.int64(*[array_data] * n_arrays))
