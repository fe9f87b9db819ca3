"""Communities of a graph with all that is known of them: scores, held-out edges, further runs from other starts."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.config import CommunitiesConfig
from tdtool.data.graph import Graph
from tdtool.errors import InputError
from tdtool.models import graph_scores
from tdtool.models.communities import CommunityFit, fit_communities
from tdtool.models.community_choice import CommunityTrial
from tdtool.models.cover import Cover
from tdtool.models.edge_holdout import auc, degree_auc, split_edges
from tdtool.models.graph_parts import UnsuitedError
from tdtool.models.stability import stability


@dataclasses.dataclass(frozen=True)
class FoundCommunities:
    """A fit and its scores.

    conductance, density : (k,) float64; link_probability : (k, k) float64, None for very many communities; stability :
    (k,) float64, None unless asked for; scores : numbers by name, those that are not known left out; warnings : what
    the fit and the scores have to say.
    """

    fit: CommunityFit
    conductance: NDArray[np.float64]
    density: NDArray[np.float64]
    link_probability: NDArray[np.float64] | None
    stability: NDArray[np.float64] | None
    scores: dict[str, Any]
    warnings: tuple[str, ...]


def find_and_score(graph: Graph, config: CommunitiesConfig) -> FoundCommunities:
    """Fit to the whole graph, then score. InputError, without a path, when there cannot be such communities."""
    fit = _fitted(graph, config, "finding communities")
    scored = graph_scores.graph_scores(graph, fit.cover)
    few = fit.cover.n_communities <= graph_scores.MOST_LINKED
    scores: dict[str, Any] = {
        "modularity": scored.modularity,
        "covered_nodes": scored.covered_nodes,
        "covered_edges": scored.covered_edges,
        "bits": fit.bits,
    }
    if scored.conductance.size:
        scores["mean_conductance"] = float(scored.conductance.mean())
    kept_out, warnings = _predict_edges(graph, config, fit) if config.holdout else ({}, ())
    alike, per_community = _run_again(graph, config, fit) if config.stability else ({}, None)
    return FoundCommunities(
        fit=fit,
        conductance=scored.conductance,
        density=scored.density,
        link_probability=graph_scores.link_probability(graph, fit.cover) if few else None,
        stability=per_community,
        scores={name: value for name, value in (scores | kept_out | alike).items() if _is_known(value)},
        warnings=(*fit.warnings, *warnings),
    )


def relabelled(graph: Graph, place: NDArray[np.int64]) -> Graph:
    """The graph with its nodes in another order. place : (n,) where each node goes."""
    tails = np.repeat(np.arange(graph.n_nodes, dtype=np.int32), graph.n_neighbours)
    once = tails < graph.neighbours
    edges = np.column_stack((place[tails[once]], place[graph.neighbours[once]]))
    weights = None if graph.weights is None else graph.weights[once]
    moved = Graph.from_edges(edges, weights=weights, n_nodes=graph.n_nodes, n_left=graph.n_left)
    return dataclasses.replace(moved, engine=graph.engine)


def _fitted(graph: Graph, config: CommunitiesConfig, stage: str) -> CommunityFit:
    with log.task(stage) as bar:

        def told(trial: CommunityTrial) -> None:
            bar.advance()
            log.detail(f"{stage}: {trial.n_asked:,} asked, {trial.n_found:,} found, {trial.objective:,.0f} bits")

        try:
            return fit_communities(graph, config, on_trial=told)
        except UnsuitedError as error:
            raise InputError(str(error), path=graph.path) from error


def _predict_edges(
    graph: Graph, config: CommunitiesConfig, fit: CommunityFit
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """AUC of edges that a second fit, with as many communities, has not seen."""
    split = split_edges(graph, config.holdout, seed=config.seed)
    if not len(split.positives) or not len(split.negatives):
        what = (
            "edge could be held out: each is some node's last" if not len(split.positives) else "pair is without edge"
        )
        return {}, (f"no {what}, so there is no AUC",)
    try:
        second = _fitted(split.training, _same_size(config, fit), "fitting without the held-out edges")
    except InputError as error:
        return {}, (f"no AUC: without the held-out edges there are not the same communities ({error.what})",)
    known = {
        "auc": auc(second, split.positives, split.negatives),
        "auc_degrees": degree_auc(split.training, split.positives, split.negatives),
        "held_out_edges": len(split.positives),
    }
    wanted = round(config.holdout * graph.n_edges)
    if len(split.positives) >= 0.9 * wanted:
        return known, ()
    return known, (f"only {len(split.positives):,} of {wanted:,} edges could be held out: every node keeps one",)


def _same_size(config: CommunitiesConfig, fit: CommunityFit) -> CommunitiesConfig:
    """As the fit was made; without choosing again, where it did choose."""
    asked = fit.trials[fit.chosen].n_asked if fit.chosen is not None else config.n_communities
    mode: Any = fit.mode
    most = config.max_communities if asked is None else None
    return dataclasses.replace(config, mode=mode, n_communities=asked, max_communities=most)


def _run_again(
    graph: Graph, config: CommunitiesConfig, fit: CommunityFit
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """The same from other seeds, on graphs whose nodes are in another order; what is alike in all runs."""
    covers: list[Cover] = [fit.cover]
    for i in range(1, config.stability + 1):
        rng = np.random.default_rng([config.seed, i])
        place = _shuffled(graph, rng)
        again = dataclasses.replace(config, seed=config.seed + i)
        other = _fitted(relabelled(graph, place), again, f"further run {i} of {config.stability}")
        covers.append(other.cover.restricted(place))
    found = stability(covers)
    sizes = [cover.n_communities for cover in covers[1:]]
    return {"stability": found.onmi, "stability_found": sizes}, found.jaccard


def _shuffled(graph: Graph, rng: np.random.Generator) -> NDArray[np.int64]:
    """Where each node goes; the two sides of a bipartite graph stay apart."""
    border = graph.n_nodes if graph.n_left is None else graph.n_left
    return np.concatenate([rng.permutation(border), border + rng.permutation(graph.n_nodes - border)])


def _is_known(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
