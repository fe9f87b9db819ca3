"""Very many small communities in time that grows with the edges: labels, then a block model on a few of them a node.

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
from tdtool.kernels import propagation_cpu, sparse_blocks_cpu
from tdtool.models.label_propagation import LabelChoice, Rung, choose_labels
from tdtool.models.overlap_em import Background, Strengths, fit_propensity, membership_gains, with_expected

Floats = NDArray[np.float64]
#: Communities a node may belong to at first.
_MOST_EACH = 8
#: EM iterations on all supports; three times as many changed no score by more than a hundredth.
_ITERATIONS = 3
#: So many expected links are taken from each membership in them: what is spread thinly over many communities goes.
_RHO, _NOTHING = 0.5, 0.02
#: Before the pruning: memberships with a smaller share of the node's strongest, or fewer links, are no candidates.
_LEAST_SHARE, _LEAST_LINKS = 0.2, 1.0
#: Rounds of pruning, and EM iterations before each.
_ROUNDS, _RESTRICTED = 2, 1
_SMALLEST_SET = 3
#: Share of the edges that the background makes, at first and at least.
_FIRST_BACKGROUND, _LEAST_BACKGROUND = 0.3, 1e-3
#: The guard: labels must predict held-out edges (bits each), and none may hold more than this share of all degrees.
_LEAST_BITS, _MOST_VOLUME = 0.05, 0.5
#: From so many nodes and labels on, a vector for every community takes much time and memory.
_MANY_NODES, _MANY_LABELS = 10_000, 200


@dataclasses.dataclass(frozen=True)
class SparseFit:
    """Memberships in communities 0 ... k - 1 of at least three nodes each, and the background; nodes may have none.

    rungs : prices of labels that were tried; reason : one line for a person.
    """

    strengths: Strengths
    background: Background
    rungs: tuple[Rung, ...]
    reason: str


def prefers_sparse(graph: Graph) -> bool:
    """Whether a graph is so large that the sparse mode is to be tried first.

    With mode "auto" `sparse_communities` then returns None where the labels are too few for it.
    """
    return graph.n_nodes >= _MANY_NODES


def sparse_communities(
    graph: Graph, config: CommunitiesConfig, *, propensity: Floats | None = None
) -> SparseFit | None:
    """Communities of a graph that has very many small ones.

    propensity : (n,) that of the model without communities, fitted when not given. Returns None where labels predict no
    held-out edges, where one of them holds most of the graph, and with mode "auto" where they are few: the dense mode
    is better then. The same for any order of the edges in the input and any number of threads; time and memory grow
    with the edges.
    """
    choice = choose_labels(graph, seed=config.seed)
    if choice is None or _refused(graph, choice) or (config.mode == "auto" and choice.n_labels < _MANY_LABELS):
        return None
    if propensity is None:
        propensity = fit_propensity(graph)
    order = (
        choice.order if graph.n_left is None else choice.order[np.argsort(choice.order >= graph.n_left, kind="stable")]
    )
    near = _reordered(graph, order)
    strengths, background = _fitted(near, choice, order, Background(0.0, propensity[order]), config.overlap)
    if strengths.n_communities == 0:
        return None
    chosen = choice.chosen
    reason = (
        f"{choice.n_labels:,} labels at resolution {chosen.resolution:.4g} predict held-out edges best: "
        f"{chosen.bits:.2f} bits each"
    )
    return SparseFit(_in_order(strengths, order), Background(background.scale, propensity), choice.rungs, reason)


def _refused(graph: Graph, choice: LabelChoice) -> bool:
    volumes = np.bincount(choice.labels, weights=graph.degrees)
    return choice.chosen.bits < _LEAST_BITS or bool(volumes.max() > _MOST_VOLUME * volumes.sum())


def _fitted(
    graph: Graph, choice: LabelChoice, order: NDArray[np.int64], background: Background, overlap: bool
) -> tuple[Strengths, Background]:
    """EM and pruning on a reordered graph; communities that keep three nodes, renumbered."""
    labels = choice.labels[order]
    supports = propagation_cpu.neighbour_labels(*_csr(graph), labels, choice.n_labels, _MOST_EACH)
    indptr, communities, links = supports
    found = with_expected(graph, Strengths(indptr, communities, links, links, choice.n_labels), links)
    background = _background(graph, background, _FIRST_BACKGROUND * float(graph.degrees.sum()) / 2)
    for _ in range(_ITERATIONS):
        found, background = _em_step(graph, found, background, _RHO)
    found, background = _pruned(graph, found, background, overlap)
    sizes = np.bincount(found.communities, minlength=found.n_communities)
    large = sizes >= _SMALLEST_SET
    found = found.kept(large[found.communities])
    numbers = (np.cumsum(large) - 1).astype(np.int32)
    renumbered = dataclasses.replace(found, communities=numbers[found.communities], n_communities=int(large.sum()))
    return renumbered, background


def _em_step(graph: Graph, found: Strengths, background: Background, rho: float) -> tuple[Strengths, Background]:
    """One EM iteration; rho : expected links taken from each membership, which goes when nothing is left."""
    expected = np.empty(found.values.size)
    rows = (found.indptr, found.communities, found.values)
    rates = (background.scale, background.propensity)
    plain = sparse_blocks_cpu.expected_links(*_csr(graph), *rows, *rates, expected)
    expected -= rho
    left = dataclasses.replace(found, expected=expected).kept(expected > _NOTHING)
    return with_expected(graph, left, left.expected), _background(graph, background, plain)


def _background(graph: Graph, background: Background, links: float) -> Background:
    """The background that makes so many of the edges."""
    least = _LEAST_BACKGROUND * float(graph.degrees.sum()) / 2
    pairs = background.pairs(graph.n_left)
    return Background(max(links, least) / pairs if pairs > 0 else 0.0, background.propensity)


def _pruned(graph: Graph, found: Strengths, background: Background, overlap: bool) -> tuple[Strengths, Background]:
    """Memberships that save more bits than it takes to write them down; every node keeps its strongest."""
    strongest = _strongest(found)
    worth_a_look = (found.expected >= _LEAST_SHARE * strongest) & (found.expected >= _LEAST_LINKS)
    found = found.kept(worth_a_look | (found.expected == strongest))
    for _ in range(_ROUNDS):
        for _ in range(_RESTRICTED):
            found, background = _em_step(graph, found, background, 0.0)
        pays = membership_gains(graph, found, background) >= _costs(graph, found)
        found = found.kept((pays & overlap) | (found.expected == _strongest(found)))
    return with_expected(graph, found, found.expected), background


def _costs(graph: Graph, found: Strengths) -> Floats:
    """Bits to write each membership down: which community, and how strong, (entries,)."""
    links = np.bincount(found.communities, found.expected, found.n_communities) + 1
    return np.log2(links.sum() / links)[found.communities] + np.log2(graph.degrees + 1)[found.nodes] / 2


def _strongest(found: Strengths) -> Floats:
    """(entries,) the most links that any membership of the same node is expected to make."""
    counts = np.diff(found.indptr)
    if not found.expected.size:
        return found.expected
    return np.repeat(np.maximum.reduceat(found.expected, found.indptr[:-1][counts > 0]), counts[counts > 0])


def _csr(graph: Graph) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    weights = np.empty(0, np.float32) if graph.weights is None else graph.weights
    return graph.indptr, graph.neighbours, weights


def _reordered(graph: Graph, order: NDArray[np.int64]) -> Graph:
    """The graph with nodes of one label together: its passes wait for memory half as long."""
    indptr, neighbours, weights = propagation_cpu.reordered(*_csr(graph), order)
    return Graph(indptr, neighbours, None if graph.weights is None else weights, order, n_left=graph.n_left)


def _in_order(found: Strengths, order: NDArray[np.int64]) -> Strengths:
    """Entries back in the order of the nodes before `_reordered`."""
    nodes = order[found.nodes]
    entries = np.argsort(nodes, kind="stable")
    indptr = np.concatenate(([0], np.cumsum(np.bincount(nodes, minlength=order.size)))).astype(np.int64)
    parts = (found.communities[entries], found.values[entries], found.expected[entries])
    return Strengths(indptr, *parts, found.n_communities)
