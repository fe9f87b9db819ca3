"""Passes over the edges of a graph: what models ask of it, wherever the edges are looked at.

A node's row of a pass is computed from all of its neighbours by one kernel call, so that any cut of the nodes, on
threads or on other machines, gives the same bits; sums over the nodes are up to whoever asked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels import blocks_cpu

if TYPE_CHECKING:
    from tdtool.data.graph import Graph

Floats = NDArray[np.float64]
#: From a vector (n,) to the matrix times it, (n,).
Product = Callable[[NDArray[Any]], NDArray[Any]]


class EdgePasses(Protocol):
    """Passes over the edges of one graph of n nodes; F : strengths, dense (n, k) or on supports (see blocks_cpu)."""

    def dense(
        self, strengths: NDArray[np.float32], background: float, propensity: Floats
    ) -> tuple[NDArray[np.float32], Floats]:
        """Expected links of each node by community (n, k) and by the background (n,); strengths : (n, k)."""
        ...

    def sparse(
        self,
        indptr: NDArray[np.int64],
        support: NDArray[np.int32],
        strengths: Floats,
        background: float,
        propensity: Floats,
        *,
        scored: bool = False,
    ) -> tuple[Floats, Floats, Floats]:
        """The same on supports: (entries,), (n,), and each node's part of the edges' likelihood (n,), if `scored`."""
        ...

    def gains(
        self,
        indptr: NDArray[np.int64],
        support: NDArray[np.int32],
        strengths: Floats,
        background: float,
        propensity: Floats,
    ) -> Floats:
        """What each membership does for the edges of its node, in bits: (entries,)."""
        ...

    def product(self, scale: Floats, dtype: np.dtype[Any]) -> Product | None:
        """How to multiply D A D by a vector, D = diag(scale), entries and sums in `dtype`; None: the matrix is best."""
        ...


class EdgeEngine(Protocol):
    """Where passes are made; a graph that is made from another one is looked at by the same engine."""

    def passes(self, graph: Graph) -> EdgePasses:
        """Those over the edges of this graph."""
        ...


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of nodes first, first + 1, ... of a graph of n nodes.

    indptr : (rows + 1,) int64 from 0; neighbours : (ends,) int32 numbers of nodes 0 ... n - 1; weights : (ends,)
    float32 or None; first : None stands for all rows.
    """

    indptr: NDArray[np.int64]
    neighbours: NDArray[np.int32]
    weights: NDArray[np.float32] | None
    first: int | None = None

    def dense(
        self, strengths: NDArray[np.float32], background: float, propensity: Floats
    ) -> tuple[NDArray[np.float32], Floats]:
        """See EdgePasses, of these rows."""
        return blocks_cpu.dense_pass(*self._edges, strengths, background, propensity, first=self.first)

    def sparse(
        self,
        indptr: NDArray[np.int64],
        support: NDArray[np.int32],
        strengths: Floats,
        background: float,
        propensity: Floats,
        *,
        scored: bool = False,
    ) -> tuple[Floats, Floats, Floats]:
        """See EdgePasses, of these rows."""
        model: Any = (indptr, support, strengths, background, propensity)
        return blocks_cpu.sparse_pass(*self._edges, *model, first=self.first, scored=scored)

    def gains(
        self,
        indptr: NDArray[np.int64],
        support: NDArray[np.int32],
        strengths: Floats,
        background: float,
        propensity: Floats,
    ) -> Floats:
        """See EdgePasses, of these rows."""
        model: Any = (indptr, support, strengths, background, propensity)
        return blocks_cpu.entry_gains(*self._edges, *model, first=self.first)

    def product(self, scale: Floats, dtype: np.dtype[Any]) -> Product | None:
        """None: in one memory nothing beats the matrix."""
        return None

    @property
    def _edges(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32] | None]:
        return self.indptr, self.neighbours, self.weights


def scaled_matrix(rows: Rows, scale: Floats, dtype: np.dtype[Any]) -> Any:
    """These rows of D A D, D = diag(scale) : scipy csr_array (rows, n) of `dtype`, each entry rounded once."""
    from scipy.sparse import csr_array

    n_rows, first = len(rows.indptr) - 1, rows.first or 0
    values = np.ones(len(rows.neighbours)) if rows.weights is None else rows.weights.astype(np.float64)
    values *= scale[rows.neighbours]
    values *= np.repeat(scale[first : first + n_rows], np.diff(rows.indptr))
    return csr_array((values.astype(dtype, copy=False), rows.neighbours, rows.indptr), shape=(n_rows, len(scale)))
