"""Slow twins of the numeric code, written from the formulas with dense arrays and loops, in float64.

Letters: D documents, V words, T topics, k directions. counts : (D, V) dense, c one row of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

Array = NDArray[np.float64]

# ---- moments of word counts


def pair_moment(counts: Array, weights: Array) -> Array:
    """E2 (V, V) = sum w (c c' - diag c) / (l (l - 1))."""
    total = np.zeros((counts.shape[1],) * 2)
    for c, w in zip(counts, weights, strict=True):
        if w > 0:
            length = c.sum()
            total += w * (np.outer(c, c) - np.diag(c)) / (length * (length - 1))
    return total


def triple_moment(counts: Array, weights: Array) -> Array:
    """E3 (V, V, V) = sum w [c c c - (c_i e_i e_i c, in its three orders) + 2 c_i e_i e_i e_i] / (l (l-1) (l-2))."""
    n_terms = counts.shape[1]
    e = np.eye(n_terms)
    total = np.zeros((n_terms,) * 3)
    for c, w in zip(counts, weights, strict=True):
        if w > 0:
            length = c.sum()
            term = np.einsum("i,j,k->ijk", c, c, c).astype(float)
            for i in range(n_terms):
                term -= c[i] * np.einsum("i,j,k->ijk", e[i], e[i], c)
                term -= c[i] * np.einsum("i,j,k->ijk", e[i], c, e[i])
                term -= c[i] * np.einsum("i,j,k->ijk", c, e[i], e[i])
                term += 2 * c[i] * np.einsum("i,j,k->ijk", e[i], e[i], e[i])
            total += w * term / (length * (length - 1) * (length - 2))
    return total


def mean_over_distinct_tokens(c: NDArray[np.int64], order: int) -> Array:
    """Average of e_x (x) e_y (x) ... over all ordered tuples of different tokens of one document; (V,) * order."""
    tokens = np.repeat(np.arange(c.size), c)
    total, n_tuples = np.zeros((c.size,) * order), 0
    for places in itertools.permutations(range(tokens.size), order):
        total[tuple(tokens[list(places)])] += 1
        n_tuples += 1
    return total / n_tuples


def document_weights(counts: Array, held_out: Sequence[int]) -> Array:
    """w (D,): proportional to length, 0 for held-out documents and those of fewer than 3 words; they sum to 1."""
    weights = counts.sum(axis=1).astype(float)
    weights[weights < 3] = 0
    weights[list(held_out)] = 0
    return weights / weights.sum()


def first_moment(counts: Array, weights: Array) -> Array:
    """M1 (V,) = sum w c / l."""
    lengths = np.maximum(counts.sum(axis=1), 1)
    return (weights / lengths) @ counts


def second_moment(counts: Array, weights: Array, alpha0: float) -> Array:
    """M2 (V, V) = E2 - alpha0 / (alpha0 + 1) M1 M1'."""
    mean = first_moment(counts, weights)
    return pair_moment(counts, weights) - alpha0 / (alpha0 + 1) * np.outer(mean, mean)


def third_moment(counts: Array, weights: Array, alpha0: float) -> Array:
    """M3 (V, V, V) = E3 - alpha0/(alpha0+2) (E2 M1, in three orders) + 2 alpha0^2/((alpha0+1)(alpha0+2)) M1 M1 M1."""
    mean, pairs = first_moment(counts, weights), pair_moment(counts, weights)
    return corrected_third_moment(mean, pairs, triple_moment(counts, weights), alpha0)


def corrected_third_moment(mean: Array, pairs: Array, triples: Array, alpha0: float) -> Array:
    """M3 (V, V, V) from the raw moments."""
    mixed = np.einsum("ij,k->ijk", pairs, mean) + np.einsum("ik,j->ijk", pairs, mean)
    mixed += np.einsum("jk,i->ijk", pairs, mean)
    cube = np.einsum("i,j,k->ijk", mean, mean, mean)
    return triples - alpha0 / (alpha0 + 2) * mixed + 2 * alpha0**2 / ((alpha0 + 1) * (alpha0 + 2)) * cube


def whitened(tensor: Array, whitening: Array) -> Array:
    """T(W, W, W) (k, k, k). tensor : (V, V, V); whitening : (V, k)."""
    return np.einsum("abc,ai,bj,ck->ijk", tensor, whitening, whitening, whitening)


def along(tensor: Array, directions: Array) -> Array:
    """G (k, n), column j = T(I, u_j, u_j). tensor : (k, k, k); directions : (k, n)."""
    return np.einsum("abc,bj,cj->aj", tensor, directions, directions)


def dirichlet_moments(alpha: Array) -> tuple[Array, Array, Array]:
    """E h (T,), E h h (T, T), E h h h (T, T, T) of h ~ Dirichlet(alpha)."""
    total, n = alpha.sum(), alpha.size
    rising = lambda x, times: math.prod(x + i for i in range(times))  # noqa: E731
    moments = []
    for order in (1, 2, 3):
        moment = np.empty((n,) * order)
        for place in itertools.product(range(n), repeat=order):
            times = np.bincount(place, minlength=n)
            moment[place] = math.prod(rising(alpha[i], times[i]) for i in range(n)) / rising(total, order)
        moments.append(moment)
    return moments[0], moments[1], moments[2]


# ---- a sum in a tree


def tree_sum(values: Sequence[NDArray]) -> NDArray:
    """(0+1)+(2+3)..., level by level; one left over waits for the next level."""
    level = list(values)
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [pair[0] + pair[1] if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0]


# ---- variational LDA of one document


def document_step(
    c: Array,
    word_topic: Array,
    alpha: Array,
    *,
    start: Array | None = None,
    sweeps: int,
    tol: float = 0.0,
    own: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Expected words by topic (T,), and by word and topic (V, T), of one document with counts c : (V,).

    gamma_t = alpha_t + sum_w c_w phi_wt, phi_wt ~ exp(digamma(gamma_t)) word_topic_wt, from `start` (T,) or from
    c's words spread evenly. own : floor (T,) and 1 / words (T,) of the topics: c's own share is taken out first.
    """
    length = c.sum()
    gamma = alpha + (length / alpha.size if start is None else start)
    if own is not None:
        floor, per_word = own
        given = c[:, None] * _responsibilities(gamma, word_topic) * per_word
        word_topic = np.maximum(word_topic - given, floor)
    phi = np.zeros_like(word_topic)
    for _ in range(sweeps):
        phi = _responsibilities(gamma, word_topic)
        new = alpha + c @ phi
        moved = np.abs(new - gamma).sum()
        gamma = new
        if moved < tol * length:
            break
    return gamma - alpha, c[:, None] * phi


def _responsibilities(gamma: Array, word_topic: Array) -> Array:
    """phi (V, T), rows sum to 1; in logarithms, so that no scale is too small."""
    logarithm = digamma(gamma) + np.log(word_topic)
    phi = np.exp(logarithm - logarithm.max(axis=1, keepdims=True))
    return phi / phi.sum(axis=1, keepdims=True)


def topics_of_documents(counts: Array, word_topic: Array, alpha: Array, sweeps: int = 400) -> Array:
    """Posterior mean shares of topics (D, T), each document to convergence."""
    gamma = np.array([alpha + document_step(c, word_topic, alpha, sweeps=sweeps)[0] for c in counts])
    return gamma / gamma.sum(axis=1, keepdims=True)


def learn_alpha(expected: Array, alpha: Array, updates: int) -> Array:
    """Minka's fixed point: alpha_t <- alpha_t sum_d [psi(n_dt + a_t) - psi(a_t)] / sum_d [psi(n_d + a) - psi(a)]."""
    for _ in range(updates):
        gain, cost = np.zeros_like(alpha), 0.0
        for n in expected:
            gain += digamma(n + alpha) - digamma(alpha)
            cost += digamma(n.sum() + alpha.sum()) - digamma(alpha.sum())
        alpha = alpha * gain / cost
    return alpha


# ---- hashing and splitting, in Python's whole numbers

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15


def mix64(value: int) -> int:
    """SplitMix64's finaliser."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)


def document_key(index: int, seed: int) -> int:
    """The key of one document."""
    return mix64(mix64(seed + _STEP & _MASK) + (index + 1) * _STEP & _MASK)


def uniforms(key: int) -> Iterator[float]:
    """The SplitMix64 stream that starts at `key`, as numbers in [0, 1)."""
    while True:
        key = key + _STEP & _MASK
        yield (mix64(key) >> 11) / 2**53


def split_tokens(counts: Sequence[int], key: int) -> list[int]:
    """Half of a document's tokens (rounded down): each in turn is taken with probability wanted / left."""
    left, stream, seen = sum(counts), uniforms(key), []
    wanted = left // 2
    for count in counts:
        taken = 0
        for _ in range(count):
            if next(stream) * left < wanted:
                wanted, taken = wanted - 1, taken + 1
            left -= 1
        seen.append(taken)
    return seen


# ---- scores


def log_likelihood(counts: Array, theta: Array, word_topic: Array) -> float:
    """Sum of counts log(theta word_topic'). counts : (D, V); theta : (D, T); word_topic : (V, T)."""
    return float(np.sum(counts * np.log(theta @ word_topic.T)))


def top_words(probabilities: Array, n: int) -> list[int]:
    """The n most probable words of one topic, most probable first, the smaller id first among equals."""
    return sorted(range(probabilities.size), key=lambda w: (-probabilities[w], w))[:n]


def together(documents: Sequence[set[int]], words: Sequence[int]) -> NDArray[np.int64]:
    """(n, n): how many documents hold both words."""
    return np.array([[sum(a in d and b in d for d in documents) for b in words] for a in words])


def npmi(joint: float, a: float, b: float) -> float:
    """Normalised pointwise mutual information of two events, with the customary 1e-12; -1 .. 1."""
    joint += 1e-12
    return float(np.clip(math.log(joint / (a * b)) / -math.log(joint), -1, 1))


def npmi_matrix(documents: Sequence[set[int]], words: Sequence[int]) -> Array:
    """(n, n) NPMI of every pair of words, each with itself too."""
    share = together(documents, words) / len(documents)
    n = len(words)
    return np.array([[npmi(share[i, j], share[i, i], share[j, j]) for j in range(n)] for i in range(n)])


def npmi_coherence(documents: Sequence[set[int]], words: Sequence[int]) -> float:
    """Mean NPMI of pairs of different words."""
    matrix = npmi_matrix(documents, words)
    return float(np.mean([matrix[i, j] for i, j in itertools.combinations(range(len(words)), 2)]))


def umass_coherence(documents: Sequence[set[int]], words: Sequence[int]) -> float:
    """Mean of log((D(w, v) + 1) / D(v)) over pairs, v the one of the two that is more probable."""
    both = together(documents, words)
    pairs = itertools.combinations(range(len(words)), 2)
    return float(np.mean([math.log((both[v, w] + 1) / both[v, v]) for v, w in pairs]))


def cv_coherence(documents: Sequence[set[int]], words: Sequence[int]) -> float:
    """Mean cosine between each word's NPMI with all the words, and the sum of these vectors."""
    matrix = npmi_matrix(documents, words)
    whole = matrix.sum(axis=0)
    cosines = [row @ whole / (np.linalg.norm(row) * np.linalg.norm(whole)) for row in matrix]
    return float(np.mean(cosines))


def same_topics(topic_word: Array, closer_than: float) -> list[tuple[int, int]]:
    """Pairs of topics of smaller total variation. topic_word : (T, V)."""
    pairs = itertools.combinations(range(topic_word.shape[0]), 2)
    return [(a, b) for a, b in pairs if np.abs(topic_word[a] - topic_word[b]).sum() / 2 < closer_than]


def matched_total_variation(found: Array, truth: Array) -> Array:
    """Total variation of each pair of topics after the best matching; found, truth : (T, V) -> (T,)."""
    from scipy.optimize import linear_sum_assignment

    distance = np.abs(found[:, None, :] - truth[None, :, :]).sum(axis=2) / 2
    return distance[linear_sum_assignment(distance)]
