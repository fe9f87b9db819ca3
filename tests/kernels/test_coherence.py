"""Counting top words that occur together, against sets."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from tdtool.kernels import coherence_cpu
from tests import oracles

N_TERMS = 9


def count(counts: NDArray, active: NDArray[np.bool_], words: NDArray[np.int64], before: int = 0) -> NDArray[np.int64]:
    """together (T, n, n), which starts at `before`, of top words : (T, n)."""
    rows, (n_topics, n_top) = sp.csr_array(counts), words.shape
    slots = np.argsort(words, axis=None, kind="stable")
    start = np.searchsorted(words.ravel()[slots], np.arange(N_TERMS + 1)).astype(np.int64)
    together = np.full((n_topics, n_top, n_top), before, np.int64)
    arrays = rows.indptr.astype(np.int64), rows.indices.astype(np.int32), active, start, slots.astype(np.int64)
    coherence_cpu.count_together(*arrays, n_top, together)
    return together


@pytest.mark.parametrize("n_top", [1, 2, 5])
def test_count_together(n_top: int, rng: np.random.Generator) -> None:
    counts = rng.poisson(0.7, (13, N_TERMS))
    counts[5] = 0
    active = rng.random(13) < 0.8
    words = np.array([rng.permutation(N_TERMS)[:n_top] for _ in range(4)])  # topics share words
    found = count(counts, active, words, before=3)
    documents = [set(np.flatnonzero(c)) for c in counts[active]]
    for topic, row in zip(found, words, strict=True):
        expected = oracles.together(documents, row.tolist())
        upper = np.triu_indices(n_top)
        np.testing.assert_array_equal(topic[upper] - 3, expected[upper])
        assert np.all(np.tril(topic - 3, -1) == 0)  # only i <= j is counted


def test_a_word_that_a_document_repeats_counts_once() -> None:
    counts = np.zeros((2, N_TERMS), int)
    counts[0, [1, 4]] = [7, 2]
    counts[1, 4] = 5
    found = count(counts, np.ones(2, np.bool_), np.array([[4, 1, 0]]))
    assert np.triu(found[0]).tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
