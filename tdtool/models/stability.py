"""How much of a cover comes back from other starts."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.graph_scores_cpu import best_overlaps
from tdtool.models.cover import Cover
from tdtool.models.cover_scores import onmi_max


@dataclasses.dataclass(frozen=True)
class Stability:
    """How alike runs are. onmi : mean of onmi_max over all pairs of runs, 0 to 1.

    jaccard : (k,) float64, for each community of the first run the mean over the other runs of its largest Jaccard
    index with any community there: 1 came back member for member each time, 0 is a community without members.
    """

    onmi: float
    jaccard: NDArray[np.float64]


def stability(covers: Sequence[Cover]) -> Stability:
    """Compare covers of the same nodes, at least 2; the first is the one whose communities are judged.

    ValueError for fewer, or for covers of different numbers of nodes. Best Jaccard indices as in Hennig 2007,
    "Cluster-wise assessment of cluster stability" (Computational Statistics and Data Analysis 52), over runs in place
    of resampled data.
    """
    if len(covers) < 2:
        raise ValueError(f"stability compares runs; there is {len(covers)}")
    if len({cover.n_nodes for cover in covers}) > 1:
        raise ValueError("the covers are of different numbers of nodes")
    first, *others = covers
    alike = [onmi_max(left, right) for left, right in itertools.combinations(covers, 2)]
    return Stability(float(np.mean(alike)), np.mean([best_jaccard(first, other) for other in others], axis=0))


def best_jaccard(cover: Cover, other: Cover) -> NDArray[np.float64]:
    """(k,) float64: for each community of `cover` the largest |both| / |either| with a community of `other`."""
    indptr, members, _ = cover.by_community()
    best = np.empty(cover.n_communities)
    best_overlaps(indptr, members, cover.sizes, other.indptr, other.communities, other.sizes, best)
    return best
