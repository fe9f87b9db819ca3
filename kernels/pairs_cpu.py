"""Pairs of neighbouring words: counting them, and joining the chosen ones.

A pair table is two int64 arrays of one power of two length: keys, first word * 2^32 + second, or 0; and values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit


@jit
def count_pairs(
    tokens: NDArray[np.int32],
    ends: NDArray[np.int64],
    n_words: NDArray[np.uint8],
    length: int,
    keys: NDArray[np.int64],
    values: NDArray[np.int64],
) -> int:
    """Count the pairs that make phrases of `length` words; returns how many pairs are new (the table must have room).

    tokens : (n_tokens,) int32 in reading order, -1 is no word; ends : (D,) int64; n_words : (V,) uint8, words that each
    term consists of, 0 for a term that takes no part; pairs of a term with itself do not count.
    """
    n_new, begin = 0, np.int64(0)
    for document in range(ends.size):
        for place in range(begin + 1, ends[document]):
            first, second = np.int64(tokens[place - 1]), np.int64(tokens[place])
            if first < 0 or second < 0 or first == second or n_words[first] == 0 or n_words[second] == 0:
                continue
            if np.int64(n_words[first]) + np.int64(n_words[second]) == length:
                slot = find_pair(first, second, keys)
                n_new += keys[slot] == 0
                keys[slot] = (first << 32) + second
                values[slot] += 1
        begin = ends[document]
    return n_new


@jit
def insert_pairs(
    pair_keys: NDArray[np.int64], pair_values: NDArray[np.int64], keys: NDArray[np.int64], values: NDArray[np.int64]
) -> None:
    """Enter distinct pairs into a table without them. pair_keys, pair_values : (n,) int64; a key of 0 is none."""
    for place in range(pair_keys.size):
        if pair_keys[place] != 0:
            slot = find_pair(pair_keys[place] >> 32, pair_keys[place] & 0xFFFFFFFF, keys)
            keys[slot] = pair_keys[place]
            values[slot] = pair_values[place]


@jit
def join_pairs(
    tokens: NDArray[np.int32],
    ends: NDArray[np.int64],
    keys: NDArray[np.int64],
    values: NDArray[np.int64],
    joined: NDArray[np.int32],
    joined_ends: NDArray[np.int64],
) -> int:
    """Replace the pairs in the table by their value, from left to right; returns the number of tokens left.

    joined : (n_tokens,) int32 and joined_ends : (D,) int64, filled.
    """
    place, size = np.int64(0), 0
    for document in range(ends.size):
        while place < ends[document]:
            token = np.int64(tokens[place])
            place += 1
            if token >= 0 and place < ends[document] and tokens[place] >= 0:
                slot = find_pair(token, np.int64(tokens[place]), keys)
                if keys[slot] != 0:
                    token = values[slot]
                    place += 1
            joined[size] = token
            size += 1
        joined_ends[document] = size
    return size


@jit
def find_pair(first: int, second: int, keys: NDArray[np.int64]) -> int:
    """The slot where a pair is or belongs."""
    mask = keys.size - 1
    key = (first << 32) + second
    slot = (first * 73856093) ^ (second * 19349663)
    slot = (slot ^ (slot >> 17)) & mask
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot
