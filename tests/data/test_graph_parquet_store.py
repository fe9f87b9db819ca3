"""Graphs as directories of Parquet files: the same content as the HDF5 file, and back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tdtool.data.corpus import partition_starts
from tdtool.data.graph import Graph
from tdtool.data.graph_parquet_store import NodeRows, ParquetGraph, write_graph_manifest, write_node_part
from tdtool.data.graph_store import open_graph
from tdtool.data.graph_store import write_graph as write_hdf5
from tdtool.data.parquet_manifest import new_store
from tdtool.errors import InputError
from tdtool.store import hdf5
from tdtool.store.verify import verify
from tests.data.graph_reading import check
from tests.data.parquet_samples import small_graph, write_graph


def same(one: Graph, other: Graph) -> bool:
    weights = [np.zeros(0) if graph.weights is None else graph.weights for graph in (one, other)]
    arrays = ((one.indptr, other.indptr), (one.neighbours, other.neighbours), weights)
    return all(np.array_equal(a, b) for a, b in arrays) and one.names() == other.names() and one.n_left == other.n_left


def stored_digest(path: Path) -> str:
    with hdf5.open(path) as reader:
        return str(reader.attributes["content_digest"])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_left", [None, 3])
def test_what_is_written_is_read(tmp_path: Path, weighted: bool, n_left: int | None) -> None:
    graph = small_graph(weighted=weighted, n_left=n_left)
    stored = write_graph(tmp_path / "g.graph.parquet", graph)
    assert (stored.n_nodes, stored.n_entries, stored.weighted, stored.n_left) == (
        7,
        graph.neighbours.size,
        weighted,
        n_left,
    )
    back = stored.to_hdf5(tmp_path / "back.h5")
    check(back)
    assert same(back, graph)
    assert (back.description, back.ledger) == ("hand", graph.ledger)
    assert verify(tmp_path / "back.h5") == []
    write_hdf5(graph, tmp_path / "direct.h5")
    digest = stored.attributes["content_digest"]
    assert digest == stored_digest(tmp_path / "direct.h5") == stored_digest(tmp_path / "back.h5")


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    ids = np.array([-7, 0, 12, 2**62], np.int64)
    graph = Graph.from_edges(np.array([[0, 3], [1, 2]]), ids=ids)
    found = write_graph(tmp_path / "n.parquet", graph).to_hdf5(tmp_path / "n.h5").ids
    assert isinstance(found, np.ndarray)
    assert found.tolist() == ids.tolist()


def test_parts_come_in_any_order(tmp_path: Path, rng: np.random.Generator) -> None:
    graph = Graph.from_edges(rng.integers(0, 5000, (70_000, 2)), weights=rng.integers(1, 9, 70_000), n_nodes=5003)
    assert graph.weights is not None
    write_hdf5(graph, tmp_path / "direct.h5")
    starts, place = partition_starts(graph.indptr), str(tmp_path / "g.parquet")
    parts = []
    with new_store(place):
        for index in [4, 1, 8, *range(9)]:
            first, last = int(starts[index]), int(starts[index + 1])
            entries = slice(graph.indptr[first], graph.indptr[last])
            indptr = graph.indptr[first : last + 1] - graph.indptr[first]
            rows = NodeRows(index, first, indptr, graph.neighbours[entries], graph.weights[entries])
            parts.append(write_node_part(place, rows))
        assert len(list(Path(place).iterdir())) == 9
        unique = list(dict.fromkeys(parts))
        attributes = {"ledger": graph.ledger.as_dict()}
        found = write_graph_manifest(place, unique, graph.names(), n_left=None, weighted=True, attributes=attributes)
    assert found == stored_digest(tmp_path / "direct.h5")
    stored = ParquetGraph.open(place)
    with hdf5.open(tmp_path / "direct.h5") as reader:
        assert [part.digest for part in stored.parts] == reader.get("partitions/digest")
    assert np.array_equal(
        stored.part(3).neighbours, graph.neighbours[graph.indptr[starts[3]] : graph.indptr[starts[4]]]
    )
    assert same(stored.to_hdf5(tmp_path / "back.h5"), open_graph(tmp_path / "direct.h5"))


def test_edges_are_there_from_both_ends(tmp_path: Path) -> None:
    graph = small_graph(weighted=False)
    others = graph.neighbours.copy()
    others[1] = 4
    stored = write_graph(tmp_path / "g.parquet", dataclasses.replace(graph, neighbours=others))
    with pytest.raises(InputError, match="from one end only"):
        stored.to_hdf5(tmp_path / "g.h5")
