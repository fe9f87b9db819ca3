"""`tdtool ingest --moments --as graph`: a graph as its moments, from which communities are found without its edges."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from tdtool import log
from tdtool.config import CommunitiesConfig, GraphConfig, MomentsConfig, SparkConfig, as_json
from tdtool.data.graph import Graph
from tdtool.data.ledger import Ledger
from tdtool.data.provenance import record_provenance
from tdtool.errors import InputError
from tdtool.models.communities import of_mean_weight_one
from tdtool.models.graph_parts import Components, find_components, parts_among, subgraph
from tdtool.models.moment_communities import GraphMoments, NodeFacts
from tdtool.models.overlap_em import fit_propensity
from tdtool.moments.graph_embedding import GraphEmbedding
from tdtool.moments.packed_triples import weighted_cubes
from tdtool.run.communities import in_words
from tdtool.run.corpora import announce_compilation
from tdtool.run.graph_cluster import GraphCluster
from tdtool.run.graphs import check_graph, isolated_text, load_graph, shape_warnings
from tdtool.run.machine import available_memory, total_memory
from tdtool.run.moments import LARGEST_TENSOR, ledger_of, number_of
from tdtool.run.outputs import check_outputs
from tdtool.run.threads import limited
from tdtool.store import hdf5, schema
from tdtool.store.content import check_content

#: Larger arrays of coordinates are kept in single precision.
_LARGE_BYTES = 1 << 28


@dataclasses.dataclass(frozen=True)
class GraphMomentsResult:
    """Moments that were collected. rank : communities that they can tell apart; description : of the graph."""

    path: Path
    description: str
    n_nodes: int
    n_edges: int
    rank: int
    ledger: Ledger
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


@dataclasses.dataclass(frozen=True)
class StoredGraphMoments:
    """What a file holds of a graph. degrees : (n,) sums of weights as they were read; rank : what was asked for."""

    moments: GraphMoments
    names: list[str]
    degrees: np.ndarray
    rank: int
    n_edges: int
    description: str
    warnings: tuple[str, ...]
    ledger: Ledger
    attributes: dict[str, Any]


def ingest_graph_moments(
    source: str,
    output: Path,
    *,
    graph: GraphConfig,
    moments: MomentsConfig,
    workers: int | None = None,
    memory: int | None = None,
    spark: SparkConfig | None = None,
    force: bool = False,
) -> GraphMomentsResult:
    """Collect the moments of the graph in `source` and write them to `output`. Arguments as of `find_communities`.

    moments.rank : communities in all, small components too, that can be asked for later.
    """
    started = time.perf_counter()
    check_outputs([source], output, (), force=force)
    with in_words(source), limited(workers), GraphCluster(spark) as cluster:
        announce_compilation()
        free = memory or available_memory() or total_memory()
        network = load_graph(source, graph, memory=free, cluster=cluster)
        check_graph(network, CommunitiesConfig(), source)
        if alone := isolated_text(network):
            log.note(alone)
        found = collect_graph_moments(cluster.carried(network), moments)
    with log.task("writing"), hdf5.create(output, schema.GRAPH_MOMENTS, force=force) as writer:
        _write(writer, network, found)
        for name, value in _attributes(network, moments).items():
            writer.attribute(name, value)
        record_provenance(
            writer,
            config={"graph": as_json(graph), "moments": as_json(moments)},
            seed=moments.seed,
            ledger=network.ledger,
            source=network.source,
            seconds={"total": time.perf_counter() - started},
        )
    return GraphMomentsResult(
        path=output,
        description=network.description,
        n_nodes=network.n_nodes,
        n_edges=network.n_edges,
        rank=min(moments.rank, found.most_communities),
        ledger=network.ledger,
        seconds=time.perf_counter() - started,
    )


def collect_graph_moments(graph: Graph, config: MomentsConfig) -> GraphMoments:
    """Embedding, node weights and 3-stars of the components that are fitted. graph : with edges."""
    normal = of_mean_weight_one(graph)
    components = find_components(graph)
    parts = parts_among(components, int(np.count_nonzero(graph.n_neighbours)))
    rank = min(config.rank, len(parts.large))
    points, weights, eigenvalues = np.full((graph.n_nodes, rank), np.nan), np.zeros(graph.n_nodes), np.zeros(0)
    tensor = None
    if rank:
        with log.task("embedding"):
            embedding = GraphEmbedding(subgraph(normal, parts.large), tau=config.tau)
            fitted, eigenvalues = embedding.points(rank), embedding.eigenvalues(rank)
        points[parts.large], weights[parts.large] = fitted, embedding.node_weights
        if rank <= LARGEST_TENSOR:
            with log.task("third moment tensor"):
                tensor = weighted_cubes(fitted, embedding.node_weights)
    nodes = NodeFacts(normal.degrees, graph.n_left)
    return GraphMoments(nodes, fit_propensity(normal), components, points, weights, eigenvalues, tensor)


def read_graph_moments(path: Path) -> StoredGraphMoments:
    """The moments in a file of `tdtool ingest --moments --as graph`. InputError: another file, or a damaged one."""
    with hdf5.open(path) as reader:
        reader.require(schema.GRAPH_MOMENTS.name)
        for finding in check_content(reader):
            raise InputError(f"{finding.where} {finding.what}", path=path, hint="run: tdtool verify")
        attributes, moments = reader.attributes, _moments(reader)
        if not np.array_equal(moments.parts.large, np.flatnonzero(moments.weights > 0)):
            raise InputError("its coordinates are not those of its large components", path=path, hint="make it again")
        warnings = attributes.get("warnings")
        return StoredGraphMoments(
            moments=moments,
            names=reader.get("nodes/name"),
            degrees=reader.get("nodes/degree").astype(np.float64),
            rank=int(number_of(reader, "rank", least=1)),
            n_edges=int(number_of(reader, "n_edges", least=1)),
            description=str(attributes.get("graph", "")),
            warnings=tuple(map(str, warnings)) if isinstance(warnings, list) else (),
            ledger=ledger_of(reader),
            attributes=attributes,
        )


def _moments(reader: hdf5.Reader) -> GraphMoments:
    sides = reader.get("nodes/side") if "nodes/side" in reader else None
    left = None if sides is None else int(np.count_nonzero(sides == 0))
    labels = reader.get("nodes/component").astype(np.int64)
    unit = number_of(reader, "mean_weight", least=np.finfo(float).tiny)
    return GraphMoments(
        nodes=NodeFacts(reader.get("nodes/degree").astype(np.float64) / unit, left),
        propensity=reader.get("nodes/propensity").astype(np.float64),
        components=Components(labels, np.bincount(labels, minlength=1)),
        points=reader.get("embedding/point"),
        weights=reader.get("embedding/weight").astype(np.float64),
        eigenvalues=reader.get("embedding/eigenvalue").astype(np.float64),
        tensor=reader.get("third/tensor").astype(np.float64) if "third/tensor" in reader else None,
    )


def _write(writer: hdf5.Writer, graph: Graph, found: GraphMoments) -> None:
    points = found.points
    writer.put("embedding/point", points.astype(np.float32) if points.nbytes > _LARGE_BYTES else points)
    writer.put("embedding/weight", found.weights)
    writer.put("embedding/eigenvalue", found.eigenvalues)
    if found.tensor is not None:
        writer.put("third/tensor", found.tensor)
    writer.put("nodes/name", graph.names())
    writer.put("nodes/degree", graph.degrees)
    writer.put("nodes/propensity", found.propensity)
    writer.put("nodes/component", found.components.labels)
    if graph.n_left is not None:
        writer.put("nodes/side", (np.arange(graph.n_nodes) >= graph.n_left).astype(np.uint8))


def _attributes(graph: Graph, config: MomentsConfig) -> dict[str, Any]:
    mean = 1.0 if graph.weights is None else float(graph.weights.mean(dtype=np.float64))
    facts = {"graph": graph.description, "n_edges": graph.n_edges, "rank": config.rank, "mean_weight": mean}
    return {**facts, "warnings": list(shape_warnings(graph))}
