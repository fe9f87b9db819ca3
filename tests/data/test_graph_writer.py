"""A graph file written partition by partition is the one that is written at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tdtool.data import corpus
from tdtool.data.corpus import partition_starts
from tdtool.data.graph import Graph
from tdtool.data.graph_store import write_graph
from tdtool.data.graph_writer import write_graph_rows
from tdtool.data.parquet_parts import NodeRows
from tdtool.store import hdf5
from tdtool.store.verify import verify


def rows_of(graph: Graph, starts: np.ndarray) -> list[NodeRows]:
    parts = []
    for index, (first, last) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        part = slice(int(graph.indptr[first]), int(graph.indptr[last]))
        weights = None if graph.weights is None else graph.weights[part]
        indptr = graph.indptr[first : last + 1] - graph.indptr[first]
        parts.append(NodeRows(index, first, indptr, graph.neighbours[part], weights))
    return parts


@pytest.mark.parametrize(("weighted", "n_left"), [(True, None), (False, None), (True, 11), (False, 11)])
def test_the_same_content(
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    weighted: bool,
    n_left: int | None,
) -> None:
    monkeypatch.setattr(corpus, "_SMALLEST", 31)
    tails, heads = rng.integers(0, 11, 200), rng.integers(11, 37, 200)
    weights = rng.random(200) if weighted else None
    names = [f"n{i}" for i in range(40)]
    graph = Graph.from_edges(np.column_stack([tails, heads]), weights=weights, n_nodes=40, ids=names, n_left=n_left)
    starts = partition_starts(graph.indptr)
    assert starts.size > 4
    write_graph(graph, tmp_path / "whole.h5")
    about = {"description": "", "notes": [], "source": {}, "ledger": graph.ledger.as_dict()}
    write_graph_rows(
        tmp_path / "rows.h5",
        iter(rows_of(graph, starts)),
        graph.indptr,
        starts,
        graph.names(),
        n_left=n_left,
        weighted=weighted,
        attributes=about,
    )
    assert verify(tmp_path / "rows.h5") == []
    with hdf5.open(tmp_path / "rows.h5") as one, hdf5.open(tmp_path / "whole.h5") as other:
        assert one.attributes == other.attributes
        assert one.get("partitions/digest") == other.get("partitions/digest")


def test_a_part_that_is_missing_leaves_nothing(tmp_path: Path) -> None:
    graph = Graph.from_edges(np.array([[0, 1], [1, 2]]))
    with pytest.raises(ValueError, match="partition has length 0"):
        write_graph_rows(
            tmp_path / "x.h5",
            [],
            graph.indptr,
            partition_starts(graph.indptr),
            graph.names(),
            n_left=None,
            weighted=False,
            attributes={},
        )
    assert list(tmp_path.iterdir()) == []
