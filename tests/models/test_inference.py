"""A document's topics: against a slow twin, alone or among others, whole counts or not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from tdtool.data.corpus import Corpus
from tdtool.models.inference import document_topic, expected_counts, split_counts
from tests import oracles

ALPHA = np.array([0.4, 0.1, 0.2], np.float32)


@pytest.fixture
def word_topic(rng: np.random.Generator) -> NDArray[np.float32]:
    return np.ascontiguousarray(rng.dirichlet(np.full(7, 0.5), 3).T + 1e-3, np.float32)


def topics_of(corpus: Corpus, word_topic: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([document_topic(corpus.rows(i), word_topic, ALPHA) for i in range(corpus.n_partitions)])


@pytest.mark.parametrize("factor", [1.0, 0.35])
def test_document_topic(tiny_corpus: Corpus, word_topic: NDArray[np.float32], factor: float) -> None:
    corpus = dataclasses.replace(tiny_corpus, counts=tiny_corpus.counts * np.float32(factor))
    found = topics_of(corpus, word_topic)
    counts = tiny_corpus.matrix().toarray() * factor
    expected = oracles.topics_of_documents(counts, word_topic.astype(float), ALPHA.astype(float))
    np.testing.assert_allclose(found, expected, atol=0.02)  # stopped at 1e-3 of the length, a little before the end
    assert np.abs(found - expected).mean() < 2e-3
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    assert found.dtype == np.float32


def test_a_document_without_words_has_the_prior(tiny_corpus: Corpus, word_topic: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(topics_of(tiny_corpus, word_topic)[3], ALPHA / ALPHA.sum(), rtol=1e-6)


def test_a_document_s_topics_depend_on_it_alone(tiny_corpus: Corpus, word_topic: NDArray[np.float32]) -> None:
    """To the bit: whatever the partitions, the order and the other documents."""
    together = topics_of(tiny_corpus, word_topic)
    order = np.random.default_rng(1).permutation(23)[:15]
    others = Corpus.from_csr(sp.csr_array(tiny_corpus.matrix().toarray()[order]))
    assert np.array_equal(topics_of(others, word_topic), together[order])


def test_expected_counts_share_out_the_words(tiny_corpus: Corpus, word_topic: NDArray[np.float32]) -> None:
    rows = tiny_corpus.rows(3)
    halved = rows.counts / 2
    found = expected_counts(rows, halved, word_topic, ALPHA)
    lengths = np.add.reduceat(np.append(halved, 0), rows.indptr[:-1])
    np.testing.assert_allclose(found.sum(axis=1), lengths, rtol=1e-2)
    assert found.min() >= 0


def test_split_counts_of_whole_counts_of_any_type(tiny_corpus: Corpus) -> None:
    rows = tiny_corpus.rows(3)
    documents = np.arange(rows.start, rows.start + rows.n_documents)
    seen = split_counts(rows, documents, seed=4)
    real = dataclasses.replace(rows, counts=rows.counts.astype(np.float32))
    np.testing.assert_array_equal(seen, split_counts(real, documents, seed=4))
    for d in range(rows.n_documents):
        part = slice(rows.indptr[d], rows.indptr[d + 1])
        key = oracles.document_key(int(documents[d]), 4)
        assert seen[part].tolist() == oracles.split_tokens(rows.counts[part].tolist(), key)


def test_split_counts_halves_what_is_not_whole(tiny_corpus: Corpus) -> None:
    rows = tiny_corpus.rows(3)
    real = dataclasses.replace(rows, counts=rows.counts * np.float32(0.3))
    np.testing.assert_array_equal(split_counts(real, np.arange(rows.n_documents), 4), real.counts / 2)
