"""From a source to a corpus file, or a graph file."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tdtool import log
from tdtool.config import GraphConfig, IngestConfig, as_json
from tdtool.data.graph import Graph, read_graph
from tdtool.data.ledger import Ledger
from tdtool.run.corpora import announce_compilation
from tdtool.run.machine import available_cores, available_memory, default_memory

_GRAPH_SUFFIXES = (".edges", ".edgelist", ".graphml", ".gml", ".metis")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


@dataclasses.dataclass(frozen=True)
class IngestResult:
    """What was read. description : the format that was found, in words."""

    path: Path
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
    source: str, output: Path, config: IngestConfig, *, workers: int | None = None, force: bool = False
) -> IngestResult:
    """Read documents into a corpus file. workers : threads, None for the cores this process may use."""
    from tdtool.data.ingest import ingest

    start = time.perf_counter()
    announce_compilation()
    corpus = ingest(source, output, config, workers=workers or available_cores(), force=force)
    return IngestResult(
        path=output,
        description=str(corpus.attributes.get("source", {}).get("description", "")),
        n_documents=corpus.n_documents,
        n_terms=corpus.n_terms,
        n_tokens=int(np.sum(corpus.counts, dtype=np.int64)),
        ledger=corpus.ledger,
        seconds=time.perf_counter() - start,
    )


@dataclasses.dataclass(frozen=True)
class GraphIngestResult:
    """A graph that was read. description, notes : what was found and done to it, in words."""

    path: Path
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
    source: str, output: Path, config: GraphConfig, *, memory: int | None = None, force: bool = False
) -> GraphIngestResult:
    """Read a graph into a graph file. memory : bytes that reading may take, None for what is free."""
    from tdtool.data.graph_store import write_graph

    start = time.perf_counter()
    announce_compilation()
    with log.task(f"reading {source}"):
        graph = read_graph(source, config, memory=memory or available_memory() or default_memory())
    attributes = {"argv": [Path(sys.argv[0]).name, *sys.argv[1:]], "config": as_json(config)}
    write_graph(graph, output, force=force, attributes=attributes)
    return _graph_result(graph, output, time.perf_counter() - start)


def _graph_result(graph: Graph, output: Path, seconds: float) -> GraphIngestResult:
    return GraphIngestResult(
        path=output,
        description=graph.description,
        notes=graph.notes,
        n_nodes=graph.n_nodes,
        n_edges=graph.n_edges,
        n_isolated=int(np.count_nonzero(graph.n_neighbours == 0)),
        n_left=graph.n_left,
        weighted=graph.weights is not None,
        ledger=graph.ledger,
        seconds=seconds,
    )


def kind_of(source: str) -> str:
    """What a source is when the user does not say: "graph" where its name leaves no doubt, else "corpus"."""
    name = Path(source).name.lower()
    name = next((name.removesuffix(end) for end in _COMPRESSED if name.endswith(end)), name)
    is_graph = name.endswith(_GRAPH_SUFFIXES) and not Path(source).is_dir()
    return "graph" if is_graph else "corpus"
