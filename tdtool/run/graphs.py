"""A graph from a file, held against what can be found in it, with the user's words where nothing can."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tdtool import log
from tdtool.config import CommunitiesConfig, GraphConfig
from tdtool.data.graph import Graph, read_graph
from tdtool.errors import InputError, UsageError
from tdtool.run.corpora import is_parquet
from tdtool.run.graph_on_spark import read_by_executors
from tdtool.run.stores import read_stored_graph

if TYPE_CHECKING:
    from tdtool.run.graph_cluster import GraphCluster

_NAMED = 3  # nodes that a message gives by name
_SHOWN = 60  # characters of a name
_FEW_LINKS = 2.0  # a node; fewer make a graph of trees
#: How communities can be sought.
MODES = ("auto", "dense", "sparse")


def load_graph(source: str, config: GraphConfig, *, memory: int, cluster: GraphCluster | None = None) -> Graph:
    """Read a graph and say what it is. Errors as of `read_graph`.

    memory : bytes that it may take; cluster : reads large files of edges, None: this process reads all.
    """
    graph = None if cluster is None else read_by_executors(cluster, source, config)
    if graph is None:
        with log.task(f"reading {source}"):
            stored = is_parquet(source) and config.format == "auto"
            graph = read_stored_graph(source) if stored else read_graph(source, config, memory=memory)
    for line in (graph.description, *graph.notes):
        log.note(line)
    return graph


def check_options(config: CommunitiesConfig) -> None:
    """UsageError for settings that contradict each other, whatever the graph is."""
    if config.mode not in MODES:
        raise UsageError(f"there is no mode {config.mode!r}", hint=f"known are {', '.join(MODES)}")
    for name, value, least in (
        ("-k", config.n_communities, 1),
        ("--max-communities", config.max_communities, 1),
        ("--polish", config.polish, 0),
        ("--stability", config.stability, 0),
        ("--alpha0", config.alpha0, 0.0),
        ("--tau", config.tau, 0.0),
    ):
        if value is not None and not least <= value < float("inf"):
            finite = ", and finite" if value != value or value == float("inf") else ""
            raise UsageError(f"{name} is {value}; it must be at least {least:g}{finite}")
    if not 0 <= config.holdout <= 0.5:
        raise UsageError(f"--holdout is {config.holdout}; it is a share of the edges, at most 0.5")
    if config.n_communities is not None and config.max_communities is not None:
        raise UsageError("--max-communities is for -k auto", hint="leave one of them out")


def check_graph(graph: Graph, config: CommunitiesConfig, source: str) -> None:
    """InputError when the graph is too small for any community, or for as many as were asked for."""
    if graph.n_edges == 0:
        nodes = "a single node" if graph.n_nodes == 1 else f"{graph.n_nodes:,} nodes"
        hint = "communities are found by links between different nodes"
        raise InputError(f"the graph has {nodes} and no edges", path=source, hint=hint)
    if only_pairs(graph):
        one = "its only edge links two nodes"
        what = one if graph.n_edges == 1 else f"its {graph.n_edges:,} edges link nodes in pairs only"
        raise InputError(what, path=source, hint="a community has at least three nodes")
    k, most = config.n_communities, graph.n_nodes
    if k is not None and k > most:
        hint = f"there can be at most {most:,} communities; -k auto chooses"
        raise InputError(f"-k is {k:,}, and the graph has {most:,} nodes", path=source, hint=hint)


def only_pairs(graph: Graph) -> bool:
    """Whether no node has two neighbours, so that no three nodes are linked."""
    return int(graph.n_neighbours.max(initial=0)) < 2


def isolated_text(graph: Graph) -> str:
    """Nodes without edges, how many and the first by name; "" when there are none."""
    alone = np.flatnonzero(graph.n_neighbours == 0)
    if not alone.size:
        return ""
    first = ", ".join(graph.name(int(u))[:_SHOWN] for u in alone[:_NAMED])
    nodes = "1 node has" if alone.size == 1 else f"{alone.size:,} nodes have"
    return f"{nodes} no edges and {'is' if alone.size == 1 else 'are'} in no community (first: {first})"


def shape_warnings(graph: Graph) -> tuple[str, ...]:
    """What the graph is like that makes its communities doubtful: few edges, all edges, a star."""
    linked = int(np.count_nonzero(graph.n_neighbours))
    centre = int(graph.n_neighbours.max(initial=0))
    if graph.n_left is None and graph.n_edges == linked * (linked - 1) // 2:
        if linked > 2:
            return ("every node is linked to every other: nothing tells one group from another",)
    elif graph.n_edges == centre == linked - 1:
        hub = graph.name(int(np.argmax(graph.n_neighbours)))[:_SHOWN]
        return (f"the graph is a star around {hub}: the others are linked to nothing else",)
    mean = 2 * graph.n_edges / max(linked, 1)
    if mean < _FEW_LINKS:
        return (f"few edges: {mean:.2g} a node; groups are hard to tell from chance below {_FEW_LINKS:g}",)
    return ()
