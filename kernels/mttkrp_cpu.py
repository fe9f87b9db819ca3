"""The small passes of dense MTTKRP: sums over modes, column by column. numba on the CPU.

Letters: P rows before, S rows after in the order of the memory, R rank. Arrays are row-major, of one floating or
complex type.
"""

from __future__ import annotations

from tdtool.kernels.backend import jit


@jit
def add_over_first(partial, weights, out):  # type: ignore[no-untyped-def]
    """out[s, r] += sum_p partial[p, s, r] weights[p, r]. partial : (P, S, R); weights : (P, R); out : (S, R)."""
    for p in range(partial.shape[0]):
        scale = weights[p]
        for s in range(partial.shape[1]):
            row, target = partial[p, s], out[s]
            for r in range(row.size):
                target[r] += row[r] * scale[r]


@jit
def add_over_second(partial, weights, out):  # type: ignore[no-untyped-def]
    """out[p, r] += sum_s partial[p, s, r] weights[s, r]. partial : (P, S, R); weights : (S, R); out : (P, R)."""
    for p in range(partial.shape[0]):
        target = out[p]
        for s in range(partial.shape[1]):
            row, scale = partial[p, s], weights[s]
            for r in range(row.size):
                target[r] += row[r] * scale[r]
