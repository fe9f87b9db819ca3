"""The overlapping block model of a graph: what it says of an edge, and how likely it makes the graph.

P(edge uv) = 1 - exp(-lambda_uv), lambda_uv = b theta_u theta_v + sum_z F_uz F_vz: links come from shared communities
(Yang and Leskovec 2013, BigCLAM) and from a background that knows degrees only (Karrer and Newman 2011). Absent edges
enter by sums alone, so that everything costs the edges times the communities of their ends.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tdtool.data.graph import Graph

Floats = NDArray[np.float64]


class Nodes(Protocol):
    """What is asked of a graph where its edges are not looked at. degrees : (n,); n_left : None unless bipartite."""

    @property
    def n_nodes(self) -> int: ...
    @property
    def n_left(self) -> int | None: ...
    @property
    def degrees(self) -> Floats: ...


@dataclasses.dataclass(frozen=True)
class Background:
    """Links that no community explains: rate scale * propensity_u * propensity_v. propensity : (n,) float64."""

    scale: float
    propensity: Floats

    def pairs(self, n_left: int | None) -> float:
        """Sum of propensity_u propensity_v over the pairs u < v that may be linked, of both sides when bipartite."""
        theta = self.propensity
        if n_left is not None:
            return float(theta[:n_left].sum() * theta[n_left:].sum())
        return float((theta.sum() ** 2 - (theta**2).sum()) / 2)

    def making(self, links: float, n_left: int | None) -> Background:
        """The same propensities with the scale that makes so many links."""
        pairs = self.pairs(n_left)
        return dataclasses.replace(self, scale=links / pairs if pairs > 0 else 0.0)

    def in_order(self, order: NDArray[np.int64]) -> Background:
        """Of nodes order[0], order[1], ..."""
        return dataclasses.replace(self, propensity=self.propensity[order])


@dataclasses.dataclass(frozen=True)
class Strengths:
    """F on sparse supports. indptr (n + 1,), communities (entries,) ascending in a node, values (entries,) F >= 0.

    expected : (entries,) expected links of the last E step; n_communities : k.
    """

    indptr: NDArray[np.int64]
    communities: NDArray[np.int32]
    values: Floats
    expected: Floats
    n_communities: int

    @classmethod
    def none(cls, n_nodes: int) -> Strengths:
        """No communities at all."""
        return cls(np.zeros(n_nodes + 1, np.int64), np.zeros(0, np.int32), np.zeros(0), np.zeros(0), 0)

    @property
    def nodes(self) -> NDArray[np.int64]:
        """(entries,) the node of each entry."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    def sums(self) -> Floats:
        """(k,) S_z, sum of F."""
        return np.asarray(np.bincount(self.communities, self.values, self.n_communities), np.float64)

    def links(self) -> Floats:
        """(k,) kappa_z, expected ends of links inside, and one: what describes how much used a community is."""
        return np.asarray(np.bincount(self.communities, self.expected, self.n_communities) + 1, np.float64)

    def sizes(self) -> NDArray[np.int64]:
        """(k,) members that are linked inside."""
        return np.bincount(self.communities[self.expected > 0], minlength=self.n_communities)

    def strongest(self) -> Floats:
        """(entries,) the most expected links of any membership of the same node."""
        counts = np.diff(self.indptr)
        if not self.expected.size:
            return self.expected
        return np.repeat(np.maximum.reduceat(self.expected, self.indptr[:-1][counts > 0]), counts[counts > 0])

    def kept(self, keep: NDArray[np.bool_]) -> Strengths:
        """Without the entries that `keep` (entries,) denies; communities keep their numbers."""
        counts = np.concatenate([[0], np.cumsum(keep)])
        parts = (self.communities[keep], self.values[keep], self.expected[keep])
        return Strengths(counts[self.indptr], *parts, self.n_communities)

    def back_from(self, order: NDArray[np.int64]) -> Strengths:
        """Of nodes 0, 1, ... where these are of nodes order[0], order[1], ..."""
        nodes = order[self.nodes]
        entries = np.argsort(nodes, kind="stable")
        indptr = np.concatenate(([0], np.cumsum(np.bincount(nodes, minlength=order.size)))).astype(np.int64)
        parts = (self.communities[entries], self.values[entries], self.expected[entries])
        return Strengths(indptr, *parts, self.n_communities)


def background_likelihood(graph: Graph, propensity: Floats) -> float:
    """Log likelihood in nats of the model without communities. propensity : (n,) theta."""
    return log_likelihood(graph, Strengths.none(graph.n_nodes), Background(1.0, propensity))


def one_community(graph: Nodes, propensity: Floats) -> tuple[Strengths, Background]:
    """The model without communities, said with one: all nodes that have edges belong to it, as much as they are linked.

    propensity : (n,) theta, which become F.
    """
    inside = propensity > 0
    indptr = np.concatenate([[0], np.cumsum(inside)]).astype(np.int64)
    degrees = graph.degrees[inside]
    whole = Strengths(indptr, np.zeros(len(degrees), np.int32), propensity[inside], degrees, 1)
    return whole, Background(0.0, propensity)


def membership_gains(graph: Graph, found: Strengths, background: Background) -> Floats:
    """What each membership is worth, in bits: (entries,) log likelihood that would be lost without it.

    [sum_v g(lambda_uv) - g(lambda_uv - F_uz F_vz) - F_uz (S_z - F_uz)] / ln 2, g(x) = w log(1 - exp(-x)) + x.
    """
    gains = graph.passes.gains(*model_arguments(found, background))
    return gains - found.values * others(graph, found) / np.log(2)


def membership_costs(graph: Graph, found: Strengths) -> Floats:
    """Bits to write each membership down: which community, and how strong, (entries,)."""
    links = found.links()
    return np.log2(links.sum() / links)[found.communities] + np.log2(graph.degrees + 1)[found.nodes] / 2


def others(graph: Graph, found: Strengths) -> Floats:
    """(entries,) sum of F of the nodes that each entry's node may be linked with inside the community."""
    if graph.n_left is None:
        return np.maximum(found.sums()[found.communities] - found.values, 0.0)
    cut = int(found.indptr[graph.n_left])
    sides = [
        np.bincount(found.communities[part], found.values[part], found.n_communities)
        for part in (slice(cut, None), slice(0, cut))
    ]
    return np.concatenate([sides[0][found.communities[:cut]], sides[1][found.communities[cut:]]])


def log_likelihood(graph: Graph, found: Strengths, background: Background) -> float:
    """Log likelihood in nats: sum over edges of w log(1 - exp(-lambda)) + lambda less sum over all pairs of lambda."""
    edges = float(graph.passes.sparse(*model_arguments(found, background), scored=True)[2].sum()) / 2
    inside = float((found.values * others(graph, found)).sum()) / 2
    return edges - inside - background.scale * background.pairs(graph.n_left)


def model_arguments(found: Strengths, background: Background) -> tuple[Any, ...]:
    """What passes over the edges take, in their order."""
    return found.indptr, found.communities, found.values, background.scale, background.propensity
