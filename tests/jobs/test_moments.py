"""Moments that executors collect are those of this process, to the bit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tdtool.config import GraphConfig, IngestConfig, MomentsConfig, SparkConfig
from tdtool.data.planted import planted_stream, write_lines
from tdtool.jobs import graph as on_spark
from tdtool.jobs import session
from tdtool.run.graph_moments import ingest_graph_moments
from tdtool.run.ingest import ingest_corpus
from tdtool.run.moments import ingest_moments
from tdtool.run.topics_of_moments import topics_of_moments
from tdtool.store import hdf5
from tests.jobs.conftest import LOCAL

if TYPE_CHECKING:
    from pyspark import SparkContext

pytestmark = [pytest.mark.spark, pytest.mark.timeout(180)]


@pytest.fixture
def running(spark_local: SparkContext, monkeypatch: pytest.MonkeyPatch) -> SparkConfig:
    """A configuration whose context runs already: a process has one at a time."""

    @contextlib.contextmanager
    def handed_out(config: SparkConfig, **settings: Any) -> Iterator[SparkContext]:
        yield spark_local

    monkeypatch.setattr(session, "spark_context", handed_out)
    return LOCAL


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """2,600 documents of 5 topics, in several partitions."""
    folder = tmp_path_factory.mktemp("documents")
    with (folder / "planted.txt").open("wb") as file:
        write_lines(planted_stream(2600, 400, 5, mean_length=50.0, seed=4), file)
    path = ingest_corpus(str(folder / "planted.txt"), folder / "planted.corpus.h5", IngestConfig(), workers=1).path
    with hdf5.open(Path(path)) as reader:
        assert reader.shape("partitions/digest")[0] > 3
    return str(path)


def digest(path: Path) -> str:
    with hdf5.open(path) as reader:
        return str(reader.attributes["content_digest"])


@pytest.mark.parametrize("m3", ["dense", "sketch"])
def test_moments_of_documents(running: SparkConfig, store: str, tmp_path: Path, m3: Any) -> None:
    config = MomentsConfig(7, m3=m3, alpha0=0.6, seed=3)
    there, here = (
        ingest_moments(store, tmp_path / f"{i}.h5", ingest=IngestConfig(), moments=config, workers=2, spark=spark)
        for i, spark in enumerate((running, None))
    )
    assert there.rank == here.rank == 7
    assert digest(there.path) == digest(here.path)
    topics = [topics_of_moments(result.path, tmp_path / f"t{i}.h5") for i, result in enumerate((there, here))]
    assert digest(topics[0].path) == digest(topics[1].path)


def test_moments_of_edges(
    running: SparkConfig, sample_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[int]()
    multiplied = on_spark.SparkEdges.passes

    def counted(self: on_spark.SparkEdges, graph: Any) -> Any:
        asked.append(graph.n_nodes)
        return multiplied(self, graph)

    monkeypatch.setattr(on_spark.SparkEdges, "passes", counted)
    there, here = (
        ingest_graph_moments(
            str(sample_data / "graph.edges"),
            tmp_path / f"{i}.h5",
            graph=GraphConfig(),
            moments=MomentsConfig(7),
            workers=2,
            spark=spark,
        )
        for i, spark in enumerate((running, None))
    )
    assert there.n_nodes in asked  # the cluster was there for it
    assert digest(there.path) == digest(here.path)
