"""Slow twins of the scores of communities on a graph, from their definitions: loops over all pairs of nodes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def crossing(left: int, right: int, n_left: int | None) -> bool:
    """Whether an edge may join these nodes."""
    return left != right and (n_left is None or (left < n_left) != (right < n_left))


def modularity(adjacency: Array, shares: Array, n_left: int | None) -> float:
    """1/2m sum_z sum_uv (A_uv - d_u d_v / 2m) a_uz a_vz; bipartite: pairs across only, d_u d_v / m in place of that."""
    degrees, total = adjacency.sum(axis=1), adjacency.sum()
    result = 0.0
    for u, v in itertools.product(range(len(degrees)), repeat=2):
        if n_left is None:
            expected = degrees[u] * degrees[v] / total
        else:
            expected = degrees[u] * degrees[v] / (total / 2) if crossing(u, v, n_left) else 0.0
        result += (adjacency[u, v] - expected) * float(shares[u] @ shares[v]) / total
    return result


def conductance(adjacency: Array, members: Iterable[int]) -> float:
    """Weight that leaves over the smaller volume; 0 where nothing leaves."""
    inside = set(members)
    outside = [node for node in range(len(adjacency)) if node not in inside]
    cut = sum(adjacency[u, v] for u in inside for v in outside)
    volumes = adjacency[sorted(inside)].sum(), adjacency[outside].sum()
    return float(cut / min(volumes)) if cut > 0 else 0.0


def density(adjacency: Array, members: Iterable[int], n_left: int | None) -> float:
    """Pairs that are joined over pairs that may be."""
    pairs = [(u, v) for u, v in itertools.combinations(sorted(members), 2) if crossing(u, v, n_left)]
    return sum(bool(adjacency[pair]) for pair in pairs) / len(pairs) if pairs else 0.0


def link_probability(adjacency: Array, shares: Array, n_left: int | None) -> Array:
    """sum_{u != v} a_uz a_vw [A_uv > 0] / sum_{u != v} a_uz a_vw."""
    n_communities = shares.shape[1]
    links, pairs = np.zeros((2, n_communities, n_communities))
    for u, v in itertools.permutations(range(len(adjacency)), 2):
        if crossing(u, v, n_left):
            pairs += np.outer(shares[u], shares[v])
            links += np.outer(shares[u], shares[v]) * (adjacency[u, v] > 0)
    return np.divide(links, pairs, out=np.zeros_like(links), where=pairs > 0)


def coverage(adjacency: Array, shares: Array) -> tuple[float, float]:
    """Shares of nodes in some community, of the weight of edges in one."""
    together = ((shares > 0).astype(float) @ (shares > 0).T.astype(float)) > 0
    return float((shares > 0).any(axis=1).mean()), float((adjacency * together).sum() / adjacency.sum())


def entropy(row: Array) -> float:
    """In bits."""
    return -sum(share * math.log2(share) for share in row if share > 0)


def rank_auc(positives: Array, negatives: Array) -> float:
    """Every pair compared."""
    points = sum((p > q) + 0.5 * (p == q) for p in positives for q in negatives)
    return float(points / (len(positives) * len(negatives)))


def rates(pairs: NDArray[np.int64], strengths: Array, background: float, propensity: Array) -> Array:
    """background p_u p_v + sum_z F_uz F_vz. strengths : (n, k) dense."""
    return np.array([background * propensity[u] * propensity[v] + strengths[u] @ strengths[v] for u, v in pairs])


def non_edges(adjacency: Array, n_left: int | None) -> list[tuple[int, int]]:
    """Every pair u < v without an edge, of nodes that have edges elsewhere."""
    active = [node for node in range(len(adjacency)) if adjacency[node].any()]
    return [(u, v) for u, v in itertools.combinations(active, 2) if crossing(u, v, n_left) and not adjacency[u, v]]


def best_jaccard(sets: list[set[int]], others: list[set[int]]) -> list[float]:
    """For each set the largest |both| / |either|."""
    return [
        max((len(one & other) / len(one | other) for other in others if one | other), default=0.0) if one else 0.0
        for one in sets
    ]
