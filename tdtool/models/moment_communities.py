"""Communities from the moments of a graph, without its edges: the spectral memberships, as they are unpolished."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from numpy.typing import NDArray

from tdtool.models.communities import CommunityFit, assembled, too_many
from tdtool.models.dense_communities import DenseFit
from tdtool.models.graph_parts import LEAST_MEMBERS, Components, Parts, UnsuitedError, parts_among
from tdtool.models.overlap_em import FIRST_BACKGROUND, strengths_of
from tdtool.models.overlap_model import Background, one_community
from tdtool.models.spectral_memberships import spectral_memberships, without_traces

Floats = NDArray[np.float64]
_AS_ASKED, _WHOLE = "as many communities as were asked for", "one community was asked for"
_NONE = f"no community of at least {LEAST_MEMBERS} nodes was found"


@dataclasses.dataclass(frozen=True)
class NodeFacts:
    """Nodes of a graph whose edges are not there. degrees : (n,), of edges of mean weight one."""

    degrees: Floats
    n_left: int | None

    @property
    def n_nodes(self) -> int:
        """n."""
        return self.degrees.size


@dataclasses.dataclass(frozen=True)
class GraphMoments:
    """What is left of a graph.

    nodes : n of them; propensity : (n,) theta of the model without communities; components : of the graph; points :
    (n, q) whitened coordinates, NaN for nodes outside of the components that are fitted; weights : (n,) of the nodes in
    the moments, 0 there; eigenvalues : (q,); tensor : (q, q, q) the 3-stars, None where there are too many.
    """

    nodes: NodeFacts
    propensity: Floats
    components: Components
    points: NDArray[np.floating]
    weights: Floats
    eigenvalues: Floats
    tensor: Floats | None

    @property
    def n_directions(self) -> int:
        """q, communities that the fitted components can have."""
        return self.eigenvalues.size

    @functools.cached_property
    def parts(self) -> Parts:
        """Who is fitted, and the small components."""
        return parts_among(self.components, int(np.count_nonzero(self.nodes.degrees)))

    @property
    def most_communities(self) -> int:
        """Those that can be told apart, and the small components."""
        return self.n_directions + len(self.parts.small)


def communities_of_moments(moments: GraphMoments, n_communities: int, *, alpha0: float = 0.0) -> CommunityFit:
    """Those of `fit_communities` with so many communities and no polish, but for rounding; bits : NaN, not known.

    UnsuitedError: more communities than nodes, or than the moments can tell apart.
    """
    parts, nodes = moments.parts, moments.nodes
    if n_communities > len(parts.large) + len(parts.small):
        raise UnsuitedError(too_many(parts, n_communities))
    k = max(n_communities - len(parts.small), 1)
    if parts.large.size and k > max(moments.n_directions, 1):
        raise UnsuitedError(
            f"{n_communities:,} communities were asked for; the moments tell {moments.most_communities:,}"
        )
    left = None if nodes.n_left is None else int((parts.large < nodes.n_left).sum())
    fitted = NodeFacts(nodes.degrees[parts.large], left)
    found = _fitted(moments, fitted, k, alpha0) if parts.large.size else None
    return assembled(nodes, parts, found, moments.propensity, "dense", lambda strengths, background: math.nan)


def _fitted(moments: GraphMoments, fitted: NodeFacts, k: int, alpha0: float) -> DenseFit:
    large = moments.parts.large
    propensity = moments.propensity[large]
    if k == 1 or fitted.n_nodes < 4:
        return _whole(fitted, propensity, _WHOLE if k == 1 else "a graph of fewer than four nodes is one community")
    points, weights = moments.points[large, :k].astype(np.float64), moments.weights[large]
    tensor = None if moments.tensor is None else moments.tensor[:k, :k, :k]
    memberships, _ = spectral_memberships(points, weights, alpha0=alpha0, tensor=tensor)
    expected = without_traces(memberships) * fitted.degrees[:, None].astype(np.float32)
    strengths = strengths_of(fitted, np.asarray(expected, np.float32))
    if not (strengths.sizes() >= LEAST_MEMBERS).any():
        return _whole(fitted, propensity, _NONE)
    background = Background(FIRST_BACKGROUND, propensity)
    embedding = points.astype(np.float32)
    return DenseFit(strengths, background, strengths, embedding, moments.eigenvalues[:k], (), None, _AS_ASKED)


def _whole(fitted: NodeFacts, propensity: Floats, reason: str) -> DenseFit:
    strengths, background = one_community(fitted, propensity)
    return DenseFit(strengths, background, None, None, None, (), None, reason)
