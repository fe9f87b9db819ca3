"""Entries "document term count", streamed document by document: what UCI and Matrix Market share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.data.batches import CountBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.counts_batches import count_batch, whole_lines, wrong_line
from tdtool.data.readers.source_types import EMPTY
from tdtool.data.readers.streams import ByteStream
from tdtool.errors import InputError
from tdtool.kernels import counts_cpu

#: A header may speak of this many documents without entries, and ten times those that have some; more is a lie.
_EMPTY_ALLOWED = 1_000_000
_BLOCK_ENTRIES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Header:
    """What the file says of itself. line : where it says it; n_fields : 3, or 2 when counts are left out (all 1)."""

    n_documents: int
    n_terms: int
    n_entries: int
    line: int
    n_fields: int = 3


@dataclasses.dataclass
class Entries:
    """Entries in the order of the file. documents, terms : numbered from 1."""

    documents: NDArray[np.int64]
    terms: NDArray[np.int64]
    counts: NDArray[np.int64]
    lines: NDArray[np.int64]

    def part(self, start: int | None, stop: int | None) -> Entries:
        return Entries(*(getattr(self, field.name)[start:stop] for field in dataclasses.fields(self)))


def triple_batches(stream: ByteStream, header: Header, path: str, ledger: Ledger) -> Iterator[CountBatch]:
    """The documents of a stream that stands behind its header. Checks every number against the header.

    Documents must be in order; a file of which the first block is not (sorted by term, say) is sorted in memory.
    """
    blocks = parsed_blocks(stream, header, path, header.line + 1)
    first = next(blocks, None)
    if first is not None and not in_order(first.documents):
        blocks = _sorted_in_memory(first, blocks, path)
        first = next(blocks)
    n_read, n_filled = 0, 0
    for entries in _whole_documents(first, blocks, path):
        n_read += len(entries.documents)
        n_filled += 1 + int(np.count_nonzero(np.diff(entries.documents)))
        refuse_void(int(entries.documents[-1]) - n_filled, n_filled, header, path)
        yield from _batch(entries, path, ledger)
    if n_read != header.n_entries:
        raise InputError(
            f"the header promises {header.n_entries:,} entries and there are {n_read:,}",
            path=path,
            line=header.line,
            hint="the file is incomplete, or its header is wrong",
        )
    refuse_void(header.n_documents - n_filled, n_filled, header, path)
    skip_missing(header.n_documents - n_filled, path, ledger)


def part_batches(
    stream: ByteStream, header: Header, path: str, ledger: Ledger, first_line: int
) -> Iterator[CountBatch]:
    """The documents of a part of a file, all of each and in order. first_line : of the part in the file."""
    blocks = parsed_blocks(stream, header, path, first_line)
    for entries in _whole_documents(next(blocks, None), blocks, path):
        yield from _batch(entries, path, ledger)


def refuse_void(n_missing: int, n_filled: int, header: Header, path: str) -> None:
    """Raise InputError when documents without an entry are too many to be true."""
    if n_missing > _EMPTY_ALLOWED + 10 * n_filled:
        raise InputError(
            f"the header speaks of {header.n_documents:,} documents, of which {n_missing:,} have no entry",
            path=path,
            line=header.line,
        )


def skip_missing(n_missing: int, path: str, ledger: Ledger) -> None:
    """Note the documents that have no entry; no line tells of them, so they come behind all others."""
    for _ in range(n_missing):
        ledger.skip(EMPTY, path)


def in_order(documents: NDArray[np.int64]) -> bool:
    """Whether entries come document by document."""
    return bool((np.diff(documents) >= 0).all())


def _whole_documents(carried: Entries | None, blocks: Iterator[Entries], path: str) -> Iterator[Entries]:
    """The entries of blocks, cut where a document ends. carried : the first block."""
    while carried is not None:
        block = next(blocks, None)
        if block is None:
            yield carried
            return
        stop = int(np.searchsorted(carried.documents, carried.documents[-1]))
        if stop:
            yield carried.part(None, stop)
        carried = _joined([carried.part(stop, None), block])
        _refuse_disorder(carried, path)


def parsed_blocks(stream: ByteStream, header: Header, path: str, first_line: int) -> Iterator[Entries]:
    """Parsed entries, each number within what the header says."""
    n_read = 0
    for buffer, line in whole_lines(stream, path, first_line):
        documents, terms, counts, status = counts_cpu.parse_triples(buffer, header.n_fields)
        n_read += len(documents)
        lines = np.arange(line, line + len(documents), dtype=np.int64)
        for numbers, largest, what in ((documents, header.n_documents, "document"), (terms, header.n_terms, "term")):
            bad = np.flatnonzero((numbers < 1) | (numbers > largest))
            if len(bad):
                at = int(bad[0])
                raise InputError(
                    f"{what} {int(numbers[at]):,} is not between 1 and the {largest:,} of the header",
                    path=path,
                    line=line + at,
                )
        if status != counts_cpu.OK:
            raise wrong_line(status, path, line + len(documents))
        if n_read > header.n_entries:
            raise InputError(
                f"the header promises {header.n_entries:,} entries and there are more",
                path=path,
                line=line + len(documents) - (n_read - header.n_entries),
            )
        if len(documents):
            yield Entries(documents, terms, counts, lines)


def _refuse_disorder(entries: Entries, path: str) -> None:
    bad = np.flatnonzero(np.diff(entries.documents) < 0)
    if len(bad):
        at = int(bad[0]) + 1
        raise InputError(
            f"document {int(entries.documents[at]):,} comes after document {int(entries.documents[at - 1]):,}",
            path=path,
            line=int(entries.lines[at]),
            hint="sort the entries by document",
        )


def _joined(parts: list[Entries]) -> Entries:
    fields = [field.name for field in dataclasses.fields(Entries)]
    return Entries(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def _sorted_in_memory(first: Entries, blocks: Iterator[Entries], path: str) -> Iterator[Entries]:
    log.detail(f"{path}: the documents are not in order; all entries are sorted in memory")
    entries = _joined([first, *blocks])
    order = np.argsort(entries.documents, kind="stable")
    for start in range(0, len(order), _BLOCK_ENTRIES):
        chosen = order[start : start + _BLOCK_ENTRIES]
        yield Entries(*(getattr(entries, field.name)[chosen] for field in dataclasses.fields(entries)))


def _batch(entries: Entries, path: str, ledger: Ledger) -> Iterator[CountBatch]:
    starts = np.flatnonzero(np.r_[True, np.diff(entries.documents) != 0])
    indptr = np.r_[starts, len(entries.documents)]
    numbers, lines = entries.documents[starts], entries.lines[starts]
    yield from count_batch(indptr, entries.terms - 1, entries.counts, numbers, lines, path, ledger)
