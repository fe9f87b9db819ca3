"""The writers of exports: tables by Arrow, JSON and .npz. None of them holds a whole result in memory."""

from __future__ import annotations

import contextlib
import json
import math
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdtool.errors import UsageError
from tdtool.store.digest import as_bytes
from tdtool.store.reader import Reader

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_BYTES = 1 << 23
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_TEXTS_MOST = 1 << 31
_STARTS_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?")


class Rows:
    """An array, or a column of texts, that is read a block of rows at a time. dtype : `str` for texts."""

    shape: tuple[int, ...]
    dtype: np.dtype | type[str]

    def rows(self, start: int, stop: int) -> Any:
        """Rows start .. stop - 1 : (stop - start, *the other axes), or a list of texts."""
        raise NotImplementedError

    def blocks(self) -> Iterator[tuple[int, Any]]:
        """(start, rows) over everything, a few megabytes at a time."""
        size = 64 if self.dtype is str else np.dtype(self.dtype).itemsize
        step = max(1, _BLOCK_BYTES // max(1, math.prod(self.shape[1:]) * size))
        for start in range(0, self.shape[0], step):
            yield start, self.rows(start, min(start + step, self.shape[0]))


class Stored(Rows):
    """Rows of an array in an open file; read when they are asked for."""

    def __init__(self, reader: Reader, path: str) -> None:
        self._reader, self._path = reader, path
        self.shape, self.dtype = reader.shape(path), reader.dtype(path)

    def rows(self, start: int, stop: int) -> Any:
        """Rows start .. stop - 1."""
        return self._reader.rows(self._path, start, stop)


class Held(Rows):
    """Rows of an array, or texts, in memory."""

    def __init__(self, values: NDArray | Sequence[str]) -> None:
        self._values = values
        array = isinstance(values, np.ndarray)
        self.shape, self.dtype = (values.shape, values.dtype) if array else ((len(values),), str)  # type: ignore[union-attr]

    def rows(self, start: int, stop: int) -> Any:
        """Rows start .. stop - 1."""
        return self._values[start:stop]


def write_table(path: Path, suffix: str, columns: Mapping[str, str], blocks: Iterable[Sequence[Any]]) -> None:
    """.csv, .tsv or .parquet. columns : name -> type; blocks : values, one sequence a column.

    Types: int32, int64, float32, float64 (NaN becomes an empty cell) or string.
    """
    import pyarrow as pa

    types = {name: getattr(pa, name)() for name in ("int32", "int64", "float32", "float64", "string")}
    schema = pa.schema([pa.field(name, types[kind]) for name, kind in columns.items()])
    with contextlib.closing(_arrow_writer(path, suffix, schema)) as writer:
        for block in blocks:
            arrays = [
                pa.array(_texts(values, safe=suffix != ".parquet"), field.type)
                if field.type == pa.string()
                else pa.array(values, field.type, from_pandas=True)
                for values, field in zip(block, schema, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def write_json_records(path: Path, head: Mapping[str, Any], name: str, records: Iterable[Mapping[str, Any]]) -> None:
    """{**head, name: [one record a line]}"""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("{\n")
        for key, value in head.items():
            file.write(f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)},\n")
        file.write(f"{json.dumps(name)}: [")
        for i, record in enumerate(records):
            file.write(f"{',' if i else ''}\n{json.dumps(record, allow_nan=False)}")
        file.write("\n]\n}\n")


def write_npz(path: Path, arrays: Mapping[str, Rows]) -> None:
    """As numpy.savez, without ever holding an array; texts become fixed-width Unicode."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, values in arrays.items():
            dtype = _unicode_dtype(values, path) if values.dtype is str else np.dtype(values.dtype).newbyteorder("<")
            header = {"descr": dtype.str, "fortran_order": False, "shape": tuple(map(int, values.shape))}
            with archive.open(zipfile.ZipInfo(f"{name}.npy", _ZIP_EPOCH), "w", force_zip64=True) as file:
                np.lib.format.write_array_header_1_0(file, header)
                for _, block in values.blocks():
                    file.write(np.ascontiguousarray(block, dtype).tobytes())


def _arrow_writer(path: Path, suffix: str, schema: pa.Schema) -> Any:
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.ParquetWriter(path, schema, compression="snappy")
    from pyarrow import csv

    return csv.CSVWriter(path, schema, write_options=csv.WriteOptions(delimiter="\t" if suffix == ".tsv" else ","))


def _texts(values: Sequence[str], safe: bool) -> list[str]:
    """Valid UTF-8; safe : a spreadsheet will not take a text for a formula (a leading apostrophe shows it as text)."""
    texts = [as_bytes(value).decode() for value in values]
    return [f"'{text}" if _is_formula(text) else text for text in texts] if safe else texts


def _is_formula(text: str) -> bool:
    return bool(_STARTS_FORMULA.match(text)) and not _NUMBER.fullmatch(text)


def _unicode_dtype(values: Rows, path: Path) -> np.dtype:
    length = max((len(text) for _, block in values.blocks() for text in block), default=1)
    if length * 4 * values.shape[0] > _TEXTS_MOST:
        what = f"its texts (up to {length:,} letters) are too long for .npz, which gives all the same width"
        raise UsageError(what, path=path.with_suffix(""), hint="export .parquet instead")
    return np.dtype(f"<U{max(1, length)}")
