"""From the documents of splits to canonical partitions: what is kept of a document, and where it goes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from tdtool.data.corpus import Rows
from tdtool.data.corpus_writer import NO_WORDS
from tdtool.data.ledger import Ledger
from tdtool.jobs.documents import CountedDocuments, Record, counted_in
from tdtool.jobs.groups import members
from tdtool.jobs.vocabulary import PackedWords
from tdtool.kernels.count_cpu import kept_lengths, renumber


@dataclasses.dataclass(frozen=True)
class SplitLengths:
    """Kept entries of each document of a split, (D,) int32; ledger : the documents that lost all of theirs."""

    lengths: NDArray[np.int32]
    ledger: Ledger


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where everything goes. starts : (P + 1,) int64, of the corpus; first_read, first_kept : (splits,) int64, numbers
    of each split's first document among all, and among those kept; renamed : new names by number among all; group :
    canonical partitions that lie together.
    """

    starts: NDArray[np.int64]
    first_read: NDArray[np.int64]
    first_kept: NDArray[np.int64]
    renamed: dict[int, str]
    group: int

    @property
    def n_partitions(self) -> int:
        """P."""
        return self.starts.size - 1


@dataclasses.dataclass(frozen=True)
class Piece:
    """Documents of one batch that belong to one canonical partition; first : the number of the first one.

    lengths : (D,) int32; indices (nnz,) int32, final numbers, ascending in a document; counts : of any width.
    """

    first: int
    lengths: NDArray[np.int32]
    indices: NDArray[np.int32]
    counts: NDArray[np.integer]
    ids: list[str]


def split_lengths(records: Iterable[Record], kept: PackedWords) -> Iterator[SplitLengths]:
    """How much is kept of every document. kept : the words that are, in their final order."""
    table = kept.table()
    parts, ledger = [np.empty(0, np.int32)], Ledger()
    for record in counted_in(records):
        lengths = _lengths(record, record.words.words.numbers(table))
        for row in np.flatnonzero(lengths == 0).tolist():
            ledger.drop(NO_WORDS, *record.names.place(row))
        parts.append(lengths)
    yield SplitLengths(np.concatenate(parts), ledger)


def split_pieces(
    split: int, records: Iterable[Record], kept: PackedWords, layout: Layout
) -> Iterator[tuple[int, Piece]]:
    """(canonical partition, what a split gives to it), documents and words under their final numbers."""
    table = kept.table()
    read, first = int(layout.first_read[split]), int(layout.first_kept[split])
    for record in counted_in(records):
        numbers = record.words.words.numbers(table)
        lengths = _lengths(record, numbers)
        new = np.empty(record.indices.size, np.int32), np.empty(record.indices.size, np.int32)
        counts = record.counts.astype(np.int32, copy=False)
        size = renumber(record.indptr, record.indices, counts, numbers, kept.sizes.size, *new)
        names = record.names.texts()
        ids = [layout.renamed.get(read + row, names[row]) for row in np.flatnonzero(lengths).tolist()]
        small = new[1][:size].astype(record.counts.dtype)
        piece = Piece(first, lengths[lengths > 0], new[0][:size], small, ids)
        yield from _cut(piece, layout.starts)
        read, first = read + lengths.size, first + len(ids)


def partition_rows(group: int, pieces: Iterable[tuple[int, Piece]], layout: Layout) -> Iterator[tuple[int, Rows]]:
    """(index, rows) of the partitions of a group, in ascending order. pieces : all of theirs, in any order."""
    for index, own in _sorted(group, pieces, layout):
        lengths = np.concatenate([np.empty(0, np.int32), *(piece.lengths for piece in own)])
        indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        indices = np.concatenate([np.empty(0, np.int32), *(piece.indices for piece in own)])
        counts = np.concatenate([np.empty(0, np.int32), *(piece.counts.astype(np.int32) for piece in own)])
        yield index, Rows(index, int(layout.starts[index]), indptr, indices, counts)


def partition_ids(group: int, pieces: Iterable[tuple[int, Piece]], layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """(index, names of its documents) of the partitions of a group, in ascending order."""
    for index, own in _sorted(group, pieces, layout):
        yield index, [name for piece in own for name in piece.ids]


def _sorted(group: int, pieces: Iterable[tuple[int, Piece]], layout: Layout) -> Iterator[tuple[int, list[Piece]]]:
    """The pieces of each partition of a group, in the order of their documents; RuntimeError when one is missing."""
    found: dict[int, list[Piece]] = {index: [] for index in members(group, layout.group, layout.n_partitions)}
    for index, piece in pieces:
        found[index].append(piece)
    for index, own in found.items():
        own.sort(key=lambda piece: piece.first)
        there = sum(piece.lengths.size for piece in own)
        if there != layout.starts[index + 1] - layout.starts[index]:
            raise RuntimeError(f"partition {index} got {there:,} documents of {np.diff(layout.starts)[index]:,}")
        yield index, own


def _lengths(record: CountedDocuments, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    lengths = np.empty(record.indptr.size - 1, np.int32)
    kept_lengths(record.indptr, record.indices, numbers, lengths)
    return lengths


def _cut(piece: Piece, starts: NDArray[np.int64]) -> Iterator[tuple[int, Piece]]:
    """The same documents by canonical partition."""
    ends = np.concatenate([[0], np.cumsum(piece.lengths, dtype=np.int64)])
    position, last = 0, piece.lengths.size
    while position < last:
        index = int(np.searchsorted(starts, piece.first + position, side="right")) - 1
        stop = min(int(starts[index + 1]) - piece.first, last)
        entries = slice(int(ends[position]), int(ends[stop]))
        rows = slice(position, stop)
        indices, counts = piece.indices[entries], piece.counts[entries]
        yield index, Piece(piece.first + position, piece.lengths[rows], indices, counts, piece.ids[rows])
        position = stop
