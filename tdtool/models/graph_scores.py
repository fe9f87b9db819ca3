"""How good communities are without a truth to compare with: from the graph and the memberships alone.

Every score is one pass over the edges, by one thread and in the order of the nodes, so that no result depends on the
number of threads. The members of a community are the nodes with an entry in its column; shares are the entries.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdtool.data.graph import Graph
from tdtool.kernels import graph_scores_cpu as kernels
from tdtool.models.cover import Cover

#: The most communities whose link probabilities are found at once: a matrix of so many rows and columns.
MOST_LINKED = 2000
_ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True)
class GraphScores:
    """All scores of one pass.

    modularity : overlapping_modularity; conductance, density : (k,) float64; covered_nodes, covered_edges : shares of
    the nodes in some community and of the edges (by weight) with both ends in the same.
    """

    modularity: float
    conductance: NDArray[np.float64]
    density: NDArray[np.float64]
    covered_nodes: float
    covered_edges: float


@dataclasses.dataclass(frozen=True)
class Bridges:
    """Nodes of several communities, those that tie most together first.

    nodes : (b,) int64; entropy : (b,) float64, of the node's shares in bits; score : (b,) float64, entropy x degree,
    descending, and nodes ascending where it is equal.
    """

    nodes: NDArray[np.int64]
    entropy: NDArray[np.float64]
    score: NDArray[np.float64]


def graph_scores(graph: Graph, cover: Cover) -> GraphScores:
    """Modularity, conductance, density and coverage together. ValueError when the cover is of another graph's nodes."""
    inside = _Inside.of(graph, cover)
    return GraphScores(
        modularity=inside.modularity(),
        conductance=inside.conductance(),
        density=inside.density(),
        covered_nodes=float(np.count_nonzero(cover.n_memberships) / max(1, cover.n_nodes)),
        covered_edges=inside.covered / inside.total if inside.total > 0 else 0.0,
    )


def overlapping_modularity(graph: Graph, cover: Cover) -> float:
    """Q = 1/2m sum_z sum_{u,v} (A_uv - d_u d_v / 2m) a_uz a_vz, with shares a whose rows sum to 1.

    Nepusz, Petroczi, Negyessy and Bazso 2008, "Fuzzy communities and the concept of bridgeness in complex networks"
    (Physical Review E 77, 016107), their fuzzy modularity; for equal shares 1/(communities of the node) it is EQ of
    Shen, Cheng, Cai and Hu 2009, "Detect overlapping and hierarchical community structure in networks" (Physica A 388),
    and for one community a node it is Newman's. Weights count. In a bipartite graph chance joins the two sides only, as
    in Barber 2007 (Physical Review E 76, 066102): 1/m sum over pairs across of (A_uv - d_u d_v / m) a_uz a_vz. A node
    in no community adds nothing. 0 for a graph without edges.
    """
    return _Inside.of(graph, cover).modularity()


def conductance(graph: Graph, cover: Cover) -> NDArray[np.float64]:
    """(k,) float64: weight of the edges that leave the members, over the smaller volume of members and other nodes.

    The volume of a set is the sum of its degrees. 0 where no edge leaves (also where the members, or the others, have
    no edges at all). Overlap is no matter here: each community is a set of nodes by itself.
    """
    return _Inside.of(graph, cover).conductance()


def internal_density(graph: Graph, cover: Cover) -> NDArray[np.float64]:
    """(k,) float64: the share of all pairs of members that an edge joins, whatever its weight.

    In a bipartite graph of the pairs across the sides. 0 where there is no pair.
    """
    return _Inside.of(graph, cover).density()


def coverage(graph: Graph, cover: Cover) -> tuple[float, float]:
    """The share of the nodes in some community, and of the edges (by weight) whose ends are in one together."""
    scores = graph_scores(graph, cover)
    return scores.covered_nodes, scores.covered_edges


def link_probability(graph: Graph, cover: Cover, communities: ArrayLike | None = None) -> NDArray[np.float64]:
    """P[z, w] = sum_{u != v} a_uz a_vw [u and v are joined] / sum_{u != v} a_uz a_vw : (k', k') float64, symmetric.

    How likely an edge joins two nodes as far as they belong to z and w; an edge counts 1 whatever its weight. This is
    the estimate of the matrix P of the mixed-membership block model from known memberships. In a bipartite graph u and
    v are on different sides. 0 where no pair is left. communities : (k',) the rows that are wanted, default all;
    ValueError for more than MOST_LINKED, for repeated ones and for those that do not exist.
    """
    _check(graph, cover)
    wanted = np.arange(cover.n_communities) if communities is None else np.asarray(communities, np.int64).reshape(-1)
    if wanted.size > MOST_LINKED:
        raise ValueError(f"{wanted.size} communities are too many for a matrix of all; at most {MOST_LINKED}")
    if wanted.size and (wanted.min() < 0 or wanted.max() >= cover.n_communities):
        raise ValueError(f"there are communities 0 to {cover.n_communities - 1}")
    place = np.full(cover.n_communities, -1, np.int32)
    place[wanted] = np.arange(wanted.size)
    if not np.array_equal(place[wanted], np.arange(wanted.size)):
        raise ValueError("a community is asked for twice")
    links = np.zeros((wanted.size, wanted.size))
    entries = (cover.indptr, cover.communities, cover.weights)
    kernels.add_links(graph.indptr, graph.neighbours, *entries, place, links)
    left, right = _side_sums(graph, cover, cover.weights)
    left, right = left[wanted], right[wanted]
    if graph.n_left is None:
        pairs = np.outer(left, left)
        kernels.subtract_same_node(*entries, place, pairs)
    else:
        pairs = np.outer(left, right) + np.outer(right, left)
    return np.minimum(np.divide(links, pairs, out=np.zeros_like(links), where=pairs > 0), 1.0)


def bridges(cover: Cover, degrees: ArrayLike | None = None, *, most: int | None = None) -> Bridges:
    """The nodes of several communities by entropy of their shares x degree.

    degrees : (n,) float, default 1 for all; most : how many are wanted, default all.
    """
    chosen = np.flatnonzero(cover.n_memberships > 1)
    entries = -cover.weights * np.log2(cover.weights)
    entropy = np.bincount(cover.entry_nodes(), entries, minlength=cover.n_nodes)[chosen].astype(np.float64)
    weight = np.ones(cover.n_nodes) if degrees is None else np.asarray(degrees, np.float64)
    if weight.shape != (cover.n_nodes,):
        raise ValueError(f"{weight.size} degrees for {cover.n_nodes} nodes")
    score = entropy * weight[chosen]
    order = np.argsort(-score, kind="stable")[:most]
    return Bridges(chosen[order], entropy[order], score[order])


@dataclasses.dataclass(frozen=True)
class _Inside:
    """Sums over edges and members, by community (k,) float64; an edge inside counts from both ends.

    weight, count, joint : see kernels.add_inside; covered : weight inside any community; volume : degrees of the
    members; total : of all nodes; left_degrees, right_degrees : degrees times shares on each side (the left is
    everything where there are no sides); left_sizes, right_sizes : members on each side.
    """

    bipartite: bool
    weight: NDArray[np.float64]
    count: NDArray[np.float64]
    joint: NDArray[np.float64]
    covered: float
    volume: NDArray[np.float64]
    total: float
    left_degrees: NDArray[np.float64]
    right_degrees: NDArray[np.float64]
    left_sizes: NDArray[np.float64]
    right_sizes: NDArray[np.float64]

    @classmethod
    def of(cls, graph: Graph, cover: Cover) -> _Inside:
        _check(graph, cover)
        weight, count, joint = np.zeros((3, cover.n_communities))
        edge_weights = np.zeros(0, np.float32) if graph.weights is None else graph.weights
        entries = (cover.indptr, cover.communities, cover.weights)
        covered = kernels.add_inside(graph.indptr, graph.neighbours, edge_weights, *entries, weight, count, joint)
        degrees = graph.degrees
        member_degrees = np.repeat(degrees, cover.n_memberships)
        volume = np.bincount(cover.communities, member_degrees, minlength=cover.n_communities).astype(np.float64)
        member_degrees *= cover.weights
        left_degrees, right_degrees = _side_sums(graph, cover, member_degrees)
        left_sizes, right_sizes = _side_sums(graph, cover, None)
        sums = (weight, count, joint, float(covered), volume, float(degrees.sum()))
        return cls(graph.n_left is not None, *sums, left_degrees, right_degrees, left_sizes, right_sizes)

    def modularity(self) -> float:
        if self.total == 0:
            return 0.0
        if self.bipartite:
            expected = 4 * (self.left_degrees / self.total) * (self.right_degrees / self.total)
        else:
            expected = np.square(self.left_degrees / self.total)
        return float(np.sum(self.joint / self.total - expected))

    def conductance(self) -> NDArray[np.float64]:
        others = self.total - self.volume
        leaving = self.volume - self.weight
        # Differences of sums: what is left of nothing after rounding must not become a ratio.
        real = (leaving > _ROUNDING * self.volume) & (others > _ROUNDING * self.total)
        return np.divide(leaving, np.minimum(self.volume, others), out=np.zeros_like(leaving), where=real)

    def density(self) -> NDArray[np.float64]:
        others = self.right_sizes if self.bipartite else (self.left_sizes - 1) / 2
        pairs = self.left_sizes * others
        return np.divide(self.count / 2, pairs, out=np.zeros_like(pairs), where=pairs > 0)


def _side_sums(
    graph: Graph, cover: Cover, values: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of an entry's values (None: 1 each) by community, of the nodes on the left and on the right."""
    border = int(cover.indptr[cover.n_nodes if graph.n_left is None else graph.n_left])
    sides = (slice(0, border), slice(border, None))
    left, right = (
        np.bincount(cover.communities[side], None if values is None else values[side], minlength=cover.n_communities)
        for side in sides
    )
    return left.astype(np.float64), right.astype(np.float64)


def _check(graph: Graph, cover: Cover) -> None:
    if cover.n_nodes != graph.n_nodes:
        raise ValueError(f"the cover is of {cover.n_nodes} nodes, the graph has {graph.n_nodes}")
