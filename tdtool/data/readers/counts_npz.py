"""Sparse matrices of scipy.sparse.save_npz: rows are documents. Nothing pickled is read, and every array is checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.data.batches import CountBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.counts_batches import count_batch
from tdtool.data.readers.counts_vocabulary import find_vocabulary
from tdtool.data.readers.npz_arrays import opened_npz
from tdtool.data.readers.source_types import CountSource, OnBytes
from tdtool.data.readers.streams import Input
from tdtool.errors import InputError
from tdtool.kernels.counts_cpu import LARGEST

_BATCH_ENTRIES = 1 << 20
_NEEDED = {"csr": ("indptr", "indices", "data"), "csc": ("indptr", "indices", "data"), "coo": ("row", "col", "data")}


def open_npz(source: Input) -> CountSource:
    """A source of the counts in a scipy sparse matrix, which is held in memory."""
    arrays = _arrays(source)
    shape, indptr, indices, counts = _checked_rows(arrays, source.path)
    vocabulary, origin = find_vocabulary(source, shape[1], exact=True)

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[CountBatch]:
        on_bytes(source.size or 0)
        for start, stop in _cuts(indptr):
            part = slice(int(indptr[start]), int(indptr[stop]))
            lines = np.arange(start + 1, stop + 1, dtype=np.int64)
            ends = indptr[start : stop + 1] - indptr[start]
            yield from count_batch(ends, indices[part], counts[part], lines, lines, source.path, ledger)

    description = f"scipy sparse matrix, {shape[0]:,} documents (rows), {shape[1]:,} terms, {origin}"
    return CountSource("npz", source.path, source.size, description, shape[1], vocabulary, read)


def _cuts(indptr: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of rows with about _BATCH_ENTRIES entries, at least one row each."""
    start, n_rows = 0, len(indptr) - 1
    while start < n_rows:
        stop = int(np.searchsorted(indptr, indptr[start] + _BATCH_ENTRIES, side="right")) - 1
        stop = min(max(stop, start + 1), start + _BATCH_ENTRIES, n_rows)
        yield start, stop
        start = stop


def _arrays(source: Input) -> dict[str, NDArray[Any]]:
    """The arrays of the file by name."""
    with opened_npz(source) as archive:
        return {name: archive.read(name) for name in archive.headers}


def _checked_rows(
    arrays: dict[str, NDArray[Any]], path: str
) -> tuple[tuple[int, int], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """shape, indptr (D + 1,), indices (nnz,), counts (nnz,): the matrix by rows, or InputError."""
    shape, rows, columns, data = sparse_entries(arrays, path, "documents x terms")
    counts = _counts(data, rows, path)
    if bool((np.diff(rows) < 0).any()):
        order = np.argsort(rows, kind="stable")
        rows, columns, counts = rows[order], columns[order], counts[order]
    indptr = np.zeros(shape[0] + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=shape[0]), out=indptr[1:])
    return shape, indptr, columns, counts


def sparse_entries(
    arrays: dict[str, NDArray[Any]], path: str, needed: str = "rows x columns"
) -> tuple[tuple[int, int], NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """The entries of a matrix of scipy.sparse.save_npz: shape, rows (nnz,), columns (nnz,), values (nnz,) as stored."""
    name = _text(arrays.get("format"))
    if name not in _NEEDED:
        kind = f"of the kind {name!r}" if name else "no scipy sparse matrix"
        raise InputError(f"it is {kind}; csr, csc and coo can be read", path=path, hint="save matrix.tocsr()")
    missing = [key for key in ("shape", *_NEEDED[name]) if key not in arrays]
    if missing:
        raise InputError(f"it lacks the array {', '.join(missing)}", path=path)
    shape = tuple(_integers(arrays["shape"], "shape", path).tolist())
    if len(shape) != 2 or min(shape) < 1 or max(shape) > LARGEST:
        raise InputError(f"its shape is {shape}; {needed} is needed", path=path)
    if name == "coo":
        rows, columns = _integers(arrays["row"], "row", path), _integers(arrays["col"], "col", path)
    else:
        n_major, n_minor = shape if name == "csr" else shape[::-1]
        lengths, minor = _checked_indptr(arrays, n_major, n_minor, path)
        major = np.repeat(np.arange(n_major, dtype=np.int64), lengths)
        rows, columns = (major, minor) if name == "csr" else (minor, major)
    _check_within(rows, shape[0], "row", path)
    _check_within(columns, shape[1], "column", path)
    data = arrays["data"]
    if data.ndim != 1 or len({len(rows), len(columns), len(data)}) > 1:
        raise InputError("its arrays do not have the same length", path=path)
    return (shape[0], shape[1]), rows, columns, data


def _text(value: NDArray[Any] | None) -> str:
    if value is None or value.ndim or value.dtype.kind not in "SU":
        return ""
    item = value.item()
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)


def _integers(values: NDArray[Any], name: str, path: str) -> NDArray[np.int64]:
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise InputError(f"its array {name} does not hold whole numbers", path=path)
    return values.astype(np.int64)


def _checked_indptr(
    arrays: dict[str, NDArray[Any]], n_major: int, n_minor: int, path: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    indptr, indices = _integers(arrays["indptr"], "indptr", path), _integers(arrays["indices"], "indices", path)
    if len(indptr) != n_major + 1 or indptr[0] != 0 or indptr[-1] != len(indices) or bool((np.diff(indptr) < 0).any()):
        raise InputError("its array indptr does not fit its shape and indices", path=path)
    return np.diff(indptr), indices


def _check_within(values: NDArray[np.int64], size: int, what: str, path: str) -> None:
    bad = np.flatnonzero((values < 0) | (values >= size))
    if len(bad):
        raise InputError(f"{what} {int(values[bad[0]])} is not between 0 and {size - 1}", path=path)


def _counts(data: NDArray[Any], rows: NDArray[np.int64], path: str) -> NDArray[np.int64]:
    """Whole numbers from 0 on, or InputError with the row of the first that is none."""
    if data.dtype.kind not in "iufb":
        raise InputError("its array data does not hold numbers", path=path)
    with np.errstate(invalid="ignore"):
        wrong = ~np.isfinite(data) | (data < 0) | (data > LARGEST) | (np.floor(data) != data)
    bad = np.flatnonzero(wrong)
    if len(bad):
        raise InputError(
            f"the value {data[bad[0]]} is not a count",
            path=path,
            line=int(rows[bad[0]]) + 1,
            hint="a topic model needs counts (whole numbers from 0 on), not weights such as tf-idf",
        )
    return data.astype(np.int64)
