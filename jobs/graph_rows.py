"""The rows of a graph as executors see them: one file, mapped into memory, of which a task reads the rows it needs.

Edges leave the driver once. Graphs that are made from others by taking some of their nodes, or by another order of
them, travel as this order: executors take the rows from the file that they have and renumber the neighbours.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import itertools
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdtool.data.edge_passes import Rows, scaled_matrix
from tdtool.errors import ClusterError, ResourceError

if TYPE_CHECKING:
    from tdtool.data.graph import Graph

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: Blocks that a worker keeps in memory once it has cut them out: more than one core's share of a graph.
_KEPT_BLOCKS = 4


@dataclasses.dataclass(frozen=True)
class RowsFile:
    """indptr (n_nodes + 1,) int64, neighbours (n_ends,) int32, perhaps weights (n_ends,) float32, one after the other.

    path : on the driver's machine; its name is unique, so that executors know by it what they have.
    """

    path: str
    n_nodes: int
    n_ends: int
    weighted: bool

    @classmethod
    def written(cls, graph: Graph, folder: Path) -> RowsFile:
        """Write a graph's rows. ResourceError: the disk is full."""
        path = folder / f"rows-{secrets.token_hex(8)}"
        arrays: list[NDArray[Any]] = [graph.indptr.astype(np.int64, copy=False), graph.neighbours]
        arrays += [] if graph.weights is None else [graph.weights]
        try:
            with path.open("xb") as file:
                for array in arrays:
                    np.ascontiguousarray(array).tofile(file)
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise
            what = f"the disk is full: {sum(array.nbytes for array in arrays) / 1e6:,.0f} MB of edges are put there"
            raise ResourceError(what, path=folder, hint="set TMPDIR to a folder with more space") from error
        return cls(str(path), graph.n_nodes, graph.neighbours.size, graph.weights is not None)

    def rows(self) -> Rows:
        """All rows, mapped into memory."""
        return _mapped(self)

    @property
    def n_bytes(self) -> int:
        """Of the file."""
        return 8 * (self.n_nodes + 1) + (8 if self.weighted else 4) * self.n_ends


@dataclasses.dataclass(frozen=True)
class Order:
    """Nodes of the file's graph that make another graph: its node i is nodes[i]; (n,) int64.

    token : tells orders apart, so that what was made for one is not made again.
    """

    token: str
    nodes: NDArray[np.int64] = dataclasses.field(compare=False, repr=False)


@dataclasses.dataclass(frozen=True)
class Scale:
    """D = diag(values), values (n,) float64, and the type that D A D is rounded to; token : see Order."""

    token: str
    dtype: str
    values: NDArray[np.float64] = dataclasses.field(compare=False, repr=False)


@dataclasses.dataclass(frozen=True)
class Block:
    """Rows first ... last - 1 of the graph in a file, or of the one that is in it in another order."""

    file: RowsFile
    order: Order | None
    first: int
    last: int

    def rows(self) -> Rows:
        """These rows; what had to be cut out is kept for the next pass."""
        return _whole_rows(self) if self.order is None else _ordered_rows(self, self.order)

    def product(self, scale: Scale, vector: NDArray[Any]) -> NDArray[Any]:
        """These rows of D A D times a vector (n,)."""
        # As scipy's eigsh multiplies a matrix: by a column.
        return np.asarray((_matrix(self, scale) @ vector.reshape(-1, 1)).reshape(-1))


def cut_nodes(indptr: NDArray[np.int64], count: int) -> list[tuple[int, int]]:
    """At most `count` ranges of nodes (first, last + 1) that have about as many neighbours and nodes each."""
    n_nodes = len(indptr) - 1
    total = n_nodes + int(indptr[-1])
    wanted = [total * part // count for part in range(1, count)]
    borders = np.searchsorted(indptr + np.arange(n_nodes + 1), wanted)
    cuts = sorted({0, *borders.tolist(), n_nodes})
    return list(itertools.pairwise(cuts))


@functools.lru_cache(maxsize=2)
def _mapped(file: RowsFile) -> Rows:
    path, place = _found(file), 0
    arrays: list[NDArray[Any]] = []
    sizes = [(np.int64, file.n_nodes + 1), (np.int32, file.n_ends), (np.float32, file.n_ends if file.weighted else 0)]
    for dtype, size in sizes:
        # Whatever is mapped must not be empty.
        array = np.memmap(path, dtype, "r", offset=place, shape=(size,)) if size else np.empty(0, dtype)
        arrays.append(np.asarray(array))
        place += array.nbytes
    return Rows(arrays[0], arrays[1], arrays[2] if file.weighted else None)


def _found(file: RowsFile) -> Path:
    """The file itself where this process can read it, on the driver's machine; else the copy that Spark has brought."""
    path = Path(file.path)
    if os.access(path, os.R_OK):
        return path
    from pyspark import SparkFiles

    copy = Path(SparkFiles.get(path.name))
    if not copy.is_file() or copy.stat().st_size != file.n_bytes:
        raise ClusterError("an executor has not got the edges of the graph", path=copy)
    return copy


def _whole_rows(block: Block) -> Rows:
    whole = block.file.rows()
    indptr = whole.indptr[block.first : block.last + 1]
    ends = slice(int(indptr[0]), int(indptr[-1]))
    weights = None if whole.weights is None else whole.weights[ends]
    return Rows(indptr - indptr[0], whole.neighbours[ends], weights, block.first)


@functools.lru_cache(maxsize=_KEPT_BLOCKS)
def _ordered_rows(block: Block, order: Order) -> Rows:
    whole, nodes = block.file.rows(), order.nodes[block.first : block.last]
    counts = whole.indptr[nodes + 1] - whole.indptr[nodes]
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ends = np.repeat(whole.indptr[nodes] - indptr[:-1], counts) + np.arange(indptr[-1])
    weights = None if whole.weights is None else whole.weights[ends]
    return Rows(indptr, _places(block.file, order)[whole.neighbours[ends]], weights, block.first)


@functools.lru_cache(maxsize=1)
def _places(file: RowsFile, order: Order) -> NDArray[np.int32]:
    """(n_nodes,) where each node of the file's graph is in the other one, -1 for none."""
    places = np.full(file.n_nodes, -1, np.int32)
    places[order.nodes] = np.arange(len(order.nodes), dtype=np.int32)
    return places


@functools.lru_cache(maxsize=_KEPT_BLOCKS)
def _matrix(block: Block, scale: Scale) -> Any:
    return scaled_matrix(block.rows(), scale.values, np.dtype(scale.dtype))
