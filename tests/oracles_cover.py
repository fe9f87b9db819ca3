"""Slow twins of the comparisons of covers, written from the formulas: sets, loops over all pairs, permutations.

A cover is a list of sets of nodes 0 .. n - 1, none of them empty.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Sets = Sequence[set[int]]


def _h(count: int, n: int) -> float:
    return 0.0 if count == 0 else -count / n * math.log2(count / n)


def entropy(x: set[int], n: int) -> float:
    """H(X) of a community as a 0/1 variable over the nodes."""
    return _h(len(x), n) + _h(n - len(x), n)


def conditional_entropy(x: set[int], y: set[int], n: int) -> float:
    """H*(X | Y): H(X, Y) - H(Y), or H(X) where Y says more by its complement (McDaid et al., equation 1)."""
    everyone = set(range(n))
    table = [[len(a & b) for b in (y, everyone - y)] for a in (x, everyone - x)]
    (both, x_only), (y_only, neither) = table
    if _h(neither, n) + _h(both, n) < _h(y_only, n) + _h(x_only, n):
        return entropy(x, n)
    joint = sum(_h(count, n) for row in table for count in row)
    return joint - entropy(y, n)


def left_over(x: set[int], cover: Sets, n: int) -> float:
    """H(X | cover): what the best of its communities leaves open."""
    return min([conditional_entropy(x, y, n) for y in cover], default=entropy(x, n))


def onmi_max(found: Sets, truth: Sets, n: int) -> float:
    """McDaid, Greene, Hurley 2011, NMI_max."""
    h_found, h_truth = sum(entropy(x, n) for x in found), sum(entropy(y, n) for y in truth)
    information = h_found - sum(left_over(x, truth, n) for x in found)
    information += h_truth - sum(left_over(y, found, n) for y in truth)
    return information / 2 / max(h_found, h_truth)


def onmi_lfk(found: Sets, truth: Sets, n: int) -> float:
    """Lancichinetti, Fortunato, Kertesz 2009, for communities that are not all nodes."""
    a = np.mean([left_over(x, truth, n) / entropy(x, n) for x in found])
    b = np.mean([left_over(y, found, n) / entropy(y, n) for y in truth])
    return float(1 - (a + b) / 2)


def omega(found: Sets, truth: Sets, n: int) -> float:
    """Collins, Dent 1988: every pair of nodes is looked at."""
    pairs = list(itertools.combinations(range(n), 2))
    together = [
        [sum(u in community and v in community for community in cover) for u, v in pairs] for cover in (found, truth)
    ]
    observed = float(np.mean(np.equal(*together)))
    levels = range(max(map(max, together)) + 1)
    expected = sum(together[0].count(level) * together[1].count(level) for level in levels) / len(pairs) ** 2
    return (observed - expected) / (1 - expected)


def f1(x: set[int], y: set[int]) -> float:
    """Harmonic mean of precision and recall."""
    return 2 * len(x & y) / (len(x) + len(y))


def average_f1(found: Sets, truth: Sets) -> float:
    """Yang, Leskovec 2013."""
    a = np.mean([max(f1(x, y) for y in truth) for x in found])
    b = np.mean([max(f1(x, y) for x in found) for y in truth])
    return float(a + b) / 2


def membership_error(found: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Matrices (n, k) and (n, k'), rows sum to 1 or are 0; all matchings are tried."""
    k = found.shape[1] + truth.shape[1]

    def padded(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        alone = (matrix.sum(axis=1, keepdims=True) == 0).astype(float)  # in no community: one of its own, matched
        return np.hstack([alone, matrix, np.zeros((len(matrix), k - matrix.shape[1]))])

    a, b = padded(found), padded(truth)
    orders = ((0, *(1 + i for i in order)) for order in itertools.permutations(range(k)))
    return min(float(np.abs(a - b[:, order]).sum(axis=1).mean()) / 2 for order in orders)


def recovery(found: Sets, truth: Sets, n: int, threshold: float) -> tuple[float, float]:
    """(ratio, error) of Huang et al. 2015, with scipy's test of the correlation."""
    vectors = [
        [np.isin(np.arange(n), list(community)).astype(float) for community in cover] for cover in (found, truth)
    ]
    error, recovered = 0.0, 0
    for y in vectors[1]:
        related = []
        for x in vectors[0]:
            test = stats.pearsonr(x, y)
            if test.statistic > 0 and test.pvalue < threshold:
                related.append(float(np.abs(x - y).mean()))
        recovered += bool(related)
        error += sum(related)
    return recovered / len(truth), error / len(truth)
