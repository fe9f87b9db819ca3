"""Tensors in MATLAB files: one array of numbers of version 5 ("-v7") or 7.3. Objects are never looked into."""

from __future__ import annotations

import math
from typing import BinaryIO

import numpy as np

from tdtool.config import TensorConfig
from tdtool.data.readers.counts_npz import sparse_entries
from tdtool.data.readers.streams import Input
from tdtool.data.readers.tensor_formats import HDF5_MAGIC
from tdtool.data.readers.tensor_mat5 import NUMBERS, Mat5, Variable
from tdtool.data.readers.tensor_types import Entries, Found, as_mask, check_memory, check_shape, pick
from tdtool.errors import InputError

_HINT = "in MATLAB: save('tensor.mat', 'X') with X an array of numbers"


def read_mat(source: Input, path: str, config: TensorConfig, memory: int) -> Found:
    """One array of a MATLAB file."""
    if source.head[512:520] == HDF5_MAGIC:
        from tdtool.data.readers.tensor_hdf5 import read_mat73

        return read_mat73(source, path, config, memory)
    with source.open_seekable() as file:
        return _read_5(file, source, config, memory)


def _read_5(file: BinaryIO, source: Input, config: TensorConfig, memory: int) -> Found:
    content = Mat5(file, source)
    have = content.variables
    for wanted in (config.key, config.mask):
        if wanted in have and have[wanted].kind not in NUMBERS:
            raise InputError(
                f"{wanted} is a {have[wanted].kind}, not an array of numbers", path=source.path, hint=_HINT
            )
    looks = {name: (each.shape, _dtype(each)) for name, each in have.items() if each.kind in NUMBERS}
    key, notes = pick(looks, config.key, config.mask, source.path)
    variable = have[key]
    check_shape(variable.shape, f"the array {key}", source.path)
    check_memory(_needed(content, variable), memory, f"the array {key}", source.path)
    if variable.kind == "sparse":
        return Found(_entries(content, variable, source), f"MATLAB 5, sparse matrix {key}", key, notes=notes)
    values = content.read(variable)
    missing = None
    if config.mask is not None:
        mask, _ = pick(looks, config.mask, None, source.path)
        check_memory(_needed(content, have[mask]), memory, f"the mask {mask}", source.path)
        if have[mask].kind == "sparse":
            raise InputError(f"the mask {mask} is sparse", path=source.path, hint="save full(mask)")
        missing = as_mask(content.read(have[mask]), mask, variable.shape, source.path)
    return Found(values, f"MATLAB 5, array {key}", key, missing, notes=notes)


def _dtype(variable: Variable) -> np.dtype:
    dtype = np.dtype(NUMBERS[variable.kind])
    return np.result_type(dtype, np.complex64) if variable.is_complex else dtype


def _needed(content: Mat5, variable: Variable) -> int:
    """Bytes that reading takes: as stored, as numbers of its class, and as numbers to compute with."""
    if variable.kind == "sparse":
        return 6 * content.stored_bytes(variable)
    size = _dtype(variable).itemsize
    return content.stored_bytes(variable) + math.prod(variable.shape) * (2 * size if size >= 8 else size + 8)


def _entries(content: Mat5, variable: Variable, source: Input) -> Entries:
    shape, rows, columns, data = sparse_entries(content.read_sparse(variable), source.path, "rows x columns")
    if data.dtype.kind not in "biuf" or not bool(np.isfinite(data).all()):
        raise InputError(
            f"{variable.name} holds values that are complex, NaN or infinite",
            path=source.path,
            hint="a sparse tensor holds real numbers; what is not stored is 0",
        )
    return Entries((rows, columns), data.astype(np.float64), shape)
