"""Very many small communities in time that grows with the edges: labels first, then a block model on few of them a node.

Labels come from propagation at the price that predicts held-out edges best (label_propagation). Each node may belong to
the communities that its neighbours are labelled with, the eight heaviest; on these supports the overlapping block model
with a Bernoulli-Poisson link is fitted by EM, and memberships that do not pay for their description are dropped.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from tdtool.config import CommunitiesConfig
from tdtool.data.graph import Graph
from tdtool.kernels import blocks_cpu, propagation_cpu, sparse_blocks_cpu
from tdtool.models.label_propagation import LabelChoice, Rung, choose_labels

Floats = NDArray[np.float64]
#: Communities a node may belong to at first.
_MOST_EACH = 8
#: EM iterations on all supports (more change nothing), and steps of the M step's fixed point in each.
_ITERATIONS, _STEPS = 4, 3
#: So many expected links are taken from each membership in them: what is spread thinly over many communities goes.
_RHO, _NOTHING = 0.5, 0.02
#: Before the pruning: memberships with a smaller share of the node's strongest, or fewer links, are no candidates.
_LEAST_SHARE, _LEAST_LINKS = 0.2, 1.0
#: Rounds of pruning, and EM iterations before each.
_ROUNDS, _RESTRICTED = 2, 2
_SMALLEST_SET = 3
#: The background keeps at least this share of the edges; it has so much at first.
_LEAST_BACKGROUND, _FIRST_BACKGROUND = 1e-3, 0.3
_PROPENSITY_STEPS = 12
#: The guard: labels must predict held-out edges (bits each), and none may hold more than this share of all degrees.
_LEAST_BITS, _MOST_VOLUME = 0.05, 0.5
#: From so many nodes and labels on, one vector a community would take too much time and memory.
_MANY_NODES, _MANY_LABELS = 10_000, 200


@dataclasses.dataclass(frozen=True)
class SparseFit:
    """Memberships of n nodes in k communities, and the rates of the model.

    indptr (n + 1,) int64, communities (entries,) int32 ascending within a node, strengths (entries,) float64: the rate
    of an edge is background * propensity_u * propensity_v + sum_z F_uz F_vz; propensity : (n,) float64;
    expected : (entries,) float64, links of the node that the membership is expected to make; n_communities : k;
    rungs : prices of labels that were tried; bits : description length saved over the degrees alone; reason : one line.
    A node may be without entries.
    """

    indptr: NDArray[np.int64]
    communities: NDArray[np.int32]
    strengths: Floats
    background: float
    propensity: Floats
    expected: Floats
    n_communities: int
    rungs: tuple[Rung, ...]
    bits: float
    reason: str


def sparse_communities(graph: Graph, config: CommunitiesConfig) -> SparseFit | None:
    """Communities of a graph that has very many small ones; None where labels find nothing, or one that holds most.

    The same for any order of the edges in the input and any number of threads. Time and memory grow with the edges.
    """
    choice = choose_labels(graph, seed=config.seed)
    return None if choice is None or _refused(graph, choice) else _fit(graph, choice, config)


def prefers_sparse(graph: Graph, *, seed: int = 0) -> bool:
    """Whether the graph is large and falls in so many communities that the sparse mode is the one to take."""
    if graph.n_nodes < _MANY_NODES or graph.n_edges == 0:
        return False
    choice = choose_labels(graph, seed=seed)
    return choice is not None and choice.n_labels >= _MANY_LABELS and not _refused(graph, choice)


def degree_propensity(degrees: Floats) -> Floats:
    """theta (n,) with theta_u (S - theta_u) = degree_u, S = sum theta: the model of the degrees alone, no loops."""
    theta = degrees / np.sqrt(max(float(degrees.sum()), 1.0))
    for _ in range(_PROPENSITY_STEPS):
        total = float(theta.sum())
        others = total - np.minimum(theta, total / 2)
        theta = np.sqrt(theta * degrees / np.where(others > 0, others, 1.0))
    return theta


@dataclasses.dataclass(frozen=True)
class _State:
    """A fit under way: entries by node as in SparseFit, k communities, and the background's rate."""

    indptr: NDArray[np.int64]
    communities: NDArray[np.int32]
    strengths: Floats
    expected: Floats
    k: int
    theta: Floats
    background: float

    @property
    def nodes(self) -> NDArray[np.int64]:
        """(entries,) the node of each entry."""
        return np.repeat(np.arange(self.indptr.size - 1), np.diff(self.indptr))

    def where(self, kept: NDArray[np.bool_]) -> _State:
        """The entries that are kept."""
        before = np.concatenate(([0], np.cumsum(kept)))
        entries = {name: getattr(self, name)[kept] for name in ("communities", "strengths", "expected")}
        return dataclasses.replace(self, indptr=before[self.indptr], **entries)

    def sums(self, values: Floats) -> Floats:
        """(k,) sums of a value of the entries, by community."""
        return np.bincount(self.communities, weights=values, minlength=self.k)

    def strongest(self) -> Floats:
        """(entries,) the most links that any membership of the same node is expected to make."""
        linked = np.diff(self.indptr)
        if not self.expected.size:
            return self.expected
        return np.repeat(np.maximum.reduceat(self.expected, self.indptr[:-1][linked > 0]), linked[linked > 0])


def _refused(graph: Graph, choice: LabelChoice) -> bool:
    volumes = np.bincount(choice.labels, weights=graph.degrees)
    return choice.chosen.bits < _LEAST_BITS or volumes.max() > _MOST_VOLUME * volumes.sum()


def _fit(graph: Graph, choice: LabelChoice, config: CommunitiesConfig) -> SparseFit | None:
    state = _start(graph, choice)
    for _ in range(_ITERATIONS):
        state = _em_step(graph, state, _RHO)
    state = _pruned(graph, state, config.overlap)
    sizes = np.bincount(state.communities, minlength=state.k)
    if sizes.max(initial=0) < _SMALLEST_SET:
        return None
    state = state.where(sizes[state.communities] >= _SMALLEST_SET)
    used = np.bincount(state.communities, minlength=state.k) > 0
    numbers = (np.cumsum(used) - 1).astype(np.int32)
    best = choice.chosen
    reason = (
        f"label propagation at resolution {best.resolution:.4g} gives {choice.n_labels} labels, which save "
        f"{best.bits:.2f} bits for an edge that was held out (best of {len(choice.rungs)} resolutions)"
    )
    return SparseFit(
        state.indptr,
        numbers[state.communities],
        state.strengths,
        state.background,
        state.theta,
        state.expected,
        int(used.sum()),
        choice.rungs,
        _bits_saved(graph, state),
        reason,
    )


def _start(graph: Graph, choice: LabelChoice) -> _State:
    """Every node in the communities of its neighbours' labels, as strong as the edges to them."""
    indptr, communities, amounts = propagation_cpu.neighbour_labels(
        graph.indptr, graph.neighbours, _weights(graph), choice.labels, choice.n_labels, _MOST_EACH
    )
    totals = np.bincount(communities, weights=amounts, minlength=choice.n_labels)
    strengths = amounts / np.sqrt(totals[communities])
    theta = degree_propensity(graph.degrees)
    return _State(indptr, communities, strengths, amounts, choice.n_labels, theta, _FIRST_BACKGROUND)


def _em_step(graph: Graph, state: _State, rho: float) -> _State:
    """One EM iteration; rho : expected links taken from each membership, which goes when nothing is left."""
    expected = np.empty(state.strengths.size)
    plain = sparse_blocks_cpu.expected_links(
        graph.indptr,
        graph.neighbours,
        _weights(graph),
        state.indptr,
        state.communities,
        state.strengths,
        state.background,
        state.theta,
        expected,
    )
    expected -= rho
    state = dataclasses.replace(state, expected=expected).where(expected > _NOTHING)
    strengths = state.strengths.copy()
    sparse_blocks_cpu.settle_strengths(state.communities, state.expected, strengths, state.k, _STEPS)
    links = max(plain, _LEAST_BACKGROUND * float(graph.degrees.sum()) / 2)
    room = _pairs(float(state.theta.sum()), float(np.square(state.theta).sum()))
    return dataclasses.replace(state, strengths=strengths, background=links / room)


def _pruned(graph: Graph, state: _State, overlap: bool) -> _State:
    """Memberships that save more bits than it takes to write them down; every node keeps its strongest."""
    strongest = state.strongest()
    candidates = (state.expected >= _LEAST_SHARE * strongest) & (state.expected >= _LEAST_LINKS)
    state = state.where(candidates | (state.expected == strongest))
    for _ in range(_ROUNDS):
        for _ in range(_RESTRICTED):
            state = _em_step(graph, state, 0.0)
        pays = _gains(graph, state) >= _costs(graph, state) if overlap else np.zeros(state.expected.size, np.bool_)
        state = state.where(pays | (state.expected == state.strongest()))
    return state


def _gains(graph: Graph, state: _State) -> Floats:
    """Bits that each membership saves for the edges and the other pairs of its node, (entries,)."""
    gains = blocks_cpu.entry_gains(
        graph.indptr,
        graph.neighbours,
        graph.weights,
        state.indptr,
        state.communities,
        state.strengths,
        state.background,
        state.theta,
    )
    sums = state.sums(state.strengths)
    return gains - state.strengths * (sums[state.communities] - state.strengths) / np.log(2)


def _costs(graph: Graph, state: _State) -> Floats:
    """Bits to write each membership down: which community, and how strong, (entries,)."""
    links = state.sums(state.expected) + 1
    return np.log2(links.sum() / links[state.communities]) + np.log2(graph.degrees + 1)[state.nodes] / 2


def _bits_saved(graph: Graph, state: _State) -> float:
    """Description length saved over the degrees alone: log likelihoods, less what memberships cost."""
    rows = (graph.indptr, graph.neighbours, graph.weights)
    args = (state.indptr, state.communities, state.strengths, state.background, state.theta)
    none = (np.zeros_like(state.indptr), np.zeros(0, np.int32), np.zeros(0), 1.0, state.theta)
    room = _pairs(float(state.theta.sum()), float(np.square(state.theta).sum()))
    sums, squares = state.sums(state.strengths), state.sums(np.square(state.strengths))
    inside = float(sum(_pairs(total, square) for total, square in zip(sums, squares, strict=True)))
    here = blocks_cpu.sparse_pass(*rows, *args)[2] - state.background * room - inside
    alone = blocks_cpu.sparse_pass(*rows, *none)[2] - room
    cost = float(_costs(graph, state).sum()) + state.k / 2 * np.log2(max(graph.n_edges, 2))
    return (here - alone) / float(np.log(2)) - cost


def _pairs(total: float, squares: float) -> float:
    """The sum of x_u x_v over pairs of nodes, from the sum and the sum of squares."""
    return max(total * total - squares, 1e-300) / 2


def _weights(graph: Graph) -> NDArray[np.float32]:
    return np.empty(0, np.float32) if graph.weights is None else graph.weights
