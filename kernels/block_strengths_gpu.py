"""The M step of the overlapping block model on a GPU: as block_strengths_cpu does it, dense and on supports."""

from __future__ import annotations

import dataclasses

import numpy as np

from tdtool.kernels.device_gpu import BLOCK, DeviceArray, Gpu

_FILE = "block_strengths.cu"
_MOST_STEPS = 8
_WARP = 32
#: Entries of a group that a warp adds up.
_PIECE = 1024
#: Blocks for each processor: chunks of rows are as long as that makes them, and no shorter than this.
_BLOCKS_EACH, _LEAST_ROWS = 16, 64


def dense_strengths(gpu: Gpu, expected: DeviceArray, n_left: int | None = None) -> DeviceArray:
    """expected : (n, k) float32 a >= 0; n_left : nodes of the first side of a bipartite graph. Returns (n, k) F."""
    n_nodes, k = expected.shape
    strengths = gpu.empty((n_nodes, k), np.float32)
    change, totals = gpu.zeros(1, np.float64), gpu.empty(k, np.float64)
    sides = [(0, n_nodes)] if n_left is None else [(0, n_left), (n_left, n_nodes)]
    sums = [_column_sums(gpu, expected[start:stop], change) for start, stop in sides]
    for (start, stop), scale in zip(sides, _scales(gpu, sums), strict=True):
        layout, n_blocks, parts = _layout(gpu, stop - start, k)
        given, out = expected[start:stop], strengths[start:stop]
        gpu.launch(_FILE, "first_strengths", n_blocks, BLOCK, given, scale, *layout, out, parts)
        _fold(gpu, parts, True, totals, change)
    if n_left is not None:
        return strengths
    for _ in range(_MOST_STEPS):
        gpu.launch(_FILE, "next_strengths", n_blocks, BLOCK, expected, totals, change, *layout, strengths, parts)
        _fold(gpu, parts, False, totals, change)
    return strengths


@dataclasses.dataclass(frozen=True)
class Groups:
    """Entries by what they are added up over: the community, in a bipartite graph of one side.

    order : (entries,) int64, entries by their group, those of one in order; starts : (groups + 1,) int64 places in it;
    pieces of groups: their groups (pieces,) int32, where they begin (pieces,) int64, the first of each group
    (groups + 1,) int64; of_entry : (entries,) int32.
    """

    order: DeviceArray
    starts: DeviceArray
    pieces: DeviceArray
    begins: DeviceArray
    firsts: DeviceArray
    of_entry: DeviceArray


def sparse_strengths(
    gpu: Gpu, expected: DeviceArray, support: DeviceArray, n_communities: int, n_left_entries: int | None = None
) -> DeviceArray:
    """expected : (entries,) float64 a >= 0; support : (entries,) int32; n_left_entries : those of the first side.

    Returns (entries,) F, float64.
    """
    xp, n_entries = gpu.xp, len(expected)
    if not n_entries:
        return gpu.empty(0, np.float64)
    groups = grouped(gpu, support, n_communities, n_left_entries)
    totals = _group_sums(gpu, expected, groups)
    if n_left_entries is None:
        scales = _scales(gpu, [totals])[0]
    else:
        scales = xp.concatenate(_scales(gpu, [totals[:n_communities], totals[n_communities:]]))
    strengths = expected * scales[groups.of_entry]
    if n_left_entries is not None:
        return strengths
    before = _group_sums(gpu, strengths, groups)
    change = gpu.zeros(1, np.float64) + 1.0
    for _ in range(_MOST_STEPS):
        given = expected, support, before, change, np.int64(n_entries)
        gpu.launch(_FILE, "next_entries", -(-n_entries // BLOCK), BLOCK, *given, strengths)
        after = _group_sums(gpu, strengths, groups)  # the same once they have settled
        turned = xp.abs(after / xp.where(before > 0, before, 1.0) - 1.0)
        change = xp.minimum(change, xp.max(xp.where(before > 0, turned, 0.0)))
        before = after
    return strengths


def grouped(gpu: Gpu, support: DeviceArray, n_communities: int, n_left_entries: int | None = None) -> Groups:
    """The entries of each community, of the first side and then of the other where there are two."""
    xp, n_entries = gpu.xp, len(support)
    keys, n_groups = support, n_communities
    if n_left_entries is not None:
        keys = support + np.int32(n_communities) * (xp.arange(n_entries) >= n_left_entries).astype(np.int32)
        n_groups = 2 * n_communities
    zero = gpu.zeros(1, np.int64)
    counts = xp.bincount(keys, minlength=n_groups)
    starts = xp.concatenate([zero, xp.cumsum(counts)])
    firsts = xp.concatenate([zero, xp.cumsum(-(-counts // _PIECE))])
    numbers = xp.arange(int(gpu.to_host(firsts[-1:])[0]))
    pieces = xp.searchsorted(firsts, numbers, side="right") - 1
    begins = starts[pieces] + _PIECE * (numbers - firsts[pieces])
    order = xp.argsort(keys, kind="stable").astype(np.int64)
    return Groups(order, starts, pieces.astype(np.int32), begins.astype(np.int64), firsts, keys.astype(np.int32))


def _group_sums(gpu: Gpu, values: DeviceArray, groups: Groups) -> DeviceArray:
    """(groups,) float64, in an order that depends on the entries of each alone."""
    n_pieces, n_groups = len(groups.pieces), len(groups.starts) - 1
    parts, totals = gpu.empty(n_pieces, np.float64), gpu.empty(n_groups, np.float64)
    cut = groups.order, groups.starts, groups.pieces, groups.begins, np.int32(n_pieces), np.int32(_PIECE)
    gpu.launch(_FILE, "group_sums", -(-n_pieces // 4), 4 * _WARP, values, *cut, parts)
    gpu.launch(_FILE, "fold_groups", -(-n_groups // BLOCK), BLOCK, parts, groups.firsts, np.int32(n_groups), totals)
    return totals


def _scales(gpu: Gpu, sums: list[DeviceArray]) -> list[DeviceArray]:
    """What a is multiplied by at first, (k,) for each side."""
    xp = gpu.xp
    above = [xp.where(total > 0, total, 1.0) for total in sums]
    if len(sums) == 1:
        return [xp.where(sums[0] > 0, 1.0 / xp.sqrt(above[0]), 0.0)]
    common = (sums[0] * sums[1]) ** 0.25
    return [xp.where(total > 0, common / safe, 0.0) for total, safe in zip(sums, above, strict=True)]


def _column_sums(gpu: Gpu, values: DeviceArray, change: DeviceArray) -> DeviceArray:
    n_rows, k = values.shape
    layout, n_blocks, parts = _layout(gpu, n_rows, k)
    gpu.launch(_FILE, "column_sums", n_blocks, BLOCK, values, *layout, parts)
    totals = gpu.empty(k, np.float64)
    _fold(gpu, parts, True, totals, change)
    return totals


def _layout(gpu: Gpu, n_rows: int, k: int) -> tuple[tuple[np.generic, ...], int, DeviceArray]:
    """(rows, columns, columns and rows of a block, blocks side by side), blocks, room for their sums (chunks, k).

    The same for a number of rows and of processors: sums have one order on one kind of GPU.
    """
    lanes = min(1 << max(k - 1, 0).bit_length(), _WARP)
    n_tiles = max(-(-k // lanes), 1)
    chunk = max(-(-n_rows * n_tiles // (_BLOCKS_EACH * gpu.n_processors)), _LEAST_ROWS)
    n_chunks = -(-n_rows // chunk) if k else 0
    sizes = np.int64(n_rows), np.int32(k), np.int32(lanes), np.int32(chunk), np.int32(n_tiles)
    return sizes, n_chunks * n_tiles, gpu.empty((n_chunks, k), np.float64)


def _fold(gpu: Gpu, parts: DeviceArray, is_first: bool, totals: DeviceArray, change: DeviceArray) -> None:
    n_chunks, k = parts.shape
    given = parts, np.int32(n_chunks), np.int32(k), np.int32(is_first)
    gpu.launch(_FILE, "fold_columns", 1, BLOCK, *given, totals, change)
