"""What topics a document has, given a model: the same for a document whether it is new or was in the fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.data.corpus import Partials, Rows, State
from tdtool.kernels import sparse_cpu, topic_cpu
from tdtool.models.held_out import document_keys

#: Fixed-point updates of a document, and the move, as a share of its length, after which there are no more.
MAX_SWEEPS = 100
SETTLED = np.float32(1e-3)


def expected_counts(
    rows: Rows, counts: NDArray, word_topic: NDArray[np.float32], alpha: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Expected words by topic of each document, (D_p, T), from a cold start. counts : (nnz,) used for rows.counts."""
    expected = np.full((rows.n_documents, alpha.size), -1, np.float32)
    active = np.ones(rows.n_documents, np.bool_)
    nothing = np.empty((0, alpha.size), np.float32)
    arguments = (rows.indptr, rows.indices, counts, active, word_topic, alpha, expected)
    topic_cpu.document_step(*arguments, MAX_SWEEPS, SETTLED, nothing, nothing)
    np.maximum(expected, 0, out=expected)
    return expected


def document_topic(rows: Rows, word_topic: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Posterior mean shares of topics, (D_p, T) float32, rows sum to 1: (alpha + expected) / (sum alpha + length)."""
    gamma = expected_counts(rows, rows.counts, word_topic, alpha) + alpha
    return gamma / gamma.sum(axis=1, keepdims=True)


def documents_step(
    rows: Rows, state: State, word_topic: NDArray[np.float32], alpha: NDArray[np.float32]
) -> tuple[Partials, State]:
    """document_topic (D_p, T) float32 and lengths (D_p,) int64 of one partition."""
    lengths = np.empty(rows.n_documents)
    sparse_cpu.row_sums(rows.indptr, rows.counts, lengths)
    return (document_topic(rows, word_topic, alpha), lengths.astype(np.int64)), {}


def completion_step(
    rows: Rows,
    state: State,
    documents: NDArray[np.int64],
    seed: int,
    word_topic: NDArray[np.float32],
    alpha: NDArray[np.float32],
) -> tuple[Partials, State]:
    """Partial (2,): log likelihood and number of the unseen words of the documents, given the half that is seen."""
    first, last = np.searchsorted(documents, [rows.start, rows.start + rows.n_documents])
    chosen = documents[first:last]
    part = _select(rows, chosen - rows.start)
    seen = split_counts(part, chosen, seed)
    gamma = expected_counts(part, seen, word_topic, alpha) + alpha
    unseen = part.counts - seen
    theta = gamma / gamma.sum(axis=1, keepdims=True)
    total = topic_cpu.log_likelihood(part.indptr, part.indices, unseen, word_topic, theta)
    return (np.array([total, unseen.sum(dtype=np.float64)]),), {}


def split_counts(rows: Rows, documents: NDArray[np.int64], seed: int) -> NDArray:
    """The seen half of each document's counts, (nnz,): half of its words at random; half of each entry where a document
    has counts that are not whole."""
    seen = np.zeros_like(rows.counts)
    topic_cpu.split_tokens(rows.indptr, rows.counts, document_keys(documents, seed), seen)
    if np.issubdtype(rows.counts.dtype, np.integer):
        return seen
    owner = np.repeat(np.arange(rows.n_documents), np.diff(rows.indptr))
    broken = np.bincount(owner, rows.counts != np.floor(rows.counts), minlength=rows.n_documents) > 0
    return np.where(broken[owner], rows.counts / 2, seen)


def _select(rows: Rows, local: NDArray[np.int64]) -> Rows:
    """Some documents of a partition, by their place in it."""
    sizes = rows.indptr[local + 1] - rows.indptr[local]
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    entries = np.repeat(rows.indptr[local] - indptr[:-1], sizes) + np.arange(indptr[-1])
    return Rows(rows.index, rows.start, indptr, rows.indices[entries], rows.counts[entries])
