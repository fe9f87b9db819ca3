"""The graph file: what is written is read back, memory-mapped, whatever the order of the edges was."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tdtool.data.graph import Graph
from tdtool.data.graph_store import open_graph, partition_digest, write_graph
from tdtool.errors import InputError, UsageError
from tdtool.store import hdf5
from tdtool.store.verify import verify
from tests.data.graph_reading import check, read

EDGES = np.array([[0, 1], [5, 1], [2, 3], [3, 0], [1, 3], [2, 2], [5, 1]])
WEIGHTS = np.array([1.5, 0.25, 3, 2, 7, 1, 0.5])


def named(*, weighted: bool = True, n_left: int | None = None) -> Graph:
    """7 nodes by name, of which two have no edges."""
    edges = EDGES[EDGES[:, 0] != EDGES[:, 1]] if n_left is None else np.array([[0, 4], [1, 3], [2, 6]])
    weights = WEIGHTS[: len(edges)] if weighted else None
    names = ["01", "1", "Ünal", "=1+1", "a b", "b\tc", "二"]
    return Graph.from_edges(edges, weights=weights, n_nodes=7, ids=names, n_left=n_left, description="by hand")


def same(one: Graph, other: Graph) -> bool:
    weights = [np.zeros(0) if graph.weights is None else graph.weights for graph in (one, other)]
    arrays = ((one.indptr, other.indptr), (one.neighbours, other.neighbours), weights)
    return all(np.array_equal(a, b) for a, b in arrays) and one.names() == other.names() and one.n_left == other.n_left


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_left", [None, 3])
def test_round_trip(tmp_path: Path, weighted: bool, n_left: int | None) -> None:
    graph = named(weighted=weighted, n_left=n_left)
    path = tmp_path / "g.graph.h5"
    write_graph(graph, path, attributes={"seed": 3})
    opened = open_graph(path)
    check(opened)
    assert same(graph, opened)
    assert (opened.description, opened.ledger, opened.path) == ("by hand", graph.ledger, path)
    assert same(read(path), graph)
    assert verify(path) == []


def test_entries_stay_on_disk(tmp_path: Path) -> None:
    write_graph(named(), tmp_path / "g.h5")
    graph = open_graph(tmp_path / "g.h5")
    assert graph.weights is not None
    for array in (graph.neighbours, graph.weights):
        assert isinstance(array.base, np.memmap)
        assert not array.flags.writeable


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    ids = np.array([-7, 0, 12, 2**62], np.int64)
    write_graph(Graph.from_edges(np.array([[0, 3], [1, 2]]), ids=ids), tmp_path / "n.h5")
    found = open_graph(tmp_path / "n.h5").ids
    assert isinstance(found, np.ndarray)
    assert found.tolist() == ids.tolist()
    for number, names in enumerate((["0", str(2**63)], ["007", "7"], ["1", "+2"])):
        write_graph(Graph.from_edges(np.array([[0, 1]]), ids=names), tmp_path / f"{number}.h5")
        assert open_graph(tmp_path / f"{number}.h5").ids == names


def test_partitions_are_cut_by_entries_and_digested(tmp_path: Path, rng: np.random.Generator) -> None:
    edges = rng.integers(0, 5000, (70_000, 2))
    weights = rng.integers(1, 9, len(edges))
    graph = Graph.from_edges(edges, weights=weights, n_nodes=5003)
    write_graph(graph, tmp_path / "one.h5")
    order = rng.permutation(len(edges))
    write_graph(Graph.from_edges(edges[order][:, ::-1], weights=weights[order], n_nodes=5003), tmp_path / "two.h5")
    with hdf5.open(tmp_path / "one.h5") as one, hdf5.open(tmp_path / "two.h5") as two:
        assert one.attributes["content_digest"] == two.attributes["content_digest"]
        starts, digests = one.get("partitions/start"), one.get("partitions/digest")
    sizes = np.diff(graph.indptr[starts])
    assert len(sizes) == len(digests) == 9, "eight, and what is left"
    assert sizes[:-1].max() < 1.01 * sizes[:-1].min()
    first, last = int(starts[2]), int(starts[3])
    part = slice(graph.indptr[first], graph.indptr[last])
    assert graph.weights is not None
    indptr = graph.indptr[first : last + 1]
    assert digests[2] == partition_digest(indptr, graph.neighbours[part], graph.weights[part])
    assert digests[2] != partition_digest(indptr, graph.neighbours[part], None)


DAMAGE = {
    "an edge from one end": ("graph/neighbours", 4, 6, "one end only"),
    "another weight at one end": ("graph/weights", 0, 9.0, "another weight at the other"),
    "a weight of 0": ("graph/weights", 0, 0.0, "not above 0"),
    "a weight that is no number": ("graph/weights", 0, np.nan, "not above 0"),
    "a node that is not there": ("graph/neighbours", 2, 7, "outside"),
    "its own neighbour": ("graph/neighbours", 0, 0, "its own neighbour"),
    "no order": ("graph/neighbours", slice(0, 2), [3, 1], "does not ascend"),
    "no climb": ("graph/indptr", 1, 40, "does not climb"),
    "partitions beyond the end": ("partitions/start", 1, 99, "does not climb"),
    "kinds mixed": ("nodes/side", 0, 1, "is not first 0 and then 1"),
    "an edge within a kind": ("nodes/side", 3, 0, "nodes of one kind"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    array, place, value, message = DAMAGE[name]
    path = tmp_path / "g.h5"
    write_graph(named(n_left=3 if array == "nodes/side" else None), path)
    with h5py.File(path, "r+") as file:
        file[array][place] = value
    with pytest.raises(InputError, match=message) as caught:
        open_graph(path)
    assert caught.value.path == path


def test_attributes_from_a_stranger(tmp_path: Path) -> None:
    path = tmp_path / "g.h5"
    write_graph(named(), path)
    with h5py.File(path, "r+") as file:
        file.attrs["notes"], file.attrs["source"], file.attrs["description"] = 7, "x", 3.5
    graph = open_graph(path)
    assert (graph.notes, graph.source, graph.description) == ((), {}, "3.5")
    with h5py.File(path, "r+") as file:
        file.attrs["ledger"] = "[1]"
    with pytest.raises(InputError, match="ledger in it is damaged"):
        open_graph(path)


def test_entries_of_other_types_are_converted(tmp_path: Path) -> None:
    path = tmp_path / "g.h5"
    write_graph(named(), path)
    with h5py.File(path, "r+") as file:
        for name, kind in (("graph/neighbours", ">i8"), ("graph/weights", ">f8")):
            values = file[name][:]
            del file[name]
            file[name] = values.astype(kind)
    graph = open_graph(path)
    check(graph)
    assert same(graph, named())


def test_other_files_and_files_that_exist(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("1 2\n")
    with pytest.raises(InputError, match="not an HDF5 file"):
        open_graph(tmp_path / "text")
    write_graph(named(), tmp_path / "g.h5")
    with pytest.raises(UsageError, match="exists already"):
        write_graph(named(weighted=False), tmp_path / "g.h5")
    write_graph(named(weighted=False), tmp_path / "g.h5", force=True)
    assert open_graph(tmp_path / "g.h5", check=False).weights is None
