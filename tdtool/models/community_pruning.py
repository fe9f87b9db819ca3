"""Memberships pruned one by one: each must shorten the description of the graph by what it costs to write it down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.models.overlap_em import sparse_em, with_expected
from tdtool.models.overlap_model import Background, Strengths, membership_costs, membership_gains

#: Memberships with a smaller share of the node's strongest, or fewer expected links, are no candidates.
_LEAST_SHARE, _LEAST_LINKS = 0.2, 1.0
#: Bits that a membership must save for each that it costs: some more, as the best of many candidates are looked at.
_PRICE = 1.25
_ROUNDS = 2


def pruned(
    graph: Graph, found: Strengths, background: Background, *, n_steps: int, overlap: bool = True
) -> tuple[Strengths, Background]:
    """The memberships that pay; every node keeps its strongest. n_steps : of EM before each round and at the end.

    overlap : False keeps the strongest alone.
    """
    strongest = found.strongest()
    candidates = (found.expected >= _LEAST_SHARE * strongest) & (found.expected >= _LEAST_LINKS)
    found = found.kept(candidates | (found.expected == strongest))
    found = with_expected(graph, found, found.expected)
    for _ in range(_ROUNDS):
        found, background = sparse_em(graph, found, background, sparsity=(0.0,) * n_steps)
        pays = membership_gains(graph, found, background) >= _PRICE * membership_costs(graph, found)
        found = found.kept(pays | (found.expected == found.strongest()))
    if not overlap:
        found = found.kept(_first_strongest(found))
    found = with_expected(graph, found, found.expected)
    return sparse_em(graph, found, background, sparsity=(0.0,) * n_steps)


def _first_strongest(found: Strengths) -> NDArray[np.bool_]:
    """(entries,) whether an entry is the strongest of its node, the first of equal ones."""
    ahead = np.flatnonzero(found.expected == found.strongest())
    _, first = np.unique(found.nodes[ahead], return_index=True)
    keep = np.zeros(len(found.expected), np.bool_)
    keep[ahead[first]] = True
    return keep
