"""Sparse tensors as text (.tns, as of FROSTT): a line for each entry, indices from 1 on and then the value."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tdtool.config import TensorConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.counts_batches import whole_lines
from tdtool.data.readers.streams import Input
from tdtool.data.readers.tensor_numbers import to_floats
from tdtool.data.readers.tensor_types import MOST_MODES, Entries, Found, Labels, check_memory
from tdtool.data.readers.text_batches import BYTE_ORDER_MARK, printable
from tdtool.errors import InputError
from tdtool.kernels import entries_cpu, rows_cpu

_LABEL_BYTES = 256 << 20
_LARGEST = 10**18 - 1
_TOOLBOX = (b"tensor", b"matrix", b"ktensor", b"ttensor", b"tucker")
_FORM = "a line holds the indices of one entry, from 1 on, and its value: 3 1 7 0.5"


@dataclasses.dataclass(frozen=True)
class _Header:
    """What the lines before the first entry say. size, lines : what they take; shape, nnz : None when not said."""

    order: int
    size: int = 0
    lines: int = 0
    shape: tuple[int, ...] | None = None
    nnz: int | None = None


def read_tns(source: Input, path: str, config: TensorConfig, memory: int, ledger: Ledger) -> Found:
    """The entries of a .tns file. Names of indices are taken from NAME.mode1.txt ... beside it."""
    header = _header(source.head.removeprefix(BYTE_ORDER_MARK), source.path)
    coordinates: list[list[NDArray]] = [[] for _ in range(header.order)]
    values, nnz = [], 0
    for indices, numbers in _blocks(source, header):
        nnz += numbers.size
        check_memory(16 * (header.order + 1) * nnz, memory, f"a tensor of more than {nnz:,} entries", source.path)
        values.append(numbers)
        for parts, row in zip(coordinates, indices, strict=True):
            parts.append(row.astype(np.int32 if int(row.max()) < 2**31 else np.int64) - 1)
    if header.nnz not in (None, nnz) or not nnz:
        what = f"the header promises {header.nnz:,} entries and there are {nnz:,}" if nnz else "there is no entry"
        raise InputError(what, path=source.path, line=header.lines or None, hint=f"is the file complete? {_FORM}")
    ledger.use(nnz)
    joined = tuple(np.concatenate(parts) for parts in coordinates)
    shape = header.shape or tuple(int(row.max()) + 1 for row in joined)
    labels, notes = _labels(source, path, shape, config) if path != "-" else ((), ())
    notes += (f"sizes from line {header.lines}",) if header.shape else ()
    return Found(Entries(joined, np.concatenate(values), shape), "tns, tensor", labels=labels, notes=notes)


def _header(head: bytes, path: str) -> _Header:
    """Order, and shape where the file begins with it: "I J K", or "N" and then that, or the Tensor Toolbox's form."""
    lines = list(_spoken(head))
    if not lines:
        raise InputError("there is no entry", path=path, hint=_FORM)
    fields, line, stop = lines[0]
    word = fields[0].lower()
    if word in _TOOLBOX:
        raise InputError(
            f"it is a {word.decode()} of the Tensor Toolbox, which is dense",
            path=path,
            line=line,
            hint="save it as .npy",
        )
    if word == b"sptensor":
        return _stated_header(lines[1:4], 3, path, line)
    if len(fields) == 1:
        return _stated_header(lines[:2], 2, path, line)
    longer = [len(other) == len(fields) + 1 for other, _, _ in lines[1:]]
    if len(longer) > 1 and all(longer) and all(map(bytes.isdigit, fields)):
        return _Header(len(fields), stop, line, _sizes(fields, path, line))
    if not 2 <= len(fields) - 1 <= MOST_MODES:
        what = f"the line has {len(fields)} fields; a tensor has 2 to {MOST_MODES} modes"
        raise InputError(what, path=path, line=line, hint=_FORM)
    return _Header(len(fields) - 1)


def _stated_header(lines: list[tuple[list[bytes], int, int]], needed: int, path: str, line: int) -> _Header:
    """Lines "N", "I J K" and, where three are needed, "nnz"."""
    hint = "the header is: the number of modes; their sizes; with sptensor before it, the number of entries too"
    if len(lines) < needed:
        raise InputError("the header ends too early", path=path, line=line, hint=hint)
    (order, at, _), (sizes, sizes_at, stop) = lines[:2]
    last = lines[needed - 1]
    if len(order) != 1 or not order[0].isdigit() or not 2 <= int(order[0][:9]) <= MOST_MODES:
        raise InputError(f"the number of modes is not one from 2 to {MOST_MODES}", path=path, line=at, hint=hint)
    if len(sizes) != int(order[0]):
        what = f"{int(order[0])} modes are promised and {len(sizes)} sizes are given"
        raise InputError(what, path=path, line=sizes_at, hint=hint)
    shape = _sizes(sizes, path, sizes_at)
    if needed == 2:
        return _Header(len(shape), stop, sizes_at, shape)
    if len(last[0]) != 1 or not last[0][0].isdigit():
        raise InputError("the number of entries is missing", path=path, line=last[1], hint=hint)
    return _Header(len(shape), last[2], last[1], shape, int(last[0][0][:18]))


def _sizes(fields: list[bytes], path: str, line: int) -> tuple[int, ...]:
    if not all(field.isdigit() and len(field) <= 18 and int(field) > 0 for field in fields):
        raise InputError("a size of a mode is not a whole number from 1 on", path=path, line=line)
    return tuple(map(int, fields))


def _spoken(head: bytes) -> Iterator[tuple[list[bytes], int, int]]:
    """Fields, line number and end of the first few lines that are neither blank nor a comment."""
    start, line, found = 0, 0, 0
    while start < len(head) and found < 4:
        newline = head.find(b"\n", start)
        stop, line = (newline if newline >= 0 else len(head)), line + 1
        fields = head[start:stop].split(b"#")[0].split()
        if fields and not fields[0].startswith(b"%"):
            found += 1
            yield fields, line, min(stop + 1, len(head))
        start = stop + 1


def _blocks(source: Input, header: _Header) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Indices (N, n) from 1 and values (n,), checked, a few megabytes of text at a time."""
    with source.open() as stream:
        if stream.peek(3) == BYTE_ORDER_MARK:
            stream.read(3)
        stream.read(header.size)
        for buffer, first in whole_lines(stream, source.path, header.lines + 1):
            indices, values, lines, hard, status, line = entries_cpu.parse_entries(buffer, header.order)
            lines = lines + first
            _fill_hard(values, lines, hard, buffer, source.path)
            _check_indices(indices, lines, header, source.path)
            if status != entries_cpu.OK:
                raise _wrong_line(status, header.order, source.path, line + first)
            if values.size:
                yield indices, values


def _fill_hard(
    values: NDArray[np.float64], lines: NDArray[np.int64], hard: NDArray[np.int64], buffer: NDArray[np.uint8], path: str
) -> None:
    """Read the values that the kernel left, and write them into `values`."""
    if not hard.shape[1]:
        return
    rows, starts, stops = (np.ascontiguousarray(row) for row in hard)
    text, offsets = rows_cpu.gather(buffer, starts, stops, np.zeros(rows.size, np.int64))
    words = pa.Array.from_buffers(
        pa.large_string(), rows.size, [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(text.tobytes())]
    )
    numbers, wrong = to_floats(words, missing=False)
    bad = np.flatnonzero(~np.isfinite(numbers)) if wrong is None else np.array([wrong])
    if bad.size:
        raise _wrong_value(
            words[int(bad[0])].cast(pa.large_binary()).as_py(), wrong is None, path, int(lines[rows[bad[0]]])
        )
    values[rows] = numbers


def _wrong_value(word: bytes, number: bool, path: str, line: int) -> InputError:
    if number:
        hint = "a sparse tensor has no missing values: leave the line out, and its place is 0"
        return InputError(f"the value {printable(word[:40])} is not finite", path=path, line=line, hint=hint)
    return InputError(f"the value {printable(word[:40])!r} is not a number", path=path, line=line, hint=_FORM)


def _check_indices(indices: NDArray[np.int64], lines: NDArray[np.int64], header: _Header, path: str) -> None:
    for mode, row in enumerate(indices):
        if not row.size:
            return
        if int(row.min()) < 1:
            at = int(np.argmin(row))
            raise InputError(
                f"the index of mode {mode + 1} is 0",
                path=path,
                line=int(lines[at]),
                hint="indices of a .tns file count from 1: add 1 to all of them",
            )
        if header.shape is not None and int(row.max()) > header.shape[mode]:
            at = int(np.argmax(row))
            what = f"the index {int(row[at]):,} of mode {mode + 1} is beyond the {header.shape[mode]:,} of the header"
            raise InputError(what, path=path, line=int(lines[at]))


def _wrong_line(status: int, order: int, path: str, line: int) -> InputError:
    words = {
        entries_cpu.NOT_AN_INDEX: "an index is not a whole number from 1 on",
        entries_cpu.TOO_LARGE: f"an index is larger than {_LARGEST:,}",
        entries_cpu.TOO_FEW: f"the line has fewer than {order + 1} fields ({order} indices and a value)",
        entries_cpu.TOO_MANY: f"the line has more than {order + 1} fields ({order} indices and a value)",
    }
    return InputError(words[status], path=path, line=line, hint=_FORM)


def _labels(source: Input, path: str, shape: tuple[int, ...], config: TensorConfig) -> tuple[Labels, tuple[str, ...]]:
    """Names from the files beside, where they have a line for each index; notes about those that do not fit."""
    stem = source.name.removesuffix(".tns")
    labels: list[list[str] | None] = []
    notes = []
    for mode, size in enumerate(shape):
        file = Path(path).parent / f"{stem}.mode{mode + 1}.txt"
        names = _lines(file, source) if file.is_file() else None
        fits = names is not None and len(names) == size
        labels.append(names if fits else None)
        if names is not None and not fits:
            notes.append(f"{file.name} has {len(names):,} lines and mode {mode + 1} {size:,} indices: it is not used")
    return tuple(labels), tuple(notes)


def _lines(file: Path, source: Input) -> list[str]:
    with Input(str(file), source.config).open() as stream:
        text = stream.read(_LABEL_BYTES + 1)
    if len(text) > _LABEL_BYTES:
        raise InputError("it is longer than 256 MB, too long for names", path=file)
    lines = text.removeprefix(BYTE_ORDER_MARK).split(b"\n")
    return [printable(line.rstrip(b"\r")) for line in (lines if lines[-1] else lines[:-1])]
