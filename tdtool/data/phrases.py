"""Phrases: neighbouring words that belong together become one term, "new_york".

Two words are neighbours when nothing but separators stands between them in one document. Stop words, words left out for
their length, numbers and Chinese or Japanese words take no part and are never skipped over. A pair is a phrase when it
is used at least `LEAST_COUNT` times and its normalised pointwise mutual information, log(p(ab)/p(a)p(b)) / -log p(ab),
is at least 1/2. Phrases are joined from left to right; those of three words by a second round over the result.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.data.spill import Piece, Spill
from tdtool.data.stop_words import StopWords
from tdtool.data.vocabulary import Vocabulary, WordTable
from tdtool.kernels.pairs_cpu import count_pairs, insert_pairs, join_pairs

LEAST_COUNT = 10
#: Between the words of a phrase; the tokeniser never leaves one inside a word.
JOINT = "_"
#: Different pairs that are counted at a time; where a text has more, it is gone through several times.
_MOST_PAIRS = 1 << 22


class Stream(NamedTuple):
    """Words of D_b documents in reading order: tokens (n_tokens,) int32, -1 for none; ends (D_b,) int64; put aside."""

    tokens: Piece
    ends: Piece


class PairTable:
    """Pairs of words with a number each. keys, values : (power of two,) int64, see kernels.pairs_cpu."""

    def __init__(self) -> None:
        self.size = 0
        self.keys: NDArray[np.int64] = np.zeros(1 << 10, np.int64)
        self.values: NDArray[np.int64] = np.zeros(1 << 10, np.int64)

    def reserve(self, n_pairs: int) -> None:
        """Make room for so many more pairs."""
        if 2 * (self.size + n_pairs) > self.keys.size:
            self._rebuild(self.keys, self.values, n_pairs)

    def keep(self, share: int, n_shares: int) -> None:
        """Forget the pairs of other shares, see share_of."""
        kept = (self.keys != 0) & (share_of(self.keys, n_shares) == share)
        self._rebuild(self.keys[kept], self.values[kept], 0)

    def items(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """First words, second words, values : (n,) int64 each, in ascending order of the words' numbers."""
        keys = self.keys[self.keys != 0]
        order = np.argsort(keys)
        return keys[order] >> 32, keys[order] & 0xFFFFFFFF, self.values[self.keys != 0][order]

    def add(self, first: NDArray[np.int64], second: NDArray[np.int64], values: NDArray[np.int64]) -> None:
        """Enter distinct new pairs. A term with itself is left out: it is no phrase, wherever phrases come from."""
        phrases = first != second
        first, second, values = first[phrases], second[phrases], values[phrases]
        self.reserve(first.size)
        insert_pairs((first.astype(np.int64) << 32) + second, values.astype(np.int64), self.keys, self.values)
        self.size += first.size

    def _rebuild(self, keys: NDArray[np.int64], values: NDArray[np.int64], n_more: int) -> None:
        self.size = int(np.count_nonzero(keys))
        room = 1 << (2 * (self.size + n_more) + 1).bit_length()
        self.keys, self.values = np.zeros(room, np.int64), np.zeros(room, np.int64)
        insert_pairs(keys, values, self.keys, self.values)


def find_phrases(
    streams: list[Stream], vocabulary: Vocabulary, spill: Spill, stop: StopWords, ngrams: int
) -> list[Stream]:
    """Join the phrases of up to `ngrams` words that the text itself shows; their terms are added to the vocabulary."""
    n_words = words_taking_part(vocabulary, stop)
    for length in range(2, ngrams + 1):
        uses = totals(streams, vocabulary.size, spill)
        often = np.where(uses >= LEAST_COUNT, n_words, 0).astype(np.uint8)
        first, second = chosen(*_count(streams, often, length, spill), uses, int(uses.sum()))
        words = vocabulary.words()
        added = vocabulary.add([f"{words[a]}{JOINT}{words[b]}" for a, b in zip(first, second, strict=True)])
        log.detail(f"{first.size:,} phrases of {length} words")
        n_words = np.concatenate([n_words, np.full(vocabulary.size - n_words.size, length, np.uint8)])
        streams = _joined(streams, np.stack([first, second, added]).astype(np.int64), spill)
    return streams


def known_phrases(streams: list[Stream], vocabulary: Vocabulary, spill: Spill, ngrams: int) -> list[Stream]:
    """Join the phrases that a fixed vocabulary has. Parts that it lacks are added to it, after its own words."""
    for ways in known_ways(vocabulary.words(), ngrams):
        numbers = vocabulary.add([word for way in ways for word in way])
        streams = _joined(streams, numbers.astype(np.int64).reshape(-1, 3).T, spill)
    return streams


#: First word, second word, and the phrase that takes their place.
Way: TypeAlias = tuple[str, str, str]


def known_ways(words: list[str], ngrams: int) -> list[list[Way]]:
    """How the phrases among the words come about, first those of one round, then those of a second one."""
    known = [tuple(word.split(JOINT)) for word in words]
    pairs = [parts for parts in known if len(parts) == 2]
    triples = [parts for parts in known if len(parts) == 3]
    halves = set(pairs)
    pairs += sorted({t[:2] for t in triples if t[:2] not in halves and t[1:] not in halves})
    rounds: list[list[Way]] = [[(pair[0], pair[1], JOINT.join(pair)) for pair in pairs]]
    if ngrams >= 3:
        ways = [(JOINT.join(t[:2]), t[2], JOINT.join(t)) for t in triples]
        rounds.append(ways + [(t[0], JOINT.join(t[1:]), JOINT.join(t)) for t in triples])
    return rounds


def words_taking_part(vocabulary: WordTable, stop: StopWords) -> NDArray[np.uint8]:
    """(V,) uint8: 1 for a word that phrases may have, 0 for a stop word and for numbers."""
    n_words = np.ones(vocabulary.size, np.uint8)
    numbers = vocabulary.find(sorted(stop.words | {"#"}))
    n_words[numbers[numbers >= 0]] = 0
    return n_words


def totals(streams: list[Stream], n_terms: int, spill: Spill) -> NDArray[np.int64]:
    """How often each term is used: (V,) int64."""
    uses = np.zeros(n_terms, np.int64)
    for stream in streams:
        tokens = spill.get(stream.tokens)
        uses += np.bincount(tokens[tokens >= 0], minlength=n_terms)
    return uses


def share_of(keys: NDArray[np.int64], n_shares: int) -> NDArray[np.int64]:
    """Which share a pair belongs to: (n,) int64, 0 ... n_shares - 1, whatever other pairs there are."""
    mixed = (keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    return (mixed % np.uint64(n_shares)).astype(np.int64)


def _count(
    streams: list[Stream], n_words: NDArray[np.uint8], length: int, spill: Spill
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The pairs used often enough, as of PairTable.items. Where pairs are too many, they are counted share by share."""
    found = []
    waiting = [(0, 1)]
    while waiting:
        share, n_shares = waiting.pop()
        pairs = PairTable()
        with log.task(f"phrases of {length} words", total=len(streams)) as bar:
            for stream in streams:
                tokens, ends = spill.get(stream.tokens), spill.get(stream.ends)
                pairs.reserve(tokens.size)
                pairs.size += int(count_pairs(tokens, ends, n_words, length, pairs.keys, pairs.values))
                if n_shares > 1:
                    pairs.keep(share, n_shares)
                while pairs.size > _MOST_PAIRS:
                    waiting.append((share + n_shares, 2 * n_shares))
                    n_shares *= 2
                    pairs.keep(share, n_shares)
                bar.advance()
        first, second, counts = pairs.items()
        found.append(np.stack([first, second, counts])[:, counts >= LEAST_COUNT])
    first, second, counts = np.concatenate(found, axis=1)
    order = np.lexsort((second, first))
    return first[order], second[order], counts[order]


def chosen(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    counts: NDArray[np.int64],
    uses: NDArray[np.int64],
    n_tokens: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The words of the pairs that are phrases: (n,) int64 each. uses : (V,) int64; n_tokens : uses of all words.

    In counts and without rounding: NPMI >= 1/2 is count(ab)^3 * tokens >= (count(a) * count(b))^2.
    """
    enough = counts >= LEAST_COUNT
    first, second, counts = first[enough], second[enough], counts[enough]
    each = zip(counts.tolist(), uses[first].tolist(), uses[second].tolist(), strict=True)
    is_phrase = np.array([both**3 * n_tokens >= (a * b) ** 2 for both, a, b in each], bool)
    return first[is_phrase], second[is_phrase]


def _joined(streams: list[Stream], pairs: NDArray[np.int64], spill: Spill) -> list[Stream]:
    """The streams with pairs replaced. pairs : (3, n) int64, first word, second word, what replaces them."""
    if not pairs.size:
        return streams
    table = PairTable()
    table.add(*pairs)
    result = []
    for stream in streams:
        tokens, ends = spill.get(stream.tokens), spill.get(stream.ends)
        joined, joined_ends = np.empty(tokens.size, np.int32), np.empty(ends.size, np.int64)
        size = join_pairs(tokens, ends, table.keys, table.values, joined, joined_ends)
        result.append(Stream(spill.put(joined[:size]), spill.put(joined_ends)))
    return result
