"""The passes of blocks_cpu over the edges of a graph on a GPU, and the product with its scaled adjacency.

Arrays are the GPU's, their meaning is that of blocks_cpu. Every node's row is added up in an order of its own: the same
bits from run to run, and for any cut of the rows. See blocks.cu for how work is laid out and what it reads.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.device_gpu import DeviceArray, Gpu

_FILE = "blocks.cu"
#: Edges of a node that one warp takes; more are cut into pieces of so many.
LONGEST = 1024
#: Communities that a node may have in a sparse pass, and columns of a dense one: their sums lie in shared memory.
MOST_ENTRIES, MOST_COLUMNS = 4096, 40_000
#: Float32 that strengths, (n, k), are read by: k is best a multiple.
QUAD = 4
_WARP, _WARPS = 32, 4
_MOST_PARTS = 8
#: Bytes of shared memory of a block of several warps; one warp alone may take more.
_SHARED = 48 << 10


@dataclasses.dataclass(frozen=True)
class Pieces:
    """Rows of more than `longest` edges, cut: row of each piece (p,) int32, where it begins (p,) int64, and the first
    piece of each of these rows (rows + 1,) int32.
    """

    rows: DeviceArray
    begins: DeviceArray
    firsts: DeviceArray
    longest: int

    @property
    def n_long(self) -> int:
        """Rows that are cut."""
        return int(self.firsts.size) - 1


def cut_long_rows(gpu: Gpu, indptr: NDArray[np.int64], *, longest: int = LONGEST) -> Pieces:
    """The pieces of rows, whose indptr (rows + 1,) is the host's."""
    counts = np.diff(indptr)
    long = np.flatnonzero(counts > longest)
    pieces = -(-counts[long] // longest)
    firsts = np.concatenate([[0], np.cumsum(pieces)])
    rows = np.repeat(long, pieces)
    begins = indptr[rows] + longest * (np.arange(firsts[-1]) - np.repeat(firsts[:-1], pieces))
    places = gpu.to_device(rows.astype(np.int32)), gpu.to_device(begins.astype(np.int64))
    return Pieces(*places, gpu.to_device(firsts.astype(np.int32)), longest)


def dense_pass(
    gpu: Gpu,
    indptr: DeviceArray,
    neighbours: DeviceArray,
    weights: DeviceArray | None,
    strengths: DeviceArray,
    background: float,
    propensity: DeviceArray,
    *,
    first: int | None = None,
    pieces: Pieces | None = None,
    out: tuple[DeviceArray, DeviceArray] | None = None,
) -> tuple[DeviceArray, DeviceArray]:
    """((rows, k) float32 expected links by community, (rows,) float64 by the background); see blocks_cpu.dense_pass.

    strengths : (n, k) float32, C-ordered, copied where k is no multiple of 4; pieces : of these rows, found when not
    given; out : where the results go. ValueError: k beyond MOST_COLUMNS, or arrays that do not fit each other.
    """
    n_rows, pieces = _checked(gpu, indptr, neighbours, len(strengths), propensity, first, pieces)
    k = strengths.shape[1]
    if k > MOST_COLUMNS:
        raise ValueError(f"{k:,} communities; a dense pass takes at most {MOST_COLUMNS:,}")
    padded = padded_columns(gpu, strengths)
    width = padded.shape[1]
    given = out if out is not None and width == k else None
    expected, shares = given or (gpu.empty((n_rows, width), np.float32), gpu.empty(n_rows, np.float64))
    edges = (indptr, neighbours, *_weights(gpu, weights), np.int32(first or 0))
    model = (np.float64(background), propensity)
    n_pieces = int(pieces.rows.size)
    parts, part_shares = gpu.empty((n_pieces, width), np.float32), gpu.empty(n_pieces, np.float64)
    cut = (pieces.rows, pieces.begins)
    longest = np.int32(pieces.longest)
    if width > _MOST_PARTS * _WARP * QUAD:
        for whole, n, target, sums in ((1, n_rows, expected, shares), (0, n_pieces, parts, part_shares)):
            where = (*edges, *cut, np.int32(whole), longest, padded, np.int32(width))
            gpu.launch(_FILE, "dense_wide", n, 256, *where, *model, target, sums, shared=4 * width)
    else:
        n_parts, lanes = _lanes(width // QUAD)
        row = (longest, padded, np.int32(width // QUAD), np.int32(lanes), *model)
        _warps(gpu, f"dense_rows_{n_parts}", n_rows, *edges, np.int32(n_rows), *row, expected, shares)
        _warps(gpu, f"dense_pieces_{n_parts}", n_pieces, *edges, *cut, np.int32(n_pieces), *row, parts, part_shares)
    long = (pieces.rows, pieces.firsts, np.int32(pieces.n_long), np.int32(first or 0))
    _warps(gpu, "dense_fold", pieces.n_long, *long, padded, np.int32(width), parts, part_shares, expected, shares)
    if width == k:
        return expected, shares
    if out is None:
        return gpu.xp.ascontiguousarray(expected[:, :k]), shares
    out[0][...], out[1][...] = expected[:, :k], shares
    return out


def padded_columns(gpu: Gpu, matrix: DeviceArray) -> DeviceArray:
    """The matrix (n, k) with columns of zeros up to a multiple of 4; itself where there are so many."""
    n_rows, k = matrix.shape
    width = -(-k // QUAD) * QUAD
    if width == k and matrix.flags.c_contiguous:
        return matrix
    padded = gpu.zeros((n_rows, width), matrix.dtype)
    padded[:, :k] = matrix
    return padded


def sparse_pass(
    gpu: Gpu,
    indptr: DeviceArray,
    neighbours: DeviceArray,
    weights: DeviceArray | None,
    support_indptr: DeviceArray,
    support: DeviceArray,
    strengths: DeviceArray,
    background: float,
    propensity: DeviceArray,
    *,
    first: int | None = None,
    scored: bool = False,
    pieces: Pieces | None = None,
    widest: int | None = None,
) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
    """(expected links of the rows' entries, of the background (rows,), the edges' likelihood (rows,) if `scored`).

    All float64; see blocks_cpu.sparse_pass. widest : the most entries of any node, looked for when not given.
    ValueError: more than MOST_ENTRIES of them, or arrays that do not fit each other.
    """
    model = (support_indptr, support, strengths, background, propensity)
    return _sparse(gpu, "sparse", (indptr, neighbours, weights), model, first, pieces, widest, scored=scored)


def entry_gains(
    gpu: Gpu,
    indptr: DeviceArray,
    neighbours: DeviceArray,
    weights: DeviceArray | None,
    support_indptr: DeviceArray,
    support: DeviceArray,
    strengths: DeviceArray,
    background: float,
    propensity: DeviceArray,
    *,
    first: int | None = None,
    pieces: Pieces | None = None,
    widest: int | None = None,
) -> DeviceArray:
    """What each membership of the rows does for the edges of its node, in bits, float64; see blocks_cpu.entry_gains."""
    model = (support_indptr, support, strengths, background, propensity)
    return _sparse(gpu, "gains", (indptr, neighbours, weights), model, first, pieces, widest)[0]


def widest_support(gpu: Gpu, support_indptr: DeviceArray) -> int:
    """The most entries that any node has; one number comes from the GPU."""
    if support_indptr.size < 2:
        return 0
    return int(gpu.to_host(gpu.xp.max(gpu.xp.diff(support_indptr))))


def product(
    gpu: Gpu,
    indptr: DeviceArray,
    neighbours: DeviceArray,
    weights: DeviceArray | None,
    scale: DeviceArray,
    scaled: DeviceArray,
    *,
    first: int | None = None,
    pieces: Pieces | None = None,
    out: DeviceArray | None = None,
) -> DeviceArray:
    """Rows of D A D X, (rows, b) of X's dtype. scale : (n,) float64, the diagonal of D; scaled : (n, b) D X, b <= 32.

    Sums are of the dtype, float32 or float64, in a fixed order.
    """
    n_rows, pieces = _checked(gpu, indptr, neighbours, len(scaled), scale, first, pieces)
    width = scaled.shape[1]
    if width > _WARP:
        raise ValueError(f"{width} columns; a product takes at most {_WARP}")
    kind = "float" if scaled.dtype == np.float32 else "double"
    result = gpu.empty((n_rows, width), scaled.dtype) if out is None else out
    lanes = np.int32(_power_of_two(width))
    edges = (indptr, neighbours, *_weights(gpu, weights))
    n_pieces, longest = int(pieces.rows.size), np.int32(pieces.longest)
    parts = gpu.empty((n_pieces, width), scaled.dtype)
    start = np.int32(first or 0)
    rows = (*edges, start, np.int32(n_rows), longest, scale, scaled, np.int32(width), lanes, result)
    _warps(gpu, f"product_rows_{kind}", n_rows, *rows)
    cut = (pieces.rows, pieces.begins, np.int32(n_pieces), longest, scaled, np.int32(width), lanes, parts)
    _warps(gpu, f"product_pieces_{kind}", n_pieces, *edges, *cut)
    long = (pieces.rows, pieces.firsts, np.int32(pieces.n_long), start, scale, np.int32(width), parts, result)
    _warps(gpu, f"product_fold_{kind}", pieces.n_long, *long)
    return result


def _sparse(
    gpu: Gpu,
    kernel: str,
    graph: tuple[DeviceArray, DeviceArray, DeviceArray | None],
    model: tuple[DeviceArray, DeviceArray, DeviceArray, float, DeviceArray],
    first: int | None,
    pieces: Pieces | None,
    widest: int | None,
    *,
    scored: bool = False,
) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
    (indptr, neighbours, weights), (support_indptr, support, strengths, background, propensity) = graph, model
    n_rows, pieces = _checked(gpu, indptr, neighbours, len(support_indptr) - 1, propensity, first, pieces)
    widest = widest_support(gpu, support_indptr) if widest is None else widest
    start = np.int32(first or 0)
    borders = gpu.to_host(support_indptr[int(start) : int(start) + n_rows + 1 : max(n_rows, 1)])
    sums = (gpu.empty(int(borders[-1] - borders[0]), np.float64), *(gpu.empty(n_rows, np.float64) for _ in range(2)))
    layout, n_warps, shared = _shared(widest, len(support) / max(len(propensity), 1))
    edges = (indptr, neighbours, *_weights(gpu, weights), start)
    theta = np.float64(background), propensity
    arguments = np.int32(pieces.longest), support_indptr, support, strengths, *theta, *layout, np.int32(scored)
    how: dict[str, int] = {"n_warps": n_warps, "shared": shared}
    _warps(gpu, f"{kernel}_rows", n_rows, *edges, np.int32(n_rows), *arguments, *sums, **how)
    if pieces.n_long:
        n_pieces = int(pieces.rows.size)
        nodes = pieces.rows.astype(np.int64) + int(start)
        ends = gpu.xp.cumsum(support_indptr[nodes + 1] - support_indptr[nodes])
        places = ends - (support_indptr[nodes + 1] - support_indptr[nodes])
        parts = (
            gpu.empty(int(gpu.to_host(ends[-1:])[0]), np.float64),
            *(gpu.empty(n_pieces, np.float64) for _ in range(2)),
        )
        cut = (pieces.rows, pieces.begins, np.int32(n_pieces))
        _warps(gpu, f"{kernel}_pieces", n_pieces, *edges, *cut, *arguments, places, *parts, **how)
        long = (pieces.rows, pieces.firsts, np.int32(pieces.n_long), start, support_indptr, strengths)
        _warps(gpu, "sparse_fold", pieces.n_long, *long, np.int32(kernel == "gains"), places, *parts, *sums)
    return sums


def _shared(widest: int, mean: float) -> tuple[tuple[Any, Any, Any], int, int]:
    """(lanes of an edge, entries and slots in shared memory), warps of a block, its bytes of shared memory."""
    if widest > MOST_ENTRIES:
        raise ValueError(f"a node is in {widest:,} communities; a sparse pass takes at most {MOST_ENTRIES:,}")
    room = max(widest, 1)
    slots = _power_of_two(2 * room)
    lanes = min(_power_of_two(max(int(np.ceil(mean)), 1)), _WARP)

    def of_a_warp() -> int:
        return 8 * room * (1 + _WARP // lanes) + 8 * slots

    while lanes < _WARP and of_a_warp() > _SHARED:
        lanes *= 2
    n_warps = max(min(_WARPS, _SHARED // of_a_warp()), 1)
    return (np.int32(lanes), np.int32(room), np.int32(slots)), n_warps, n_warps * of_a_warp()


def _lanes(quads: int) -> tuple[int, int]:
    """Quads of a row that a lane holds, and lanes of an edge."""
    if quads <= _WARP:
        return 1, _power_of_two(max(quads, 1))
    return _power_of_two(-(-quads // _WARP)), _WARP


def _power_of_two(least: int) -> int:
    return 1 << max(least - 1, 0).bit_length()


def _warps(gpu: Gpu, kernel: str, n: int, *arguments: Any, n_warps: int = _WARPS, shared: int = 0) -> None:
    """A kernel of one warp for each of n."""
    if n:
        gpu.launch(_FILE, kernel, -(-n // n_warps), _WARP * n_warps, *arguments, shared=shared)


def _weights(gpu: Gpu, weights: DeviceArray | None) -> tuple[DeviceArray, Any]:
    return (gpu.empty(0, np.float32), np.int32(0)) if weights is None else (weights, np.int32(1))


def _checked(
    gpu: Gpu,
    indptr: DeviceArray,
    neighbours: DeviceArray,
    n_strengths: int,
    propensity: DeviceArray,
    first: int | None,
    pieces: Pieces | None,
) -> tuple[int, Pieces]:
    """The number of rows, and their pieces. ValueError: the arrays do not fit each other."""
    n_rows, n_nodes = len(indptr) - 1, len(propensity)
    fits = n_rows == n_nodes if first is None else 0 <= first <= n_nodes - n_rows
    rows = gpu.to_host(indptr) if pieces is None else None
    n_ends = len(neighbours) if rows is None else int(rows[-1])
    if not fits or n_strengths != n_nodes or n_ends != len(neighbours):
        which = "" if first is None else f", from node {first} on"
        raise ValueError(
            f"the graph has {n_rows} nodes and {len(neighbours)} ends of edges{which}; strengths are of {n_strengths} "
            f"nodes, propensities of {n_nodes}"
        )
    return n_rows, pieces if rows is None else cut_long_rows(gpu, rows)  # type: ignore[return-value]
