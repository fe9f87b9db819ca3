"""What finding communities will take: memory, which is checked before it starts, and time."""

from __future__ import annotations

import dataclasses
from typing import Any

from tdtool.config import CommunitiesConfig
from tdtool.data.graph import Graph
from tdtool.errors import ResourceError
from tdtool.models.community_choice import grid, most_communities

# Bytes measured in peaks of processes, on Linux.
_BASE_BYTES = 200 << 20  # the program and its compiled loops
_NODE_BYTES, _NODE_COMMUNITY_BYTES = 200, 56  # of a node; of a node and a community while it is fitted
_SUPPORT = 8  # communities that a node keeps in the sparse mode
# Seconds of one core at 2.6 GHz, rounded up.
_START_SECONDS = 2.0
_EDGE_SECONDS, _EDGE_COMMUNITY_SECONDS = 1e-6, 4e-9  # an edge; an edge and a community in one iteration
_REFINED = 6  # numbers tried between those of the grid
_EMBEDDING_SECONDS = 2e-8  # a node and a pair of communities

_OUT_OF_MEMORY = "what takes less: --mode sparse, fewer communities by -k or --max-communities"


@dataclasses.dataclass(frozen=True)
class CommunitiesPlan:
    """Sizes that are exact, and costs that are estimates.

    communities : the numbers that are tried first, none in sparse mode; mode : "dense" or "sparse"; graph_bytes : the
    graph itself; held_bytes : arrays at the peak; memory_bytes : the whole process.
    """

    n_nodes: int
    n_edges: int
    mode: str
    communities: tuple[int, ...]
    fits: int
    graph_bytes: int
    held_bytes: int
    memory_bytes: int
    seconds: float
    description: str

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return dataclasses.asdict(self)


def plan_of(graph: Graph, config: CommunitiesConfig, mode: str, workers: int) -> CommunitiesPlan:
    """Predict memory and time. mode : "dense" or "sparse", as the fit will choose."""
    sizes = planned_sizes(graph.n_nodes, config, mode)
    graph_bytes = graph.indptr.nbytes + graph.neighbours.nbytes + (0 if graph.weights is None else graph.weights.nbytes)
    widest = _SUPPORT if mode == "sparse" else max(sizes)
    held = graph_bytes + graph.n_nodes * (_NODE_BYTES + _NODE_COMMUNITY_BYTES * widest)
    further = (1 if config.holdout else 0) / max(len(sizes), 1) + config.stability
    fits = 1 + config.stability + (1 if config.holdout else 0)
    return CommunitiesPlan(
        n_nodes=graph.n_nodes,
        n_edges=graph.n_edges,
        mode=mode,
        communities=tuple(sizes),
        fits=fits,
        graph_bytes=graph_bytes,
        held_bytes=held,
        memory_bytes=_BASE_BYTES + held,
        seconds=_START_SECONDS + (1 + further) * _fit_seconds(graph, sizes, mode, config) / workers,
        description=graph.description,
    )


def planned_sizes(n_nodes: int, config: CommunitiesConfig, mode: str) -> list[int]:
    """The number that was asked for, or those that are tried first; [] where labels decide (sparse mode)."""
    if mode == "sparse":
        return []
    most = config.max_communities or most_communities(n_nodes, 1)
    return [config.n_communities] if config.n_communities else grid(most) or [1]


def _fit_seconds(graph: Graph, sizes: list[int], mode: str, config: CommunitiesConfig) -> float:
    if mode == "sparse":
        return graph.n_edges * (_EDGE_SECONDS * 10 + _EDGE_COMMUNITY_SECONDS * _SUPPORT * 10)
    largest = max(sizes) if config.n_communities else max(sizes) / 2  # larger ones are seldom reached
    tried = sum(sizes) * (1 if config.n_communities else 1 + _REFINED / len(sizes))
    embedding = _EMBEDDING_SECONDS * graph.n_nodes * largest**2
    passes = (config.polish + 6) * tried
    return graph.n_edges * (_EDGE_SECONDS + _EDGE_COMMUNITY_SECONDS * passes) + embedding


def check_memory(plan: CommunitiesPlan, limit: int, source: str) -> None:
    """ResourceError, with what takes less, when the arrays at the peak are larger than `limit`."""
    if plan.held_bytes > limit:
        most = f"up to {max(plan.communities):,} " if plan.communities else ""
        what = f"finding {most}communities of {plan.n_nodes:,} nodes in {plan.mode} mode"
        need = f"{what} needs about {_size(plan.held_bytes)} of memory, and {_size(limit)} may be used"
        less = _OUT_OF_MEMORY if plan.mode == "dense" else "take a part of the graph"
        raise ResourceError(need, path=source, hint=f"{less}; or allow more with --memory")


def _size(amount: int) -> str:
    return f"{amount / 1e9:.1f} GB" if amount >= 1e9 else f"{amount / 1e6:.0f} MB"
