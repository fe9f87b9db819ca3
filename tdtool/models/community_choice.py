"""How many communities: by description length, on a grid that is refined around its best place."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from tdtool.data.graph import Graph
from tdtool.models.graph_parts import LEAST_MEMBERS
from tdtool.models.overlap_em import sparse_em, with_expected
from tdtool.models.overlap_model import Background, Strengths, log_likelihood

#: A node's memberships of at least this share of its largest are told apart when numbers of communities are compared.
STRICT_SHARE = 0.75
_STEPS = 3


@dataclasses.dataclass(frozen=True)
class CommunityTrial:
    """One number of communities. n_asked, n_found; gain, cost : bits; objective : what was maximised."""

    n_asked: int
    n_found: int
    gain: float
    cost: float
    objective: float


def description(graph: Graph, found: Strengths, background: Background, empty: float) -> tuple[float, float, int]:
    """gain : bits that the edges cost less than without communities; cost : bits to write the memberships down; k."""
    gain = (log_likelihood(graph, found, background) - empty) / math.log(2)
    links = found.links()
    counts = np.diff(found.indptr)
    n_found = int((np.bincount(found.communities, minlength=found.n_communities) >= LEAST_MEMBERS).sum())
    choices = float(np.log2(links.sum() / links)[found.communities].sum())
    further = 0.5 * float((np.maximum(counts - 1, 0) * np.log2(graph.degrees + 1)).sum())
    return gain, choices + further + 0.5 * n_found * math.log2(max(graph.n_edges, 2)), n_found


def strict_description(
    graph: Graph, found: Strengths, background: Background, empty: float
) -> tuple[float, float, int]:
    """`description` of the memberships that nobody would miss, after a few steps of EM on them alone."""
    strict = found.kept((found.expected >= STRICT_SHARE * found.strongest()) & (found.expected > 0))
    strict = with_expected(graph, strict, strict.expected)
    return description(graph, *sparse_em(graph, strict, background, sparsity=(0.0,) * _STEPS), empty)


def most_communities(n_nodes: int, n_components: int) -> int:
    """The largest number that is tried where nobody says: five nodes each, or what a graph of this size can tell."""
    return max(2, int(min(n_nodes / 5, max(50, 2 * math.sqrt(n_nodes), 1.5 * n_components))))


def grid(last: int, *, ratio: float = 1.18) -> list[int]:
    """Numbers of communities that are tried first, ascending, from 2 up to and with `last`."""
    found, value = [], 2.0
    while value <= last:
        found.append(round(value))
        value = max(value * ratio, value + 1)
    return sorted({*found, last}) if found else []


def refine(tried: dict[int, float], measure: Callable[[int], float], *, most: int = 12) -> int:
    """The best number after looking between the best one and its neighbours until there is none between.

    tried : number -> objective, extended by `measure`; most : further numbers that may be tried.
    """
    for _ in range(most):
        numbers = sorted(tried)
        best = max(numbers, key=lambda k: (tried[k], -k))
        place = numbers.index(best)
        gaps = [
            (tried[other], (best + other) // 2 if other < best else (best + other + 1) // 2)
            for other in numbers[max(place - 1, 0) : place + 2]
            if abs(other - best) > 1
        ]
        if not gaps:
            break
        _, middle = max(gaps)
        tried[middle] = measure(middle)
    return max(sorted(tried), key=lambda k: (tried[k], -k))
