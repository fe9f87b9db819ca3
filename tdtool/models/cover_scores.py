"""How alike two covers of the same nodes are: found communities against true ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import diags_array, hstack
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from tdtool.models.cover import Cover
from tdtool.models.cover_overlaps import Overlaps, overlaps, shared_weight
from tdtool.models.omega_index import omega_index
from tdtool.models.recovery import Recovery, recovery

__all__ = [
    "Recovery",
    "average_f1",
    "best_f1",
    "matched_communities",
    "membership_error",
    "omega_index",
    "onmi_lfk",
    "onmi_max",
    "recovery",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def onmi_max(found: Cover, truth: Cover) -> float:
    """Overlapping normalised mutual information, 0 to 1: I(X:Y) / max(H(X), H(Y)).

    Source: McDaid, Greene, Hurley 2011, "Normalized mutual information to evaluate overlapping community finding
    algorithms", equations 1-3 and NMI_max. Covers whose communities all hold every node, or that have none, tell
    nothing: 1 when both are like that, 0 when one is. Communities without members do not count.
    """
    pairs = overlaps(found, truth)
    entropies, left = _conditional_entropies(pairs)
    entropies_, left_ = _conditional_entropies(pairs.swapped())
    most = max(float(entropies.sum()), float(entropies_.sum()))
    if most == 0:
        return float(bool(entropies.size) == bool(entropies_.size))
    shared = (entropies - left).sum() + (entropies_ - left_).sum()
    return float(shared) / (2 * most)


def onmi_lfk(found: Cover, truth: Cover) -> float:
    """Overlapping normalised mutual information in its first form, 0 to 1: each community is normalised by itself.

    Source: Lancichinetti, Fortunato, Kertesz 2009, "Detecting the overlapping and hierarchical community structure in
    complex networks", appendix B, with its condition (B.14) that a complement is no match. A community of all nodes
    has no entropy: it counts as found where the other cover has it too. Communities without members do not count.
    """
    pairs = overlaps(found, truth)
    sides = [_normalised_loss(side) for side in (pairs, pairs.swapped())]
    if not sides[0].size or not sides[1].size:
        return float(sides[0].size == sides[1].size)
    return 1 - float(sides[0].mean() + sides[1].mean()) / 2


def average_f1(found: Cover, truth: Cover) -> float:
    """Mean over both directions of the mean F1 of each community with its best match in the other cover, 0 to 1.

    Source: Yang, Leskovec 2013, "Overlapping community detection at scale: a nonnegative matrix factorization
    approach", section 5. Communities without members do not count; 1 when neither cover has any, 0 when one has none.
    """
    pairs = overlaps(found, truth)
    means = []
    for side in (pairs, pairs.swapped()):
        scores = _best_f1(side)[0][side.found_sizes > 0]
        means.append(float(scores.mean()) if scores.size else None)
    if means[0] is None or means[1] is None:
        return float(means[0] == means[1])
    return (means[0] + means[1]) / 2


def best_f1(found: Cover, truth: Cover) -> tuple[Floats, Integers]:
    """For each true community (k',): F1 of the found one that fits best, and its number (-1: none shares a node)."""
    return _best_f1(overlaps(found, truth).swapped())


def membership_error(found: Cover, truth: Cover) -> float:
    """Mean over nodes of half the L1 distance between the two rows of memberships, 0 to 1.

    Communities are matched one to one so that this is least (assignment problem); one without a partner is set
    against nothing. Being in no community counts as a community of its own, which matches only itself: so a node that
    one of the covers leaves out is wholly wrong.
    """
    if found.n_nodes == 0:
        return 0.0
    weights, matches = _matching(found, truth)
    neither = np.count_nonzero((found.n_memberships == 0) & (truth.n_memberships == 0))
    return max(0.0, 1 - (float(weights[matches >= 0].sum()) + float(neither)) / found.n_nodes)


def matched_communities(found: Cover, truth: Cover) -> Integers:
    """(k,) the true community that belongs to each found one in the matching of `membership_error`, -1 for none."""
    return _matching(found, truth)[1]


def _matching(found: Cover, truth: Cover) -> tuple[Floats, Integers]:
    """The one-to-one matching with most shared membership: (k,) what each pair shares, and the partner or -1.

    |p - q| = p + q - 2 min(p, q), and rows sum to 1: least distance is most shared membership. Each found community
    has a place of its own beside the true ones, for staying alone, so that a full matching of the sparse table is it.
    """
    shared = shared_weight(found, truth)
    n_found, n_truth = shared.shape
    if not n_found or not shared.nnz:
        return np.zeros(n_found), np.full(n_found, -1, np.int64)
    shifted = shared.copy()
    shifted.data += 1.0  # the matching takes no weight of 0, and a constant for all changes nothing
    table = hstack([shifted, diags_array(np.ones(n_found))], format="csr")
    rows, columns = min_weight_full_bipartite_matching(table, maximize=True)
    matches, weights = np.full(n_found, -1, np.int64), np.zeros(n_found)
    real = columns < n_truth
    matches[rows[real]] = columns[real]
    weights[rows[real]] = shared[rows[real], columns[real]]
    return weights, matches


def _best_f1(pairs: Overlaps) -> tuple[Floats, Integers]:
    """For each found community (k,): F1 of its best true one, and its number; of equals the first."""
    scores = 2 * pairs.shared / (pairs.found_sizes[pairs.found] + pairs.truth_sizes[pairs.truth])
    best, partner = np.zeros(pairs.found_sizes.size), np.full(pairs.found_sizes.size, -1, np.int64)
    order = np.lexsort((-pairs.truth, scores))
    best[pairs.found[order]] = scores[order]
    partner[pairs.found[order]] = pairs.truth[order]
    return best, partner


def _normalised_loss(pairs: Overlaps) -> Floats:
    """H(X_i | Y) / H(X_i) of each found community with members; 1 for one of all nodes that Y does not have."""
    entropies, left = _conditional_entropies(pairs)
    whole = entropies == 0
    other_has_it = bool((pairs.truth_sizes == pairs.n_nodes).any())
    lost = np.divide(left, entropies, out=np.zeros_like(left), where=~whole)
    lost[whole] = float(not other_has_it)
    return lost


def _conditional_entropies(pairs: Overlaps) -> tuple[Floats, Floats]:
    """H(X_i) and min over j of H*(X_i | Y_j), in bits a node, of the found communities X_i that have members."""
    pairs = _with_large(pairs)
    n, x, y = pairs.n_nodes, pairs.found_sizes[pairs.found], pairs.truth_sizes[pairs.truth]
    both = pairs.shared
    neither, y_only, x_only = n - x - y + both, y - both, x - both
    entropies = _h(pairs.found_sizes, n) + _h(n - pairs.found_sizes, n)
    agree, differ = _h(neither, n) + _h(both, n), _h(y_only, n) + _h(x_only, n)
    given = np.maximum((_h(neither, n) - _h(n - y, n)) + (_h(both, n) - _h(y, n)) + differ, 0.0)
    left = entropies.copy()
    fits = agree >= differ
    np.minimum.at(left, pairs.found[fits], given[fits])
    some = pairs.found_sizes > 0
    return entropies[some], left[some]


def _with_large(pairs: Overlaps) -> Overlaps:
    """The pairs, and those that share no node where one of the two has more than half of all nodes.

    Others without shared nodes never fulfil the condition h(neither) >= h(X only) + h(Y only): h(p) = -p log p is
    concave with h(0) = 0, hence h(x) + h(y) >= h(x + y) > h(1 - x - y) for x + y < 1/2, and for x, y <= 1/2 < x + y
    the sum is at least h(1/2) + h(x + y - 1/2) > h(1 - x - y).
    """
    large_x = np.flatnonzero(2 * pairs.found_sizes > pairs.n_nodes)
    large_y = np.flatnonzero(2 * pairs.truth_sizes > pairs.n_nodes)
    if not large_x.size and not large_y.size:
        return pairs
    all_x, all_y = np.flatnonzero(pairs.found_sizes), np.flatnonzero(pairs.truth_sizes)
    k = pairs.truth_sizes.size
    wanted = np.concatenate([np.add.outer(large_x * k, all_y).ravel(), np.add.outer(all_x * k, large_y).ravel()])
    more = np.setdiff1d(wanted, pairs.found * k + pairs.truth)
    found, truth = np.concatenate([pairs.found, more // k]), np.concatenate([pairs.truth, more % k])
    shared = np.concatenate([pairs.shared, np.zeros(more.size, np.int64)])
    return Overlaps(found, truth, shared, pairs.found_sizes, pairs.truth_sizes, pairs.n_nodes)


def _h(count: Integers, n_nodes: int) -> Floats:
    """-p log2 p of p = count / n."""
    share = count / max(n_nodes, 1)
    return -share * np.log2(np.where(share > 0, share, 1.0))
