"""Lines of whole numbers, as many a line as there are: adjacency lists, read straight from the bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit
from tdtool.kernels.blanks_cpu import check_whole_lines, is_blank, skip_blanks

#: What can be wrong with a line; the reader words it.
OK, NOT_A_NUMBER, TOO_LARGE = range(3)

#: Eighteen digits always fit 64 bits.
_MOST_DIGITS = 18
_NEWLINE, _PERCENT, _ZERO, _NINE = 10, 37, 48, 57


def parse_number_lines(
    buffer: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int, int]:
    """Read lines of whole numbers from 0 on, apart by blanks. Lines that begin with % are passed, empty ones are rows.

    buffer : (n_bytes,) uint8 of whole lines, each ended by a newline. Returns numbers (t,) int64; indptr (rows + 1,)
    int64, where each row's numbers start; lines (rows,) int64 relative to the buffer; a status, and the line that is
    wrong when that is not OK (the rows before it are there).
    """
    check_whole_lines(buffer)
    n_lines = int(np.count_nonzero(buffer == _NEWLINE))
    numbers = np.empty(buffer.size // 2, np.int64)
    indptr, lines = np.zeros(n_lines + 1, np.int64), np.empty(n_lines, np.int64)
    rows, status, line = _parse_number_lines(buffer, numbers, indptr, lines)
    return numbers[: indptr[rows]], indptr[: rows + 1], lines[:rows], int(status), int(line)


@jit
def _number(buffer: NDArray[np.uint8], position: int):  # type: ignore[no-untyped-def]
    """A whole number: (value, position behind it, status)."""
    start, value = position, np.int64(0)
    while buffer[position] >= _ZERO and buffer[position] <= _NINE:
        if position - start >= _MOST_DIGITS:
            return 0, position, TOO_LARGE
        value = value * 10 + np.int64(buffer[position]) - _ZERO
        position += 1
    if position > start and (buffer[position] == _NEWLINE or is_blank(buffer[position])):
        return value, position, OK
    return 0, position, NOT_A_NUMBER


@jit
def _parse_number_lines(
    buffer: NDArray[np.uint8], numbers: NDArray[np.int64], indptr: NDArray[np.int64], lines: NDArray[np.int64]
) -> tuple[int, int, int]:
    position, rows, line, n = 0, 0, 0, 0
    while position < buffer.size:
        position = skip_blanks(buffer, position)
        if buffer[position] == _PERCENT:
            while buffer[position] != _NEWLINE:
                position += 1
        else:
            while buffer[position] != _NEWLINE:
                value, position, status = _number(buffer, position)
                if status != OK:
                    return rows, status, line
                numbers[n] = value
                n += 1
                position = skip_blanks(buffer, position)
            lines[rows] = line
            rows += 1
            indptr[rows] = n
        position += 1
        line += 1
    return rows, OK, line
