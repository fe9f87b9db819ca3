"""Corpora that are exactly latent Dirichlet allocation, in memory, with the topics that made them."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclasses.dataclass(frozen=True)
class PlantedLda:
    """A corpus of D documents over V words, and the T topics it was drawn from.

    document_term : (D, V) int32 CSR; topic_word : (T, V) float64 and document_topic : (D, T) float64, rows sum to 1;
    alpha : (T,) float64, the Dirichlet parameters of the rows of document_topic.
    """

    document_term: sparse.csr_array
    topic_word: NDArray[np.float64]
    document_topic: NDArray[np.float64]
    alpha: NDArray[np.float64]


def planted_lda(
    n_documents: int,
    n_terms: int,
    n_topics: int,
    *,
    alpha0: float,
    mean_length: float,
    topic_concentration: float = 0.05,
    rng: np.random.Generator,
) -> PlantedLda:
    """Topics ~ Dirichlet(topic_concentration) over the words, documents ~ Dirichlet(alpha0 / n_topics) over the topics.

    Lengths are Poisson(mean_length), so documents can be empty where that is small.
    """
    topic_word = rng.dirichlet(np.full(n_terms, topic_concentration), size=n_topics)
    alpha = np.full(n_topics, alpha0 / n_topics)
    document_topic = rng.dirichlet(alpha, size=n_documents)
    lengths = rng.poisson(mean_length, size=n_documents)
    document_term = draw_counts(document_topic, lengths, cumulative_rows(topic_word), rng)
    return PlantedLda(document_term, topic_word, document_topic, alpha)


def cumulative_rows(topic_word: NDArray[np.float64]) -> NDArray[np.float64]:
    """topic_word : (T, V) non-negative, any scale -> (T, V) cumulative distributions that end at exactly 1."""
    cumulative = np.empty(topic_word.shape)
    for row, probabilities in zip(cumulative, topic_word, strict=True):
        np.cumsum(probabilities, out=row)
        row /= row[-1]
    return cumulative


def draw_counts(
    document_topic: NDArray[np.float64],
    lengths: NDArray[np.int64],
    cumulative: NDArray[np.float64],
    rng: np.random.Generator,
) -> sparse.csr_array:
    """Draw lengths[d] words for each document d; returns (D, V) int32 counts.

    document_topic : (D, T), rows sum to 1; lengths : (D,); cumulative : (T, V), from cumulative_rows.
    """
    n_documents, n_terms = lengths.size, cumulative.shape[1]
    per_topic = rng.multinomial(lengths, document_topic)
    documents = [np.repeat(np.arange(n_documents, dtype=np.int32), column) for column in per_topic.T]
    words = [
        np.searchsorted(row, rng.random(owners.size), side="right").astype(np.int32)
        for row, owners in zip(cumulative, documents, strict=True)
    ]
    place = np.concatenate(documents), np.concatenate(words)
    tokens = sparse.coo_array((np.ones(place[0].size, np.int32), place), shape=(n_documents, n_terms))
    counts = tokens.tocsr()
    counts.sort_indices()
    return counts
