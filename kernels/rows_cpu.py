"""Rows and fields of delimited text: one pass over the bytes, no Python object per row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit

#: What `scan_rows` writes about each row: the rows of its `out` array.
ROW_LINE, N_FIELDS, TEXT_START, TEXT_STOP, TEXT_ESCAPED, ID_START, ID_STOP, ID_ESCAPED, MALFORMED, BLANK = range(10)
N_FACTS = 10

#: Stands for "there is no such byte" where a delimiter or quote is asked for.
NO_BYTE = 256

_NEWLINE, _RETURN = 10, 13
_NO_BITS, _SEVEN_BITS, _NEWLINES = np.uint64(0), np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x0A0A0A0A0A0A0A0A)


def scan_rows(
    buffer: NDArray[np.uint8],
    *,
    delimiter: int,
    quote: int,
    text_column: int,
    id_column: int,
    final: bool,
    out: NDArray[np.int64],
) -> tuple[int, int, int, bool]:
    """Find the complete rows at the start of `buffer` and where two of their fields lie.

    buffer : (n_bytes,) uint8; delimiter, quote : byte values or NO_BYTE; text_column, id_column : 0-based, -1 for none;
    final : the input ends with this buffer, so that a last row needs no newline; out : (N_FACTS, capacity) int64, is
    filled: lines are relative to the buffer, starts and stops are positions in it, quotes and line ends left out;
    MALFORMED: text follows a closing quote; BLANK: the row is one empty field.
    Returns rows found (at most capacity), bytes they take, lines they take, whether the input ends inside quotes.
    """
    if out.shape[0] != N_FACTS:
        raise ValueError(f"out has {out.shape[0]} rows; the facts are {N_FACTS}")
    stops = np.zeros(256, np.bool_)
    stops[_NEWLINE] = True
    if delimiter != NO_BYTE:
        stops[delimiter] = True
    rows, used, lines, unclosed = _scan_rows(buffer, stops, delimiter, quote, text_column, id_column, final, out)
    return int(rows), int(used), int(lines), bool(unclosed)


def gather(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    escaped: NDArray[np.int64],
    *,
    quote: int = NO_BYTE,
    separator: int = -1,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Copy pieces of a buffer one after the other.

    buffer : (n_bytes,) uint8; starts, stops, escaped : (n,) int64, where escaped is not 0 a doubled quote becomes one;
    separator : a byte put behind each piece, -1 for none. Returns (text (m,) uint8, offsets (n + 1,) int64).
    """
    out = np.empty(int((stops - starts).sum()) + (len(starts) if separator >= 0 else 0), np.uint8)
    offsets = np.zeros(len(starts) + 1, np.int64)
    size = _gather(buffer, starts, stops, escaped, quote, separator, out, offsets)
    return out[:size], offsets


@jit
def _quoted_end(buffer: NDArray[np.uint8], position: int, quote: int, final: bool) -> tuple[int, int, int]:
    """From behind an opening quote: (position of the closing one or -1, doubled quotes seen, newlines passed)."""
    escaped, newlines = 0, 0
    while position < buffer.size:
        byte = buffer[position]
        if byte == quote:
            if position + 1 >= buffer.size and not final:
                return -1, escaped, newlines
            if position + 1 >= buffer.size or buffer[position + 1] != quote:
                return position, escaped, newlines
            escaped = 1
            position += 1
        elif byte == _NEWLINE:
            newlines += 1
        position += 1
    return -1, escaped, newlines


@jit
def _ends_field(buffer: NDArray[np.uint8], position: int, delimiter: int) -> bool:
    """Whether a field may end here: at a delimiter, a line end or the end of the buffer."""
    if position >= buffer.size:
        return True
    byte = buffer[position]
    if byte == _RETURN:
        return position + 1 >= buffer.size or buffer[position + 1] == _NEWLINE
    return byte in (delimiter, _NEWLINE)


@jit
def _line_end(buffer: NDArray[np.uint8], position: int) -> int:
    """A place from which the next newline is less than eight bytes away, or the end of the buffer."""
    found = _NO_BITS
    while found == _NO_BITS and position + 8 <= buffer.size:
        at, eight = np.uint64(position), _NO_BITS
        for byte in range(8):  # compiled to one load
            eight |= np.uint64(buffer[at + np.uint64(byte)]) << np.uint64(8 * byte)
        other = eight ^ _NEWLINES
        found = ~(((other & _SEVEN_BITS) + _SEVEN_BITS) | other | _SEVEN_BITS)  # the eighth bit of bytes that are zero
        position += 8
    return position if found == _NO_BITS else position - 8


@jit
def _scan_rows(
    buffer: NDArray[np.uint8],
    stops: NDArray[np.bool_],
    delimiter: int,
    quote: int,
    text_column: int,
    id_column: int,
    final: bool,
    out: NDArray[np.int64],
) -> tuple[int, int, int, bool]:
    rows, row_start, lines = 0, 0, 0
    plain = delimiter == NO_BYTE
    while rows < out.shape[1] and row_start < buffer.size:
        position, fields, newlines = row_start, 0, 0
        out[:, rows] = 0
        out[ROW_LINE, rows] = lines
        more = True
        while more:
            start, escaped = position, 0
            stop = -1
            if position < buffer.size and buffer[position] == quote:
                close, escaped, inner = _quoted_end(buffer, position + 1, quote, final)
                if close < 0:
                    return rows, row_start, lines, final
                newlines += inner
                position = close + 1
                if _ends_field(buffer, position, delimiter):
                    start, stop = start + 1, close
                else:
                    escaped = 0
                    out[MALFORMED, rows] = 1
            if plain:
                position = _line_end(buffer, position)
            while position < buffer.size and not stops[buffer[position]]:
                position += 1
            if position >= buffer.size and not final:
                return rows, row_start, lines, False
            more = position < buffer.size and buffer[position] != _NEWLINE
            if stop < 0:
                stop = position
                if not more and stop > start and buffer[stop - 1] == _RETURN:
                    stop -= 1
            if fields == text_column:
                out[TEXT_START, rows], out[TEXT_STOP, rows], out[TEXT_ESCAPED, rows] = start, stop, escaped
            if fields == id_column:
                out[ID_START, rows], out[ID_STOP, rows], out[ID_ESCAPED, rows] = start, stop, escaped
            if fields == 0 and not more and stop == start:
                out[BLANK, rows] = 1
            fields += 1
            position += 1
        out[N_FIELDS, rows] = fields
        row_start = min(position, buffer.size)
        lines += newlines + 1
        rows += 1
    return rows, row_start, lines, False


@jit
def _gather(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    escaped: NDArray[np.int64],
    quote: int,
    separator: int,
    out: NDArray[np.uint8],
    offsets: NDArray[np.int64],
) -> int:
    position = 0
    for i in range(starts.size):
        start, stop = starts[i], stops[i]
        if escaped[i]:
            while start < stop:
                byte = buffer[start]
                out[position] = byte
                position += 1
                start += 2 if byte == quote else 1
        else:
            out[position : position + stop - start] = buffer[start:stop]
            position += stop - start
        if separator >= 0:
            out[position] = separator
            position += 1
        offsets[i + 1] = position
    return position
