"""Where the rows, columns and sums of a packed product are in memory: its parameter vector, and lists made from it."""

from __future__ import annotations

import numba

from tdtool.kernels.backend import jit
from tdtool.kernels.gemm_micro import COLUMNS, SQUARE, VECTORS
from tdtool.kernels.vector_size import VECTOR_BYTES

_at = numba.uintp  # an index that is never taken from the end

#: Places in the parameter vector of a product. What part to do: ranges of batches, panels of rows, and columns.
FIRST_BATCH, LAST_BATCH, FIRST_PANEL, LAST_PANEL, FIRST_COLUMN, LAST_COLUMN = 0, 1, 2, 3, 4, 5
N_ROWS, N_SUMS, ROW_STYLE = 6, 7, 8
#: Where tables of modes begin: how many, then (size, stride, stride) each, the fastest first; for batches (size, stride
#: in the left factor, in the right, in the output).
ROW_TABLE, COLUMN_TABLE, SUM_TABLE, BATCH_TABLE = 9, 10, 11, 12
#: Offsets of the first entries.
LEFT_BASE, RIGHT_BASE, OUT_BASE = 13, 14, 15
#: 1 for real entries, 2 for complex ones, which are pairs of numbers.
PAIR = 16
#: Columns and sums of a block, rows of a panel in numbers, numbers in a vector; where packed columns and the tile begin
#: in the workspace of numbers.
BLOCK_COLUMNS, BLOCK_SUMS, HEIGHT, LANES, RIGHT_BEGIN, TILE_BEGIN = 17, 18, 19, 20, 21, 22
#: Columns of a panel. A value at run time, because numba would compile the packing again for a constant.
WIDTH = 23
#: 1 for a product so small that plain loops over (at most two row, two column and one summed) modes are faster.
IS_SMALL = 24
#: Where in this vector the lists below are, made once; 0 when they are made block by block in the workspace.
PREPARED = 25
#: Where in the lists each begins, the offsets of rows in the left factor being first: offsets of rows in the output,
#: how many rows a panel has, how they are packed; all four for columns; offsets of sums; of columns in the tile.
ROW_OUT_AT, COUNTS_AT, METHODS_AT = 26, 27, 28
COLUMNS_AT, COLUMN_OUT_AT, COLUMN_COUNTS_AT, COLUMN_METHODS_AT = 29, 30, 31, 32
SUMS_AT, SUM_RIGHT_AT, TILE_COLUMNS_AT = 33, 34, 35
#: Where in this vector the layout of both factors is, to be compared with theirs; 0 to trust them.
LAYOUT_AT = 36
HEADER = 37

#: How rows fill panels: one after another; cut at the end of the first mode's run; or cut, with SQUARE neighbours along
#: the second mode side by side, because that is the mode which is contiguous in the left factor.
RUN_ON, CUT, SIDE_BY_SIDE = 0, 1, 2

#: How a panel is packed: entry by entry; runs of rows; squares along the sums; squares across SQUARE panels that lie
#: side by side, of which this is the first; or with an earlier one.
GATHER, COPY, TURN, ACROSS, DONE = 0, 1, 2, 3, 4

#: Sums and panels of rows in a block, bytes of packed columns in a block.
DEPTH = 256
LEFT_PANELS = 8 * 64 // VECTOR_BYTES
LEFT_BYTES = LEFT_PANELS * VECTORS * VECTOR_BYTES * DEPTH
RIGHT_BYTES = 288 * DEPTH * 8
_TILE_BYTES = VECTORS * VECTOR_BYTES * COLUMNS
FLOAT_BYTES = LEFT_BYTES + RIGHT_BYTES + _TILE_BYTES
_MOST_ROWS = LEFT_PANELS * VECTORS * VECTOR_BYTES // 4
_MOST_COLUMNS = RIGHT_BYTES // (4 * DEPTH)


def block_sizes(real_bytes: int, n_columns: int, n_sums: int, pair: int) -> tuple[int, int, int, int, int, int]:
    """The six values from BLOCK_COLUMNS on, for numbers of real_bytes: blocks of nearly equal size that fit."""
    lanes = VECTOR_BYTES // real_bytes
    n_blocks = -(-n_columns // (RIGHT_BYTES // (real_bytes * DEPTH)))
    width = -(-n_columns // (n_blocks * COLUMNS)) * COLUMNS
    depth = -(-n_sums // -(-n_sums // (DEPTH // pair)))
    return width, depth, VECTORS * lanes, lanes, LEFT_BYTES // real_bytes, (LEFT_BYTES + RIGHT_BYTES) // real_bytes


def list_places(n_rows: int, n_panels: int, n_columns: int, n_sums: int) -> tuple[list[int], int]:
    """The values from ROW_OUT_AT to TILE_COLUMNS_AT for lists of such lengths, and the length of all together."""
    n_column_panels = -(-n_columns // COLUMNS)
    lengths = [
        n_rows,
        n_rows,
        n_panels,
        n_panels,
        n_columns,
        n_columns,
        n_column_panels,
        n_column_panels,
        n_sums,
        n_sums,
    ]
    ends = [sum(lengths[: place + 1]) for place in range(len(lengths))]
    return ends, ends[-1] + COLUMNS


#: The same for the workspace of integers, which holds one block.
WORK_PLACES, N_INTEGERS = list_places(_MOST_ROWS, LEFT_PANELS, _MOST_COLUMNS, DEPTH)
#: Bytes of the whole workspace.
WORK_BYTES = FLOAT_BYTES + 8 * N_INTEGERS


@jit
def bases(parameters, batch):  # type: ignore[no-untyped-def]
    """Offsets of the first entries of batch `batch`."""
    left, right, out = parameters[LEFT_BASE], parameters[RIGHT_BASE], parameters[OUT_BASE]
    at = parameters[BATCH_TABLE]
    for d in range(parameters[at]):
        row = at + 1 + 4 * d
        place = batch % parameters[row]
        batch //= parameters[row]
        left += place * parameters[row + 1]
        right += place * parameters[row + 2]
        out += place * parameters[row + 3]
    return left, right, out


@jit
def place_all(parameters, lists):  # type: ignore[no-untyped-def]
    """Make every list of a product of one block of columns and one of sums."""
    for j in range(COLUMNS):
        lists[parameters[TILE_COLUMNS_AT] + j] = j * parameters[HEIGHT]
    depth = parameters[N_SUMS]
    place_sums(parameters, parameters[FIRST_PANEL], depth, lists)
    place_columns(parameters, parameters[FIRST_COLUMN], parameters[LAST_COLUMN], depth, lists)
    place_rows(parameters, parameters[FIRST_PANEL], parameters[LAST_PANEL], depth, lists)


@jit
def place_sums(parameters, first, depth, lists):  # type: ignore[no-untyped-def]
    """Offsets of a block of sums; before those of rows and columns, whose packing depends on them."""
    _fill(
        parameters, parameters[SUM_TABLE], first, depth, lists[parameters[SUMS_AT] :], lists[parameters[SUM_RIGHT_AT] :]
    )


@jit
def place_columns(parameters, column, n, depth, lists):  # type: ignore[no-untyped-def]
    """Offsets of a block of columns; in the output in numbers."""
    offsets, out = lists[parameters[COLUMNS_AT] :], lists[parameters[COLUMN_OUT_AT] :]
    counts, methods = lists[parameters[COLUMN_COUNTS_AT] :], lists[parameters[COLUMN_METHODS_AT] :]
    _fill(parameters, parameters[COLUMN_TABLE], column, n, offsets, out)
    for j in range(n):
        out[j] = out[j] * parameters[PAIR]
    n_panels = (n + COLUMNS - 1) // COLUMNS
    for j in range(n_panels):
        counts[j] = min(COLUMNS, n - j * COLUMNS)
    _choose_methods(offsets, lists[parameters[SUM_RIGHT_AT] :], depth, counts, n_panels, parameters[WIDTH], methods)


@jit
def place_rows(parameters, panel, n_panels, depth, lists):  # type: ignore[no-untyped-def]
    """Offsets of the rows of consecutive panels.

    Counts are in numbers, and negative where rows in the output are not whole vectors in one run.
    """
    width, pair, lanes, table = (
        parameters[HEIGHT] // parameters[PAIR],
        parameters[PAIR],
        parameters[LANES],
        parameters[ROW_TABLE],
    )
    out, counts = lists[parameters[ROW_OUT_AT] :], lists[parameters[COUNTS_AT] :]
    for j in range(n_panels):
        if parameters[ROW_STYLE] == RUN_ON:
            start = (panel + j) * width
            counts[j] = min(width, parameters[N_ROWS] - start)
            _fill(parameters, table, start, counts[j], lists[j * width :], out[j * width :])
        else:
            counts[j] = _fill_cut(parameters, table, panel + j, width, lists[j * width :], out[j * width :])
    _choose_methods(
        lists, lists[parameters[SUMS_AT] :], depth, counts, n_panels, width, lists[parameters[METHODS_AT] :]
    )
    for j in range(n_panels):
        rows = counts[j] * pair
        whole = rows == lanes or rows == 2 * lanes or rows == VECTORS * lanes
        counts[j] = rows if whole and _consecutive(out[j * width :], counts[j]) else -rows


@jit
def _fill(parameters, table, start, count, first, second):  # type: ignore[no-untyped-def]
    """Both offsets of entries start ... start + count of a group of modes."""
    size, one, two = parameters[table + 1], parameters[table + 2], parameters[table + 3]
    if parameters[table] == 1:
        for i in range(count):
            first[_at(i)] = (start + i) * one
            second[_at(i)] = (start + i) * two
        return
    place, rest, done = start % size, start // size, 0
    while done < count:
        x, y = _outer_offsets(parameters, table, rest)
        run = min(size - place, count - done)
        for i in range(run):
            first[_at(done + i)] = x + (place + i) * one
            second[_at(done + i)] = y + (place + i) * two
        done += run
        place = 0
        rest += 1


@jit
def _outer_offsets(parameters, table, rest):  # type: ignore[no-untyped-def]
    """Both offsets of place `rest` of a group's modes without the first; the last one needs no division."""
    x = y = 0
    last = parameters[table] - 1
    for d in range(1, last + 1):
        row = table + 1 + 3 * d
        index = rest
        if d < last:
            index = rest % parameters[row]
            rest //= parameters[row]
        x += index * parameters[row + 1]
        y += index * parameters[row + 2]
    return x, y


@jit
def _fill_cut(parameters, table, panel, width, first, second):  # type: ignore[no-untyped-def]
    """Both offsets of the rows of a panel that is cut at the end of the first mode's run; returns how many."""
    size, one, two = parameters[table + 1], parameters[table + 2], parameters[table + 3]
    pieces = 1 if size <= width else (size + width - 1) // width
    if parameters[ROW_STYLE] == CUT:
        piece, rest = (0, panel) if pieces == 1 else (panel % pieces, panel // pieces)
    else:
        neighbours = parameters[table + 4]
        rest, within = panel // (neighbours * pieces), panel % (neighbours * pieces)
        block = within // (SQUARE * pieces)
        within -= block * SQUARE * pieces
        together = min(SQUARE, neighbours - block * SQUARE)
        piece = 0 if pieces == 1 else within // together
        rest = rest * neighbours + block * SQUARE + within - piece * together
    x, y = _outer_offsets(parameters, table, rest)
    begin = piece * width
    count = min(width, size - begin)
    for i in range(count):
        first[_at(i)] = x + (begin + i) * one
        second[_at(i)] = y + (begin + i) * two
    return count


@jit
def _choose_methods(offsets, sums, depth, counts, n_panels, width, methods):  # type: ignore[no-untyped-def]
    """How to pack each panel of real entries."""
    in_line = depth >= SQUARE and _consecutive(sums, depth)
    across = 0
    for j in range(n_panels):
        begin = j * width
        if across > 0:
            across -= 1
            methods[j] = DONE
        elif j + SQUARE <= n_panels and _side_by_side(counts[j:], offsets[begin:], width):
            across = SQUARE - 1
            methods[j] = ACROSS
        elif _consecutive(offsets[begin:], counts[j]):
            methods[j] = COPY
        else:
            methods[j] = TURN if in_line else GATHER


@jit
def _consecutive(offsets, count):  # type: ignore[no-untyped-def]
    """Whether the first `count` offsets rise by one."""
    if offsets[count - 1] != offsets[0] + count - 1:
        return False
    rising = 0
    for i in range(count):
        rising += offsets[_at(i)] == offsets[0] + i
    return rising == count


@jit
def _side_by_side(counts, offsets, width):  # type: ignore[no-untyped-def]
    """Whether SQUARE panels lie side by side: each starts one entry after the one before, with the same rows."""
    for j in range(1, SQUARE):
        if counts[j] != counts[0] or offsets[j * width] != offsets[0] + j:
            return False
        for i in range(1, counts[0]):
            if offsets[_at(j * width + i)] != offsets[_at(i)] + j:
                return False
    return True
