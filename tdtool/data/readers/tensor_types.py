"""What the readers of tensors hand out, and what they share: the limit on memory, the choice among several arrays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tdtool.errors import InputError, ResourceError

#: A name for every index of a mode, or None; one a mode.
Labels: TypeAlias = tuple[list[str] | None, ...]
#: Shape and dtype of an array that may be picked.
Look: TypeAlias = tuple[tuple[int, ...], np.dtype]

#: Modes that a tensor may have.
MOST_MODES = 8
_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB", "EB")
_LISTED = 8


@dataclasses.dataclass(frozen=True)
class Entries:
    """Values at places. coordinates : N arrays (nnz,) of ints from 0; values : (nnz,) float64; shape : N sizes."""

    coordinates: tuple[NDArray, ...]
    values: NDArray[np.float64]
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Found:
    """A tensor as it was found, its values not looked at yet.

    values : an array of any numeric dtype, or Entries; kind : "npz, array X"; missing : bool, the shape of values, True
    where a value is missing beside those that are NaN; labels, mode_names : () for none; notes : for the description.
    """

    values: NDArray | Entries
    kind: str
    key: str | None = None
    missing: NDArray[np.bool_] | None = None
    labels: Labels = ()
    mode_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def result_dtype(dtype: np.dtype, name: str, path: str) -> np.dtype:
    """The dtype that values of `dtype` are computed in; InputError for what is no number."""
    if dtype.kind in "biu" and dtype.subdtype is None:
        return np.dtype(np.float64)
    if dtype.kind == "f":
        return np.dtype(np.float32 if dtype.itemsize <= 4 else np.float64)
    if dtype.kind == "c":
        return np.dtype(np.complex64 if dtype.itemsize <= 8 else np.complex128)
    words = {"O": "Python objects", "U": "text", "S": "text", "M": "dates", "m": "time spans", "V": "records"}
    what = words.get(dtype.kind, f"values of type {dtype}")
    raise InputError(f"{name} holds {what}, not numbers", path=path, hint="a tensor holds numbers of one type")


def is_number(dtype: np.dtype) -> bool:
    """Whether values of this type can be those of a tensor."""
    return dtype.kind in "biufc" and dtype.subdtype is None


def check_shape(shape: tuple[int, ...], name: str, path: str) -> None:
    """InputError for an order or a size that is no tensor's."""
    sizes = by(shape)
    if len(shape) < 2:
        what = "a single number" if not shape else f"a vector of {sizes}"
        raise InputError(f"{name} is {what}; a tensor has 2 to {MOST_MODES} modes", path=path)
    if len(shape) > MOST_MODES:
        raise InputError(
            f"{name} has {len(shape)} modes ({sizes}); at most {MOST_MODES} can be handled",
            path=path,
            hint="take a part of it, or merge modes with numpy's reshape",
        )
    if 0 in shape:
        raise InputError(f"{name} is empty: its shape is {sizes}", path=path)


def check_memory(needed: int, memory: int, what: str, path: str) -> None:
    """ResourceError when `needed` bytes are more than `memory`."""
    if needed > memory:
        raise ResourceError(
            f"{what} needs {in_bytes(needed)} of memory and {in_bytes(memory)} are allowed",
            path=path,
            hint="use a machine with more memory or a higher limit, take a part of the tensor (every second index of a "
            "mode, say), or write it as .tns when most of its values are zero",
        )


def array_bytes(shape: tuple[int, ...], dtype: np.dtype, *, copied: bool) -> int:
    """Bytes that an array of numbers takes. copied : those of its own dtype are held at the same time."""
    n = math.prod(shape)
    wide = 4 if dtype.kind == "f" and dtype.itemsize <= 4 else 8 if dtype.kind != "c" else min(dtype.itemsize, 16)
    return n * wide + (n * dtype.itemsize if copied else 0)


def pick(have: Mapping[str, Look], wanted: str | None, mask: str | None, path: str) -> tuple[str, tuple[str, ...]]:
    """The array to read, and a note when there were others.

    wanted : as the user says; else the only array of numbers with two or more modes, else the largest (arrays of bool
    and the one called `mask` last).
    """
    if wanted is not None:
        name = wanted if wanted in have else wanted.strip("/")
        if name not in have:
            raise InputError(f"there is no array {wanted!r}", path=path, hint=f"it has {listed(have)}")
        return name, ()
    fit = {name: look for name, look in have.items() if len(look[0]) >= 2 and is_number(look[1]) and name != mask}
    fit = {name: look for name, look in fit.items() if look[1].kind != "b"} or fit
    if not fit:
        raise InputError(
            f"there is no array of numbers with two or more modes (it has {listed(have)})",
            path=path,
            hint="save the tensor as one array",
        )
    name = max(fit, key=lambda each: math.prod(fit[each][0]))
    others = {other: look for other, look in fit.items() if other != name}
    return name, (f"the largest of {len(fit)} arrays; the others: {listed(others)}",) if others else ()


def listed(have: Mapping[str, Look]) -> str:
    """Arrays by name, for a person: "X (5 x 201 x 61 float64), Y (5 x 3 float64)"."""
    parts = [f"{name} ({by(shape)} {dtype})" if shape else f"{name} ({dtype})" for name, (shape, dtype) in have.items()]
    more = f" and {len(parts) - _LISTED:,} more" if len(parts) > _LISTED else ""
    return (", ".join(parts[:_LISTED]) + more) or "no arrays"


def as_mask(values: NDArray, name: str, shape: tuple[int, ...], path: str) -> NDArray[np.bool_]:
    """An array of bool, or of 0 and 1, as the mask of missing values of a tensor of this shape."""
    if values.shape != shape:
        raise InputError(f"the mask {name} is {by(values.shape)}, the tensor {by(shape)}", path=path)
    if values.dtype.kind in "iuf" and bool(((values == 0) | (values == 1)).all()):
        return values.astype(np.bool_)
    if values.dtype.kind != "b":
        raise InputError(
            f"the mask {name} holds {values.dtype}, not bool", path=path, hint="true (or 1) where a value is missing"
        )
    return values


def by(shape: tuple[int, ...]) -> str:
    """(5, 201, 61) as "5 x 201 x 61"."""
    return " x ".join(f"{size:,}" for size in shape)


def in_bytes(amount: int) -> str:
    """Bytes for a person, in units of 1,000."""
    value, unit = float(amount), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 10 else f"{value:.1f} {_UNITS[unit]}"
