"""Reading one file that passed the guard."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tdtool.errors import InputError
from tdtool.store import guard
from tdtool.store.digest import array_digest
from tdtool.store.schema import ArraySpec

#: What h5py raises on a file whose structure is damaged.
BROKEN = (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError)
_BLOCK_TEXTS = 1 << 16
_BLOCK_BYTES = 1 << 24


class Reader:
    """An open file; made by `hdf5.open`. schema : what kind of file; attributes : its root attributes, JSON decoded."""

    def __init__(self, file: h5py.File, path: Path) -> None:
        self.path = path
        self.schema = guard.read_schema(file, path)
        self.attributes: dict[str, Any] = guard.read_attributes(file, path)
        self._datasets = guard.check_structure(file, self.schema, path)
        self._file_bytes = path.stat().st_size

    def require(self, *names: str) -> None:
        """InputError unless the file is of one of these schemas ("tdtool.corpus", ...)."""
        if self.schema.name not in names:
            what = f"a {self.schema.name} file, where {' or '.join(names)} is wanted"
            raise InputError(what, path=self.path, hint=f"it holds: {self.schema.about}")

    def paths(self) -> list[str]:
        """The arrays in the file, in the order of the schema."""
        return self.schema.in_order(self._datasets)

    def spec(self, path: str) -> ArraySpec:
        """The schema's line of an array, with a name for each of its axes."""
        return self.schema.array(path).for_order(len(self.shape(path)))

    def __contains__(self, path: str) -> bool:
        return path in self._datasets

    def shape(self, path: str) -> tuple[int, ...]:
        """Lengths of the axes of an array."""
        return self._dataset(path).shape

    def dtype(self, path: str) -> np.dtype | type[str]:
        """Type of the values as stored; `str` for text."""
        dtype = self._dataset(path).dtype
        return str if h5py.check_string_dtype(dtype) is not None else dtype

    def digest(self, path: str) -> str:
        """The digest stored with an array, "" when there is none."""
        attributes = self._dataset(path).attrs
        try:
            if "digest" not in attributes or h5py.h5a.open(self._dataset(path).id, b"digest").get_storage_size() > 64:
                return ""
            return str(attributes["digest"])
        except BROKEN as error:
            raise self._damaged(path) from error

    def get(self, path: str) -> Any:
        """A whole array (list[str] for text), after its digest was found right. InputError when it was not."""
        length = self.shape(path)[0]
        values = self.rows(path, 0, length)
        if array_digest(path, values) != self.digest(path):
            raise self._damaged(path)
        return values

    def rows(self, path: str, start: int, stop: int) -> Any:
        """Rows start .. stop - 1 of an array : (stop - start, *the other axes), or list[str]."""
        dataset = self._dataset(path)
        try:
            if self.dtype(path) is str:
                return self._texts(dataset, path, start, stop)
            values = dataset[start:stop]
        except BROKEN as error:
            raise self._damaged(path) from error
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    def blocks(self, path: str) -> Iterator[tuple[int, Any]]:
        """(start, rows) over a whole array, a few megabytes at a time."""
        shape = self.shape(path)
        row_bytes = math.prod(shape[1:]) * self._dataset(path).dtype.itemsize
        step = _BLOCK_TEXTS if self.dtype(path) is str else max(1, _BLOCK_BYTES // max(1, row_bytes))
        for start in range(0, shape[0], step):
            yield start, self.rows(path, start, min(start + step, shape[0]))

    def memory_map(self, path: str) -> NDArray:
        """A contiguous array as it lies in the file, read-only; nothing is read until it is touched."""
        dataset = self._dataset(path)
        if dataset.chunks is not None or (self.dtype(path) is str and dataset.dtype.kind == "O"):
            raise ValueError(f"{path} is not stored contiguously")
        if dataset.size == 0:
            return np.empty(dataset.shape, dataset.dtype)
        return np.memmap(self.path, dataset.dtype, "r", dataset.id.get_offset(), dataset.shape)

    def _dataset(self, path: str) -> h5py.Dataset:
        if path not in self._datasets:
            raise KeyError(f"{self.path} has no array {path}")
        return self._datasets[path]

    def _texts(self, dataset: h5py.Dataset, path: str, start: int, stop: int) -> list[str]:
        texts: list[str] = []
        used = 0
        for block in range(start, stop, _BLOCK_TEXTS):
            pieces = dataset[block : min(block + _BLOCK_TEXTS, stop)].tolist()
            used += sum(map(len, pieces))
            if used > self._file_bytes:
                raise InputError(f"the texts of {path} are longer than the file", path=self.path)
            texts += [piece.decode("utf-8", "backslashreplace") for piece in pieces]
        return texts

    def _damaged(self, path: str) -> InputError:
        return InputError(
            f"{path} is damaged", path=self.path, hint="run `tdtool verify` on it; restore it or make it again"
        )
