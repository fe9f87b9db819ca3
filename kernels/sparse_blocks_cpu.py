"""EM for an overlapping block model in which a node can be in a few communities only: numba on the CPU, one thread.

The rate of an edge is lambda_uv = background theta_u theta_v + sum_z F_uz F_vz, and it is there with probability
1 - exp(-lambda_uv) (blocks_cpu, which looks at each edge from both ends so that threads can share the nodes). Here each
edge is looked at once and written to both ends: half the work, for graphs whose passes wait for memory.
Memberships: rows (n + 1,) int64, communities (entries,) int32 ascending within a node, strengths F (entries,) float64.
"""

from __future__ import annotations

import math

from tdtool.kernels.backend import jit

#: Above, exp(-rate) is nothing beside 1; below, 1 - exp(-rate) is the rate.
_CERTAIN, _RARE = 36.0, 1e-9


@jit
def expected_links(indptr, neighbours, weights, rows, communities, strengths, background, theta, expected):  # type: ignore[no-untyped-def]
    """expected_uz = sum_v w_uv F_uz F_vz / (1 - exp(-lambda_uv)); returns the same sum of the background, over edges.

    A graph as in propagation_cpu; theta : (n,) float64; expected : (entries,) float64, overwritten.
    """
    expected[:] = 0.0
    plain = 0.0
    for u in range(indptr.size - 1):
        first, last, own = rows[u], rows[u + 1], background * theta[u]
        for end in range(indptr[u], indptr[u + 1]):
            v = neighbours[end]
            if v <= u:
                continue
            alone, common = own * theta[v], 0.0
            mine, other, stop = first, rows[v], rows[v + 1]
            begin = other
            while mine < last and other < stop:
                gap = communities[mine] - communities[other]
                if gap == 0:
                    common += strengths[mine] * strengths[other]
                mine += gap <= 0
                other += gap >= 0
            rate = max(alone + common, _RARE)
            links = 1.0 if rate > _CERTAIN else -1.0 / math.expm1(-rate)
            if weights.size > 0:
                links *= weights[end]
            plain += alone * links
            mine, other = first, (begin if common > 0.0 else stop)
            while mine < last and other < stop:
                gap = communities[mine] - communities[other]
                if gap == 0:
                    amount = links * strengths[mine] * strengths[other]
                    expected[mine] += amount
                    expected[other] += amount
                mine += gap <= 0
                other += gap >= 0
    return plain
