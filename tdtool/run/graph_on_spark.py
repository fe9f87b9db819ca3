"""A file of edges read by the executors of a cluster: into a store, or for a run that looks at it."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tdtool import log
from tdtool.config import GraphConfig
from tdtool.data.graph import Graph
from tdtool.data.graph_store import open_graph
from tdtool.data.ledger import Ledger
from tdtool.data.readers import places
from tdtool.run.stores import is_parquet_name

if TYPE_CHECKING:
    from tdtool.jobs.graph_ingest import GraphPlan
    from tdtool.run.graph_cluster import GraphCluster

#: Bytes of a file from which on executors read it for a run whose model stays on the driver.
_LARGE = 1 << 28


@dataclasses.dataclass(frozen=True)
class StoredGraph:
    """What is said of a graph that was stored; see data.graph.Graph."""

    n_nodes: int
    n_edges: int
    n_isolated: int
    n_left: int | None
    weighted: bool
    description: str
    notes: tuple[str, ...]
    ledger: Ledger

    @classmethod
    def of(cls, graph: Graph) -> StoredGraph:
        """The facts of a graph that is here."""
        return cls(
            n_nodes=graph.n_nodes,
            n_edges=graph.n_edges,
            n_isolated=int(np.count_nonzero(graph.n_neighbours == 0)),
            n_left=graph.n_left,
            weighted=graph.weights is not None,
            description=graph.description,
            notes=graph.notes,
            ledger=graph.ledger,
        )


def store_by_executors(
    cluster: GraphCluster, source: str, output: str, config: GraphConfig, attributes: dict[str, Any], *, force: bool
) -> StoredGraph | None:
    """Read a graph into a store, HDF5 or Parquet as its name says; None where this process has to read it.

    attributes : more to say of it. Errors as of `read_graph`.
    """
    plan = _plan(source, config)
    if plan is None:
        log.note(f"{source}: what it is cannot be read in parts, so this process reads it")
        return None
    return _stored(cluster, plan, source, output, attributes, force=force)


def read_by_executors(cluster: GraphCluster, source: str, config: GraphConfig) -> Graph | None:
    """A large graph, in a scratch file that is mapped into memory and goes with the graph; None where this process has
    to read it, or does so sooner. Errors as of `read_graph`."""
    if cluster.spark is None or source == "-" or not places.is_file(source) or (places.size(source) or 0) < _LARGE:
        return None
    plan = _plan(source, config)
    if plan is None:
        return None
    with tempfile.TemporaryDirectory(prefix="tdtool-") as scratch:
        path = Path(scratch) / "graph.h5"
        _stored(cluster, plan, source, str(path), {}, force=False)
        graph = open_graph(path, check=False)
    return dataclasses.replace(graph, path=Path(source))


def _plan(source: str, config: GraphConfig) -> GraphPlan | None:
    from tdtool.jobs.graph_ingest import plan_graph

    return plan_graph(source, config)


def _stored(
    cluster: GraphCluster, plan: GraphPlan, source: str, output: str, attributes: dict[str, Any], *, force: bool
) -> StoredGraph:
    from tdtool.jobs.graph_ingest import ingest_graph, plan_graph, write_graph_store

    context = cluster.context(plan.size)
    plan = plan_graph(source, plan.config, context.defaultParallelism) or plan
    with ingest_graph(context, plan) as graph:
        write_graph_store(graph, output, attributes, parquet=is_parquet_name(output), force=force)
        return StoredGraph(
            n_nodes=graph.n_nodes,
            n_edges=graph.n_edges,
            n_isolated=int(np.count_nonzero(np.diff(graph.indptr) == 0)),
            n_left=graph.n_left,
            weighted=graph.weighted,
            description=graph.description,
            notes=graph.notes,
            ledger=graph.ledger,
        )
