"""Filling one file: every array is checked against the schema, digested on its way to disk, and its axes are named."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, cast

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdtool import __version__
from tdtool.store import schema as schemas
from tdtool.store.digest import RunningDigest, are_clean, as_bytes, content_digest
from tdtool.store.shield import shielded

_CHUNK_BYTES = 1 << 19
_BLOCK_BYTES = 1 << 25
_BLOCK_TEXTS = 1 << 16


class Stream:
    """One array on its way to disk, a block of rows at a time. Blocks may come in any order; in order is cheaper."""

    def __init__(self, dataset: h5py.Dataset, spec: schemas.ArraySpec, check_disk: Callable[[], None]) -> None:
        self._dataset, self._spec, self._check_disk = dataset, spec, check_disk
        self._shape, self._text = dataset.shape, dataset.dtype.kind == "O"
        self._digest = self._new_digest()
        self._position, self._written, self._in_order = 0, 0, True

    def write(self, start: int, array: NDArray | Sequence[str]) -> None:
        """Put rows start, start + 1, ... : (rows, *the other axes), or a list of strings."""
        rows = len(array)
        values = self._as_stored(array)
        shape = (rows, *self._shape[1:])
        if values.shape != shape or not 0 <= start <= self._shape[0] - rows:
            raise ValueError(f"{self._spec.path}: rows {start} + {values.shape} do not fit {self._shape}")
        if rows == 0:
            return
        with shielded():
            self._dataset[start : start + rows] = values
        self._check_disk()
        self._written += rows
        self._in_order = self._in_order and start == self._position
        if self._in_order:
            self._digest.update(values)
            self._position = start + rows

    def finish(self) -> str:
        """The digest, when every row has arrived."""
        if self._written != self._shape[0]:
            raise ValueError(f"{self._spec.path}: {self._written:,} of {self._shape[0]:,} rows were written")
        if not self._in_order:
            self._digest = self._new_digest()
            step = _rows_a_block(self._shape, self._dataset.dtype)
            for start in range(0, self._shape[0], step):
                self._digest.update(self._dataset[start : start + step])
        digest = self._digest.hexdigest()
        self._dataset.attrs["digest"] = digest
        return digest

    def _new_digest(self) -> RunningDigest:
        return RunningDigest(self._spec.path, str if self._text else self._dataset.dtype, self._shape)

    def _as_stored(self, array: NDArray | Sequence[str]) -> NDArray:
        if not self._text:
            return np.asarray(array, self._dataset.dtype)
        texts = list(array)
        return _as_objects(texts if are_clean(texts) else [as_bytes(text) for text in texts])


class Writer:
    """An open NAME.part; made by `hdf5.create`, which renames it when the block ends well."""

    def __init__(self, file: h5py.File, schema: schemas.FileSchema, check_disk: Callable[[], None]) -> None:
        self.schema = schema
        self._check_disk = check_disk
        self._file = file
        self._sizes: dict[str, int] = {}
        self._specs: dict[str, schemas.ArraySpec] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._streams: dict[str, Stream] = {}
        self.attribute("schema", schema.name)
        self.attribute("schema_version", schema.version)
        self.attribute("tdtool_version", __version__)

    def put(self, path: str, array: ArrayLike | Sequence[str]) -> None:
        """Store a whole array. array : numbers of the schema's kind, or a sequence of strings."""
        values = _as_array(array, self.schema.array(path).kind)
        text = values.dtype.kind in "OU"
        stream = self.stream(path, values.shape, str if text else values.dtype)
        step = _rows_a_block(values.shape, values.dtype)
        for start in range(0, values.shape[0], step):
            stream.write(start, values[start : start + step])

    @shielded()
    def stream(
        self, path: str, shape: Sequence[int], dtype: np.dtype | type | str, chunk_rows: int | None = None
    ) -> Stream:
        """Store an array whose rows arrive in blocks. dtype : of the numbers, or `str`; chunk_rows : else chosen."""
        shape = tuple(int(length) for length in shape)
        spec = self.schema.array(path).for_order(len(shape))
        text = dtype is str
        stored = h5py.string_dtype() if text else np.dtype(dtype).newbyteorder("<")
        schemas.check_array(spec, shape, "S" if text else stored.kind)
        schemas.check_dims(spec, shape, self._sizes)
        layout = self._layout(shape, stored, chunk_rows) if self.schema.compressed and not text else {}
        dataset = self._file.create_dataset(path, shape, stored, **layout)
        dataset.attrs["long_name"] = spec.about
        if spec.unit:
            dataset.attrs["units"] = spec.unit
        self._specs[path], self._shapes[path] = spec, shape
        self._streams[path] = Stream(dataset, spec, self._check_disk)
        return self._streams[path]

    @shielded()
    def attribute(self, name: str, value: Any) -> None:
        """Store a root attribute: text or a number as it is, anything else that JSON can say as JSON."""
        self._file.attrs[name] = encode_attribute(value)

    @shielded()
    def finish(self) -> str:
        """Check that nothing is missing, name the axes, store the digests; returns the content digest."""
        wanted = (spec.path for spec in self.schema.arrays if not spec.optional and not spec.per_mode)
        missing = [path for path in wanted if path not in self._streams]
        if missing:
            raise ValueError(f"{self.schema.name} lacks {', '.join(missing)}")
        schemas.check_modes(self.schema, self._shapes, self._sizes)
        digests = {path: stream.finish() for path, stream in self._streams.items()}
        self._name_axes()
        digest = content_digest(self.schema.name, self.schema.version, digests)
        self.attribute("content_digest", digest)
        return digest

    def _name_axes(self) -> None:
        """Dimension scales in the root group, without data: netCDF's way to name axes, which xarray reads."""
        scales: dict[str, h5py.Dataset] = {}
        for path in self.schema.in_order(self._specs):
            for axis, dim in enumerate(self._specs[path].dims):
                if dim not in scales:
                    length = self._shapes[path][axis]
                    scales[dim] = self._file.create_dataset(dim, (length,), ">f4")
                    scales[dim].make_scale(f"This is a netCDF dimension but not a netCDF variable.{length:10d}")
                self._file[path].dims[axis].label = dim
                self._file[path].dims[axis].attach_scale(scales[dim])

    def _layout(self, shape: tuple[int, ...], dtype: np.dtype, chunk_rows: int | None) -> dict[str, Any]:
        if 0 in shape:
            return {}
        inner = tuple(min(length, _CHUNK_BYTES // dtype.itemsize) for length in shape[1:])
        row_bytes = dtype.itemsize * int(np.prod(inner, dtype=np.int64))
        rows = chunk_rows or max(1, _CHUNK_BYTES // row_bytes)
        chunks = (min(rows, shape[0]), *inner)
        return {"chunks": chunks, "compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}


def encode_attribute(value: Any) -> str | int | float | bool:
    """As stored: plain text and numbers stay readable to any program; text that could pass for JSON is quoted."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, (bool, int, float)) or (
        isinstance(value, str) and value.isprintable() and not _is_json(value)
    ):
        return value
    return json.dumps(value, allow_nan=False, sort_keys=True, default=_plain)


def decode_attribute(value: str | int | float | bool) -> Any:
    """The inverse of encode_attribute."""
    return json.loads(value) if isinstance(value, str) and _is_json(value) else value


def _is_json(text: str) -> bool:
    return text[:1] in ("{", "[", '"') or text == "null"


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be stored as an attribute")


def _as_array(values: ArrayLike | Sequence[str], kind: str) -> NDArray:
    if isinstance(values, np.ndarray):
        return values
    if kind != "S":
        array = np.asarray(values)
        return array if array.size else array.astype(f"{kind}8")
    return _as_objects(list(cast("Sequence[str]", values)))


def _as_objects(texts: list[str] | list[bytes]) -> NDArray:
    array: NDArray[Any] = np.empty(len(texts), np.dtype(object))
    array[:] = texts
    return array


def _rows_a_block(shape: tuple[int, ...], dtype: np.dtype) -> int:
    if dtype.kind in "OU":
        return _BLOCK_TEXTS
    return max(1, _BLOCK_BYTES // max(1, dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))))
