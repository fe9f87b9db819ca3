"""Numbers of sparse count files, read straight from the bytes: "document word count" and "word:count" lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit
from tdtool.kernels.blanks_cpu import check_whole_lines, is_blank, skip_blanks

#: What can be wrong with a line; the reader words it.
OK, NOT_A_NUMBER, NEGATIVE, FRACTION, TOO_LARGE, WRONG_FIELDS, NO_COLON, WRONG_LENGTH = range(8)

#: Counts and numbers beyond this do not fit the 32 bits a corpus stores.
LARGEST = (1 << 31) - 1

#: More digits than this cannot be told apart in 64 bits.
_MANTISSA_ROOM = 10**17
#: So many plain digits cannot pass LARGEST.
_PLAIN_DIGITS = 9

_NEWLINE, _SPACE, _HASH, _PLUS, _MINUS, _DOT = 10, 32, 35, 43, 45, 46
_ZERO, _NINE, _COLON, _UPPER_E, _LOWER_E, _LOWER_Q = 48, 57, 58, 69, 101, 113


def parse_triples(
    buffer: NDArray[np.uint8], n_fields: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int]:
    """Read lines of `n_fields` numbers (3: row column count; 2: row column, the count is 1).

    buffer : (n_bytes,) uint8 of whole lines, each ended by a newline. Returns three (n,) int64 arrays and a status;
    when that is not OK the line that is wrong is the one behind the n read. Empty lines are right only at the end.
    """
    check_whole_lines(buffer)
    numbers = np.empty((3, int(np.count_nonzero(buffer == _NEWLINE))), np.int64)
    n, status = _parse_triples(buffer, n_fields, numbers)
    return numbers[0, :n], numbers[1, :n], numbers[2, :n], int(status)


def parse_pairs(
    buffer: NDArray[np.uint8], *, leading_length: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int, int]:
    """Read lines of a first word and then "index:count" pairs.

    buffer : (n_bytes,) uint8 of whole lines; leading_length : the first word is the number of pairs (lda-c), and is
    checked; otherwise it is a label and skipped, as are "qid:..." and comments behind "#" (svmlight). Empty lines are
    no documents. Returns indptr (D + 1,) int64, indices (nnz,) int64, counts (nnz,) int64, lines (D,) int64 relative to
    the buffer, a status, and the line that is wrong when that is not OK.
    """
    check_whole_lines(buffer)
    n_lines, n_pairs = int(np.count_nonzero(buffer == _NEWLINE)), int(np.count_nonzero(buffer == _COLON))
    indptr, lines = np.zeros(n_lines + 1, np.int64), np.zeros(n_lines, np.int64)
    indices, counts = np.empty(n_pairs, np.int64), np.empty(n_pairs, np.int64)
    rows, status, line = _parse_pairs(buffer, leading_length, indptr, indices, counts, lines)
    nnz = indptr[rows]
    return indptr[: rows + 1], indices[:nnz], counts[:nnz], lines[:rows], int(status), int(line)


@jit
def _is_digit(byte: int) -> bool:
    return byte >= _ZERO and byte <= _NINE


@jit
def _exponent(buffer: NDArray[np.uint8], position: int) -> tuple[int, int, int]:
    """Behind an "e": (exponent, position, status)."""
    sign = 1
    if buffer[position] == _PLUS or buffer[position] == _MINUS:
        sign = -1 if buffer[position] == _MINUS else 1
        position += 1
    if not _is_digit(buffer[position]):
        return 0, position, NOT_A_NUMBER
    value = 0
    while _is_digit(buffer[position]):
        value = min(value * 10 + int(np.int64(buffer[position]) - _ZERO), 1000)
        position += 1
    return sign * value, position, OK


@jit
def _whole(mantissa: int, shift: int) -> tuple[int, int]:
    """mantissa * 10**shift as a whole number: (value, status)."""
    if mantissa == 0:
        return 0, OK
    while shift < 0 and mantissa % 10 == 0:
        mantissa //= 10
        shift += 1
    if shift < 0:
        return 0, FRACTION
    while shift > 0 and mantissa <= LARGEST:
        mantissa *= 10
        shift -= 1
    if mantissa > LARGEST:
        return 0, TOO_LARGE
    return mantissa, OK


@jit
def _number(buffer: NDArray[np.uint8], position: int) -> tuple[int, int, int]:
    """A whole number, written as 3, +3, 3.0 or 3.000e+00: (value, position behind it, status)."""
    start, value = position, 0
    while position - start < _PLAIN_DIGITS and _is_digit(buffer[position]):
        value = value * 10 + int(np.int64(buffer[position]) - _ZERO)
        position += 1
    if position > start and buffer[position] in (_SPACE, _NEWLINE, _COLON):
        return value, position, OK
    return _written_number(buffer, start)


@jit
def _written_number(buffer: NDArray[np.uint8], position: int) -> tuple[int, int, int]:
    """The general case of _number: signs, fractions and exponents."""
    negative = buffer[position] == _MINUS
    if negative or buffer[position] == _PLUS:
        position += 1
    mantissa, shift, digits, dropped, after_dot = 0, 0, 0, False, False
    while True:
        byte = int(np.int64(buffer[position]))
        if _is_digit(byte):
            digits += 1
            if mantissa < _MANTISSA_ROOM:
                mantissa = mantissa * 10 + (byte - _ZERO)
                shift -= after_dot
            else:
                dropped |= after_dot and byte != _ZERO
                shift += not after_dot
        elif byte == _DOT and not after_dot:
            after_dot = True
        else:
            break
        position += 1
    if digits == 0:
        return 0, position, NOT_A_NUMBER
    if buffer[position] == _LOWER_E or buffer[position] == _UPPER_E:
        exponent, position, status = _exponent(buffer, position + 1)
        if status != OK:
            return 0, position, status
        shift += exponent
    value, status = _whole(mantissa, shift)
    if dropped and status == OK:
        status = FRACTION
    if negative and (mantissa != 0 or dropped):
        status = NEGATIVE
    return value, position, status


@jit
def _parse_triples(buffer: NDArray[np.uint8], n_fields: int, numbers: NDArray[np.int64]) -> tuple[int, int]:
    position, n = 0, 0
    while position < buffer.size:
        position = skip_blanks(buffer, position)
        if buffer[position] == _NEWLINE:
            while position < buffer.size and (buffer[position] == _NEWLINE or is_blank(buffer[position])):
                position += 1
            return n, (OK if position >= buffer.size else WRONG_FIELDS)
        for field in range(n_fields):
            if buffer[position] == _NEWLINE:
                return n, WRONG_FIELDS
            value, position, status = _number(buffer, position)
            if status == OK and not (is_blank(buffer[position]) or buffer[position] == _NEWLINE):
                status = NOT_A_NUMBER
            if status != OK:
                return n, status
            numbers[field, n] = value
            position = skip_blanks(buffer, position)
        if buffer[position] != _NEWLINE:
            return n, WRONG_FIELDS
        if n_fields == 2:
            numbers[2, n] = 1
        position += 1
        n += 1
    return n, OK


@jit
def _skip_word(buffer: NDArray[np.uint8], position: int) -> int:
    while not (is_blank(buffer[position]) or buffer[position] == _NEWLINE):
        position += 1
    return position


@jit
def _parse_line_of_pairs(
    buffer: NDArray[np.uint8],
    position: int,
    comments: bool,
    indices: NDArray[np.int64],
    counts: NDArray[np.int64],
    nnz: int,
) -> tuple[int, int, int]:
    """Pairs up to the end of the line: (position of its newline, entries so far, status)."""
    position = skip_blanks(buffer, position)
    while buffer[position] != _NEWLINE:
        if comments and buffer[position] == _HASH:
            while buffer[position] != _NEWLINE:
                position += 1
            break
        if comments and buffer[position] == _LOWER_Q:
            position = skip_blanks(buffer, _skip_word(buffer, position))
            continue
        index, position, status = _number(buffer, position)
        if status == OK and buffer[position] != _COLON:
            status = NO_COLON
        if status != OK:
            return position, nnz, status
        count, position, status = _number(buffer, position + 1)
        if status == OK and not (is_blank(buffer[position]) or buffer[position] == _NEWLINE):
            status = NOT_A_NUMBER
        if status != OK:
            return position, nnz, status
        indices[nnz], counts[nnz] = index, count
        nnz += 1
        position = skip_blanks(buffer, position)
    return position, nnz, OK


@jit
def _parse_pairs(
    buffer: NDArray[np.uint8],
    leading_length: bool,
    indptr: NDArray[np.int64],
    indices: NDArray[np.int64],
    counts: NDArray[np.int64],
    lines: NDArray[np.int64],
) -> tuple[int, int, int]:
    position, rows, nnz, line = 0, 0, 0, 0
    while position < buffer.size:
        position = skip_blanks(buffer, position)
        if buffer[position] == _NEWLINE:
            position, line = position + 1, line + 1
            continue
        if not leading_length and buffer[position] == _HASH:
            while buffer[position] != _NEWLINE:
                position += 1
            continue
        length = 0
        if leading_length:
            length, position, status = _number(buffer, position)
            if status == OK and not (is_blank(buffer[position]) or buffer[position] == _NEWLINE):
                status = NOT_A_NUMBER
            if status != OK:
                return rows, status, line
        else:
            position = _skip_word(buffer, position)
        before = nnz
        position, nnz, status = _parse_line_of_pairs(buffer, position, not leading_length, indices, counts, nnz)
        if status == OK and leading_length and nnz - before != length:
            status = WRONG_LENGTH
        if status != OK:
            return rows, status, line
        lines[rows] = line
        rows += 1
        indptr[rows] = nnz
        position, line = position + 1, line + 1
    return rows, OK, line
