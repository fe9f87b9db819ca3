"""Graphs read by executors: the stores are those that one process writes, to the digest."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tdtool.cli import entry
from tdtool.config import GraphConfig, SparkConfig
from tdtool.data.graph import Graph, read_graph
from tdtool.data.graph_parquet_store import ParquetGraph
from tdtool.data.graph_store import open_graph, write_graph
from tdtool.data.readers.byte_ranges import cut_bytes
from tdtool.errors import InputError
from tdtool.jobs import graph_ingest
from tdtool.run import graph_on_spark
from tdtool.run.graph_cluster import GraphCluster
from tdtool.run.graphs import load_graph
from tdtool.store import hdf5
from tests.data.graph_by_parts import assert_same
from tests.data.graph_reading import MEMORY

if TYPE_CHECKING:
    from pyspark import SparkContext


@pytest.mark.parametrize(
    ("sizes", "most", "expected"),
    [
        ([], 10, []),
        ([3], 10, [range(1)]),
        ([3, 4, 5, 11, 1, 1], 10, [range(2), range(2, 3), range(3, 4), range(4, 6)]),
        ([20, 30], 10, [range(1), range(1, 2)]),
        ([5, 5, 1], 10, [range(2), range(2, 3)]),
    ],
)
def test_waves(sizes: list[int], most: int, expected: list[range]) -> None:
    assert list(graph_ingest.waves(sizes, most)) == expected


def digest(path: Path) -> str:
    with hdf5.open(path) as reader:
        return str(reader.attributes["content_digest"])


def planned(path: Path, config: GraphConfig, n_parts: int) -> graph_ingest.GraphPlan:
    """The plan for a small file, cut as a large one would be."""
    plan = graph_ingest.plan_graph(str(path), config)
    assert plan is not None
    if plan.kind == "parquet":
        return plan
    parts = [part for part in cut_bytes(plan.size, -(-plan.size // n_parts)) if part.stop > plan.splits.begin]
    parts[0] = parts[0]._replace(start=0)
    return dataclasses.replace(plan, splits=dataclasses.replace(plan.splits, parts=tuple(parts)))


def compare(context: SparkContext, path: Path, folder: Path, config: GraphConfig) -> Graph:
    """Both kinds of store, by executors and by this process."""
    whole = read_graph(str(path), config, memory=MEMORY)
    write_graph(whole, folder / "local.h5")
    plan = planned(path, config, 5)
    with graph_ingest.ingest_graph(context, plan, range_entries=997) as graph:
        assert (graph.n_nodes, graph.n_edges) == (whole.n_nodes, whole.n_edges)
        for name, parquet in (("spark.h5", False), ("spark.graph.parquet", True)):
            graph_ingest.write_graph_store(graph, str(folder / name), {"argv": ["x"]}, parquet=parquet)
    stored = open_graph(folder / "spark.h5")
    assert_same(stored, whole)
    assert stored.source == whole.source
    found = ParquetGraph.open(folder / "spark.graph.parquet")
    assert digest(folder / "spark.h5") == digest(folder / "local.h5") == found.attributes["content_digest"]
    assert_same(found.to_hdf5(folder / "copy.h5"), whole)
    return whole


def table(rng: np.random.Generator, kind: str) -> str:
    """Edges of a few hundred nodes, some of them in both directions, repeated, loops or of weight 0."""
    edges = rng.integers(0, 301, (4001, 2))
    edges = np.concatenate([edges, edges[:100, ::-1], edges[50:90]])
    weights = rng.integers(0, 50, len(edges)) / 7
    name = {"numbers": "%d", "words": "n%d", "weighted": "%d", "bipartite": "é%d"}[kind]
    lines = [f"{name % tail}\t{name % head}" for tail, head in edges.tolist()]
    if kind in ("weighted", "bipartite"):
        lines = [f"{line}\t{weight!r}" for line, weight in zip(lines, weights.tolist(), strict=True)]
    return "\n".join([*lines, "7\t"] if kind == "words" else lines) + "\n"


@pytest.mark.spark
@pytest.mark.parametrize("kind", ["numbers", "words", "weighted", "bipartite"])
def test_the_stores_are_the_same(
    spark_local: SparkContext, tmp_path: Path, rng: np.random.Generator, kind: str
) -> None:
    path = tmp_path / "x.tsv"
    path.write_text(table(rng, kind), encoding="utf-8")
    whole = compare(spark_local, path, tmp_path, GraphConfig(bipartite=kind == "bipartite"))
    assert (whole.weights is None) == (kind in ("numbers", "words"))


@pytest.mark.spark
def test_parquet_tables(spark_local: SparkContext, tmp_path: Path, rng: np.random.Generator) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ends = rng.integers(0, 97, (2, 1500))
    columns = {"source": ends[0], "target": ends[1], "weight": rng.random(1500)}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet", row_group_size=211)
    compare(spark_local, tmp_path / "x.parquet", tmp_path, GraphConfig())


@pytest.mark.spark
def test_the_first_wrong_line_is_told(spark_local: SparkContext, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    lines = [f"n{i},n{i + 1},1" for i in range(500)]
    lines[333], lines[480] = "n1,n2", "n1"
    path.write_text("source,target,weight\n" + "\n".join(lines))
    plan = planned(path, GraphConfig(), 7)
    with pytest.raises(InputError) as caught, graph_ingest.ingest_graph(spark_local, plan):
        pass
    with pytest.raises(InputError) as local:
        read_graph(str(path), GraphConfig(), memory=MEMORY)
    assert str(caught.value) == str(local.value)
    assert caught.value.line == 335


def test_parts_are_for_the_cores_and_for_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.edges"
    path.write_text("1 2\n" * 1000)
    monkeypatch.setattr(graph_ingest, "_SMALLEST_SPLIT", 100)
    monkeypatch.setattr(graph_ingest, "_LARGEST_SPLIT", 500)
    for slots, n_parts in ((1, 8), (5, 16), (1000, 40)):
        plan = graph_ingest.plan_graph(str(path), GraphConfig(), slots)
        assert plan is not None
        assert len(plan.splits.parts) == n_parts


def test_what_is_read_at_once_has_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "x.gml"
    path.write_text("graph [ node [ id 1 ] node [ id 2 ] edge [ source 1 target 2 ] ]")
    for source in (str(path), "-", str(tmp_path), str(tmp_path / "nothing")):
        assert graph_ingest.plan_graph(source, GraphConfig()) is None


@pytest.mark.spark
@pytest.mark.usefixtures("no_spark")
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text("from,to,weight\nann,bob,2\nbob,cy,0.5\nbob,bob,1\ncy,,1\n")
    told = []
    for name, more in (("one.graph.parquet", ["--master", "local[2]"]), ("two.graph.parquet", [])):
        assert entry.run(["ingest", "x.csv", "--as", "graph", "-o", name, "--json", *more]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert {**told[0], "path": 0, "seconds": 0} == {**told[1], "path": 0, "seconds": 0}
    one, two = (ParquetGraph.open(name).attributes for name in ("one.graph.parquet", "two.graph.parquet"))
    assert {**one, "argv": 0} == {**two, "argv": 0}


class Borrowed(GraphCluster):
    """A cluster whose context is that of the tests."""

    def __init__(self, context: SparkContext) -> None:
        super().__init__(SparkConfig("local[2]"))
        self.borrowed = context

    def context(self, data_bytes: int) -> SparkContext:
        return self.borrowed


@pytest.mark.spark
def test_commands_reach_it(
    spark_local: SparkContext, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, output, config = tmp_path / "x.tsv", tmp_path / "x.h5", GraphConfig()
    path.write_text(table(rng, "words"))
    whole = read_graph(str(path), config, memory=MEMORY)
    cluster = Borrowed(spark_local)
    stored = graph_on_spark.store_by_executors(cluster, str(path), str(output), config, {"a": 1}, force=False)
    assert stored == graph_on_spark.StoredGraph.of(whole)
    assert_same(open_graph(output), whole)
    monkeypatch.setattr(graph_on_spark, "_LARGE", path.stat().st_size + 1)
    assert graph_on_spark.read_by_executors(cluster, str(path), config) is None
    monkeypatch.setattr(graph_on_spark, "_LARGE", path.stat().st_size)
    graph = load_graph(str(path), config, memory=0, cluster=cluster)  # this process could not even hold an edge
    assert_same(graph, whole)
    assert (graph.path, graph.source) == (whole.path, whole.source)


def test_what_this_process_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.gml"
    path.write_text("graph [ node [ id 1 ] node [ id 2 ] edge [ source 1 target 2 ] ]")
    cluster = GraphCluster(SparkConfig("local[2]"))  # starts nothing
    config = GraphConfig()
    assert (
        graph_on_spark.store_by_executors(cluster, str(path), str(tmp_path / "x.h5"), config, {}, force=False) is None
    )
    monkeypatch.setattr(graph_on_spark, "_LARGE", 1)
    assert load_graph(str(path), config, memory=MEMORY, cluster=cluster).n_edges == 1
    assert graph_on_spark.read_by_executors(GraphCluster(None), str(path), config) is None


@pytest.mark.study
@pytest.mark.spark
def test_executors_of_their_own(spark_cluster: SparkContext, tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "x.tsv"
    path.write_text(table(rng, "weighted"))
    compare(spark_cluster, path, tmp_path, GraphConfig())
    manifest = json.loads((tmp_path / "spark.graph.parquet" / "graph.json").read_text())
    assert manifest["attributes"]["argv"] == ["x"]
