"""A cover: which nodes belong to which communities, and how strongly."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

_INT32_MAX = int(np.iinfo(np.int32).max)


@dataclasses.dataclass(frozen=True)
class Cover:
    """Who belongs where: a sparse membership matrix (n nodes, k communities) whose rows sum to 1.

    indptr : (n + 1,) int64, entries indptr[u]:indptr[u + 1] are those of node u; communities : (entries,) int32,
    ascending within a node; weights : (entries,) float64 > 0; n_communities : k. A row without entries is a node in
    no community; a community may be without members.
    """

    indptr: NDArray[np.int64]
    communities: NDArray[np.int32]
    weights: NDArray[np.float64]
    n_communities: int

    def __post_init__(self) -> None:
        entries = self.communities.size
        if self.indptr.ndim != 1 or not self.indptr.size or self.indptr[0] != 0 or self.indptr[-1] != entries:
            raise ValueError("indptr must begin with 0 and end with the number of entries")
        if self.weights.shape != self.communities.shape:
            raise ValueError(f"{entries} entries and {self.weights.size} weights")
        if bool((np.diff(self.indptr) < 0).any()):
            raise ValueError("indptr must not fall")
        if not bool((np.isfinite(self.weights) & (self.weights > 0)).all()):
            raise ValueError("memberships must be finite and more than 0")
        _check_range(self.communities, self.n_communities, "community")

    @property
    def n_nodes(self) -> int:
        """Nodes, those in no community among them."""
        return self.indptr.size - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(k,) int64, members of each community."""
        return np.bincount(self.communities, minlength=self.n_communities).astype(np.int64, copy=False)

    @property
    def n_memberships(self) -> NDArray[np.int64]:
        """(n,) int64, communities of each node."""
        return np.diff(self.indptr)

    def entry_nodes(self) -> NDArray[np.int32]:
        """(entries,) int32, the node of each entry."""
        return np.repeat(np.arange(self.n_nodes, dtype=np.int32), self.n_memberships)

    def by_community(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
        """The transpose: indptr (k + 1,) int64, nodes (entries,) int32 ascending within a community, their weights."""
        indptr = np.zeros(self.n_communities + 1, np.int64)
        np.cumsum(self.sizes, out=indptr[1:])
        order = np.argsort(self.communities, kind="stable")
        return indptr, self.entry_nodes()[order], self.weights[order]

    def sets(self) -> list[NDArray[np.int32]]:
        """The members of each community, ascending."""
        indptr, nodes, _ = self.by_community()
        return np.split(nodes, indptr[1:-1]) if self.n_communities else []

    def to_csr(self) -> csr_array:
        """The membership matrix, (n, k) float64."""
        shape = (self.n_nodes, self.n_communities)
        return csr_array((self.weights, self.communities, self.indptr), shape=shape)

    def restricted(self, nodes: ArrayLike) -> Cover:
        """The same communities on some nodes: row i of the result is row nodes[i], numbers of communities stay.

        nodes : (n',) int, or (n,) bool that says which to keep. Communities may be left without members.
        """
        chosen = np.asarray(nodes)
        if chosen.dtype == bool:
            if chosen.shape != (self.n_nodes,):
                raise ValueError(f"the mask has shape {chosen.shape}; the cover has {self.n_nodes} nodes")
            chosen = np.flatnonzero(chosen)
        chosen = chosen.astype(np.int64)
        if chosen.size and (chosen.min() < 0 or chosen.max() >= self.n_nodes):
            raise ValueError(f"nodes must be within 0 and {self.n_nodes - 1}")
        counts = self.n_memberships[chosen]
        indptr = np.zeros(chosen.size + 1, np.int64)
        np.cumsum(counts, out=indptr[1:])
        entries = np.arange(indptr[-1]) + np.repeat(self.indptr[chosen] - indptr[:-1], counts)
        return Cover(indptr, self.communities[entries], self.weights[entries], self.n_communities)

    @classmethod
    def from_sets(cls, sets: Sequence[Iterable[int] | NDArray[Any]], n_nodes: int) -> Cover:
        """Communities given by their members (numbers of nodes; a member named twice counts once), equal shares.

        A node in c communities belongs to each by 1/c. ValueError for a node beyond n_nodes.
        """
        members = [np.asarray(nodes if isinstance(nodes, np.ndarray) else list(nodes)) for nodes in sets]
        nodes = np.concatenate([part.astype(np.int64) for part in members]) if members else np.zeros(0, np.int64)
        communities = np.repeat(np.arange(len(members)), [part.size for part in members])
        return cls.from_entries(nodes, communities, None, n_nodes=n_nodes, n_communities=len(members))

    @classmethod
    def from_labels(cls, labels: ArrayLike) -> Cover:
        """One community a node: labels (n,) int, community = label; a negative label is a node in none."""
        values = np.asarray(labels, np.int64)
        nodes = np.flatnonzero(values >= 0)
        n_communities = int(values.max(initial=-1)) + 1
        return cls.from_entries(nodes, values[nodes], None, n_nodes=values.size, n_communities=n_communities)

    @classmethod
    def from_dense(cls, matrix: ArrayLike, threshold: float = 0.0) -> Cover:
        """The entries above threshold (>= 0) of a matrix (n, k); the rows of what is left are scaled to sum to 1."""
        values = np.asarray(matrix, np.float64)
        if values.ndim != 2 or threshold < 0:
            raise ValueError(f"want a matrix and a threshold of at least 0; got {values.shape} and {threshold}")
        if not np.isfinite(values).all():
            raise ValueError("memberships must be finite")
        nodes, communities = np.nonzero(values > threshold)
        kept = values[nodes, communities]
        return cls.from_entries(nodes, communities, kept, n_nodes=values.shape[0], n_communities=values.shape[1])

    @classmethod
    def from_csr(cls, matrix: Any) -> Cover:
        """Any scipy sparse matrix (n, k) of values >= 0; entries that are 0 are dropped, rows scaled to sum to 1."""
        coo = matrix.tocoo()
        if not np.isfinite(coo.data).all() or (coo.data < 0).any():
            raise ValueError("memberships must be finite and not negative")
        kept = coo.data > 0
        nodes, communities = coo.row[kept], coo.col[kept]
        n_nodes, n_communities = coo.shape
        return cls.from_entries(nodes, communities, coo.data[kept], n_nodes=n_nodes, n_communities=n_communities)

    @classmethod
    def from_entries(
        cls,
        nodes: NDArray[Any],
        communities: NDArray[Any],
        weights: NDArray[Any] | None,
        *,
        n_nodes: int,
        n_communities: int,
    ) -> Cover:
        """Memberships in any order: nodes, communities (entries,) int, weights (entries,) > 0 or None for equal shares.

        What is given twice adds up (with weights) or counts once (without). Rows are scaled to sum to 1.
        """
        nodes, communities = np.asarray(nodes, np.int64), np.asarray(communities, np.int64)
        _check_range(nodes, n_nodes, "node")
        _check_range(communities, n_communities, "community")
        place, first = np.unique(nodes * max(n_communities, 1) + communities, return_inverse=True)
        row, column = np.divmod(place, max(n_communities, 1))
        shares = np.ones(place.size) if weights is None else np.bincount(first, weights, minlength=place.size)
        totals = np.bincount(row, shares, minlength=n_nodes)
        indptr = np.zeros(n_nodes + 1, np.int64)
        np.cumsum(np.bincount(row, minlength=n_nodes), out=indptr[1:])
        return cls(indptr, column.astype(np.int32), shares / totals[row], n_communities)


def _check_range(numbers: NDArray[Any], size: int, what: str) -> None:
    if size > _INT32_MAX:
        raise ValueError(f"{size} is too many for the number of a {what}")
    if numbers.size and (numbers.min() < 0 or numbers.max() >= size):
        wrong = numbers.min() if numbers.min() < 0 else numbers.max()
        raise ValueError(f"{what} {wrong} is not within 0 and {size - 1}")
