"""Planted corpora of any size, made block by block: memory stays the same however long the corpus is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tdtool.data.planted_lda import cumulative_rows, draw_counts

#: Words are made of these: pronounceable, and none of them is an English stop word (there is no "e" in them).
_SYLLABLES = tuple(consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aiou")
#: Zipf-Mandelbrot law of the words, flattened at the top as when stop words are gone.
_ZIPF_EXPONENT, _ZIPF_OFFSET = 1.1, 50.0
#: Topics are Dirichlet about that law, with this parameter for a word on average: common words are shared, others
#: belong to few topics. A small part of every topic is the law itself, so that every word turns up somewhere.
_TOPIC_CONCENTRATION, _LEAST_CONCENTRATION, _SHARED = 0.002, 10.0, 0.1
#: Lengths are Poisson about a Gamma of this shape (abstracts vary more than Poisson).
_LENGTH_SHAPE = 4.0
#: What a generator is for, so that no two draws share numbers.
_TOPICS, _COUNTS, _ORDER = range(3)


class ByteSink(Protocol):
    """A file open for writing bytes, compressed or not."""

    def write(self, data: bytes, /) -> int: ...


@dataclasses.dataclass(frozen=True)
class PlantedStream:
    """D documents over V words from T topics; iterate over it, or ask for any block, as often as you like.

    cumulative : (T, V) float64, cumulative topic-word distributions; alpha : (T,) float64.
    A corpus with fewer documents is the beginning of a longer one with the same seed.
    """

    n_documents: int
    mean_length: float
    alpha: NDArray[np.float64]
    cumulative: NDArray[np.float64]
    seed: int
    block_size: int

    @property
    def n_terms(self) -> int:
        """V."""
        return self.cumulative.shape[1]

    @property
    def n_blocks(self) -> int:
        """Blocks of `block_size` documents; the last may be shorter."""
        return -(-self.n_documents // self.block_size)

    @property
    def topic_word(self) -> NDArray[np.float64]:
        """(T, V) float64, rows sum to 1."""
        return np.diff(self.cumulative, axis=1, prepend=0.0)

    def block(self, index: int) -> sparse.csr_array:
        """Documents index * block_size onwards as (D_b, V) int32 counts: a function of the seed and the index alone."""
        rng = _generator(self.seed, _COUNTS, index)
        document_topic = rng.dirichlet(self.alpha, size=self.block_size)
        means = self.mean_length / _LENGTH_SHAPE * rng.standard_gamma(_LENGTH_SHAPE, size=self.block_size)
        lengths = np.maximum(rng.poisson(means), 1)
        counts = draw_counts(document_topic, lengths, self.cumulative, rng)
        return counts[: min(self.block_size, self.n_documents - index * self.block_size)]

    def __iter__(self) -> Iterator[sparse.csr_array]:
        return (self.block(index) for index in range(self.n_blocks))


def planted_stream(
    n_documents: int = 8_200_000,
    n_terms: int = 141_043,
    n_topics: int = 100,
    *,
    mean_length: float = 89.0,
    alpha0: float = 1.0,
    seed: int = 0,
    block_size: int = 10_000,
) -> PlantedStream:
    """A corpus like the UCI bag of words of PubMed abstracts unless told otherwise: Zipf-like words, sparse topics."""
    rng = _generator(seed, _TOPICS, 0)
    zipf = (np.arange(n_terms) + _ZIPF_OFFSET) ** -_ZIPF_EXPONENT
    zipf /= zipf.sum()
    concentration = max(_TOPIC_CONCENTRATION * n_terms, _LEAST_CONCENTRATION)
    topic_word = np.empty((n_topics, n_terms))
    for row in topic_word:
        own = rng.standard_gamma(zipf * concentration)
        row[:] = (1 - _SHARED) * own / own.sum() + _SHARED * zipf
    alpha = np.full(n_topics, alpha0 / n_topics)
    return PlantedStream(n_documents, mean_length, alpha, cumulative_rows(topic_word), seed, block_size)


def planted_vocabulary(n_terms: int) -> list[str]:
    """n_terms different pronounceable ASCII words, short ones first ("baba", "babi", ...)."""
    words: list[str] = []
    stems = [""]
    while len(words) < n_terms:
        stems = [stem + syllable for stem in stems for syllable in _SYLLABLES]
        words += stems if len(stems[0]) > 2 else []
    return words[:n_terms]


def write_uci(stream: PlantedStream, file: ByteSink) -> None:
    """Write the counts as a UCI docword file. Its header holds the number of entries, so blocks are made twice."""
    n_entries = sum(block.nnz for block in stream)
    file.write(f"{stream.n_documents}\n{stream.n_terms}\n{n_entries}\n".encode())
    for index, block in enumerate(stream):
        first = index * stream.block_size + 1
        documents = np.repeat(np.arange(first, first + block.shape[0]), np.diff(block.indptr))
        file.write(_decimal_lines(np.column_stack([documents, block.indices + 1, block.data])))


def write_lines(stream: PlantedStream, file: ByteSink) -> None:
    """Write one document a line, its words in random order, as ASCII text."""
    vocabulary = np.array(planted_vocabulary(stream.n_terms), dtype=object)
    for index, block in enumerate(stream):
        rng = _generator(stream.seed, _ORDER, index)
        documents = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        owners, tokens = np.repeat(documents, block.data), np.repeat(block.indices, block.data)
        words = vocabulary[tokens[np.argsort(owners + rng.random(tokens.size))]].tolist()
        ends = np.cumsum(np.bincount(owners, minlength=block.shape[0])).tolist()
        lines = [" ".join(words[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
        file.write(("\n".join(lines) + "\n").encode("ascii"))


def _generator(seed: int, purpose: int, index: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, index)))


def _decimal_lines(values: NDArray[np.int64]) -> bytes:
    """values : (n, m) integers >= 0 -> n lines of m numbers with a blank between them."""
    width = len(str(values.max(initial=0)))
    text = np.empty((*values.shape, width + 1), np.uint8)
    keep = np.ones(text.shape, bool)
    left = values
    for place in range(width - 1, -1, -1):
        text[:, :, place] = left % 10 + ord("0")
        keep[:, :, place] = (left > 0) | (place == width - 1)
        left = left // 10
    text[:, :, width] = ord(" ")
    text[:, -1, width] = ord("\n")
    return text[keep].tobytes()
