"""Sketches on a GPU: hashing, products of spectra, and reading off. No atomics: the same bits from run to run.

Letters as in sketch.py: B repeats, L hash length, F = L // 2 + 1, R columns, n indices. All arrays are the GPU's.
Every place adds up what is hashed to it from lists of indices that are sorted by bucket, once for each family.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.device_gpu import BLOCK, DeviceArray, Gpu
from tdtool.kernels.hashing import HashFamily

_FILE = "sketch.cu"
#: Sums of rows that are made at a time, and spectra of a block of columns: enough work for each launch.
_WORKSPACE, _BLOCK_BYTES = 1 << 28, 1 << 28
#: Entries that are sorted at a time.
_SORTED = 1 << 22
#: As in sketch.cu: columns of a thread of count_sketch, buckets of a tile.
_COLUMNS, _TILE = 16, 32
#: What an entry of a fibre costs that is read where its bucket wants it, against one that is read along a row.
_SCATTERED = 6
#: Shared memory of a block of gather_median, and what a block may have at most.
_SHARED, _MOST_SHARED = 1 << 16, 227 * 1024


@dataclasses.dataclass(frozen=True)
class DeviceHashes:
    """A family of hash functions on the GPU. codes : (B, n) int32, the bucket, its one's complement for sign -1."""

    gpu: Gpu
    codes: DeviceArray
    hash_length: int

    @functools.cached_property
    def lists(self) -> tuple[DeviceArray, DeviceArray]:
        """Indices by bucket, (B, n) int32, complemented for sign -1, and where each begins, (B, L + 1) int32."""
        return _lists(self.gpu, self.codes, self.hash_length)


_uploaded: dict[int, tuple[Gpu, DeviceHashes]] = {}


def hashes_on(gpu: Gpu, family: HashFamily) -> DeviceHashes:
    """A family on the GPU, kept there as long as the family is; its own arrays may lie on either side."""
    kept = _uploaded.get(id(family))
    if kept is not None and kept[0] is gpu:
        return kept[1]
    buckets, signs = (a if gpu.owns(a) else gpu.to_device(a) for a in (family.buckets, family.signs))
    found = DeviceHashes(gpu, gpu.xp.ascontiguousarray(gpu.xp.where(signs < 0, ~buckets, buckets)), family.hash_length)
    if kept is None:
        weakref.finalize(family, _uploaded.pop, id(family), None).atexit = False
    _uploaded[id(family)] = gpu, found
    return found


def block_bytes(gpu: Gpu) -> int:
    """Working memory for the spectra of a block of columns."""
    return min(_BLOCK_BYTES, max(gpu.limit // 16, 1))


# ---- into buckets


def count_sketch(gpu: Gpu, matrix: DeviceArray, family: HashFamily) -> DeviceArray:
    """(B, R, L) count sketches of the columns of `matrix` (n, R), any strides, float32 or float64. Writes B R L."""
    hashes = hashes_on(gpu, family)
    return _scattered(gpu, matrix, hashes.lists, family.hash_length)


def spectra(gpu: Gpu, matrix: DeviceArray, family: HashFamily) -> DeviceArray:
    """(B, R, F) complex transforms of the count sketches."""
    return transform(gpu, count_sketch(gpu, matrix, family))


def transform(gpu: Gpu, sketch: DeviceArray) -> DeviceArray:
    """Fourier transforms along the last mode, (..., L) real -> (..., F) complex of its precision."""
    if sketch.size == 0:
        places = sketch.shape[-1] // 2 + 1
        return gpu.empty((*sketch.shape[:-1], places), np.result_type(sketch.dtype, np.complex64))
    return gpu.xp.fft.rfft(sketch, axis=-1)


def dense_sketch(gpu: Gpu, tensor: DeviceArray, hashes: Sequence[HashFamily]) -> DeviceArray:
    """(B, L) tensor sketch of a dense tensor of order 1 or more, of its dtype; reads it once for each repeat.

    Modes may lie in any order; where a tensor has gaps, slabs of it are copied, 256 MB at a time.
    """
    length, codes = hashes[0].hash_length, [hashes_on(gpu, family).codes for family in hashes]
    out = gpu.zeros((hashes[0].n_hashes, length), np.float64)
    if tensor.size:
        modes = sorted(range(tensor.ndim), key=lambda mode: -abs(tensor.strides[mode]))
        for first, slab in _slabs(gpu, tensor.transpose(tuple(modes))):
            parts = [codes[mode] for mode in modes]
            parts[0] = gpu.xp.ascontiguousarray(parts[0][:, first : first + slab.shape[0]])
            _add_slab(gpu, slab, parts, out)
    return out.astype(tensor.dtype, copy=False)


def distinct_sketch(gpu: Gpu, tensor: DeviceArray, family: HashFamily) -> DeviceArray:
    """(B, L) sketch of the entries i < j < k of a symmetric tensor (n, n, n): reads n^3 / 6 for each repeat."""
    n, codes = family.size, hashes_on(gpu, family).codes
    out = gpu.zeros((family.n_hashes, family.hash_length), np.float64)
    modes = sorted(range(3), key=lambda mode: -abs(tensor.strides[mode]))
    tensor = gpu.xp.ascontiguousarray(
        tensor.transpose(tuple(modes))
    )  # symmetric: any order of the modes is the same tensor
    places = gpu.xp.arange(n, dtype=np.int64) * (n * n)
    if n > 2:
        lists = hashes_on(gpu, family).lists
        _add_rows(gpu, tensor, _RowHashes(codes, places, lists, n, codes, distinct=True), out)
    return out.astype(tensor.dtype, copy=False)


def pairs_sketch(gpu: Gpu, matrix: DeviceArray, family: HashFamily) -> DeviceArray:
    """(B, L): entry (i, j) of `matrix` (n, n), which stands for (i, j, j), with sign_i at h_i + 2 h_j modulo L."""
    hashes, length = hashes_on(gpu, family), family.hash_length
    out = gpu.empty((family.n_hashes, length), matrix.dtype)
    grid = -(-length // BLOCK) * family.n_hashes
    sizes = np.int32(family.size), np.int32(length)
    matrix = gpu.xp.ascontiguousarray(matrix)
    gpu.launch(_FILE, _of("sketch_pairs", matrix), grid, BLOCK, matrix, hashes.codes, *hashes.lists, *sizes, out)
    return out


def entries_sketch(
    gpu: Gpu, coordinates: Sequence[NDArray[Any]], values: NDArray[np.float64], hashes: Sequence[HashFamily]
) -> DeviceArray:
    """(B, L) float64 sketch of a sparse tensor: N arrays (nnz,) of indices and (nnz,) values, of the host.

    Some entries at a time are sent and, for each repeat, sorted by place.
    """
    length, codes = hashes[0].hash_length, [hashes_on(gpu, family).codes for family in hashes]
    out = gpu.zeros((hashes[0].n_hashes, length), np.float64)
    for start in range(0, values.size, _SORTED):
        part = slice(start, start + _SORTED)
        given = gpu.to_device(values[part])
        places = [gpu.to_device(coordinate[part]) for coordinate in coordinates]
        for repeat in range(hashes[0].n_hashes):
            found = _sum_of_codes(
                gpu, [c[repeat : repeat + 1, at] for c, at in zip(codes, places, strict=True)], length
            )
            order, starts = _lists(gpu, found, length)
            grid = -(-length * 32 // BLOCK)
            gpu.launch(_FILE, "sketch_entries", grid, BLOCK, given, order, starts, np.int32(length), out[repeat])
    return out


# ---- spectra


def add_products(gpu: Gpu, factors: Sequence[DeviceArray], weights: DeviceArray, out: DeviceArray) -> None:
    """out[b] += sum_r weights[r] times the product of the spectra [b, r]; reads B R F of each different factor.

    factors : one or more (B, R, F) complex of one type, may repeat; weights : (R,); out : (B, F) complex128.
    """
    factors = _three_at_most(gpu, factors)
    n_hashes, n_columns, n_places = factors[0].shape
    grid = -(-n_places // BLOCK) * n_hashes
    weights = gpu.xp.ascontiguousarray(weights.astype(np.float64, copy=False))
    sizes = np.int32(n_columns), np.int32(n_places)
    gpu.launch(_FILE, _of("add_products", factors[0]), grid, BLOCK, *_padded(factors), weights, *sizes, out)


def inner_products(gpu: Gpu, spectrum: DeviceArray, factors: Sequence[DeviceArray], hash_length: int) -> DeviceArray:
    """(B, R) float64: inner products over the L places of a sketch with the product of some spectra.

    spectrum : (B, F) complex; factors : one or more (B, R, F) complex of one type, may repeat.
    """
    factors = _three_at_most(gpu, factors)
    n_hashes, n_columns, n_places = factors[0].shape
    out = gpu.empty((n_hashes, n_columns), np.float64)
    spectrum = gpu.xp.ascontiguousarray(spectrum.astype(np.complex128, copy=False))
    sizes = np.int32(n_columns), np.int32(n_places), np.int32(hash_length)
    kernel = _of("inner_products", factors[0])
    gpu.launch(_FILE, kernel, n_hashes * n_columns, BLOCK, spectrum, *_padded(factors), *sizes, out)
    return out


def correlate(gpu: Gpu, spectrum: DeviceArray, factors: Sequence[DeviceArray]) -> DeviceArray:
    """(B, R, F): spectrum[b] times the conjugate of the product of some spectra [b, r], of the factors' type."""
    factors = _three_at_most(gpu, factors)
    out = gpu.empty(factors[0].shape, factors[0].dtype)
    _, n_columns, n_places = out.shape
    grid = -(-n_places // BLOCK) * out.shape[0] * n_columns
    spectrum = gpu.xp.ascontiguousarray(spectrum.astype(out.dtype, copy=False))
    sizes = np.int32(n_columns), np.int32(n_places)
    gpu.launch(_FILE, _of("correlate", out), grid, BLOCK, spectrum, *_padded(factors), *sizes, out)
    return out


def gather(gpu: Gpu, columns: DeviceArray, family: HashFamily) -> DeviceArray:
    """(R, n): median over the repeats of the places of every index. columns : (B, R, F) transforms."""
    n_hashes, n_columns, _ = columns.shape
    kind = np.float32 if columns.dtype == np.complex64 else np.float64
    out = gpu.empty((n_columns, family.size), kind)
    if out.size == 0:
        return out
    threads, item = 128, out.itemsize
    while threads > 32 and n_hashes * threads * item > _SHARED:
        threads //= 2
    shared = n_hashes * threads * item
    if shared > _MOST_SHARED:
        raise ValueError(f"{n_hashes} sketches: a GPU takes the median of at most {_MOST_SHARED // (32 * item)}")
    sketches = gpu.xp.fft.irfft(columns, family.hash_length, axis=-1, norm="forward")
    codes, scale = hashes_on(gpu, family).codes, np.float64(1 / family.hash_length)
    sizes = (np.int32(size) for size in (n_hashes, n_columns, family.size, family.hash_length))
    grid = -(-out.size // threads)
    gpu.launch(_FILE, _of("gather_median", out), grid, threads, sketches, codes, *sizes, scale, out, shared=shared)
    return out


def _three_at_most(gpu: Gpu, factors: Sequence[DeviceArray]) -> list[DeviceArray]:
    """The factors, those beyond the third multiplied into the first; contiguous."""
    first, rest = factors[0], list(factors[1:3])
    for other in factors[3:]:
        first = first * other
    return [gpu.xp.ascontiguousarray(factor) for factor in (first, *rest)]


def _padded(factors: list[DeviceArray]) -> tuple[Any, ...]:
    """Three arrays, and how many of them count."""
    return *factors, *[factors[0]] * (3 - len(factors)), np.int32(len(factors))


# ---- dense tensors


@dataclasses.dataclass(frozen=True)
class _RowHashes:
    """How the rows and columns of a tensor are hashed: rows by the sum of a code of `others` and one of a sorted mode.

    others : (B, O) int32; places : (O,) int64, entries to the first row of each; lists, stride : of the sorted mode;
    columns : (B, C) int32; distinct : only entries whose indices ascend.
    """

    others: DeviceArray
    places: DeviceArray
    lists: tuple[DeviceArray, DeviceArray]
    stride: int
    columns: DeviceArray
    distinct: bool = False


def split(shape: Sequence[int], length: int) -> tuple[bool, int]:
    """How to sketch a C-ordered tensor of order 2 or more: (by rows, how many modes are the rows' ones).

    By rows: those of one bucket are added up, entries read as they lie; then columns are folded. Otherwise each row is
    scattered into its buckets, and rows are folded. Either way L sums of each column, or row, are written and read.
    """
    options = []
    for n_modes in range(1, len(shape)):
        n_rows, n_columns = math.prod(shape[:n_modes]), math.prod(shape[n_modes:])
        lookups = n_rows // max(shape[:n_modes]) * (1 + n_columns // 128)
        lanes = -(-n_columns // 32) * 32  # of a warp, busy or not
        options.append((n_rows * lanes + 2 * length * (n_columns + lookups), True, n_modes))
        options.append((_SCATTERED * n_rows * n_columns + 2 * length * n_rows, False, n_modes))
    _, by_rows, n_modes = min(options)
    return by_rows, n_modes


def _slabs(gpu: Gpu, tensor: DeviceArray) -> Iterator[tuple[int, DeviceArray]]:
    """(first index, C-ordered slab) along the first mode: the whole where it has no gaps, otherwise copies."""
    if tensor.flags.c_contiguous:
        yield 0, tensor
        return
    thickness = max(1, _WORKSPACE * tensor.shape[0] // (tensor.size * tensor.itemsize))
    for first in range(0, tensor.shape[0], thickness):
        yield first, gpu.xp.ascontiguousarray(tensor[first : first + thickness])


def _add_slab(gpu: Gpu, tensor: DeviceArray, codes: list[DeviceArray], out: DeviceArray) -> None:
    """Add the sketch of a C-ordered tensor to out (B, L) float64; codes : (B, I_m) of each mode."""
    length = out.shape[1]
    if tensor.ndim == 1:
        out += _scattered(gpu, tensor[:, None], _lists(gpu, codes[0], length), length)[:, 0]
        return
    by_rows, n_modes = split(tensor.shape, length)
    if not by_rows:
        _add_fibres(gpu, tensor, codes, n_modes, out)
        return
    shape = tensor.shape
    mode = max(range(n_modes), key=lambda m: shape[m])
    others = [m for m in range(n_modes) if m != mode]
    places = gpu.xp.zeros(1, np.int64)
    for other in others:
        steps = gpu.xp.arange(shape[other], dtype=np.int64) * math.prod(shape[other + 1 :])
        places = (places[:, None] + steps).reshape(-1)
    lists, stride = _lists(gpu, codes[mode], length), math.prod(shape[mode + 1 :])
    nothing = gpu.zeros((out.shape[0], 1), np.int32)
    combined = _combined(gpu, [codes[m] for m in others], slice(None), length) if others else nothing
    columns = _combined(gpu, codes[n_modes:], slice(None), length)
    _add_rows(gpu, tensor, _RowHashes(combined, places, lists, stride, columns), out)


def _add_rows(gpu: Gpu, tensor: DeviceArray, hashes: _RowHashes, out: DeviceArray) -> None:
    """Add the sketch of a C-ordered tensor, rows first; some columns and repeats at a time."""
    (n_hashes, length), n_columns = out.shape, hashes.columns.shape[1]
    chunk = 32 * 16 // tensor.itemsize
    width = min(n_columns, max(_WORKSPACE // (length * tensor.itemsize) // chunk, 1) * chunk)
    at_once = max(1, min(n_hashes, _WORKSPACE // (width * length * tensor.itemsize)))
    packed = n_columns % (16 // tensor.itemsize) == 0 and gpu.pointer(tensor) % 16 == 0
    kernel = _of("sketch_packed_rows" if packed else "sketch_rows", tensor)
    order, starts = hashes.lists
    for first in range(0, n_hashes, at_once):
        some = slice(first, min(first + at_once, n_hashes))
        row_hashes = hashes.others[some], hashes.places, np.int32(hashes.places.size), order[some], starts[some]
        sizes = np.int32(order.shape[1]), np.int64(hashes.stride), np.int32(length), np.int32(hashes.distinct)
        for column in range(0, n_columns, width):
            n = min(width, n_columns - column)
            sums = gpu.empty((some.stop - first, n, length), tensor.dtype)
            grid = -(-n // chunk) * -(-length // _TILE) * (some.stop - first)
            given = tensor, np.int32(column), np.int32(n)
            gpu.launch(_FILE, kernel, grid, 256, *given, *row_hashes, *sizes, sums)
            _fold(gpu, sums, hashes.columns[some, column : column + n], out[some])


def _add_fibres(gpu: Gpu, tensor: DeviceArray, codes: list[DeviceArray], n_modes: int, out: DeviceArray) -> None:
    """Add the sketch of a C-ordered tensor whose rows, of the first `n_modes` modes, are scattered one by one."""
    (n_hashes, length), n_rows = out.shape, math.prod(tensor.shape[:n_modes])
    matrix = tensor.reshape(n_rows, -1)
    rows = _combined(gpu, codes[:n_modes], slice(None), length)
    part = min(matrix.shape[1], _SORTED)
    at_once = max(1, min(n_hashes, _SORTED // part))
    width = max(1, min(n_rows, _WORKSPACE // (at_once * length * tensor.itemsize)))
    for first in range(0, n_hashes, at_once):
        some = slice(first, min(first + at_once, n_hashes))
        for start in range(0, matrix.shape[1], part):
            fibre = slice(start, min(start + part, matrix.shape[1]))
            lists = _lists(gpu, _combined(gpu, [c[some] for c in codes[n_modes:]], fibre, length), length)
            for row in range(0, n_rows, width):
                sums = _scattered(gpu, matrix[row : row + width, fibre].T, lists, length)
                _fold(gpu, sums, rows[some, row : row + width], out[some])


def _scattered(gpu: Gpu, matrix: DeviceArray, lists: tuple[DeviceArray, DeviceArray], length: int) -> DeviceArray:
    """(B, R, L): the columns of `matrix` (n, R), any strides, by lists (B, n) and (B, L + 1)."""
    (n, n_columns), n_hashes = matrix.shape, lists[0].shape[0]
    out = gpu.empty((n_hashes, n_columns, length), matrix.dtype)
    grid = -(-length // BLOCK) * -(-n_columns // _COLUMNS) * n_hashes
    row, column = (np.int64(stride // matrix.itemsize) for stride in matrix.strides)
    given = matrix, row, column, np.int32(n_columns), *lists, np.int32(n), np.int32(length), out
    gpu.launch(_FILE, _of("count_sketch", matrix), grid, BLOCK, *given)
    return out


def _fold(gpu: Gpu, sums: DeviceArray, codes: DeviceArray, out: DeviceArray) -> None:
    """out (B, L) += sums (B, C, L), each column turned by its code (B, C)."""
    n_hashes, n_columns, length = sums.shape
    grid = -(-length // BLOCK) * n_hashes
    sizes = np.int32(n_columns), np.int32(length)
    gpu.launch(_FILE, _of("fold_columns", sums), grid, BLOCK, sums, gpu.xp.ascontiguousarray(codes), *sizes, out)


def _combined(gpu: Gpu, codes: Sequence[DeviceArray], part: slice, length: int) -> DeviceArray:
    """(B, n) int32 codes of the index tuples of some modes, last fastest, that are in `part`."""
    sizes = [code.shape[1] for code in codes]
    start, stop, _ = part.indices(math.prod(sizes))
    index, found = gpu.xp.arange(start, stop, dtype=np.int64), []
    for code, size in zip(reversed(codes), reversed(sizes), strict=True):
        found.append(code[:, index % size])
        index = index // size
    return _sum_of_codes(gpu, found, length)


def _sum_of_codes(gpu: Gpu, codes: Sequence[DeviceArray], length: int) -> DeviceArray:
    """(B, n) int32 codes of h1 + h2 + ... modulo L and of the product of the signs."""
    xp = gpu.xp
    bucket, negative = _bucket(gpu, codes[0]).astype(np.int64), codes[0] < 0
    for code in codes[1:]:
        bucket, negative = bucket + _bucket(gpu, code), negative ^ (code < 0)
    bucket = bucket % length
    return xp.ascontiguousarray(xp.where(negative, ~bucket, bucket).astype(np.int32))


def _lists(gpu: Gpu, codes: DeviceArray, length: int) -> tuple[DeviceArray, DeviceArray]:
    """Indices sorted by bucket, (B, n) int32, complemented for sign -1, and where each begins, (B, L + 1) int32."""
    xp = gpu.xp
    buckets = _bucket(gpu, codes)
    order = xp.argsort(buckets, axis=1, kind="stable")
    codes, buckets = (xp.take_along_axis(array, order, axis=1) for array in (codes, buckets))
    edges, starts = xp.arange(length + 1, dtype=np.int32), gpu.empty((codes.shape[0], length + 1), np.int32)
    for repeat in range(codes.shape[0]):
        starts[repeat] = xp.searchsorted(buckets[repeat], edges)
    return xp.ascontiguousarray(xp.where(codes < 0, ~order, order).astype(np.int32)), starts


def _bucket(gpu: Gpu, codes: DeviceArray) -> DeviceArray:
    return gpu.xp.where(codes < 0, ~codes, codes)


def _of(kernel: str, array: DeviceArray) -> str:
    """The kernel for the precision of an array."""
    return f"{kernel}_float" if array.dtype in (np.float32, np.complex64) else f"{kernel}_double"
