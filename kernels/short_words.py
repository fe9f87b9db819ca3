"""Short ASCII words as integers: eight bytes of text at a time are lowercased and searched for the word's end.

A word of up to 15 ASCII letters and digits is two uint64: its first eight bytes and the rest, the first byte lowest,
zeros behind the last. All arithmetic is on the eight bytes of an integer side by side, and no sum leaves its byte.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit

#: Two times eight bytes are looked at: a word that fills them need not end there.
READ_BYTES = 16
#: The bit that tells capitals from small letters, and the bits that only letters have and only other characters have.
CASE = np.uint64(0x2020202020202020)
LETTER = np.uint64(0x4040404040404040)
BEYOND_ASCII = np.uint64(0x8080808080808080)

#: Added to seven bits, these reach the eighth from "a" on, beyond "z", from "0" on, beyond "9".
_FROM_A, _BEYOND_Z = np.uint64(0x1F1F1F1F1F1F1F1F), np.uint64(0x0505050505050505)
_FROM_0, _BEYOND_9 = np.uint64(0x5050505050505050), np.uint64(0x4646464646464646)
_SEVEN_BITS = ~BEYOND_ASCII
_UNITS = np.uint64(0x0101010101010101)
NO_BYTES, _ONE, _TWO, _SEVEN, _BYTE = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(7), np.uint64(0xFF)
_8_BITS, _15_BITS, _16_BITS, _32_BITS = np.uint64(8), np.uint64(15), np.uint64(16), np.uint64(32)
_HALF = np.uint64(0xFFFFFFFF)
_MIX = (np.uint64(0x9E3779B1), np.uint64(0x85EBCA77), np.uint64(0xC2B2AE3D), np.uint64(0x27D4EB2F))


@jit
def read_eight(text: NDArray[np.uint8], place: int, case: np.uint64) -> tuple[np.uint64, int | np.int64]:
    """The first eight bytes of the word at `place`, or all when they are fewer, and how many they are.

    case : CASE for lowercase, 0 leaves capitals alone. Bytes beyond ASCII count as letters. Eight can be read.
    """
    at = np.uint64(place)
    raw = NO_BYTES
    for byte in range(8):  # compiled to one load
        raw |= np.uint64(text[at + np.uint64(byte)]) << np.uint64(8 * byte)
    seven = raw & _SEVEN_BITS
    lower = seven | CASE
    letters = (lower + _FROM_A) & ~(lower + _BEYOND_Z)
    digits = (seven + _FROM_0) & ~(seven + _BEYOND_9)
    separators = ~(letters | digits | raw) & BEYOND_ASCII
    word = raw | (((letters & BEYOND_ASCII) >> _TWO) & case)
    if separators == NO_BYTES:
        return word, 8
    inside = ((separators - _ONE) & ~separators) >> _SEVEN  # the bytes below the first separator, all their bits
    count = inside & _UNITS
    count += count >> _32_BITS
    count += count >> _16_BITS
    count += count >> _8_BITS
    return word & inside, np.int64(count & _SEVEN)


@jit
def write_short(first: np.uint64, second: np.uint64, length: int, out: NDArray[np.uint8], place: int) -> int:
    """Write the bytes of a word; returns the place behind them."""
    for byte in range(length):
        part = first if byte < 8 else second
        out[place + byte] = (part >> np.uint64(8 * (byte & 7))) & _BYTE
    return place + length


@jit
def hash_short(first: np.uint64, second: np.uint64) -> np.uint64:
    """The bits of a word mixed into the low ones: a hash. Products of halves, because they stay below 2^64."""
    value = ((first & _HALF) * _MIX[0]) ^ ((first >> _32_BITS) * _MIX[1])
    if second != NO_BYTES:
        value ^= ((second & _HALF) * _MIX[2]) ^ ((second >> _32_BITS) * _MIX[3])
    value ^= value >> _32_BITS
    return value ^ (value >> _15_BITS)
