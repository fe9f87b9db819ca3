"""The names of a graph's nodes while they are gathered from many parts: shared out, and merged."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tdtool.data.readers.graph_names import NameCodes
from tdtool.data.vocabulary import WordTable
from tdtool.kernels.word_table import hash_words

#: What a name is the name of.
TAIL, HEAD = np.uint8(1), np.uint8(2)
#: 2^64 over the golden ratio, odd: its multiples of neighbouring numbers lie far apart.
_SPREAD, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(33)


@dataclasses.dataclass(frozen=True)
class NameTable:
    """Different names, each once.

    numbers : (n,) int64, or None where they are text; text : (n_bytes,) uint8, UTF-8 one after the other; bounds :
    (n + 1,) int64, where each begins; roles : (n,) uint8, whether each is a tail, a head, or both.
    """

    numbers: NDArray[np.int64] | None
    text: NDArray[np.uint8]
    bounds: NDArray[np.int64]
    roles: NDArray[np.uint8]

    @classmethod
    def of_numbers(cls, numbers: NDArray[np.int64], roles: NDArray[np.uint8] | None = None) -> NameTable:
        """A table of whole numbers."""
        roles = np.zeros(numbers.size, np.uint8) if roles is None else roles
        return cls(numbers, np.zeros(0, np.uint8), np.zeros(1, np.int64), roles)

    @classmethod
    def of_text(
        cls, text: NDArray[np.uint8], bounds: NDArray[np.int64], roles: NDArray[np.uint8] | None = None
    ) -> NameTable:
        """A table of text."""
        return cls(None, text, bounds, np.zeros(bounds.size - 1, np.uint8) if roles is None else roles)

    @property
    def size(self) -> int:
        """n."""
        return self.roles.size

    def with_roles(self, tails: NDArray[np.int32], heads: NDArray[np.int32]) -> NameTable:
        """The same names, with what they are in edges. tails, heads : (m,) int32, positions of names."""
        roles = np.zeros(self.size, np.uint8)
        roles[tails] = TAIL
        is_head = np.zeros(self.size, np.bool_)
        is_head[heads] = True
        return dataclasses.replace(self, roles=roles | np.where(is_head, HEAD, np.uint8(0)))

    def as_text(self) -> NameTable:
        """The same names as text."""
        if self.numbers is None:
            return self
        return NameTable.of_text(*NameCodes.of_numbers(self.numbers).arrays, self.roles)

    def chosen(self, rows: NDArray[np.int64]) -> NameTable:
        """Some of the names. rows : (n_chosen,) int64."""
        roles = self.roles[rows]
        if self.numbers is not None:
            return NameTable.of_numbers(self.numbers[rows], roles)
        lengths = np.diff(self.bounds)[rows]
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        places = np.arange(int(bounds[-1])) + np.repeat(self.bounds[rows] - bounds[:-1], lengths)
        return NameTable.of_text(self.text[places], bounds, roles)


def in_buckets(table: NameTable, n_buckets: int) -> list[tuple[int, NameTable]]:
    """The table in parts, such that a name is in the same bucket wherever it comes from; empty ones are left out."""
    buckets = _bucket(table, n_buckets)
    order = np.argsort(buckets, kind="stable")
    cuts = np.searchsorted(buckets[order], np.arange(n_buckets + 1))
    parts = ((bucket, order[cuts[bucket] : cuts[bucket + 1]]) for bucket in range(n_buckets))
    return [(bucket, table.chosen(rows)) for bucket, rows in parts if rows.size]


def merged_names(tables: Iterable[NameTable]) -> NameTable:
    """The names of several tables, all of numbers or all of text, each once, in an order of no meaning."""
    parts = list(tables)
    if all(part.numbers is not None for part in parts):
        every = np.concatenate([np.zeros(0, np.int64), *(part.numbers for part in parts if part.numbers is not None)])
        numbers, places = np.unique(every, return_inverse=True)
        roles = np.zeros(numbers.size, np.uint8)
        np.bitwise_or.at(roles, places, np.concatenate([np.zeros(0, np.uint8), *(part.roles for part in parts)]))
        return NameTable.of_numbers(numbers, roles)
    words, found = WordTable(), []
    for part in parts:
        codes = np.empty(part.size, np.int32)
        words.add_bytes(part.text, part.bounds, hashes_of(part), codes)
        found.append(codes)
    roles = np.zeros(words.size, np.uint8)
    for part, codes in zip(parts, found, strict=True):
        roles[codes] |= part.roles
    return NameTable.of_text(words.terms[: words.n_bytes].copy(), words.starts[: words.size + 1].copy(), roles)


def stacked(tables: Sequence[NameTable]) -> NameTable:
    """Tables without a name in common, all of numbers or all of text, as one."""
    roles = np.concatenate([np.zeros(0, np.uint8), *(table.roles for table in tables)])
    if all(table.numbers is not None for table in tables):
        numbers = [table.numbers for table in tables if table.numbers is not None]
        return NameTable.of_numbers(np.concatenate([np.zeros(0, np.int64), *numbers]), roles)
    lengths = np.concatenate([np.zeros(0, np.int64), *(np.diff(table.bounds) for table in tables)])
    text = np.concatenate([np.zeros(0, np.uint8), *(table.text for table in tables)])
    return NameTable.of_text(text, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), roles)


def _bucket(table: NameTable, n_buckets: int) -> NDArray[np.int64]:
    if table.numbers is None:
        return hashes_of(table) % n_buckets
    spread = (table.numbers.view(np.uint64) * _SPREAD) >> _SHIFT
    return spread.astype(np.int64) % n_buckets


def hashes_of(table: NameTable) -> NDArray[np.int64]:
    """The hash of every name, which is text, (n,) int64."""
    hashes = np.empty(table.size, np.int64)
    hash_words(table.text, table.bounds, hashes)
    return hashes
