"""A graph as a person has it: who is linked with whom, how strongly, the nodes' names, and where it came from."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdtool.config import GraphConfig, SourceConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers import places
from tdtool.errors import InputError, UsageError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from tdtool.data.edge_passes import EdgeEngine, EdgePasses
    from tdtool.data.readers.graph_types import FoundGraph
    from tdtool.data.readers.streams import Input


@dataclasses.dataclass(frozen=True)
class Cut:
    """Where rows of a graph come from: row i, its neighbours renumbered, is row nodes[i] of `whole`.

    nodes : (n,) int64, all that the rows lead to; rows : indptr, neighbours and weights that were cut out: another
    graph, made from that one, does not have them and is no cut.
    """

    whole: Graph
    nodes: NDArray[np.int64]
    rows: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32] | None]


@dataclasses.dataclass(frozen=True)
class Graph:
    """An undirected graph of n nodes and m edges, every edge stored from both ends; loops are left out.

    indptr : (n + 1,) int64; neighbours : (2m,) int32, ascending within a node; weights : (2m,) float32, positive and
    the same from both ends, or None where every edge counts 1;
    ids : (n,) int64 where every name is a whole number, else n names. What is read from a file comes in canonical
    order, numbers ascending and names by their UTF-8 bytes, so that nothing depends on the order of the edges;
    n_left : None, or of a bipartite graph: nodes 0 ... n_left - 1 are of the first kind, the others of the second, and
    each kind is in canonical order (a name may occur in both);
    description : one line for a person; notes : more of it; source : path, bytes, blake2b (None for a pipe);
    ledger : the edges that were read; path : the file, None for a pipe or a graph made in memory;
    engine : what makes passes over the edges, None for the threads of this process; cut : of the graph that these rows
    were taken from, where executors have that one already.
    """

    indptr: NDArray[np.int64]
    neighbours: NDArray[np.int32]
    weights: NDArray[np.float32] | None
    ids: NDArray[np.int64] | list[str]
    n_left: int | None = None
    description: str = ""
    notes: tuple[str, ...] = ()
    source: dict[str, Any] = dataclasses.field(default_factory=dict)
    ledger: Ledger = dataclasses.field(default_factory=Ledger)
    path: Path | None = None
    engine: EdgeEngine | None = dataclasses.field(default=None, repr=False, compare=False)
    cut: Cut | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def n_nodes(self) -> int:
        """Nodes, those without edges too."""
        return self.indptr.size - 1

    @property
    def n_edges(self) -> int:
        """Edges, each counted once."""
        return self.neighbours.size // 2

    @functools.cached_property
    def n_neighbours(self) -> NDArray[np.int64]:
        """(n,) int64."""
        return np.diff(self.indptr)

    @functools.cached_property
    def degrees(self) -> NDArray[np.float64]:
        """Sums of the weights of each node's edges, (n,) float64."""
        if self.weights is None:
            return self.n_neighbours.astype(np.float64)
        degrees = np.zeros(self.n_nodes)
        linked = np.flatnonzero(self.n_neighbours)
        if linked.size:
            degrees[linked] = np.add.reduceat(self.weights, self.indptr[linked], dtype=np.float64)
        return degrees

    @functools.cached_property
    def passes(self) -> EdgePasses:
        """Passes over the edges, made by `engine`."""
        if self.engine is not None:
            return self.engine.passes(self)
        from tdtool.data.edge_passes import Rows  # imports numba, which reading a graph file does not need

        return Rows(self.indptr, self.neighbours, self.weights)

    def cut_out(
        self,
        nodes: NDArray[np.int64],
        indptr: NDArray[np.int64],
        neighbours: NDArray[np.int32],
        weights: NDArray[np.float32] | None,
    ) -> Graph:
        """The graph on some nodes of this one, (n',) int64 in any order but side by side, from its rows.

        They have no edges to other nodes; indptr, neighbours, weights : their rows, renumbered.
        """
        cut = None if self.engine is None else Cut(self, nodes, (indptr, neighbours, weights))
        n_left = None if self.n_left is None else int((nodes < self.n_left).sum())
        return Graph(indptr, neighbours, weights, nodes, n_left, engine=self.engine, cut=cut)

    @property
    def mean_degree(self) -> float:
        """Mean of `degrees`; 0 for a graph without nodes."""
        return float(self.degrees.mean()) if self.n_nodes else 0.0

    def names(self) -> list[str]:
        """The name of every node."""
        return self.ids if isinstance(self.ids, list) else [str(number) for number in self.ids.tolist()]

    def name(self, node: int) -> str:
        """The name of one node."""
        return str(self.ids[node])

    def adjacency(self) -> csr_array:
        """The symmetric matrix of the weights, (n, n) float64."""
        from scipy.sparse import csr_array

        values = np.ones(self.neighbours.size) if self.weights is None else self.weights.astype(np.float64)
        return csr_array((values, self.neighbours, self.indptr), shape=(self.n_nodes, self.n_nodes))

    @classmethod
    def from_edges(
        cls,
        edges: NDArray[np.integer[Any]],
        *,
        weights: NDArray[Any] | None = None,
        n_nodes: int | None = None,
        ids: NDArray[np.int64] | list[str] | None = None,
        n_left: int | None = None,
        description: str = "",
    ) -> Graph:
        """A graph from pairs of nodes 0 ... n_nodes - 1, in any order and direction.

        edges : (m, 2) int; weights : (m,) from 0 on (those of repeated edges add up; without, a repeated edge counts
        once); n_nodes : the largest node + 1 when not given; ids : n names, the nodes' numbers when not given, kept in
        this order; n_left : for a bipartite graph, how many nodes are of the first kind. Raises InputError for what is
        no such graph. A graph may be without edges.
        """
        from tdtool.data.graph_build import graph_of_pairs

        pairs = np.asarray(edges)
        if pairs.size == 0:
            pairs = np.zeros((0, 2), np.int64)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            raise InputError(f"edges are an array (m, 2) of whole numbers; this is {pairs.shape} of {pairs.dtype}")
        if n_nodes is None:
            n_nodes = max(int(pairs.max(initial=-1)) + 1, 0 if ids is None else len(ids), n_left or 0)
        return graph_of_pairs(
            pairs[:, 0], pairs[:, 1], weights, n_nodes, ids=ids, n_left=n_left, description=description
        )

    @classmethod
    def from_adjacency(cls, matrix: Any, ids: NDArray[np.int64] | list[str] | None = None) -> Graph:
        """A graph from a square matrix, (n, n), dense or scipy.sparse; entries that are not 0 are edges, their weight.

        A matrix that is not symmetric is symmetrised (the two directions add up). Raises InputError for entries that
        are negative or not finite.
        """
        from scipy.sparse import coo_array

        entries = coo_array(matrix)
        if entries.ndim != 2 or entries.shape[0] != entries.shape[1]:
            raise InputError(f"an adjacency matrix is square; this one is {' x '.join(map(str, entries.shape))}")
        rows, columns = entries.coords
        edges = np.column_stack((rows, columns))
        weights = None if entries.dtype.kind == "b" else entries.data
        return cls.from_edges(edges, weights=weights, n_nodes=entries.shape[0], ids=ids)


def read_graph(path: str, config: GraphConfig, *, memory: int) -> Graph:
    """Read a graph from a file, compressed or not, or from standard input ("-").

    The format is recognised by content, then by name, unless the configuration says it. memory : bytes that may be
    used. Raises InputError for what is no graph, has no edges or is damaged, ResourceError for what does not fit,
    UsageError for settings that contradict each other.
    """
    from tdtool.data.graph_build import build_graph

    source, kind = opened_input(path, config)
    if kind == "hdf5":
        return _stored_graph(path, source)
    ledger = Ledger()
    graph = build_graph(
        _read(kind, source, config, memory, ledger),
        bipartite=config.bipartite,
        memory=memory,
        ledger=ledger,
        path=source.path,
    )
    file = None if path == "-" else Path(path)
    return dataclasses.replace(graph, source=provenance(source, kind), path=file)


def opened_input(path: str, config: GraphConfig) -> tuple[Input, str]:
    """The input and its format. Errors as of `read_graph`, of what can be told from the first bytes."""
    from tdtool.data.readers.graph_formats import FORMATS, check_given, sniff
    from tdtool.data.readers.streams import Input

    if config.format != "auto" and config.format not in FORMATS:
        raise UsageError(f"there is no format {config.format!r}", hint=f"known are auto, {', '.join(FORMATS)}")
    source = Input(path, SourceConfig(max_ratio=config.max_ratio, max_bytes=config.max_bytes))
    if not source.head:
        raise InputError("it is empty", path=source.path, hint=f"known formats: {', '.join(FORMATS)}")
    kind = sniff(source) if config.format == "auto" else config.format
    check_given(kind, source)
    _check_settings(kind, config, FORMATS)
    return source, kind


def _check_settings(kind: str, config: GraphConfig, formats: dict[str, str]) -> None:
    """UsageError for a setting that says something of another format."""
    tables = ("edges", "csv", "tsv", "parquet")
    for name, value, where in (
        ("key", config.key, ("npz",)),
        ("columns", config.columns, tables),
        ("bipartite", config.bipartite or None, tuple(each for each in formats if each != "hdf5")),
    ):
        if value is not None and kind not in where:
            what = f"{name} is {value!r}, and the input is {formats[kind]}"
            raise UsageError(what, hint=f"it is for the formats {', '.join(where)}")


def _read(kind: str, source: Input, config: GraphConfig, memory: int, ledger: Ledger) -> FoundGraph:
    """The reader of a format; each is imported when it is used."""
    if kind == "matrix-market":
        from tdtool.data.readers.graph_matrix_market import read_matrix_market as read
    elif kind == "metis":
        from tdtool.data.readers.graph_metis import read_metis as read
    elif kind == "graphml":
        from tdtool.data.readers.graph_graphml import read_graphml as read
    elif kind == "gml":
        from tdtool.data.readers.graph_gml import read_gml as read
    elif kind == "parquet":
        from tdtool.data.readers.graph_parquet import read_parquet as read
    elif kind == "npz":
        from tdtool.data.readers.graph_npz import read_npz as read
    else:
        from tdtool.data.readers.graph_edges import read_edges

        return read_edges(source, kind, config, memory, ledger)
    return read(source, config, memory, ledger)


def _stored_graph(path: str, source: Input) -> Graph:
    """A graph that `tdtool ingest` wrote; it is mapped into memory, so it must be a plain file."""
    from tdtool.data.graph_store import open_graph

    if source.compression is not None or not source.seekable:
        raise InputError(
            "a graph file of tdtool is read from a file, not compressed and not through a pipe", path=source.path
        )
    return open_graph(path)


def provenance(source: Input, kind: str) -> dict[str, Any]:
    """Where the edges came from: name, bytes and, for a file, BLAKE2b-128 of them."""
    path = Path(places.local_path(source.path) or "")
    if source.size is None or not path.is_file():
        return {"path": source.path, "bytes": source.size, "blake2b": None, "format": kind}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, functools.partial(hashlib.blake2b, digest_size=16))
    return {"path": path.name, "bytes": source.size, "blake2b": digest.hexdigest(), "format": kind}
