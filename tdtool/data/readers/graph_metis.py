"""METIS graph files: a header "nodes edges [fmt [ncon]]", then a line for each node with its neighbours from 1 on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tdtool.config import GraphConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.counts_batches import whole_lines
from tdtool.data.readers.graph_checks import NO_WEIGHT
from tdtool.data.readers.graph_types import FoundGraph, check_memory
from tdtool.data.readers.streams import HEAD_BYTES, Input
from tdtool.errors import InputError, UsageError
from tdtool.kernels import number_lines_cpu

_LARGEST = 2**31 - 1
_MOST_CONSTRAINTS = 1000
_BYTES_AN_ENTRY, _BYTES_A_NODE = 56, 48
_FORM = "the first line is: nodes edges [fmt [ncon]]; line i + 1 lists the neighbours of node i, counted from 1"
_WRONG = {
    number_lines_cpu.NOT_A_NUMBER: "there is something that is not a whole number from 0 on",
    number_lines_cpu.TOO_LARGE: "a number has more than 18 digits",
}


@dataclasses.dataclass(frozen=True)
class _Header:
    """What the file says of itself. skipped : numbers before a node's neighbours; weighted : each neighbour has a
    weight behind it; line : of the header; size : bytes up to the first node."""

    n_nodes: int
    n_edges: int
    skipped: int
    weighted: bool
    line: int
    size: int


@dataclasses.dataclass(frozen=True)
class _Lists:
    """What the lines of the nodes say. nodes, neighbours : (entries,) int32 from 0; weights : (entries,) or None;
    lines : (n,) the line of each node."""

    nodes: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    weights: NDArray[np.int64] | None
    lines: NDArray[np.int64]


def read_metis(source: Input, config: GraphConfig, memory: int, ledger: Ledger) -> FoundGraph:
    """The graph of a METIS file; nodes are called 1, 2, ... . Sizes and weights of nodes are passed over.

    Raises InputError, with the line, where the file is not what its header says or an edge stands at one end only.
    """
    header = _header(source.head, source.path)
    if config.bipartite:
        raise UsageError(
            "a METIS file does not say which nodes are of the first kind", hint="write an edge list, or Matrix Market"
        )
    check_memory(_BYTES_A_NODE * header.n_nodes, memory, f"a graph of {header.n_nodes:,} nodes", source.path)
    lists = _joined(list(_blocks(source, header, memory)))
    _check_lengths(lists, header, source.path)
    once = _checked_once(lists, source.path)
    weighted = lists.weights is not None and config.weight != NO_WEIGHT
    return FoundGraph(
        tails=lists.nodes[once] + 1,
        heads=lists.neighbours[once] + 1,
        weights=lists.weights[once].astype(np.float64) if weighted and lists.weights is not None else None,
        n_nodes=header.n_nodes,
        first=1,
        directed=False,
        description="METIS, weighted edges" if weighted else "METIS",
        notes=("weights and sizes of nodes are passed over",) if header.skipped else (),
    )


def _header(head: bytes, path: str) -> _Header:
    """The first line that is neither empty nor a comment."""
    size, line = 0, 0
    while size < len(head):
        end = head.find(b"\n", size)
        stop = end if end >= 0 else len(head)
        words, size, line = head[size:stop].split(), min(stop + 1, len(head)), line + 1
        if words and not words[0].startswith(b"%"):
            return _parsed_header(words, line, size, path)
    where = "the first megabyte" if len(head) >= HEAD_BYTES else "the file"
    raise InputError(f"there is no header in {where}", path=path, line=max(line, 1), hint=_FORM)


def _parsed_header(words: list[bytes], line: int, size: int, path: str) -> _Header:
    def wrong(what: str) -> InputError:
        return InputError(what, path=path, line=line, hint=_FORM)

    if not 2 <= len(words) <= 4 or not all(word.isdigit() and len(word) <= 18 for word in words):
        raise wrong("the header is not of two to four whole numbers")
    n_nodes, n_edges = int(words[0]), int(words[1])
    if n_nodes > _LARGEST:
        raise wrong(f"the header promises {n_nodes:,} nodes; a graph may have {_LARGEST:,}")
    fmt = words[2].decode().zfill(3) if len(words) > 2 else "000"
    if len(fmt) != 3 or set(fmt) - {"0", "1"}:
        raise wrong(f"fmt is {fmt[:20]}; it is three digits, each 0 or 1: sizes, weights of nodes, weights of edges")
    n_weights = int(words[3]) if len(words) > 3 else 1
    if not 1 <= n_weights <= _MOST_CONSTRAINTS and fmt[1] == "1":
        raise wrong(f"ncon is {n_weights:,}; a node has 1 to {_MOST_CONSTRAINTS:,} weights")
    skipped = (fmt[0] == "1") + n_weights * (fmt[1] == "1")
    return _Header(n_nodes, n_edges, skipped, fmt[2] == "1", line, size)


def _blocks(source: Input, header: _Header, memory: int) -> Iterator[_Lists]:
    """The lines a few megabytes at a time, every number checked."""
    n_nodes = n_entries = 0
    with source.open() as stream:
        stream.read(header.size)
        for buffer, first in whole_lines(stream, source.path, header.line + 1):
            numbers, indptr, lines, status, line = number_lines_cpu.parse_number_lines(buffer)
            lines = lines + first
            rest = header.n_nodes - n_nodes
            if lines.size > rest:
                _check_nothing_follows(np.diff(indptr)[rest:], lines[rest:], header, source.path)
                indptr, lines = indptr[: rest + 1], lines[:rest]
            if status != number_lines_cpu.OK:
                raise InputError(_WRONG[status], path=source.path, line=line + first)
            block = _neighbours(numbers, indptr, lines, n_nodes, header, source.path)
            n_nodes += lines.size
            n_entries += block.nodes.size
            what = f"a graph of more than {n_entries // 2:,} edges"
            check_memory(_BYTES_AN_ENTRY * n_entries, memory, what, source.path)
            yield block


def _check_nothing_follows(lengths: NDArray[np.int64], lines: NDArray[np.int64], header: _Header, path: str) -> None:
    """Behind the last node only empty lines may come."""
    more = np.flatnonzero(lengths)
    if more.size:
        raise InputError(
            f"the header promises {header.n_nodes:,} nodes and there are more lines",
            path=path,
            line=int(lines[more[0]]),
            hint=_FORM,
        )


def _neighbours(
    numbers: NDArray[np.int64],
    indptr: NDArray[np.int64],
    lines: NDArray[np.int64],
    first_node: int,
    header: _Header,
    path: str,
) -> _Lists:
    """The rows of one block without what comes before the neighbours. first_node : of the first row."""
    lengths = np.diff(indptr) - header.skipped
    wrong = np.flatnonzero((lengths < 0) | (lengths % (1 + header.weighted) != 0))
    if wrong.size:
        what = "a neighbour without a weight" if lengths[wrong[0]] >= 0 else "fewer numbers than fmt and ncon ask for"
        raise InputError(f"the line has {what}", path=path, line=int(lines[wrong[0]]), hint=_FORM)
    numbers = numbers[: indptr[-1]]
    place = np.arange(numbers.size) - np.repeat(indptr[:-1], np.diff(indptr)) - header.skipped
    wanted = place >= 0
    rows = np.repeat(np.arange(lengths.size), lengths // (1 + header.weighted))
    found = numbers[wanted & (place % 2 == 0)] if header.weighted else numbers[wanted]
    outside = np.flatnonzero((found < 1) | (found > header.n_nodes))
    if outside.size:
        at = int(outside[0])
        raise InputError(
            f"the neighbour {int(found[at]):,} is not between 1 and the {header.n_nodes:,} of the header",
            path=path,
            line=int(lines[rows[at]]),
        )
    weights = numbers[wanted & (place % 2 == 1)] if header.weighted else None
    return _Lists((rows + first_node).astype(np.int32), (found - 1).astype(np.int32), weights, lines)


def _joined(blocks: list[_Lists]) -> _Lists:
    if not blocks:
        none = np.zeros(0, np.int32)
        return _Lists(none, none, None, np.zeros(0, np.int64))
    nodes, neighbours, lines = (
        np.concatenate([getattr(block, name) for block in blocks]) for name in ("nodes", "neighbours", "lines")
    )
    weights = [block.weights for block in blocks if block.weights is not None]
    return _Lists(nodes, neighbours, np.concatenate(weights) if weights else None, lines)


def _check_lengths(lists: _Lists, header: _Header, path: str) -> None:
    """Nodes and edges as the header promises; a loop may count as one entry or as two."""
    if lists.lines.size < header.n_nodes:
        raise InputError(
            f"the header promises {header.n_nodes:,} nodes and there are {lists.lines.size:,} lines of them",
            path=path,
            line=header.line,
            hint="the file is incomplete; a node without edges has an empty line",
        )
    n_loops = int(np.count_nonzero(lists.nodes == lists.neighbours))
    n_entries = lists.nodes.size
    if 2 * header.n_edges not in (n_entries, n_entries + n_loops, n_entries - n_loops):
        raise InputError(
            f"the header promises {header.n_edges:,} edges, which are {2 * header.n_edges:,} entries, and there are"
            f" {n_entries:,}",
            path=path,
            line=header.line,
            hint="every edge stands in the lines of both its ends, and counts once in the header",
        )


def _checked_once(lists: _Lists, path: str) -> NDArray[np.int64]:
    """Which entries give every edge once (loops too), after both ends were found to say the same of it."""
    up, down = np.flatnonzero(lists.nodes < lists.neighbours), np.flatnonzero(lists.nodes > lists.neighbours)
    keys, weights = _sorted(lists.nodes, lists.neighbours, lists.weights, up)
    others, other_weights = _sorted(lists.neighbours, lists.nodes, lists.weights, down)
    if not np.array_equal(keys, others):
        raise _one_sided(keys, others, lists, path)
    odd = np.flatnonzero(weights != other_weights)
    if odd.size:
        node, other = divmod(int(keys[odd[0]]), _LARGEST)
        raise InputError(
            f"the edge of the nodes {node + 1:,} and {other + 1:,} has the weight {weights[odd[0]]:,} in the line of"
            f" one and {other_weights[odd[0]]:,} in that of the other",
            path=path,
            line=int(lists.lines[node]),
        )
    return np.concatenate([up, np.flatnonzero(lists.nodes == lists.neighbours)])


def _sorted(
    low: NDArray[np.int32], high: NDArray[np.int32], weights: NDArray[np.int64] | None, chosen: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The chosen entries as one number each, ascending, and their weights (those of equal edges ascending)."""
    keys = low[chosen].astype(np.int64) * _LARGEST + high[chosen]
    if weights is None:
        return np.sort(keys), np.zeros(0, np.int64)
    order = np.lexsort((weights[chosen], keys))
    return keys[order], weights[chosen][order]


def _one_sided(keys: NDArray[np.int64], others: NDArray[np.int64], lists: _Lists, path: str) -> InputError:
    """The error for the first edge that one of its ends lists more often than the other. keys, others : ascending."""
    n = min(keys.size, others.size)
    differ = np.flatnonzero(keys[:n] != others[:n])
    at = int(differ[0]) if differ.size else n
    # Of the first two that differ, the smaller cannot come later on the other side: it is the one without a partner.
    from_low = at < keys.size and (at >= others.size or keys[at] < others[at])
    low, high = divmod(int(keys[at] if from_low else others[at]), _LARGEST)
    node, other = (low, high) if from_low else (high, low)
    return InputError(
        f"node {node + 1:,} lists node {other + 1:,} more often than node {other + 1:,} lists node {node + 1:,}",
        path=path,
        line=int(lists.lines[node]),
        hint="every edge stands in the lines of both its ends",
    )
