"""A graph as a person has it: who is linked with whom, how strongly, the nodes' names, and where it came from."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdtool.data.ledger import Ledger
from tdtool.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_array


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
    ledger : the edges that were read; path : the file, None for a pipe or a graph made in memory.
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
