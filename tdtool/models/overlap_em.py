"""EM of the overlapping block model on the edges of a graph: how strongly every node belongs to every community.

P(edge uv) = 1 - exp(-lambda_uv), lambda_uv = b theta_u theta_v + sum_z F_uz F_vz: links come from shared communities
(Yang and Leskovec 2013, BigCLAM) and from a background that knows degrees only (Karrer and Newman 2011). The E step
hands the expected number of links of each edge, lambda / (1 - exp(-lambda)) (Zhou 2015), to what made them. Absent
edges enter by sums alone, so an iteration costs the edges times the communities of their ends.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.kernels.block_strengths_cpu import dense_strengths, sparse_strengths
from tdtool.kernels.blocks_cpu import dense_pass, entry_gains, sparse_pass

#: Expected links below this are taken from a membership in every later iteration: what is not sure fades away.
SPARSITY = 0.5
#: Share of the iterations before memberships begin to fade.
_FREE_SHARE = 1 / 3
_PROPENSITY_STEPS, _SETTLED = 30, 1e-3
#: Expected links that fade in the last iterations for graded shares: much, so that traces go; then little.
_GRADED_SPARSITY = (1.5,) * 4 + (0.5,) * 4
_FIRST_BACKGROUND = 0.5


@dataclasses.dataclass(frozen=True)
class Background:
    """Links that no community explains: rate scale * propensity_u * propensity_v. propensity : (n,) float64."""

    scale: float
    propensity: NDArray[np.float64]

    def pairs(self, n_left: int | None) -> float:
        """Sum of propensity_u propensity_v over the pairs of nodes that may be linked."""
        return pair_sum(self.propensity, n_left)


@dataclasses.dataclass(frozen=True)
class Strengths:
    """F on sparse supports. indptr (n + 1,), communities (entries,) ascending in a node, values (entries,) F > 0.

    expected : (entries,) expected links of the last E step; n_communities : k.
    """

    indptr: NDArray[np.int64]
    communities: NDArray[np.int32]
    values: NDArray[np.float64]
    expected: NDArray[np.float64]
    n_communities: int

    @property
    def nodes(self) -> NDArray[np.int64]:
        """(entries,) the node of each entry."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    def n_left_entries(self, n_left: int | None) -> int | None:
        """Entries of the first side of a bipartite graph."""
        return None if n_left is None else int(self.indptr[n_left])

    def sums(self) -> NDArray[np.float64]:
        """(k,) S_z, sum of F."""
        return np.asarray(np.bincount(self.communities, self.values, self.n_communities), np.float64)

    def sizes(self) -> NDArray[np.int64]:
        """(k,) members that are linked inside."""
        return np.bincount(self.communities[self.expected > 0], minlength=self.n_communities)

    def kept(self, keep: NDArray[np.bool_]) -> Strengths:
        """Without the entries that `keep` (entries,) denies; communities keep their numbers."""
        counts = np.concatenate([[0], np.cumsum(keep)])
        parts = (self.communities[keep], self.values[keep], self.expected[keep])
        return Strengths(counts[self.indptr], *parts, self.n_communities)


def fit_propensity(graph: Graph) -> NDArray[np.float64]:
    """theta of the model without communities: P(edge uv) = 1 - exp(-theta_u theta_v). Returns (n,)."""
    degrees = graph.degrees
    total = max(float(degrees.sum()), 1.0)
    theta = degrees / np.sqrt(total if graph.n_left is None else total / 2)
    empty = (np.zeros(graph.n_nodes + 1, np.int64), np.zeros(0, np.int32), np.zeros(0))
    column = np.zeros(graph.n_nodes, np.int32)
    for _ in range(_PROPENSITY_STEPS):
        _, expected, _ = sparse_pass(graph.indptr, graph.neighbours, graph.weights, *empty, 1.0, theta)
        before, theta = theta, sparse_strengths(expected, column, 1, graph.n_left)
        if np.abs(theta - before).sum() < _SETTLED * theta.sum():
            break
    return theta


def background_likelihood(graph: Graph, propensity: NDArray[np.float64]) -> float:
    """Log likelihood in nats of the model without communities. propensity : (n,) theta."""
    none = Strengths(np.zeros(graph.n_nodes + 1, np.int64), np.zeros(0, np.int32), np.zeros(0), np.zeros(0), 0)
    return log_likelihood(graph, none, Background(1.0, propensity))


def one_community(graph: Graph, propensity: NDArray[np.float64]) -> tuple[Strengths, Background]:
    """The model without communities, said with one: all nodes that have edges belong to it, as much as they are linked.

    propensity : (n,) theta, which become F.
    """
    inside = propensity > 0
    indptr = np.concatenate([[0], np.cumsum(inside)]).astype(np.int64)
    degrees = graph.degrees[inside]
    whole = Strengths(indptr, np.zeros(len(degrees), np.int32), propensity[inside], degrees, 1)
    return whole, Background(0.0, propensity)


def pair_sum(values: NDArray[np.float64], n_left: int | None) -> float:
    """Sum of values_u values_v over unordered pairs u < v, of both sides in a bipartite graph."""
    if n_left is not None:
        return float(values[:n_left].sum() * values[n_left:].sum())
    return float((values.sum() ** 2 - (values**2).sum()) / 2)


def dense_em(
    graph: Graph,
    memberships: NDArray[np.float32],
    propensity: NDArray[np.float64],
    *,
    n_iters: int,
    sparsity: float = SPARSITY,
) -> tuple[NDArray[np.float32], Background]:
    """From memberships to expected links: EM over all communities of all nodes.

    memberships : (n, k) >= 0, rows sum to 1 or are zero; sparsity : expected links that fade from each membership after
    the first third. Returns (expected links (n, k), background); `dense_strengths` makes F of them.
    """
    expected = np.asarray(memberships * graph.degrees[:, None].astype(np.float32), np.float32)
    pairs = pair_sum(propensity, graph.n_left)
    scale = _FIRST_BACKGROUND
    for step in range(n_iters):
        strengths = dense_strengths(expected, graph.n_left)
        expected, shared = dense_pass(graph.indptr, graph.neighbours, graph.weights, strengths, scale, propensity)
        scale = shared / 2 / pairs if pairs > 0 else 0.0
        if step >= n_iters * _FREE_SHARE:
            np.maximum(expected - np.float32(sparsity), 0, out=expected)
    return expected, Background(scale, propensity)


def graded(
    graph: Graph,
    expected: NDArray[np.float32],
    background: Background,
    *,
    sparsity: Sequence[float] = _GRADED_SPARSITY,
) -> NDArray[np.float32]:
    """Mixed memberships: some more EM in which traces fade faster. Returns (n, k) F, rows sum to 1 or are zero.

    expected : (n, k), as `dense_em` leaves them; sparsity : what fades in each iteration. Left alone, EM explains the
    background by a trace of every community in every node, and the memberships of planted graphs get worse with every
    iteration.
    """
    pairs, scale = background.pairs(graph.n_left), background.scale
    for fading in sparsity:
        strengths = dense_strengths(expected, graph.n_left)
        args = (graph.indptr, graph.neighbours, graph.weights, strengths, scale, background.propensity)
        expected, shared = dense_pass(*args)
        scale = shared / 2 / pairs if pairs > 0 else 0.0
        np.maximum(expected - np.float32(fading), 0, out=expected)
    strengths = dense_strengths(expected, graph.n_left)
    total = strengths.sum(axis=1, keepdims=True)
    return np.asarray(strengths / np.where(total > 0, total, 1), np.float32)


def sparse_em(
    graph: Graph, start: Strengths, background: Background, *, n_iters: int, sparsity: float = 0.0
) -> tuple[Strengths, Background]:
    """EM restricted to the supports of `start`. sparsity : as in `dense_em`, from the first iteration on."""
    propensity, scale = background.propensity, background.scale
    pairs = background.pairs(graph.n_left)
    found = start
    for _ in range(n_iters):
        expected, shared, _ = sparse_pass(
            graph.indptr,
            graph.neighbours,
            graph.weights,
            found.indptr,
            found.communities,
            found.values,
            scale,
            propensity,
        )
        scale = float(shared.sum()) / 2 / pairs if pairs > 0 else 0.0
        found = with_expected(graph, found, np.maximum(expected - sparsity, 0))
    return found, Background(scale, propensity)


def with_expected(graph: Graph, support: Strengths, expected: NDArray[np.float64]) -> Strengths:
    """The M step: F on the supports of `support` from expected links (entries,)."""
    left = support.n_left_entries(graph.n_left)
    values = sparse_strengths(expected, support.communities, support.n_communities, left)
    return dataclasses.replace(support, values=values, expected=expected)


def from_dense(graph: Graph, expected: NDArray[np.float32], mask: NDArray[np.bool_]) -> Strengths:
    """Sparse strengths from dense expected links (n, k) where mask (n, k) allows."""
    indptr = np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int64)
    communities = np.nonzero(mask)[1].astype(np.int32)
    values = expected[mask].astype(np.float64)
    empty = Strengths(indptr, communities, values, values, expected.shape[1])
    return with_expected(graph, empty, values)


def membership_gains(graph: Graph, found: Strengths, background: Background) -> NDArray[np.float64]:
    """What each membership is worth, in bits: (entries,) log likelihood that would be lost without it.

    [sum_v g(lambda_uv) - g(lambda_uv - F_uz F_vz) - F_uz (S_z - F_uz)] / ln 2, g(x) = w log(1 - exp(-x)) + x.
    """
    gains = entry_gains(
        graph.indptr,
        graph.neighbours,
        graph.weights,
        found.indptr,
        found.communities,
        found.values,
        background.scale,
        background.propensity,
    )
    return gains - found.values * others(graph, found) / np.log(2)


def others(graph: Graph, found: Strengths) -> NDArray[np.float64]:
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
    edges = sparse_pass(
        graph.indptr,
        graph.neighbours,
        graph.weights,
        found.indptr,
        found.communities,
        found.values,
        background.scale,
        background.propensity,
        scored=True,
    )[2]
    inside = float((found.values * others(graph, found)).sum()) / 2
    return edges - inside - background.scale * background.pairs(graph.n_left)
