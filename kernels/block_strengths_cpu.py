"""The M step of the overlapping block model: strengths from expected links, without links of a node to itself.

F_uz (S_z - F_uz) = a_uz, where S_z = sum_u F_uz and a_uz is the expected number of links of node u inside community z.
In a bipartite graph a node has all of the other side before it and nothing of its own: F_uz S_z = a_uz with S_z of the
other side. Solved by F <- sqrt(F a / (S - min(F, S / 2))) from a / sqrt(sum a).
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
    sums, before = np.zeros((2, k)), np.zeros((2, k))
    for u in range(n_nodes):
        for z in range(k):
            sums[int(u < n_left), z] += expected[u, z]
    for z in range(k):
        # On both sides of a bipartite graph the same links are counted, so that either sum is theirs.
        total = sums[0, z] if n_left < 0 else 0.5 * (sums[0, z] + sums[1, z])
        before[0, z] = before[1, z] = math.sqrt(total)
    for u in range(n_nodes):
        for z in range(k):
            scale = before[0, z]
            strengths[u, z] = expected[u, z] / scale if scale > 0 else 0.0
    for _ in range(_MOST_STEPS):
        sums[:] = 0.0
        for u in range(n_nodes):
            side = int(u < n_left)
            for z in range(k):
                f = float(strengths[u, z])
                rest = before[0, z] - min(f, 0.5 * before[0, z]) if n_left < 0 else before[1 - side, z]
                if f > 0.0 and rest > 0.0:
                    f = math.sqrt(f * expected[u, z] / rest)
                strengths[u, z] = f
                sums[side, z] += f
        if _turn(sums, before) < _SETTLED:
            break


@jit
def _solve_sparse(expected, support, n_communities, strengths, n_left):  # type: ignore[no-untyped-def]
    sums, before = np.zeros((2, n_communities)), np.zeros((2, n_communities))
    for entry in range(expected.size):
        sums[int(entry < n_left), support[entry]] += expected[entry]
    for z in range(n_communities):
        total = sums[0, z] if n_left < 0 else 0.5 * (sums[0, z] + sums[1, z])
        before[0, z] = before[1, z] = math.sqrt(total)
    for entry in range(expected.size):
        scale = before[0, support[entry]]
        strengths[entry] = expected[entry] / scale if scale > 0 else 0.0
    for _ in range(_MOST_STEPS):
        sums[:] = 0.0
        for entry in range(expected.size):
            z, side = support[entry], int(entry < n_left)
            f = strengths[entry]
            rest = before[0, z] - min(f, 0.5 * before[0, z]) if n_left < 0 else before[1 - side, z]
            if f > 0.0 and rest > 0.0:
                f = math.sqrt(f * expected[entry] / rest)
            strengths[entry] = f
            sums[side, z] += f
        if _turn(sums, before) < _SETTLED:
            break


@jit
def _turn(sums, before):  # type: ignore[no-untyped-def]
    """Largest relative change of a sum; `before` becomes `sums`."""
    change = 0.0
    for side in range(2):
        for z in range(sums.shape[1]):
            if before[side, z] > 0.0:
                change = max(change, abs(sums[side, z] / before[side, z] - 1.0))
            before[side, z] = sums[side, z]
    return change
