"""Slow twins of the reading of graphs, from the rules: dictionaries of pairs, nothing sorted or packed."""

from __future__ import annotations

import collections
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Node = Hashable


def merged_edges(
    edges: Iterable[tuple[Node, Node]], weights: Sequence[float] | None = None
) -> tuple[dict[frozenset[Node], float], collections.Counter[str]]:
    """Weight of every pair of nodes that is linked, and what was merged or left out on the way."""
    pairs: dict[tuple[Node, Node], list[float]] = collections.defaultdict(list)
    tally: collections.Counter[str] = collections.Counter()
    for i, (tail, head) in enumerate(edges):
        weight = 1.0 if weights is None else weights[i]
        if tail == head:
            tally["loops"] += 1
        elif weight == 0:
            tally["zero"] += 1
        else:
            pairs[tail, head].append(weight)
    total = {pair: 1.0 if weights is None else sum(parts) for pair, parts in pairs.items()}
    tally["repeated"] = sum(len(parts) - 1 for parts in pairs.values())
    tally["both"] = sum((head, tail) in total for tail, head in total) // 2
    symmetric = bool(total) and all(total.get((head, tail)) == weight for (tail, head), weight in total.items())
    merged: dict[frozenset[Node], float] = collections.defaultdict(float)
    for pair, weight in total.items():
        merged[frozenset(pair)] += weight / 2 if symmetric else weight
    if weights is None:
        merged = dict.fromkeys(merged, 1.0)
    return dict(merged), tally


def matrix_of(merged: dict[frozenset[Node], float], nodes: Sequence[Node]) -> NDArray[np.float64]:
    """The adjacency matrix, nodes in the order given."""
    place = {node: i for i, node in enumerate(nodes)}
    matrix = np.zeros((len(nodes), len(nodes)))
    for pair, weight in merged.items():
        one, other = pair
        matrix[place[one], place[other]] = matrix[place[other], place[one]] = weight
    return matrix


def canonical(names: Iterable[str]) -> list[str]:
    """Names in canonical order: by value where all are whole numbers as Python writes them, else by bytes."""
    every = set(names)
    if all(is_whole(name) for name in every):
        return sorted(every, key=int)
    return sorted(every, key=lambda name: name.encode())


def is_whole(name: str) -> bool:
    """Whether Python would write the number so, and it fits."""
    try:
        return str(int(name)) == name and -(2**63) <= int(name) < 2**63
    except ValueError:
        return False
