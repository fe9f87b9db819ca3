"""The omega index: do two covers put the same pairs of nodes together equally often?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from tdtool.models.cover import Cover
from tdtool.models.cover_overlaps import check_same_nodes, members, work_blocks

#: Products that one block of rows may take.
_BLOCK = 1 << 22


def omega_index(found: Cover, truth: Cover) -> float:
    """Share of the pairs of nodes that are together in equally many communities of both covers, adjusted for chance.

    (observed - expected) / (1 - expected): 1 for equal covers, about 0 for independent ones, possibly below. Exact:
    every pair that is together anywhere is counted. Time and not memory grows with the squares of the communities'
    sizes. 1 when there are fewer than two nodes, or when both covers put all pairs together equally often.
    Source: Collins, Dent 1988, "Omega: a general formulation of the Rand index of cluster recovery suitable for
    non-disjoint solutions", equation 4.
    """
    check_same_nodes(found, truth)
    table = _pair_counts(found, truth)
    n_pairs = int(table.sum())
    if n_pairs == 0:
        return 1.0
    levels = min(table.shape)
    observed = int(np.trace(table))
    # Python's integers: the products pass 2**63.
    expected = sum(int(table[level].sum()) * int(table[:, level].sum()) for level in range(levels))
    possible = n_pairs * n_pairs - expected
    return 1.0 if possible == 0 else (observed * n_pairs - expected) / possible


def _pair_counts(found: Cover, truth: Cover) -> NDArray[np.int64]:
    """How many pairs of nodes are together in a communities of `found` and b of `truth`, at [a, b].

    One sparse product gives both counts of a pair as a + b * base.
    """
    base = int(found.n_memberships.max(initial=0)) + 1
    top = int(truth.n_memberships.max(initial=0)) + 1
    left, right = members(found).astype(np.int64), members(truth).astype(np.int64)
    both = csr_array(hstack([left, right * base], format="csr"))
    transposed = csr_array(hstack([left, right], format="csr").T)
    counts = np.zeros(base * top, np.int64)
    for start, stop in work_blocks(_work(found) + _work(truth), _BLOCK):
        together = both[start:stop] @ transposed
        counts += np.bincount(together.data, minlength=counts.size)
    np.subtract.at(counts, found.n_memberships + base * truth.n_memberships, 1)  # every node with itself
    counts[0] = 0
    counts //= 2  # each pair came from both ends
    counts[0] = found.n_nodes * (found.n_nodes - 1) // 2 - counts.sum()
    return counts.reshape(top, base).T


def _work(cover: Cover) -> NDArray[np.int64]:
    """(n,) members of all communities of each node."""
    sums = np.concatenate([[0], np.cumsum(cover.sizes[cover.communities])])
    return np.asarray(sums[cover.indptr[1:]] - sums[cover.indptr[:-1]], np.int64)
