"""What the tests of the graph readers share: reading a text, checking what every graph must be, expecting an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tdtool.config import GraphConfig
from tdtool.data.graph import Graph, read_graph
from tdtool.errors import TdtoolError

MEMORY = 1 << 30


def read(path: Path | str, *, memory: int = MEMORY, **settings: object) -> Graph:
    graph = read_graph(str(path), GraphConfig(**settings), memory=memory)  # type: ignore[arg-type]
    check(graph)
    return graph


def check(graph: Graph) -> None:
    """What holds for every graph."""
    assert (graph.indptr.dtype, graph.neighbours.dtype) == (np.int64, np.int32)
    assert len(graph.ids) == graph.n_nodes
    assert isinstance(graph.ids, list) or graph.ids.dtype == np.int64
    assert graph.indptr[0] == 0
    assert graph.indptr[-1] == graph.neighbours.size == 2 * graph.n_edges
    rows = np.repeat(np.arange(graph.n_nodes), np.diff(graph.indptr))
    assert not (rows == graph.neighbours).any()
    assert np.all(np.diff(rows * graph.n_nodes + graph.neighbours) > 0)
    if graph.weights is not None:
        assert graph.weights.dtype == np.float32
        assert (graph.weights > 0).all()
    dense = graph.adjacency()
    assert (dense != dense.T).nnz == 0
    ledger = graph.ledger
    assert ledger.rows_in == ledger.rows_used + ledger.rows_skipped


def weights_of(graph: Graph) -> dict[tuple[str, str], float]:
    """Every edge once, by names in the graph's order."""
    matrix = graph.adjacency().tocoo()
    names = graph.names()
    entries = zip(*(column.tolist() for column in (*matrix.coords, matrix.data)), strict=True)
    return {(names[row], names[column]): value for row, column, value in entries if row < column}


def refused(path: Path | str, error: type[TdtoolError], **settings: object) -> TdtoolError:
    """The error that reading ends in; it must name the file where it names any."""
    with pytest.raises(error) as caught:
        read(path, **settings)  # type: ignore[arg-type]
    assert caught.value.path is None or str(path) in str(caught.value)
    return caught.value
