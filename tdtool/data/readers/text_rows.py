"""Documents that are rows of one stream: lines, or the text field of CSV and TSV. Read in blocks, split by a kernel."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tdtool.data.batches import TextBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.source_types import EMPTY, LONGEST_DOCUMENT, TOO_LONG
from tdtool.data.readers.streams import ByteStream
from tdtool.data.readers.text_batches import BATCH_BYTES, BATCH_DOCUMENTS, BYTE_ORDER_MARK, printable
from tdtool.errors import InputError
from tdtool.kernels import rows_cpu
from tdtool.kernels.rows_cpu import NO_BYTE

RAGGED = "wrong number of columns"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a row is cut. delimiter, quote : byte values or NO_BYTE; columns from 0, id_column -1: the line's number.

    n_columns : what every row must have, 0 for anything; has_header : the first row names the columns.
    """

    delimiter: int = NO_BYTE
    quote: int = NO_BYTE
    n_columns: int = 0
    text_column: int = 0
    id_column: int = -1
    has_header: bool = False


@dataclasses.dataclass(frozen=True)
class Rows:
    """Complete rows of one block. buffer : (n_bytes,) uint8; facts : (N_FACTS, n) int64 of rows_cpu, lines absolute."""

    buffer: NDArray[np.uint8]
    facts: NDArray[np.int64]


def row_batches(
    stream: ByteStream, layout: Layout, path: str, ledger: Ledger, first_line: int = 1
) -> Iterator[TextBatch]:
    """Read a stream to its end as documents. Ragged, empty and endless rows go to the ledger, in order.

    first_line : of the stream in its file; above 1 there is neither a header nor a byte order mark. Whether too many
    rows are ragged is for the caller to find out, when all of the file is read: refuse_ragged.
    """
    header = layout.has_header and first_line == 1
    for rows in row_blocks(stream, layout, path, ledger, first_line):
        facts = rows.facts[:, 1:] if header else rows.facts
        header = False
        good = _good(facts, layout, path, ledger)
        if good.any():
            yield _batch(facts[:, good], rows.buffer, layout, path, ledger)


def refuse_ragged(layout: Layout, path: str, ledger: Ledger) -> None:
    """Raise InputError when more than half of the rows of a whole file are ragged."""
    ragged = ledger.skips.get(RAGGED)
    if ragged is not None and 2 * ragged.count > ledger.rows_in:
        first_line = int(ragged.examples[0].rpartition(":")[2])
        raise too_ragged(ragged.count, ledger.rows_in, layout.n_columns, path, first_line)


def too_ragged(n_ragged: int, n_rows: int, n_columns: int, path: str, line: int) -> InputError:
    """The error for a file most rows of which have another number of columns. line : of the first that has."""
    return InputError(
        f"{n_ragged:,} of {n_rows:,} rows do not have {n_columns} columns; this is the first",
        path=path,
        line=line,
        hint="name the format that fits: --format lines|csv|tsv|jsonl",
    )


def row_blocks(stream: ByteStream, layout: Layout, path: str, ledger: Ledger, first_line: int = 1) -> Iterator[Rows]:
    """The rows of a stream, some megabytes at a time. What is yielded is valid until the next is asked for."""
    if first_line == 1 and stream.peek(3) == BYTE_ORDER_MARK:
        stream.read(3)
    buffer, filled, line = np.empty(BATCH_BYTES, np.uint8), 0, first_line
    out = np.empty((rows_cpu.N_FACTS, BATCH_DOCUMENTS), np.int64)
    final = False
    while not final:
        filled += stream.readinto(buffer[filled:])
        final = filled < buffer.size
        used = 0
        for rows, n_bytes, n_lines in _scan(buffer[:filled], layout, final, out, path, line):
            yield rows
            used, line = used + n_bytes, line + n_lines
        if used == 0 and filled == buffer.size:
            if buffer.size < LONGEST_DOCUMENT:
                buffer = np.concatenate([buffer, np.empty(buffer.size, np.uint8)])
                continue
            _refuse_long_quote(buffer, layout, path, line)
            ledger.skip(TOO_LONG, path, line)
            line += 1
            buffer, filled = _behind_newline(stream)
            continue
        buffer, filled = _carried(buffer, used, filled)


def _scan(
    buffer: NDArray[np.uint8], layout: Layout, final: bool, out: NDArray[np.int64], path: str, line: int
) -> Iterator[tuple[Rows, int, int]]:
    used = 0
    while used < buffer.size:
        n, n_bytes, n_lines, unclosed = rows_cpu.scan_rows(
            buffer[used:],
            delimiter=layout.delimiter,
            quote=layout.quote,
            text_column=layout.text_column,
            id_column=layout.id_column,
            final=final,
            out=out,
        )
        if n:
            facts = out[:, :n]
            facts[rows_cpu.ROW_LINE] += line
            yield Rows(buffer[used:], facts), n_bytes, n_lines
        used, line = used + n_bytes, line + n_lines
        if unclosed:
            raise _unclosed(path, line)
        if n < out.shape[1]:
            return


def _carried(buffer: NDArray[np.uint8], used: int, filled: int) -> tuple[NDArray[np.uint8], int]:
    """The block for what comes next, begun with the bytes of the row that is not complete."""
    rest = filled - used
    size = BATCH_BYTES
    while size < 2 * rest:
        size *= 2
    following = buffer if size == buffer.size else np.empty(min(size, LONGEST_DOCUMENT), np.uint8)
    following[:rest] = buffer[used:filled].copy() if following is buffer else buffer[used:filled]
    return following, rest


def _behind_newline(stream: ByteStream) -> tuple[NDArray[np.uint8], int]:
    """Throw away the rest of a line: a new block, begun with what follows."""
    buffer = np.empty(BATCH_BYTES, np.uint8)
    while (filled := stream.readinto(buffer)) > 0:
        newlines = np.flatnonzero(buffer[:filled] == 10)
        if len(newlines):
            return _carried(buffer, int(newlines[0]) + 1, filled)
    return buffer, 0


def _refuse_long_quote(buffer: NDArray[np.uint8], layout: Layout, path: str, line: int) -> None:
    """A row that does not end because of a quote is a mistake in the file, not a long document."""
    if layout.quote != NO_BYTE and bool((buffer == 10).any()):
        raise _unclosed(path, line)


def _unclosed(path: str, line: int) -> InputError:
    return InputError(
        "a quote opens in this row and is never closed",
        path=path,
        line=line,
        hint="close it, or double the quotes that are part of the text",
    )


def _good(facts: NDArray[np.int64], layout: Layout, path: str, ledger: Ledger) -> NDArray[np.bool_]:
    """Which rows are documents ((n,) bool); the others go to the ledger, in the order of their lines."""
    lengths = facts[rows_cpu.TEXT_STOP] - facts[rows_cpu.TEXT_START]
    ragged = facts[rows_cpu.N_FIELDS] != layout.n_columns if layout.n_columns else np.zeros(lengths.size, np.bool_)
    if layout.n_columns > 1:
        ragged &= facts[rows_cpu.BLANK] == 0
    good = (lengths > 0) & (lengths <= LONGEST_DOCUMENT) & ~ragged
    for row in np.flatnonzero(~good).tolist():
        reason = RAGGED if ragged[row] else EMPTY if lengths[row] <= LONGEST_DOCUMENT else TOO_LONG
        ledger.skip(reason, path, int(facts[rows_cpu.ROW_LINE, row]))
    return good


def _batch(facts: NDArray[np.int64], buffer: NDArray[np.uint8], layout: Layout, path: str, ledger: Ledger) -> TextBatch:
    """Rows as a batch of text. facts : (N_FACTS, n) int64, only rows that are documents."""
    text, offsets = rows_cpu.gather(
        buffer,
        np.ascontiguousarray(facts[rows_cpu.TEXT_START]),
        np.ascontiguousarray(facts[rows_cpu.TEXT_STOP]),
        np.ascontiguousarray(facts[rows_cpu.TEXT_ESCAPED]),
        quote=layout.quote,
    )
    lines = facts[rows_cpu.ROW_LINE].copy()
    ids = list(map(str, lines.tolist())) if layout.id_column < 0 else _ids(buffer, facts, layout, lines)
    ledger.use(len(ids))
    return TextBatch(text, offsets, ids, path, lines)


def _ids(buffer: NDArray[np.uint8], facts: NDArray[np.int64], layout: Layout, lines: NDArray[np.int64]) -> list[str]:
    """The id fields as text; a row without one is named by its line."""
    blob, offsets = rows_cpu.gather(
        buffer,
        np.ascontiguousarray(facts[rows_cpu.ID_START]),
        np.ascontiguousarray(facts[rows_cpu.ID_STOP]),
        np.ascontiguousarray(facts[rows_cpu.ID_ESCAPED]),
        quote=layout.quote,
        separator=0,
    )
    raw = blob.tobytes()
    ids = raw.decode("utf-8", "backslashreplace").split("\0")[:-1]
    if len(ids) != len(lines):
        pieces = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        ids = [printable(raw[start : stop - 1]) for start, stop in pieces]
    if "" in ids:
        ids = [name or f"line {line}" for name, line in zip(ids, lines.tolist(), strict=True)]
    return ids
