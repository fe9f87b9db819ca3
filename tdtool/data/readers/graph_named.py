"""Nodes and edges by name, in whatever order a file tells them: what GML and GraphML share."""

from __future__ import annotations

import array
import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from tdtool.data.ledger import Ledger
from tdtool.data.readers.graph_checks import shown
from tdtool.data.readers.graph_types import FoundGraph, check_memory
from tdtool.errors import InputError

_BYTES_A_NODE, _BYTES_AN_EDGE = 300, 48
_CHECKED_EVERY = 1 << 16


class NamedGraph:
    """A graph that grows node by node and edge by edge. An edge may come before its nodes, not without them."""

    def __init__(self, path: str, memory: int, ledger: Ledger) -> None:
        self.path, self.ledger = path, ledger
        self._memory = memory
        self._codes: dict[str, int] = {}
        self._labels: dict[int, str] = {}
        self._awaited: dict[int, int] = {}
        self._ends = array.array("q"), array.array("q")
        self._weights = array.array("d")
        self._text_bytes = 0

    @property
    def n_edges(self) -> int:
        """Edges so far."""
        return len(self._weights)

    def add_node(self, key: str, label: str | None, line: int) -> None:
        """A node. key : what edges call it; label : its name for people, None when it has none."""
        code = self._codes.get(key)
        if code is None:
            code = self._codes[key] = len(self._codes)
        elif self._awaited.pop(code, None) is None:
            raise InputError(f"the node {shown(key)} is there a second time", path=self.path, line=line)
        if label is not None:
            self._labels[code] = label
        self._text_bytes += len(key) + len(label or "")
        self._check_memory(len(self._codes))

    def add_edge(self, source: str, target: str, weight: float | None, line: int) -> None:
        """An edge between two nodes, by their keys. weight : None when the edge says none."""
        for key, ends in zip((source, target), self._ends, strict=True):
            code = self._codes.get(key)
            if code is None:
                code = self._codes[key] = len(self._codes)
                self._awaited[code] = line
            ends.append(code)
        self._weights.append(math.nan if weight is None else weight)
        self._check_memory(len(self._weights))

    def finish(
        self, *, directed: bool | None, kind: str, weight: str | None, bipartite: bool, notes: tuple[str, ...] = ()
    ) -> FoundGraph:
        """The graph. kind : the format in words; weight : the attribute that the weights came from, None for none;
        bipartite : the nodes are of two kinds (InputError where an edge would stay within one)."""
        self._check_all_there()
        weights = np.frombuffer(self._weights, np.float64) if len(self._weights) else np.zeros(0)
        without = np.isnan(weights)
        found = weight is not None and not bool(without.all())
        if found:
            self.ledger.count("edges without a weight, which count 1", int(np.count_nonzero(without)))
            kind += f", weights from {weight}"
        names, about = self._names()
        tails, heads = (np.array(ends, np.int64) for ends in self._ends)
        found_graph = FoundGraph(
            tails=tails,
            heads=heads,
            names=names,
            weights=np.where(without, 1.0, weights) if found else None,
            directed=directed,
            description=kind,
            notes=(*about, *notes),
        )
        return self._two_kinds(found_graph, names) if bipartite else found_graph

    def _names(self) -> tuple[list[str], tuple[str, ...]]:
        """Labels where every node has one of its own, else the keys; and why."""
        keys = list(self._codes)
        if not self._labels:
            return keys, ()
        if len(self._labels) < len(keys):
            n = len(keys) - len(self._labels)
            without = "1 node has" if n == 1 else f"{n:,} nodes have"
            return keys, (f"{without} no label: nodes are called by their ids",)
        labels = [self._labels[code] for code in range(len(keys))]
        if len(set(labels)) < len(labels):
            return keys, ("some nodes share a label: nodes are called by their ids",)
        return labels, ()

    def _two_kinds(self, graph: FoundGraph, names: list[str]) -> FoundGraph:
        """The same graph with nodes of the first kind before those of the second, and edges from one to the other."""
        is_second = self._second_kind(graph, names)
        order = np.argsort(is_second, kind="stable")
        place = np.empty(len(names), np.int64)
        place[order] = np.arange(len(names))
        turned = is_second[graph.tails]
        return dataclasses.replace(
            graph,
            tails=place[np.where(turned, graph.heads, graph.tails)],
            heads=place[np.where(turned, graph.tails, graph.heads)],
            names=[names[i] for i in order.tolist()],
            bipartite=True,
            n_left=int(np.count_nonzero(~is_second)),
        )

    def _second_kind(self, graph: FoundGraph, names: list[str]) -> NDArray[np.bool_]:
        """Which nodes are of the second kind, (n,): no edge stays within a kind, and most sources are of the first.

        Every node is there twice, and an edge links each copy of one end with the other copy of the other: a connected
        component falls into two, one a colouring, unless it cannot be coloured.
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        n, tails, heads = len(names), graph.tails, graph.heads
        ends = np.concatenate([tails, tails + n]), np.concatenate([heads + n, heads])
        links = coo_array((np.ones(ends[0].size, np.int8), ends), shape=(2 * n, 2 * n))
        _, label = connected_components(links, directed=False)
        odd = np.flatnonzero(label[:n] == label[n:])
        if odd.size:
            raise InputError(
                f"its nodes are not of two kinds: an odd number of steps leads from {shown(names[odd[0]])} to itself",
                path=self.path,
                hint="in a bipartite graph every edge leads from one kind of nodes to the other",
            )
        colour, part = label[:n] > label[n:], np.minimum(label[:n], label[n:])
        votes = np.bincount(part[tails], np.where(colour[tails], -1.0, 1.0), 2 * n)
        return np.asarray(colour ^ (votes[part] < 0), np.bool_)

    def _check_all_there(self) -> None:
        if not self._awaited:
            return
        code, line = min(self._awaited.items(), key=lambda item: item[1])
        key = next(key for key, known in self._codes.items() if known == code)
        raise InputError(
            f"an edge ends at {shown(key)}, and there is no such node",
            path=self.path,
            line=line,
            hint="the file is incomplete, or the edge names a node by something else than its id",
        )

    def _check_memory(self, n: int) -> None:
        if n % _CHECKED_EVERY == 0:
            needed = _BYTES_A_NODE * len(self._codes) + self._text_bytes + _BYTES_AN_EDGE * len(self._weights)
            what = f"a graph of more than {len(self._codes):,} nodes and {len(self._weights):,} edges"
            check_memory(needed, self._memory, what, self.path)
