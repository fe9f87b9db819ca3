"""Coherence of topics against the definitions on sets of documents, and diversity."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.data.corpus import Corpus
from tdtool.engine import LocalEngine
from tdtool.models.coherence import Coherence, coherence, diversity, measures, top_words
from tests import oracles

NOBODY = np.zeros(0, np.int64)


def coherence_of(corpus: Corpus, word_topic: NDArray, held_out: NDArray[np.int64], n_top: int) -> Coherence:
    with LocalEngine(corpus, workers=2, memory=1 << 30) as engine:
        return coherence(engine.map_reduce, word_topic, held_out, n_top)


@pytest.fixture
def corpus(rng: np.random.Generator) -> Corpus:
    """40 documents over 12 words, every word in some and none in all, in 4 uneven partitions."""
    counts = rng.poisson(rng.gamma(0.5, 1.2, (40, 12)))
    return dataclasses.replace(Corpus.from_csr(sp.csr_array(counts)), starts=np.array([0, 5, 6, 31, 40]))


@pytest.mark.parametrize("held_out", [NOBODY, np.array([4, 5, 6, 39])])
@pytest.mark.parametrize("n_top", [2, 3, 7])
def test_coherence(corpus: Corpus, held_out: NDArray[np.int64], n_top: int, rng: np.random.Generator) -> None:
    word_topic = rng.dirichlet(np.full(12, 0.3), 5).T.astype(np.float32)
    found = coherence_of(corpus, word_topic, held_out, n_top)
    training = np.delete(corpus.matrix().toarray(), held_out, axis=0)
    documents = [set(np.flatnonzero(c)) for c in training]
    words = [oracles.top_words(column, n_top) for column in word_topic.T]
    expected = [
        (
            oracles.npmi_coherence(documents, w),
            oracles.umass_coherence(documents, w),
            oracles.cv_coherence(documents, w),
        )
        for w in words
    ]
    np.testing.assert_allclose(np.stack([found.npmi, found.umass, found.cv], axis=1), expected, rtol=1e-9)


def test_words_that_always_and_never_occur_together() -> None:
    counts = np.zeros((20, 6), int)
    counts[:5, [0, 1]] = 1
    counts[5:10, 2] = 1
    counts[10:15, 3] = 1
    word_topic = np.full((6, 2), 0.01, np.float32)
    word_topic[[0, 1], 0] = [0.5, 0.4]
    word_topic[[2, 3], 1] = [0.5, 0.4]
    found = coherence_of(Corpus.from_csr(sp.csr_array(counts)), word_topic, NOBODY, 2)
    np.testing.assert_allclose(found.npmi, [1, -1], atol=0.11)  # -1 only in the limit of no evidence
    assert found.npmi[0] == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(found.umass, [np.log(6 / 5), np.log(1 / 5)])


words_by_topic = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 40), st.floats(0, 1))


@given(words_by_topic)
def test_no_measure_is_ever_nan(drawn: tuple[int, int, int, float]) -> None:
    """Whatever counts there are: words in no document, in all of them, never together."""
    seed, n_top, n_documents, density = drawn
    rng = np.random.default_rng(seed)
    held = rng.random((3, n_documents, n_top)) < density * rng.random((3, 1, n_top))
    found = measures(np.triu(np.einsum("tdi,tdj->tij", held, held, dtype=np.int64)), n_documents)
    for values in (found.npmi, found.umass, found.cv):
        assert values.shape == (3,)
        assert np.all(np.isfinite(values))
    assert np.all(np.abs(found.npmi) <= 1)
    assert np.all(np.abs(found.cv) <= 1 + 1e-9)


def test_coherence_of_no_documents_and_of_one_word() -> None:
    corpus = Corpus.from_csr(sp.csr_array(np.array([[1, 2], [0, 1]])))
    everybody = np.array([0, 1])
    for word_topic, held_out in [(np.array([[0.4], [0.6]]), everybody), (np.ones((2, 1)) / 2, NOBODY)]:
        found = coherence_of(corpus, word_topic.astype(np.float32), held_out, 10)
        assert all(np.all(np.isfinite(values)) for values in dataclasses.asdict(found).values())
    alone = coherence_of(Corpus.from_csr(sp.csr_array(np.ones((2, 1)))), np.ones((1, 2), np.float32), NOBODY, 10)
    assert alone.npmi.tolist() == [0, 0]


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 12), st.integers(2, 5))
def test_top_words_break_ties_by_word_id(seed: int, n_terms: int, n: int, levels: int) -> None:
    word_topic = np.random.default_rng(seed).integers(0, levels, (n_terms, 3)).astype(np.float32)
    assert top_words(word_topic, n).tolist() == [oracles.top_words(column, n) for column in word_topic.T]


def test_diversity() -> None:
    word_topic = np.array([[5, 1, 5], [4, 2, 4], [3, 3, 0], [0, 4, 3]], np.float32)
    assert diversity(word_topic, 2) == pytest.approx(4 / 6)  # {0, 1}, {3, 2}, {0, 1}
    assert diversity(word_topic[:, :2], 2) == 1
    assert diversity(word_topic, 1) == pytest.approx(2 / 3)
    assert diversity(np.ones((30, 4), np.float32)) == pytest.approx(25 / 100)
