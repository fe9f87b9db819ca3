"""BigCLAM as its paper describes it, compiled: karateclub's has neither its start nor its line search.

Yang and Leskovec 2013, "Overlapping community detection at scale: a nonnegative matrix factorization approach":
P(edge uv) = 1 - exp(-F_u F_v), rows of F by projected gradient ascent with backtracking, from neighbourhoods of low
conductance. Their choice, the line search and the stopping rule are those of SNAP's agmfast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tdtool.data.graph import Graph
from tdtool.kernels.backend import jit_sums

_ALPHA, _BETA, _STEPS = 0.05, 0.3, 10
_MOST_STRENGTH = 1000.0


def fit_bigclam(graph: Graph, k: int, *, seed: int, max_iters: int = 1000, tol: float = 1e-4) -> NDArray[np.float64]:
    """Strengths F (n, k) >= 0. tol : relative change of the log likelihood in a pass over the nodes that ends it."""
    rng = np.random.default_rng(seed)
    strengths = _start(graph, k, rng)
    totals = strengths.sum(axis=0)
    background = -np.log1p(-1.0 / max(graph.n_nodes, 2))
    last = -np.inf
    for _ in range(max_iters):
        order = rng.permutation(graph.n_nodes)
        value = _sweep(graph.indptr, graph.neighbours, order, strengths, totals, background) / 2
        if abs(value - last) <= tol * abs(value):
            break
        last = value
    return strengths


def bigclam_members(graph: Graph, strengths: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n, k), who is a member: a strength that makes an edge of two such nodes likelier than chance, section 5."""
    density = 2 * graph.n_edges / (graph.n_nodes * (graph.n_nodes - 1))
    return np.asarray(strengths >= np.sqrt(-np.log1p(-min(density, 1 - 1e-9))))


def _start(graph: Graph, k: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """One for the members of the k neighbourhoods of least conductance, none of whose centres are linked.

    Columns that are left are of a few random nodes.
    """
    strengths = np.zeros((graph.n_nodes, k))
    taken = graph.n_neighbours == 0
    column = 0
    for node in np.argsort(_neighbourhood_conductance(graph), kind="stable"):
        if column < k and not taken[node]:
            near = graph.neighbours[graph.indptr[node] : graph.indptr[node + 1]]
            strengths[node, column] = strengths[near, column] = 1.0
            taken[near] = True
            column += 1
    for empty in range(column, k):
        strengths[rng.integers(graph.n_nodes, size=10), empty] = rng.random(10)
    return strengths


def _neighbourhood_conductance(graph: Graph) -> NDArray[np.float64]:
    """(n,) edges that leave a node and its neighbours over the smaller of the ends inside and outside."""
    adjacency = graph.adjacency()
    closed: Any = sparse.csr_array(adjacency + sparse.eye_array(graph.n_nodes, format="csr"))
    inside = np.asarray((closed @ adjacency).multiply(closed).sum(axis=1)).ravel()
    volume = closed @ graph.degrees
    smaller = np.minimum(volume, graph.degrees.sum() - volume)
    return np.divide(volume - inside, smaller, out=np.ones(graph.n_nodes), where=smaller > 0)


@jit_sums
def _sweep(indptr, neighbours, order, strengths, totals, background):  # type: ignore[no-untyped-def]
    """A gradient step for each node, in place; the sum over nodes of their parts of the log likelihood."""
    k = strengths.shape[1]
    gradient, trial, rest = np.empty(k), np.empty(k), np.empty(k)
    total = 0.0
    for u in order:
        near = neighbours[indptr[u] : indptr[u + 1]]
        for z in range(k):
            rest[z] = totals[z] - strengths[u, z]
        for v in near:
            for z in range(k):
                rest[z] -= strengths[v, z]
        before = _slope(near, strengths, u, rest, background, gradient)
        length = 0.0
        for z in range(k):
            length += gradient[z] * gradient[z]
        step, after = 1.0, before
        for _ in range(_STEPS):
            for z in range(k):
                trial[z] = min(max(strengths[u, z] + step * gradient[z], 0.0), _MOST_STRENGTH)
            after = _value(near, strengths, trial, rest, background)
            if after >= before + _ALPHA * step * length:
                break
            step *= _BETA
        else:
            total += before
            continue
        for z in range(k):
            totals[z] += trial[z] - strengths[u, z]
            strengths[u, z] = trial[z]
        total += after
    return total


@jit_sums
def _slope(near, strengths, u, rest, background, gradient):  # type: ignore[no-untyped-def]
    """The gradient in the strengths of u, in place; u's part of the log likelihood."""
    k = strengths.shape[1]
    value = 0.0
    for z in range(k):
        gradient[z] = -rest[z]
        value -= rest[z] * strengths[u, z]
    for v in near:
        rate = background
        for z in range(k):
            rate += strengths[u, z] * strengths[v, z]
        value += np.log(-np.expm1(-rate))
        pull = 1.0 / np.expm1(rate) if rate < 500.0 else 0.0
        for z in range(k):
            gradient[z] += pull * strengths[v, z]
    for z in range(k):
        if strengths[u, z] <= 0.0 and gradient[z] < 0.0:
            gradient[z] = 0.0
    return value


@jit_sums
def _value(near, strengths, row, rest, background):  # type: ignore[no-untyped-def]
    """A node's part of the log likelihood, had it this row of strengths."""
    value = 0.0
    for z in range(row.size):
        value -= rest[z] * row[z]
    for v in near:
        rate = background
        for z in range(row.size):
            rate += row[z] * strengths[v, z]
        value += np.log(-np.expm1(-rate))
    return value
