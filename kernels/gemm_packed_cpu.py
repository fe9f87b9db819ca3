"""Matrix products over any strides: blocks of both factors are packed, and the output is written in place.

A product of tensors is one matrix product whose rows, columns and sums are each a group of modes: row r of the left
factor starts at an offset, and so on. Nothing has to be contiguous, and the workspace is WORK_BYTES whatever the sizes.
Complex numbers are packed as real ones, with twice the rows and twice the sums (Van Zee 2020, "Implementing
high-performance complex matrix multiplication via the 1m method").

Source: Matthews 2018, "High-performance tensor contraction without transposition" (the offsets of a block);
Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication" (the order of the loops).
"""

from __future__ import annotations

import numba

from tdtool.kernels import gemm_places as of
from tdtool.kernels.backend import jit
from tdtool.kernels.gemm_micro import COLUMNS, multiply_tile
from tdtool.kernels.gemm_pack_cpu import pack, pack_complex_columns, pack_complex_rows
from tdtool.kernels.gemm_small_cpu import small_product

_at = numba.uintp  # an index that is never taken from the end


@jit
def packed_product(left, right, out, numbers, work, parameters):  # type: ignore[no-untyped-def]
    """Set out to the product of left and right, over the batches, panels of rows and columns that `parameters` names.

    left, right, out : flat, of one real dtype; complex entries are pairs. numbers : FLOAT_BYTES bytes of that dtype;
    work : (N_INTEGERS,) int64; parameters : int64, see gemm_places.
    """
    lists = parameters[parameters[of.PREPARED] :] if parameters[of.PREPARED] else work
    if not parameters[of.PREPARED]:
        for j in range(COLUMNS):
            lists[parameters[of.TILE_COLUMNS_AT] + j] = j * parameters[of.HEIGHT]
    for batch in range(parameters[of.FIRST_BATCH], parameters[of.LAST_BATCH]):
        left_base, right_base, out_base = of.bases(parameters, batch)
        if parameters[of.IS_SMALL]:
            small_product(left, left_base, right, right_base, out, out_base, parameters, of.ROW_TABLE)
        else:
            _product(left, left_base, right, right_base, out, out_base, numbers, lists, parameters)


@jit
def _product(left, left_base, right, right_base, out, out_base, numbers, lists, parameters):  # type: ignore[no-untyped-def]
    """One product: pack blocks of columns and multiply them by all rows, for block after block of the sums."""
    last, packed = parameters[of.LAST_COLUMN], numbers[parameters[of.RIGHT_BEGIN] :]
    for column in range(parameters[of.FIRST_COLUMN], last, parameters[of.BLOCK_COLUMNS]):
        n = min(parameters[of.BLOCK_COLUMNS], last - column)
        for first in range(0, parameters[of.N_SUMS], parameters[of.BLOCK_SUMS]):
            depth = min(parameters[of.BLOCK_SUMS], parameters[of.N_SUMS] - first)
            if not parameters[of.PREPARED]:
                of.place_sums(parameters, first, depth, lists)
                of.place_columns(parameters, column, n, depth, lists)
            n_panels = (n + COLUMNS - 1) // COLUMNS
            counts, offsets = lists[parameters[of.COLUMN_COUNTS_AT] :], lists[parameters[of.COLUMNS_AT] :]
            sums, methods = lists[parameters[of.SUM_RIGHT_AT] :], lists[parameters[of.COLUMN_METHODS_AT] :]
            if parameters[of.PAIR] == 1:
                pack(right, right_base, n_panels, counts, methods, offsets, sums, depth, parameters[of.WIDTH], packed)
            else:
                pack_complex_columns(right, right_base, n_panels, counts, offsets, sums, depth, packed)
            _multiply_rows(left, left_base, out, out_base, n, depth, first > 0, numbers, lists, parameters)


@jit
def _multiply_rows(left, left_base, out, out_base, n, depth, add, numbers, lists, parameters):  # type: ignore[no-untyped-def]
    """Pack blocks of rows and multiply them by the packed columns."""
    last, width = parameters[of.LAST_PANEL], parameters[of.HEIGHT] // parameters[of.PAIR]
    for panel in range(parameters[of.FIRST_PANEL], last, of.LEFT_PANELS):
        n_panels = min(of.LEFT_PANELS, last - panel)
        begin = 0
        if parameters[of.PREPARED]:
            begin = panel
        else:
            of.place_rows(parameters, panel, n_panels, depth, lists)
        offsets, row_out = lists[begin * width :], lists[parameters[of.ROW_OUT_AT] + begin * width :]
        counts, methods = lists[parameters[of.COUNTS_AT] + begin :], lists[parameters[of.METHODS_AT] + begin :]
        sums = lists[parameters[of.SUMS_AT] :]
        if parameters[of.PAIR] == 1:
            pack(left, left_base, n_panels, counts, methods, offsets, sums, depth, width, numbers)
        else:
            pack_complex_rows(left, left_base, n_panels, counts, offsets, sums, depth, width, numbers)
        _multiply_block(out, out_base, n_panels, counts, row_out, n, depth, add, numbers, lists, parameters)


@jit
def _multiply_block(out, out_base, n_panels, counts, row_out, n, depth, add, numbers, lists, parameters):  # type: ignore[no-untyped-def]
    """The products of the packed rows and the packed columns, tile by tile; complex depth and rows count double."""
    pair, lanes, height = parameters[of.PAIR], parameters[of.LANES], parameters[of.HEIGHT]
    steps, width = depth * pair, height // pair
    for column in range(0, n, COLUMNS):
        n_columns = min(COLUMNS, n - column)
        right_at = parameters[of.RIGHT_BEGIN] + column * steps
        for j in range(n_panels):
            rows, direct = abs(counts[j]), counts[j] > 0
            vectors = 3 if rows > 2 * lanes else 2 if rows > lanes else 1
            # A tile that is not whole vectors in one run goes to the workspace first.
            target = out if direct else numbers
            at = (out_base + row_out[j * width]) * pair if direct else parameters[of.TILE_BEGIN]
            places = parameters[of.COLUMN_OUT_AT] + column if direct else parameters[of.TILE_COLUMNS_AT]
            left_at = j * steps * height
            multiply_tile(
                vectors, steps, numbers, left_at, right_at, target, at, lists, places, n_columns, add and direct
            )
            if not direct:
                tile, columns = numbers[parameters[of.TILE_BEGIN] :], lists[parameters[of.COLUMN_OUT_AT] + column :]
                _scatter(
                    out,
                    out_base * pair,
                    row_out[j * width :],
                    rows // pair,
                    columns,
                    n_columns,
                    add,
                    pair,
                    height,
                    tile,
                )


@jit
def _scatter(out, out_base, row_out, n_rows, columns, n_columns, add, pair, height, tile):  # type: ignore[no-untyped-def]
    """Write a tile to rows that are not one run of whole vectors."""
    for j in range(n_columns):
        begin = out_base + columns[j]
        for i in range(n_rows):
            place = begin + row_out[_at(i)] * pair
            for part in range(pair):
                value = tile[_at(j * height + i * pair + part)]
                out[_at(place + part)] = out[_at(place + part)] + value if add else value
