"""Labels for very many small communities: propagation with a price for size, and the price that predicts edges best.

A label spreads to neighbours as in label propagation, but pays for the volume it gathers (the resolution of
modularity). How high the price should be is read from held-out edges: at each price, from the dearest on, how well do
the labels around two nodes say that they are linked? Labels of communities that are there predict edges; fragments of
them less well, and unions of them too.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.kernels import propagation_cpu as kernel

Labels = NDArray[np.int64]
#: Sweeps over the nodes for a coarse graph; a sweep that moves less than one node in _SETTLED is the last.
_SWEEPS, _SETTLED = 30, 1000
#: Nodes are visited in runs of 2^this neighbours in number, in hashed order: memory is read in longer runs.
_RUN = 6
#: Passes over coarser and coarser graphs.
_MOST_LEVELS = 20
#: The dearest price is the number of nodes over this, which gives labels of a few nodes; then cheaper by _STEP.
_FINEST, _STEP = 30, 2.5
#: The ladder ends when so many prices in a row were worse than the best.
_WORSE = 3
#: Share of the edges held out, more where that would be less than the first of these; no more than the last are used.
_SHARE, _LEAST_EDGES, _MOST_EDGES = 0.05, 1_000, 50_000
_MOST_SHARE = 0.1
_MIXTURE_STEPS = 30


@dataclasses.dataclass(frozen=True)
class Adjacency:
    """A graph for propagation: CSR as in the kernels (coarse ones with loops), volumes : (n,) float64."""

    indptr: NDArray[np.int64]
    neighbours: NDArray[np.int32]
    weights: NDArray[Any]
    volumes: NDArray[np.float64]

    @classmethod
    def of(cls, graph: Graph) -> Adjacency:
        """The graph with its own degrees; weights are (0,) where every edge counts 1."""
        weights = np.empty(0, np.float32) if graph.weights is None else graph.weights
        return cls(graph.indptr, graph.neighbours, weights, graph.degrees)

    @property
    def n_nodes(self) -> int:
        """n."""
        return self.indptr.size - 1

    @property
    def csr(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]:
        """What kernels take."""
        return self.indptr, self.neighbours, self.weights


@dataclasses.dataclass(frozen=True)
class Rung:
    """One price that was tried: resolution; n_labels; bits : gained for a held-out edge over degrees alone."""

    resolution: float
    n_labels: int
    bits: float


@dataclasses.dataclass(frozen=True)
class LabelChoice:
    """Labels 0 ... n_labels - 1 of all nodes, (n,) int64, at the price `chosen`; rungs : every price that was tried.

    order : (n,) int64, the nodes so that those of one label lie mostly together, at any price.
    """

    labels: Labels
    n_labels: int
    chosen: Rung
    rungs: tuple[Rung, ...]
    order: NDArray[np.int64]


def choose_labels(graph: Graph, *, seed: int = 0) -> LabelChoice | None:
    """Labels at the price that predicts held-out edges best; None for a graph with too few edges to hold any out.

    The same for any order of the edges in the input and any number of threads.
    """
    whole = Adjacency.of(graph)
    share = min(_MOST_SHARE, max(_SHARE, _LEAST_EDGES / max(graph.n_edges, 1)))
    *parts, held_out = kernel.hold_out(*whole.csr, seed & 0xFFFFFFFF, int(share * 2**32))
    if len(held_out) == 0 or len(parts[1]) == 0:
        return None
    training = Adjacency(parts[0], parts[1], parts[2], _volumes(parts[0], parts[2]))
    held_out = held_out[hashed_order(len(held_out), seed)[:_MOST_EDGES]]
    tried = _descend(training, held_out, seed)
    best = _best(tried)
    order = np.lexsort([labels for _, labels in tried[best:]])
    if best > 0:
        tried += _search(training, held_out, tried[best][0].resolution, order, seed)
    chosen, labels = max(tried, key=lambda rung: rung[0].bits)
    labels = propagate(whole, chosen.resolution, seed=seed, start=labels)
    return LabelChoice(labels, _count(labels), chosen, tuple(rung for rung, _ in tried), order)


def propagate(graph: Adjacency, resolution: float, *, seed: int = 0, start: Labels | None = None) -> Labels:
    """Labels 0 ... k - 1 of all nodes, (n,) int64, by local moves on coarser and coarser graphs.

    resolution : the price of a label's size; a label of volume V must catch more than the share resolution * V / 2m of
    a node's edges. start : (n,) int64 labels to move from, below n; without, every node has its own.
    """
    labels = np.arange(graph.n_nodes)
    for _ in range(_MOST_LEVELS):
        found = _moved(graph, resolution, seed, start)
        start = None
        labels = found[labels]
        n_labels = _count(found)
        if n_labels == graph.n_nodes:
            break
        graph = _coarse(graph, found, n_labels)
    return labels


def held_out_bits(training: Adjacency, labels: Labels, edges: NDArray[np.int64]) -> float:
    """Bits gained for a held-out edge, on average, over what the degrees of its ends say. edges : (h, 2) int64.

    The rates are sum_z w_uz w_vz / V_z (w_uz the weight from u to label z, V_z the volume of z), which add up to the
    number of edges for any labels. They are mixed with those of the degrees alone in the best proportion: an edge that
    no label foresees then costs little, not everything.
    """
    totals = np.bincount(labels, weights=training.volumes)
    rates = kernel.expected_links(*training.csr, labels, totals, edges)
    plain = training.volumes[edges[:, 0]] * training.volumes[edges[:, 1]] / training.volumes.sum()
    known = plain > 0
    if not known.any():
        return 0.0
    ratio, mixture = rates[known] / plain[known], 0.5
    for _ in range(_MIXTURE_STEPS):
        mixture = float(np.mean(mixture / (mixture + (1 - mixture) * ratio)))
    return float(np.log2(mixture + (1 - mixture) * ratio).sum() / len(edges))


def hashed_order(n: int, seed: int, *, run: int = 0) -> NDArray[np.int64]:
    """The numbers 0 ... n - 1 in an order drawn by a hash of each number and the seed, (n,) int64.

    run : runs of 2^run consecutive numbers stay together.
    """
    start = kernel.mixed(seed & 0xFFFFFFFF)
    return np.argsort(kernel.mixed((np.arange(n, dtype=np.int64) >> run) ^ start), kind="stable")


def _descend(training: Adjacency, held_out: NDArray[np.int64], seed: int) -> list[tuple[Rung, Labels]]:
    """Prices from the dearest down to 1, each going on from the labels before."""
    tried: list[tuple[Rung, Labels]] = []
    coarse, labels = training, np.arange(training.n_nodes)
    resolution = max(training.n_nodes / _FINEST, 1.0)
    while resolution >= 1.0 and len(tried) - _best(tried) <= _WORSE:
        found = propagate(coarse, resolution, seed=seed)
        labels, n_labels = found[labels], _count(found)
        coarse = _coarse(coarse, found, n_labels)
        tried.append((Rung(resolution, n_labels, held_out_bits(training, labels, held_out)), labels))
        resolution /= _STEP
    return tried


def _search(
    training: Adjacency, held_out: NDArray[np.int64], resolution: float, order: NDArray[np.int64], seed: int
) -> list[tuple[Rung, Labels]]:
    """The price and cheaper ones from new labels, while that helps, and those between the best and its neighbours.

    Labels that grew from dearer ones keep some of their borders. order : nodes that are linked lie together in it; the
    search runs on the graph in this order, where it waits less for memory.
    """
    indptr, neighbours, weights = kernel.reordered(*training.csr, order)
    near = Adjacency(indptr, neighbours, weights, training.volumes[order])
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    edges, tried = place[held_out], list[tuple[Rung, Labels]]()
    while resolution >= 1.0 and len(tried) - _best(tried) <= 1:
        tried.append(_rung(near, edges, resolution, seed))
        resolution /= _STEP
    best = tried[_best(tried)][0].resolution
    tried += [_rung(near, edges, best * step, seed) for step in (_STEP**0.5, _STEP**-0.5)]
    return [(rung, labels[place]) for rung, labels in tried]


def _rung(training: Adjacency, held_out: NDArray[np.int64], resolution: float, seed: int) -> tuple[Rung, Labels]:
    labels = propagate(training, resolution, seed=seed)
    return Rung(resolution, _count(labels), held_out_bits(training, labels, held_out)), labels


def _count(labels: Labels) -> int:
    return int(labels.max(initial=-1)) + 1


def _best(tried: list[tuple[Rung, Labels]]) -> int:
    return int(np.argmax([rung.bits for rung, _ in tried])) if tried else 0


def _moved(graph: Adjacency, resolution: float, seed: int, start: Labels | None) -> Labels:
    """Labels after moves of single nodes, numbered 0 ... k - 1 in the order of their old numbers."""
    n, total = graph.n_nodes, float(graph.volumes.sum())
    labels = np.arange(n) if start is None else start.copy()
    totals = np.bincount(labels, weights=graph.volumes, minlength=n)
    order, ranks = hashed_order(n, seed, run=_RUN), np.empty(n, np.int64)
    ranks[order] = np.arange(n)
    price = resolution / total if total > 0 else 0.0
    kernel.move_nodes(*graph.csr, graph.volumes, order, ranks, price, _SWEEPS, n // _SETTLED + 1, labels, totals)
    used = np.zeros(n, np.bool_)
    used[labels] = True
    return (np.cumsum(used) - 1)[labels]


def _coarse(graph: Adjacency, labels: Labels, n_labels: int) -> Adjacency:
    members_indptr = np.concatenate(([0], np.cumsum(np.bincount(labels, minlength=n_labels))))
    parts = kernel.coarse_graph(*graph.csr, labels, members_indptr, np.argsort(labels, kind="stable"))
    volumes = np.asarray(np.bincount(labels, weights=graph.volumes, minlength=n_labels), np.float64)
    return Adjacency(parts[0], parts[1], parts[2], volumes)


def _volumes(indptr: NDArray[np.int64], weights: NDArray[Any]) -> NDArray[np.float64]:
    if weights.size == 0:
        return np.diff(indptr).astype(np.float64)
    sums = np.concatenate(([0.0], np.cumsum(weights, dtype=np.float64)))
    return np.diff(sums[indptr])
