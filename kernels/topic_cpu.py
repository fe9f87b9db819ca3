"""The document step of variational LDA, and what is scored with it: numba on the CPU, one thread a partition.

Topics are word-major here: word_topic (V, T) float32, column t the distribution of topic t, so that a word's row is one
run of memory. Documents are CSR as in sparse_cpu.
"""

from __future__ import annotations

import numpy as np

from tdtool.kernels.backend import jit, jit_sums

#: A topic leaves a document's working set below this many expected words; it cannot return (its weight vanishes).
_NEGLIGIBLE = np.float32(1e-2)
_TINY = np.float32(1e-30)


@jit_sums
def exp_digamma(x, out):  # type: ignore[no-untyped-def]
    """out = exp(digamma(x)) elementwise, for x > 0 (float32); free of branches, so that it vectorises.

    To 3e-5 from x = 0.05 on; below, where it is less than 1e-8, it gets coarser.

    exp(digamma(y)) = z + 1/(24 z) - 7/(960 z^3) + ..., z = y - 1/2, taken at y = x + 3, times
    exp(-1/x - 1/(x+1) - 1/(x+2)), whose argument is cut at -80: the result is 0 to single precision by then.
    """
    for i in range(x.size):
        v = x[i]
        z = v + np.float32(2.5)
        inverse = np.float32(1) / z
        series = z + inverse * (np.float32(1 / 24) - np.float32(7 / 960) * inverse * inverse)
        s = np.float32(1) / v + np.float32(1) / (v + np.float32(1)) + np.float32(1) / (v + np.float32(2))
        u = min(s, np.float32(80)) * np.float32(1 / 64)
        e = np.float32(1 / 720) * u + np.float32(1 / 120)
        e = e * u + np.float32(1 / 24)
        e = e * u + np.float32(1 / 6)
        e = e * u + np.float32(0.5)
        e = e * u + np.float32(1)
        e = e * u + np.float32(1)
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        out[i] = series / e


@jit
def document_step(indptr, indices, counts, active, word_topic, alpha, expected, max_iters, tol, own, stats):  # type: ignore[no-untyped-def]
    """Fit the expected counts of every active document, and add its expected counts of (word, topic) to stats.

    active : (D,) bool; word_topic : (V, T) float32; alpha : (T,) float32; expected : (D, T) float32, words of the
    document by topic (gamma - alpha); in: a warm start, or a first column below 0 for a cold one; out: the fit.
    Documents that are not active keep theirs.
    tol : stop when the expected counts moved by less than this share of the document's length.
    own : (2, T) float32, eta / N_t and share / N_t for topics with N_t words and smoothing eta, or (0, T). With it,
    that share of what a document itself gave to a topic's words is taken out of them before it looks (a warm start is
    needed): a rare word does not stay in a topic for no better reason than having been put there.
    stats : (V, T) float32 to add to, or (0, T) for none.

    Source: Blei, Ng, Jordan 2003, "Latent Dirichlet allocation", section 5.2, with the topics' means in place of their
    exp(digamma), on the topics that matter to the document. Leaving one's own counts out: Asuncion, Welling, Smyth, Teh
    2009, "On smoothing and inference for topic models", eq. 8 (CVB0), here for the words' side.
    """
    longest = 0
    for d in range(indptr.size - 1):
        longest = max(longest, indptr[d + 1] - indptr[d])
    local = np.empty((longest, alpha.size), np.float32)
    members = np.empty(alpha.size, np.int64)
    work = np.empty((_ROWS, alpha.size), np.float32)
    ratio = np.empty(longest, np.float32)
    for d in range(indptr.size - 1):
        begin, end = indptr[d], indptr[d + 1]
        if not active[d] or begin == end:
            continue
        warm = expected[d, 0] >= 0
        size, length = _start(begin, end, counts, alpha, expected[d], members, work)
        _gather(begin, end, indices, word_topic, members, size, local)
        if warm and own.shape[0] > 0:
            _take_out_own(begin, end, counts, own, members, size, local, work)
        for iteration in range(max_iters):
            moved = _sweep(begin, end, counts, local, size, work, ratio)
            if moved < tol * length:
                break
            if iteration + 1 < max_iters:
                size = _compact(members, size, work, local, end - begin)
        _finish(begin, end, indices, members, size, local, work, ratio, expected[d], stats)


# Rows of a document's working memory, one column a topic of its working set.
_GAMMA, _ALPHA, _WEIGHT, _TOTAL, _ROWS = 0, 1, 2, 3, 4


@jit
def _start(begin, end, counts, alpha, expected, members, work):  # type: ignore[no-untyped-def]
    """Load a document's working set of topics. Returns how many there are, and the document's length."""
    length = np.float32(0)
    for e in range(begin, end):
        length += np.float32(counts[e])
    size, cold = 0, expected[0] < 0
    even = length / np.float32(alpha.size)
    for t in range(alpha.size):
        if cold or expected[t] >= _NEGLIGIBLE:
            members[size] = t
            work[_ALPHA, size] = alpha[t]
            work[_GAMMA, size] = alpha[t] + (even if cold else expected[t])
            size += 1
    return size, length


@jit
def _gather(begin, end, indices, word_topic, members, size, local):  # type: ignore[no-untyped-def]
    """local[j, a] = the probability of the document's word j in its topic a."""
    for e in range(begin, end):
        word, j = indices[e], e - begin
        if size == word_topic.shape[1]:
            for a in range(size):
                local[j, a] = word_topic[word, a]
        else:
            for a in range(size):
                local[j, a] = word_topic[word, members[a]]


@jit_sums
def _weigh(size, work):  # type: ignore[no-untyped-def]
    """exp(digamma(gamma)) of the working set, over its maximum: only ratios matter, and small ones do not underflow."""
    exp_digamma(work[_GAMMA, :size], work[_WEIGHT])
    most = np.float32(0)
    for a in range(size):
        most = max(most, work[_WEIGHT, a])
    scale = np.float32(1) / max(most, np.float32(1e-37))
    for a in range(size):
        work[_WEIGHT, a] *= scale


@jit_sums
def _take_out_own(begin, end, counts, own, members, size, local, work):  # type: ignore[no-untyped-def]
    """Subtract the document's own expected counts from the probabilities of its words, down to the smoothing."""
    _weigh(size, work)
    for a in range(size):
        work[_TOTAL, a] = own[1, members[a]]
    for e in range(begin, end):
        j, norm = e - begin, _TINY
        for a in range(size):
            norm += work[_WEIGHT, a] * local[j, a]
        share = np.float32(counts[e]) / norm
        for a in range(size):
            rest = local[j, a] * (np.float32(1) - share * work[_WEIGHT, a] * work[_TOTAL, a])
            local[j, a] = max(rest, own[0, members[a]])


@jit_sums
def _sweep(begin, end, counts, local, size, work, ratio):  # type: ignore[no-untyped-def]
    """One fixed-point update of a document; returns how far gamma moved, in words."""
    _weigh(size, work)
    work[_TOTAL, :size] = 0
    for e in range(begin, end):
        j, norm = e - begin, _TINY
        for a in range(size):
            norm += work[_WEIGHT, a] * local[j, a]
        share = np.float32(counts[e]) / norm
        ratio[j] = share
        for a in range(size):
            work[_TOTAL, a] += share * local[j, a]
    moved = np.float32(0)
    for a in range(size):
        new = work[_ALPHA, a] + work[_WEIGHT, a] * work[_TOTAL, a]
        moved += abs(new - work[_GAMMA, a])
        work[_GAMMA, a] = new
    return moved


@jit
def _compact(members, size, work, local, n_words):  # type: ignore[no-untyped-def]
    """Leave out the topics with negligible counts, when that at least halves the work; returns how many stay."""
    kept = 0
    for a in range(size):
        kept += work[_GAMMA, a] - work[_ALPHA, a] >= _NEGLIGIBLE
    if kept == 0 or 2 * kept > size:
        return size
    kept = 0
    for a in range(size):
        if work[_GAMMA, a] - work[_ALPHA, a] >= _NEGLIGIBLE:
            members[kept] = members[a]
            work[_GAMMA, kept], work[_ALPHA, kept] = work[_GAMMA, a], work[_ALPHA, a]
            for j in range(n_words):
                local[j, kept] = local[j, a]
            kept += 1
    return kept


@jit
def _finish(begin, end, indices, members, size, local, work, ratio, expected, stats):  # type: ignore[no-untyped-def]
    """Write the document's expected counts by topic, and add the last sweep's by word and topic to stats."""
    for t in range(expected.size):
        expected[t] = 0
    for a in range(size):
        expected[members[a]] = work[_GAMMA, a] - work[_ALPHA, a]
    if stats.shape[0] == 0:
        return
    for e in range(begin, end):
        word, j = indices[e], e - begin
        for a in range(size):
            stats[word, members[a]] += ratio[j] * work[_WEIGHT, a] * local[j, a]


@jit
def split_tokens(indptr, counts, keys, seen):  # type: ignore[no-untyped-def]
    """Choose which half of each document's words is seen. counts, seen : (nnz,) whole numbers; keys : (D,) uint64.

    Selection sampling (Knuth, TAOCP 2, algorithm S) by a SplitMix64 stream that starts at the document's own key:
    exactly half of the tokens (rounded down), each subset equally likely, whatever else is in the corpus.
    """
    for d in range(indptr.size - 1):
        left = np.int64(0)
        for e in range(indptr[d], indptr[d + 1]):
            left += np.int64(counts[e])
        wanted = left // 2
        state = keys[d]
        for e in range(indptr[d], indptr[d + 1]):
            taken = 0
            for _ in range(np.int64(counts[e])):
                state += np.uint64(0x9E3779B97F4A7C15)
                z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                z = z ^ (z >> np.uint64(31))
                uniform = np.float64(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)
                if uniform * left < wanted:
                    wanted -= 1
                    taken += 1
                left -= 1
            seen[e] = taken


@jit
def log_likelihood(indptr, indices, counts, word_topic, theta):  # type: ignore[no-untyped-def]
    """Sum of counts log(theta_d' word_topic_w) in float64. theta : (D, T) float32, rows sum to 1."""
    total = 0.0
    for d in range(indptr.size - 1):
        for e in range(indptr[d], indptr[d + 1]):
            if counts[e] > 0:
                row, probability = word_topic[indices[e]], 0.0
                for t in range(row.size):
                    probability += np.float64(theta[d, t]) * row[t]
                total += counts[e] * np.log(max(probability, 1e-300))
    return total
