"""Names of documents: kept on disk while a corpus is made, and made unique."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.data.spill import Piece, Spill
from tdtool.errors import InputError


class IdBatch(NamedTuple):
    """Where the names of a batch's documents are: their bytes, the end of each, their lines; path : the file read."""

    data: Piece
    ends: Piece
    lines: Piece
    path: str


class DocumentIds:
    """The names of all D documents, in order. Only a 64-bit key of each stays in memory."""

    def __init__(self, spill: Spill) -> None:
        self._spill = spill
        self._batches: list[IdBatch] = []
        self._keys: list[NDArray[np.uint64]] = []
        self._renamed: dict[int, str] = {}

    def add(self, ids: Sequence[str], lines: NDArray[np.int64], path: str) -> None:
        """Put aside the names of a batch."""
        encoded = encoded_names(ids)
        self._keys.append(name_keys(encoded))
        data = np.frombuffer(b"".join(encoded), np.uint8)
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        put = self._spill.put
        self._batches.append(IdBatch(put(data), put(ends), put(np.asarray(lines, np.int64)), path))

    def batches(self) -> Iterator[list[str]]:
        """The names, a batch at a time."""
        position = 0
        for batch, keys in zip(self._batches, self._keys, strict=True):
            names = self._names(batch)
            if self._renamed:
                for place in self._renamed.keys() & range(position, position + keys.size):
                    names[place - position] = self._renamed[place]
            position += keys.size
            yield names

    def places(self, batch: int, rows: Iterable[int]) -> Iterator[tuple[str, int | None]]:
        """File and line of documents of one batch; the line is None where a document is a whole file."""
        found = self._batches[batch]
        lines = self._spill.get(found.lines)
        names = [] if lines.all() else self._names(found)
        for row in rows:
            yield (found.path, int(lines[row])) if lines[row] else (f"{found.path}/{names[row]}", None)

    def make_unique(self, *, strict: bool) -> None:
        """Give documents with the same name a "#2", "#3", ... from the second on; `strict`: InputError instead."""
        keys = np.concatenate([*self._keys, np.empty(0, np.uint64)])
        suspects = np.flatnonzero(has_one_of(keys, repeated(keys)))
        repeats = repeats_among(suspects, self._names_of(suspects))
        if repeats:
            announce(repeats, [self._place(document) for document in repeats[0][1:]], strict=strict)
            self._renamed = new_names(repeats, keys)

    def _names_of(self, documents: NDArray[np.int64]) -> Iterator[str]:
        """Names of documents given in ascending order."""
        borders = np.cumsum([0] + [keys.size for keys in self._keys])
        for batch, (first, last) in zip(self._batches, pairwise(borders), strict=True):
            here = documents[(documents >= first) & (documents < last)]
            if here.size:
                names = self._names(batch)
                yield from (names[document - first] for document in here)

    def _place(self, document: int) -> str:
        borders = np.cumsum([keys.size for keys in self._keys])
        batch = int(np.searchsorted(borders, document, side="right"))
        ((path, line),) = self.places(batch, [document - int(borders[batch] - self._keys[batch].size)])
        return path if line is None else f"{path}:{line}"

    def _names(self, batch: IdBatch) -> list[str]:
        data, ends = self._spill.get(batch.data).tobytes(), self._spill.get(batch.ends).tolist()
        return [data[start:end].decode("utf-8") for start, end in pairwise([0, *ends])]


Repeat: TypeAlias = tuple[str, int, int]


def encoded_names(ids: Sequence[str]) -> list[bytes]:
    """Names as bytes; what UTF-8 cannot hold is written out."""
    return [name.encode("utf-8", "backslashreplace") for name in ids]


def name_keys(encoded: Sequence[bytes]) -> NDArray[np.uint64]:
    """(n,) uint64. Equal names have equal keys; different ones nearly always differ."""
    return np.fromiter(map(_key, encoded), np.uint64, len(encoded))


def repeated(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The keys that more than one document has, ascending. keys : (D,) uint64."""
    ordered = np.sort(keys)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def has_one_of(keys: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which keys are among the wanted: (D,) bool. wanted : ascending."""
    if not wanted.size:
        return np.zeros(keys.size, bool)
    place = np.minimum(np.searchsorted(wanted, keys), wanted.size - 1)
    return wanted[place] == keys


def repeats_among(suspects: NDArray[np.int64], names: Iterable[str]) -> list[Repeat]:
    """(name, first document, this document) of each document whose name was there before, in order.

    suspects : documents, ascending, that may share a name; names : of each of them.
    """
    seen: dict[str, int] = {}
    repeats = []
    for document, name in zip(suspects.tolist(), names, strict=True):
        if seen.setdefault(name, document) != document:
            repeats.append((name, seen[name], document))
    return repeats


def announce(repeats: list[Repeat], places: list[str], *, strict: bool) -> None:
    """Warn of repeated names; InputError when `strict`. places : of the first two documents of the first repeat."""
    name = repeats[0][0]
    if strict:
        hint = "name the column or field with the documents' own ids, or leave it out"
        raise InputError(
            f'two documents have the id "{name}"', path=places[1], hint=f"the first is {places[0]}; {hint}"
        )
    example = f'"{name}" at {places[0]} and {places[1]}'
    log.warn(f"{len(repeats):,} documents repeat the id of an earlier one ({example}); they get #2, #3, ...")


def new_names(repeats: list[Repeat], keys: NDArray[np.uint64]) -> dict[int, str]:
    """A name that no document has, for each that repeats one. keys : (D,) uint64, of all documents."""
    there, added = np.sort(keys), set[int]()
    counts: dict[str, int] = {}
    renamed: dict[int, str] = {}
    for name, _, document in repeats:
        number = counts.get(name, 1) + 1
        while _is_taken(_key(f"{name}#{number}".encode()), there, added):
            number += 1
        counts[name] = number
        renamed[document] = f"{name}#{number}"
        added.add(_key(renamed[document].encode()))
    return renamed


def _is_taken(key: int, there: NDArray[np.uint64], added: set[int]) -> bool:
    place = int(np.searchsorted(there, np.uint64(key)))
    return key in added or (place < there.size and int(there[place]) == key)


def _key(name: bytes) -> int:
    return zlib.crc32(name) << 32 | zlib.adler32(name)
