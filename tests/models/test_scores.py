"""Perplexity by document completion, warnings, and what a model's scores are made of."""

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
from tdtool.models.scores import completion_perplexity, duplicate_topics, score_model, topic_warnings
from tdtool.models.topic_model import TopicModel
from tests import oracles

ALPHA = np.array([0.4, 0.1, 0.2])


@pytest.fixture
def word_topic(rng: np.random.Generator) -> NDArray[np.float32]:
    return np.ascontiguousarray(rng.dirichlet(np.full(7, 0.8), 3).T + 1e-3, np.float32)


def perplexity_of(
    corpus: Corpus, word_topic: NDArray, documents: list[int], seed: int = 5, workers: int = 2
) -> tuple[float, int]:
    with LocalEngine(corpus, workers=workers, memory=1 << 30) as engine:
        return completion_perplexity(engine.map_reduce, word_topic, ALPHA, np.array(documents, np.int64), seed)


def twin_perplexity(counts: NDArray, word_topic: NDArray, documents: list[int], seed: int) -> tuple[float, int]:
    """The same, document by document and word by word."""
    total, n_words = 0.0, 0
    for d in documents:
        words = np.flatnonzero(counts[d])
        seen = np.zeros(counts.shape[1])
        seen[words] = oracles.split_tokens(counts[d, words].tolist(), oracles.document_key(d, seed))
        theta = oracles.topics_of_documents(seen[None], word_topic.astype(float), ALPHA)
        unseen = (counts[d] - seen)[None]
        total += oracles.log_likelihood(unseen, theta, word_topic.astype(float))
        n_words += int(unseen.sum())
    return float(np.exp(-total / n_words)), n_words


@pytest.mark.parametrize("documents", [list(range(23)), [0, 4, 8, 9, 22], [7]])
def test_completion_perplexity(tiny_corpus: Corpus, word_topic: NDArray, documents: list[int]) -> None:
    perplexity, words = perplexity_of(tiny_corpus, word_topic, documents)
    expected, expected_words = twin_perplexity(tiny_corpus.matrix().toarray(), word_topic, documents, 5)
    assert words == expected_words
    assert perplexity == pytest.approx(expected, rel=2e-3)  # documents settle to 1e-3 of their length


def test_perplexity_is_the_same_for_any_workers_and_partitions(tiny_corpus: Corpus, word_topic: NDArray) -> None:
    everyone = list(range(23))
    whole = dataclasses.replace(tiny_corpus, starts=np.array([0, 23]))
    assert perplexity_of(tiny_corpus, word_topic, everyone, workers=3) == perplexity_of(
        tiny_corpus, word_topic, everyone, workers=1
    )
    assert perplexity_of(whole, word_topic, everyone)[0] == pytest.approx(
        perplexity_of(tiny_corpus, word_topic, everyone)[0], rel=1e-12
    )


def log_likelihoods(corpus: Corpus, word_topic: NDArray, documents: list[int]) -> float:
    perplexity, words = perplexity_of(corpus, word_topic, documents)
    return -np.log(perplexity) * words


@pytest.mark.parametrize("factor", [1, 1.3])
def test_a_document_s_score_does_not_depend_on_which_others_are_scored(
    tiny_corpus: Corpus, word_topic: NDArray, factor: float
) -> None:
    """Not even when some of the documents have whole counts and others have not."""
    counts = tiny_corpus.counts.astype(np.float32)
    counts[: tiny_corpus.indptr[13]] *= np.float32(factor)
    corpus = dataclasses.replace(tiny_corpus, counts=counts)
    documents = [11, 12, 15, 16]
    one_by_one = sum(log_likelihoods(corpus, word_topic, [d]) for d in documents)
    assert log_likelihoods(corpus, word_topic, documents) == pytest.approx(one_by_one, rel=1e-6)


def test_perplexity_of_topics_that_know_nothing_is_the_vocabulary(tiny_corpus: Corpus) -> None:
    assert perplexity_of(tiny_corpus, np.full((7, 3), 1 / 7, np.float32), list(range(23)))[0] == pytest.approx(7)


def test_perplexity_without_words_is_that_of_knowing_nothing(tiny_corpus: Corpus, word_topic: NDArray) -> None:
    assert perplexity_of(tiny_corpus, word_topic, [3]) == (7.0, 0)
    assert perplexity_of(tiny_corpus, word_topic, []) == (7.0, 0)


def test_another_seed_hides_other_words(tiny_corpus: Corpus, word_topic: NDArray) -> None:
    everyone = list(range(23))
    assert perplexity_of(tiny_corpus, word_topic, everyone, 5) != perplexity_of(tiny_corpus, word_topic, everyone, 6)


# ---- warnings


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.sampled_from([0.02, 0.2, 1.0]))
def test_duplicate_topics_are_all_pairs_closer_than_a_tenth(seed: int, n_topics: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    topics = rng.dirichlet(np.full(9, 2.0), 2)[rng.integers(0, 2, n_topics)]
    topics = (1 - spread) * topics + spread * rng.dirichlet(np.ones(9), n_topics)
    assert duplicate_topics(np.ascontiguousarray(topics.T, np.float32)) == oracles.same_topics(topics, 0.1)


def test_duplicates_need_not_have_the_same_top_word() -> None:
    word_topic = np.array([[0.26, 0.25], [0.25, 0.26], [0.49 / 2, 0.49 / 2], [0.49 / 2, 0.49 / 2]], np.float32)
    assert duplicate_topics(word_topic) == [(0, 1)]


def model_of(topics: NDArray, alpha: NDArray = ALPHA) -> TopicModel:
    word_topic = np.ascontiguousarray(topics.T, np.float32)
    return TopicModel(word_topic, alpha, np.ones(alpha.size), np.zeros(alpha.size))


def test_warnings_name_duplicate_and_empty_topics() -> None:
    topics = np.eye(3, 9)
    assert topic_warnings(model_of(topics), np.array([0.5, 0.3, 0.2])) == []
    topics[2] = topics[0]
    (said,) = topic_warnings(model_of(topics), np.array([0.5, 0.3, 0.2]))
    assert said.startswith("topics 0 and 2 are nearly the same")
    (said,) = topic_warnings(model_of(np.eye(3, 9)), np.array([0.6, 0.399, 0.001]))
    assert said.startswith("1 of 3 topics are nearly empty (2)")
    (said,) = topic_warnings(model_of(np.eye(12, 14), np.ones(12)), np.array([1.0] + [0.0] * 11))
    assert "(1, 2, 3, 4, 5, 6, 7, 8, 9, 10 ...)" in said


# ---- all of it


def test_score_model(tiny_corpus: Corpus, word_topic: NDArray) -> None:
    model = TopicModel(word_topic, ALPHA, np.ones(3), np.zeros(3))
    held_out = np.array([2, 9, 20])
    with LocalEngine(tiny_corpus, workers=1, memory=1 << 30) as engine:
        scores, by_topic = score_model(engine.map_reduce, model, held_out=held_out, seed=5)
        without, _ = score_model(engine.map_reduce, model, held_out=held_out[:0], seed=5)
    perplexity, words = perplexity_of(tiny_corpus, word_topic, held_out.tolist())
    assert (scores["perplexity"], scores["words_scored"], scores["held_out_documents"]) == (perplexity, words, 3)
    training = np.delete(tiny_corpus.matrix().toarray(), held_out, axis=0)
    documents = [set(np.flatnonzero(c)) for c in training]
    expected = [oracles.npmi_coherence(documents, oracles.top_words(column, 10)) for column in word_topic.T]
    np.testing.assert_allclose(by_topic["npmi"], expected, rtol=1e-9)
    for name in ("npmi", "umass", "cv"):
        assert scores[name] == pytest.approx(by_topic[name].mean())
    assert "perplexity" not in without
    assert without["diversity"] == pytest.approx(7 / 21)
    assert all(np.isfinite(value) for value in [*scores.values(), *without.values()])


def test_a_corpus_of_one_word() -> None:
    corpus = Corpus.from_csr(sp.csr_array(np.full((4, 1), 5)))
    model = TopicModel(np.ones((1, 1), np.float32), np.ones(1), np.ones(1), np.zeros(1))
    with LocalEngine(corpus, workers=1, memory=1 << 30) as engine:
        scores, _ = score_model(engine.map_reduce, model, held_out=np.array([1]), seed=0)
    assert scores["perplexity"] == pytest.approx(1)
    assert (scores["npmi"], scores["diversity"]) == (0, 1)
