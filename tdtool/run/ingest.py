"""From a source to a corpus file, or a graph file."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdtool import log
from tdtool.config import GraphConfig, IngestConfig, SparkConfig, as_json
from tdtool.data.corpus import Corpus
from tdtool.data.graph import read_graph
from tdtool.data.ledger import Ledger
from tdtool.data.parquet_folder import check_place
from tdtool.data.readers.image_sources import looks_like_images
from tdtool.run import corpus_on_spark
from tdtool.run.corpora import announce_compilation
from tdtool.run.corpus_on_spark import StoredCorpus
from tdtool.run.graph_cluster import GraphCluster
from tdtool.run.graph_on_spark import StoredGraph, store_by_executors
from tdtool.run.machine import available_cores, available_memory, default_memory
from tdtool.run.stores import (
    copy_corpus,
    copy_graph,
    corpus_to_parquet,
    graph_to_parquet,
    is_parquet_name,
    store_kind,
)

if TYPE_CHECKING:
    from tdtool.data.corpus_parquet import ParquetCorpus

_GRAPH_SUFFIXES = (".edges", ".edgelist", ".graphml", ".gml", ".metis")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


@dataclasses.dataclass(frozen=True)
class IngestResult:
    """What was read. description : the format that was found, in words."""

    path: Path | str
    description: str
    n_documents: int
    n_terms: int
    n_tokens: int
    ledger: Ledger
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


def ingest_corpus(
    source: str,
    output: Path | str,
    config: IngestConfig,
    *,
    workers: int | None = None,
    spark: SparkConfig | None = None,
    force: bool = False,
) -> IngestResult:
    """Read documents into a corpus file, or into a directory of Parquet files where `output` ends with .parquet.

    A store that was ingested before is written once more, the other way. workers : threads, None for the cores this
    process may use; spark : the cluster that reads the documents, None for this process (the store is the same).
    """
    start = time.perf_counter()
    announce_compilation()
    if spark is not None and store_kind(source) != "corpus":
        stored = corpus_on_spark.store_by_executors(source, str(output), config, spark, force=force)
    else:
        stored = StoredCorpus.of(_stored_corpus(source, output, config, workers or available_cores(), force))
    return IngestResult(
        path=output,
        description=stored.description,
        n_documents=stored.n_documents,
        n_terms=stored.n_terms,
        n_tokens=stored.n_tokens,
        ledger=stored.ledger,
        seconds=time.perf_counter() - start,
    )


def _stored_corpus(
    source: str, output: Path | str, config: IngestConfig, workers: int, force: bool
) -> Corpus | ParquetCorpus:
    """Write the store; it is opened."""
    from tdtool.data.ingest import ingest

    if store_kind(source) == "corpus":
        return copy_corpus(source, output, force=force)
    if not is_parquet_name(output):
        return ingest(source, Path(output), config, workers=workers, force=force)
    check_place(str(output), force)
    with tempfile.TemporaryDirectory(prefix="tdtool-") as scratch:
        path = Path(scratch) / "corpus.h5"
        ingest(source, path, config, workers=workers)
        return corpus_to_parquet(path, str(output), force=force, check=False)


@dataclasses.dataclass(frozen=True)
class GraphIngestResult:
    """A graph that was read. description, notes : what was found and done to it, in words."""

    path: Path | str
    description: str
    notes: tuple[str, ...]
    n_nodes: int
    n_edges: int
    n_isolated: int
    n_left: int | None
    weighted: bool
    ledger: Ledger
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


def ingest_graph(
    source: str,
    output: Path | str,
    config: GraphConfig,
    *,
    memory: int | None = None,
    spark: SparkConfig | None = None,
    force: bool = False,
) -> GraphIngestResult:
    """Read a graph into a graph file, or into a directory of Parquet files where `output` ends with .parquet.

    A store that was ingested before is written once more, the other way. memory : bytes that reading may take, None
    for what is free; spark : the cluster that reads it, None for this process (the store is the same).
    """
    start = time.perf_counter()
    announce_compilation()
    graph = _stored_graph(source, output, config, memory or available_memory() or default_memory(), spark, force)
    return _graph_result(graph, output, time.perf_counter() - start)


def _stored_graph(
    source: str, output: Path | str, config: GraphConfig, memory: int, spark: SparkConfig | None, force: bool
) -> StoredGraph:
    """Write the store; what is to be said of the graph in it."""
    from tdtool.data.graph_store import write_graph

    if config.format == "auto" and store_kind(source) == "graph":
        return StoredGraph.of(copy_graph(source, output, force=force))
    if is_parquet_name(output):
        check_place(str(output), force)
    attributes = {"argv": [Path(sys.argv[0]).name, *sys.argv[1:]], "config": as_json(config)}
    with GraphCluster(spark) as cluster:
        if spark is not None and (
            stored := store_by_executors(cluster, source, str(output), config, attributes, force=force)
        ):
            return stored
    with log.task(f"reading {source}"):
        graph = read_graph(source, config, memory=memory)
    if is_parquet_name(output):
        graph_to_parquet(graph, str(output), attributes, force=force)
    else:
        write_graph(graph, Path(output), force=force, attributes=attributes)
    return StoredGraph.of(graph)


def _graph_result(graph: StoredGraph, output: Path | str, seconds: float) -> GraphIngestResult:
    return GraphIngestResult(
        path=output,
        description=graph.description,
        notes=graph.notes,
        n_nodes=graph.n_nodes,
        n_edges=graph.n_edges,
        n_isolated=graph.n_isolated,
        n_left=graph.n_left,
        weighted=graph.weighted,
        ledger=graph.ledger,
        seconds=seconds,
    )


def kind_of(source: str) -> str:
    """What a source is when the user does not say: what a store holds, "graph" where its name leaves no doubt,
    "images" where most of its files are, else "corpus"."""
    if (stored := store_kind(source)) is not None:
        return stored
    name = Path(source).name.lower()
    name = next((name.removesuffix(end) for end in _COMPRESSED if name.endswith(end)), name)
    if name.endswith(_GRAPH_SUFFIXES) and not Path(source).is_dir():
        return "graph"
    return "images" if looks_like_images(source) else "corpus"
