"""The leading eigenvectors of a graph's normalised adjacency: second moments of the block model, whitened."""

from __future__ import annotations

import functools

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, eigsh

from tdtool.data.edge_passes import Rows, scaled_matrix
from tdtool.data.edge_passes_gpu import gpu_of
from tdtool.data.graph import Graph
from tdtool.kernels.device_gpu import DeviceArray, Gpu
from tdtool.moments.lanczos import largest_eigenpairs

#: Below this, or when a good share of all eigenvectors is wanted, a dense solver is faster than Lanczos.
_DENSE_NODES = 400
#: From so many nodes on, vectors are float32: half the traffic, and still far more exact than the graph is certain.
_BULK_NODES = 20_000
_TOL = {np.dtype(np.float64): 1e-4, np.dtype(np.float32): 1e-3}
#: Vectors that a GPU multiplies at a time, 32 bytes of each node: what a read of memory brings.
_BLOCK = {np.dtype(np.float64): 4, np.dtype(np.float32): 8}
#: Coordinates below which they stay on the host: a GPU would wait for its orders.
_LEAST_COORDINATES = 1 << 18


class GraphEmbedding:
    """Eigenpairs of L = (D + tau)^-1/2 A (D + tau)^-1/2, largest first, computed when they are asked for.

    tau : in mean degrees; 0.01 holds back nodes with one edge and leaves the others as they are. node_weights : (n,)
    (d_u + tau) / sum, so that X = vectors / sqrt(node_weights) has sum_u w_u x_u x_u' = I: the leaf of a 3-star seen
    from its centre u, whitened (Anandkumar, Ge, Hsu, Kakade 2014, "A tensor approach to learning mixed membership
    community models").
    """

    def __init__(self, graph: Graph, *, tau: float = 0.01) -> None:
        degrees = graph.degrees
        raised = degrees + tau * max(float(degrees.mean()), np.finfo(float).tiny)
        self.node_weights: NDArray[np.float64] = raised / raised.sum()
        self._graph, self._scale = graph, 1.0 / np.sqrt(raised)
        dtype = np.float32 if graph.n_nodes >= _BULK_NODES else np.float64
        self._values, self._vectors = np.zeros(0, dtype), np.zeros((graph.n_nodes, 0), dtype)
        #: The GPU that looks at the edges, where one does.
        self.gpu: Gpu | None = gpu_of(graph)
        self._there: DeviceArray = None

    @functools.cached_property
    def _matrix(self) -> csr_array:
        """L, for whoever does not multiply by it elsewhere."""
        rows = Rows(self._graph.indptr, self._graph.neighbours, self._graph.weights)
        return scaled_matrix(rows, self._scale, self._vectors.dtype)

    @functools.cached_property
    def _operator(self) -> csr_array | LinearOperator:
        """What Lanczos multiplies by: L, or L where the edges are."""
        product = self._graph.passes.product(self._scale, self._vectors.dtype)
        if product is None:
            return self._matrix
        return LinearOperator((self.n_nodes, self.n_nodes), matvec=product, dtype=self._vectors.dtype)

    @property
    def n_nodes(self) -> int:
        """n."""
        return len(self.node_weights)

    def eigenvalues(self, k: int) -> NDArray[np.float64]:
        """(k,) float64, descending, in [-1, 1]."""
        self.reach(k)
        return self._values[:k].astype(np.float64)

    def points(self, k: int) -> NDArray[np.float64]:
        """X : (n, k) float64, the first k columns of any larger one."""
        self.reach(k)
        return np.asarray(self._vectors[:, :k] / np.sqrt(self.node_weights)[:, None])

    def fit_points(self, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """X (n, k) and node weights (n,), on the GPU where there is one and they are large."""
        if self.gpu is None or self.n_nodes * k < _LEAST_COORDINATES:
            return self.points(k), self.node_weights
        self.reach(k)
        if self._there is None:
            self._there = self.gpu.to_device(self._vectors)
        weights = self.gpu.to_device(self.node_weights)
        return self._there[:, :k] / self.gpu.xp.sqrt(weights)[:, None], weights

    def reach(self, k: int) -> None:
        """Compute the first k eigenpairs. ValueError: k > n."""
        if k > self.n_nodes:
            raise ValueError(f"{k} eigenvectors of a graph of {self.n_nodes} nodes")
        if k <= len(self._values):
            return
        n = self.n_nodes
        k = min(max(k, len(self._values) * 3 // 2), n)  # whoever asks for more and more gets some ahead
        self._there = None
        if n <= _DENSE_NODES or k > n // 4:
            values, vectors = scipy.linalg.eigh(self._matrix.toarray(), check_finite=False)
            order = np.arange(n)[::-1]
        else:
            values, vectors = self._by_lanczos(k)
            order = np.argsort(-values, kind="stable")
        self._values, self._vectors = values[order], vectors[:, order]

    def _by_lanczos(self, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(k,) eigenvalues and (n, k) vectors, in any order; those of a GPU stay there, too."""
        dtype = self._vectors.dtype
        start, tol = np.sqrt(self.node_weights).astype(dtype), _TOL[dtype]
        product = None if self.gpu is None else self._graph.passes.product(self._scale, dtype)
        if self.gpu is not None and product is not None:
            block = _BLOCK[dtype]
            values, self._there = largest_eigenpairs(product, start, k, tol=tol, gpu=self.gpu, block=block)
            return values, self.gpu.to_host(self._there)
        # Lanczos draws a new vector where the space is exhausted, as in a graph of several components.
        rng, size = np.random.default_rng(0), min(max(2 * k + 1, k + 32), self.n_nodes)
        return eigsh(self._operator, k, which="LA", v0=start, ncv=size, tol=tol, rng=rng)
