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
from tdtool.models.community_choice import CommunityTrial, grid, most_communities, refine, strict_description
from tdtool.models.community_pruning import best_only, pruned
from tdtool.models.graph_parts import LEAST_MEMBERS, UnsuitedError, transitivity
from tdtool.models.overlap_em import (
    Background,
    Strengths,
    background_likelihood,
    dense_em,
    from_dense,
    graded,
    one_community,
)
from tdtool.models.spectral_memberships import nearly_pure, spectral_memberships, split_memberships
from tdtool.moments.graph_embedding import GraphEmbedding

#: Larger numbers are not looked at when so many of the grid in a row were worse than this share of the best.
_PATIENCE, _CLEARLY_WORSE = 2, 0.85
#: Bits saved for each bit of description, where nothing pays at the full price.
_LOW_PRICE = 0.75
#: There, degrees are raised by more of the mean: in sparse graphs the first eigenvectors are stray trees otherwise.
_LOW_TAU = 0.3
#: Nodes that a community takes when the moment comes from four parts of them.
_NODES_SPLIT = 8
#: Shares of a spectral membership below this, of the node's largest, are none where nothing is polished.
_LEAST_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class DenseFit:
    """strengths : F; mixture : (n, k) float32 graded memberships, None where every node is in one community;

    embedding : (n, k) float32 X and its eigenvalues (k,); chosen : place in `trials`, or None.
    """

    strengths: Strengths
    background: Background
    mixture: NDArray[np.float32] | None
    embedding: NDArray[np.float32] | None
    eigenvalues: NDArray[np.float64] | None
    trials: tuple[CommunityTrial, ...]
    chosen: int | None
    reason: str


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """expected : (n, k) float32 expected links."""

    trial: CommunityTrial
    expected: NDArray[np.float32]
    background: Background


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
        return search.finish(search.candidate(k, compared=False), f"{k} communities were asked for")
    best, reason = search.best()
    if best is None and search.trials:
        search = _Search(graph, propensity, dataclasses.replace(config, tau=_LOW_TAU), n_components, on_trial)
        best, reason = search.weak()
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
            memberships, _ = spectral_memberships(
                self.embedding.points(k), self.embedding.node_weights, alpha0=config.alpha0
            )
        if not config.polish:
            memberships = np.where(memberships >= _LEAST_SHARE * memberships.max(axis=1, keepdims=True), memberships, 0)
        else:
            memberships = nearly_pure(memberships)
        expected, background = dense_em(graph, memberships, self.propensity, n_iters=config.polish)
        if not compared:
            return _Candidate(CommunityTrial(k, k, math.nan, math.nan, math.nan), expected, background)
        gain, cost, n_found = strict_description(graph, expected, background, self.empty)
        # One set alone divides nothing: what it gains is what the background has missed.
        gain = gain if n_found > 1 else min(gain, 0.0)
        trial = CommunityTrial(k, n_found, gain, cost, gain - self.price * cost)
        self.trials[k] = trial
        if self.on_trial is not None:
            self.on_trial(trial)
        return _Candidate(trial, expected, background)

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
        for k in grid(self.last):
            best = max(tried.values(), default=-math.inf)
            tried[k] = self.measure(k)
            worse = worse + 1 if tried[k] < best - (1 - _CLEARLY_WORSE) * abs(best) else 0
            if worse >= _PATIENCE:
                break
        if not tried:
            return None, "the graph is too small for more than one community"
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
        k, config = best.trial.n_asked, self.config
        if config.polish:
            strengths, background = pruned(self.graph, best.expected, best.background)
        else:
            strengths, background = from_dense(self.graph, best.expected, best.expected > 0), best.background
        if not (strengths.sizes() >= LEAST_MEMBERS).any():
            return self.whole(f"no community of at least {LEAST_MEMBERS} nodes was found")
        mixture = None
        if not config.overlap:
            strengths = best_only(self.graph, strengths)
        else:
            faded = {} if config.polish else {"sparsity": ()}
            mixture = graded(self.graph, best.expected, best.background, **faded)
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


def _rank(trial: CommunityTrial) -> tuple[float, int]:
    return trial.objective, -trial.n_asked
