"""Graphs whose communities are known because we drew them: mixed memberships, LFR, degree-corrected blocks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tdtool.data.planted_places import overlapping_places
from tdtool.data.planted_wiring import match_stubs, poisson_pairs, power_law, power_law_mean, simple_edges

_SMALLEST_SHARE = 1e-6
_NODES_AT_ONCE = 1 << 16
_PAIRS_AT_ONCE = 1 << 16


@dataclasses.dataclass(frozen=True)
class PlantedGraph:
    """A simple undirected graph and the communities that made it.

    edges : (m, 2) int64, the smaller end first, ascending, no loops, none twice; memberships : (n, k) float64 CSR,
    shares of the communities in each node, rows sum to 1; n_nodes : n, some of which may have no edge;
    link_probability : (k, k) float64, P of the block model, None where the model has no such matrix.
    """

    edges: NDArray[np.int64]
    memberships: sparse.csr_array
    n_nodes: int
    link_probability: NDArray[np.float64] | None = None

    def sets(self, least: float = 0.0) -> list[NDArray[np.int64]]:
        """The members of each community, ascending : those with a share above `least` there."""
        columns = self.memberships.tocsc()
        bounds = zip(columns.indptr[:-1], columns.indptr[1:], strict=True)
        return [
            np.sort(columns.indices[start:stop][columns.data[start:stop] > least]).astype(np.int64)
            for start, stop in bounds
        ]


def planted_mmsb(
    n_nodes: int,
    n_communities: int,
    *,
    mean_degree: float | None,
    alpha0: float,
    within: float = 1.0,
    between: float = 0.01,
    rng: np.random.Generator,
) -> PlantedGraph:
    """The mixed membership stochastic block model (Airoldi et al., JMLR 2008), undirected and assortative.

    Memberships pi_u ~ Dirichlet(alpha0 / k, ..., alpha0 / k), alpha0 = 0: every node in one community; shares below a
    millionth are cut. An edge of u and v comes with probability pi_u' P pi_v, independent of all others, where P is
    `within` on the diagonal and `between` off it, both scaled so that the mean degree is mean_degree in expectation
    (None: P as given). Time and memory grow with the edges, not with n^2. ValueError: a P with entries of 1 or more.
    """
    if n_nodes < 2 or n_communities < 1 or alpha0 < 0 or within <= 0 or between < 0:
        raise ValueError("at least 2 nodes, 1 community, alpha0 >= 0, within > 0 and between >= 0 are needed")
    memberships = _dirichlet(n_nodes, n_communities, alpha0, rng)
    link = np.full((n_communities, n_communities), float(between))
    np.fill_diagonal(link, within)
    if mean_degree is not None:
        link *= n_nodes * mean_degree / 2 / _expected_edges(memberships, link)
    tails, heads = _bernoulli_pairs(memberships, link, rng)
    return PlantedGraph(simple_edges(tails, heads, n_nodes), memberships, n_nodes, link)


def _dirichlet(n_nodes: int, n_communities: int, alpha0: float, rng: np.random.Generator) -> sparse.csr_array:
    """Memberships (n, k), block by block of nodes, so that the zeros never lie in memory together."""
    if alpha0 == 0:
        return _one_each(rng.integers(n_communities, size=n_nodes), n_communities)
    blocks = []
    for start in range(0, n_nodes, _NODES_AT_ONCE):
        size = min(_NODES_AT_ONCE, n_nodes - start)
        shares = rng.dirichlet(np.full(n_communities, alpha0 / n_communities), size=size)
        shares[shares < _SMALLEST_SHARE] = 0.0
        blocks.append(sparse.csr_array(shares / shares.sum(axis=1, keepdims=True)))
    return sparse.csr_array(sparse.vstack(blocks, format="csr"))


def _one_each(labels: NDArray[np.int64], n_communities: int) -> sparse.csr_array:
    ones = np.ones(labels.size)
    return sparse.csr_array((ones, labels, np.arange(labels.size + 1)), shape=(labels.size, n_communities))


def _expected_edges(weights: sparse.csr_array, rates: NDArray[np.float64]) -> float:
    """Sum of w_u' R w_v over the pairs u < v."""
    sums = np.asarray(weights.sum(axis=0)).ravel()
    own = (weights.T @ weights).toarray()
    return float(sums @ rates @ sums - (rates * own).sum()) / 2


def _bernoulli_pairs(
    memberships: sparse.csr_array, link: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Links such that u and v have one or more with probability p = pi_u' P pi_v exactly.

    That is a Poisson number of mean -log(1 - p), which is no bilinear form. So links are drawn with mean c p, where
    c = -log(1 - p_max) / p_max is large enough for all pairs, and each is kept with the ratio of the two means. Only
    the few that a rough bound does not keep need their own p.
    """
    largest = float(link.max())
    if largest >= 1:
        raise ValueError(
            f"an edge would have probability {largest:.3g}: lower the mean degree or take fewer communities"
        )
    bound = -math.log1p(-largest) / largest
    tails, heads = poisson_pairs(memberships, link * bound, rng)
    lot = rng.random(tails.size) * bound
    kept = lot < 1.0
    doubtful = np.flatnonzero(~kept)
    for start in range(0, doubtful.size, _PAIRS_AT_ONCE):
        some = doubtful[start : start + _PAIRS_AT_ONCE]
        mixed = memberships[tails[some]] @ link
        p = np.asarray(memberships[heads[some]].multiply(mixed).sum(axis=1)).ravel()
        kept[some] = lot[some] < -np.log1p(-p) / p
    return tails[kept], heads[kept]


def planted_disjoint(
    sizes: Sequence[int],
    *,
    mean_degree: float,
    mixing: float,
    spread: float = 0.0,
    rng: np.random.Generator,
) -> PlantedGraph:
    """Blocks of given sizes without overlap, with corrected degrees (Karrer and Newman 2011).

    u and v have a Poisson number of links of mean theta_u theta_v B_ab, and an edge when it is not 0. mixing : share of
    the links that go to other blocks, in expectation; spread : standard deviation of log theta. Repeated links make
    the mean degree a little smaller than mean_degree in dense blocks. Nodes come block by block.
    """
    if len(sizes) < 1 or min(sizes) < 2 or not 0 <= mixing < 1 or mean_degree < 0 or spread < 0:
        raise ValueError("blocks of at least 2 nodes, a mixing from 0 to below 1 and no negative degrees are needed")
    labels = np.repeat(np.arange(len(sizes)), sizes)
    memberships = _one_each(labels, len(sizes))
    propensities = np.exp(spread * rng.standard_normal(labels.size))
    weights = sparse.csr_array((propensities, labels, memberships.indptr), shape=memberships.shape)
    inside, outside = np.zeros((2, len(sizes), len(sizes)))
    np.fill_diagonal(inside, 1 / np.bincount(labels, propensities))
    outside[:] = 1.0
    np.fill_diagonal(outside, 0.0)
    n_links = labels.size * mean_degree / 2
    rates = (1 - mixing) * n_links * inside / _expected_edges(weights, inside)
    if mixing and len(sizes) > 1:
        rates += mixing * n_links * outside / _expected_edges(weights, outside)
    tails, heads = poisson_pairs(weights, rates, rng)
    return PlantedGraph(simple_edges(tails, heads, labels.size), memberships, labels.size)


def planted_lfr(
    n_nodes: int,
    *,
    mean_degree: float,
    max_degree: int,
    mixing: float,
    sizes: tuple[int, int],
    n_overlapping: int = 0,
    memberships_each: int = 2,
    degree_exponent: float = 2.0,
    size_exponent: float = 1.0,
    rng: np.random.Generator,
) -> PlantedGraph:
    """A benchmark after Lancichinetti and Fortunato (Phys. Rev. E 80, 016118, 2009), undirected, with overlap.

    Degrees follow a power law up to max_degree, community sizes one between sizes[0] and sizes[1] (both within);
    n_overlapping nodes are in memberships_each communities, the others in one. A share `mixing` of a node's edges goes
    to nodes with which it shares no community, the rest equally to its communities; both by the configuration model.
    Edges that no rewiring can place are left out. ValueError: numbers that no graph has, or communities that are too
    small for the degrees.
    """
    _check_lfr(n_nodes, mean_degree, max_degree, mixing, sizes, n_overlapping, memberships_each)
    low = _lowest_degree(mean_degree, max_degree, degree_exponent)
    degrees = _rounded(power_law(n_nodes, degree_exponent, low, float(max_degree), rng), rng)
    n_places = np.ones(n_nodes, np.int64)
    n_places[rng.permutation(n_nodes)[:n_overlapping]] = memberships_each
    inside = _rounded((1.0 - mixing) * degrees, rng)
    shares = inside[:, None] // n_places[:, None] + (np.arange(n_places.max()) < (inside % n_places)[:, None])
    places = overlapping_places(n_places, -(-inside // n_places), sizes, size_exponent, rng)
    node, column = np.nonzero(places >= 0)
    community = places[node, column]
    n_communities = int(community.max()) + 1
    internal = match_stubs(node, shares[node, column], community, n_nodes, None, rng)
    one = np.zeros(n_nodes, np.int64)
    external = match_stubs(np.arange(n_nodes), degrees - inside, one, n_nodes, places, rng)
    tails, heads = (np.concatenate(ends) for ends in zip(internal, external, strict=True))
    edges = simple_edges(tails, heads, n_nodes)
    memberships = sparse.csr_array((1.0 / n_places[node], (node, community)), shape=(n_nodes, n_communities))
    return PlantedGraph(edges, memberships, n_nodes)


def _check_lfr(
    n_nodes: int,
    mean_degree: float,
    max_degree: int,
    mixing: float,
    sizes: tuple[int, int],
    n_overlapping: int,
    each: int,
) -> None:
    if not 1 <= mean_degree <= max_degree < n_nodes:
        raise ValueError(f"mean degree {mean_degree:g} and largest degree {max_degree} do not fit {n_nodes} nodes")
    if not 0 <= mixing <= 1 or not 0 <= n_overlapping <= n_nodes or each < 1:
        raise ValueError("a mixing from 0 to 1, overlapping nodes up to n and at least 1 membership each are needed")
    if not 2 <= sizes[0] <= sizes[1] <= n_nodes:
        raise ValueError(f"communities of {sizes[0]} to {sizes[1]} nodes: they must have 2 to {n_nodes}")


def _lowest_degree(mean: float, high: int, exponent: float) -> float:
    """The lower end of the power law that has this mean, by bisection."""
    below, above = 1e-3, float(high)
    for _ in range(100):
        middle = (below + above) / 2
        below, above = (middle, above) if power_law_mean(exponent, middle, float(high)) < mean else (below, middle)
    return above


def _rounded(values: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.int64]:
    """Up or down at random, so that the mean stays."""
    return np.floor(values + rng.random(values.size)).astype(np.int64)
