"""Copies between layouts and sums that are no matrix product, of arrays of the GPU at any strides (pack.cu).

Arrays are taken as memory from their first entry on; offsets and strides are in entries.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from tdtool.kernels.device_gpu import BLOCK, DeviceArray, Gpu
from tdtool.kernels.plan import Mode

#: (size, step in the source, step in the target), both in entries.
CopyMode = tuple[int, int, int]

_TILE = 32
_ITEMS = 4  # entries that a thread of `copy` and `products` takes
_PARTS = 8  # warps of a block of `sums_across`
_LARGEST_GRID = 2**31 - 1
_PACKED = {4: np.float32, 8: np.float64, 16: np.complex128}


def copy_block(
    gpu: Gpu,
    source: DeviceArray,
    target: DeviceArray,
    modes: tuple[CopyMode, ...],
    offsets: tuple[int, int] = (0, 0),
) -> None:
    """target[offset + steps] = source[offset + steps] over all modes; both long runs if each tensor has one.

    source, target : arrays of one dtype of 4, 8 or 16 bytes.
    """
    modes = merged_copy(modes)
    if any(size == 0 for size, _, _ in modes):
        return
    size = source.dtype.itemsize
    source, target = (array.view(_PACKED[size]) for array in (source, target))
    modes = modes or ((1, 1, 1),)
    fast = min(range(len(modes)), key=lambda place: abs(modes[place][1]) or _LARGEST_GRID)
    first = min(range(len(modes)), key=lambda place: abs(modes[place][2]) or _LARGEST_GRID)
    begins = np.int64(offsets[0]), np.int64(offsets[1])
    if fast == first:
        order = (modes[fast], *modes[:fast], *modes[fast + 1 :])
        total = math.prod(mode[0] for mode in order)
        table = _table(gpu, order)
        grid = -(-total // (BLOCK * _ITEMS))
        gpu.launch(
            "pack.cu",
            f"copy_{size}",
            grid,
            BLOCK,
            source,
            target,
            table,
            np.int32(len(order)),
            np.int64(total),
            *begins,
        )
        return
    x, y = modes[fast], modes[first]
    outer = tuple(mode for place, mode in enumerate(modes) if place not in (fast, first))
    tiles = -(-x[0] // _TILE), -(-y[0] // _TILE)
    grid = tiles[0] * tiles[1] * math.prod(mode[0] for mode in outer)
    numbers = [np.int64(number) for mode in (x, y) for number in mode]
    rest = np.int32(len(outer)), *numbers, *begins
    gpu.launch("pack.cu", f"turn_{size}", grid, (_TILE, 8), source, target, _table(gpu, outer), *rest)


def merged_copy(modes: tuple[CopyMode, ...]) -> tuple[CopyMode, ...]:
    """The same places with modes joined where one goes on from the other in both arrays; by step in the target."""
    found: list[CopyMode] = []
    for mode in sorted((mode for mode in modes if mode[0] != 1), key=lambda mode: (abs(mode[2]), abs(mode[1]))):
        size, *steps = found[-1] if found else (0, 0, 0)
        if found and [step * size for step in steps] == list(mode[1:]):
            found[-1] = (size * mode[0], steps[0], steps[1])
        else:
            found.append(mode)
    return tuple(found)


def sum_products(
    gpu: Gpu, left: DeviceArray, right: DeviceArray, out: DeviceArray, kept: tuple[Mode, ...], sums: tuple[Mode, ...]
) -> None:
    """out[kept] = sum over sums of left[kept, sums] right[kept, sums], with at least one entry to sum.

    left, right, out : arrays of one dtype (float32, float64, complex64, complex128). Sums are in double precision;
    their order depends on the sizes and the number of processors alone.
    """
    n_kept, n_sums = math.prod(mode.size for mode in kept), math.prod(mode.size for mode in sums)
    if n_kept == 0:
        return
    side = _larger(kept, sums)
    kept, sums = _fast_first(kept, side), _fast_first(sums, side)
    letter = out.dtype.char
    arrays = left, right, out
    sizes = np.int32(len(kept)), np.int32(len(sums))
    table = _table(gpu, tuple((mode.size, mode.left, mode.right, mode.out) for mode in (*kept, *sums)))
    if n_sums == 1:
        grid = -(-n_kept // (BLOCK * _ITEMS))
        gpu.launch("pack.cu", f"products_{letter}", grid, BLOCK, *arrays, table, sizes[0], np.int64(n_kept))
        return
    along = n_sums >= BLOCK and _step(sums[0], side) < (_step(kept[0], side) if kept else _LARGEST_GRID)
    n_blocks = n_kept if along else -(-n_kept // 32)
    n_parts = _n_parts(gpu, n_blocks, n_sums, along=along)
    wide = np.complex128 if letter in "FD" else np.float64
    partial = gpu.empty(n_kept * n_parts if n_parts > 1 else 1, wide)
    block = (BLOCK, 1) if along else (32, min(_PARTS, n_sums))
    kernel = "sums_along" if along else "sums_across"
    each = -(-n_sums // (n_parts * (1 if along else block[1])))
    totals = np.int64(n_kept), np.int64(n_sums), np.int64(each), np.int32(n_parts)
    gpu.launch("pack.cu", f"{kernel}_{letter}", n_blocks * n_parts, block, *arrays, partial, table, *sizes, *totals)
    if n_parts > 1:
        rest = table, sizes[0], totals[0], totals[3]
        gpu.launch("pack.cu", f"sums_end_{letter}", -(-n_kept // BLOCK), BLOCK, partial, out, *rest)


def _n_parts(gpu: Gpu, n_blocks: int, n_sums: int, *, along: bool) -> int:
    """Into how many parts a sum is cut so that all processors have eight blocks, each with enough to do."""
    least = 16 * BLOCK if along else 32 * _PARTS
    return max(1, min(8 * gpu.n_processors // n_blocks, n_sums // least))


def _larger(kept: tuple[Mode, ...], sums: tuple[Mode, ...]) -> str:
    """Which of the three arrays has most entries: its long runs are to be read or written as such."""

    def entries(side: str) -> int:
        return math.prod(mode.size for mode in (*kept, *sums) if getattr(mode, side))

    return max(("left", "right", "out"), key=entries)


def _step(mode: Mode, side: str) -> int:
    return abs(int(getattr(mode, side))) or _LARGEST_GRID


def _fast_first(modes: tuple[Mode, ...], side: str) -> tuple[Mode, ...]:
    return tuple(sorted((mode for mode in modes if mode.size != 1), key=lambda mode: _step(mode, side)))


@functools.lru_cache(maxsize=512)
def _table(gpu: Gpu, rows: tuple[tuple[int, ...], ...]) -> DeviceArray:
    """Numbers of modes in the GPU's memory: (rows, numbers) int64."""
    return gpu.to_device(np.array(rows or ((0,),), np.int64))
