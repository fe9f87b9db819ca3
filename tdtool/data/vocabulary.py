"""The words of a corpus: a table that grows as batches come in, and which of its words are kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.count_cpu import add_frequencies
from tdtool.kernels.word_table import add_words, fill_slots, merge_words

#: Words and bytes a fresh table has room for; both double when they run out.
_FIRST_TERMS, _FIRST_BYTES = 1 << 12, 1 << 16


class WordTable:
    """V distinct words, numbered 0, 1, 2, ... in order of arrival.

    terms : (room,) uint8; starts : (V_room + 1,) int64; hashes : (V_room,) int64; slots : (2 * V_room,) int64.
    """

    def __init__(self, n_terms: int = _FIRST_TERMS, n_bytes: int = _FIRST_BYTES) -> None:
        self.size = 0
        room = 1 << max(n_terms - 1, 1).bit_length()
        self.terms: NDArray[np.uint8] = np.empty(n_bytes, np.uint8)
        self.starts: NDArray[np.int64] = np.zeros(room + 1, np.int64)
        self.hashes: NDArray[np.int64] = np.empty(room, np.int64)
        self.slots: NDArray[np.int64] = np.zeros(2 * room, np.int64)

    @property
    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The table as the kernels take it."""
        return self.terms, self.starts, self.hashes, self.slots

    @property
    def n_bytes(self) -> int:
        """Bytes of all words together."""
        return int(self.starts[self.size])

    def reserve(self, n_terms: int, n_bytes: int) -> None:
        """Make room for so many more words and bytes of words."""
        wanted = self.n_bytes + n_bytes
        if wanted > self.terms.size:
            self.terms = _grown(self.terms, max(wanted, 2 * self.terms.size))
        wanted = self.size + n_terms
        if wanted > self.hashes.size:
            room = 1 << (wanted - 1).bit_length()
            self.starts, self.hashes = _grown(self.starts, room + 1), _grown(self.hashes, room)
            self.slots = np.zeros(2 * room, np.int64)
            fill_slots(self.hashes, self.size, self.slots)

    def add(self, words: list[str]) -> NDArray[np.int32]:
        """Add words; returns their numbers (n,) int32."""
        encoded = [word.encode("utf-8") for word in words]
        ends = np.cumsum([len(word) for word in encoded], dtype=np.int32)
        numbers = np.empty(len(words), np.int32)
        self.add_bytes(np.frombuffer(bytearray(b"".join(encoded)), np.uint8), ends, numbers)
        return numbers

    def add_bytes(self, source: NDArray[np.uint8], ends: NDArray[np.int32], numbers: NDArray[np.int32]) -> None:
        """Add n words that lie one after the other. ends : (n,) int32, the place after each; numbers : (n,) int32, filled.

        An empty word gets -1.
        """
        if ends.size:
            self.reserve(ends.size, int(ends[-1]))
            self.size = int(add_words(source, ends, ends.size, *self.arrays, self.size, numbers))

    def merge(self, other: WordTable) -> NDArray[np.int32]:
        """Add the words of another table, in its order; returns their numbers here (other.size,) int32."""
        self.reserve(other.size, other.n_bytes)
        return self._number(other, enter=True)

    def find(self, other: WordTable) -> NDArray[np.int32]:
        """Numbers here of another table's words, -1 for those that are not here: (other.size,) int32."""
        return self._number(other, enter=False)

    def _number(self, other: WordTable, *, enter: bool) -> NDArray[np.int32]:
        numbers = np.empty(other.size, np.int32)
        source = (other.terms, other.starts, other.hashes, other.size)
        self.size = int(merge_words(*source, *self.arrays, self.size, enter, numbers))
        return numbers

    def words(self, numbers: NDArray[np.int64] | None = None) -> list[str]:
        """The words with these numbers, or all of them. numbers : (n,) int."""
        chosen = range(self.size) if numbers is None else numbers
        data, starts = self.terms, self.starts
        return [data[starts[n] : starts[n + 1]].tobytes().decode("utf-8") for n in chosen]


class Vocabulary(WordTable):
    """A word table that also counts. document_frequency, count : (V_room,) int64, documents with the word and its uses."""

    def __init__(self) -> None:
        super().__init__()
        self.document_frequency: NDArray[np.int64] = np.zeros(self.hashes.size, np.int64)
        self.count: NDArray[np.int64] = np.zeros(self.hashes.size, np.int64)

    def reserve(self, n_terms: int, n_bytes: int) -> None:
        """Make room for so many more words and bytes of words."""
        super().reserve(n_terms, n_bytes)
        if self.hashes.size > self.count.size:
            self.document_frequency = _grown(self.document_frequency, self.hashes.size, clear=True)
            self.count = _grown(self.count, self.hashes.size, clear=True)

    def observe(self, indices: NDArray[np.int32], counts: NDArray[np.int32]) -> None:
        """Count the entries of some documents. indices : (nnz,) int32 numbers of this table; counts : (nnz,) int32."""
        add_frequencies(indices, counts, self.document_frequency, self.count)


def _grown(array: NDArray, room: int, *, clear: bool = False) -> NDArray:
    larger = np.zeros(room, array.dtype) if clear else np.empty(room, array.dtype)
    larger[: array.size] = array
    return larger
