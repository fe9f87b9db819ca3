"""Passes over the edges for overlapping block models with a Bernoulli-Poisson link (Yang and Leskovec 2013, Zhou 2015).

The rate of an edge is lambda_uv = b theta_u theta_v + sum_z F_uz F_vz, and it is there with probability
1 - exp(-lambda_uv). An edge of weight w is w times the evidence, sum_edges w log(1 - exp(-lambda)) less sum_others
lambda, which keeps rates bounded; at w = 1 it is the plain likelihood. The pass hands every edge's expected number of
links, lambda (w / (exp(lambda) - 1) + 1), to the communities that made it.

Each edge is looked at from both ends, so that a node writes its own row only: no atomics, and the same sums for any
number of threads. Strengths F come dense, (n, k), or sparse: support_indptr (n + 1,), support (entries,) communities
of each node, strengths (entries,). A pass over a part of the rows, those of nodes first, first + 1, ..., takes their
indptr (from 0), neighbours and weights with the strengths of all nodes, and returns what belongs to these nodes: put
together it is what a pass over all rows returns, bit for bit.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit, jit_sums
from tdtool.kernels.threads import blocks, run_parallel

Floats = NDArray[Any]

#: Rates below this are taken for this: a rate of nothing would make an edge impossible, and its logarithm infinite.
SMALLEST_RATE = 1e-12
_LN2 = math.log(2.0)
#: What an edge costs beside its products: an exponential, and a row that is not in the cache.
_EDGE_WORK = 64


def dense_pass(
    indptr: NDArray[np.int64],
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32] | None,
    strengths: NDArray[np.float32],
    background: float,
    propensity: NDArray[np.float64],
    *,
    first: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Expected links of every node by community, and by the background.

    indptr (n + 1,), neighbours (2m,), weights (2m,) or None: edges from both ends; strengths : (n, k) F;
    propensity : (n,) theta. Returns ((n, k) sum_v F_uz F_vz (w_uv / (exp(lambda_uv) - 1) + 1), (n,) the same for
    b theta_u theta_v). first : see above; then n of what is returned are the rows given.
    """
    first, n_rows = _rows(indptr, neighbours, strengths, propensity, first)
    out = np.empty((n_rows, strengths.shape[1]), strengths.dtype)
    shares = np.empty(n_rows)
    given = _weights(weights)

    def work(rows: slice) -> None:
        args = (indptr, neighbours, given, strengths, background, propensity)
        _dense_pass(rows.start, rows.stop, first, *args, out, shares)

    _over_nodes(work, indptr, strengths.shape[1])
    return out, shares


def sparse_pass(
    indptr: NDArray[np.int64],
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32] | None,
    support_indptr: NDArray[np.int64],
    support: NDArray[np.int32],
    strengths: NDArray[np.float64],
    background: float,
    propensity: NDArray[np.float64],
    *,
    first: int | None = None,
    scored: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The same on sparse strengths, with the edges' part of the log likelihood when it is to be `scored`.

    Returns ((entries,) expected links, (n,) expected links of the background, (n,) sum over the node's edges of
    w log(1 - exp(-lambda)) + lambda, or 0: every edge counts at both ends).
    """
    first, n_rows = _rows(indptr, neighbours, support_indptr, propensity, first)
    expected = np.zeros(int(support_indptr[first + n_rows] - support_indptr[first]))
    shares, gains = np.empty(n_rows), np.empty(n_rows)
    given, n_communities = _weights(weights), _count(support)

    def work(rows: slice) -> None:
        graph = (indptr, neighbours, given, support_indptr, support, strengths, background, propensity)
        _sparse_pass(rows.start, rows.stop, first, n_communities, *graph, scored, expected, shares, gains)

    _over_nodes(work, indptr, _width(support, propensity))
    return expected, shares, gains


def entry_gains(
    indptr: NDArray[np.int64],
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float32] | None,
    support_indptr: NDArray[np.int64],
    support: NDArray[np.int32],
    strengths: NDArray[np.float64],
    background: float,
    propensity: NDArray[np.float64],
    *,
    first: int | None = None,
) -> NDArray[np.float64]:
    """What each membership does for the edges of its node, in bits: (entries,).

    sum_v [g(lambda_uv) - g(lambda_uv - F_uz F_vz)] / ln 2 with g(x) = w_uv log(1 - exp(-x)) + x: how much the log
    likelihood of the node's edges would fall without the membership.
    """
    first, n_rows = _rows(indptr, neighbours, support_indptr, propensity, first)
    gains = np.zeros(int(support_indptr[first + n_rows] - support_indptr[first]))
    given, n_communities = _weights(weights), _count(support)

    def work(rows: slice) -> None:
        graph = (indptr, neighbours, given, support_indptr, support, strengths, background, propensity)
        _entry_gains(rows.start, rows.stop, first, n_communities, *graph, gains)

    _over_nodes(work, indptr, 8 * _width(support, propensity))
    return gains


def _rows(
    indptr: Floats, neighbours: Floats, strengths: Floats, propensity: Floats, first: int | None
) -> tuple[int, int]:
    """The first node and the number of the rows given. ValueError: the arrays do not fit each other."""
    n_rows, n_nodes = len(indptr) - 1, len(propensity)
    have = len(strengths) - (strengths.ndim == 1)
    fits = n_rows == n_nodes if first is None else 0 <= first <= n_nodes - n_rows
    if not fits or have != n_nodes or (n_rows and indptr[-1] != len(neighbours)):
        which = "" if first is None else f", from node {first} on"
        raise ValueError(
            f"the graph has {n_rows} nodes and {len(neighbours)} ends of edges{which}; strengths are of {have} nodes, "
            f"propensities of {n_nodes}"
        )
    return first or 0, n_rows


def _weights(weights: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """An empty array stands for weights of 1: kernels take one type."""
    return np.empty(0, np.float32) if weights is None else np.asarray(weights, np.float32)


def _count(support: NDArray[np.int32]) -> int:
    return int(support.max()) + 1 if len(support) else 0


def _width(support: Floats, propensity: Floats) -> int:
    return 1 + len(support) // max(len(propensity), 1)


def _over_nodes(work: Any, indptr: NDArray[np.int64], width: int) -> None:
    """`work` on blocks of nodes that have about as many edges each."""
    n_nodes, n_ends = len(indptr) - 1, int(indptr[-1]) if len(indptr) else 0
    cuts = blocks(n_ends + n_nodes, float(n_ends) * (_EDGE_WORK + 4 * width))
    borders = np.searchsorted(indptr + np.arange(n_nodes + 1), [cut.start for cut in cuts])
    stops = [*borders[1:], n_nodes]
    run_parallel([partial(work, slice(first, stop)) for first, stop in zip(borders, stops, strict=True)])


@jit
def _edge_gain(rate, weight):  # type: ignore[no-untyped-def]
    """w log(1 - exp(-lambda)) + lambda: what an edge gives back of the price lambda that every pair pays."""
    return weight * math.log(-math.expm1(-rate)) + rate


@jit_sums
def _dense_pass(start, stop, first, indptr, neighbours, weights, strengths, background, propensity, out, shares):  # type: ignore[no-untyped-def]
    k = strengths.shape[1]
    for place in range(start, stop):
        u = first + place
        row, mine = out[place], strengths[u]
        row[:] = 0
        share = 0.0
        for end in range(indptr[place], indptr[place + 1]):
            v = neighbours[end]
            other = strengths[v]
            common = np.float32(0.0)
            for z in range(k):
                common += mine[z] * other[z]
            plain = background * propensity[u] * propensity[v]
            weight = weights[end] if weights.size > 0 else 1.0
            links = weight / math.expm1(max(common + plain, SMALLEST_RATE)) + 1.0
            share += plain * links
            factor = np.float32(links)
            for z in range(k):
                row[z] += factor * other[z]
        for z in range(k):
            row[z] *= mine[z]
        shares[place] = share


@jit
def _sparse_pass(  # type: ignore[no-untyped-def]
    start,
    stop,
    first,
    n_communities,
    indptr,
    neighbours,
    weights,
    support_indptr,
    support,
    strengths,
    background,
    propensity,
    scored,
    expected,
    shares,
    gains,
):
    mine, sums = np.zeros(n_communities), np.zeros(n_communities)
    done = support_indptr[first]
    for place in range(start, stop):
        u = first + place
        for entry in range(support_indptr[u], support_indptr[u + 1]):
            mine[support[entry]] = strengths[entry]
        share, gain = 0.0, 0.0
        for end in range(indptr[place], indptr[place + 1]):
            v = neighbours[end]
            plain = background * propensity[u] * propensity[v]
            rate = plain
            for entry in range(support_indptr[v], support_indptr[v + 1]):
                rate += mine[support[entry]] * strengths[entry]
            rate = max(rate, SMALLEST_RATE)
            weight = weights[end] if weights.size > 0 else 1.0
            present = -math.expm1(-rate)
            links = weight * (1.0 / present - 1.0) + 1.0
            share += plain * links
            if scored:
                gain += weight * math.log(present) + rate
            for entry in range(support_indptr[v], support_indptr[v + 1]):
                if mine[support[entry]] > 0.0:
                    sums[support[entry]] += links * strengths[entry]
        for entry in range(support_indptr[u], support_indptr[u + 1]):
            z = support[entry]
            expected[entry - done] = sums[z] * mine[z]
            mine[z] = 0.0
            sums[z] = 0.0
        shares[place] = share
        gains[place] = gain


@jit
def _entry_gains(  # type: ignore[no-untyped-def]
    start,
    stop,
    first,
    n_communities,
    indptr,
    neighbours,
    weights,
    support_indptr,
    support,
    strengths,
    background,
    propensity,
    gains,
):
    mine, own = np.zeros(n_communities), np.zeros(n_communities, np.int64)
    done = support_indptr[first]
    for place in range(start, stop):
        u = first + place
        for entry in range(support_indptr[u], support_indptr[u + 1]):
            mine[support[entry]] = strengths[entry]
            own[support[entry]] = entry - done
        for end in range(indptr[place], indptr[place + 1]):
            v = neighbours[end]
            plain = max(background * propensity[u] * propensity[v], SMALLEST_RATE)
            rate = plain
            for entry in range(support_indptr[v], support_indptr[v + 1]):
                rate += mine[support[entry]] * strengths[entry]
            if rate == plain:
                continue
            weight = weights[end] if weights.size > 0 else 1.0
            here = _edge_gain(rate, weight)
            for entry in range(support_indptr[v], support_indptr[v + 1]):
                z = support[entry]
                if mine[z] > 0.0:
                    without = _edge_gain(max(rate - mine[z] * strengths[entry], plain), weight)
                    gains[own[z]] += (here - without) / _LN2
        for entry in range(support_indptr[u], support_indptr[u + 1]):
            mine[support[entry]] = 0.0
