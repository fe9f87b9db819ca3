"""Words and their numbers 0, 1, 2, ... in order of arrival: an open-addressing hash table over flat arrays.

terms : (room,) uint8, the words' bytes one after the other; starts : (V_room + 1,) int64 into terms; hashes : (V_room,)
int64, 31 bits each; slots : (power of two,) int64, 0 where free, else hash * 2^32 + number + 1. At most half the slots
are taken. How many words there are, and that there is room for more, is the caller's to know.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit

#: FNV-1a in 31 bits, so that no product leaves int64: start with HASH_START, take a hash_step a byte, then hash_end.
HASH_START = 0x11C9DC5
_STEP, _MASK = 16777619, 0x7FFFFFFF
_NUMBER = 0xFFFFFFFF


class Words(NamedTuple):
    """The arrays of a table, as above."""

    terms: NDArray[np.uint8]
    starts: NDArray[np.int64]
    hashes: NDArray[np.int64]
    slots: NDArray[np.int64]


@jit
def hash_step(value: np.int64, byte: np.uint8) -> np.int64:
    """The hash with one more byte."""
    return ((value ^ np.int64(byte)) * _STEP) & _MASK


@jit
def hash_end(value: np.int64) -> np.int64:
    """The hash when all bytes are in."""
    return value ^ (value >> 15)


@jit
def hash_word(source: NDArray[np.uint8], begin: int, end: int) -> np.int64:
    """Hash of source[begin:end]."""
    value = np.int64(HASH_START)
    for place in range(begin, end):
        value = hash_step(value, source[place])
    return hash_end(value)


@jit
def hash_words(source: NDArray[np.uint8], bounds: NDArray[np.int64], hashes: NDArray[np.int64]) -> None:
    """Hashes of words that lie one after the other. bounds : (n + 1,) int64 into it; hashes : (n,) int64, filled."""
    for word in range(hashes.size):
        hashes[word] = hash_word(source, bounds[word], bounds[word + 1])


@jit
def add_words(
    source: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    source_hashes: NDArray[np.int64],
    n_source: int,
    terms: NDArray[np.uint8],
    starts: NDArray[np.int64],
    hashes: NDArray[np.int64],
    slots: NDArray[np.int64],
    n_terms: int,
    enter: bool,
    numbers: NDArray[np.int32],
) -> int:
    """Number words that lie one after the other; returns the new number of distinct words.

    source : (n_bytes,) uint8; bounds : (>= n_source + 1,) int64 into it; source_hashes : (>= n_source,) int64;
    enter : whether words that are not here are added, or get -1; numbers : (>= n_source,) int32, filled;
    an empty word gets -1 and is never added.
    """
    for word in range(n_source):
        begin, value = bounds[word], source_hashes[word]
        size = bounds[word + 1] - begin
        number = np.int64(-1)
        if size > 0:
            number, slot = _find(source, begin, size, value, terms, starts, slots)
            if number < 0 and enter:
                number = np.int64(n_terms)
                first = starts[number]
                for place in range(size):
                    terms[first + place] = source[begin + place]
                _enter(first + size, value, slot, number, starts, hashes, slots)
                n_terms += 1
        numbers[word] = number
    return n_terms


@jit
def number_last(
    end: int,
    value: np.int64,
    terms: NDArray[np.uint8],
    starts: NDArray[np.int64],
    hashes: NDArray[np.int64],
    slots: NDArray[np.int64],
    n_terms: int,
) -> np.int64:
    """Number of the word that was written behind the n_terms words up to `end`, -1 when it is empty.

    value : its hash_word. A new word gets n_terms: it is where it belongs and is entered; there must be room for one.
    """
    begin = starts[n_terms]
    number, slot = _find(terms, begin, end - begin, value, terms, starts, slots)
    number = number if number >= 0 else np.int64(n_terms)
    _enter(
        starts[number] + end - begin, value, slot, number, starts, hashes, slots
    )  # changes nothing about an old word
    return number


@jit
def fill_slots(hashes: NDArray[np.int64], n_terms: int, slots: NDArray[np.int64]) -> None:
    """Enter the words 0..n_terms-1 into empty `slots`."""
    mask = slots.size - 1
    for number in range(n_terms):
        slot = hashes[number] & mask
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = (hashes[number] << 32) + number + 1


@jit
def _find(
    source: NDArray[np.uint8],
    begin: int,
    size: int,
    value: np.int64,
    terms: NDArray[np.uint8],
    starts: NDArray[np.int64],
    slots: NDArray[np.int64],
) -> tuple[np.int64, np.int64]:
    """Number of the word source[begin:begin + size] with hash `value`, or -1; and the slot where it is or belongs."""
    mask = slots.size - 1
    slot = value & mask
    entry, number = slots[slot], np.int64(-1)
    while entry != 0 and number < 0:
        if entry >> 32 == value and _is_term((entry & _NUMBER) - 1, source, begin, size, terms, starts):
            number = (entry & _NUMBER) - 1
        else:
            slot = (slot + 1) & mask
            entry = slots[slot]
    return number, slot


@jit
def _is_term(
    number: np.int64,
    source: NDArray[np.uint8],
    begin: int,
    size: int,
    terms: NDArray[np.uint8],
    starts: NDArray[np.int64],
) -> bool:
    """Whether the word of that number is source[begin:begin + size]."""
    first = starts[number]
    same = 0
    if starts[number + 1] - first == size:
        while same < size and terms[first + same] == source[begin + same]:
            same += 1
    return same == size


@jit
def _enter(
    end: int,
    value: np.int64,
    slot: int,
    number: np.int64,
    starts: NDArray[np.int64],
    hashes: NDArray[np.int64],
    slots: NDArray[np.int64],
) -> None:
    """Enter a new word, whose bytes are there up to `end`, into the free slot that _find gave."""
    starts[number + 1] = end
    hashes[number] = value
    slots[slot] = (value << 32) + number + 1
