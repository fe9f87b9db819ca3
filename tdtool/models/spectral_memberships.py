"""From the whitened 3-star moment to memberships: one direction a community, by orthogonal tensor power."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.data.graph import Graph
from tdtool.decompose.power import PowerFit, leading_rows, orthogonal_power
from tdtool.decompose.spread_rows import leading_rows_on_gpu
from tdtool.kernels.arrays import like, namespace
from tdtool.kernels.device_gpu import owner
from tdtool.models.graph_parts import UnsuitedError
from tdtool.moments.split_star import SplitStar
from tdtool.moments.three_star import ThreeStar

Matrix = NDArray[np.float64]
_NOTHING = 1e-9
#: Shares below this, of the node's largest, are noise.
_LEAST_SHARE = 0.5


def spectral_memberships(
    points: Matrix, node_weights: Matrix, *, alpha0: float = 0.0, tensor: Matrix | None = None
) -> tuple[NDArray[np.float32], PowerFit]:
    """Memberships of n nodes in k communities, rows sum to 1 (or are zero), with the tensor power iteration's result.

    points : (n, k) X; node_weights : (n,); see GraphEmbedding; tensor : see ThreeStar. A node's coordinate along
    direction v_j, divided by lambda_j = T(v_j, v_j, v_j), is 1 for a pure member of community j and 0 for a pure member
    of another. From points on a GPU, memberships on it.
    """
    moment, gpu = ThreeStar.of(points, node_weights, alpha0=alpha0, tensor=tensor), owner(points)
    if gpu is None:
        start = leading_rows(moment.points, node_weights)
    else:
        start = leading_rows_on_gpu(gpu, moment.points, node_weights)
    fit = orthogonal_power(moment.apply, start)
    return _shares(_pure_is_one(moment.points, fit)), fit


def split_memberships(graph: Graph, k: int, *, tau: float, seed: int) -> NDArray[np.float32]:
    """The same (n, k) from four parts of the nodes: see SplitStar. UnsuitedError: it does not work for this graph.

    The centres have memberships of their own, every other node the mean of its neighbours among them.
    """
    try:
        moment = SplitStar.of(graph, k, tau=tau, seed=seed)
    except ValueError as error:
        raise UnsuitedError(str(error)) from error
    fit = orthogonal_power(moment.apply, leading_rows(moment.points, moment.weights))
    memberships = np.zeros((graph.n_nodes, k), np.float32)
    memberships[moment.centres] = _shares(_pure_is_one(moment.points, fit))
    around = _shares(graph.adjacency() @ memberships)
    around[moment.centres] = memberships[moment.centres]
    around[around.sum(axis=1) == 0] = 1 / k  # no neighbour among the centres: EM will tell
    return around


def nearly_pure(memberships: NDArray[np.float32], *, mixed: float = 0.05) -> NDArray[np.float32]:
    """A start for EM: every node in its largest community but for a share `mixed`, which stays as it was.

    EM doubts a membership only where another one has a share to grow from; from spectral shares themselves, which
    noise spreads over all communities, it ends in poorer optima.
    """
    xp = namespace(memberships)
    pure = xp.zeros_like(memberships)
    some = (memberships.max(axis=1) > 0).astype(memberships.dtype)
    xp.put_along_axis(pure, memberships.argmax(axis=1)[:, None], some[:, None], axis=1)
    return (1 - np.float32(mixed)) * pure + np.float32(mixed) * memberships


def without_traces(memberships: NDArray[np.float32]) -> NDArray[np.float32]:
    """What is left of spectral memberships (n, k) where nothing is polished: those that the node clearly has."""
    is_clear = memberships >= _LEAST_SHARE * memberships.max(axis=1, keepdims=True)
    return namespace(memberships).where(is_clear, memberships, np.float32(0))


def _pure_is_one(points: Matrix, fit: PowerFit) -> Matrix:
    """Coordinates along the directions over lambda: 1 for a pure member; with alpha0 the same for all of these.

    A direction without weight is no community: its coordinates are 0.
    """
    weights = np.where(fit.weights > _NOTHING * fit.weights.max(initial=0.0), fit.weights, np.inf)
    return points @ like(fit.vectors, points) / like(weights, points)


def _shares(values: NDArray[Any]) -> NDArray[np.float32]:
    """Positive parts, rows sum to 1 or are zero."""
    xp = namespace(values)
    positive = xp.maximum(values, 0.0)
    total = positive.sum(axis=1, keepdims=True)
    return (positive / xp.where(total > 0, total, 1.0)).astype(np.float32)
