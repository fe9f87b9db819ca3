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
class _Entries:
    """Entries in the order of the file. documents, terms : numbered from 1."""

    documents: NDArray[np.int64]
    terms: NDArray[np.int64]
    counts: NDArray[np.int64]
    lines: NDArray[np.int64]

    def part(self, start: int | None, stop: int | None) -> _Entries:
        return _Entries(*(getattr(self, field.name)[start:stop] for field in dataclasses.fields(self)))


def triple_batches(stream: ByteStream, header: Header, path: str, ledger: Ledger) -> Iterator[CountBatch]:
    """The documents of a stream that stands behind its header. Checks every number against the header.

    Documents must be in order; a file of which the first block is not (sorted by term, say) is sorted in memory.
    """
    blocks = _checked_blocks(stream, header, path)
    carried, following, n_read, n_filled = next(blocks, None), 1, 0, 0
    if carried is not None and not _in_order(carried):
        blocks = _sorted_in_memory(carried, blocks, path)
        carried = next(blocks)
    while carried is not None:
        n_read = n_read + len(carried.documents)
        last = int(carried.documents[-1])
        block = next(blocks, None)
        stop = len(carried.documents) if block is None else int(np.searchsorted(carried.documents, last))
        if stop:
            batch_entries = carried.part(None, stop)
            n_filled += _skip_missing(batch_entries, following, header, n_filled, path, ledger)
            following = int(batch_entries.documents[-1]) + 1
            yield from _batch(batch_entries, path, ledger)
        if block is None:
            break
        n_read -= len(carried.documents) - stop
        carried = _joined([carried.part(stop, None), block])
        _refuse_disorder(carried, path)
    _check_end(header, n_read, following, n_filled, path, ledger)


def _checked_blocks(stream: ByteStream, header: Header, path: str) -> Iterator[_Entries]:
    """Parsed entries, each number within what the header says."""
    n_read = 0
    for buffer, line in whole_lines(stream, path, header.line + 1):
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
            yield _Entries(documents, terms, counts, lines)


def _in_order(entries: _Entries) -> bool:
    return bool((np.diff(entries.documents) >= 0).all())


def _refuse_disorder(entries: _Entries, path: str) -> None:
    bad = np.flatnonzero(np.diff(entries.documents) < 0)
    if len(bad):
        at = int(bad[0]) + 1
        raise InputError(
            f"document {int(entries.documents[at]):,} comes after document {int(entries.documents[at - 1]):,}",
            path=path,
            line=int(entries.lines[at]),
            hint="sort the entries by document",
        )


def _joined(parts: list[_Entries]) -> _Entries:
    fields = [field.name for field in dataclasses.fields(_Entries)]
    return _Entries(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def _sorted_in_memory(first: _Entries, blocks: Iterator[_Entries], path: str) -> Iterator[_Entries]:
    log.detail(f"{path}: the documents are not in order; all entries are sorted in memory")
    entries = _joined([first, *blocks])
    order = np.argsort(entries.documents, kind="stable")
    for start in range(0, len(order), _BLOCK_ENTRIES):
        chosen = order[start : start + _BLOCK_ENTRIES]
        yield _Entries(*(getattr(entries, field.name)[chosen] for field in dataclasses.fields(entries)))


def _skip_missing(entries: _Entries, following: int, header: Header, n_filled: int, path: str, ledger: Ledger) -> int:
    """Note the documents without entries among and before these; returns how many have some."""
    last, n_present = int(entries.documents[-1]), 1 + int(np.count_nonzero(np.diff(entries.documents)))
    _refuse_void(last - n_filled - n_present, n_filled + n_present, header, path)
    for _ in range(last - following + 1 - n_present):
        ledger.skip(EMPTY, path)
    return n_present


def _refuse_void(n_missing: int, n_filled: int, header: Header, path: str) -> None:
    if n_missing > _EMPTY_ALLOWED + 10 * n_filled:
        raise InputError(
            f"the header speaks of {header.n_documents:,} documents, of which {n_missing:,} have no entry",
            path=path,
            line=header.line,
        )


def _batch(entries: _Entries, path: str, ledger: Ledger) -> Iterator[CountBatch]:
    starts = np.flatnonzero(np.r_[True, np.diff(entries.documents) != 0])
    indptr = np.r_[starts, len(entries.documents)]
    numbers, lines = entries.documents[starts], entries.lines[starts]
    yield from count_batch(indptr, entries.terms - 1, entries.counts, numbers, lines, path, ledger)


def _check_end(header: Header, n_read: int, following: int, n_filled: int, path: str, ledger: Ledger) -> None:
    """At the end of the file: does the header fit?"""
    if n_read != header.n_entries:
        raise InputError(
            f"the header promises {header.n_entries:,} entries and there are {n_read:,}",
            path=path,
            line=header.line,
            hint="the file is incomplete, or its header is wrong",
        )
    missing = header.n_documents - following + 1
    _refuse_void(header.n_documents - n_filled, n_filled, header, path)
    for _ in range(missing):
        ledger.skip(EMPTY, path)
