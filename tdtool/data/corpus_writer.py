"""The corpus file: kept words of kept documents, partition by partition, in memory of a few batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.data.corpus import partition_starts
from tdtool.data.document_ids import DocumentIds
from tdtool.data.ledger import Ledger
from tdtool.data.spill import Piece, Spill
from tdtool.data.term_selection import Selection
from tdtool.data.vocabulary import Vocabulary
from tdtool.errors import InputError
from tdtool.kernels.count_cpu import kept_lengths, renumber
from tdtool.store import hdf5
from tdtool.store.digest import bytes_digest
from tdtool.store.schema import CORPUS

#: Reason in the ledger.
NO_WORDS = "no words left"


class CountedBatch(NamedTuple):
    """Sparse counts of D_b documents, put aside: indptr (D_b + 1,) int64, indices (nnz,) int32, counts of any width."""

    indptr: Piece
    indices: Piece
    counts: Piece


class Gathered(NamedTuple):
    """All that was read: the words, the counts of every batch under the words' first numbers, the documents' names."""

    vocabulary: Vocabulary
    batches: list[CountedBatch]
    ids: DocumentIds
    spill: Spill


def put_counts(
    spill: Spill, indptr: NDArray[np.int64], indices: NDArray[np.int32], counts: NDArray[np.int32]
) -> CountedBatch:
    """Put sparse counts aside: indptr (D_b + 1,), indices and counts (nnz,)."""
    small = counts.astype(np.min_scalar_type(int(counts.max()))) if counts.size else counts
    return CountedBatch(spill.put(indptr), spill.put(indices), spill.put(small))


def write_corpus(
    output: Path, gathered: Gathered, selection: Selection, ledger: Ledger, attributes: dict[str, Any], *, force: bool
) -> None:
    """Write the corpus file, whole or not at all. Documents without a kept word stay out and go to the ledger."""
    lengths = [_lengths(gathered.spill, batch, selection) for batch in gathered.batches]
    _drop_empty(lengths, gathered.ids, ledger)
    kept = np.concatenate([part[part > 0] for part in lengths])
    indptr = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
    starts = partition_starts(indptr)
    with hdf5.create(output, CORPUS, force=force) as writer:
        _write_counts(writer, gathered, selection, indptr, starts)
        _write_vocabulary(writer, gathered.vocabulary, selection)
        _write_ids(writer, gathered.ids, lengths, kept.size)
        for name, value in (attributes | {"ledger": ledger.as_dict()}).items():
            writer.attribute(name, value)


def partition_digest(indptr: NDArray[np.int64], indices: NDArray[np.int32], counts: NDArray[np.int32]) -> str:
    """BLAKE2b-128 of one partition's document lengths (int64), terms and counts (int32), little-endian.

    indptr : (D_p + 1,); indices, counts : (nnz,).
    """
    pieces = (np.diff(indptr).astype("<i8"), indices.astype("<i4", copy=False), counts.astype("<i4", copy=False))
    return bytes_digest(np.ascontiguousarray(piece).view(np.uint8) for piece in pieces)


def _load_counts(spill: Spill, batch: CountedBatch) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    return spill.get(batch.indptr), spill.get(batch.indices), spill.get(batch.counts).astype(np.int32, copy=False)


def _lengths(spill: Spill, batch: CountedBatch, selection: Selection) -> NDArray[np.int32]:
    """Kept entries of each document (D_b,) int32."""
    indptr = spill.get(batch.indptr)
    lengths = np.empty(indptr.size - 1, np.int32)
    kept_lengths(indptr, spill.get(batch.indices), selection.numbers, lengths)
    return lengths


def _drop_empty(lengths: list[NDArray[np.int32]], ids: DocumentIds, ledger: Ledger) -> None:
    for batch, part in enumerate(lengths):
        empty = np.flatnonzero(part == 0).tolist()
        for path, line in ids.places(batch, empty) if empty else ():
            ledger.drop(NO_WORDS, path, line)
    check_any_left(ledger)


def check_any_left(ledger: Ledger) -> None:
    """InputError when no document is used."""
    if not ledger.rows_used:
        hint = "the vocabulary given has none of their words" if ledger.rows_in else "the source has no documents"
        raise InputError("no document has a word left", hint=hint)


def _write_counts(
    writer: hdf5.Writer, gathered: Gathered, selection: Selection, indptr: NDArray[np.int64], starts: NDArray[np.int64]
) -> None:
    writer.put("counts/indptr", indptr)
    indices_out = writer.stream("counts/indices", (int(indptr[-1]),), np.int32)
    counts_out = writer.stream("counts/data", (int(indptr[-1]),), np.int32)
    digests = []
    position = 0
    pieces = _renumbered(gathered, selection)
    for number, (indices, counts) in enumerate(_cut(pieces, np.diff(indptr[starts]))):
        indices_out.write(position, indices)
        counts_out.write(position, counts)
        position += indices.size
        digests.append(partition_digest(indptr[starts[number] : starts[number + 1] + 1], indices, counts))
    writer.put("partitions/start", starts)
    writer.put("partitions/digest", digests)


def _renumbered(gathered: Gathered, selection: Selection) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """Entries of each batch under their final numbers, ascending within a document."""
    with log.task("writing", total=len(gathered.batches)) as bar:
        for batch in gathered.batches:
            indptr, indices, counts = _load_counts(gathered.spill, batch)
            new = np.empty(indices.size, np.int32), np.empty(indices.size, np.int32)
            size = renumber(indptr, indices, counts, selection.numbers, selection.order.size, *new)
            yield new[0][:size], new[1][:size]
            bar.advance()


def _cut(
    pieces: Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]], sizes: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """The same entries in pieces of the given sizes, which sum to all of them."""
    indices, counts = np.empty(0, np.int32), np.empty(0, np.int32)
    for size in sizes.tolist():
        waiting, have = [(indices, counts)], indices.size
        while have < size:
            waiting.append(next(pieces))
            have += waiting[-1][0].size
        indices, counts = (np.concatenate(parts) for parts in zip(*waiting, strict=True))
        yield indices[:size], counts[:size]
        indices, counts = indices[size:], counts[size:]


def _write_vocabulary(writer: hdf5.Writer, vocabulary: Vocabulary, selection: Selection) -> None:
    writer.put("vocabulary/term", vocabulary.words(selection.order))
    writer.put("vocabulary/document_frequency", vocabulary.document_frequency[selection.order])
    writer.put("vocabulary/count", vocabulary.count[selection.order])


def _write_ids(writer: hdf5.Writer, ids: DocumentIds, lengths: list[NDArray[np.int32]], n_kept: int) -> None:
    stream = writer.stream("documents/id", (n_kept,), str)
    position = 0
    for names, part in zip(ids.batches(), lengths, strict=True):
        kept = [names[row] for row in np.flatnonzero(part).tolist()]
        stream.write(position, kept)
        position += len(kept)
