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
from tdtool.kernels import propagation_cpu
from tdtool.models.community_pruning import pruned
from tdtool.models.graph_parts import LEAST_MEMBERS, reordered
from tdtool.models.label_propagation import LabelChoice, choose_labels
from tdtool.models.overlap_em import SPARSITY, fit_propensity, sparse_em, with_expected
from tdtool.models.overlap_model import Background, Strengths

Floats = NDArray[np.float64]
#: Communities a node may belong to at first.
_MOST_EACH = 8
#: EM iterations on all supports; three times as many changed no score by more than a hundredth.
_ITERATIONS = 3
#: Iterations between rounds of pruning.
_PRUNING_STEPS = 1
#: Share of the edges that the background makes at first.
_FIRST_BACKGROUND = 0.3
#: The guard: labels must predict held-out edges (bits each), and none may hold more than this share of all degrees.
_LEAST_BITS, _MOST_VOLUME = 0.05, 0.5
#: From so many nodes and labels on, a vector for every community takes much time and memory.
_MANY_NODES, _MANY_LABELS = 10_000, 200


@dataclasses.dataclass(frozen=True)
class SparseFit:
    """Memberships in communities 0 ... k - 1 of at least three nodes each, and the background; nodes may have none.

    reason : one line for a person.
    """

    strengths: Strengths
    background: Background
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
    near = reordered(graph, order)
    strengths, background = _fitted(near, choice, order, Background(0.0, propensity[order]), config.overlap)
    if strengths.n_communities == 0:
        return None
    chosen = choice.chosen
    reason = (
        f"{choice.n_labels:,} labels at resolution {chosen.resolution:.4g} predict held-out edges best: "
        f"{chosen.bits:.2f} bits each"
    )
    return SparseFit(strengths.back_from(order), Background(background.scale, propensity), reason)


def _refused(graph: Graph, choice: LabelChoice) -> bool:
    volumes = np.bincount(choice.labels, weights=graph.degrees)
    return choice.chosen.bits < _LEAST_BITS or bool(volumes.max() > _MOST_VOLUME * volumes.sum())


def _fitted(
    graph: Graph, choice: LabelChoice, order: NDArray[np.int64], background: Background, overlap: bool
) -> tuple[Strengths, Background]:
    """EM and pruning on a reordered graph; communities that keep three nodes, renumbered."""
    weights = np.empty(0, np.float32) if graph.weights is None else graph.weights
    edges = (graph.indptr, graph.neighbours, weights)
    supports = propagation_cpu.neighbour_labels(*edges, choice.labels[order], choice.n_labels, _MOST_EACH)
    indptr, communities, links = supports
    found = with_expected(graph, Strengths(indptr, communities, links, links, choice.n_labels), links)
    background = background.making(_FIRST_BACKGROUND * float(graph.degrees.sum()) / 2, graph.n_left)
    found, background = sparse_em(graph, found, background, sparsity=(SPARSITY,) * _ITERATIONS)
    found, background = pruned(graph, found, background, n_steps=_PRUNING_STEPS, overlap=overlap)
    sizes = np.bincount(found.communities, minlength=found.n_communities)
    large = sizes >= LEAST_MEMBERS
    found = found.kept(large[found.communities])
    numbers = (np.cumsum(large) - 1).astype(np.int32)
    renumbered = dataclasses.replace(found, communities=numbers[found.communities], n_communities=int(large.sum()))
    return renumbered, background
