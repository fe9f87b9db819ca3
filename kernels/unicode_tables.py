"""What each code point is to the tokeniser: part of a word or not, and its lowercase. Built once a process."""

from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Kinds of code points.
SEPARATOR, LETTER, MARK, DIGIT, CJK = range(5)
#: Set beside the kind for scripts that put no spaces between words.
UNSPACED = 8
#: An entry is (lowercase - code point) * 16 + kind: one look-up tells both.
SHIFT = 4
#: Entries of the 256-byte ASCII table that are not a (lowercased) character of a word.
ASCII_SEPARATOR, ASCII_BEYOND = 0, 1

_BLOCK_BITS = 6  # as many as the last byte of a UTF-8 sequence carries
_LAST = 0x110000
#: Planes with letters; the others hold none in any version of Unicode (private use, unassigned).
_PLANES = ((0x0, 0x40000), (0xE0000, 0xE1000))
_KIND = {"L": LETTER, "M": MARK, "N": DIGIT}
#: Han, Hiragana and Katakana, first and last; only letters and digits in them count.
_CJK_RANGES = (
    (0x3005, 0x3007),
    (0x3021, 0x3029),
    (0x3031, 0x303C),
    (0x3041, 0x3096),
    (0x309D, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFF),
)
#: Thai, Lao, Myanmar, Khmer.
_UNSPACED_RANGES = (
    (0xE00, 0xE7F),
    (0xE80, 0xEFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0xA9E0, 0xA9FF),
    (0xAA60, 0xAA7F),
)


class UnicodeTables(NamedTuple):
    """The entry of code point c is entries[64 * block[c >> 6] + (c & 63)].

    ascii : (256,) uint8, the lowercase of an ASCII letter or digit, ASCII_SEPARATOR, or ASCII_BEYOND from 0x80 on;
    block : (0x110000 / 64,) uint16; entries : (64 * distinct blocks,) int32.
    """

    ascii: NDArray[np.uint8]
    block: NDArray[np.uint16]
    entries: NDArray[np.int32]


@functools.lru_cache(maxsize=2)
def unicode_tables(lowercase: bool = True) -> UnicodeTables:
    """The tables of this Python's Unicode version; without `lowercase` every code point is its own lowercase."""
    entries = np.zeros(_LAST, np.int32)
    for first, last in _PLANES:
        entries[first:last] = _entries(first, last, lowercase)
    rows = entries.reshape(-1, 1 << _BLOCK_BITS)
    number: dict[bytes, int] = {}
    index = np.array([number.setdefault(row.tobytes(), len(number)) for row in rows], np.uint16)
    blocks = np.frombuffer(b"".join(number), np.int32).copy()
    return UnicodeTables(_ascii_table(entries), index, blocks)


def _entries(first: int, last: int, lowercase: bool) -> NDArray[np.int32]:
    """Entries of the code points first..last-1 as (last - first,) int32."""
    categories = "".join(map(unicodedata.category, map(chr, range(first, last)))).encode("ascii")
    majors, minors = np.frombuffer(categories, np.uint8).reshape(-1, 2).T
    kind = np.zeros(last - first, np.int32)
    for major, value in _KIND.items():
        kind[majors == ord(major)] = value
    _mark_ranges(kind, first, last)
    kind_is_separator = kind == SEPARATOR
    entries = kind
    if lowercase:  # only capitals, title case and Roman numerals have another lowercase
        for place in np.flatnonzero(
            (minors == ord("u")) | (minors == ord("t")) | ((majors == ord("N")) & (minors == ord("l")))
        ):
            code = first + int(place)
            entries[place] += (ord(chr(code).lower()[0]) - code) * (1 << SHIFT)
    entries[kind_is_separator] = 0
    return entries


def _mark_ranges(kind: NDArray[np.int32], first: int, last: int) -> None:
    """Tell CJK characters and scripts without spaces apart, in place."""
    for low, high in _CJK_RANGES:
        part = kind[max(low - first, 0) : max(min(high + 1, last) - first, 0)]
        part[(part == LETTER) | (part == DIGIT)] = CJK
    for low, high in _UNSPACED_RANGES:
        part = kind[max(low - first, 0) : max(min(high + 1, last) - first, 0)]
        part[(part == LETTER) | (part == MARK)] += UNSPACED


def _ascii_table(entries: NDArray[np.int32]) -> NDArray[np.uint8]:
    table = np.full(256, ASCII_BEYOND, np.uint8)
    half = entries[:128]
    lower = np.arange(128) + (half >> SHIFT)
    table[:128] = np.where(half == 0, ASCII_SEPARATOR, lower)
    return table
