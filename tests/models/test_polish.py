"""Passes of variational inference against slow twins."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from tdtool.data.corpus import Corpus
from tdtool.data.planted import planted_lda
from tdtool.engine import LocalEngine
from tdtool.models.polish import _OWN_SHARE, ETA, DocumentSets, active_documents, polish, polish_step
from tdtool.models.topic_model import TopicModel
from tests import oracles

ALPHA = np.array([0.4, 0.1, 0.2])
HELD_OUT, TUNING, SAMPLE = np.array([2, 9, 20]), np.array([5]), np.array([0, 1, 4, 10, 21])
DOCUMENTS = DocumentSets(HELD_OUT, TUNING, SAMPLE)
SWEEPS = 5


@pytest.fixture
def model(rng: np.random.Generator) -> TopicModel:
    word_topic = np.ascontiguousarray(rng.dirichlet(np.full(7, 0.8), 3).T + 1e-3, np.float32)
    return TopicModel(word_topic, ALPHA, np.array([3.0, 2.0, 1.0]), np.zeros(3))


def polished(corpus: Corpus, model: TopicModel, passes: int, workers: int = 2) -> tuple[TopicModel, NDArray]:
    """The model after some passes, and what the documents hold then."""
    with LocalEngine(corpus, workers=workers, memory=1 << 30) as engine:
        result = polish(engine.map_reduce, model, DOCUMENTS, passes=passes)
        return result, np.concatenate([kept.copy() for _, kept in engine.states("expected")])


def twin_pass(
    counts: NDArray, topics: NDArray, alpha: NDArray, start: NDArray | None, own: tuple[NDArray, NDArray] | None
) -> tuple[NDArray, NDArray]:
    """Expected counts by document (D, T) and by word (V, T) of one pass; documents left out have 0."""
    expected, stats = np.zeros((len(counts), alpha.size)), np.zeros_like(topics)
    for d, c in enumerate(counts):
        if c.any() and d not in DOCUMENTS.left_out:
            begin = None if start is None else start[d]
            by_topic, by_word = oracles.document_step(c, topics, alpha, start=begin, sweeps=SWEEPS, tol=1e-2, own=own)
            expected[d], stats = by_topic, stats + by_word
    return expected, stats


def test_two_passes(tiny_corpus: Corpus, rng: np.random.Generator) -> None:
    """Topics are expected counts plus eta, alpha is learned, and the second pass takes own counts out.

    Topics are alike and alpha is large, so that every topic keeps some words of every document.
    """
    tiny_corpus = dataclasses.replace(tiny_corpus, counts=tiny_corpus.counts * 5)
    topics, alpha = rng.dirichlet(np.full(7, 3.0), 3).T.astype(np.float32), np.array([2.0, 1.2, 3.1])
    model = TopicModel(topics, alpha, np.array([3.0, 2.0, 1.0]), np.zeros(3))
    counts = tiny_corpus.matrix().toarray().astype(float)
    known = np.setdiff1d(np.flatnonzero(counts.sum(axis=1)), DOCUMENTS.left_out)
    start, own = None, None
    for passes in (1, 2):
        start, stats = twin_pass(counts, topics, alpha, start, own)
        mass = stats.sum(axis=0) + ETA * 7
        topics, own = (stats + ETA) / mass, (ETA / mass, _OWN_SHARE / mass)
        alpha = oracles.learn_alpha(start[SAMPLE], alpha, updates=3)
        found, expected = polished(tiny_corpus, model, passes)
        assert start[known].min() > 0.05
        np.testing.assert_allclose(expected[known], start[known], rtol=1e-3)
        np.testing.assert_allclose(found.word_topic, topics, rtol=1e-3)
        np.testing.assert_allclose(found.totals, stats.sum(axis=0), rtol=1e-4)
        np.testing.assert_allclose(found.alpha, alpha, rtol=1e-3)
        assert found.totals.sum() == pytest.approx(counts[known].sum(), rel=1e-3)
    np.testing.assert_array_equal(found.weights, model.weights)


def test_left_out_documents_are_not_seen(tiny_corpus: Corpus, model: TopicModel) -> None:
    counts = tiny_corpus.matrix().toarray()
    counts[DOCUMENTS.left_out] = counts[DOCUMENTS.left_out][:, ::-1] * 9
    changed = Corpus.from_csr(sp.csr_array(counts))
    whole = Corpus.from_csr(sp.csr_array(tiny_corpus.matrix()))
    one, two = (polished(corpus, model, 3)[0] for corpus in (whole, changed))
    assert np.array_equal(one.word_topic, two.word_topic)
    assert np.array_equal(one.alpha, two.alpha)


def test_the_same_bits_for_any_workers(tiny_corpus: Corpus, model: TopicModel) -> None:
    one, two = (polished(tiny_corpus, model, 3, workers)[0] for workers in (1, 3))
    assert np.array_equal(one.word_topic, two.word_topic)
    assert np.array_equal(one.alpha, two.alpha)


def test_active_documents(tiny_corpus: Corpus) -> None:
    active = np.concatenate([active_documents(tiny_corpus.rows(i), DOCUMENTS.left_out) for i in range(5)])
    assert np.flatnonzero(~active).tolist() == [2, 5, 9, 20]


def test_the_polish_asks_after_each_pass_whether_to_go_on(tiny_corpus: Corpus, model: TopicModel) -> None:
    asked: list[TopicModel] = []

    def keep_going(model: TopicModel) -> bool:
        asked.append(model)
        return len(asked) < 3

    with LocalEngine(tiny_corpus, workers=1, memory=1 << 30) as engine:
        result = polish(engine.map_reduce, model, DOCUMENTS, passes=8, keep_going=keep_going)
    assert len(asked) == 3
    assert result is asked[-1]
    assert polished_nothing(tiny_corpus, model) is model


def polished_nothing(corpus: Corpus, model: TopicModel) -> TopicModel:
    with LocalEngine(corpus, workers=1, memory=1 << 30) as engine:
        return polish(engine.map_reduce, model, DOCUMENTS, passes=0)


def test_alpha_stays_when_there_is_no_document_to_learn_it_from(tiny_corpus: Corpus, model: TopicModel) -> None:
    nobody = DocumentSets(HELD_OUT, TUNING, np.zeros(0, np.int64))
    with LocalEngine(tiny_corpus, workers=1, memory=1 << 30) as engine:
        result = polish(engine.map_reduce, model, nobody, passes=2)
    np.testing.assert_array_equal(result.alpha, ALPHA)


def test_documents_start_warm_from_the_pass_before(tiny_corpus: Corpus, model: TopicModel) -> None:
    rows = tiny_corpus.rows(3)
    alpha, own = ALPHA.astype(np.float32), np.empty((0, 3), np.float32)
    nobody = np.zeros(0, np.int64)
    arguments = (nobody, model.word_topic, alpha, own, nobody)
    _, state = polish_step(rows, {}, *arguments)
    first = state["expected"].copy()
    _, again = polish_step(rows, state, *arguments)
    assert again["expected"] is state["expected"]  # changed in place: no second copy of what grows with the documents
    assert not np.array_equal(first, again["expected"])


def test_a_pass_hands_out_what_the_documents_of_the_sample_hold(tiny_corpus: Corpus, model: TopicModel) -> None:
    own = np.empty((0, 3), np.float32)
    arguments = (HELD_OUT, model.word_topic, ALPHA.astype(np.float32), own, SAMPLE)
    with LocalEngine(tiny_corpus, workers=2, memory=1 << 30) as engine:
        _, sampled = engine.map_reduce(polish_step, *arguments)
        kept = np.concatenate([expected for _, expected in engine.states("expected")])
    assert np.array_equal(sampled, kept[SAMPLE])
    assert sampled.any(axis=1).sum() >= 4  # nearly all of them have words


def test_the_truth_is_where_the_polish_stays(rng: np.random.Generator) -> None:
    """From the true topics and a wrong alpha, passes keep the topics and find alpha."""
    planted = planted_lda(3000, 200, 3, alpha0=0.9, mean_length=80, topic_concentration=0.1, rng=rng)
    corpus = Corpus.from_csr(planted.document_term)
    word_topic = np.ascontiguousarray(planted.topic_word.T * 0.999 + 0.001 / 200, np.float32)
    start = TopicModel(word_topic, np.array([0.1, 0.1, 1.0]), np.ones(3), np.zeros(3))
    documents = DocumentSets(np.zeros(0, np.int64), np.zeros(0, np.int64), np.arange(0, 3000, 2))
    with LocalEngine(corpus, workers=2, memory=1 << 30) as engine:
        result = polish(engine.map_reduce, start, documents, passes=8)
    assert oracles.matched_total_variation(result.topic_word, planted.topic_word).max() < 0.02
    np.testing.assert_allclose(result.alpha, planted.alpha, rtol=0.15)
