"""Communities on a cluster: the same bits as on threads, wherever the edges are looked at and whoever dies."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tdtool.config import CommunitiesConfig, SparkConfig
from tdtool.data.graph import Graph
from tdtool.data.planted_graph import planted_disjoint
from tdtool.jobs import graph as on_spark
from tdtool.jobs.broadcasts import Parameters
from tdtool.jobs.graph import SPREAD, SparkEdges
from tdtool.jobs.graph_rows import Block, RowsFile
from tdtool.models.communities import CommunityFit, fit_communities
from tdtool.models.graph_parts import reordered
from tdtool.moments import graph_embedding
from tdtool.moments.graph_embedding import GraphEmbedding
from tdtool.run.communities import find_communities
from tdtool.store import hdf5

if TYPE_CHECKING:
    from pyspark import SparkContext

pytestmark = [pytest.mark.spark, pytest.mark.timeout(180)]
SIZES = (41, 83, 109, 230)


def planted(rng: np.random.Generator, *, weighted: bool = False, n_left: int | None = None) -> Graph:
    """Four groups, and a triangle apart that is too small to be divided."""
    n_nodes = sum(SIZES) + 3
    edges = planted_disjoint(SIZES, mean_degree=9, mixing=0.1, rng=rng).edges
    edges = np.concatenate([edges, [(n_nodes - 3, n_nodes - 2), (n_nodes - 2, n_nodes - 1)]])
    if n_left is not None:
        across = (edges[:, 0] < n_left) != (edges[:, 1] < n_left)
        edges = edges[across]
    weights = rng.integers(1, 17, len(edges)) / 4 if weighted else None
    return Graph.from_edges(edges, weights=weights, n_nodes=n_nodes, n_left=n_left)


def arrays_of(fit: CommunityFit) -> dict[str, Any]:
    found: dict[str, Any] = {field.name: getattr(fit, field.name) for field in dataclasses.fields(fit)}
    for name in ("cover", "mixture"):
        cover = found.pop(name)
        if cover is not None:
            found |= {f"{name}.{part}": getattr(cover, part) for part in ("indptr", "communities", "weights")}
    return found


def same_fit(found: CommunityFit, expected: CommunityFit) -> None:
    theirs, ours = arrays_of(found), arrays_of(expected)
    assert theirs.keys() == ours.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(theirs[name], value, err_msg=name)


def everything_on(context: SparkContext) -> SparkEdges:
    return SparkEdges(context, spread="always")


@pytest.fixture(autouse=True)
def few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two in a job: these graphs are small, and a task costs as much as many passes over them."""
    monkeypatch.setattr(on_spark, "_BLOCKS_A_SLOT", 1)


@pytest.fixture
def as_large_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanczos, single precision and another order of the nodes, as from 20,000 nodes on."""
    from tdtool.models import dense_communities

    monkeypatch.setattr(graph_embedding, "_DENSE_NODES", 50)
    monkeypatch.setattr(graph_embedding, "_BULK_NODES", 400)
    monkeypatch.setattr(dense_communities, "_BULK_NODES", 400)


@pytest.mark.usefixtures("as_large_graphs")
@pytest.mark.parametrize("weighted", [False, True])
def test_a_given_number(spark_local: SparkContext, rng: np.random.Generator, weighted: bool) -> None:
    graph, config = planted(rng, weighted=weighted), CommunitiesConfig(n_communities=5, polish=4)
    expected = fit_communities(graph, config)
    with everything_on(spark_local) as engine:
        same_fit(fit_communities(dataclasses.replace(graph, engine=engine), config), expected)
        assert engine.on_executors > 15
        assert engine.on_driver == 0
        assert len(engine._files) == 1


def test_a_number_that_is_chosen(spark_local: SparkContext, rng: np.random.Generator) -> None:
    graph, config = planted(rng, weighted=True), CommunitiesConfig(max_communities=4, polish=3, overlap=False)
    expected = fit_communities(graph, config)
    assert len(expected.trials) > 2
    with everything_on(spark_local) as engine:
        same_fit(fit_communities(dataclasses.replace(graph, engine=engine), config), expected)


def test_two_kinds_of_nodes(spark_local: SparkContext, rng: np.random.Generator) -> None:
    graph, config = planted(rng, n_left=200), CommunitiesConfig(n_communities=3, polish=3)
    expected = fit_communities(graph, config)
    with everything_on(spark_local) as engine:
        same_fit(fit_communities(dataclasses.replace(graph, engine=engine), config), expected)


def test_labels(spark_local: SparkContext, rng: np.random.Generator) -> None:
    graph, config = planted(rng, weighted=True), CommunitiesConfig(mode="sparse")
    expected = fit_communities(graph, config)
    assert expected.mode == "sparse"
    with everything_on(spark_local) as engine:
        same_fit(fit_communities(dataclasses.replace(graph, engine=engine), config), expected)
        assert engine.on_executors > 5


def test_results_that_come_in_several_jobs(
    spark_local: SparkContext, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_spark, "_MOST_COLLECTED", 3000)
    graph = reordered(planted(rng), rng.permutation(sum(SIZES) + 3))
    strengths, propensity = rng.gamma(1, 1, (graph.n_nodes, 3)).astype(np.float32), rng.uniform(0, 1, graph.n_nodes)
    expected = graph.passes.dense(strengths, 0.5, propensity)
    with everything_on(spark_local) as engine:
        found = dataclasses.replace(graph, engine=engine).passes.dense(strengths, 0.5, propensity)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_executor_is_killed(spark_cluster: SparkContext, rng: np.random.Generator) -> None:
    """A process of its own, between two passes: another one takes its place, and finds the edges."""
    graph = planted(rng, weighted=True)
    local = GraphEmbedding(graph)
    with everything_on(spark_cluster) as engine:
        far = dataclasses.replace(graph, engine=engine)
        product = far.passes.product(local._scale, np.dtype(np.float64))
        assert product is not None
        vector = here = rng.standard_normal(graph.n_nodes)
        for times in range(5):
            if times == 2:
                kill_an_executor(spark_cluster)
            vector, here = product(vector), local._matrix @ here
            np.testing.assert_array_equal(vector, here)


def test_executors_that_do_not_see_the_drivers_disk(
    spark_cluster: SparkContext, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They take the file that Spark has brought them: the path that they are told leads nowhere."""
    graph = planted(rng, weighted=True)
    written = RowsFile.written

    def sent(graph: Graph, folder: Path) -> RowsFile:
        file = written(graph, tmp_path)
        spark_cluster.addFile(file.path)
        return dataclasses.replace(file, path=str(tmp_path / "nowhere" / Path(file.path).name))

    monkeypatch.setattr(RowsFile, "written", sent)
    strengths, propensity = rng.gamma(1, 1, (graph.n_nodes, 3)).astype(np.float32), rng.uniform(0, 1, graph.n_nodes)
    expected = graph.passes.dense(strengths, 0.5, propensity)
    with everything_on(spark_cluster) as engine:
        found = dataclasses.replace(graph, engine=engine).passes.dense(strengths, 0.5, propensity)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def kill_an_executor(context: SparkContext) -> None:
    """The JVM above the process above a task's own."""

    def executor(_: int) -> int:
        return int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1])

    found = context.parallelize([0], 1).map(executor).collect()[0]
    assert b"CoarseGrainedExecutorBackend" in Path(f"/proc/{found}/cmdline").read_bytes()
    os.kill(found, signal.SIGKILL)


@pytest.mark.study
def test_a_worker_is_killed(
    spark_cluster: SparkContext, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The Python process of a task dies once, in the middle of a pass."""
    graph, config = planted(rng), CommunitiesConfig(n_communities=4, polish=3)
    expected = fit_communities(graph, config)
    look, died = on_spark._look, tmp_path / "died"

    def deadly_look(name: str, given: Parameters, block: Block) -> Any:
        if name == "dense" and block.first > 0 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return look(name, given, block)

    monkeypatch.setattr(on_spark, "_look", deadly_look)
    with everything_on(spark_cluster) as engine:
        same_fit(fit_communities(dataclasses.replace(graph, engine=engine), config), expected)
    assert died.exists()


@pytest.mark.usefixtures("no_spark")
def test_the_whole_run(rng: np.random.Generator, tmp_path: Path) -> None:
    """From an edge list to a file, with a second fit for held-out edges and a third from another seed."""
    graph = planted(rng)
    rows = np.repeat(np.arange(graph.n_nodes), graph.n_neighbours)
    edges = tmp_path / "edges.txt"
    np.savetxt(edges, np.column_stack((rows, graph.neighbours))[rows < graph.neighbours], "%d")
    config = CommunitiesConfig(n_communities=4, polish=2, overlap=False, holdout=0.1, stability=1)
    here, there = tmp_path / "here.h5", tmp_path / "there.h5"
    find_communities(str(edges), here, communities=config)
    find_communities(
        str(edges), there, communities=config, spark=SparkConfig("local[2]", settings=((SPREAD, "always"),))
    )
    with hdf5.open(here) as one, hdf5.open(there) as other:
        assert one.attributes["scores"] == other.attributes["scores"]
        assert one.attributes["content_digest"] == other.attributes["content_digest"]
