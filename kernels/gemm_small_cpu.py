"""Products so small that plain loops beat anything that has to be set up."""

from __future__ import annotations

import numba

from tdtool.kernels.backend import jit

_at = numba.uintp  # an index that is never taken from the end


@jit
def small_product(left, left_base, right, right_base, out, out_base, parameters, tables):  # type: ignore[no-untyped-def]
    """out = left times right over at most two row, two column and one summed modes.

    left, right, out : flat, real, with their first offsets; parameters : int64, with the places of the row, column and
    sum tables from `tables` on, each a count of modes, then (size, stride, stride).
    """
    rows, columns, sums = parameters[tables], parameters[tables + 1], parameters[tables + 2]
    outer_rows = parameters[rows + 4] if parameters[rows] > 1 else 1
    outer_columns = parameters[columns + 4] if parameters[columns] > 1 else 1
    for r in range(outer_rows):
        for c in range(outer_columns):
            a, b, to = left_base, right_base, out_base
            if outer_rows > 1:
                a += r * parameters[rows + 5]
                to += r * parameters[rows + 6]
            if outer_columns > 1:
                b += c * parameters[columns + 5]
                to += c * parameters[columns + 6]
            _small_matrix(left, a, right, b, out, to, parameters, rows + 1, columns + 1, sums + 1)


@jit
def _small_matrix(left, left_base, right, right_base, out, out_base, parameters, rows, columns, sums):  # type: ignore[no-untyped-def]
    """One matrix product by inner products, two columns at a time."""
    row_left, row_out = parameters[rows + 1], parameters[rows + 2]
    column_right, column_out = parameters[columns + 1], parameters[columns + 2]
    depth, sum_left, sum_right = parameters[sums], parameters[sums + 1], parameters[sums + 2]
    n_columns = parameters[columns]
    for i in range(parameters[rows]):
        a, to = left_base + i * row_left, out_base + i * row_out
        for j in range(0, n_columns - 1, 2):
            b = right_base + j * column_right
            first = second = left[_at(a)] * 0
            for p in range(depth):
                value = left[_at(a + p * sum_left)]
                first += value * right[_at(b + p * sum_right)]
                second += value * right[_at(b + column_right + p * sum_right)]
            out[_at(to + j * column_out)] = first
            out[_at(to + (j + 1) * column_out)] = second
        if n_columns % 2:
            b = right_base + (n_columns - 1) * column_right
            first = left[_at(a)] * 0
            for p in range(depth):
                first += left[_at(a + p * sum_left)] * right[_at(b + p * sum_right)]
            out[_at(to + (n_columns - 1) * column_out)] = first
