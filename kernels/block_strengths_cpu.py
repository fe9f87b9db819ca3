"""The M step of the overlapping block model: strengths from expected links, without links of a node to itself.

F_uz (S_z - F_uz) = a_uz, where S_z = sum_u F_uz and a_uz is the expected number of links of node u inside community z.
Solved by F <- sqrt(F a / (S - min(F, S / 2))) from a / sqrt(sum a). In a bipartite graph a node has the other side
before it and nothing of its own: with A and B the sums of a over the sides, F = a (A B)^(1/4) / A on the first and / B
on the second; both sides then have the same S.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit

_MOST_STEPS = 8
_SETTLED = 1e-4


def dense_strengths(expected: NDArray[np.float32], n_left: int | None = None) -> NDArray[np.float32]:
    """expected : (n, k) a >= 0; n_left : nodes of the first side of a bipartite graph. Returns (n, k) F."""
    strengths = np.empty_like(expected)
    _solve_dense(expected, strengths, -1 if n_left is None else n_left)
    return strengths


def sparse_strengths(
    expected: NDArray[np.float64], support: NDArray[np.int32], n_communities: int, n_left_entries: int | None = None
) -> NDArray[np.float64]:
    """expected : (entries,) a >= 0; support : (entries,) communities; n_left_entries : those of the first side."""
    strengths = np.empty_like(expected)
    _solve_sparse(expected, support, n_communities, strengths, -1 if n_left_entries is None else n_left_entries)
    return strengths


@jit
def _solve_dense(expected, strengths, n_left):  # type: ignore[no-untyped-def]
    n_nodes, k = expected.shape
    sums = np.zeros((2, k))
    for u in range(n_nodes):
        for z in range(k):
            sums[int(u < n_left), z] += expected[u, z]
    _first_scales(sums, n_left)
    for u in range(n_nodes):
        side = int(u < n_left)
        for z in range(k):
            strengths[u, z] = expected[u, z] * sums[side, z]
    before, after = np.zeros(k), np.zeros(k)
    for u in range(n_nodes):
        for z in range(k):
            before[z] += strengths[u, z]
    for _ in range(_MOST_STEPS if n_left < 0 else 0):
        after[:] = 0.0
        for u in range(n_nodes):
            for z in range(k):
                f = _next(float(strengths[u, z]), expected[u, z], before[z])
                strengths[u, z] = f
                after[z] += f
        if _turn(after, before) < _SETTLED:
            break


@jit
def _solve_sparse(expected, support, n_communities, strengths, n_left):  # type: ignore[no-untyped-def]
    sums = np.zeros((2, n_communities))
    for entry in range(expected.size):
        sums[int(entry < n_left), support[entry]] += expected[entry]
    _first_scales(sums, n_left)
    for entry in range(expected.size):
        strengths[entry] = expected[entry] * sums[int(entry < n_left), support[entry]]
    before, after = np.zeros(n_communities), np.zeros(n_communities)
    for entry in range(expected.size):
        before[support[entry]] += strengths[entry]
    for _ in range(_MOST_STEPS if n_left < 0 else 0):
        after[:] = 0.0
        for entry in range(expected.size):
            z = support[entry]
            strengths[entry] = _next(strengths[entry], expected[entry], before[z])
            after[z] += strengths[entry]
        if _turn(after, before) < _SETTLED:
            break


@jit
def _first_scales(sums, n_left):  # type: ignore[no-untyped-def]
    """From sums of a over each side and community to what a is multiplied by."""
    for z in range(sums.shape[1]):
        if n_left < 0:
            sums[0, z] = 1.0 / math.sqrt(sums[0, z]) if sums[0, z] > 0.0 else 0.0
        else:
            common = (sums[0, z] * sums[1, z]) ** 0.25
            for side in range(2):
                sums[side, z] = common / sums[side, z] if sums[side, z] > 0.0 else 0.0


@jit
def _turn(after, before):  # type: ignore[no-untyped-def]
    """Largest relative change of a sum; `before` becomes `after`."""
    change = 0.0
    for z in range(before.size):
        if before[z] > 0.0:
            change = max(change, abs(after[z] / before[z] - 1.0))
        before[z] = after[z]
    return change


@jit
def _next(f, links, total):  # type: ignore[no-untyped-def]
    """sqrt(F a / (S - min(F, S / 2)))"""
    rest = total - min(f, 0.5 * total)
    return math.sqrt(f * links / rest) if f > 0.0 and rest > 0.0 else f
