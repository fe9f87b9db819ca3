"""Entries of a sparse tensor, read straight from the bytes: lines of indices and one value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit
from tdtool.kernels.blanks_cpu import check_whole_lines, is_blank, skip_blanks

#: What can be wrong with a line; the reader words it.
OK, NOT_AN_INDEX, TOO_LARGE, TOO_FEW, TOO_MANY = range(5)

#: Eighteen digits always fit 64 bits.
_INDEX_DIGITS = 18
#: Whole numbers up to 2**53 and powers of ten up to 10**22 are exact, and so is one operation on them (Clinger 1990).
_EXACT, _EXACT_POWER = 1 << 53, 22
_POWERS = np.array([10.0**power for power in range(_EXACT_POWER + 1)])
_MANTISSA_ROOM, _EXPONENT_ROOM = 10**17, 10**6

_NEWLINE, _SPACE, _HASH, _PERCENT, _PLUS, _MINUS, _DOT = 10, 32, 35, 37, 43, 45, 46
_ZERO, _NINE, _UPPER_E, _LOWER_E = 48, 57, 69, 101


def parse_entries(
    buffer: NDArray[np.uint8], order: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], int, int]:
    """Read lines of `order` whole numbers and one value, apart by spaces or tabs. Blank lines and comments are passed.

    buffer : (n_bytes,) uint8 of whole lines, each ended by a newline. Returns indices (order, nnz) int64, values (nnz,)
    float64, lines (nnz,) int64 relative to the buffer; hard (3, m) int64: entries whose value is left to the caller
    (longer than floats are exact, or no number), with the start and stop of its text; a status, and the line that is
    wrong when that is not OK.
    """
    check_whole_lines(buffer)
    n_lines = int(np.count_nonzero(buffer == _NEWLINE))
    indices, values = np.empty((order, n_lines), np.int64), np.empty(n_lines, np.float64)
    lines, hard = np.empty(n_lines, np.int64), np.empty((3, n_lines), np.int64)
    nnz, n_hard, status, line = _parse_entries(buffer, _POWERS, indices, values, lines, hard)
    return indices[:, :nnz], values[:nnz], lines[:nnz], hard[:, :n_hard], int(status), int(line)


@jit
def _ends(byte: int) -> bool:
    return byte <= _SPACE and (byte == _NEWLINE or is_blank(byte))


@jit
def _index(buffer: NDArray[np.uint8], position: int):  # type: ignore[no-untyped-def]
    """A whole number from 0 on: (value, position behind it, status)."""
    start, value = position, np.int64(0)
    while buffer[position] >= _ZERO and buffer[position] <= _NINE:
        if position - start >= _INDEX_DIGITS:
            return 0, position, TOO_LARGE
        value = value * 10 + np.int64(buffer[position]) - _ZERO
        position += 1
    if position > start and _ends(buffer[position]):
        return value, position, OK
    return 0, position, (TOO_FEW if buffer[position] == _NEWLINE and position == start else NOT_AN_INDEX)


@jit
def _exponent(buffer: NDArray[np.uint8], position: int):  # type: ignore[no-untyped-def]
    """Behind an "e": (exponent, position); where there is none the position of the "e"."""
    start, sign = position, 1
    if buffer[position] == _PLUS or buffer[position] == _MINUS:
        sign = -1 if buffer[position] == _MINUS else 1
        position += 1
    if buffer[position] < _ZERO or buffer[position] > _NINE:
        return 0, start - 1
    value = np.int64(0)
    while buffer[position] >= _ZERO and buffer[position] <= _NINE:
        if value < _EXPONENT_ROOM:
            value = value * 10 + np.int64(buffer[position]) - _ZERO
        position += 1
    return sign * value, position


@jit
def _value(buffer: NDArray[np.uint8], powers: NDArray[np.float64], position: int):  # type: ignore[no-untyped-def]
    """A number as the nearest float: (value, position behind it, whether it could be read exactly)."""
    negative = buffer[position] == _MINUS
    if negative or buffer[position] == _PLUS:
        position += 1
    mantissa, shift, digits, after_dot, exact = np.int64(0), np.int64(0), 0, False, True
    while True:
        byte = np.int64(buffer[position])
        if byte >= _ZERO and byte <= _NINE:
            if mantissa < _MANTISSA_ROOM:
                mantissa = mantissa * 10 + (byte - _ZERO)
            else:
                exact = False
            shift -= after_dot
            digits += 1
        elif byte == _DOT and not after_dot:
            after_dot = True
        else:
            break
        position += 1
    if digits and (buffer[position] == _LOWER_E or buffer[position] == _UPPER_E):
        exponent, position = _exponent(buffer, position + 1)
        shift += exponent
    if digits == 0 or mantissa > _EXACT or abs(shift) > _EXACT_POWER or not _ends(buffer[position]):
        exact = False
    while not _ends(buffer[position]):
        position += 1
    if not exact:
        return 0.0, position, False
    value = np.float64(mantissa)
    value = value / powers[-shift] if shift < 0 else value * powers[shift]
    return (-value if negative else value), position, True


@jit
def _parse_entries(
    buffer: NDArray[np.uint8],
    powers: NDArray[np.float64],
    indices: NDArray[np.int64],
    values: NDArray[np.float64],
    lines: NDArray[np.int64],
    hard: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    position, nnz, n_hard, line = 0, 0, 0, 0
    while position < buffer.size:
        position = skip_blanks(buffer, position)
        if buffer[position] == _HASH or buffer[position] == _PERCENT:
            while buffer[position] != _NEWLINE:
                position += 1
        if buffer[position] != _NEWLINE:
            for mode in range(indices.shape[0]):
                index, position, status = _index(buffer, position)
                if status != OK:
                    return nnz, n_hard, status, line
                indices[mode, nnz] = index
                position = skip_blanks(buffer, position)
            if buffer[position] == _NEWLINE:
                return nnz, n_hard, TOO_FEW, line
            start = position
            values[nnz], position, exact = _value(buffer, powers, position)
            stop = position
            position = skip_blanks(buffer, position)
            if buffer[position] != _NEWLINE and buffer[position] != _HASH:
                return nnz, n_hard, TOO_MANY, line
            while buffer[position] != _NEWLINE:
                position += 1
            if not exact:
                hard[0, n_hard], hard[1, n_hard], hard[2, n_hard] = nnz, start, stop
                n_hard += 1
            lines[nnz] = line
            nnz += 1
        position, line = position + 1, line + 1
    return nnz, n_hard, OK, line
