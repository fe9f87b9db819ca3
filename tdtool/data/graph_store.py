"""The graph file: neighbours of each node, partition by partition, that can be mapped into memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.data.corpus import partition_starts
from tdtool.data.graph import Graph
from tdtool.data.ledger import Ledger
from tdtool.errors import InputError
from tdtool.store import hdf5
from tdtool.store.content import check_graph, check_partitions, check_sides
from tdtool.store.digest import bytes_digest
from tdtool.store.schema import GRAPH


@dataclasses.dataclass(frozen=True)
class NodeRows:
    """Rows of a graph from node `start` on: indptr (n_p + 1,) int64 from 0, neighbours (entries,) int32, weights
    (entries,) float32 or None."""

    index: int
    start: int
    indptr: NDArray[np.int64]
    neighbours: NDArray[np.int32]
    weights: NDArray[np.float32] | None


def write_graph(
    graph: Graph, path: str | Path, *, force: bool = False, attributes: dict[str, Any] | None = None
) -> None:
    """Write a graph file, whole or not at all. attributes : more to say of it, as JSON values.

    Partitions are cut by stored entries alone and each has its digest, so a graph gives the same file wherever it is
    made. Raises InputError where the file exists already and `force` is not set.
    """
    starts = partition_starts(graph.indptr)
    about = {"description": graph.description, "notes": list(graph.notes), "source": graph.source}
    with hdf5.create(Path(path), GRAPH, force=force) as writer:
        writer.put("graph/indptr", graph.indptr)
        writer.put("graph/neighbours", graph.neighbours)
        if graph.weights is not None:
            writer.put("graph/weights", graph.weights)
        writer.put("nodes/name", graph.names())
        if graph.n_left is not None:
            writer.put("nodes/side", (np.arange(graph.n_nodes) >= graph.n_left).astype(np.uint8))
        writer.put("partitions/start", starts)
        writer.put("partitions/digest", list(_digests(graph, starts)))
        for name, value in {**about, "ledger": graph.ledger.as_dict(), **(attributes or {})}.items():
            writer.attribute(name, value)


def open_graph(path: str | Path, *, check: bool = True) -> Graph:
    """Open a graph file; its neighbours and weights stay on disk.

    check : look at every entry first (a file from outside). Raises InputError for what is no graph file, is damaged, or
    is not the same from both ends of every edge.
    """
    path = Path(path)
    with hdf5.open(path) as reader:
        reader.require(GRAPH.name)
        for look in (check_graph, check_partitions, check_sides) if check else ():
            for finding in look(reader):
                raise InputError(f"{finding.where} {finding.what}", path=path, hint="run: tdtool verify")
        weights = reader.memory_map("graph/weights") if "graph/weights" in reader else None
        sides = reader.get("nodes/side") if "nodes/side" in reader else None
        attributes = reader.attributes
        notes, source = attributes.get("notes"), attributes.get("source")
        return Graph(
            indptr=reader.get("graph/indptr").astype(np.int64, copy=False),
            neighbours=_as(reader.memory_map("graph/neighbours"), np.int32),
            weights=None if weights is None else _as(weights, np.float32),
            ids=_ids(reader.get("nodes/name")),
            n_left=None if sides is None else int(np.count_nonzero(sides == 0)),
            description=str(attributes.get("description", "")),
            notes=tuple(map(str, notes)) if isinstance(notes, list) else (),
            source=source if isinstance(source, dict) else {},
            ledger=_ledger(attributes.get("ledger"), path),
            path=path,
        )


def partition_digest(
    indptr: NDArray[np.int64], neighbours: NDArray[np.int32], weights: NDArray[np.float32] | None
) -> str:
    """BLAKE2b-128 of one partition's numbers of neighbours (int64), neighbours (int32) and weights (float32).

    indptr : (n_p + 1,); neighbours, weights : (entries,); all little-endian, without weights where there are none.
    """
    pieces = [np.diff(indptr).astype("<i8"), neighbours.astype("<i4", copy=False)]
    pieces += [] if weights is None else [weights.astype("<f4", copy=False)]
    return bytes_digest(np.ascontiguousarray(piece).view(np.uint8) for piece in pieces)


def _digests(graph: Graph, starts: NDArray[np.int64]) -> Iterator[str]:
    for first, last in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        part = slice(int(graph.indptr[first]), int(graph.indptr[last]))
        weights = None if graph.weights is None else graph.weights[part]
        yield partition_digest(graph.indptr[first : last + 1], graph.neighbours[part], weights)


def _as(mapped: NDArray[Any], dtype: type[np.int32] | type[np.float32]) -> NDArray[Any]:
    """The mapped array in the type that kernels take: itself, unless a stranger's file holds another."""
    return np.asarray(mapped.astype(dtype, copy=False))


def _ids(names: list[str]) -> NDArray[np.int64] | list[str]:
    """Names that are all whole numbers, as numbers; (n,) int64 or the names."""
    try:
        numbers = np.array([int(name) for name in names], np.int64)
    except (ValueError, OverflowError):
        return names
    return numbers if [str(number) for number in numbers.tolist()] == names else names


def _ledger(values: Any, path: Path) -> Ledger:
    try:
        return Ledger.from_dict(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError("the ledger in it is damaged", path=path) from error
