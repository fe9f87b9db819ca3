"""From the edges that were found to a graph: compact numbers, canonical order, both directions, everything once."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.data.ledger import EXAMPLES_KEPT, Ledger
from tdtool.data.readers.graph_names import NumberCodes
from tdtool.data.readers.graph_types import FoundGraph, check_memory, edge_bytes
from tdtool.errors import InputError
from tdtool.kernels.edge_rows_cpu import EdgeRows, rows_by_head, symmetric_rows

#: Nodes are numbered in 32 bits.
MOST_NODES = 2**31 - 1
#: Bytes that a node takes at most while a graph is made.
_NODE_BYTES = 64
#: Weights below it are kept as it.
LEAST_WEIGHT = np.finfo(np.float32).tiny
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
#: From this share of the edges on, edges in both directions are worth a word.
_WORTH_A_WORD = 0.05

#: Tails and heads.
_Ends = list[NDArray[np.int32]]
Names = NDArray[np.int64] | list[str]


class Tally(NamedTuple):
    """What became of the edges of an input. n_found : as many as were handed out, of them n_loops from a node to
    itself and n_zero others of weight 0; n_repeated, n_both, halved : see EdgeRows; n_edges : those of the graph."""

    n_found: int
    n_zero: int
    n_loops: int
    n_repeated: int
    n_both: int
    halved: bool
    n_edges: int


class Places(NamedTuple):
    """Nodes in canonical order. names : theirs; n_left : or None; tails, heads : (names that were given,) int32, the
    node that each is as the tail and as the head of an edge."""

    names: Names
    n_left: int | None
    tails: NDArray[np.int32]
    heads: NDArray[np.int32]


def graph_of_pairs(
    tails: NDArray[Any],
    heads: NDArray[Any],
    weights: NDArray[Any] | None,
    n_nodes: int,
    *,
    ids: NDArray[np.int64] | list[str] | None = None,
    n_left: int | None = None,
    description: str = "",
) -> Graph:
    """A graph whose nodes are numbered already. tails, heads : (m,) int; weights : (m,) or None; ids : n or None.

    Raises InputError for nodes out of range, negative or non-finite weights, and lengths that do not fit.
    """
    _check_count(n_nodes, None)
    if ids is not None and len(ids) != n_nodes:
        raise InputError(f"there are {len(ids):,} names for {n_nodes:,} nodes")
    if tails.size and (int(min(tails.min(), heads.min())) < 0 or int(max(tails.max(), heads.max())) >= n_nodes):
        raise InputError(f"an edge has a node that is not among 0 ... {n_nodes - 1:,}")
    if n_left is not None and bool(((tails < n_left) == (heads < n_left)).any()):
        raise InputError("an edge links two nodes of the same kind", hint=f"the first {n_left:,} nodes are of one kind")
    names = np.arange(n_nodes, dtype=np.int64) if ids is None else ids
    values = None if weights is None else np.asarray(weights, np.float64)
    if values is not None and values.shape != tails.shape:
        raise InputError(f"there are {values.size:,} weights for {tails.size:,} edges")
    ledger = Ledger()
    rows, _ = _rows([tails.astype(np.int32), heads.astype(np.int32)], values, names, ledger, None)
    return Graph(rows.indptr, rows.neighbours, _stored(rows.weights, None), names, n_left, description, ledger=ledger)


def build_graph(found: FoundGraph, *, bipartite: bool, memory: int, ledger: Ledger, path: str) -> Graph:
    """The graph of what a reader found; source and path are left to the caller.

    bipartite : tails are of one kind and heads of another, even where the format does not say so. Raises InputError
    for negative or non-finite weights and for a graph without edges, ResourceError for one that does not fit.
    """
    m, weighted = found.tails.size, found.weights is not None
    bipartite = bipartite or found.bipartite or found.n_left is not None
    ends, names, n_left = _canonical(found, memory, path, bipartite=bipartite)
    needed = edge_bytes(m, weighted=weighted) + _NODE_BYTES * len(names)
    check_memory(needed, memory, f"a graph of {_size(len(names), n_left)} and {_count(m, 'edge')}", path)
    weights, about = _unit(found.weights)
    values = [weights]
    del weights
    origin, notes, directed = found.description, (*found.notes, *about), found.directed
    del found  # with the caller's it was the only one: from here on the edges are in `ends` alone
    rows, tally = _rows(ends, values.pop(), names, ledger, path)
    check_edges(tally, path)
    stored = _stored(rows.weights, path)
    notes = (*notes, *direction_notes(tally, directed=directed is True, bipartite=bipartite))
    span = None if stored is None else (float(stored.min()), float(stored.max()))
    description = described(origin, len(names), n_left, tally.n_edges, span)
    return Graph(rows.indptr, rows.neighbours, stored, names, n_left, description, notes, ledger=ledger)


def check_edges(tally: Tally, path: str) -> None:
    """InputError for a graph without edges."""
    if not tally.n_edges:
        n_loops = tally.n_loops
        left_out = f" once {_count(n_loops, 'loop')} from a node to itself {'is' if n_loops == 1 else 'are'} left out"
        raise InputError(f"it is a graph with no edges{left_out if n_loops else ''}", path=path)


def described(origin: str, n_nodes: int, n_left: int | None, n_edges: int, span: tuple[float, float] | None) -> str:
    """One line for a person. origin : the format, in words; span : the least and the largest weight, if any."""
    text = f"{origin}; {_size(n_nodes, n_left)}, {_count(n_edges, 'edge')}"
    return text if span is None else f"{text} of weight {span[0]:.4g} to {span[1]:.4g}"


def account(tally: Tally, ledger: Ledger, path: str | None) -> None:
    """Enter what became of the edges."""
    ledger.use(tally.n_found - tally.n_zero)
    for _ in range(min(tally.n_zero, EXAMPLES_KEPT)):
        ledger.skip("weight 0", path or "memory")
    if tally.n_zero > EXAMPLES_KEPT:
        ledger.rows_in += tally.n_zero - EXAMPLES_KEPT
        ledger.skips["weight 0"].count += tally.n_zero - EXAMPLES_KEPT
    ledger.count("loops left out", tally.n_loops)
    ledger.count("duplicate edges merged", tally.n_repeated)
    ledger.count("edges given in both directions", tally.n_both)


def direction_notes(tally: Tally, *, directed: bool, bipartite: bool) -> tuple[str, ...]:
    """What is to be said about the direction of the edges."""
    notes = ("directed: symmetrised",) if directed and not bipartite else ()
    if tally.halved:
        return (*notes, "every edge is given in both directions with the same weight, and counts once")
    if tally.n_both > _WORTH_A_WORD * tally.n_edges:
        return (*notes, "edges given in both directions were merged")
    return notes


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _size(n_nodes: int, n_left: int | None) -> str:
    return _count(n_nodes, "node") if n_left is None else f"{n_left:,} + {_count(n_nodes - n_left, 'node')}"


def _check_count(n_nodes: int, path: str | None) -> None:
    if n_nodes > MOST_NODES:
        raise InputError(f"it has {n_nodes:,} nodes; a graph may have {MOST_NODES:,}", path=path)


def _canonical(found: FoundGraph, memory: int, path: str, *, bipartite: bool) -> tuple[_Ends, Names, int | None]:
    """The ends as numbers of nodes in canonical order (both (m,) int32), the names in it, and how many are left."""
    if found.names is None and found.n_nodes is not None and bipartite == (found.n_left is not None):
        return _stated(found, found.n_nodes, memory, path)
    tails, heads, names = found.tails, found.heads, found.names
    if names is None:
        codes = NumberCodes()
        tails, heads = codes.encode(tails.astype(np.int64)), codes.encode(heads.astype(np.int64))
        names = codes.names()
    kinds = _kinds(tails, heads, len(names), found.n_left) if bipartite else None
    places = places_of(names, kinds, path)
    return [places.tails[tails], places.heads[heads]], places.names, places.n_left


def places_of(names: Names, kinds: tuple[NDArray[np.int64], NDArray[np.int64]] | None, path: str) -> Places:
    """Put nodes in canonical order. names : each once; kinds : None, or positions of the names of either kind."""
    if isinstance(names, list):
        names = _as_numbers(names)
    _check_count(len(names), path)
    if kinds is None:
        order = _order(names)
        place = _inverse(order, len(names))
        return Places(_taken(names, order), None, place, place)
    left, right = (kind[_order(_taken(names, kind))] for kind in kinds)
    _check_count(left.size + right.size, path)
    both = _taken(names, np.concatenate([left, right]))
    return Places(both, left.size, _inverse(left, len(names)), _inverse(right, len(names)) + np.int32(left.size))


def _stated(found: FoundGraph, n_nodes: int, memory: int, path: str) -> tuple[_Ends, Names, int | None]:
    """Nodes first ... first + n_nodes - 1 of a format that says how many there are."""
    _check_count(n_nodes, path)
    check_memory(_NODE_BYTES * n_nodes, memory, f"a graph of {n_nodes:,} nodes", path)
    n_left, first = found.n_left, found.first
    sizes = (n_nodes, n_nodes) if n_left is None else (n_left, n_nodes - n_left)
    for ends, size in zip((found.tails, found.heads), sizes, strict=True):
        if ends.size and not (first <= int(ends.min()) and int(ends.max()) < first + size):
            wrong = int(ends.min()) if int(ends.min()) < first else int(ends.max())
            raise InputError(
                f"an edge has the node {wrong:,}, and nodes are {first} ... {first + size - 1:,}", path=path
            )
    tails, heads = (found.tails - first).astype(np.int32), (found.heads - first).astype(np.int32)
    if n_left is None:
        return [tails, heads], np.arange(first, first + n_nodes, dtype=np.int64), None
    kinds = [np.arange(first, first + size, dtype=np.int64) for size in sizes]
    return [tails, heads + np.int32(n_left)], np.concatenate(kinds), n_left


def _kinds(
    tails: NDArray[Any], heads: NDArray[Any], n_names: int, n_left: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The names of either kind, as positions; a name without edges counts to the first."""
    if n_left is not None:
        return np.arange(n_left), np.arange(n_left, n_names)
    is_tail, is_head = np.zeros(n_names, np.bool_), np.zeros(n_names, np.bool_)
    is_tail[tails], is_head[heads] = True, True
    return kinds_of(is_tail, is_head)


def kinds_of(is_tail: NDArray[np.bool_], is_head: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The names of either kind, as positions, from what each is the name of; one without edges counts to the first."""
    return np.flatnonzero(is_tail | ~is_head), np.flatnonzero(is_head)


def _as_numbers(names: list[str]) -> Names:
    """Names that are all whole numbers as Python writes them, as numbers."""
    if not all(_WHOLE.fullmatch(name) for name in names):
        return names
    try:
        return np.array([int(name) for name in names], np.int64)
    except OverflowError:
        return names


def _order(names: Names) -> NDArray[np.int64]:
    """The positions of names in canonical order. Code points of text come in the same order as its UTF-8 bytes."""
    if isinstance(names, list):
        return np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
    return np.argsort(names, kind="stable")


def _taken(names: Names, order: NDArray[np.int64]) -> Names:
    return [names[code] for code in order.tolist()] if isinstance(names, list) else names[order]


def _inverse(order: NDArray[np.int64], size: int) -> NDArray[np.int32]:
    """Where each of `size` positions stands in `order`; 0 for those that are not in it."""
    place = np.zeros(size, np.int32)
    place[order] = np.arange(order.size, dtype=np.int32)
    return place


def _unit(weights: NDArray[np.float64] | None) -> tuple[NDArray[np.float64] | None, tuple[str, ...]]:
    """Weights; where all are the same number they say only how often an edge is given, and become 1."""
    if weights is None or not weights.size or weights[0] in (0.0, 1.0) or not bool((weights == weights[0]).all()):
        return weights, ()
    if not 0 < weights[0] < np.inf:
        return weights, ()
    return np.ones_like(weights), (unit_note(float(weights[0])),)


def unit_note(weight: float) -> str:
    """What is to be said where all edges have one weight."""
    return f"every edge has the weight {weight:g}, and counts 1"


def _rows(
    ends: _Ends, weights: NDArray[np.float64] | None, names: Names, ledger: Ledger, path: str | None
) -> tuple[EdgeRows, Tally]:
    """Symmetrised and merged; what happened on the way is in the ledger. ends : is emptied, to save memory."""
    if weights is not None:
        wrong = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
        if wrong.size:
            edge = int(wrong[0])
            between = f"{names[ends[0][edge]]!s} and {names[ends[1][edge]]!s}"
            what = f"the edge between {between} has the weight {float(weights[edge]):g}"
            raise InputError(what, path=path, hint="weights are from 0 on; --weight none leaves them out")
    m = ends[0].size
    by_head = [rows_by_head(ends[0], ends[1], weights, len(names))]
    ends.clear()
    del weights
    n_zero, n_loops = by_head[0].n_zero, by_head[0].n_loops
    rows = symmetric_rows(by_head.pop())
    tally = Tally(m, n_zero, n_loops, rows.n_repeated, rows.n_both, rows.halved, rows.neighbours.size // 2)
    account(tally, ledger, path)
    return rows, tally


def _stored(weights: NDArray[np.float32] | None, path: str | None) -> NDArray[np.float32] | None:
    """Weights as they are kept; None where all are 1. InputError for those beyond float32."""
    if weights is None or not weights.size or (weights[0] == 1.0 and bool((weights == 1.0).all())):
        return None
    if float(weights.max()) == np.inf:
        raise too_heavy(path)
    return np.maximum(weights, LEAST_WEIGHT, out=weights)


def too_heavy(path: str | None) -> InputError:
    """The error for sums of weights beyond float32."""
    hint = "divide all weights by a number"
    return InputError("the weights of an edge add up to more than 3.4e38", path=path, hint=hint)
