"""Overlapping communities of a graph: spectral MMSB with the tensor power step, then an EM on the edges."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tdtool.config import CommunitiesConfig
from tdtool.data.graph import Graph
from tdtool.models.community_choice import CommunityTrial, description
from tdtool.models.cover import Cover
from tdtool.models.dense_communities import DenseFit, dense_communities
from tdtool.models.graph_parts import LEAST_MEMBERS, Parts, UnsuitedError, parts_of, subgraph
from tdtool.models.overlap_em import fit_propensity, with_expected
from tdtool.models.overlap_model import Background, Nodes, Strengths, background_likelihood
from tdtool.models.sparse_communities import SparseFit, prefers_sparse, sparse_communities

#: Shares of a mixture below this are not kept.
_LEAST_SHARE = 0.01
#: Memberships of fewer expected links have faded to nothing.
_LEAST_LINKS = 1e-6


@dataclasses.dataclass(frozen=True)
class CommunityFit:
    """Communities, largest first, and the model of the edges that they belong to.

    cover : who belongs where, the memberships that pay for themselves; strengths : (entries,) float64 F of its entries;
    mixture : the same communities with graded shares of at least one percent, as mixed-membership models have them,
    None where there are none;
    background, propensity (n,) : P(edge uv) = 1 - exp(-lambda_uv), lambda_uv = background propensity_u propensity_v +
    sum_z F_uz F_vz; lambdas : (k,) expected links inside each community, sum over pairs of F_uz F_vz;
    embedding : (n, q) float32 whitened coordinates, NaN for nodes outside of the components that were fitted, and
    eigenvalues (q,), None in sparse mode; mode : "dense" | "sparse";
    trials : numbers of communities that were compared, chosen : place among them, None where there was no choice;
    reason : why that number; bits : what the communities save in describing the edges.
    """

    cover: Cover
    mixture: Cover | None
    strengths: NDArray[np.float64]
    background: float
    propensity: NDArray[np.float64]
    lambdas: NDArray[np.float64]
    embedding: NDArray[np.float32] | None
    eigenvalues: NDArray[np.float64] | None
    mode: str
    trials: tuple[CommunityTrial, ...]
    chosen: int | None
    reason: str
    bits: float
    warnings: tuple[str, ...]


def fit_communities(
    graph: Graph, config: CommunitiesConfig, *, on_trial: Callable[[CommunityTrial], None] | None = None
) -> CommunityFit:
    """Find the communities of `graph`. on_trial : told of every number of communities that was tried.

    Raises UnsuitedError for a graph without edges and for more communities than nodes that can be told apart.
    """
    if not graph.n_edges:
        raise UnsuitedError("the graph has no edges")
    graph = of_mean_weight_one(graph)
    parts, propensity = parts_of(graph), fit_propensity(graph)
    if config.n_communities is not None and config.n_communities > len(parts.large) + len(parts.small):
        raise UnsuitedError(too_many(parts, config.n_communities))
    if config.n_communities is not None:
        config = dataclasses.replace(config, n_communities=max(config.n_communities - len(parts.small), 1))
    fitted = subgraph(graph, parts.large)
    found: DenseFit | SparseFit | None = None
    mode = chosen_mode(fitted, config)
    if mode == "sparse":
        found = sparse_communities(fitted, config, propensity=propensity[parts.large])
        if found is None and config.mode == "sparse":
            raise UnsuitedError(
                "label propagation finds no communities here, the graph is too dense for it: --mode dense"
            )
        mode = "sparse" if found is not None else "dense"
    if found is None and len(parts.large):
        found = dense_communities(
            fitted, propensity[parts.large], config, n_components=parts.n_large, on_trial=on_trial
        )

    def saved(strengths: Strengths, background: Background) -> float:
        gain, cost, _ = description(graph, strengths, background, background_likelihood(graph, propensity))
        return gain - cost

    return assembled(graph, parts, found, propensity, mode, saved)


def too_many(parts: Parts, k: int) -> str:
    """Why there cannot be k communities."""
    if not parts.small:
        return f"{k:,} communities were asked for, of {len(parts.large):,} nodes"
    return (
        f"{k:,} communities were asked for; {len(parts.small):,} small components are one each, and the others have "
        f"{len(parts.large):,} nodes"
    )


def of_mean_weight_one(graph: Graph) -> Graph:
    """Weights in a unit of their own: whether hours or minutes were written down must not matter."""
    if graph.weights is None or not len(graph.weights):
        return graph
    return dataclasses.replace(graph, weights=(graph.weights / graph.weights.mean(dtype=np.float64)).astype(np.float32))


def chosen_mode(graph: Graph, config: CommunitiesConfig) -> str:
    """ "dense" or "sparse", as asked for or by the size of the graph."""
    if config.mode != "auto":
        return config.mode
    return "sparse" if config.n_communities is None and prefers_sparse(graph) else "dense"


def assembled(
    graph: Nodes,
    parts: Parts,
    found: DenseFit | SparseFit | None,
    propensity: NDArray[np.float64],
    mode: str,
    saved: Callable[[Strengths, Background], float],
) -> CommunityFit:
    """The fit of the large components, and each small one as a community, on all nodes. saved : the bits."""
    strengths, place = _on_all_nodes(graph, parts, None if found is None else found.strengths)
    background = Background(0.0 if found is None else found.background.scale, propensity)
    left_over = graph.n_nodes - int((np.diff(strengths.indptr) > 0).sum())
    bits = saved(strengths, background)
    cover = _cover(strengths)
    reason = "every component of at least three nodes is a community" if found is None else found.reason
    return CommunityFit(
        cover=cover,
        mixture=_mixture(parts, found, place, cover),
        strengths=strengths.values,
        background=background.scale,
        propensity=propensity,
        lambdas=_inside(strengths, graph.n_left),
        embedding=_embedding(graph, parts, found),
        eigenvalues=found.eigenvalues if isinstance(found, DenseFit) else None,
        mode=mode,
        trials=found.trials if isinstance(found, DenseFit) else (),
        chosen=found.chosen if isinstance(found, DenseFit) else None,
        reason=reason,
        bits=bits,
        warnings=_warnings(graph, parts, left_over, bits if strengths.n_communities > 1 else 0.0),
    )


def _on_all_nodes(graph: Nodes, parts: Parts, fitted: Strengths | None) -> tuple[Strengths, NDArray[np.int64]]:
    """Strengths with communities of enough members only, by size descending; and where each community went, or -1."""
    none = np.zeros(0, np.int64)
    nodes = [none if fitted is None else parts.large[fitted.nodes]]
    communities = [none if fitted is None else fitted.communities.astype(np.int64)]
    expected = [np.zeros(0) if fitted is None else fitted.expected]
    first = 0 if fitted is None else fitted.n_communities
    for number, members in enumerate(parts.small, first):
        nodes.append(members)
        communities.append(np.full(len(members), number))
        expected.append(graph.degrees[members])
    node, community, links = (np.concatenate(part) for part in (nodes, communities, expected))
    n_communities = first + len(parts.small)
    there = links > _LEAST_LINKS
    sizes = np.bincount(community[there], minlength=n_communities)
    keep = there & (sizes[community] >= LEAST_MEMBERS)
    node, community, links = node[keep], community[keep], links[keep]
    place = _by_size(node, community, n_communities)
    sizes = np.bincount(community, minlength=n_communities)
    order = np.lexsort((place[community], node))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(node, minlength=graph.n_nodes))]).astype(np.int64)
    ordered = place[community][order].astype(np.int32)
    support = Strengths(indptr, ordered, links[order], links[order], int(ordered.max(initial=-1)) + 1)
    return with_expected(graph, support, links[order]), np.where(sizes > 0, place, -1)


def _by_size(node: NDArray[np.int64], community: NDArray[np.int64], n_communities: int) -> NDArray[np.int64]:
    """(n_communities,) the place of each when they are ordered by size, largest first, then by the first member."""
    sizes = np.bincount(community, minlength=n_communities)
    first = np.full(n_communities, np.iinfo(np.int64).max)
    np.minimum.at(first, community, node)
    place = np.empty(n_communities, np.int64)
    place[np.lexsort((first, -sizes))] = np.arange(n_communities)
    return place


def _cover(strengths: Strengths) -> Cover:
    totals = np.bincount(strengths.nodes, strengths.values, len(strengths.indptr) - 1)
    weights = strengths.values / totals[strengths.nodes]
    return Cover(strengths.indptr, strengths.communities, weights, strengths.n_communities)


def _mixture(parts: Parts, found: DenseFit | SparseFit | None, place: NDArray[np.int64], cover: Cover) -> Cover | None:
    if not isinstance(found, DenseFit) or found.mixture is None:
        return None
    graded = found.mixture
    totals = np.bincount(graded.nodes, graded.values, len(parts.large))
    shares = graded.values / np.maximum(totals, np.finfo(float).tiny)[graded.nodes]
    there = (shares >= _LEAST_SHARE) & (place[graded.communities] >= 0)
    mixed = parts.large[graded.nodes[there]]
    # Who was not fitted, or has so few links that nothing is left of them, is as in the cover.
    rest = ~np.isin(cover.entry_nodes(), mixed)
    nodes = np.concatenate([mixed, cover.entry_nodes()[rest]])
    communities = np.concatenate([place[graded.communities[there]], cover.communities[rest]])
    shares = np.concatenate([shares[there], cover.weights[rest]])
    return Cover.from_entries(nodes, communities, shares, n_nodes=cover.n_nodes, n_communities=cover.n_communities)


def _inside(strengths: Strengths, n_left: int | None) -> NDArray[np.float64]:
    """(k,) sum of F_u F_v over the pairs of members that may be linked."""
    if n_left is not None:
        is_left = strengths.nodes < n_left
        sides = [np.where(side, strengths.values, 0.0) for side in (is_left, ~is_left)]
        left, right = (np.bincount(strengths.communities, side, strengths.n_communities) for side in sides)
        return np.asarray(left * right)
    squares = np.bincount(strengths.communities, strengths.values**2, strengths.n_communities)
    return np.asarray((strengths.sums() ** 2 - squares) / 2)


def _embedding(graph: Nodes, parts: Parts, found: DenseFit | SparseFit | None) -> NDArray[np.float32] | None:
    if not isinstance(found, DenseFit) or found.embedding is None:
        return None
    values = np.full((graph.n_nodes, found.embedding.shape[1]), math.nan, np.float32)
    values[parts.large] = found.embedding
    return values


def _warnings(graph: Nodes, parts: Parts, left_over: int, bits: float) -> tuple[str, ...]:
    isolated = int((graph.degrees == 0).sum())
    said = []
    if bits < 0 and len(parts.large):
        said.append("the communities hardly stand out: to write them down takes more bits than they save")
    if left_over > isolated:
        said.append(f"nodes with edges that are in no community of at least {LEAST_MEMBERS}: {left_over - isolated:,}")
    if parts.small:
        said.append(f"components too small to be divided, each a community: {len(parts.small):,}")
    return tuple(said)
