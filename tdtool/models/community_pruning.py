"""Memberships pruned one by one: each must shorten the description of the graph by more than it costs to write down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.models.overlap_em import Background, Strengths, from_dense, membership_gains, sparse_em, with_expected

_LOOSE_SHARE, _LEAST_LINKS = 0.2, 1.0
_ROUNDS, _STEPS = 2, 3
#: Bits that a membership must save for each that it costs.
_PRICE = 1.0


def loose_mask(expected: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Memberships worth a look. expected : (n, k) expected links."""
    most = expected.max(axis=1, keepdims=True)
    return ((expected >= _LOOSE_SHARE * most) & (expected >= _LEAST_LINKS)) | ((expected == most) & (most > 0))


def pruned(graph: Graph, expected: NDArray[np.float32], background: Background) -> tuple[Strengths, Background]:
    """From expected links (n, k) to the memberships that pay; every node keeps its best."""
    found = from_dense(graph, expected, loose_mask(expected))
    for _ in range(_ROUNDS):
        found, background = sparse_em(graph, found, background, n_iters=_STEPS)
        found = found.kept(_worthwhile(graph, found, background))
    return sparse_em(graph, found, background, n_iters=_STEPS)


def best_only(graph: Graph, found: Strengths) -> Strengths:
    """Every node in its strongest community alone, the one with the most of its links."""
    best = np.full(graph.n_nodes, -np.inf)
    nodes = found.nodes
    np.maximum.at(best, nodes, found.expected)
    ahead = np.flatnonzero(found.expected >= best[nodes])
    _, first = np.unique(nodes[ahead], return_index=True)
    keep = np.zeros(len(nodes), np.bool_)
    keep[ahead[first]] = True
    alone = found.kept(keep)
    return with_expected(graph, alone, alone.expected)


def _worthwhile(graph: Graph, found: Strengths, background: Background) -> NDArray[np.bool_]:
    kappa = np.bincount(found.communities, found.expected, found.n_communities) + 1
    nodes = found.nodes
    cost = np.log2(kappa.sum() / kappa)[found.communities] + 0.5 * np.log2(graph.degrees + 1)[nodes]
    gains = membership_gains(graph, found, background)
    best = np.full(graph.n_nodes, -np.inf)
    np.maximum.at(best, nodes, found.expected)
    return (gains >= _PRICE * cost) | (found.expected >= best[nodes])
