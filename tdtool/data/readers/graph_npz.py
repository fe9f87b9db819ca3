"""Graphs in .npz files: scipy.sparse adjacency matrices, dense ones, and arrays of edges. Nothing pickled is read."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.config import GraphConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.counts_npz import sparse_entries
from tdtool.data.readers.graph_checks import NO_WEIGHT, check_weight
from tdtool.data.readers.graph_types import FoundGraph, check_memory
from tdtool.data.readers.npz_arrays import NpzArchive, opened_npz
from tdtool.data.readers.streams import Input
from tdtool.data.readers.tensor_types import by, listed
from tdtool.data.readers.text_batches import printable
from tdtool.errors import InputError

_EDGES = ("edges", "edge_index")
_WEIGHTS = ("weights", "weight", "edge_weight")
_NAMES = ("names", "labels", "nodes")
_NAME_BYTES = 1 << 30
#: Times the stored bytes that reading takes.
_COPIES = 5
_HINT = "a graph is a scipy.sparse matrix (save_npz), an array edges (m, 2) of whole numbers, or a square matrix"


def read_npz(source: Input, config: GraphConfig, memory: int, ledger: Ledger) -> FoundGraph:
    """The graph of an .npz file. Nodes are counted from 0, or called by the array `names` where there is one that fits.

    It is a matrix of scipy.sparse.save_npz (csr, csc, coo, bsr); else the array that the configuration's key names, or
    `edges`, or the only one that can be a graph: edges (m, 2) or (2, m) with perhaps an array `weights` (m,), or a
    square matrix. A sparse matrix that is not square has nodes of two kinds. Raises InputError for anything else and
    for weights that are negative or not finite, ResourceError for what does not fit.
    """
    with opened_npz(source) as archive:
        if config.key is None and {"format", "shape", "data"} <= archive.headers.keys():
            return _sparse_matrix(archive, config, memory)
        key = _picked(archive, config.key)
        values = _read(archive, key, memory)
        if _is_edges(key, values.shape):
            return _edges(archive, key, values, config, memory)
        return _square_matrix(archive, key, values, config)


def _picked(archive: NpzArchive, wanted: str | None) -> str:
    looks = {name: (header.shape, header.dtype) for name, header in archive.headers.items()}
    if wanted is not None:
        if wanted not in looks:
            raise InputError(f"there is no array {wanted!r}", path=archive.path, hint=f"it has {listed(looks)}")
        return wanted
    fit = [name for name, (shape, dtype) in looks.items() if dtype.kind in "biuf" and _can_be(name, shape, dtype)]
    named = [name for name in _EDGES if name in fit]
    if not named and len(fit) != 1:
        what = f"{len(fit)} arrays could be the graph" if fit else "no array of it can be a graph"
        hint = f"choose one with --key; it has {listed(looks)}" if fit else f"{_HINT}; it has {listed(looks)}"
        raise InputError(what, path=archive.path, hint=hint)
    return (named or fit)[0]


def _can_be(name: str, shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether an array may hold edges or be an adjacency matrix."""
    if len(shape) != 2:
        return False
    return shape[0] == shape[1] or (dtype.kind in "iu" and _is_edges(name, shape))


def _is_edges(name: str, shape: tuple[int, ...]) -> bool:
    """Whether an array is a list of edges, by its shape; of two edges, by its name."""
    if len(shape) != 2 or shape[0] == shape[1] != 2:
        return False
    return name in _EDGES if shape == (2, 2) else 2 in shape


def _read(archive: NpzArchive, name: str, memory: int) -> NDArray[Any]:
    header = archive.headers[name]
    check_memory(_COPIES * header.n_bytes, memory, f"the array {name}", archive.path)
    return archive.read(name)


def _sparse_matrix(archive: NpzArchive, config: GraphConfig, memory: int) -> FoundGraph:
    stored = sum(header.n_bytes for header in archive.headers.values())
    check_memory(_COPIES * stored, memory, "the sparse matrix", archive.path)
    arrays = {name: archive.read(name) for name in archive.headers}
    kind = str(arrays["format"].astype(np.str_)) if arrays["format"].dtype.kind in "SU" else ""
    if kind == "bsr":
        arrays = _unblocked(arrays, archive.path)
    shape, rows, columns, values = sparse_entries(arrays, archive.path)
    two_kinds = config.bipartite or shape[0] != shape[1]
    notes = (f"{shape[0]:,} rows and {shape[1]:,} columns: they are nodes of two kinds",)
    found = FoundGraph(
        tails=rows,
        heads=columns,
        weights=_weights(values, rows, columns, config, archive.path),
        n_nodes=sum(shape) if two_kinds else shape[0],
        bipartite=two_kinds,
        n_left=shape[0] if two_kinds else None,
        description=f"npz, scipy.sparse matrix ({kind})",
        notes=notes if shape[0] != shape[1] else (),
    )
    return found if two_kinds else _called(archive, found)


def _unblocked(arrays: dict[str, NDArray[Any]], path: str) -> dict[str, NDArray[Any]]:
    """The arrays of a bsr matrix as those of a coo matrix of the same values."""
    data, shape = arrays["data"], arrays["shape"]
    if data.ndim != 3 or shape.shape != (2,) or shape.dtype.kind not in "iu" or 0 in data.shape[1:]:
        raise InputError("its blocks do not fit its shape", path=path)
    height, width = data.shape[1:]
    if shape[0] % height or shape[1] % width:
        raise InputError(f"blocks of {height} x {width} do not fit the shape {by(tuple(shape.tolist()))}", path=path)
    blocks = arrays | {
        "format": np.array("csr"),
        "shape": np.array([shape[0] // height, shape[1] // width]),
        "data": np.arange(len(data)),
    }
    _, rows, columns, places = sparse_entries(blocks, path)
    cells = (
        rows[:, None, None] * height + np.arange(height)[:, None],
        columns[:, None, None] * width + np.arange(width),
    )
    row, column, values = (np.broadcast_to(part, data.shape).reshape(-1) for part in (*cells, data[places]))
    stored = values != 0
    return {
        "format": np.array("coo"),
        "shape": shape,
        "row": row[stored],
        "col": column[stored],
        "data": values[stored],
    }


def _weights(
    values: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any], config: GraphConfig, path: str
) -> NDArray[np.float64] | None:
    """The values of a matrix as weights, None where they say no more than that there is an edge."""
    if values.dtype.kind not in "biuf":
        raise InputError(f"its values are {values.dtype}; weights are real numbers", path=path)
    if values.dtype.kind == "b" and bool(values.all()):
        return None
    numbers = values.astype(np.float64)
    if config.weight == NO_WEIGHT:
        return (numbers != 0).astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= 0)))
    if wrong.size:
        at = int(wrong[0])
        name = f"value at [{int(rows[at])}, {int(columns[at])}] (counted from 0)"
        check_weight(float(numbers[at]), name, path, None)
    return numbers


def _square_matrix(archive: NpzArchive, key: str, values: NDArray[Any], config: GraphConfig) -> FoundGraph:
    if values.ndim != 2 or (values.shape[0] != values.shape[1] and not config.bipartite):
        raise InputError(f"the array {key} is {by(values.shape)}", path=archive.path, hint=_HINT)
    if values.dtype.kind not in "biuf":
        raise InputError(f"the array {key} is {values.dtype}; weights are real numbers", path=archive.path)
    rows, columns = np.nonzero(values)
    found = FoundGraph(
        tails=rows,
        heads=columns,
        weights=_weights(values[rows, columns], rows, columns, config, archive.path),
        n_nodes=sum(values.shape) if config.bipartite else values.shape[0],
        bipartite=config.bipartite,
        n_left=values.shape[0] if config.bipartite else None,
        description=f"npz, matrix {key}",
    )
    return found if config.bipartite else _called(archive, found)


def _edges(archive: NpzArchive, key: str, values: NDArray[Any], config: GraphConfig, memory: int) -> FoundGraph:
    """Pairs of node numbers, (m, 2) or (2, m); an array of their weights beside them."""
    pairs = values if values.shape[1] == 2 and key != "edge_index" else values.T
    if values.dtype.kind not in "iu" or pairs.shape[1] != 2:
        raise InputError(
            f"the array {key} is {by(values.shape)} of {values.dtype}; edges are (m, 2) whole numbers",
            path=archive.path,
        )
    if pairs.size and int(pairs.max()) >= 2**63:
        raise InputError(f"the array {key} has numbers beyond 63 bits", path=archive.path)
    tails, heads = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)
    found = FoundGraph(
        tails=tails,
        heads=heads,
        weights=_edge_weights(archive, tails, heads, config, memory),
        bipartite=config.bipartite,
        description=f"npz, array {key}",
    )
    return found if config.bipartite else _called(archive, found)


def _edge_weights(
    archive: NpzArchive, tails: NDArray[np.int64], heads: NDArray[np.int64], config: GraphConfig, memory: int
) -> NDArray[np.float64] | None:
    if config.weight == NO_WEIGHT:
        return None
    name = config.weight or next((name for name in _WEIGHTS if name in archive.headers), None)
    if name is None:
        return None
    if name not in archive.headers:
        looks = {other: (header.shape, header.dtype) for other, header in archive.headers.items()}
        raise InputError(f"there is no array {name!r}", path=archive.path, hint=f"it has {listed(looks)}")
    values = _read(archive, name, memory)
    if values.shape != tails.shape:
        raise InputError(
            f"the array {name} is {by(values.shape)}, and there are {tails.size:,} edges", path=archive.path
        )
    return _weights(values, tails, heads, config, archive.path)


def _called(archive: NpzArchive, found: FoundGraph) -> FoundGraph:
    """The graph with its nodes called by the array of names, where there is one with a name for each node."""
    name = next((name for name in _NAMES if name in archive.headers), None)
    if name is None:
        return found
    header = archive.headers[name]
    n_named = math.prod(header.shape)
    if len(header.shape) != 1 or header.dtype.kind not in "USiu" or n_named * header.dtype.itemsize > _NAME_BYTES:
        return found
    texts = _texts(archive, name)
    largest = int(max(found.tails.max(initial=-1), found.heads.max(initial=-1)))
    smallest = int(min(found.tails.min(initial=0), found.heads.min(initial=0)))
    if smallest < 0 or largest >= n_named or found.n_nodes not in (None, n_named) or len(set(texts)) < n_named:
        note = f"the array {name} has no name of its own for each node, and is not used"
        return dataclasses.replace(found, notes=(*found.notes, note))
    return dataclasses.replace(found, names=texts, n_nodes=None)


def _texts(archive: NpzArchive, name: str) -> list[str]:
    values = archive.read(name)
    if values.dtype.kind == "S":
        return [printable(text) for text in values.tolist()]
    try:
        return [str(value).replace("\0", "\\x00") for value in values.tolist()]
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{name}.npy in it holds no valid text ({error})", path=archive.path) from error
