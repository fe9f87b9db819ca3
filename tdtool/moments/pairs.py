"""First and second moments of word counts, never formed: steps over partitions and what they add up to.

Notation (Anandkumar, Ge, Hsu, Kakade, Telgarsky 2014, "Tensor decompositions for learning latent variable models",
section 3 and theorem 3.5): c_d counts and l_d length of document d, weights w_d = l_d / L with L the length of all,
alpha0 the Dirichlet sum. Documents of fewer than 3 words carry no third moment and are left out.

M1 = sum w_d c_d / l_d;  M2 = sum w_d (c c' - diag c) / (l (l - 1)) - alpha0 / (alpha0 + 1) M1 M1'
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tdtool.data.corpus import MapReduce, Partials, Rows, State
from tdtool.kernels import sparse_cpu

SHORTEST_DOCUMENT = 3
#: Words of an outer product that are made at a time: all of them would take twice the memory of the block.
_TERMS_AT_ONCE = 1 << 12


@dataclasses.dataclass(frozen=True)
class FirstMoment:
    """moment1 : (V,) float64, M1; diagonal : (V,) float64, the term diag(c) of M2; length : L; n_documents used."""

    moment1: NDArray[np.float64]
    diagonal: NDArray[np.float64]
    length: float
    n_documents: int


def lengths_in_moments(rows: Rows, held_out: NDArray[np.int64]) -> NDArray[np.float64]:
    """l_d, (D_p,) float64, 0 for documents that the moments leave out: held out, or shorter than 3 words."""
    lengths = np.empty(rows.n_documents)
    sparse_cpu.row_sums(rows.indptr, rows.counts, lengths)
    lengths[lengths < SHORTEST_DOCUMENT] = 0.0
    first, last = np.searchsorted(held_out, [rows.start, rows.start + rows.n_documents])
    lengths[held_out[first:last] - rows.start] = 0.0
    return lengths


def first_moment_step(rows: Rows, state: State, held_out: NDArray[np.int64], n_terms: int) -> tuple[Partials, State]:
    """Partials (V,) of L M1, (V,) of the diagonal of L E2, and (2,): L and the number of documents."""
    lengths = lengths_in_moments(rows, held_out)
    words, diagonal = np.zeros(n_terms), np.zeros(n_terms)
    used = (lengths > 0).astype(np.float64)
    sparse_cpu.weighted_column_sums(rows.indptr, rows.indices, rows.counts, used, words)
    sparse_cpu.weighted_column_sums(rows.indptr, rows.indices, rows.counts, _pair_scale(lengths), diagonal)
    return (words, diagonal, np.array([lengths.sum(), used.sum()])), {}


def vocabulary_step(rows: Rows, state: State, n_terms: int) -> tuple[Partials, State]:
    """Partials (V,) int64: documents that use each word, and uses."""
    frequency = np.bincount(rows.indices, minlength=n_terms)
    return (frequency, np.bincount(rows.indices, rows.counts, minlength=n_terms).astype(np.int64)), {}


def pair_step(
    rows: Rows, state: State, held_out: NDArray[np.int64], block: NDArray[np.float32]
) -> tuple[Partials, State]:
    """Partial (V, q) of sum_d c c' / (l - 1) times block (V, q)."""
    out = np.zeros_like(block)
    scale = _pair_scale(lengths_in_moments(rows, held_out))
    sparse_cpu.pair_product(rows.indptr, rows.indices, rows.counts, scale, block, out)
    return (out,), {}


def first_moment(map_reduce: MapReduce, held_out: NDArray[np.int64], n_terms: int) -> FirstMoment:
    """M1 and the diagonal term of M2, one pass."""
    words, diagonal, (length, used) = map_reduce(first_moment_step, held_out, n_terms, about="first moment")
    length = max(float(length), 1.0)
    return FirstMoment(words / length, diagonal / length, length, int(used))


def second_moment_apply(
    map_reduce: MapReduce, first: FirstMoment, held_out: NDArray[np.int64], alpha0: float
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """block (V, q) -> M2 block, one pass over the corpus: M2 = E2 - alpha0 / (alpha0 + 1) M1 M1'."""
    moment1, correction = first.moment1, alpha0 / (alpha0 + 1)

    def apply(block: NDArray[np.float32]) -> NDArray[np.float32]:
        (pairs,) = map_reduce(pair_step, held_out, block, about="second moment")
        pairs /= np.float32(first.length)
        pairs -= first.diagonal[:, None].astype(np.float32) * block
        along = moment1 @ block
        for start in range(0, moment1.size, _TERMS_AT_ONCE):
            terms = slice(start, start + _TERMS_AT_ONCE)
            pairs[terms] -= np.outer(correction * moment1[terms], along).astype(np.float32)
        return pairs

    return apply


def _pair_scale(lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """w_d L / (l (l - 1)) = 1 / (l - 1) where the document counts, else 0."""
    return np.divide(1.0, lengths - 1, out=np.zeros_like(lengths), where=lengths > 0)
