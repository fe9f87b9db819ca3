"""Turn a plan into the parameters of the packed product."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels import gemm_places as kernel
from tdtool.kernels.gemm_address import layout_of
from tdtool.kernels.gemm_micro import COLUMNS, SQUARE
from tdtool.kernels.plan import Mode, Plan
from tdtool.kernels.vector_size import VECTOR_BYTES

Parameters = NDArray[np.int64]
#: A run of at least so many vectors is cut into panels of its own, although its end fills the last vector partly.
_LONG_RUN = 6
#: Below this the set-up of packing costs more than it saves.
_SMALL_FLOPS = 2000
#: Lists of at most so many offsets (32 KB) are kept with the plan.
_MOST_LISTED = 4096
_Group = tuple[Mode, ...]


def packed_parameters(plan: Plan) -> tuple[Parameters, bool]:
    """The parameter vector of gemm_packed_cpu.packed_product, and whether its left factor is the second operand."""
    rows, columns, sums, batches = plan.rows, plan.columns, plan.sums, plan.batches
    lanes = VECTOR_BYTES // _real_bytes(plan.dtype)
    turned = _filled(_size(columns), _size(rows), lanes) > 1.5 * _filled(_size(rows), _size(columns), lanes)
    if turned:
        rows, columns, sums, batches = (_swapped(group) for group in (columns, rows, sums, batches))
    rows, style = _ordered_rows(rows, lanes)
    columns = _ordered(columns, lambda mode: mode.right)
    sums = _ordered(sums, (lambda mode: mode.left) if _size(rows) >= _size(columns) else (lambda mode: mode.right))
    tables = [
        _table((mode.size, mode.left, mode.out) for mode in rows or (_ONE,)),
        _table((mode.size, mode.right, mode.out) for mode in columns or (_ONE,)),
        _table((mode.size, mode.left, mode.right) for mode in sums or (_ONE,)),
        _table((mode.size, mode.left, mode.right, mode.out) for mode in batches),
    ]
    header = np.zeros(kernel.HEADER, np.int64)
    ends = np.cumsum([kernel.HEADER, *(table.size for table in tables)])
    header[kernel.ROW_TABLE : kernel.BATCH_TABLE + 1] = ends[:-1]
    header[[kernel.LAST_BATCH, kernel.LAST_COLUMN]] = _size(batches), _size(columns)
    header[[kernel.N_ROWS, kernel.N_SUMS, kernel.ROW_STYLE]] = _size(rows), _size(sums), style
    header[[kernel.LEFT_BASE, kernel.RIGHT_BASE, kernel.OUT_BASE]] = (
        _below((mode.size, mode.left) for mode in (*rows, *sums, *batches)),
        _below((mode.size, mode.right) for mode in (*columns, *sums, *batches)),
        _below((mode.size, mode.out) for mode in (*rows, *columns, *batches)),
    )
    pair = header[kernel.PAIR] = 2 if plan.dtype.kind == "c" else 1
    header[kernel.BLOCK_COLUMNS : kernel.TILE_BEGIN + 1] = kernel.block_sizes(
        _real_bytes(plan.dtype), _size(columns), _size(sums), pair
    )
    header[kernel.WIDTH] = COLUMNS
    fits = len(rows) <= 2 and len(columns) <= 2 and len(sums) <= 1 and pair == 1
    header[kernel.IS_SMALL] = fits and plan.flops <= _SMALL_FLOPS * _size(batches)
    height = int(header[kernel.HEIGHT]) // pair
    header[kernel.LAST_PANEL] = _n_panels(rows, style, height)
    return _with_lists(np.concatenate([header, *tables]), height), plan.swapped != turned


def _with_lists(parameters: Parameters, height: int) -> Parameters:
    """Small products get their lists of offsets made once; others make them block by block."""
    n_panels, n_columns, n_sums = (int(parameters[at]) for at in (kernel.LAST_PANEL, kernel.LAST_COLUMN, kernel.N_SUMS))
    places, length = kernel.list_places(n_panels * height, n_panels, n_columns, n_sums)
    one_block = n_columns <= parameters[kernel.BLOCK_COLUMNS] and n_sums <= parameters[kernel.BLOCK_SUMS]
    if parameters[kernel.IS_SMALL] or not one_block or length > _MOST_LISTED:
        parameters[kernel.ROW_OUT_AT : kernel.TILE_COLUMNS_AT + 1] = kernel.WORK_PLACES
        return parameters
    parameters[kernel.ROW_OUT_AT : kernel.TILE_COLUMNS_AT + 1] = places
    lists = np.zeros(length, np.int64)
    kernel.place_all(parameters, lists)
    parameters[kernel.PREPARED] = parameters.size
    return np.concatenate([parameters, lists])


def with_layouts(parameters: Parameters, first: NDArray[Any], second: NDArray[Any]) -> Parameters:
    """The parameters with the layouts that both factors must have."""
    checked = np.concatenate([parameters, np.array(layout_of(first) + layout_of(second), np.int64)])
    checked[kernel.LAYOUT_AT] = parameters.size
    return checked


_ONE = Mode("", 1, 0, 0, 0)


def _swapped(group: _Group) -> _Group:
    return tuple(mode.swapped() for mode in group)


def _real_bytes(dtype: np.dtype[Any]) -> int:
    return dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize


def _size(group: _Group) -> int:
    return math.prod(mode.size for mode in group)


def _filled(n_rows: int, n_columns: int, lanes: int) -> float:
    """The share of a tile's arithmetic that is asked for."""
    padded = -(-n_rows // lanes) * lanes * -(-n_columns // COLUMNS) * COLUMNS
    return n_rows * n_columns / padded


def _ordered(group: _Group, stride: Callable[[Mode], int]) -> _Group:
    """The contiguous mode of a factor first, the others by its strides."""
    return tuple(sorted(group, key=lambda mode: (abs(stride(mode)), abs(mode.out))))


def _ordered_rows(group: _Group, lanes: int) -> tuple[_Group, int]:
    """The output's contiguous mode first, then the left factor's; and how they fill the panels."""
    if not group:
        return group, kernel.RUN_ON
    by_output = sorted(group, key=lambda mode: (abs(mode.out), abs(mode.left)))
    if by_output[0].out != 1:
        by_output.sort(key=lambda mode: abs(mode.left))
    first, *rest = by_output
    rest.sort(key=lambda mode: (mode.left != 1, abs(mode.out)))
    fits = first.size % lanes == 0 or first.size >= _LONG_RUN * lanes
    if not rest or not fits:
        return (first, *rest), kernel.RUN_ON
    neighbours = rest[0].left == 1 and first.left != 1 and rest[0].size >= SQUARE
    return (first, *rest), kernel.SIDE_BY_SIDE if neighbours else kernel.CUT


def _n_panels(rows: _Group, style: int, width: int) -> int:
    if style == kernel.RUN_ON:
        return -(-_size(rows) // width)
    return -(-rows[0].size // width) * _size(rows[1:])


def _table(rows: Iterable[tuple[int, ...]]) -> Parameters:
    """The number of modes, then their sizes and strides."""
    entries = list(rows)
    return np.array([len(entries), *(value for row in entries for value in row)], np.int64)


def _below(modes: Iterable[tuple[int, int]]) -> int:
    """How many entries the lowest one lies below the first. modes : (size, stride)."""
    return sum((size - 1) * -stride for size, stride in modes if stride < 0)
