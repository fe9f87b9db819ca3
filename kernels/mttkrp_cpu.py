"""The small passes of dense MTTKRP: sums over modes, column by column. numba on the CPU.

Letters: P rows before, S rows after in the order of the memory, R rank. Arrays are row-major, of one floating or
complex type.
"""

from __future__ import annotations

from tdtool.kernels.backend import jit


@jit
def add_over_first(partial, weights, out, begin, end):  # type: ignore[no-untyped-def]
    """out[s, r] += sum_p partial[p, s, r] weights[p, r], begin <= s < end. partial : (P, S, R); out : (S, R)."""
    for p in range(partial.shape[0]):
        scale = weights[p]
        for s in range(begin, end):
            row, target = partial[p, s], out[s]
            for r in range(row.size):
                target[r] += row[r] * scale[r]


@jit
def add_over_second(partial, weights, out, begin, end):  # type: ignore[no-untyped-def]
    """out[p, r] += sum_s partial[p, s, r] weights[s, r], begin <= p < end. partial : (P, S, R); out : (P, R)."""
    for p in range(begin, end):
        target = out[p]
        for s in range(partial.shape[1]):
            row, scale = partial[p, s], weights[s]
            for r in range(row.size):
                target[r] += row[r] * scale[r]
