"""What executors do with the edges of a graph, without Spark: rows of any block in any order, and their passes."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.data.edge_passes import Rows, scaled_matrix
from tdtool.data.graph import Graph
from tdtool.data.planted_graph import planted_disjoint
from tdtool.errors import ClusterError, ResourceError, UsageError
from tdtool.jobs import graph_rows
from tdtool.jobs.graph import SPREAD, SparkEdges, _origin
from tdtool.jobs.graph_rows import Block, Order, RowsFile, Scale, cut_nodes
from tdtool.kernels import threads
from tdtool.models.graph_parts import reordered, subgraph

both = pytest.mark.parametrize("weighted", [False, True])


def planted(rng: np.random.Generator, *, weighted: bool) -> Graph:
    """Blocks of 11, 17 and 33 nodes, then two triangles apart, then two nodes without edges."""
    edges = planted_disjoint([11, 17, 33], mean_degree=6, mixing=0.2, rng=rng).edges
    apart = np.array([(61, 62), (62, 63), (61, 63), (64, 65), (65, 66), (64, 66)])
    edges = np.concatenate([edges, apart])
    weights = rng.integers(1, 17, len(edges)) / 4 if weighted else None
    return Graph.from_edges(edges, weights=weights, n_nodes=69)


def same_rows(found: Rows, graph: Graph, first: int, last: int) -> None:
    ends = slice(graph.indptr[first], graph.indptr[last])
    np.testing.assert_array_equal(found.indptr, graph.indptr[first : last + 1] - graph.indptr[first])
    np.testing.assert_array_equal(found.neighbours, graph.neighbours[ends])
    assert found.first == first
    assert (found.weights is None) == (graph.weights is None)
    if graph.weights is not None and found.weights is not None:
        np.testing.assert_array_equal(found.weights, graph.weights[ends])


@both
def test_blocks_are_the_rows_of_the_graph(tmp_path: Path, rng: np.random.Generator, weighted: bool) -> None:
    graph = planted(rng, weighted=weighted)
    file = RowsFile.written(graph, tmp_path)
    assert Path(file.path).stat().st_size == file.n_bytes
    for first, last in cut_nodes(graph.indptr, 5):
        same_rows(Block(file, None, first, last).rows(), graph, first, last)


@both
def test_blocks_in_another_order_are_the_rows_of_that_graph(
    tmp_path: Path, rng: np.random.Generator, weighted: bool
) -> None:
    """Some nodes alone, and these shuffled: only the file of the whole graph is there."""
    graph = planted(rng, weighted=weighted)
    file = RowsFile.written(graph, tmp_path)
    nodes = np.setdiff1d(np.arange(69), [61, 62, 63, 67])
    part = subgraph(graph, nodes)
    shuffled = rng.permutation(len(nodes))
    for other, order in ((part, nodes), (reordered(part, shuffled), nodes[shuffled])):
        made = Order(f"{other.neighbours[:9]}{weighted}", order)
        for first, last in cut_nodes(other.indptr, 4):
            same_rows(Block(file, made, first, last).rows(), other, first, last)


def test_orders_of_the_same_file_are_told_apart(tmp_path: Path, rng: np.random.Generator) -> None:
    graph = planted(rng, weighted=False)
    file = RowsFile.written(graph, tmp_path)
    for number in range(3):
        order = rng.permutation(69)
        same_rows(Block(file, Order(f"order {number}", order), 7, 20).rows(), reordered(graph, order), 7, 20)


@pytest.mark.parametrize("count", [1, 2, 5, 200])
def test_cuts_share_out_the_work(rng: np.random.Generator, count: int) -> None:
    graph = planted(rng, weighted=False)
    cuts = cut_nodes(graph.indptr, count)
    assert [cuts[0][0], *(last for _, last in cuts)] == [0, *(first for first, _ in cuts[1:]), 69]
    assert all(first < last for first, last in cuts)
    assert len(cuts) == count if count < 9 else 60 < len(cuts) <= 69
    work = [int(graph.indptr[last] - graph.indptr[first]) + last - first for first, last in cuts]
    largest_row = int(graph.n_neighbours.max()) + 1
    assert max(work) <= sum(work) / count + largest_row


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_are_those_of_the_matrix_to_the_bit(
    tmp_path: Path, rng: np.random.Generator, weighted: bool, dtype: type[Any]
) -> None:
    graph = planted(rng, weighted=weighted)
    scale = rng.uniform(0.1, 2, 69)
    vector = rng.standard_normal(69).astype(dtype)
    whole = scaled_matrix(Rows(graph.indptr, graph.neighbours, graph.weights), scale, np.dtype(dtype))
    expected = graph.adjacency().toarray() * np.outer(scale, scale)
    np.testing.assert_allclose(whole.toarray(), expected, rtol=1e-6)
    file = RowsFile.written(graph, tmp_path)
    given = Scale(f"{weighted}{dtype}", np.dtype(dtype).str, scale)
    parts = [Block(file, None, first, last).product(given, vector) for first, last in cut_nodes(graph.indptr, 6)]
    found = np.concatenate(parts)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, (whole @ vector[:, None])[:, 0])


def test_a_graph_without_edges_can_be_sent(tmp_path: Path) -> None:
    graph = Graph.from_edges(np.zeros((0, 2), np.int64), n_nodes=3)
    rows = Block(RowsFile.written(graph, tmp_path), None, 1, 3).rows()
    assert (rows.indptr.tolist(), rows.neighbours.size, rows.weights) == ([0, 0, 0], 0, None)


def test_a_full_disk(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(graph_rows.np, "ascontiguousarray", full)
    with pytest.raises(ResourceError, match="the disk is full"):
        RowsFile.written(planted(rng, weighted=False), tmp_path)


def test_edges_that_did_not_arrive(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the right name that is too short is not taken for the graph."""
    pyspark = pytest.importorskip("pyspark", reason="needs pyspark: pip install 'tdtool[spark]'")
    file = RowsFile.written(planted(rng, weighted=False), tmp_path)
    elsewhere = tmp_path / "executor"
    elsewhere.mkdir()
    monkeypatch.setattr(pyspark.SparkFiles, "get", lambda name: str(elsewhere / name))
    Path(file.path).rename(elsewhere / "all of it")
    Path(elsewhere / Path(file.path).name).write_bytes((elsewhere / "all of it").read_bytes()[:-1])
    with pytest.raises(ClusterError, match="has not got the edges"):
        file.rows()
    (elsewhere / "all of it").rename(elsewhere / Path(file.path).name)
    assert file.rows().neighbours.size == file.n_ends


# ---- which graph executors have, and when they are asked


class Context:
    """As much of a SparkContext as is needed to decide. spread : the setting; slots : cores of the executors."""

    master = "spark://somewhere:7077"

    def __init__(self, spread: str, slots: int) -> None:
        self.defaultParallelism, self._spread, self.added = slots, spread, list[str]()

    def getConf(self) -> dict[str, str]:  # noqa: N802 -- as Spark calls it
        return {SPREAD: self._spread}

    def addFile(self, path: str) -> None:  # noqa: N802
        self.added.append(path)


def engine_of(spread: str = "auto", slots: int = 2) -> SparkEdges:
    context: Any = Context(spread, slots)
    return SparkEdges(context)


def test_cuts_of_cuts_come_from_the_first_graph(rng: np.random.Generator) -> None:
    graph = dataclasses.replace(planted(rng, weighted=True), engine=engine_of())
    nodes = np.setdiff1d(np.arange(69), [61, 62, 63])
    part = subgraph(graph, nodes)
    order = rng.permutation(66)
    near = reordered(part, order)
    for cut, expected in ((graph, None), (part, nodes), (near, nodes[order])):
        whole, found = _origin(cut)
        assert whole is graph
        np.testing.assert_array_equal(found, expected)


def test_other_weights_make_another_graph(rng: np.random.Generator) -> None:
    """What a cut was made from says nothing of a graph whose rows have been replaced since."""
    graph = dataclasses.replace(planted(rng, weighted=True), engine=engine_of())
    near = reordered(graph, rng.permutation(69))
    assert near.weights is not None
    for changed in (
        dataclasses.replace(near, weights=2 * near.weights),
        dataclasses.replace(near, weights=None),
        dataclasses.replace(near, neighbours=near.neighbours.copy()),
    ):
        assert _origin(changed)[0] is changed
        assert _origin(changed)[1] is None


def test_a_graph_is_sent_once(rng: np.random.Generator) -> None:
    context: Any = Context("always", 2)
    graph = planted(rng, weighted=False)
    with SparkEdges(context) as engine:
        first = engine.file_of(graph)
        assert engine.file_of(dataclasses.replace(graph, description="the same edges")) == first
        other = engine.file_of(dataclasses.replace(graph, neighbours=graph.neighbours.copy()))
        assert [first.path, other.path] == context.added
        assert Path(first.path).parent.stat().st_mode & 0o777 == 0o700
    assert not Path(first.path).exists()


def test_executors_are_asked_where_that_is_sooner() -> None:
    """Two threads here against eighty cores there: only much work on little data is worth it."""
    with threads.using(2):
        engine = engine_of(slots=80)
        assert engine.pays(seconds=1.0, n_bytes=1e6)
        assert not engine.pays(seconds=1.0, n_bytes=1e9)
        assert not engine.pays(seconds=0.1, n_bytes=0)
        assert not engine_of(slots=2).pays(seconds=100.0, n_bytes=0)
        assert engine_of("always", slots=2).pays(seconds=0.0, n_bytes=1e9)
        assert not engine_of("never", slots=80).pays(seconds=1e3, n_bytes=0)
    assert (engine.on_executors, engine.on_driver) == (1, 2)


def test_a_way_that_is_unknown() -> None:
    with pytest.raises(UsageError, match=r"spark\.tdtool\.spread is 'alway'"):
        engine_of("alway")


def test_a_graph_without_an_engine_is_looked_at_here(rng: np.random.Generator) -> None:
    graph = planted(rng, weighted=True)
    assert isinstance(graph.passes, Rows)
    assert isinstance(reordered(graph, rng.permutation(69)).passes, Rows)
    assert graph.passes.product(np.ones(69), np.dtype(np.float64)) is None
