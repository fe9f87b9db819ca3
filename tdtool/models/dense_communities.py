"""Communities by moments and EM over all memberships: for graphs of up to some hundred communities."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tdtool.config import CommunitiesConfig
from tdtool.data.graph import Graph
from tdtool.kernels.arrays import like, to_host
from tdtool.models.community_choice import CommunityTrial, grid, most_communities, refine, strict_description
from tdtool.models.community_pruning import pruned
from tdtool.models.graph_parts import LEAST_MEMBERS, UnsuitedError, reordered, transitivity
from tdtool.models.overlap_em import dense_em, graded
from tdtool.models.overlap_model import Background, Strengths, background_likelihood, one_community
from tdtool.models.spectral_memberships import (
    nearly_pure,
    spectral_memberships,
    split_memberships,
    without_traces,
)
from tdtool.moments.graph_embedding import GraphEmbedding

#: From so many nodes on, those of one community are laid together: passes over the edges wait for memory less.
_BULK_NODES = 20_000
_PRUNING_STEPS = 3
#: Larger numbers are not looked at when so many of the grid in a row were worse than the best by this share, for a
#: thousand nodes or fewer; of larger graphs objectives vary less from one number to the next.
_PATIENCE, _CLEARLY_WORSE, _LEAST_WORSE = 2, 0.15, 0.03
#: The grid of large graphs is coarser: a fit takes seconds there, and the search between its numbers finds the best.
_BULK_RATIO = 1.3
#: Eigenvectors that a search begins with: one by one they cost more, above all where their eigenvalues lie close.
_FIRST_VECTORS, _FIRST_BULK_VECTORS = 24, 64
#: Bits saved for each bit of description, where nothing pays at the full price.
_LOW_PRICE = 0.75
#: Communities that leave more of the nodes out are those of a few hubs: the low price may find better ones.
_MOST_COVERED = 0.8
#: There, degrees are raised by more of the mean: in sparse graphs the first eigenvectors are stray trees otherwise.
_LOW_TAU = 0.3
#: Nodes that a community takes when the moment comes from four parts of them.
_NODES_SPLIT = 8


@dataclasses.dataclass(frozen=True)
class DenseFit:
    """strengths : F of the memberships that pay; mixture : F of graded ones, None where every node is in one community;

    embedding : (n, k) float32 X and its eigenvalues (k,); chosen : place in `trials`, or None.
    """

    strengths: Strengths
    background: Background
    mixture: Strengths | None
    embedding: NDArray[np.float32] | None
    eigenvalues: NDArray[np.float64] | None
    trials: tuple[CommunityTrial, ...]
    chosen: int | None
    reason: str


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """strengths, background : of the nodes order[0], order[1], ... of the graph; covered : share of nodes in any."""

    trial: CommunityTrial
    strengths: Strengths
    background: Background
    order: NDArray[np.int64] | None

    @property
    def covered(self) -> float:
        return float(np.count_nonzero(np.diff(self.strengths.indptr))) / (len(self.strengths.indptr) - 1)


def dense_communities(
    graph: Graph,
    propensity: NDArray[np.float64],
    config: CommunitiesConfig,
    *,
    n_components: int = 1,
    on_trial: Callable[[CommunityTrial], None] | None = None,
) -> DenseFit:
    """Fit `config.n_communities` communities, or as many as describe the graph best. propensity : (n,) theta."""
    search = _Search(graph, propensity, config, n_components, on_trial)
    k = config.n_communities
    if k == 1 or graph.n_nodes < 4:
        asked = "one community was asked for"
        return search.whole(asked if k == 1 else "a graph of fewer than four nodes is one community")
    if k is not None:
        return search.finish(search.candidate(k, compared=False), "as many communities as were asked for")
    best, reason = search.best()
    if search.trials and (best is None or best.covered < _MOST_COVERED):
        raised = dataclasses.replace(config, tau=max(config.tau, _LOW_TAU))
        weak = _Search(graph, propensity, raised, n_components, on_trial)
        other, other_reason = weak.weak()
        if best is None or (other is not None and _cheaply(other.trial) > _cheaply(best.trial)):
            search, best, reason = weak, other, other_reason
    return search.whole(reason) if best is None else search.finish(best, reason)


class _Search:
    """Candidates for one graph; the best one is kept, the others leave their figures."""

    def __init__(
        self,
        graph: Graph,
        propensity: NDArray[np.float64],
        config: CommunitiesConfig,
        n_components: int,
        on_trial: Callable[[CommunityTrial], None] | None,
    ) -> None:
        self.graph, self.propensity, self.config, self.on_trial = graph, propensity, config, on_trial
        most = graph.n_nodes // _NODES_SPLIT if config.split else graph.n_nodes
        if config.n_communities is not None and config.n_communities > most:
            raise UnsuitedError(
                f"--split finds at most {most:,} communities among {graph.n_nodes:,} nodes in four parts"
            )
        self.last = min(config.max_communities or most_communities(graph.n_nodes, n_components), most)
        self.embedding = GraphEmbedding(graph, tau=config.tau)
        self.trials: dict[int, CommunityTrial] = {}
        self.kept: _Candidate | None = None

    @functools.cached_property
    def empty(self) -> float:
        """Log likelihood of the graph without communities."""
        return background_likelihood(self.graph, self.propensity)

    @functools.cached_property
    def price(self) -> float:
        """Bits that a bit of description must save: edges that close triangles are no independent evidence."""
        return 1 + transitivity(self.graph)

    def candidate(self, k: int, *, compared: bool = True) -> _Candidate:
        """EM from the spectral memberships in k communities. compared : also say what describes the graph how well."""
        config, graph = self.config, self.graph
        if config.split:
            memberships = split_memberships(graph, k, tau=config.tau, seed=config.seed)
        else:
            memberships, _ = spectral_memberships(*self.embedding.fit_points(k), alpha0=config.alpha0)
        memberships = nearly_pure(memberships) if config.polish else without_traces(memberships)
        order = _locality(memberships, graph.n_left) if graph.n_nodes >= _BULK_NODES else None
        near, propensity = reordered(graph, order), self.propensity
        if order is not None:
            memberships, propensity = memberships[like(order, memberships)], propensity[order]
        strengths, background = dense_em(near, memberships, propensity, n_iters=config.polish)
        if not compared:
            unknown = CommunityTrial(k, k, math.nan, math.nan, math.nan)
            return _Candidate(unknown, strengths, background, order)
        gain, cost, n_found = strict_description(near, strengths, background, self.empty)
        # One set alone divides nothing: what it gains is what the background has missed.
        gain = gain if n_found > 1 else min(gain, 0.0)
        trial = CommunityTrial(k, n_found, gain, cost, gain - self.price * cost)
        self.trials[k] = trial
        if self.on_trial is not None:
            self.on_trial(trial)
        return _Candidate(trial, strengths, background, order)

    def measure(self, k: int) -> float:
        """The objective of k communities; the candidate is kept when it is the best so far."""
        found = self.candidate(k)
        if self.kept is None or _rank(found.trial) > _rank(self.kept.trial):
            self.kept = found
        return found.trial.objective

    def best(self) -> tuple[_Candidate | None, str]:
        """The best of the grid and of the numbers between; None when no number pays."""
        tried: dict[int, float] = {}
        worse = 0
        clearly = max(_CLEARLY_WORSE * min(1.0, math.sqrt(1000 / self.graph.n_nodes)), _LEAST_WORSE)
        is_bulk = self.graph.n_nodes >= _BULK_NODES
        numbers = grid(self.last, ratio=_BULK_RATIO) if is_bulk else grid(self.last)
        if not self.config.split:
            self.embedding.reach(min(self.last, _FIRST_BULK_VECTORS if is_bulk else _FIRST_VECTORS))
        for k in numbers:
            best = max(tried.values(), default=-math.inf)
            tried[k] = self.measure(k)
            worse = worse + 1 if tried[k] < best - clearly * abs(best) else 0
            if worse >= _PATIENCE:
                break
        if not tried:
            only = self.config.max_communities == 1
            return None, "one community was allowed" if only else "the graph is too small for more than one community"
        refine(tried, self.measure)
        if self.kept is None or self.kept.trial.objective <= 0:
            return None, "no communities stand out: any division takes more bits than it saves"
        return self.kept, "the number that describes the edges in the fewest bits"

    def weak(self) -> tuple[_Candidate | None, str]:
        """The best at a low price: sparse graphs have communities that no edge can prove."""
        self.price = _LOW_PRICE
        best, reason = self.best()
        return best, reason if best is None else "weak: no number saves more bits than its memberships take"

    def finish(self, best: _Candidate, reason: str) -> DenseFit:
        """Prune the memberships of a candidate."""
        k, config, mixture = best.trial.n_asked, self.config, None
        near, strengths, background = reordered(self.graph, best.order), best.strengths, best.background
        if config.overlap:
            mixture = graded(near, strengths, background) if config.polish else strengths
        if config.polish or not config.overlap:
            strengths, background = pruned(near, strengths, background, n_steps=_PRUNING_STEPS, overlap=config.overlap)
        if best.order is not None:
            strengths, background = strengths.back_from(best.order), Background(background.scale, self.propensity)
            mixture = None if mixture is None else mixture.back_from(best.order)
        if not (strengths.sizes() >= LEAST_MEMBERS).any():
            return self.whole(f"no community of at least {LEAST_MEMBERS} nodes was found")
        order = sorted(self.trials)
        return DenseFit(
            strengths=strengths,
            background=background,
            mixture=mixture,
            embedding=None if config.split else self.embedding.points(k).astype(np.float32),
            eigenvalues=None if config.split else self.embedding.eigenvalues(k),
            trials=tuple(self.trials[number] for number in order),
            chosen=order.index(k) if k in self.trials else None,
            reason=reason,
        )

    def whole(self, reason: str) -> DenseFit:
        """All nodes in one community."""
        strengths, background = one_community(self.graph, self.propensity)
        trials = tuple(self.trials[number] for number in sorted(self.trials))
        return DenseFit(strengths, background, None, None, None, trials, None, reason)


def _locality(memberships: NDArray[np.float32], n_left: int | None) -> NDArray[np.int64]:
    """An order of the nodes (n,) in which those of one community, and one side, follow each other."""
    main = to_host(memberships.argmax(axis=1))
    return np.lexsort((main, np.arange(len(main)) >= (n_left or 0)))


def _cheaply(trial: CommunityTrial) -> float:
    return trial.gain - _LOW_PRICE * trial.cost


def _rank(trial: CommunityTrial) -> tuple[float, int]:
    return trial.objective, -trial.n_asked
