"""3-stars between four parts of the nodes: centres in one, each of the three leaves in a part of its own."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from tdtool.data.graph import Graph

Matrix = NDArray[np.float64]
_PARTS = 4


@dataclasses.dataclass(frozen=True)
class SplitStar:
    """sum_x w_x a_x (x) b_x (x) c_x, symmetrised, never formed.

    centres : (n_x,) int64 the nodes of the first part; weights : (n_x,) w, sum 1; leaves : three (n_x, k), what each
    centre sees of the other parts, whitened (sum w a a' = I) and turned to agree with the first. The parts share no
    edge with each other's leaves, so that the noise of the three is independent. Source: Anandkumar, Ge, Hsu, Kakade
    2014, JMLR 15, section 3.
    """

    centres: NDArray[np.int64]
    weights: Matrix
    leaves: tuple[Matrix, Matrix, Matrix]

    @classmethod
    def of(cls, graph: Graph, k: int, *, tau: float, seed: int) -> SplitStar:
        """Nodes are dealt into equal parts by `seed`. ValueError: k is too large, or the parts are hardly linked."""
        part = np.random.default_rng(seed).permutation(graph.n_nodes) % _PARTS
        places = [np.flatnonzero(part == number) for number in range(_PARTS)]
        smallest = min(map(len, places))
        if k >= smallest:
            raise ValueError(f"{k} communities from four parts of about {smallest} nodes; --split takes fewer")
        degrees = graph.degrees
        raised = degrees + tau * degrees.mean()
        scale = 1 / np.sqrt(raised)
        rows = graph.adjacency()[places[0]]
        weights = raised[places[0]] / raised[places[0]].sum()
        start = np.sqrt(weights)
        seen = []
        for others in places[1:]:
            block = rows[:, others].multiply(scale[places[0]][:, None]).multiply(scale[others][None, :]).tocsr()
            try:
                left = _left_vectors(block, k, start)
            except ArpackError as error:
                raise ValueError(
                    "the four parts of the nodes are hardly linked: --split takes denser graphs"
                ) from error
            seen.append(left / start[:, None])
        scaled = [points * start[:, None] for points in seen]
        turned = [seen[0], *(seen[i] @ scipy.linalg.orthogonal_procrustes(scaled[i], scaled[0])[0] for i in (1, 2))]
        return cls(places[0], weights, (turned[0], turned[1], turned[2]))

    @property
    def points(self) -> Matrix:
        """(n_x, k) the mean of the three views."""
        return (self.leaves[0] + self.leaves[1] + self.leaves[2]) / len(self.leaves)

    def apply(self, directions: Matrix) -> Matrix:
        """G_j = T(I, u_j, u_j) for the columns u_j of directions (k, k)."""
        a, b, c = (leaf @ directions for leaf in self.leaves)
        column = self.weights[:, None]
        parts = zip(self.leaves, (b * c, a * c, a * b), strict=True)
        return np.asarray(sum(leaf.T @ (column * product) for leaf, product in parts) / len(self.leaves))


def _left_vectors(block: csr_array, k: int, start: Matrix) -> Matrix:
    """(rows, k) leading left singular vectors, the first one first.

    By the Gram matrix and not by scipy's svds, which draws from the system's entropy where its start is exhausted.
    """
    size = block.shape[0]
    gram = LinearOperator((size, size), matvec=lambda vector: block @ (block.T @ vector), dtype=np.float64)
    vectors = eigsh(gram, k, which="LA", v0=start, rng=np.random.default_rng(0))[1]
    return np.asarray(vectors[:, ::-1], np.float64)
