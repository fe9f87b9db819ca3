"""Tensors in numpy's files: .npy is mapped into memory, of .npz one array is picked; scipy.sparse matrices too."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.config import TensorConfig
from tdtool.data.readers.counts_npz import sparse_entries
from tdtool.data.readers.npz_arrays import NpzArchive, arranged, opened_npz, read_header, read_values, refuse_pickled
from tdtool.data.readers.places import open_binary
from tdtool.data.readers.streams import Input
from tdtool.data.readers.tensor_types import (
    Entries,
    Found,
    Labels,
    array_bytes,
    as_mask,
    check_memory,
    check_shape,
    pick,
    result_dtype,
)
from tdtool.errors import InputError

_ENTRY_BYTES = 64
#: Names of indices and modes take this much at most.
_LABEL_BYTES = 256 << 20


def read_npy(source: Input, path: str, memory: int) -> Found:
    """The array of an .npy file, mapped into memory where it can be (the file itself is never written to)."""
    with source.open_seekable() as file:
        header = read_header(file, "it", source.path)
        refuse_pickled(header, "it", source.path)
        _check(header.shape, header.dtype, "the array", memory, source.path)
        there = file.seek(0, 2) - header.size
        if there < header.n_bytes:
            raise InputError(
                f"it ends too early: {there:,} of {header.n_bytes:,} bytes of values are there",
                path=source.path,
                hint="the file is incomplete: copy or download it again",
            )
        if there > header.n_bytes:
            raise InputError(f"{there - header.n_bytes:,} bytes follow the array", path=source.path)
        if source.seekable and source.compression is None:
            with open_binary(path) as plain:
                flat = np.memmap(plain, np.uint8, "c", header.size, (header.n_bytes,))
            return Found(np.asarray(arranged(flat, header)), "npy, array")
        file.seek(header.size)
        values = read_values(file, header)
    if values is None:
        raise InputError("it ends too early", path=source.path, hint="copy or download it again")
    return Found(values, "npy, array")


def read_npz(source: Input, config: TensorConfig, memory: int) -> Found:
    """One array of an .npz file, or the scipy.sparse matrix that it is."""
    with opened_npz(source) as archive:
        if config.key is None and {"format", "shape", "data"} <= archive.headers.keys():
            return _sparse_matrix(archive, memory)
        looks = {name: (header.shape, header.dtype) for name, header in archive.headers.items()}
        key, notes = pick(looks, config.key, config.mask, source.path)
        shape, dtype = looks[key]
        name = f"array {key}"
        refuse_pickled(archive.headers[key], f"{key}.npy in it", source.path)
        _check(shape, dtype, name, memory, source.path)
        values = archive.read(key)
        missing = None
        if config.mask is not None:
            mask, _ = pick(looks, config.mask, None, source.path)
            check_memory(archive.headers[mask].n_bytes, memory, f"the mask {mask}", source.path)
            missing = as_mask(archive.read(mask), mask, shape, source.path)
        return Found(values, f"npz, {name}", key, missing, _labels(archive, shape), _mode_names(archive, shape), notes)


def _check(shape: tuple[int, ...], dtype: np.dtype, name: str, memory: int, path: str) -> None:
    check_shape(shape, name, path)
    wide = result_dtype(dtype, name, path)
    needed = array_bytes(shape, dtype, copied=wide != dtype.newbyteorder("="))
    check_memory(needed, memory, f"the {name.removeprefix('the ')}", path)


def _sparse_matrix(archive: NpzArchive, memory: int) -> Found:
    stored = sum(header.n_bytes for header in archive.headers.values())
    check_memory(3 * stored, memory, "the sparse matrix", archive.path)
    shape, rows, columns, values = sparse_entries({name: archive.read(name) for name in archive.headers}, archive.path)
    if values.dtype.kind not in "biuf":
        raise InputError(f"its values are {values.dtype}; a sparse tensor holds real numbers", path=archive.path)
    numbers = values.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        at = int(bad[0])
        raise InputError(
            f"the value at [{int(rows[at])}, {int(columns[at])}] (counted from 0) is {numbers[at]}",
            path=archive.path,
            hint="a sparse tensor has no missing values: what is not stored is 0",
        )
    return Found(Entries((rows, columns), numbers, shape), "npz, scipy.sparse matrix")


def _labels(archive: NpzArchive, shape: tuple[int, ...]) -> Labels:
    """The arrays labels0, labels1 ... where they name each index of their mode."""
    labels = []
    for mode, size in enumerate(shape):
        texts = _texts(archive, f"labels{mode}")
        labels.append(texts if texts is not None and len(texts) == size else None)
    return tuple(labels)


def _mode_names(archive: NpzArchive, shape: tuple[int, ...]) -> tuple[str, ...]:
    texts = _texts(archive, "modes")
    return tuple(texts) if texts is not None and len(texts) == len(shape) else ()


def _texts(archive: NpzArchive, name: str) -> list[str] | None:
    """A vector of text or whole numbers as strings, None when there is none of this name."""
    header = archive.headers.get(name)
    if header is None or len(header.shape) != 1 or header.dtype.kind not in "USiu":
        return None
    if math.prod(header.shape) * header.dtype.itemsize > _LABEL_BYTES:
        return None
    values: NDArray[Any] = archive.read(name)
    if header.dtype.kind == "S":
        return [text.decode("utf-8", "backslashreplace") for text in values.tolist()]
    try:
        return [str(value) for value in values.tolist()]
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{name}.npy in it holds no valid text ({error})", path=archive.path) from error
