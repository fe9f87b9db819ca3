"""What a line of the schema says, and whether arrays are as it says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

#: What the kind letters of numpy mean to a reader.
KINDS = {"f": "float", "i": "integer", "u": "unsigned integer", "S": "text (UTF-8)"}
#: Tensors of more modes are not stored.
MOST_MODES = 8

_NUMBER = "(0|[1-9][0-9]?)"


class ArraySpec(NamedTuple):
    """One stored array, or one a mode of a tensor.

    path : "group/name"; dims : names of the axes, "x+1" is one longer than "x", "x_", "x__" are x again; kind : letter
    of numpy (f, i, u, S); about : what a value means; unit : of a value; optional : a file may lack it.
    A "*" stands for the number of a mode: "factors/mode*" is an array a mode, dims ("rank*",) is an axis a mode.
    """

    path: str
    dims: tuple[str, ...]
    kind: str
    about: str
    unit: str = ""
    optional: bool = False

    @property
    def per_mode(self) -> bool:
        """Whether this line stands for an array a mode."""
        return "*" in self.path

    def for_mode(self, mode: int) -> ArraySpec:
        """The line of one mode's array."""
        dims = tuple(dim.replace("*", str(mode)) for dim in self.dims)
        return self._replace(path=self.path.replace("*", str(mode)), dims=dims)

    def for_order(self, order: int) -> ArraySpec:
        """With one axis for each of `order` modes where the line has one for all."""
        dims = (dim.replace("*", str(mode)) for dim in self.dims for mode in range(order if "*" in dim else 1))
        return self._replace(dims=tuple(dims))


class FileSchema(NamedTuple):
    """One kind of file. compressed : gzip, shuffle, fletcher32 (results), or contiguous and memory-mapped (stores)."""

    name: str
    version: int
    about: str
    compressed: bool
    arrays: tuple[ArraySpec, ...]

    def array(self, path: str) -> ArraySpec:
        """The line of one array ("factors/mode3": of that mode); KeyError when there is none of that name."""
        for spec in self.arrays:
            if not spec.per_mode and spec.path == path:
                return spec
            mode = _mode_of(path, spec.path) if spec.per_mode else None
            if mode is not None:
                return spec.for_mode(mode)
        raise KeyError(f"{self.name} has no array {path}")

    def in_order(self, paths: Iterable[str]) -> list[str]:
        """Paths as the schema lists them, modes by number; those that are not in it left out."""
        known = set(paths)
        listed = (
            spec.for_mode(mode).path if spec.per_mode else spec.path
            for spec in self.arrays
            for mode in range(MOST_MODES if spec.per_mode else 1)
        )
        return [path for path in listed if path in known]

    def has_dim(self, name: str) -> bool:
        """Whether an axis may have this name."""
        return any(name == dim or ("*" in dim and _mode_of(name, dim) is not None) for dim in self.dims)

    @property
    def has_modes(self) -> bool:
        """Whether there is an array a mode."""
        return any(spec.per_mode for spec in self.arrays)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of all axes, in the order of their first use."""
        return tuple(dict.fromkeys(dim for spec in self.arrays for dim in spec.dims))

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, in the order of their first use."""
        return tuple(dict.fromkeys(spec.path.partition("/")[0] for spec in self.arrays))


def base_axis(dim: str) -> tuple[str, int]:
    """The axis that `dim` goes by, and how much longer it is: ("document", 1) for "document+1"."""
    return (dim.removesuffix("+1"), 1) if dim.endswith("+1") else (dim.rstrip("_"), 0)


def check_array(spec: ArraySpec, shape: tuple[int, ...], kind: str) -> None:
    """ValueError unless an array of this shape and numpy kind (or "O", "U": text) is what `spec` says."""
    kind = "S" if kind in "OUST" else kind
    if len(shape) != len(spec.dims) or kind != spec.kind:
        have = f"{len(shape)} axes of kind {KINDS.get(kind, kind)}"
        raise ValueError(f"{spec.path}: want ({', '.join(spec.dims)}) of kind {KINDS[spec.kind]}, got {have}")


def check_dims(spec: ArraySpec, shape: tuple[int, ...], sizes: dict[str, int]) -> None:
    """ValueError unless `shape` agrees with the axes known from other arrays; new ones are added to `sizes`."""
    for dim, length in zip(spec.dims, shape, strict=True):
        base, longer = base_axis(dim)
        size = length - longer
        if size < 0 or sizes.setdefault(base, size) != size:
            raise ValueError(
                f"{spec.path}: axis {dim} has length {length}, other arrays have {sizes.get(base, 0) + longer}"
            )


def check_modes(schema: FileSchema, shapes: dict[str, tuple[int, ...]], sizes: dict[str, int]) -> None:
    """ValueError unless the arrays of a file are of one tensor: modes 0, 1, ... of each, as many in all.

    shapes : of the arrays, by path; sizes : of the axes, "mode" becomes the number of modes.
    """
    if not schema.has_modes:
        return
    first = min((spec for spec in schema.arrays if spec.per_mode), key=lambda spec: spec.optional)
    order = sum(_mode_of(path, first.path) is not None for path in shapes)
    if order == 0 and not first.optional:
        raise ValueError(f"{first.path} is missing: there is one for each mode of the tensor")
    if sizes.setdefault("mode", order) != order:
        raise ValueError(f"{sizes['mode']} modes have a name, and there are {first.path} of {order}")
    for spec in schema.arrays:
        if spec.per_mode:
            modes = {mode for path in shapes if (mode := _mode_of(path, spec.path)) is not None}
            wanted = set(range(order))
            if not (modes <= wanted if spec.optional else modes == wanted):
                have = ", ".join(map(str, sorted(modes))) or "none"
                raise ValueError(f"{spec.path}: modes 0 to {order - 1} are wanted, there are {have}")
        elif spec.path in shapes and any("*" in dim for dim in spec.dims) and len(shapes[spec.path]) != order:
            raise ValueError(f"{spec.path}: has {len(shapes[spec.path])} axes, and there are factors of {order} modes")


def _mode_of(name: str, template: str) -> int | None:
    """The number that "*" stands for where `name` is made from `template`, else None."""
    before, _, after = template.partition("*")
    found = re.fullmatch(re.escape(before) + _NUMBER + re.escape(after), name, re.ASCII)
    return int(found[1]) if found and int(found[1]) < MOST_MODES else None
