"""The document step of variational LDA and what is scored with it, against numpy and scipy in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import digamma
from scipy.stats import chisquare

from tdtool.kernels import topic_cpu
from tests import oracles

Fit = tuple[NDArray[np.float32], NDArray[np.float32]]
COUNTS = np.array([[3, 0, 1, 0, 2, 0, 1], [0, 0, 0, 0, 0, 0, 0], [0, 9, 0, 4, 0, 1, 0], [1, 0, 0, 0, 0, 0, 0]])
ALPHA = np.array([1.3, 0.9, 2.0])  # large, so that no topic leaves a document but where that is the point


@pytest.fixture
def word_topic(rng: np.random.Generator) -> NDArray[np.float32]:
    return np.ascontiguousarray(rng.dirichlet(np.full(7, 3.0), 3).T + 0.02, dtype=np.float32)


def fit(
    counts: NDArray,
    word_topic: NDArray[np.float32],
    alpha: NDArray,
    *,
    start: NDArray | None = None,
    active: NDArray[np.bool_] | None = None,
    sweeps: int = 3,
    tol: float = 0.0,
    own: NDArray | None = None,
) -> Fit:
    """Expected counts (D, T), and stats (V, T) that start at 1."""
    rows, n_topics = sp.csr_array(counts), alpha.size
    expected = np.full((counts.shape[0], n_topics), -1.0) if start is None else start
    expected = expected.astype(np.float32)
    stats = np.ones(word_topic.shape, np.float32)
    topic_cpu.document_step(
        rows.indptr.astype(np.int64),
        rows.indices.astype(np.int32),
        rows.data,
        np.ones(counts.shape[0], np.bool_) if active is None else active,
        word_topic,
        alpha.astype(np.float32),
        expected,
        sweeps,
        np.float32(tol),
        (np.empty((0, n_topics)) if own is None else own).astype(np.float32),
        stats,
    )
    return expected, stats


@pytest.mark.parametrize(("low", "high", "rtol"), [(0.05, 1e7, 5e-5), (0.02, 0.05, 2e-3)])
def test_exp_digamma_equals_scipy(low: float, high: float, rtol: float) -> None:
    x = np.geomspace(low, high, 400).astype(np.float32)
    out = np.empty_like(x)
    topic_cpu.exp_digamma(x, out)
    np.testing.assert_allclose(out, np.exp(digamma(x.astype(float))), rtol=rtol)


def test_exp_digamma_of_next_to_nothing_is_next_to_nothing() -> None:
    x = np.array([1e-30, 1e-6, 1e-3, 0.01, 0.02], np.float32)
    out = np.empty_like(x)
    topic_cpu.exp_digamma(x, out)
    assert np.all((out >= 0) & (out < 1e-20))  # of a word or more in some other topic


# Single precision: sums of a few terms of order 1 to 10, hence 1e-5 or so of them, and exp_digamma's own 1e-5.
TOLERANCE = {"rtol": 2e-4, "atol": 2e-5}


@pytest.mark.parametrize("sweeps", [1, 2, 30])
@pytest.mark.parametrize("whole", [True, False])
def test_document_step_from_a_cold_start(word_topic: NDArray[np.float32], sweeps: int, whole: bool) -> None:
    counts = COUNTS if whole else COUNTS * 0.75
    expected, stats = fit(counts, word_topic, ALPHA, sweeps=sweeps)
    twins = [oracles.document_step(c, word_topic.astype(float), ALPHA, sweeps=sweeps) for c in counts]
    assert min(twins[d][0].min() for d in (0, 2, 3)) > 3 * topic_cpu._NEGLIGIBLE
    for d in (0, 2, 3):
        np.testing.assert_allclose(expected[d], twins[d][0], **TOLERANCE)
        np.testing.assert_allclose(expected[d].sum(), counts[d].sum(), rtol=1e-5)
    assert np.all(expected[1] == -1)  # an empty document has nothing to say
    np.testing.assert_allclose(stats - 1, sum(twin[1] for twin in twins), **TOLERANCE)


def test_document_step_from_a_warm_start(word_topic: NDArray[np.float32]) -> None:
    start = np.array([[5.0, 0.5, 1.5], [0, 0, 0], [0.25, 13.0, 0.75], [0.1, 0.2, 0.7]])
    expected, stats = fit(COUNTS, word_topic, ALPHA, start=start, sweeps=2)
    cold, _ = fit(COUNTS, word_topic, ALPHA, sweeps=2)
    twins = [
        oracles.document_step(c, word_topic.astype(float), ALPHA, start=s, sweeps=2)
        for c, s in zip(COUNTS, start, strict=True)
    ]
    np.testing.assert_allclose(expected, [twin[0] for twin in twins], **TOLERANCE)
    np.testing.assert_allclose(stats - 1, sum(twin[1] for twin in twins), **TOLERANCE)
    assert np.abs(expected - cold).max() > 0.1  # the start matters after two sweeps


def test_document_step_takes_a_document_s_own_counts_out(word_topic: NDArray[np.float32]) -> None:
    start = np.array([[5.0, 0.5, 1.5], [0, 0, 0], [0.25, 13.0, 0.75], [0.1, 0.2, 0.7]])
    own = np.array([[2e-3, 1e-3, 5e-4], [1 / 40, 1 / 25, 1 / 60]])  # eta / N_t and 1 / N_t
    expected, stats = fit(COUNTS, word_topic, ALPHA, start=start, sweeps=2, own=own)
    twins = [
        oracles.document_step(c, word_topic.astype(float), ALPHA, start=s, sweeps=2, own=(own[0], own[1]))
        for c, s in zip(COUNTS, start, strict=True)
    ]
    with_own, _ = fit(COUNTS, word_topic, ALPHA, start=start, sweeps=2)
    np.testing.assert_allclose(expected, [twin[0] for twin in twins], **TOLERANCE)
    np.testing.assert_allclose(stats - 1, sum(twin[1] for twin in twins), **TOLERANCE)
    assert np.abs(expected - with_own).max() > 0.05


def test_own_counts_are_not_taken_out_of_a_cold_start(word_topic: NDArray[np.float32]) -> None:
    own = np.array([[2e-3] * 3, [1 / 40] * 3])
    for with_own, without in zip(fit(COUNTS, word_topic, ALPHA, own=own), fit(COUNTS, word_topic, ALPHA), strict=True):
        np.testing.assert_array_equal(with_own, without)


def test_inactive_documents_keep_theirs_and_give_nothing(word_topic: NDArray[np.float32]) -> None:
    active = np.array([False, True, True, False])
    start = np.arange(12.0).reshape(4, 3)
    expected, stats = fit(COUNTS, word_topic, ALPHA, start=start, active=active)
    _, alone = fit(COUNTS[2:3], word_topic, ALPHA, start=start[2:3])
    np.testing.assert_array_equal(expected[[0, 3]], start[[0, 3]])
    np.testing.assert_array_equal(stats, alone)


def test_stats_are_optional(word_topic: NDArray[np.float32]) -> None:
    rows = sp.csr_array(COUNTS)
    expected, none = np.full((4, 3), -1, np.float32), np.empty((0, 3), np.float32)
    arrays = rows.indptr.astype(np.int64), rows.indices, rows.data, np.ones(4, np.bool_), word_topic
    topic_cpu.document_step(*arrays, ALPHA.astype(np.float32), expected, 3, np.float32(0), none, none)
    np.testing.assert_array_equal(expected, fit(COUNTS, word_topic, ALPHA)[0])


def test_document_step_stops_when_it_has_settled(word_topic: NDArray[np.float32]) -> None:
    c = COUNTS[:1]
    moved = [np.abs(fit(c, word_topic, ALPHA, sweeps=n)[0] - fit(c, word_topic, ALPHA, sweeps=n + 1)[0]).sum() / 7
             for n in range(1, 6)]  # fmt: skip
    tol = (moved[2] + moved[3]) / 2
    assert moved[3] < tol < moved[2]  # the fifth sweep is the first to move by less
    np.testing.assert_array_equal(
        fit(c, word_topic, ALPHA, sweeps=50, tol=tol)[0], fit(c, word_topic, ALPHA, sweeps=5)[0]
    )


def test_topics_that_a_document_lacks_leave_its_working_set(rng: np.random.Generator) -> None:
    """Words of topics 0 and 5 among 12 topics: ten leave early, for good, and what stays is the full fit's."""
    word_topic = np.full((24, 12), 2e-3)
    for t in range(12):
        word_topic[2 * t : 2 * t + 2, t] = [0.6, 0.4]
    word_topic[0, 5] = 0.2
    counts = np.zeros((1, 24), np.int64)
    counts[0, [0, 1, 10, 11]] = [20, 5, 9, 2]
    alpha = rng.uniform(0.1, 0.2, 12)
    expected, stats = fit(counts, word_topic.astype(np.float32), alpha, sweeps=40, tol=1e-6)
    full, full_stats = oracles.document_step(counts[0], word_topic, alpha, sweeps=40, tol=1e-6)
    # Each of the ten left with next to no expected words, and those words went to the others.
    few = 10 * topic_cpu._NEGLIGIBLE
    np.testing.assert_allclose(expected[0], full, atol=few)
    np.testing.assert_allclose(stats - 1, full_stats, atol=few)
    assert np.flatnonzero(expected[0]).tolist() == [0, 5]
    others = np.delete(full, [0, 5])
    assert 1e-7 < others.min() < others.max() < topic_cpu._NEGLIGIBLE
    again, _ = fit(counts, word_topic.astype(np.float32), alpha, start=expected, sweeps=1)
    assert np.flatnonzero(again[0]).tolist() == [0, 5]


@pytest.mark.parametrize("tokens", [1, 2, 5])
def test_a_short_document_finds_its_topic_among_many(tokens: int) -> None:
    """Spread evenly, its words are next to nothing for each of 500 topics; exp(digamma) of that is 0 in float32."""
    n_topics, word = 500, 7
    word_topic = np.full((9, n_topics), 1e-6, np.float32)
    word_topic[word, 123] = 0.5
    counts = np.zeros((1, 9), np.int64)
    counts[0, word] = tokens
    expected, _ = fit(counts, word_topic, np.full(n_topics, 1e-3), sweeps=30)
    assert expected[0, 123] == pytest.approx(tokens, rel=1e-3)


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 5), min_size=0, max_size=6), min_size=1, max_size=5), st.integers(0, 2**64 - 1))
def test_split_tokens_equals_its_twin(documents: list[list[int]], first_key: int) -> None:
    keys = [(first_key + 77 * d) % 2**64 for d in range(len(documents))]
    seen = split(documents, keys)
    assert seen == [oracles.split_tokens(counts, key) for counts, key in zip(documents, keys, strict=True)]
    for counts, part in zip(documents, seen, strict=True):
        assert sum(part) == sum(counts) // 2
        assert all(0 <= s <= c for s, c in zip(part, counts, strict=True))


def split(documents: list[list[int]], keys: list[int], dtype: type = np.int32) -> list[list[int]]:
    sizes = [len(counts) for counts in documents]
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    counts = np.array(list(itertools.chain(*documents)), dtype)
    seen = np.full_like(counts, -1)
    with np.errstate(over="ignore"):  # 64-bit hashing wraps round; numpy mentions it where the kernel is not compiled
        topic_cpu.split_tokens(indptr, counts, np.array(keys, np.uint64), seen)
    return [seen[begin:end].astype(int).tolist() for begin, end in itertools.pairwise(indptr)]


def test_split_tokens_of_a_document_ignores_the_others() -> None:
    documents, keys = [[3, 1, 4], [1, 5], [9, 2, 6, 5]], [11, 22, 33]
    assert split(documents[::-1], keys[::-1]) == split(documents, keys)[::-1]
    assert split(documents[1:2], keys[1:2]) == split(documents, keys)[1:2]
    assert split(documents, keys, np.float32) == split(documents, keys)


def test_split_tokens_takes_every_subset_equally_often(rng: np.random.Generator) -> None:
    """The 10 pairs among 5 different words, over many keys: chi-square, at one in 10,000."""
    n = 1000
    keys = rng.integers(0, 2**64, n, dtype=np.uint64).tolist()
    found = [tuple(np.flatnonzero(seen)) for seen in split([[1] * 5] * n, keys)]
    often = [found.count(pair) for pair in itertools.combinations(range(5), 2)]
    assert sum(often) == n
    assert chisquare(often).pvalue > 1e-4


def test_split_tokens_draws_counts_hypergeometrically(rng: np.random.Generator) -> None:
    """Of 3 + 3 tokens 3 are seen, i of the first word in C(3, i)^2 of 20 ways."""
    n = 1000
    keys = rng.integers(0, 2**64, n, dtype=np.uint64).tolist()
    first = np.bincount([seen[0] for seen in split([[3, 3]] * n, keys)], minlength=4)
    assert chisquare(first, np.array([1, 9, 9, 1]) / 20 * n).pvalue > 1e-4


def test_log_likelihood(word_topic: NDArray[np.float32], rng: np.random.Generator) -> None:
    theta = rng.dirichlet([0.5, 1.0, 2.0], 4).astype(np.float32)
    for counts in (COUNTS, COUNTS * 0.5):
        rows = sp.csr_array(counts)
        total = topic_cpu.log_likelihood(rows.indptr.astype(np.int64), rows.indices, rows.data, word_topic, theta)
        expected = oracles.log_likelihood(counts, theta.astype(float), word_topic.astype(float))
        assert total == pytest.approx(expected, rel=1e-6)  # theta and topics are single precision, the sum is double


def test_log_likelihood_of_the_impossible_is_finite() -> None:
    counts, theta = np.array([2, 0]), np.ones((1, 1), np.float32)
    word_topic = np.array([[0.0], [1.0]], np.float32)
    arrays = np.array([0, 2]), np.array([0, 1], np.int32), counts, word_topic, theta
    assert topic_cpu.log_likelihood(*arrays) == pytest.approx(2 * np.log(1e-300))
