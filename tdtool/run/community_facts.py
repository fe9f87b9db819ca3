"""What communities say to a person: how large and dense each is, who is strongest in it, who stands between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.ranking import largest
from tdtool.models import graph_scores
from tdtool.models.cover import Cover

_TIES = 10


@dataclasses.dataclass(frozen=True)
class CommunityFacts:
    """Communities of a graph, from a fit or from a file.

    cover : n nodes, k communities; strengths : (entries,) float64, of each entry of `cover`; degrees : (n,) float64;
    density, conductance, lambdas : (k,) float64; stability : (k,) float64 or None; link_probability : (k, k) float64 or
    None; name : of a node, by its number; n_left : nodes of the first kind in a bipartite graph.
    """

    cover: Cover
    strengths: NDArray[np.float64]
    degrees: NDArray[np.float64]
    density: NDArray[np.float64]
    conductance: NDArray[np.float64]
    lambdas: NDArray[np.float64]
    stability: NDArray[np.float64] | None
    link_probability: NDArray[np.float64] | None
    name: Callable[[int], str]
    n_left: int | None = None

    def communities(self, n_top: int, most: int | None = None) -> list[dict[str, Any]]:
        """community, size, share (of the nodes), density, conductance, lambda, stability, left_size, members of each.

        left_size : members of the first kind, of a bipartite graph; members : name, share and strength of the `n_top`
        strongest; most : of the communities, None for all.
        """
        cover, sizes = self.cover, self.cover.sizes
        order = np.lexsort((-self.strengths, cover.communities))
        starts, nodes = np.concatenate([[0], np.cumsum(sizes)]), cover.entry_nodes()
        left = np.bincount(cover.communities[: cover.indptr[self.n_left or 0]], minlength=cover.n_communities)
        rows = []
        for z in range(cover.n_communities if most is None else min(most, cover.n_communities)):
            best = order[starts[z] : min(starts[z] + n_top, starts[z + 1])]
            row = {"community": z, "size": int(sizes[z]), "share": float(sizes[z] / max(cover.n_nodes, 1))}
            row |= {"density": float(self.density[z]), "conductance": float(self.conductance[z])}
            row |= {"lambda": float(self.lambdas[z])}
            if self.n_left is not None:
                row["left_size"] = int(left[z])
            if self.stability is not None:
                row["stability"] = float(self.stability[z])
            rows.append({**row, "members": [self._member(int(nodes[entry]), int(entry)) for entry in best]})
        return rows

    def _member(self, node: int, entry: int) -> dict[str, Any]:
        share, strength = float(self.cover.weights[entry]), float(self.strengths[entry])
        return {"node": self.name(node), "share": share, "strength": strength}

    def bridges(self, most: int | None = None) -> list[dict[str, Any]]:
        """node, degree and communities [(community, share)] of nodes in several, those that tie most together first."""
        found = graph_scores.bridges(self.cover, self.degrees, most=most)
        return [
            {"node": self.name(u), "degree": float(self.degrees[u]), "communities": self._shares(u)}
            for u in found.nodes.tolist()
        ]

    def _shares(self, node: int) -> list[tuple[int, float]]:
        """(community, share) of a node, the largest share first."""
        entries = slice(int(self.cover.indptr[node]), int(self.cover.indptr[node + 1]))
        pairs = zip(self.cover.communities[entries].tolist(), self.cover.weights[entries].tolist(), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))

    def ties(self, most: int = _TIES) -> list[dict[str, Any]]:
        """communities (two) and probability of a link between their pure members, the most linked pairs first."""
        if self.link_probability is None:
            return []
        upper = np.triu(self.link_probability, 1)
        places = largest(upper.reshape(-1), min(most, upper.size))
        pairs = [divmod(int(place), len(upper)) for place in places]
        return [{"communities": [a, b], "probability": float(upper[a, b])} for a, b in pairs if upper[a, b] > 0]

    def counts(self) -> dict[str, int]:
        """n_nodes, n_communities, n_several (nodes in several communities), n_none (nodes in none)."""
        counts = self.cover.n_memberships
        return {
            "n_nodes": self.cover.n_nodes,
            "n_communities": self.cover.n_communities,
            "n_several": int(np.count_nonzero(counts > 1)),
            "n_none": int(np.count_nonzero(counts == 0)),
        }
