"""The words of a corpus: a table that grows as batches come in, and which of its words are kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.count_cpu import add_frequencies
from tdtool.kernels.word_table import Words, add_words, fill_slots, hash_words

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
    def arrays(self) -> Words:
        """The table as the kernels take it."""
        return Words(self.terms, self.starts, self.hashes, self.slots)

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

    def add(self, words: Sequence[str]) -> NDArray[np.int32]:
        """Add words; returns their numbers (n,) int32, -1 for an empty one."""
        encoded = [word.encode("utf-8", "backslashreplace") for word in words]
        bounds = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        source, hashes = np.frombuffer(bytearray(b"".join(encoded)), np.uint8), np.empty(len(words), np.int64)
        hash_words(source, bounds, hashes)
        numbers = np.empty(len(words), np.int32)
        self.add_bytes(source, bounds, hashes, numbers)
        return numbers

    def add_bytes(
        self,
        source: NDArray[np.uint8],
        bounds: NDArray[np.int64],
        hashes: NDArray[np.int64],
        numbers: NDArray[np.int32],
        *,
        enter: bool = True,
    ) -> None:
        """Add n words that lie one after the other in `source`, or only look them up.

        bounds : (>= n + 1,) int64 into source; hashes : (>= n,) int64, hash_word of each; numbers : (n,) int32, filled.
        """
        if enter:
            self.reserve(numbers.size, int(bounds[numbers.size]))
        added = add_words(source, bounds, hashes, numbers.size, *self.arrays, self.size, enter, numbers)
        self.size = int(added)

    def merge(self, other: WordTable) -> NDArray[np.int32]:
        """Add the words of another table, in its order; returns their numbers here (other.size,) int32."""
        numbers = np.empty(other.size, np.int32)
        self.add_bytes(other.terms, other.starts, other.hashes, numbers)
        return numbers

    def find(self, words: Sequence[str]) -> NDArray[np.int32]:
        """Numbers of words, -1 for those that are not here: (n,) int32."""
        table = WordTable()
        numbers = np.empty(len(words), np.int32)
        same = table.add(words)
        found = np.empty(table.size, np.int32)
        self.add_bytes(table.terms, table.starts, table.hashes, found, enter=False)
        numbers[:] = np.append(found, np.int32(-1))[same]
        return numbers

    def words(self, numbers: NDArray[np.int64] | None = None) -> list[str]:
        """The words with these numbers, or all of them. numbers : (n,) int."""
        chosen = range(self.size) if numbers is None else numbers
        data, starts = self.terms, self.starts
        return [data[starts[n] : starts[n + 1]].tobytes().decode("utf-8") for n in chosen]


class Vocabulary(WordTable):
    """A word table that counts. document_frequency, count : (V_room,) int64, documents with a word, and its uses."""

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
