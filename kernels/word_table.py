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
    words = Words(terms, starts, hashes, slots)
    for word in range(n_source):
        begin, end, value = bounds[word], bounds[word + 1], source_hashes[word]
        number = np.int64(-1)
        if end > begin:
            number, slot = _find(source, begin, end, value, words)
            if number < 0 and enter:
                number = np.int64(n_terms)
                for place in range(end - begin):
                    terms[starts[number] + place] = source[begin + place]
                _enter(words, number, starts[number] + end - begin, value, slot)
                n_terms += 1
        numbers[word] = number
    return n_terms


@jit
def number_last(words: Words, n_terms: int, end: int) -> np.int64:
    """Number of the word, not empty, that was written behind the n_terms words up to `end`: n_terms when it is new.

    A new word is where it belongs and only has to be entered; there must be room for one.
    """
    begin = words.starts[n_terms]
    value = hash_word(words.terms, begin, end)
    number, slot = _find(words.terms, begin, end, value, words)
    if number < 0:
        number = np.int64(n_terms)
        _enter(words, number, end, value, slot)
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
    source: NDArray[np.uint8], begin: int, end: int, value: np.int64, words: Words
) -> tuple[np.int64, np.int64]:
    """Number of the word source[begin:end] with hash `value`, or -1; and the slot where it is or belongs."""
    terms, starts, slots = words.terms, words.starts, words.slots
    mask, size = slots.size - 1, end - begin
    slot = value & mask
    entry = slots[slot]
    while entry != 0:
        if entry >> 32 == value:
            number = (entry & _NUMBER) - 1
            first = starts[number]
            same = 0
            if starts[number + 1] - first == size:
                while same < size and terms[first + same] == source[begin + same]:
                    same += 1
            if same == size:
                return number, slot
        slot = (slot + 1) & mask
        entry = slots[slot]
    return np.int64(-1), slot


@jit
def _enter(words: Words, number: np.int64, end: int, value: np.int64, slot: np.int64) -> None:
    """Enter a new word, whose bytes are there up to `end`, into the free slot that _find gave."""
    words.starts[number + 1] = end
    words.hashes[number] = value
    words.slots[slot] = (value << 32) + number + 1
