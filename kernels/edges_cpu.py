"""Edge lists, read straight from the bytes: lines of two names and perhaps a weight, among other columns or not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit
from tdtool.kernels.blanks_cpu import check_whole_lines, is_blank, skip_blanks

#: What can be wrong with a line; the reader words it. NOT_A_NUMBER: a name is no whole number, canonically written.
OK, NOT_A_NUMBER, WRONG_FIELDS, UNCLOSED = range(4)
#: The separator that stands for any number of blanks and tabs.
BLANKS = 256
NO_BYTE = 257

#: Whole numbers up to 2**53 and powers of ten up to 10**22 are exact, and so is one operation on them (Clinger 1990).
_EXACT, _EXACT_POWER = 1 << 53, 22
_POWERS = np.array([10.0**power for power in range(_EXACT_POWER + 1)])
#: Eighteen digits always fit 64 bits; of nineteen it depends.
_DIGITS, _LARGEST = 18, 2**63 - 1

#: Odd numbers of 31 bits.
_HALF, _MIX_LOW, _MIX_HIGH, _MIX_AGAIN = 0xFFFFFFFF, 0x5851F42D, 0x6C078965, 0x45D9F3B3

_NEWLINE, _SPACE, _HASH, _PERCENT, _PLUS, _MINUS, _DOT, _SLASH = 10, 32, 35, 37, 43, 45, 46, 47
_ZERO, _NINE, _BRACE = 48, 57, 123


class LineLayout(NamedTuple):
    """How a line is cut. separator : a byte or BLANKS; quote : a byte or NO_BYTE; columns from 0, weight -1 for none.

    n_columns : what every line must have; comments : whether lines that begin with #, % or // are passed.
    """

    separator: int = BLANKS
    quote: int = NO_BYTE
    tail: int = 0
    head: int = 1
    weight: int = -1
    n_columns: int = 2
    comments: bool = True


class EdgeBlock(NamedTuple):
    """The edges of some lines.

    ends : (2, m) int64 numbers, or (6, m): start, stop and whether quotes are doubled in it, of the tail, of the head;
    weights : (m,) float64, (0,) without; lines : (m,) int64 relative to the buffer; hard : (3, h) int64, edges whose
    weight is left to the caller, with the start and stop of its text; status; stop : where reading stopped, the start
    of the line that is wrong or the end; line : its number, relative; n_fields : of the wrong line.
    """

    ends: NDArray[np.int64]
    weights: NDArray[np.float64]
    lines: NDArray[np.int64]
    hard: NDArray[np.int64]
    status: int
    stop: int
    line: int
    n_fields: int


def parse_edges(buffer: NDArray[np.uint8], layout: LineLayout, *, numbers: bool) -> EdgeBlock:
    """Read lines of edges. Blank lines and comments are passed.

    buffer : (n_bytes,) uint8 of whole lines, each ended by a newline; numbers : names are read as whole numbers, and
    reading stops with NOT_A_NUMBER at the first that is none or is not written as Python would (007, +1, -0).
    """
    check_whole_lines(buffer)
    room = int(np.count_nonzero(buffer == _NEWLINE))
    ends = np.empty((2 if numbers else 6, room), np.int64)
    weights, lines = np.empty(room if layout.weight >= 0 else 0), np.empty(room, np.int64)
    hard = np.empty((3, room if layout.weight >= 0 else 0), np.int64)
    n, n_hard, status, stop, line, n_fields = _parse_edges(
        buffer, *layout, numbers, _POWERS, ends, weights, lines, hard
    )
    found = ends[:, :n], weights[:n], lines[:n], hard[:, :n_hard]
    return EdgeBlock(*found, int(status), int(stop), int(line), int(n_fields))


@jit
def _field(buffer, position, separator, quote):  # type: ignore[no-untyped-def]
    """One field from its first byte on: (start, stop, whether quotes are doubled in it, position behind it, status)."""
    escaped = 0
    if buffer[position] == quote:
        start = position + 1
        position = start
        while buffer[position] != _NEWLINE:
            if buffer[position] == quote:
                if buffer[position + 1] != quote:
                    break
                escaped = 1
                position += 1
            position += 1
        if buffer[position] == _NEWLINE:
            return start, position, escaped, position, UNCLOSED
        stop = position
        position += 1
        while is_blank(buffer[position]) and buffer[position] != separator:
            position += 1
        ends = buffer[position] == _NEWLINE or buffer[position] == separator or separator == BLANKS
        return start, stop, escaped, position, OK if ends else UNCLOSED
    start = position
    if separator == BLANKS:
        while buffer[position] > _SPACE or not (buffer[position] == _NEWLINE or is_blank(buffer[position])):
            position += 1
        return start, position, 0, position, OK
    while buffer[position] != separator and buffer[position] != _NEWLINE:
        position += 1
    stop = position
    while stop > start and is_blank(buffer[stop - 1]):
        stop -= 1
    return start, stop, 0, position, OK


@jit
def _whole(buffer, start, stop):  # type: ignore[no-untyped-def]
    """A whole number as Python would write it: (value, whether it is one that fits 64 bits)."""
    negative = stop > start and buffer[start] == _MINUS
    first = start + negative
    size = stop - first
    if size == 0 or size > _DIGITS + 1 or (buffer[first] == _ZERO and (size > 1 or negative)):
        return np.int64(0), False
    value = np.int64(0)
    for place in range(first, stop):
        digit = np.int64(buffer[place]) - _ZERO
        if digit < 0 or digit > 9 or value > (_LARGEST - digit) // 10:
            return np.int64(0), False
        value = value * 10 + digit
    return (-value if negative else value), True


@jit
def _decimal(buffer, powers, start, stop):  # type: ignore[no-untyped-def]
    """A number without an exponent as the nearest float: (value, whether it could be read exactly)."""
    negative = stop > start and buffer[start] == _MINUS
    if stop > start and (negative or buffer[start] == _PLUS):
        start += 1
    mantissa, shift, digits, after_dot = np.int64(0), 0, 0, False
    for place in range(start, stop):
        byte = np.int64(buffer[place])
        if byte >= _ZERO and byte <= _NINE and mantissa <= _EXACT:
            mantissa = mantissa * 10 + (byte - _ZERO)
            shift += after_dot
            digits += 1
        elif byte == _DOT and not after_dot:
            after_dot = True
        else:
            return 0.0, False
    if digits == 0 or mantissa > _EXACT or shift > _EXACT_POWER:
        return 0.0, False
    value = np.float64(mantissa) / powers[shift]
    return (-value if negative else value), True


@jit
def _is_comment(buffer, position) -> bool:  # type: ignore[no-untyped-def]
    byte = buffer[position]
    return byte in (_HASH, _PERCENT) or (byte == _SLASH and buffer[position + 1] == _SLASH)


@jit
def _fields(buffer, position, separator, quote, tail, head, weight, comments, spans):  # type: ignore[no-untyped-def]
    """Cut the line at `position` into spans (4, 3) of tail, head, weight, others: (fields, where it ends, status).

    With BLANKS a field that begins with { takes the rest of the line (networkx), and one that begins with # ends it.
    """
    n_fields = 0
    while True:
        while is_blank(buffer[position]) and buffer[position] != separator:
            position += 1
        if separator == BLANKS:
            if buffer[position] == _NEWLINE:
                return n_fields, position, OK
            if comments and buffer[position] == _HASH:
                while buffer[position] != _NEWLINE:
                    position += 1
                return n_fields, position, OK
        cut = np.int64(NO_BYTE) if separator == BLANKS and buffer[position] == _BRACE else np.int64(separator)
        start, stop, escaped, position, status = _field(buffer, position, cut, quote)
        if status != OK:
            return n_fields, position, status
        place = 0 if n_fields == tail else 1 if n_fields == head else 2 if n_fields == weight else 3
        spans[place, 0], spans[place, 1], spans[place, 2] = start, stop, escaped
        n_fields += 1
        if buffer[position] == separator:
            position += 1
        elif buffer[position] == _NEWLINE:
            return n_fields, position, OK


@jit
def _parse_edges(  # type: ignore[no-untyped-def]
    buffer,
    separator,
    quote,
    tail,
    head,
    weight,
    n_columns,
    comments,
    numbers,
    powers,
    ends,
    weights,
    lines,
    hard,
):
    position, n, n_hard, line = 0, 0, 0, 0
    spans = np.zeros((4, 3), np.int64)
    while position < buffer.size:
        begin = position
        position = skip_blanks(buffer, position)
        if comments and _is_comment(buffer, position):
            while buffer[position] != _NEWLINE:
                position += 1
        if buffer[position] != _NEWLINE:
            n_fields, position, status = _fields(buffer, begin, separator, quote, tail, head, weight, comments, spans)
            if status != OK or n_fields != n_columns:
                return n, n_hard, (WRONG_FIELDS if status == OK else status), begin, line, n_fields
            if numbers:
                for end in range(2):
                    ends[end, n], whole = _whole(buffer, spans[end, 0], spans[end, 1])
                    if not whole:
                        return n, n_hard, NOT_A_NUMBER, begin, line, n_fields
            else:
                for fact in range(6):
                    ends[fact, n] = spans[fact // 3, fact % 3]
            if weight >= 0:
                weights[n], exact = _decimal(buffer, powers, spans[2, 0], spans[2, 1])
                if not exact:
                    hard[0, n_hard], hard[1, n_hard], hard[2, n_hard] = n, spans[2, 0], spans[2, 1]
                    n_hard += 1
            lines[n] = line
            n += 1
        position, line = position + 1, line + 1
    return n, n_hard, OK, position, line, 0


@jit
def number_codes(numbers, start, known, n_known, slots, codes):  # type: ignore[no-untyped-def]
    """Give each number a code in order of arrival; an open-addressing hash table that is at most half full.

    numbers : (m,) int64, from `start` on; known : (slots.size // 2,) int64, the first n_known numbers by code; slots :
    (power of two,) int32, code + 1 or 0; codes : (m,) int32, filled. Returns (where it stopped, new n_known): short of
    m when there is no room, so that the caller makes some.
    """
    mask = slots.size - 1
    for i in range(start, numbers.size):
        number = numbers[i]
        slot = _slot(number, mask)
        while slots[slot] != 0 and known[slots[slot] - 1] != number:
            slot = (slot + 1) & mask
        if slots[slot] == 0:
            if n_known == known.size:
                return i, n_known
            known[n_known] = number
            n_known += 1
            slots[slot] = n_known
        codes[i] = slots[slot] - 1
    return numbers.size, n_known


@jit
def fill_number_slots(known, n_known, slots):  # type: ignore[no-untyped-def]
    """Enter the first n_known numbers into empty slots."""
    mask = slots.size - 1
    for code in range(n_known):
        slot = _slot(known[code], mask)
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = code + 1


@jit
def _slot(number, mask):  # type: ignore[no-untyped-def]
    """Both halves of the number mixed twice, in products that do not leave int64: multiples of 2^k land apart too."""
    mixed = ((number & _HALF) * _MIX_LOW) ^ (((number >> 32) & _HALF) * _MIX_HIGH)
    mixed = ((mixed ^ (mixed >> 32)) & _HALF) * _MIX_AGAIN
    return (mixed ^ (mixed >> 29)) & mask
