"""Words on their way between executors and the driver: packed tables that can be merged in any order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tdtool.data.vocabulary import Vocabulary, WordTable
from tdtool.kernels.count_cpu import add_frequencies
from tdtool.kernels.word_table import hash_words


@dataclasses.dataclass(frozen=True)
class PackedWords:
    """n words one after the other. terms : (n_bytes,) uint8; sizes : (n,) int32, bytes of each."""

    terms: NDArray[np.uint8]
    sizes: NDArray[np.int32]

    @classmethod
    def of(cls, words: Sequence[str]) -> PackedWords:
        """Pack words; one may come several times."""
        encoded = [word.encode("utf-8", "backslashreplace") for word in words]
        sizes = np.fromiter(map(len, encoded), np.int32, len(encoded))
        return cls(np.frombuffer(bytearray(b"".join(encoded)), np.uint8), sizes)

    @classmethod
    def of_table(cls, table: WordTable) -> PackedWords:
        """The words of a table, in its order."""
        sizes = np.diff(table.starts[: table.size + 1]).astype(np.int32)
        return cls(table.terms[: table.n_bytes].copy(), sizes)

    def taken(self, chosen: NDArray[np.bool_]) -> PackedWords:
        """The chosen ones, in their order. chosen : (n,) bool."""
        return PackedWords(self.terms[np.repeat(chosen, self.sizes)], self.sizes[chosen])

    def table(self) -> WordTable:
        """A table of these words, which must differ: their numbers are their places here."""
        table = WordTable(self.sizes.size, self.terms.size)
        self.numbers(table, enter=True)
        return table

    def numbers(self, table: WordTable, *, enter: bool = False) -> NDArray[np.int32]:
        """Numbers of these words in a table: (n,) int32. enter : add those that are not there, else they get -1."""
        bounds, hashes = self._places()
        found = np.empty(self.sizes.size, np.int32)
        table.add_bytes(self.terms, bounds, hashes, found, enter=enter)
        return found

    def shares(self, n_shares: int) -> NDArray[np.int64]:
        """Which of n_shares each word belongs to, from the word alone: (n,) int64."""
        return self._places()[1] % n_shares

    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        bounds = np.concatenate([[0], np.cumsum(self.sizes, dtype=np.int64)])
        hashes = np.empty(self.sizes.size, np.int64)
        hash_words(self.terms, bounds, hashes)
        return bounds, hashes


@dataclasses.dataclass(frozen=True)
class WordCounts:
    """Distinct words and their uses. document_frequency, count : (n,) int64, documents with a word, and its uses."""

    words: PackedWords
    document_frequency: NDArray[np.int64]
    count: NDArray[np.int64]

    def taken(self, chosen: NDArray[np.bool_]) -> WordCounts:
        """The chosen ones. chosen : (n,) bool."""
        return WordCounts(self.words.taken(chosen), self.document_frequency[chosen], self.count[chosen])

    def split(self, n_shares: int) -> list[WordCounts]:
        """The same in n_shares pieces; a word is in the same one wherever it comes from."""
        if n_shares == 1:
            return [self]
        shares = self.words.shares(n_shares)
        return [self.taken(shares == share) for share in range(n_shares)]


def used_words(table: WordTable, indices: NDArray[np.int32], counts: NDArray[np.int32]) -> WordCounts:
    """All words of a table with their uses in some documents. indices, counts : (nnz,) int32, entries."""
    frequency, count = np.zeros(table.size, np.int64), np.zeros(table.size, np.int64)
    add_frequencies(indices, counts, frequency, count)
    return WordCounts(PackedWords.of_table(table), frequency, count)


def add_words(vocabulary: Vocabulary, more: WordCounts) -> None:
    """Enter words with their uses into a vocabulary."""
    numbers = more.words.numbers(vocabulary, enter=True)
    vocabulary.document_frequency[numbers] += more.document_frequency
    vocabulary.count[numbers] += more.count


def merged(parts: Iterable[WordCounts]) -> WordCounts:
    """The sum of several, in the order in which words first appear."""
    vocabulary = Vocabulary()
    for part in parts:
        add_words(vocabulary, part)
    frequency, count = vocabulary.document_frequency[: vocabulary.size], vocabulary.count[: vocabulary.size]
    return WordCounts(PackedWords.of_table(vocabulary), frequency, count)
