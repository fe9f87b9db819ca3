"""Edges kept out of the fit and predicted by it: drawn by hashing, so that neither order nor luck matters."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.kernels import graph_scores_cpu as kernels
from tdtool.models.cover import Cover
from tdtool.models.held_out import document_keys

_OTHER_DRAW = 0x5DEECE66D


class EdgeSplit(NamedTuple):
    """A graph without some of its edges. training : Graph of all nodes; positives, negatives : (h, 2) int64.

    positives : the edges left out; negatives : pairs of nodes that no edge joins. Both rows and columns ascend.
    """

    training: Graph
    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]


class LinkModel(Protocol):
    """What predicts edges: the rate of a pair is background x propensity_u x propensity_v + sum_z F_uz F_vz."""

    @property
    def cover(self) -> Cover: ...
    @property
    def strengths(self) -> NDArray[np.float64]: ...
    @property
    def background(self) -> float: ...
    @property
    def propensity(self) -> NDArray[np.float64]: ...


def split_edges(graph: Graph, share: float, *, seed: int) -> EdgeSplit:
    """Take a share of the edges out, and draw as many pairs without an edge.

    Each edge has a key that is a hash of (seed, its two nodes); those with the smallest keys go, but none that is the
    last edge of a node by then: so every node with edges keeps one, and fewer edges than asked for are taken from a
    graph that is little more than a tree (none from a star). The pairs without an edge are drawn evenly from all there
    are between nodes with edges, each at most once; in a bipartite graph across the sides. There are as many as edges
    taken, or all there are. ValueError unless 0 <= share < 1.
    """
    if not 0 <= share < 1:
        raise ValueError(f"the share of edges to hold out is {share}; want at least 0 and less than 1")
    rows = np.repeat(np.arange(graph.n_nodes, dtype=np.int32), graph.n_neighbours)
    upper = rows < graph.neighbours
    tails, heads = rows[upper], graph.neighbours[upper]
    keys = document_keys(tails.astype(np.int64) * graph.n_nodes + heads, seed)
    order = np.argsort(keys, kind="stable")
    taken_in_order = np.zeros(order.size, np.bool_)
    wanted = round(share * order.size)
    kernels.spare_edges(tails[order], heads[order], graph.n_neighbours.copy(), wanted, taken_in_order)
    taken = np.zeros(order.size, np.bool_)
    taken[order] = taken_in_order
    positives = np.stack([tails[taken], heads[taken]], axis=1).astype(np.int64)
    return EdgeSplit(_without(graph, upper, heads, taken), positives, non_edges(graph, len(positives), seed=seed))


def non_edges(graph: Graph, wanted: int, *, seed: int) -> NDArray[np.int64]:
    """Different pairs (u, v), u < v, of nodes with edges, but without one between them : (at most wanted, 2) int64.

    Drawn evenly by a hash of seed; in a bipartite graph u is on the left, v on the right. Rows ascend.
    """
    active = np.flatnonzero(graph.n_neighbours > 0)
    place = np.zeros(graph.n_nodes, np.int32)
    place[active] = np.arange(active.size)
    indptr = np.append(graph.indptr[active], graph.indptr[-1])
    neighbours = place[graph.neighbours]
    nodes = np.arange(active.size)
    above = np.bincount(np.repeat(nodes, np.diff(indptr)), neighbours > np.repeat(nodes, np.diff(indptr)))
    n_above = above.astype(np.int64)
    if graph.n_left is None:
        start = nodes + 1
    else:
        start = np.full(active.size, np.searchsorted(active, graph.n_left))
        nodes = nodes[: start[0]] if active.size else nodes
    partners = np.zeros(active.size, np.int64)
    partners[: nodes.size] = active.size - start[: nodes.size] - n_above[: nodes.size]
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(partners)])
    ranks = _distinct(int(before[-1]), wanted, seed ^ _OTHER_DRAW)
    pairs = np.empty((ranks.size, 2), np.int64)
    kernels.unrank_non_edges(ranks, before, start, indptr, neighbours, pairs)
    return active[pairs]


def link_rates(fit: LinkModel, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """lambda of each pair : (h,) float64. pairs : (h, 2) int64 of nodes."""
    rates = fit.background * fit.propensity[pairs[:, 0]] * fit.propensity[pairs[:, 1]]
    kernels.add_rates(pairs, fit.cover.indptr, fit.cover.communities, fit.strengths, rates)
    return rates


def auc(fit: LinkModel, positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> float:
    """How often an edge has a higher rate than a pair without one (see rank_auc). Both are (h, 2) int64, of nodes."""
    return rank_auc(link_rates(fit, positives), link_rates(fit, negatives))


def degree_auc(training: Graph, positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> float:
    """The same for the degrees alone: pairs by d_u d_v in the training graph. What communities have to improve on."""
    degrees = training.degrees
    return rank_auc(*(degrees[pairs[:, 0]] * degrees[pairs[:, 1]] for pairs in (positives, negatives)))


def rank_auc(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> float:
    """The area under the ROC curve: the share of pairs (positive, negative) in which the positive is larger.

    Equal ones count half (Mann and Whitney 1947); exact, from ranks. NaN when one of the two is empty.
    """
    if positives.size == 0 or negatives.size == 0:
        return float("nan")
    ordered = np.sort(negatives)
    below = int(np.searchsorted(ordered, positives, "left").sum())
    not_above = int(np.searchsorted(ordered, positives, "right").sum())
    return (below + not_above) / (2 * positives.size * negatives.size)


def _without(graph: Graph, upper: NDArray[np.bool_], heads: NDArray[np.int32], taken: NDArray[np.bool_]) -> Graph:
    """The graph without the taken ones of the edges that `upper` marks; heads : their other ends."""
    kept = np.empty(upper.size, np.bool_)
    kept[upper] = ~taken
    # The other halves of the edges lie in the order of (head, tail).
    kept[~upper] = ~taken[np.argsort(heads, kind="stable")]
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    weights = None if graph.weights is None else graph.weights[kept]
    return dataclasses.replace(graph, indptr=before[graph.indptr], neighbours=graph.neighbours[kept], weights=weights)


def _distinct(n_values: int, wanted: int, seed: int) -> NDArray[np.int64]:
    """At most `wanted` different numbers of 0 ... n_values - 1, evenly by a hash of seed, ascending."""
    if wanted >= n_values:
        return np.arange(n_values)
    if 2 * wanted >= n_values:
        keys = document_keys(np.arange(n_values), seed)
        return np.sort(np.argpartition(keys, wanted)[:wanted])
    n_draws = wanted
    while True:
        drawn = document_keys(np.arange(n_draws), seed) % np.uint64(n_values)
        values, first = np.unique(drawn, return_index=True)
        if values.size >= wanted:
            return np.sort(values[np.argsort(first)[:wanted]].astype(np.int64))
        n_draws += 2 * (wanted - values.size) + 16
