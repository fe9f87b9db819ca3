"""Communities of large sparse graphs by label propagation and EM on a few communities a node."""

from __future__ import annotations

import dataclasses

from tdtool.config import CommunitiesConfig
from tdtool.data.graph import Graph
from tdtool.models.overlap_em import Background, Strengths


@dataclasses.dataclass(frozen=True)
class SparseFit:
    """strengths : F on the memberships found; reason : how many communities, and why."""

    strengths: Strengths
    background: Background
    reason: str


def prefers_sparse(graph: Graph) -> bool:
    """Whether the graph is large and sparse enough."""
    return False


def sparse_communities(graph: Graph, config: CommunitiesConfig) -> SparseFit | None:
    """None where label propagation collapses."""
    return None
