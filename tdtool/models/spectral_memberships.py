"""From the whitened 3-star moment to memberships: one direction a community, by orthogonal tensor power."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.power import PowerFit, orthogonal_power
from tdtool.moments.three_star import ThreeStar, leading_rows


def spectral_memberships(
    points: NDArray[np.float64], node_weights: NDArray[np.float64], *, alpha0: float = 0.0
) -> tuple[NDArray[np.float32], PowerFit]:
    """Memberships of n nodes in k communities, rows sum to 1 (or are zero), with the tensor power iteration's result.

    points : (n, k) X; node_weights : (n,); see GraphEmbedding. A node's coordinate along direction v_j, divided by
    lambda_j = T(v_j, v_j, v_j), is 1 for a pure member of community j and 0 for a pure member of another.
    """
    moment = ThreeStar.of(points, node_weights, alpha0=alpha0)
    fit = orthogonal_power(moment.apply, leading_rows(moment.points, node_weights))
    coordinates = moment.points @ fit.vectors
    skewness = node_weights @ coordinates**3
    coordinates *= np.where(skewness < 0, -1.0, 1.0) / np.maximum(np.abs(skewness), np.finfo(float).tiny)
    memberships = np.maximum(coordinates, 0.0)
    total = memberships.sum(axis=1, keepdims=True)
    return np.asarray(memberships / np.where(total > 0, total, 1.0), np.float32), fit
