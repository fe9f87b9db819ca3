"""How planted graphs get their edges: Poisson numbers of links between groups, and the configuration model."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Nodes = NDArray[np.int64]

_MAX_ROUNDS = 500  # of rewiring; nearly always some ten are enough, and later ones have few edges to try


def poisson_pairs(
    weights: sparse.csr_array, rates: NDArray[np.float64], rng: np.random.Generator
) -> tuple[Nodes, Nodes]:
    """Draw links between nodes: of u and v, u != v, Poisson(w_u' rates w_v) many, independent of all other pairs.

    weights : (n, k) >= 0; rates : (k, k) symmetric, >= 0. Returns the two ends of the links, in no order, with repeated
    pairs. Time and memory are those of the links and of the entries of weights: for every pair of groups a Poisson
    number of links is drawn, then ends in proportion to the weights; a link from a node to itself is left out.
    """
    columns = weights.tocsc()
    sums = np.asarray(columns.sum(axis=0)).ravel()
    expected = np.triu(rates * np.outer(sums, sums))
    np.fill_diagonal(expected, expected.diagonal() / 2)
    n_links = rng.poisson(expected)
    stubs = [
        _draw_nodes(columns.indices[start:stop], columns.data[start:stop], int(number), rng)
        for start, stop, number in zip(
            columns.indptr[:-1], columns.indptr[1:], n_links.sum(axis=0) + n_links.sum(axis=1), strict=True
        )
    ]
    taken = np.zeros(len(stubs), np.int64)
    ends: tuple[list[Nodes], list[Nodes]] = ([], [])
    for pair in np.argwhere(n_links):
        number = n_links[pair[0], pair[1]]
        for side, group in zip(ends, pair, strict=True):
            side.append(stubs[group][taken[group] : taken[group] + number])
            taken[group] += number
    if not ends[0]:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    tails, heads = np.concatenate(ends[0]), np.concatenate(ends[1])
    apart = tails != heads
    return tails[apart], heads[apart]


def _draw_nodes(nodes: NDArray[np.int32], weights: NDArray[np.float64], number: int, rng: np.random.Generator) -> Nodes:
    """Independent draws with replacement: how often each node comes is multinomial, and the order is a shuffle."""
    if not number:
        return np.zeros(0, np.int64)
    drawn = np.repeat(nodes.astype(np.int64), rng.multinomial(number, weights / weights.sum()))
    rng.shuffle(drawn)
    return drawn


def simple_edges(tails: Nodes, heads: Nodes, n_nodes: int) -> Nodes:
    """The different pairs among links without loops : (m, 2) int64, the smaller end first, ascending."""
    keys = np.minimum(tails, heads) * n_nodes + np.maximum(tails, heads)
    keys.sort()
    if keys.size:
        keys = keys[np.append(True, keys[1:] != keys[:-1])]
    return np.column_stack(np.divmod(keys, n_nodes))


def match_stubs(
    nodes: Nodes, degrees: Nodes, groups: Nodes, n_nodes: int, places: Nodes | None, rng: np.random.Generator
) -> tuple[Nodes, Nodes]:
    """The configuration model inside every group: a simple graph with given degrees, as far as there is one.

    nodes, degrees, groups : (entries,) node nodes[i] has degrees[i] edges in group groups[i]; a group whose sum is odd
    loses one. places : (n, c) the groups of each node, -1 where it has fewer, whose members must not meet here; None:
    all may. Loops, repeated edges and forbidden ones are rewired with random edges of the same group; what is still
    wrong in the end (groups that are nearly complete) is left out. Returns the ends of the edges.
    """
    stub_groups = np.repeat(groups, degrees)
    order = np.lexsort((rng.random(stub_groups.size), stub_groups))
    stub_nodes, stub_groups = np.repeat(nodes, degrees)[order], stub_groups[order]
    first = np.searchsorted(stub_groups, stub_groups, side="left")
    last = np.searchsorted(stub_groups, stub_groups, side="right")
    position = np.arange(stub_nodes.size) - first
    paired = position < (last - first) // 2 * 2
    is_tail, is_head = paired & (position % 2 == 0), paired & (position % 2 == 1)
    edges = _Edges(stub_nodes[is_tail], stub_nodes[is_head], stub_groups[is_tail], n_nodes, places)
    edges.rewire(rng)
    return edges.right()


class _Edges:
    """Edges that are mended one swap of ends at a time: plain lists, because every swap depends on those before."""

    def __init__(self, tails: Nodes, heads: Nodes, group: Nodes, n_nodes: int, places: Nodes | None) -> None:
        """tails, heads, group : (m,), sorted by group."""
        self.tails, self.heads, self.n_nodes = tails.tolist(), heads.tolist(), n_nodes
        self.first = np.searchsorted(group, group, side="left").tolist()
        self.last = np.searchsorted(group, group, side="right").tolist()
        self.places = None if places is None else [frozenset(row) - {-1} for row in places.tolist()]
        self.times = Counter(map(self._key, self.tails, self.heads))

    def rewire(self, rng: np.random.Generator) -> None:
        """Swap the heads of a wrong edge and a random one of its group whenever not more is wrong afterwards."""
        waiting = {edge: None for edge in range(len(self.tails)) if self._is_wrong(edge)}
        for _ in range(_MAX_ROUNDS):
            if not waiting:
                return
            lots = rng.random((len(waiting), 2)).tolist()
            tried, waiting = waiting, {}
            for edge, (lot, side) in zip(tried, lots, strict=True):
                if not self._is_wrong(edge):
                    continue
                other = self.first[edge] + int(lot * (self.last[edge] - self.first[edge]))
                if side < 0.5:
                    self.tails[other], self.heads[other] = self.heads[other], self.tails[other]
                before = 1 + self._is_wrong(other)
                self._swap(edge, other)
                wrong = [one for one in (edge, other) if self._is_wrong(one)]
                if len(wrong) > before:
                    self._swap(edge, other)
                    wrong = [edge]
                waiting |= dict.fromkeys(wrong)

    def right(self) -> tuple[Nodes, Nodes]:
        """The ends of the edges that are as they should be; of a repeated one, all that were met first."""
        keys = np.array(list(map(self._key, self.tails, self.heads)), np.int64)
        kept = np.zeros(keys.size, np.bool_)
        kept[np.unique(keys, return_index=True)[1]] = True
        kept &= [not self._is_forbidden(edge) for edge in range(keys.size)]
        return np.array(self.tails, np.int64)[kept], np.array(self.heads, np.int64)[kept]

    def _key(self, tail: int, head: int) -> int:
        return tail * self.n_nodes + head if tail < head else head * self.n_nodes + tail

    def _swap(self, edge: int, other: int) -> None:
        tails, heads, times = self.tails, self.heads, self.times
        for one in (edge, other):
            times[self._key(tails[one], heads[one])] -= 1
        heads[edge], heads[other] = heads[other], heads[edge]
        for one in (edge, other):
            times[self._key(tails[one], heads[one])] += 1

    def _is_wrong(self, edge: int) -> bool:
        return self._is_forbidden(edge) or self.times[self._key(self.tails[edge], self.heads[edge])] > 1

    def _is_forbidden(self, edge: int) -> bool:
        tail, head = self.tails[edge], self.heads[edge]
        return tail == head or (self.places is not None and not self.places[tail].isdisjoint(self.places[head]))


def power_law(size: int, exponent: float, low: float, high: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draws of the density x^-exponent between low and high, float64 (size,)."""
    share = rng.random(size)
    if exponent == 1.0:
        return low * (high / low) ** share
    power = 1.0 - exponent
    return (low**power + share * (high**power - low**power)) ** (1.0 / power)


def power_law_mean(exponent: float, low: float, high: float) -> float:
    """The mean of that density."""

    def integral(power: float) -> float:
        return float(np.log(high / low)) if power == -1.0 else (high ** (power + 1) - low ** (power + 1)) / (power + 1)

    return integral(1.0 - exponent) / integral(-exponent) if high > low else low
