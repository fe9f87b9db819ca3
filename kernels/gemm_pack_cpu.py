"""Copy panels of rows or columns to where a register tile reads them."""

from __future__ import annotations

import numba

from tdtool.kernels.backend import jit
from tdtool.kernels.gemm_micro import COLUMNS, SQUARE, copy_steps, transpose_square
from tdtool.kernels.gemm_places import ACROSS, COPY, GATHER, TURN

#: Panels that are copied at once: more would not fit into the ways of a first-level cache.
_TOGETHER = 8
_at = numba.uintp  # an index that is never taken from the end


@jit
def pack(source, base, n_panels, counts, methods, offsets, sums, depth, width, packed):  # type: ignore[no-untyped-def]
    """Copy panels of `width` rows or columns: entry i of step p of panel j goes to (j * depth + p) * width + i.

    source : flat, real; entry (i, p) of panel j is at base + offsets[j * width + i] + sums[p].
    counts, methods : of each panel, see gemm_places.
    """
    copied = 0
    for j in range(n_panels):
        begin, at, count = j * width, j * depth * width, abs(counts[j])
        if methods[j] == COPY:
            if j >= copied:
                copied = _copy(source, base, j, n_panels, counts, methods, offsets, sums, depth, width, packed)
        elif methods[j] == TURN:
            _turn(source, base + sums[0], count, offsets, begin, depth, width, packed, at)
        elif methods[j] == ACROSS:
            _turn_across(source, base, count, offsets, begin, sums, depth, width, packed, at)
        elif methods[j] == GATHER:
            _gather(source, base, count, offsets, begin, sums, depth, width, packed, at)


@jit
def _copy(source, base, panel, n_panels, counts, methods, offsets, sums, depth, width, packed):  # type: ignore[no-untyped-def]
    """Some panels whose rows are runs, step by step: neighbouring runs are read as one. Returns where it stopped."""
    end = panel
    while (
        end < n_panels and end < panel + _TOGETHER and methods[end] == COPY and abs(counts[end]) == abs(counts[panel])
    ):
        end += 1
    count, begin, at = abs(counts[panel]), panel * width, panel * depth * width
    whole = count // SQUARE * SQUARE
    copy_steps(source, base, sums, depth, packed, at, width, offsets[begin:], end - panel, whole)
    if whole < count:
        for j in range(end - panel):
            rest, to = begin + j * width + whole, at + j * depth * width + whole
            _gather(source, base, count - whole, offsets, rest, sums, depth, width, packed, to)
    return end


@jit
def _gather(source, base, count, offsets, begin, sums, depth, width, packed, at):  # type: ignore[no-untyped-def]
    """Copy `count` rows of one panel entry by entry."""
    for p in range(depth):
        for i in range(count):
            packed[_at(at + p * width + i)] = source[_at(base + offsets[_at(begin + i)] + sums[_at(p)])]


@jit
def _turn(source, base, count, offsets, begin, depth, width, packed, at):  # type: ignore[no-untyped-def]
    """One panel whose steps are consecutive in memory: squares are read along the steps and written along the rows."""
    whole_rows, whole_steps = count // SQUARE * SQUARE, depth // SQUARE * SQUARE
    for i in range(0, whole_rows, SQUARE):
        for p in range(0, whole_steps, SQUARE):
            transpose_square(source, offsets, begin + i, base + p, packed, at + p * width + i, width)
    for i in range(count):
        first = base + offsets[_at(begin + i)]
        for p in range(whole_steps if i < whole_rows else 0, depth):
            packed[_at(at + p * width + i)] = source[_at(first + p)]


@jit
def _turn_across(source, base, count, offsets, begin, sums, depth, width, packed, at):  # type: ignore[no-untyped-def]
    """SQUARE panels side by side: squares are read across the panels and written along the rows of each."""
    whole = count // SQUARE * SQUARE
    step = depth * width
    for i in range(0, whole, SQUARE):
        for p in range(depth):
            transpose_square(source, offsets, begin + i, base + sums[p], packed, at + p * width + i, step)
    if whole < count:
        for j in range(SQUARE):
            place = at + j * step + whole
            _gather(source, base + j, count - whole, offsets, begin + whole, sums, depth, width, packed, place)


@jit
def pack_complex_rows(source, base, n_panels, counts, offsets, sums, depth, width, packed):  # type: ignore[no-untyped-def]
    """Complex rows: steps 2p and 2p + 1 hold (re, im) and (-im, re), so that real sums give complex products.

    counts : in numbers, two a row.
    """
    for j in range(n_panels):
        for p in range(depth):
            at = (j * depth + p) * 4 * width
            for i in range(abs(counts[j]) // 2):
                place = 2 * (base + offsets[_at(j * width + i)] + sums[_at(p)])
                real, imaginary = source[_at(place)], source[_at(place + 1)]
                packed[_at(at + 2 * i)], packed[_at(at + 2 * i + 1)] = real, imaginary
                packed[_at(at + 2 * (width + i))], packed[_at(at + 2 * (width + i) + 1)] = -imaginary, real


@jit
def pack_complex_columns(source, base, n_panels, counts, offsets, sums, depth, packed):  # type: ignore[no-untyped-def]
    """Complex columns: steps 2p and 2p + 1 hold the real and the imaginary parts."""
    for j in range(n_panels):
        for p in range(depth):
            at = (j * depth + p) * 2 * COLUMNS
            for i in range(counts[j]):
                place = 2 * (base + offsets[_at(j * COLUMNS + i)] + sums[_at(p)])
                packed[_at(at + i)], packed[_at(at + COLUMNS + i)] = source[_at(place)], source[_at(place + 1)]
