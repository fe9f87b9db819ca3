"""The first and the second moment, never formed, against brute force."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tdtool.data.corpus import Corpus
from tdtool.engine import LocalEngine
from tdtool.moments.pairs import FirstMoment, first_moment, lengths_in_moments, second_moment_apply
from tests import oracles

HELD_OUT = np.array([1, 5, 6, 21])
NOBODY = np.zeros(0, np.int64)


def dense(corpus: Corpus) -> np.ndarray:
    return corpus.matrix().toarray()


def collect(corpus: Corpus, held_out: np.ndarray, alpha0: float) -> tuple[FirstMoment, np.ndarray]:
    """The first moment, and M2 (V, V) as the second moment applied to the identity."""
    with LocalEngine(corpus, workers=2, memory=1 << 30) as engine:
        first = first_moment(engine.map_reduce, held_out, corpus.n_terms)
        apply = second_moment_apply(engine.map_reduce, first, held_out, alpha0)
        return first, apply(np.eye(corpus.n_terms, dtype=np.float32))


@pytest.mark.parametrize("held_out", [NOBODY, HELD_OUT])
def test_first_moment(tiny_corpus: Corpus, held_out: np.ndarray) -> None:
    counts = dense(tiny_corpus)
    weights = oracles.document_weights(counts, held_out.tolist())
    first, _ = collect(tiny_corpus, held_out, 0.1)
    np.testing.assert_allclose(first.moment1, oracles.first_moment(counts, weights), rtol=1e-12)
    assert first.moment1.sum() == pytest.approx(1, rel=1e-12)
    assert first.n_documents == np.count_nonzero(weights)
    assert first.length == counts[weights > 0].sum()


@pytest.mark.parametrize("held_out", [NOBODY, HELD_OUT])
@pytest.mark.parametrize("alpha0", [0.1, 3.0])
def test_second_moment(tiny_corpus: Corpus, held_out: np.ndarray, alpha0: float) -> None:
    counts = dense(tiny_corpus)
    expected = oracles.second_moment(counts, oracles.document_weights(counts, held_out.tolist()), alpha0)
    _, moment2 = collect(tiny_corpus, held_out, alpha0)
    # Single precision, and terms of the size of M1 that cancel: a few units of 6e-8.
    np.testing.assert_allclose(moment2, expected, atol=1e-6)
    assert np.abs(expected).max() > 0.01


def test_real_counts_are_taken_as_they_are(tiny_corpus: Corpus) -> None:
    counts = dense(tiny_corpus) * 1.75
    corpus = dataclasses.replace(tiny_corpus, counts=(tiny_corpus.counts * 1.75).astype(np.float32))
    first, moment2 = collect(corpus, HELD_OUT, 0.5)
    weights = oracles.document_weights(counts, HELD_OUT.tolist())
    np.testing.assert_allclose(first.moment1, oracles.first_moment(counts, weights), rtol=1e-12)
    np.testing.assert_allclose(moment2, oracles.second_moment(counts, weights, 0.5), atol=1e-6)


def test_lengths_in_moments_leave_out_held_out_and_short_documents(tiny_corpus: Corpus) -> None:
    counts = dense(tiny_corpus)
    lengths = np.concatenate([lengths_in_moments(tiny_corpus.rows(i), HELD_OUT) for i in range(5)])
    expected = counts.sum(axis=1)
    expected[(expected < 3) | np.isin(np.arange(23), HELD_OUT)] = 0
    np.testing.assert_array_equal(lengths, expected)
    assert np.count_nonzero(expected) < 23 - HELD_OUT.size  # some are too short


@pytest.mark.parametrize("order", [2, 3])
@settings(max_examples=25)
@given(counts=st.lists(st.integers(0, 3), min_size=2, max_size=4).filter(lambda c: 3 <= sum(c) <= 7))
def test_the_diagonal_terms_leave_tuples_of_different_tokens(order: int, counts: list[int]) -> None:
    """One document's pair and triple moments are averages over all ordered tuples of different tokens."""
    moment = {2: oracles.pair_moment, 3: oracles.triple_moment}[order]
    c = np.array(counts)
    expected = oracles.mean_over_distinct_tokens(c, order)
    np.testing.assert_allclose(moment(c[None].astype(float), np.ones(1)), expected, atol=1e-12)


def test_nobody_in_the_moments() -> None:
    corpus = Corpus.from_csr(sp.csr_array(np.array([[1, 1, 0], [0, 2, 0]])))
    first, moment2 = collect(corpus, NOBODY, 0.1)
    assert (first.moment1.tolist(), first.n_documents) == ([0, 0, 0], 0)
    assert not moment2.any()
