"""Tensors in HDF5 files of anybody, and in MATLAB files of version 7.3, which are HDF5 with the axes reversed."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tdtool.config import TensorConfig
from tdtool.data.readers.streams import GrowthCap, Input
from tdtool.data.readers.tensor_types import (
    Found,
    Labels,
    as_mask,
    check_memory,
    check_shape,
    in_bytes,
    is_number,
    pick,
    result_dtype,
)
from tdtool.data.readers.text_batches import printable
from tdtool.errors import InputError

#: What h5py raises on a file whose structure is damaged.
_BROKEN = (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError, UnicodeDecodeError, AttributeError)
#: Filters that every HDF5 library can undo: deflate, shuffle, fletcher32, szip, nbit, scaleoffset; and h5py's lzf.
_FILTERS = {1, 2, 3, 4, 5, 6, 32000}
_MOST_OBJECTS = 10_000
_CHUNK_MOST = 1 << 30
_LABEL_BYTES = 256 << 20
_REFERENCE_BYTES = 16
_NAME_MOST = 200


def read_hdf5(source: Input, path: str, config: TensorConfig, memory: int) -> Found:
    """One array of an HDF5 file, with names of indices and modes where dimension scales give them."""
    with _opened(source, path) as file:
        key, dataset, mask, notes = _chosen(file, config, source, memory)
        values = _values(dataset, key, source, memory)
        missing = None if mask is None else as_mask(_raw(mask, memory, source), mask.name, values.shape, source.path)
        labels, names = _labels(dataset, source), _mode_names(dataset)
    return Found(values, f"HDF5, array {key}", key, missing, labels, names, notes)


def read_mat73(source: Input, path: str, config: TensorConfig, memory: int) -> Found:
    """One array of a MATLAB file of version 7.3. There the axes are the other way round."""
    with _opened(source, path) as file:
        key, dataset, mask, notes = _chosen(file, config, source, memory, matlab=True)
        values = _values(dataset, key, source, memory).T
        missing = None if mask is None else as_mask(_raw(mask, memory, source).T, mask.name, values.shape, source.path)
    return Found(values, f"MATLAB 7.3, array {key}", key, missing, notes=notes)


@contextlib.contextmanager
def _opened(source: Input, path: str) -> Iterator[h5py.File]:
    """The file opened; what h5py raises becomes an InputError."""
    with contextlib.ExitStack() as stack:
        try:
            if source.seekable and source.compression is None:
                file = stack.enter_context(h5py.File(path, "r", locking="best-effort"))
            else:
                file = stack.enter_context(h5py.File(stack.enter_context(source.open_seekable()), "r"))
            yield file
        except _BROKEN as error:
            first = str(error).strip().partition("\n")[0][:_NAME_MOST]
            raise InputError(
                f"the HDF5 file is damaged, or holds what cannot be read ({first})",
                path=source.path,
                hint="look at it with h5dump or h5ls; copy or download it again",
            ) from error


def _chosen(
    file: h5py.File, config: TensorConfig, source: Input, memory: int, *, matlab: bool = False
) -> tuple[str, h5py.Dataset, h5py.Dataset | None, tuple[str, ...]]:
    """The array to read and its mask, both looked over."""
    have = dict(_datasets(file, source.path))
    if matlab:
        _refuse_objects(file, config.key, source.path)
        have = {name: dataset for name, dataset in have.items() if not name.startswith("#")}
    for wanted in (config.key, config.mask):
        if wanted is not None:
            _refuse_link(file, wanted, source.path)
    looks = {name: (dataset.shape or (), dataset.dtype) for name, dataset in have.items()}
    if matlab:
        looks = {name: (shape[::-1], dtype) for name, (shape, dtype) in looks.items() if not _is_text(have[name])}
    key, notes = pick(looks, config.key, config.mask, source.path)
    _check_storage(have[key], key, source)
    mask = None if config.mask is None else have[pick(looks, config.mask, None, source.path)[0]]
    if mask is not None:
        _check_storage(mask, str(config.mask), source)
    return key, have[key], mask, notes


def _datasets(file: h5py.File, path: str) -> Iterator[tuple[str, h5py.Dataset]]:
    """Every array of the file by its path, groups by groups. Links to other places are not followed."""
    waiting, seen, n_objects = [("", file)], {_place(file)}, 0
    while waiting:
        prefix, group = waiting.pop(0)
        for name in group:
            n_objects += 1
            if n_objects > _MOST_OBJECTS:
                raise InputError(f"it holds more than {_MOST_OBJECTS:,} objects", path=path)
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            member = group[name]
            if isinstance(member, h5py.Dataset):
                yield prefix + name, member
            elif isinstance(member, h5py.Group) and _place(member) not in seen:
                seen.add(_place(member))
                waiting.append((f"{prefix}{name}/", member))


def _place(group: h5py.Group) -> Any:
    """Where a group lies in the file: hard links may make circles."""
    return h5py.h5o.get_info(group.id).addr


def _refuse_link(file: h5py.File, wanted: str, path: str) -> None:
    """InputError when a part of a path inside the file is a link to another place."""
    group: Any = file
    for part in wanted.strip("/").split("/"):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) and part in _names(group) else None
        if link is None:
            return
        if not isinstance(link, h5py.HardLink):
            raise InputError(
                f"{wanted!r} is a link to another place; it is not followed", path=path, hint="name the array itself"
            )
        group = group[part]


def _names(group: h5py.Group) -> set[str]:
    return set(group)


def _refuse_objects(file: h5py.File, wanted: str | None, path: str) -> None:
    """InputError when the wanted variable is a struct, a cell, an object or sparse."""
    if wanted is None or wanted.strip("/") not in _names(file):
        return
    variable = file[wanted.strip("/")]
    kind = variable.attrs.get("MATLAB_class", b"")
    word = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
    if "MATLAB_sparse" in variable.attrs:
        raise InputError(
            f"{wanted} is sparse, which is not read from version 7.3", path=path, hint="save it with -v7, or full(X)"
        )
    if isinstance(variable, h5py.Group) or word in ("cell", "struct", "function_handle", "char"):
        raise InputError(
            f"{wanted} is a {word or 'group'}, not an array of numbers", path=path, hint="save the numbers as one array"
        )


def _is_text(dataset: h5py.Dataset) -> bool:
    return dataset.attrs.get("MATLAB_class", b"") in (b"char", b"cell", b"function_handle")


def _check_storage(dataset: h5py.Dataset, name: str, source: Input) -> None:
    """InputError for values that lie in another file, that were never written, or that this library cannot unpack."""
    plist = dataset.id.get_create_plist()
    if plist.get_layout() == h5py.h5d.VIRTUAL or plist.get_external_count() or dataset.is_virtual:
        raise InputError(f"the values of {name} lie in another file; that is not followed", path=source.path)
    filters = {plist.get_filter(i)[0] for i in range(plist.get_nfilters())}
    if not filters <= _FILTERS:
        raise InputError(
            f"{name} is compressed with a plugin (filter {max(filters)})",
            path=source.path,
            hint="write it again: h5repack -f GZIP=4 OLD NEW",
        )
    if dataset.chunks is not None and math.prod(dataset.chunks) * dataset.dtype.itemsize > _CHUNK_MOST:
        raise InputError(f"{name} is stored in chunks of more than {in_bytes(_CHUNK_MOST)}", path=source.path)


def _values(dataset: h5py.Dataset, name: str, source: Input, memory: int) -> NDArray:
    """All values in the dtype to compute in; HDF5 converts while it reads."""
    shape, what = dataset.shape, f"the array {name}"
    if shape is None:
        raise InputError(f"{what} is empty: it has no shape", path=source.path)
    check_shape(shape, what, source.path)
    if not is_number(dataset.dtype):
        result_dtype(dataset.dtype, what, source.path)
    whole = dataset.dtype.kind in "iu" and dataset.dtype.itemsize == 8
    dtype = dataset.dtype if whole or dataset.dtype.kind == "b" else result_dtype(dataset.dtype, what, source.path)
    needed = math.prod(shape) * (16 if whole else 9 if dtype.kind == "b" else dtype.itemsize)
    check_memory(needed, memory, f"{what} of {shape} {dataset.dtype}".replace(",)", ")"), source.path)
    _check_written(dataset, name, source)
    values = np.empty(shape, dtype.newbyteorder("="))
    dataset.read_direct(values)
    return values


def _check_written(dataset: h5py.Dataset, name: str, source: Input) -> None:
    stored = dataset.id.get_storage_size()
    if not stored:
        raise InputError(f"the values of {name} were never written", path=source.path)
    cap = GrowthCap(source.path, source.config)
    cap.n_in, cap.n_out = stored, math.prod(dataset.shape) * dataset.dtype.itemsize
    cap.check()


def _raw(dataset: h5py.Dataset, memory: int, source: Input) -> NDArray:
    """The values of a mask, as they are stored."""
    if dataset.shape is None or not is_number(dataset.dtype):
        raise InputError(f"the mask {dataset.name} holds no numbers", path=source.path)
    check_memory(math.prod(dataset.shape) * dataset.dtype.itemsize, memory, "the mask", source.path)
    return np.asarray(dataset[...])


def _labels(dataset: h5py.Dataset, source: Input) -> Labels:
    """For each mode the texts or whole numbers of a dimension scale that names each index."""
    return tuple(_mode_labels(dataset, mode, size, source) for mode, size in enumerate(dataset.shape))


def _mode_labels(dataset: h5py.Dataset, mode: int, size: int, source: Input) -> list[str] | None:
    for number in range(len(dataset.dims[mode])):
        scale = dataset.dims[mode][number]
        text = h5py.check_string_dtype(scale.dtype) is not None
        width = _REFERENCE_BYTES if scale.dtype.kind == "O" else scale.dtype.itemsize
        if scale.shape != (size,) or not (text or scale.dtype.kind in "iu") or size * width > _LABEL_BYTES:
            continue
        if text and scale.id.get_storage_size():
            _check_storage(scale, scale.name, source)
            return [printable(label) if isinstance(label, bytes) else str(label) for label in scale[...].tolist()]
        if not text and scale.id.get_storage_size():
            _check_storage(scale, scale.name, source)
            return [str(label) for label in scale[...].tolist()]
    return None


def _mode_names(dataset: h5py.Dataset) -> tuple[str, ...]:
    """What the dimensions are called, () unless all have a name and no two the same."""
    names = [dim.label or (dim[0].name or "").rpartition("/")[2] if len(dim) else dim.label for dim in dataset.dims]
    return tuple(names) if all(names) and len(set(names)) == len(names) else ()
