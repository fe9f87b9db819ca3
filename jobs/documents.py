"""Documents on executors: what one split of a source becomes, in pure steps over a batch at a time.

A batch has words of its own, numbered as they appear in it: nothing needs the words of other batches until the whole
vocabulary is known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tdtool.config import TokenConfig
from tdtool.data import tokeniser
from tdtool.data.batches import CountBatch, TextBatch
from tdtool.data.document_ids import encoded_names, has_one_of, name_keys
from tdtool.data.ingest import Counted, check_counts
from tdtool.data.ledger import Ledger
from tdtool.data.readers.splits import Split, SplitPlan, read_split
from tdtool.data.vocabulary import WordTable
from tdtool.jobs.vocabulary import PackedWords, WordCounts, merged, used_words


@dataclasses.dataclass(frozen=True)
class Names:
    """Names of D documents, and where they are: their bytes, the end of each, (D,) int64, their lines; path : the file.

    A line of 0 is a whole file.
    """

    data: bytes
    ends: NDArray[np.int64]
    lines: NDArray[np.int64]
    path: str

    @classmethod
    def of(cls, batch: TextBatch | CountBatch) -> Names:
        """Those of a batch."""
        encoded = encoded_names(batch.ids)
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), dtype=np.int64)
        return cls(b"".join(encoded), ends, np.asarray(batch.lines, np.int64), batch.path)

    def encoded(self) -> list[bytes]:
        """The names as bytes."""
        return [self.data[start:end] for start, end in pairwise([0, *self.ends.tolist()])]

    def texts(self) -> list[str]:
        """The names."""
        return [name.decode("utf-8") for name in self.encoded()]

    def place(self, row: int) -> tuple[str, int | None]:
        """File and line of a document; no line where it is a whole file."""
        if self.lines[row]:
            return self.path, int(self.lines[row])
        start = int(self.ends[row - 1]) if row else 0
        return f"{self.path}/{self.data[start : int(self.ends[row])].decode('utf-8')}", None


@dataclasses.dataclass(frozen=True)
class CountedDocuments:
    """Sparse counts of D documents: indptr (D + 1,) int64; indices (nnz,) int32 into `words`; counts of any width."""

    words: WordCounts
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    counts: NDArray[np.integer]
    names: Names


@dataclasses.dataclass(frozen=True)
class ReadDocuments:
    """Words of D documents in reading order, for phrases: tokens (n_tokens,) int32, -1 for none; ends (D,) int64."""

    words: WordCounts
    tokens: NDArray[np.int32]
    ends: NDArray[np.int64]
    names: Names


Documents: TypeAlias = CountedDocuments | ReadDocuments
#: What a split becomes: its documents, and last its ledger.
Record: TypeAlias = Documents | Ledger


@dataclasses.dataclass(frozen=True)
class SplitFacts:
    """What the driver hears of a split: keys (D,) uint64, of the names; words : where they are few enough to send."""

    ledger: Ledger
    keys: NDArray[np.uint64]
    words: WordCounts | None


def read_documents(
    splits: Iterable[Split], plan: SplitPlan, vocabulary: PackedWords, config: TokenConfig
) -> Iterator[Record]:
    """Read splits, find the words of their documents, and count them unless phrases come first.

    vocabulary : the terms of a source of counts; may have one twice.
    """
    terms = WordTable()
    numbers = vocabulary.numbers(terms, enter=True)
    for split in splits:
        yield from _read_split(split, plan, (terms, numbers), config)


def _read_split(
    split: Split, plan: SplitPlan, known: tuple[WordTable, NDArray[np.int32]], config: TokenConfig
) -> Iterator[Record]:
    terms, numbers = known
    ledger = Ledger()
    for batch in read_split(plan, split, ledger):
        if isinstance(batch, CountBatch):
            check_counts(batch)
            counts = batch.counts.astype(np.int32)
            yield _compact(terms, (batch.indptr, numbers[batch.indices], counts), Names.of(batch))
            continue
        found = tokeniser.tokenise(batch, config)
        for name, amount in found.tally.items():
            ledger.count(name, amount)
        if config.ngrams == 1:
            yield counted_documents(found.words, found.counts(), Names.of(batch))
        else:
            yield read_in_order(found.words, found.tokens, found.ends, Names.of(batch))
    yield ledger


def counted_documents(table: WordTable, counted: Counted, names: Names) -> CountedDocuments:
    """Documents whose words are numbers of a table."""
    indptr, indices, counts = counted
    words = used_words(table, indices, counts)
    small = counts.astype(np.min_scalar_type(int(counts.max()))) if counts.size else counts
    return CountedDocuments(words, indptr, indices, small, names)


def read_in_order(table: WordTable, tokens: NDArray[np.int32], ends: NDArray[np.int64], names: Names) -> ReadDocuments:
    """Documents whose words in reading order are numbers of a table."""
    uses = np.bincount(tokens[tokens >= 0], minlength=table.size).astype(np.int64)
    words = WordCounts(PackedWords.of_table(table), np.zeros(table.size, np.int64), uses)
    return ReadDocuments(words, tokens, ends, names)


def documents_in(records: Iterable[Record]) -> Iterator[Documents]:
    """The records without the ledger."""
    return (record for record in records if not isinstance(record, Ledger))


def counted_in(records: Iterable[Record]) -> Iterator[CountedDocuments]:
    """The counted documents of a split."""
    return (record for record in records if isinstance(record, CountedDocuments))


def split_facts(records: Iterable[Record], *, with_words: bool) -> Iterator[SplitFacts]:
    """What the driver hears of a split."""
    ledger, keys, words = Ledger(), [np.empty(0, np.uint64)], []
    for record in records:
        if isinstance(record, Ledger):
            ledger.merge(record)
        else:
            keys.append(name_keys(record.names.encoded()))
            words.append(record.words)
    yield SplitFacts(ledger, np.concatenate(keys), merged(words) if with_words else None)


def word_shares(records: Iterable[Record], n_shares: int) -> Iterator[tuple[int, WordCounts]]:
    """(share, the words of a split that belong to it)."""
    return enumerate(merged(record.words for record in documents_in(records)).split(n_shares))


@dataclasses.dataclass(frozen=True)
class Suspect:
    """A document whose name others may have. document : its number in the split; place : path, or path:line."""

    document: int
    name: str
    place: str


def suspects_in(records: Iterable[Record], wanted: NDArray[np.uint64]) -> Iterator[Suspect]:
    """The documents of a split whose names have one of the keys. wanted : ascending."""
    position = 0
    for record in documents_in(records):
        encoded = record.names.encoded()
        for row in np.flatnonzero(has_one_of(name_keys(encoded), wanted)).tolist():
            path, line = record.names.place(row)
            place = path if line is None else f"{path}:{line}"
            yield Suspect(position + row, encoded[row].decode("utf-8"), place)
        position += len(encoded)


def _compact(terms: WordTable, counted: Counted, names: Names) -> CountedDocuments:
    """Counted documents with the words that they use, of all those of the source."""
    indptr, indices, counts = counted
    used = np.zeros(terms.size, bool)
    used[indices] = True
    places = np.cumsum(used, dtype=np.int32) - np.int32(1)
    table = PackedWords.of_table(terms).taken(used).table()
    return counted_documents(table, (indptr, places[indices], counts), names)
