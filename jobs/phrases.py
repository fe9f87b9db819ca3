"""Phrases on executors: pairs are counted split by split, added up by shares, and joined in every batch by name."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.data import tokeniser
from tdtool.data.phrases import JOINT, LEAST_COUNT, PairTable, Way, chosen, share_of, words_taking_part
from tdtool.data.stop_words import StopWords
from tdtool.data.vocabulary import WordTable
from tdtool.jobs.documents import ReadDocuments, Record, counted_documents, documents_in, read_in_order
from tdtool.jobs.vocabulary import PackedWords, WordCounts
from tdtool.kernels.pairs_cpu import count_pairs, join_pairs

if TYPE_CHECKING:
    from pyspark import RDD

    from tdtool.jobs.gathering import Gathering

    Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Words that may be part of a phrase of `length` words. n_words : (n,) uint8, of which each consists itself;
    uses : (n,) int64; n_tokens : uses of all words, of these and others.
    """

    words: PackedWords
    n_words: NDArray[np.uint8]
    uses: NDArray[np.int64]
    n_tokens: int
    length: int


@dataclasses.dataclass(frozen=True)
class Ways:
    """First words, second words, and what takes their place: n of each."""

    first: PackedWords
    second: PackedWords
    joined: PackedWords

    @classmethod
    def of(cls, ways: list[Way]) -> Ways:
        """From the words themselves."""
        return cls(*(PackedWords.of([way[part] for way in ways]) for part in range(3)))


def pair_shares(records: Iterable[Record], candidates: Candidates, n_shares: int) -> Iterator[tuple[int, Pairs]]:
    """(share, keys and counts of the pairs of candidates that belong to it) of one split: (n,) int64 each."""
    table = candidates.words.table()
    pairs = PairTable()
    for record in _in_order(records):
        numbers = np.append(record.words.words.numbers(table), np.int32(-1))  # -1, no word, stays -1
        tokens = numbers[record.tokens]
        pairs.reserve(tokens.size)
        new = count_pairs(tokens, record.ends, candidates.n_words, candidates.length, pairs.keys, pairs.values)
        pairs.size += int(new)
    keys, counts = pairs.keys[pairs.keys != 0], pairs.values[pairs.keys != 0]
    shares = share_of(keys, n_shares)
    for share in range(n_shares):
        yield share, (keys[shares == share], counts[shares == share])


def phrases_of(parts: Iterable[tuple[int, Pairs]], candidates: Candidates) -> Iterator[NDArray[np.int64]]:
    """The pairs of a share that are phrases: one array (2, n) int64, numbers of candidates. parts : of all splits."""
    both = [pairs for _, pairs in parts]
    keys = np.concatenate([np.empty(0, np.int64), *(keys for keys, _ in both)])
    counts = np.concatenate([np.empty(0, np.int64), *(counts for _, counts in both)])
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    begins = np.flatnonzero(np.diff(keys, prepend=-1))
    totals = np.add.reduceat(counts, begins) if begins.size else counts
    distinct = keys[begins]
    yield np.stack(chosen(distinct >> 32, distinct & 0xFFFFFFFF, totals, candidates.uses, candidates.n_tokens))


def joined_records(records: Iterable[Record], rounds: list[Ways]) -> Iterator[Record]:
    """The records of a split with phrases in place of their words, round after round; still in reading order."""
    for record in records:
        if isinstance(record, ReadDocuments):
            yield read_in_order(*_joined(record, rounds), record.names)
        else:
            yield record


def counted_records(records: Iterable[Record], rounds: list[Ways]) -> Iterator[Record]:
    """The same, counted."""
    for record in records:
        if isinstance(record, ReadDocuments):
            table, tokens, ends = _joined(record, rounds)
            counted = tokeniser.count_documents(tokens, ends, table.size)
            yield counted_documents(table, counted, record.names)
        else:
            yield record


def find_phrases(
    gathering: Gathering, records: RDD[Record], words: WordCounts, stop: StopWords, ngrams: int
) -> list[Ways]:
    """The phrases that the text itself shows, a round for each length. words : all of them with their uses."""
    table = words.words.table()
    n_words = words_taking_part(table, stop)
    rounds: list[Ways] = []
    for length in range(2, ngrams + 1):
        if rounds:
            joined = gathering.mapped(records, functools.partial(joined_records, rounds=rounds))
            words = gathering.words(joined)
        uses = np.zeros(table.size, np.int64)
        uses[words.words.numbers(table)] = words.count
        often = (uses >= LEAST_COUNT) & (n_words > 0)
        candidates = Candidates(
            PackedWords.of_table(table).taken(often), n_words[often], uses[often], int(uses.sum()), length
        )
        ways = _new_ways(candidates, _pairs_found(gathering, records, rounds, candidates))
        log.detail(f"{len(ways):,} phrases of {length} words")
        table.add([way[2] for way in ways])
        n_words = np.concatenate([n_words, np.full(table.size - n_words.size, length, np.uint8)])
        rounds = [*rounds, Ways.of(ways)]
    return rounds


def _pairs_found(
    gathering: Gathering, records: RDD[Record], rounds: list[Ways], candidates: Candidates
) -> NDArray[np.int64]:
    """(2, n) int64, numbers of candidates."""
    about = f"phrases of {candidates.length} words"
    if rounds:
        records = gathering.mapped(records, functools.partial(joined_records, rounds=rounds))
    found = gathering.reduced(records, pair_shares, phrases_of, candidates, about)
    return np.concatenate([np.empty((2, 0), np.int64), *found], axis=1)


def _new_ways(candidates: Candidates, pairs: NDArray[np.int64]) -> list[Way]:
    words = candidates.words.table().words()
    return [(words[a], words[b], f"{words[a]}{JOINT}{words[b]}") for a, b in pairs.T.tolist()]


def _in_order(records: Iterable[Record]) -> Iterator[ReadDocuments]:
    return (record for record in documents_in(records) if isinstance(record, ReadDocuments))


def _joined(record: ReadDocuments, rounds: list[Ways]) -> tuple[WordTable, NDArray[np.int32], NDArray[np.int64]]:
    """A batch's words, and its words in reading order, after all rounds."""
    table, tokens, ends = record.words.words.table(), record.tokens, record.ends
    for ways in rounds:
        first, second = ways.first.numbers(table), ways.second.numbers(table)
        here = (first >= 0) & (second >= 0)
        joined = ways.joined.taken(here).numbers(table, enter=True)
        pairs = PairTable()
        pairs.add(first[here].astype(np.int64), second[here].astype(np.int64), joined.astype(np.int64))
        new, new_ends = np.empty(tokens.size, np.int32), np.empty(ends.size, np.int64)
        size = join_pairs(tokens, ends, pairs.keys, pairs.values, new, new_ends)
        tokens, ends = new[:size], new_ends
    return table, tokens, ends
