"""`tdtool communities`: from a graph to a file of overlapping communities."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tdtool import log
from tdtool.config import CommunitiesConfig, GraphConfig, SparkConfig, as_json
from tdtool.data.edge_passes_gpu import gpu_of, on_gpu
from tdtool.data.graph import Graph
from tdtool.data.ledger import Ledger
from tdtool.data.provenance import record_provenance
from tdtool.errors import InputError, ResourceError
from tdtool.kernels.device_gpu import Gpu
from tdtool.models.communities import CommunityFit, chosen_mode
from tdtool.models.graph_parts import Components, find_components
from tdtool.run.communities_plan import CommunitiesPlan, check_memory, plan_of
from tdtool.run.community_facts import CommunityFacts
from tdtool.run.community_fit import FoundCommunities, find_and_score
from tdtool.run.corpora import announce_compilation
from tdtool.run.graph_cluster import GraphCluster
from tdtool.run.graphs import (
    check_graph,
    check_options,
    isolated_text,
    load_graph,
    shape_warnings,
)
from tdtool.run.machine import available_cores, available_memory, total_memory
from tdtool.run.outputs import check_outputs
from tdtool.run.threads import limited
from tdtool.store import hdf5, schema
from tdtool.store.exports import export_all

_SMALLER = "what takes less: --mode sparse, fewer communities by -k or --max-communities"
_LARGEST_EMBEDDING = 1 << 28  # bytes that are kept in a file
_BRIDGES = 100  # in --json


@dataclasses.dataclass(frozen=True)
class CommunitiesResult:
    """What a run found and where it is.

    n_edges, description : of the graph; components : its connected components; facts : the communities, for tables;
    warnings : what to know before trusting them.
    """

    path: Path | str
    found: FoundCommunities
    facts: CommunityFacts
    components: Components
    n_edges: int
    n_isolated: int
    description: str
    warnings: tuple[str, ...]
    ledger: Ledger
    seconds: dict[str, float]

    @property
    def fit(self) -> CommunityFit:
        """Memberships, strengths and how they were chosen."""
        return self.found.fit

    @property
    def scores(self) -> dict[str, Any]:
        """Numbers by name."""
        return self.found.scores

    def selection(self) -> list[dict[str, Any]]:
        """What -k auto tried; [] when the number was given."""
        return [dataclasses.asdict(trial) for trial in self.fit.trials]

    def as_dict(self, n_top: int = 10) -> dict[str, Any]:
        """The result as plain JSON values. n_top : members of each community."""
        fit = self.fit
        return {
            "path": str(self.path),
            "graph": self.description,
            "n_edges": self.n_edges,
            "n_isolated": self.n_isolated,
            "n_components": self.components.sizes.size,
            "largest_component": int(self.components.sizes[0]),
            "mode": fit.mode,
            **self.facts.counts(),
            "communities": self.facts.communities(n_top),
            "bridges": self.facts.bridges(_BRIDGES),
            "ties": self.facts.ties(),
            "scores": self.scores,
            "selection": self.selection(),
            "chosen": fit.chosen,
            "reason": fit.reason,
            "warnings": self.warnings,
            "ledger": self.ledger.as_dict(),
            "seconds": self.seconds,
        }


def find_communities(
    source: str,
    output: Path,
    *,
    graph: GraphConfig | None = None,
    communities: CommunitiesConfig | None = None,
    workers: int | None = None,
    memory: int | None = None,
    spark: SparkConfig | None = None,
    gpu: Gpu | None = None,
    force: bool = False,
    exports: Sequence[str] = (),
) -> CommunitiesResult:
    """Find the communities of the graph in `source` and write them to `output` (and to `exports`, format by suffix).

    source : a path, or "-" for standard input; workers : threads, default all cores (the result does not depend on
    them); memory : bytes that the arrays may take, default what is free; spark : the cluster that looks at the edges,
    None for this process (the result does not depend on it either); gpu : looks at the edges where there is no cluster
    (the result is the same but for rounding). The memberships come from all edges; with
    communities.holdout a second fit, which has not seen some of them, gives the AUC. UsageError, InputError,
    ResourceError say what cannot be.
    """
    started = time.perf_counter()
    config = communities or CommunitiesConfig()
    check_options(config)
    check_outputs([source], output, exports, force=force, graph=True)
    with in_words(source), limited(workers), GraphCluster(spark) as cluster:
        announce_compilation()
        network = _read(source, graph or GraphConfig(), config, memory, cluster)
        read = time.perf_counter()
        check_memory(_plan(network, config, workers), _limit(memory), source)
        parts = find_components(network)
        carried = _carried(network, cluster, gpu)
        found = find_and_score(carried, config)
    seconds = {"read": read - started, "fit": time.perf_counter() - read}
    warnings = (*shape_warnings(network), *found.warnings)
    with log.task("writing"), hdf5.create(output, schema.COMMUNITIES, force=force) as writer:
        _write_arrays(writer, network, found, parts)
        _write_attributes(writer, network, found, warnings)
        record_provenance(
            writer,
            config={"graph": as_json(graph or GraphConfig()), "communities": as_json(config)},
            seed=config.seed,
            ledger=network.ledger,
            source=network.source,
            seconds=seconds,
            gpu=gpu_of(carried),
        )
    export_all(output, list(exports), force=force)
    return CommunitiesResult(
        path=output,
        found=found,
        facts=facts_of(network, found),
        components=parts,
        n_edges=network.n_edges,
        n_isolated=int(np.count_nonzero(network.n_neighbours == 0)),
        description=network.description,
        warnings=warnings,
        ledger=network.ledger,
        seconds={**seconds, "total": time.perf_counter() - started},
    )


def plan_communities(
    source: str,
    *,
    graph: GraphConfig | None = None,
    communities: CommunitiesConfig | None = None,
    workers: int | None = None,
    memory: int | None = None,
) -> CommunitiesPlan:
    """Read `source` and say what `find_communities` would take. Nothing is fitted or written."""
    config = communities or CommunitiesConfig()
    check_options(config)
    with in_words(source), limited(workers):
        return _plan(_read(source, graph or GraphConfig(), config, memory), config, workers)


def facts_of(graph: Graph, found: FoundCommunities) -> CommunityFacts:
    """The communities as tables tell them."""
    return CommunityFacts(
        cover=found.fit.cover,
        strengths=found.fit.strengths,
        degrees=graph.degrees,
        density=found.density,
        conductance=found.conductance,
        lambdas=found.fit.lambdas,
        stability=found.stability,
        link_probability=found.link_probability,
        name=graph.name,
        n_left=graph.n_left,
    )


@contextlib.contextmanager
def in_words(source: str) -> Iterator[None]:
    """What goes wrong below, as an error that says what to do."""
    from scipy.sparse.linalg import ArpackError

    try:
        yield
    except MemoryError as error:
        raise ResourceError("not enough memory for the communities", path=source, hint=_SMALLER) from error
    except (np.linalg.LinAlgError, ArpackError) as error:
        hint = "its weights may be of too different sizes; or take fewer communities"
        raise InputError(f"the communities could not be found: {error}", path=source, hint=hint) from error


def _carried(graph: Graph, cluster: GraphCluster, gpu: Gpu | None) -> Graph:
    """The graph with passes over its edges on the cluster, else on the GPU, if there is one of them."""
    if gpu is None or cluster.spark is not None:
        return cluster.carried(graph)
    return on_gpu(graph, gpu)


def _limit(memory: int | None) -> int:
    return memory or available_memory() or total_memory()


def _read(
    source: str,
    config: GraphConfig,
    settings: CommunitiesConfig,
    memory: int | None,
    cluster: GraphCluster | None = None,
) -> Graph:
    graph = load_graph(source, config, memory=_limit(memory), cluster=cluster)
    check_graph(graph, settings, source)
    alone = isolated_text(graph)
    if alone:
        log.note(alone)
    return graph


def _plan(graph: Graph, config: CommunitiesConfig, workers: int | None) -> CommunitiesPlan:
    return plan_of(graph, config, chosen_mode(graph, config), workers or available_cores())


def _write_arrays(writer: hdf5.Writer, graph: Graph, found: FoundCommunities, parts: Components) -> None:
    fit = found.fit
    write_cover(writer, fit)
    writer.put("communities/conductance", found.conductance)
    writer.put("communities/density", found.density)
    if found.stability is not None:
        writer.put("communities/stability", found.stability)
    if found.link_probability is not None:
        writer.put("communities/link_probability", found.link_probability)
    writer.put("nodes/name", graph.names())
    writer.put("nodes/degree", graph.degrees)
    writer.put("nodes/propensity", fit.propensity)
    writer.put("nodes/component", parts.labels)
    if graph.n_left is not None:
        writer.put("nodes/side", (np.arange(graph.n_nodes) >= graph.n_left).astype(np.uint8))
    write_embedding(writer, fit)
    writer.put("graph/indptr", graph.indptr)
    writer.put("graph/neighbours", graph.neighbours)
    if graph.weights is not None:
        writer.put("graph/weights", graph.weights)
    if fit.trials:
        for name in ("n_asked", "n_found", "gain", "cost", "objective"):
            writer.put(f"selection/{name}", np.array([getattr(trial, name) for trial in fit.trials]))


def write_cover(writer: hdf5.Writer, fit: CommunityFit) -> None:
    """Who belongs where."""
    writer.put("membership/indptr", fit.cover.indptr)
    writer.put("membership/community", fit.cover.communities)
    writer.put("membership/weight", fit.cover.weights)
    writer.put("membership/strength", fit.strengths)
    if fit.mixture is not None:
        writer.put("mixture/indptr", fit.mixture.indptr)
        writer.put("mixture/community", fit.mixture.communities)
        writer.put("mixture/share", fit.mixture.weights.astype(np.float32))
    writer.put("communities/size", fit.cover.sizes)
    writer.put("communities/lambda", fit.lambdas)


def write_embedding(writer: hdf5.Writer, fit: CommunityFit) -> None:
    """Where the nodes lie, if that is known and not too much."""
    if fit.embedding is None or fit.eigenvalues is None:
        return
    if fit.embedding.nbytes > _LARGEST_EMBEDDING:
        log.note(f"the embedding ({fit.embedding.nbytes / 1e6:,.0f} MB) is not kept in the file")
        return
    writer.put("embedding/vectors", fit.embedding)
    writer.put("embedding/eigenvalue", fit.eigenvalues)


def _write_attributes(writer: hdf5.Writer, graph: Graph, found: FoundCommunities, warnings: tuple[str, ...]) -> None:
    fit = found.fit
    facts = {
        "graph": graph.description,
        "n_edges": graph.n_edges,
        "mode": fit.mode,
        "background": fit.background,
        "reason": fit.reason,
        "scores": found.scores,
        "warnings": list(warnings),
    }
    if fit.chosen is not None:
        facts["chosen"] = fit.chosen
    for name, value in facts.items():
        writer.attribute(name, value)
