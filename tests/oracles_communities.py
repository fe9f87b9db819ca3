"""Slow twins of the block model on graphs and of its moments, from the formulas: loops over all pairs of nodes.

adjacency : (n, n) symmetric weights A, 0 where there is no edge; strengths : (n, k) F; background b; propensity : (n,)
theta; n_left : nodes of the first side of a bipartite graph, None for an ordinary one. Pairs are u < v.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def pairs(n_nodes: int, n_left: int | None = None) -> list[tuple[int, int]]:
    """Every pair that may be linked."""
    every = itertools.combinations(range(n_nodes), 2)
    return [(u, v) for u, v in every if n_left is None or u < n_left <= v]


# ---- the model


def rate(u: int, v: int, strengths: Array, background: float, propensity: Array) -> float:
    """lambda_uv = b theta_u theta_v + sum_z F_uz F_vz."""
    return float(background * propensity[u] * propensity[v] + sum(strengths[u] * strengths[v]))


def log_likelihood(
    adjacency: Array, strengths: Array, background: float, propensity: Array, n_left: int | None = None
) -> float:
    """sum over edges of A log(1 - exp(-lambda)) less sum over the other pairs of lambda."""
    total = 0.0
    for u, v in pairs(len(adjacency), n_left):
        expected = rate(u, v, strengths, background, propensity)
        weight = adjacency[u, v]
        total += weight * math.log(1 - math.exp(-expected)) if weight > 0 else -expected
    return total


def expected_links(adjacency: Array, strengths: Array, background: float, propensity: Array) -> tuple[Array, Array]:
    """Links that each community, (n, k), and the background, (n,), make at each node: their share of lambda in every
    edge, times the expected number of links of that edge, A lambda / (1 - exp(-lambda)) - (A - 1) lambda.
    """
    inside, plain = np.zeros_like(strengths), np.zeros(len(adjacency))
    for u, v in itertools.permutations(range(len(adjacency)), 2):
        if adjacency[u, v] > 0:
            expected = rate(u, v, strengths, background, propensity)
            links = adjacency[u, v] * expected / (1 - math.exp(-expected)) - (adjacency[u, v] - 1) * expected
            inside[u] += strengths[u] * strengths[v] / expected * links
            plain[u] += background * propensity[u] * propensity[v] / expected * links
    return inside, plain


def membership_gain(
    adjacency: Array,
    strengths: Array,
    background: float,
    propensity: Array,
    node: int,
    community: int,
    n_left: int | None = None,
) -> float:
    """Bits of likelihood that are lost when one membership is taken out."""
    without = strengths.copy()
    without[node, community] = 0
    whole = log_likelihood(adjacency, strengths, background, propensity, n_left)
    return (whole - log_likelihood(adjacency, without, background, propensity, n_left)) / math.log(2)


def slopes(
    adjacency: Array, strengths: Array, background: float, propensity: Array, n_left: int | None = None
) -> Array:
    """(n, k) derivative of the log likelihood by log F, from differences."""
    found, step = np.zeros_like(strengths), 1e-5
    for u, z in itertools.product(*map(range, strengths.shape)):
        ends = []
        for factor in (math.exp(step), math.exp(-step)):
            moved = strengths.copy()
            moved[u, z] *= factor
            ends.append(log_likelihood(adjacency, moved, background, propensity, n_left))
        found[u, z] = (ends[0] - ends[1]) / (2 * step)
    return found


def inside_links(strengths: Array, n_left: int | None = None) -> Array:
    """(n, k) sum over the other nodes v that u may be linked with of F_uz F_vz."""
    total = np.zeros_like(strengths)
    for u, v in pairs(len(strengths), n_left):
        total[u] += strengths[u] * strengths[v]
        total[v] += strengths[u] * strengths[v]
    return total


def triangles(adjacency: Array) -> int:
    """Threes of nodes that are all linked."""
    return sum(
        bool(adjacency[a, b] and adjacency[b, c] and adjacency[a, c])
        for a, b, c in itertools.combinations(range(len(adjacency)), 3)
    )


def description_cost(expected: Array, mask: NDArray[np.bool_], degrees: Array, n_edges: int, least: int) -> float:
    """sum over memberships of log2(sum kappa / kappa_z), 1/2 log2(d + 1) for every further one of a node, and
    1/2 log2 m for every community of `least` members. expected : (n, k) expected links; mask : (n, k) memberships.
    """
    kappa = [sum(expected[mask[:, z], z]) + 1 for z in range(expected.shape[1])]
    total = 0.0
    for u in range(len(expected)):
        members = [z for z in range(expected.shape[1]) if mask[u, z]]
        total += sum(math.log2(sum(kappa) / kappa[z]) for z in members)
        total += max(len(members) - 1, 0) / 2 * math.log2(degrees[u] + 1)
    return total + 0.5 * sum(mask[:, z].sum() >= least for z in range(expected.shape[1])) * math.log2(n_edges)


# ---- moments


def star_moments(views: Sequence[Array], weights: Array) -> tuple[Array, Array, Array]:
    """sum w_x a, sum w_x a (x) b, sum w_x a (x) b (x) c over centres x. views : three (n_x, n_i), rows a, b, c."""
    one = np.zeros(views[0].shape[1])
    two = np.zeros((views[0].shape[1], views[1].shape[1]))
    three = np.zeros(tuple(view.shape[1] for view in views))
    for weight, a, b, c in zip(weights, *views, strict=True):
        one += weight * a
        two += weight * np.multiply.outer(a, b)
        three += weight * np.multiply.outer(np.multiply.outer(a, b), c)
    return one, two, three


def three_star(adjacency: Array) -> Array:
    """T_abc = sum_x d_x^-2 A_xa A_xb A_xc, (n, n, n)."""
    n_nodes = len(adjacency)
    degrees, total = adjacency.sum(axis=1), np.zeros((n_nodes,) * 3)
    for a, b, c, x in itertools.product(range(n_nodes), repeat=4):
        total[a, b, c] += adjacency[x, a] * adjacency[x, b] * adjacency[x, c] / degrees[x] ** 2
    return total


def dirichlet_corrected(one: Array, two: Array, three: Array, alpha0: float) -> tuple[Array, Array]:
    """M2 = E2 - a/(a+1) E1 E1', M3 = E3 - a/(a+2) (E2 (x) E1 in three orders) + 2a^2/((a+1)(a+2)) E1 E1 E1."""
    second, third = two.copy(), three.copy()
    for i, j in itertools.product(range(len(one)), repeat=2):
        second[i, j] -= alpha0 / (alpha0 + 1) * one[i] * one[j]
    for i, j, l in itertools.product(range(len(one)), repeat=3):
        mixed = two[i, j] * one[l] + two[i, l] * one[j] + two[j, l] * one[i]
        third[i, j, l] -= alpha0 / (alpha0 + 2) * mixed
        third[i, j, l] += 2 * alpha0**2 / ((alpha0 + 1) * (alpha0 + 2)) * one[i] * one[j] * one[l]
    return second, third


def dirichlet_moments(alpha: Array) -> tuple[Array, Array, Array]:
    """E h, E h (x) h, E h (x) h (x) h of a Dirichlet vector h, from rising factorials."""
    size, total = len(alpha), alpha.sum()

    def mean(places: Iterable[int]) -> float:
        value, count = 1.0, [0] * size
        for number, place in enumerate(places):
            value *= (alpha[place] + count[place]) / (total + number)
            count[place] += 1
        return value

    moments = []
    for order in (1, 2, 3):
        places = itertools.product(range(size), repeat=order)
        moments.append(np.array([mean(each) for each in places]).reshape((size,) * order))
    return moments[0], moments[1], moments[2]


def projected(tensor: Array, projection: Array) -> Array:
    """T(W, W, W), one mode at a time. projection : (n, k)."""
    for _ in range(tensor.ndim):
        tensor = np.tensordot(tensor, projection, axes=(0, 0))  # the new mode comes last
    return tensor


def symmetrised(tensor: Array) -> Array:
    """The mean over all orders of the modes."""
    orders = list(itertools.permutations(range(tensor.ndim)))
    return np.asarray(sum(tensor.transpose(order) for order in orders) / len(orders))


def along(tensor: Array, directions: Array) -> Array:
    """G[:, j] = T(I, u_j, u_j)."""
    return np.stack([tensor @ u @ u for u in directions.T], axis=1)
