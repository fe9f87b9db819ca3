"""Which communities of two covers share nodes, and how many: what every comparison of covers is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from tdtool.models.cover import Cover

#: Pairs of memberships that are held at once.
_BLOCK = 1 << 22


@dataclasses.dataclass(frozen=True)
class Overlaps:
    """The pairs of communities that share a node, by number of the found one, then of the true one.

    found, truth : (pairs,) int64 numbers of communities; shared : (pairs,) int64 > 0 nodes in both; n_nodes : of the
    covers; found_sizes (k,), truth_sizes (k',) int64 : members, 0 for a community without any.
    """

    found: NDArray[np.int64]
    truth: NDArray[np.int64]
    shared: NDArray[np.int64]
    found_sizes: NDArray[np.int64]
    truth_sizes: NDArray[np.int64]
    n_nodes: int

    def swapped(self) -> Overlaps:
        """With the two covers in each other's place."""
        return Overlaps(self.truth, self.found, self.shared, self.truth_sizes, self.found_sizes, self.n_nodes)


def overlaps(found: Cover, truth: Cover) -> Overlaps:
    """Count the shared nodes of all pairs of communities. ValueError unless both covers have the same nodes."""
    check_same_nodes(found, truth)
    product = csr_array(members(found).T @ members(truth))
    product.sort_indices()
    table = product.tocoo()
    columns = (table.row.astype(np.int64), table.col.astype(np.int64), table.data.astype(np.int64))
    return Overlaps(*columns, found.sizes, truth.sizes, found.n_nodes)


def shared_weight(found: Cover, truth: Cover) -> csr_array:
    """(k, k') float64, sum over nodes of the smaller of the two memberships; only pairs that share a node are held."""
    check_same_nodes(found, truth)
    shape = (found.n_communities, truth.n_communities)
    total = coo_array(shape, dtype=np.float64).tocsr()
    for start, stop in work_blocks(found.n_memberships * truth.n_memberships, _BLOCK):
        left, right = _pairs_of_entries(found, truth, start, stop)
        smaller = np.minimum(found.weights[left], truth.weights[right])
        places = (found.communities[left], truth.communities[right])
        total = total + coo_array((smaller, places), shape=shape).tocsr()
    return total


def members(cover: Cover) -> csr_array:
    """(n, k) int32, 1 where the node is a member."""
    ones = np.ones(cover.communities.size, np.int32)
    return csr_array((ones, cover.communities, cover.indptr), shape=(cover.n_nodes, cover.n_communities))


def check_same_nodes(found: Cover, truth: Cover) -> None:
    """ValueError unless both covers have the same number of nodes."""
    if found.n_nodes != truth.n_nodes:
        raise ValueError(f"the covers have {found.n_nodes} and {truth.n_nodes} nodes; both must be of the same nodes")


def work_blocks(work: NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Ranges start .. stop - 1 of places that together do at most `most` work (one place may do more alone)."""
    ends = np.cumsum(work)
    start = 0
    while start < work.size:
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + most, side="right")))
        yield start, stop
        start = stop


def _pairs_of_entries(found: Cover, truth: Cover, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every entry of a node in `found` with every entry of it in `truth`, for some nodes: numbers of entries."""
    n_found, n_truth = found.n_memberships[start:stop], truth.n_memberships[start:stop]
    n_pairs = n_found * n_truth
    first = np.cumsum(n_pairs) - n_pairs
    place = np.arange(int(n_pairs.sum())) - np.repeat(first, n_pairs)
    per_node = np.repeat(n_truth, n_pairs)
    left = np.repeat(found.indptr[start:stop], n_pairs) + place // per_node
    right = np.repeat(truth.indptr[start:stop], n_pairs) + place % per_node
    return left, right
