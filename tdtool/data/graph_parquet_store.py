"""A graph as a directory of Parquet files: NAME.graph.parquet/ has a file for each partition of the nodes, their
names, and graph.json, which comes last and makes it a store. Many machines can write and read it at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tdtool import log
from tdtool.data.corpus import partition_starts
from tdtool.data.graph import Graph
from tdtool.data.graph_store import NodeRows, open_graph
from tdtool.data.ledger import Ledger
from tdtool.data.parquet_folder import PartFacts, damaged, read_file, write_file
from tdtool.data.parquet_manifest import (
    OWN_ATTRIBUTES,
    Manifest,
    check_files,
    check_written,
    get_manifest,
    ledger_of,
    put_manifest,
)
from tdtool.data.parquet_parts import check_sizes, in_order, read_node_part, write_node_part
from tdtool.data.parquet_table import MOST_FILE_BYTES, decoded, encoded
from tdtool.store import hdf5
from tdtool.store.digest import RunningDigest, array_digest, as_bytes, bytes_digest, content_digest
from tdtool.store.schema import GRAPH

__all__ = ["NodeRows", "ParquetGraph", "PartFacts", "write_graph_manifest", "write_graph_parquet", "write_node_part"]

_FIELDS: list[Any] = [pa.field("name", pa.string()), pa.field("side", pa.uint8())]


@dataclasses.dataclass(frozen=True)
class ParquetGraph:
    """A store that was opened: its partitions stay where they are. place : path or URI of the directory;
    names : of the n nodes; n_left : as of a Graph."""

    place: str
    parts: tuple[PartFacts, ...]
    starts: NDArray[np.int64]
    names: list[str]
    n_left: int | None
    weighted: bool
    ledger: Ledger
    attributes: dict[str, Any]

    @classmethod
    def open(cls, place: str | Path, *, check: bool = True) -> ParquetGraph:
        """Open a store. check : look whether every partition is there. What is in them is checked when they are read.

        InputError when it is no store, is incomplete or damaged.
        """
        place = str(place)
        manifest = get_manifest(place, GRAPH.name)
        names, n_left = _read_nodes(place, manifest)
        for part in manifest.parts:
            check_sizes(place, part, len(names))
        if check:
            check_files(place, manifest)
        ledger = ledger_of(manifest.attributes, place, GRAPH.name)
        weighted = bool(manifest.sizes.get("weights", 0))
        return cls(place, manifest.parts, manifest.starts, names, n_left, weighted, ledger, manifest.attributes)

    @property
    def n_nodes(self) -> int:
        """n."""
        return int(self.starts[-1])

    @property
    def n_entries(self) -> int:
        """Stored neighbours: each edge twice."""
        return sum(part.n_entries for part in self.parts)

    @property
    def n_partitions(self) -> int:
        """P."""
        return len(self.parts)

    def part(self, index: int) -> NodeRows:
        """Partition `index`. InputError, with the file, when it is damaged."""
        return read_node_part(self.place, self.parts[index], self.n_nodes, weighted=self.weighted)

    def to_hdf5(self, path: str | Path, *, force: bool = False, check: bool = True) -> Graph:
        """Write the same graph as an HDF5 file and open it, in memory of a few partitions. The content is the same.

        check : look whether every edge is there from both ends.
        """
        with hdf5.create(Path(path), GRAPH, force=force) as writer:
            _copy_parts(self, writer)
            for name, values in _node_arrays(self.names, self.n_left).items():
                writer.put(name, values)
            writer.put("partitions/start", self.starts)
            writer.put("partitions/digest", [part.digest for part in self.parts])
            for name, value in self.attributes.items():
                if name not in OWN_ATTRIBUTES:
                    writer.attribute(name, value)
        return open_graph(path, check=check)


def write_graph_parquet(graph: Graph, place: str, attributes: dict[str, Any] | None = None) -> str:
    """Write a graph, in a block of `new_store`; returns the content digest. attributes : as of `write_graph`."""
    starts = partition_starts(graph.indptr)
    parts = [write_node_part(place, _rows(graph, starts, index)) for index in range(starts.size - 1)]
    about = {"description": graph.description, "notes": list(graph.notes), "source": graph.source}
    about = {**about, "ledger": graph.ledger.as_dict(), **(attributes or {})}
    digest = GraphDigest(graph.n_nodes, graph.neighbours.size, weighted=graph.weights is not None)
    for index in range(len(parts)):
        digest.add(_rows(graph, starts, index))
    return _finish(place, tuple(parts), graph.names(), graph.n_left, about, digest)


def write_graph_manifest(
    place: str,
    parts: Sequence[PartFacts],
    names: list[str],
    *,
    n_left: int | None,
    weighted: bool,
    attributes: dict[str, Any],
) -> str:
    """Make partitions that were written a store, with its nodes; returns the content digest, that of an HDF5 store.

    parts : of all partitions, in any order; names : n; attributes : ledger (as_dict), description, notes, source,
    config, argv, as JSON values. Each partition is read once more for the digest, one after the other.
    """
    ordered = tuple(sorted(parts, key=lambda part: part.index))
    check_written(place, ordered)
    digest = GraphDigest(len(names), sum(part.n_entries for part in ordered), weighted=weighted)

    def read(index: int) -> NodeRows:
        return read_node_part(place, ordered[index], len(names), weighted=weighted)

    with log.task("checking", total=len(ordered)) as bar:
        for rows in in_order(read, len(ordered)):
            digest.add(rows)
            bar.advance()
    return _finish(place, ordered, names, n_left, attributes, digest)


class GraphDigest:
    """The content digest of a graph whose partitions come one after the other: that of its HDF5 store."""

    def __init__(self, n_nodes: int, n_entries: int, *, weighted: bool) -> None:
        self._position = 0
        self._indptr = RunningDigest("graph/indptr", np.dtype(np.int64), (n_nodes + 1,))
        self._neighbours = RunningDigest("graph/neighbours", np.dtype(np.int32), (n_entries,))
        self._weights = RunningDigest("graph/weights", np.dtype(np.float32), (n_entries,)) if weighted else None
        self._indptr.update(np.zeros(1, np.int64))

    @property
    def weighted(self) -> bool:
        """Whether the edges have weights."""
        return self._weights is not None

    def add(self, rows: NodeRows) -> None:
        """The next partition."""
        self._indptr.update(rows.indptr[1:] + self._position)
        self._neighbours.update(rows.neighbours)
        if self._weights is not None and rows.weights is not None:
            self._weights.update(rows.weights)
        self._position += rows.neighbours.size

    def finish(self, nodes: dict[str, Any], starts: NDArray[np.int64], digests: list[str]) -> str:
        """The digest, when every partition has come. nodes : their arrays by path."""
        found = {"graph/indptr": self._indptr.hexdigest(), "graph/neighbours": self._neighbours.hexdigest()}
        if self._weights is not None:
            found["graph/weights"] = self._weights.hexdigest()
        arrays = {**nodes, "partitions/start": starts, "partitions/digest": digests}
        found |= {path: array_digest(path, values) for path, values in arrays.items()}
        return content_digest(GRAPH.name, GRAPH.version, found)


def _rows(graph: Graph, starts: NDArray[np.int64], index: int) -> NodeRows:
    first, last = int(starts[index]), int(starts[index + 1])
    begin, end = int(graph.indptr[first]), int(graph.indptr[last])
    weights = None if graph.weights is None else np.asarray(graph.weights[begin:end])
    indptr = graph.indptr[first : last + 1] - begin
    return NodeRows(index, first, indptr, np.asarray(graph.neighbours[begin:end]), weights)


def _finish(
    place: str,
    parts: tuple[PartFacts, ...],
    names: list[str],
    n_left: int | None,
    attributes: dict[str, Any],
    digest: GraphDigest,
) -> str:
    names = [as_bytes(name).decode() for name in names]
    nodes = _node_arrays(names, n_left)
    file = _nodes_file(nodes)
    arrays = [pa.array(names, pa.string()), *(pa.array(values) for values in list(nodes.values())[1:])]
    write_file(place, file, encoded(_nodes_schema(n_left is not None), arrays))
    starts = np.array([0, *(part.start + part.n_rows for part in parts)], np.int64)
    whole = digest.finish(nodes, starts, [part.digest for part in parts])
    sizes = {"nodes": len(names), "weights": int(digest.weighted), "sides": int(n_left is not None)}
    about = {name: value for name, value in attributes.items() if name not in OWN_ATTRIBUTES}
    put_manifest(place, Manifest(GRAPH, parts, {"nodes": file}, sizes, {**about, "content_digest": whole}))
    return whole


def _node_arrays(names: list[str], n_left: int | None) -> dict[str, Any]:
    nodes: dict[str, Any] = {"nodes/name": names}
    if n_left is not None:
        nodes["nodes/side"] = (np.arange(len(names)) >= n_left).astype(np.uint8)
    return nodes


def _nodes_schema(sides: bool) -> pa.Schema:
    return pa.schema(_FIELDS if sides else _FIELDS[:1])


def _nodes_file(nodes: dict[str, Any]) -> str:
    digests = (array_digest(path, values) for path, values in nodes.items())
    return f"nodes-{bytes_digest(digest.encode() for digest in digests)}.parquet"


def _read_nodes(place: str, manifest: Manifest) -> tuple[list[str], int | None]:
    """Names, and how many nodes are of the first kind in a bipartite graph."""
    file, n_nodes, sides = manifest.files["nodes"], manifest.starts[-1], bool(manifest.sizes.get("sides", 0))
    data = read_file(place, file, MOST_FILE_BYTES)
    table = decoded(data, _nodes_schema(sides), place, file, n_rows=int(n_nodes), n_values=int(n_nodes))
    names: list[Any] = table.column("name").to_pylist()
    n_left = int(np.count_nonzero(table.column("side").to_numpy() == 0)) if sides else None
    if file != _nodes_file(_node_arrays(names, n_left)):
        raise damaged(place, file, "its values are not those that were written (digest)")
    return names, n_left


def _copy_parts(graph: ParquetGraph, writer: hdf5.Writer) -> None:
    indptr = writer.stream("graph/indptr", (graph.n_nodes + 1,), np.int64)
    neighbours = writer.stream("graph/neighbours", (graph.n_entries,), np.int32)
    weights = writer.stream("graph/weights", (graph.n_entries,), np.float32) if graph.weighted else None
    indptr.write(0, np.zeros(1, np.int64))
    position = 0
    for rows in in_order(graph.part, graph.n_partitions):
        indptr.write(rows.start + 1, rows.indptr[1:] + position)
        neighbours.write(position, rows.neighbours)
        if weights is not None and rows.weights is not None:
            weights.write(position, rows.weights)
        position += rows.neighbours.size
