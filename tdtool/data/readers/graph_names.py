"""Names of nodes and their codes 0, 1, 2, ... in order of arrival, for names that are whole numbers and for others."""

from __future__ import annotations

import itertools
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tdtool.data.readers.text_batches import printable
from tdtool.data.vocabulary import WordTable
from tdtool.kernels.edges_cpu import fill_number_slots, number_codes
from tdtool.kernels.rows_cpu import gather
from tdtool.kernels.word_table import hash_words

_FIRST_ROOM = 1 << 12
_NEWLINE = 10


class NumberCodes:
    """Whole numbers and their codes."""

    def __init__(self) -> None:
        self.size = 0
        self._known: NDArray[np.int64] = np.empty(_FIRST_ROOM, np.int64)
        self._slots: NDArray[np.int32] = np.zeros(2 * _FIRST_ROOM, np.int32)

    @property
    def n_bytes(self) -> int:
        """Bytes that the table takes."""
        return self._known.nbytes + self._slots.nbytes

    def add(self, numbers: NDArray[np.int64], buffer: NDArray[np.uint8], quote: int) -> NDArray[np.int32]:
        """The codes of numbers, of the same shape; buffer and quote belong to names that are no numbers."""
        return self.encode(numbers.reshape(-1)).reshape(numbers.shape)

    def encode(self, numbers: NDArray[np.int64]) -> NDArray[np.int32]:
        """The codes of numbers, (n,)."""
        codes, done = np.empty(numbers.size, np.int32), 0
        while True:
            done, self.size = map(int, number_codes(numbers, done, self._known, self.size, self._slots, codes))
            if done == numbers.size:
                return codes
            self._known = np.concatenate([self._known, np.empty_like(self._known)])
            self._slots = np.zeros(2 * self._known.size, np.int32)
            fill_number_slots(self._known, self.size, self._slots)

    def names(self) -> NDArray[np.int64]:
        """The number of each code, (n,)."""
        return self._known[: self.size].copy()


class NameCodes:
    """Names as text and their codes."""

    def __init__(self) -> None:
        self._table = WordTable()

    @classmethod
    def of_numbers(cls, numbers: NDArray[np.int64] | list[str]) -> Self:
        """A table that begins with these numbers, as text."""
        codes = cls()
        codes._table.add([str(number) for number in np.asarray(numbers).tolist()])
        return codes

    @property
    def n_bytes(self) -> int:
        """Bytes that the table takes, and the names as text once more."""
        return sum(array.nbytes for array in self._table.arrays) + self._table.n_bytes + 64 * self._table.size

    def add(self, spans: NDArray[np.int64], buffer: NDArray[np.uint8], quote: int) -> NDArray[np.int32]:
        """The codes (2, m) of the names at `spans`, (6, m): start, stop, escaped of both ends; -1 for empty ones."""
        codes = np.empty((2, spans.shape[1]), np.int32)
        for end in range(2):
            starts, stops, escaped = (np.ascontiguousarray(row) for row in spans[3 * end : 3 * end + 3])
            text, bounds = _as_printed(buffer, starts, stops, escaped, quote)
            hashes = np.empty(starts.size, np.int64)
            hash_words(text, bounds, hashes)
            self._table.add_bytes(text, bounds, hashes, codes[end])
        return codes

    @property
    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The names as UTF-8 one after the other (n_bytes,), and where each begins (n + 1,)."""
        return self._table.terms[: self._table.n_bytes], self._table.starts[: self._table.size + 1]

    def names(self) -> list[str]:
        """The name of each code."""
        return names_of(*self.arrays)


def names_of(text: NDArray[np.uint8], bounds: NDArray[np.int64]) -> list[str]:
    """Names that lie one after the other in UTF-8. text : (n_bytes,); bounds : (n + 1,) int64."""
    data = text.tobytes()
    spans = itertools.pairwise(bounds.tolist())
    if data.isascii():
        plain = data.decode("ascii")
        return [plain[start:stop] for start, stop in spans]
    return [data[start:stop].decode("utf-8") for start, stop in spans]


def _as_printed(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    escaped: NDArray[np.int64],
    quote: int,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pieces of a buffer one after the other, as `gather`; where they are no clean UTF-8, as they are printed.

    Names that look the same are then one name, and the order in which they come says nothing.
    """
    text, bounds = gather(buffer, starts, stops, escaped, quote=quote)
    data = text.tobytes()
    if data.isascii() and b"\0" not in data:
        return text, bounds
    apart, _ = gather(buffer, starts, stops, escaped, quote=quote, separator=_NEWLINE)
    if b"\0" not in data and _is_utf8(apart.tobytes()):
        return text, bounds
    names = [printable(data[start:stop]).encode() for start, stop in itertools.pairwise(bounds.tolist())]
    return np.frombuffer(bytearray(b"".join(names)), np.uint8), np.cumsum([0, *map(len, names)], dtype=np.int64)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
