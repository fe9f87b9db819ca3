"""Matrix Market files as graphs: an entry is an edge between its row and its column, both counted from 1."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tdtool.config import GraphConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.counts_batches import whole_lines, wrong_line
from tdtool.data.readers.graph_checks import NO_WEIGHT, check_weight, shown
from tdtool.data.readers.graph_types import FoundGraph, check_memory
from tdtool.data.readers.streams import HEAD_BYTES, Input
from tdtool.data.readers.tensor_numbers import to_floats
from tdtool.data.readers.text_batches import printable
from tdtool.errors import InputError, UsageError
from tdtool.kernels import counts_cpu, entries_cpu, rows_cpu

_LARGEST = 2**31 - 1
_BYTES_AN_ENTRY, _BYTES_A_NODE, _BYTES_A_VALUE = 64, 48, 64
_FORM = "it begins with a line such as %%MatrixMarket matrix coordinate real general, and then: rows columns entries"
_VALUES = ("real", "integer", "pattern", "double", "unsigned-integer")
_SYMMETRIES = ("general", "symmetric", "skew-symmetric")
_WRONG = {
    entries_cpu.NOT_AN_INDEX: "a row or column is not a whole number from 1 on",
    entries_cpu.TOO_LARGE: "a row or column has more than 18 digits",
    entries_cpu.TOO_FEW: "the line has fewer than three fields: row, column and value",
    entries_cpu.TOO_MANY: "the line has more than three fields: row, column and value",
}


@dataclasses.dataclass(frozen=True)
class _Header:
    """What the file says of itself. line : of the sizes; size : bytes up to the first entry."""

    dense: bool
    pattern: bool
    symmetry: str
    rows: int
    columns: int
    n_entries: int
    line: int
    size: int


@dataclasses.dataclass(frozen=True)
class _Block:
    """Some entries: rows and columns (n,) from 1, values (n,) or None, the line of each (n,)."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float64] | None
    lines: NDArray[np.int64]


def read_matrix_market(source: Input, config: GraphConfig, memory: int, ledger: Ledger) -> FoundGraph:
    """The graph whose adjacency matrix a Matrix Market file holds; nodes are called 1, 2, ... as its rows are.

    A matrix that is not square has nodes of two kinds, its rows and its columns. Of a skew-symmetric one the signs are
    dropped. Raises InputError, with the line, for complex, negative and non-finite values and for entries that do not
    fit the header.
    """
    header = _header(source.head, source.path)
    two_kinds = config.bipartite or header.rows != header.columns
    if two_kinds and header.symmetry != "general":
        raise UsageError(
            f"the matrix is {header.symmetry}, which that of a bipartite graph cannot be", hint="leave out --bipartite"
        )
    n_nodes = header.rows + header.columns if two_kinds else header.rows
    check_memory(_BYTES_A_NODE * n_nodes, memory, f"a graph of {n_nodes:,} nodes", source.path)
    read = _dense_blocks if header.dense else _sparse_blocks
    tails, heads, values = _joined(read(source, header, memory), header, config, source.path)
    notes = []
    if header.rows != header.columns:
        notes.append(f"{header.rows:,} rows and {header.columns:,} columns: they are nodes of two kinds")
    if header.symmetry == "skew-symmetric":
        notes.append("of a skew-symmetric matrix the signs are dropped")
    kind = "pattern" if header.pattern else "dense" if header.dense else "weighted"
    return FoundGraph(
        tails=tails,
        heads=heads,
        weights=values,
        n_nodes=n_nodes,
        first=1,
        directed=None if header.symmetry == "general" else False,
        bipartite=two_kinds,
        n_left=header.rows if two_kinds else None,
        description=f"Matrix Market, {header.symmetry} {kind} matrix",
        notes=tuple(notes),
    )


def _joined(
    blocks: Iterator[_Block], header: _Header, config: GraphConfig, path: str
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64] | None]:
    """Ends and weights of all edges, after every value was looked at. Without weights, a 0 is still no edge."""
    tails, heads, weights = [], [], []
    for block in blocks:
        rows, columns, values = block.rows, block.columns, block.values
        if values is not None:
            values = np.abs(values) if header.symmetry == "skew-symmetric" else values
            wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
            if wrong.size and config.weight != NO_WEIGHT:
                check_weight(float(values[wrong[0]]), "value", path, int(block.lines[wrong[0]]))
            if config.weight == NO_WEIGHT or header.dense:
                edges = values != 0
                rows, columns, values = rows[edges], columns[edges], values[edges]
            weights.append(values)
        tails.append(rows.astype(np.int32))
        heads.append(columns.astype(np.int32))
    ends = (np.concatenate([np.zeros(0, np.int32), *parts]) for parts in (tails, heads))
    kept = None if header.pattern or config.weight == NO_WEIGHT else np.concatenate([np.zeros(0), *weights])
    return next(ends), next(ends), kept


def _header(head: bytes, path: str) -> _Header:
    """The banner, comments and sizes."""
    size, line = 0, 0
    banner: tuple[bool, bool, str] | None = None
    while size < len(head):
        end = head.find(b"\n", size)
        stop = end if end >= 0 else len(head)
        raw, size, line = head[size:stop].strip(), min(stop + 1, len(head)), line + 1
        if banner is None:
            banner = _banner(raw, path)
        elif raw and not raw.startswith(b"%"):
            return _sizes(raw, banner, line, size, path)
    where = "the first megabyte" if len(head) >= HEAD_BYTES else "the file"
    raise InputError(f"there is no line with the sizes of the matrix in {where}", path=path, line=line, hint=_FORM)


def _banner(raw: bytes, path: str) -> tuple[bool, bool, str]:
    """Whether the matrix is dense, whether it is a pattern, and its symmetry."""
    words = [printable(word) for word in raw.lower().split()]
    if len(words) != 5 or words[:2] != ["%%matrixmarket", "matrix"]:
        raise InputError("it does not begin as a Matrix Market file", path=path, line=1, hint=_FORM)
    for word, fit in ((words[2], ("coordinate", "array")), (words[3], _VALUES), (words[4], _SYMMETRIES)):
        if word not in fit:
            raise InputError(
                f"{shown(word)} matrices are no graphs", path=path, line=1, hint=f"known are {', '.join(fit)}"
            )
    if words[2:4] == ["array", "pattern"] or (words[3] == "pattern" and words[4] == "skew-symmetric"):
        raise InputError("a pattern is neither dense nor skew-symmetric", path=path, line=1, hint=_FORM)
    return words[2] == "array", words[3] == "pattern", words[4]


def _sizes(raw: bytes, banner: tuple[bool, bool, str], line: int, size: int, path: str) -> _Header:
    dense, pattern, symmetry = banner
    words = raw.split()
    if len(words) != (2 if dense else 3) or not all(word.isdigit() and len(word) <= 18 for word in words):
        what = "rows and columns" if dense else "rows, columns and entries"
        raise InputError(f"this line should give {what}", path=path, line=line, hint=_FORM)
    rows, columns = int(words[0]), int(words[1])
    if rows + columns > _LARGEST or min(rows, columns) < 1:
        raise InputError(f"the matrix is {rows:,} x {columns:,}, which is no graph's", path=path, line=line)
    if symmetry != "general" and rows != columns:
        raise InputError(f"a {symmetry} matrix is square; this is {rows:,} x {columns:,}", path=path, line=line)
    if not dense:
        n_entries = int(words[2])
    elif symmetry == "general":
        n_entries = rows * columns
    else:
        n_entries = rows * (rows + (1 if symmetry == "symmetric" else -1)) // 2
    return _Header(dense, pattern, symmetry, rows, columns, n_entries, line, size)


def _sparse_blocks(source: Input, header: _Header, memory: int) -> Iterator[_Block]:
    """Entries a few megabytes of text at a time, held against the header."""
    n_read = 0
    with source.open() as stream:
        stream.read(header.size)
        for buffer, first in whole_lines(stream, source.path, header.line + 1):
            block = (_pattern_block if header.pattern else _valued_block)(buffer, first, source.path)
            _check_places(block, header, source.path)
            n_read += block.rows.size
            _check_count(n_read, header, source.path, final=False)
            check_memory(_BYTES_AN_ENTRY * n_read, memory, f"a graph of more than {n_read:,} edges", source.path)
            yield block
    _check_count(n_read, header, source.path, final=True)


def _pattern_block(buffer: NDArray[np.uint8], first: int, path: str) -> _Block:
    rows, columns, _, status = counts_cpu.parse_triples(buffer, 2)
    if status != counts_cpu.OK:
        raise wrong_line(status, path, first + rows.size)
    return _Block(rows, columns, None, np.arange(first, first + rows.size))


def _valued_block(buffer: NDArray[np.uint8], first: int, path: str) -> _Block:
    indices, values, lines, hard, status, line = entries_cpu.parse_entries(buffer, 2)
    lines = lines + first
    if status != entries_cpu.OK:
        raise InputError(_WRONG[status], path=path, line=line + first)
    if hard.shape[1]:
        rows, starts, stops = (np.ascontiguousarray(row) for row in hard)
        text, offsets = rows_cpu.gather(buffer, starts, stops, np.zeros(rows.size, np.int64))
        parts = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(text.tobytes())]
        words = pa.Array.from_buffers(pa.large_string(), rows.size, parts)
        numbers, wrong = to_floats(words, missing=False)
        if wrong is not None:
            word = printable(words[wrong].cast(pa.large_binary()).as_py())
            raise InputError(f"the value {shown(word)} is not a number", path=path, line=int(lines[rows[wrong]]))
        values[rows] = numbers
    return _Block(indices[0], indices[1], values, lines)


def _check_places(block: _Block, header: _Header, path: str) -> None:
    for places, size, what in ((block.rows, header.rows, "row"), (block.columns, header.columns, "column")):
        wrong = np.flatnonzero((places < 1) | (places > size))
        if wrong.size:
            at = int(wrong[0])
            raise InputError(
                f"{what} {int(places[at]):,} is not between 1 and the {size:,} of the header",
                path=path,
                line=int(block.lines[at]),
            )


def _check_count(n_read: int, header: _Header, path: str, *, final: bool) -> None:
    if n_read > header.n_entries or (final and n_read < header.n_entries):
        have = f"{n_read:,}" if final else "more"
        raise InputError(
            f"the header promises {header.n_entries:,} entries and there are {have}",
            path=path,
            line=header.line,
            hint="the file is incomplete, or its header is wrong",
        )


def _dense_blocks(source: Input, header: _Header, memory: int) -> Iterator[_Block]:
    """All values of a dense matrix, column by column; of a symmetric one those below the diagonal (and on it)."""
    check_memory(_BYTES_A_VALUE * header.n_entries, memory, f"a dense matrix of {header.rows:,} rows", source.path)
    words: list[bytes] = []
    lines: list[int] = []
    with source.open() as stream:
        stream.read(header.size)
        for buffer, first in whole_lines(stream, source.path, header.line + 1):
            for line, text in enumerate(buffer.tobytes().split(b"\n"), first):
                found = text.split()
                words += found
                lines += [line] * len(found)
            _check_count(len(words), header, source.path, final=False)
    _check_count(len(words), header, source.path, final=True)
    values, wrong = to_floats(pa.array(words, pa.binary()), missing=False)
    if wrong is not None:
        raise InputError(
            f"the value {shown(printable(words[wrong]))} is not a number", path=source.path, line=lines[wrong]
        )
    if header.symmetry == "general":
        columns, rows = np.divmod(np.arange(values.size), header.rows)
    else:
        columns, rows = np.triu_indices(header.rows, 0 if header.symmetry == "symmetric" else 1)
    yield _Block(rows + 1, columns + 1, values, np.array(lines, np.int64))
