"""From the edges that were found to a graph: compact numbers, canonical order, both directions, everything once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.data.ledger import Ledger
from tdtool.errors import InputError
from tdtool.kernels.edge_rows_cpu import EdgeRows, symmetric_rows

#: Nodes are numbered in 32 bits.
MOST_NODES = 2**31 - 1
_SMALLEST = np.finfo(np.float32).tiny


def graph_of_pairs(
    tails: NDArray[Any],
    heads: NDArray[Any],
    weights: NDArray[Any] | None,
    n_nodes: int,
    *,
    ids: NDArray[np.int64] | list[str] | None = None,
    n_left: int | None = None,
    description: str = "",
) -> Graph:
    """A graph whose nodes are numbered already. tails, heads : (m,) int; weights : (m,) or None; ids : n or None.

    Raises InputError for nodes out of range, negative or non-finite weights, and lengths that do not fit.
    """
    if n_nodes > MOST_NODES:
        raise InputError(f"a graph may have {MOST_NODES:,} nodes, and this one has {n_nodes:,}")
    if ids is not None and len(ids) != n_nodes:
        raise InputError(f"there are {len(ids):,} names for {n_nodes:,} nodes")
    if tails.size and (int(min(tails.min(), heads.min())) < 0 or int(max(tails.max(), heads.max())) >= n_nodes):
        raise InputError(f"an edge has a node that is not among 0 ... {n_nodes - 1:,}")
    if n_left is not None and bool(((tails < n_left) == (heads < n_left)).any()):
        raise InputError("an edge links two nodes of the same kind", hint=f"the first {n_left:,} nodes are of one kind")
    values = None if weights is None else _checked_weights(np.asarray(weights), tails)
    names = np.arange(n_nodes, dtype=np.int64) if ids is None else ids
    ledger = Ledger()
    ledger.use(tails.size)
    rows = symmetric_rows(tails.astype(np.int32), heads.astype(np.int32), values, n_nodes)
    count_merged(rows, ledger, None)
    stored = None if rows.weights is None else stored_weights(rows.weights)
    return Graph(rows.indptr, rows.neighbours, stored, names, n_left, description, ledger=ledger)


def count_merged(rows: EdgeRows, ledger: Ledger, path: str | None) -> None:
    """Write what was left out and merged into the ledger; the edges are in it as used."""
    ledger.count("loops left out", rows.n_loops)
    ledger.count("duplicate edges merged", rows.n_repeated)
    ledger.count("edges given in both directions", rows.n_both)
    for _ in range(rows.n_zero):
        ledger.drop("weight 0", path or "memory")


def stored_weights(weights: NDArray[np.float64]) -> NDArray[np.float32] | None:
    """Weights as they are kept, (2m,) float32; None where all are 1. InputError for those beyond float32."""
    if bool((weights == 1.0).all()):
        return None
    if float(weights.max()) > float(np.finfo(np.float32).max):
        raise InputError("the weights of an edge add up to more than 3.4e38", hint="divide all weights by a number")
    return np.maximum(weights, _SMALLEST).astype(np.float32)


def _checked_weights(weights: NDArray[Any], tails: NDArray[Any]) -> NDArray[np.float64]:
    if weights.shape != tails.shape:
        raise InputError(f"there are {weights.size:,} weights for {tails.size:,} edges")
    values = weights.astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if wrong.size:
        at = int(wrong[0])
        raise InputError(f"the weight of edge {at:,} (counted from 0) is {values[at]:g}", hint="weights are from 0 on")
    return values
