"""EM of the overlapping block model: how strongly every node belongs to every community.

The E step hands the expected number of links of each edge, lambda / (1 - exp(-lambda)) (Zhou 2015), to what made them;
the M step makes strengths of them. It begins dense, with all communities at all nodes; what is not sure fades, and from
then on only the memberships that are left are looked at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.data.edge_passes_gpu import gpu_of
from tdtool.data.graph import Graph
from tdtool.kernels import block_strengths_gpu
from tdtool.kernels.arrays import like, namespace, to_host
from tdtool.kernels.block_strengths_cpu import dense_strengths, sparse_strengths
from tdtool.kernels.blocks_gpu import MOST_COLUMNS, padded_columns
from tdtool.kernels.device_gpu import Gpu
from tdtool.models.overlap_model import Background, Nodes, Strengths, model_arguments
from tdtool.models.sparse_em_gpu import sparse_em_on_gpu, suits

#: Expected links that a membership loses in every iteration after the first third: what is not sure fades away.
SPARSITY = 0.5
_FREE_SHARE = 1 / 3
#: Expected links that fade in the last iterations for graded shares: much, so that traces go; then little.
GRADED_SPARSITY = (1.5,) * 4 + (0.5,) * 4
#: When fewer of all memberships are left, they are looked at one by one.
_SPARSE_SHARE = 0.25
_PROPENSITY_STEPS, _SETTLED = 30, 1e-3
#: Below this rate of the likeliest pair an edge is one link, and degrees tell propensities without a look at the edges.
_SINGLE_LINKS = 0.1
FIRST_BACKGROUND = 0.5


def fit_propensity(graph: Graph) -> NDArray[np.float64]:
    """theta of the model without communities: P(edge uv) = 1 - exp(-theta_u theta_v). Returns (n,)."""
    degrees = graph.degrees
    total = max(float(degrees.sum()), 1.0)
    theta = degrees / np.sqrt(total if graph.n_left is None else total / 2)
    none = Strengths.none(graph.n_nodes)
    column = np.zeros(graph.n_nodes, np.int32)
    if float(theta.max(initial=0.0)) ** 2 < _SINGLE_LINKS:
        return sparse_strengths(degrees, column, 1, graph.n_left)
    for _ in range(_PROPENSITY_STEPS):
        _, expected, _ = graph.passes.sparse(*model_arguments(none, Background(1.0, theta)))
        before, theta = theta, sparse_strengths(expected, column, 1, graph.n_left)
        if np.abs(theta - before).sum() < _SETTLED * theta.sum():
            break
    return theta


def dense_em(
    graph: Graph,
    memberships: NDArray[np.float32],
    propensity: NDArray[np.float64],
    *,
    n_iters: int,
    sparsity: float = SPARSITY,
) -> tuple[Strengths, Background]:
    """From memberships to strengths: EM over all communities of all nodes.

    memberships : (n, k) >= 0, rows sum to 1 or are zero; propensity : (n,) theta; sparsity : expected links that fade
    from each membership after the first third. Returns the memberships that have not faded to nothing. Where a GPU
    looks at the edges, what has n k entries stays on it, and rows stay whole: it reads them as fast as their entries.
    """
    k = memberships.shape[1]
    gpu = gpu_of(graph) if k <= MOST_COLUMNS else None
    if gpu is None:
        memberships = to_host(memberships)
    else:
        memberships = padded_columns(gpu, memberships if gpu.owns(memberships) else gpu.to_device(memberships))
    degrees = graph.degrees[:, None].astype(np.float32)
    expected = memberships * like(degrees, memberships)
    background = Background(FIRST_BACKGROUND, propensity)
    for step in range(n_iters):
        is_free = step < n_iters * _FREE_SHARE
        if gpu is None and not is_free and np.count_nonzero(expected) < _SPARSE_SHARE * expected.size:
            return sparse_em(graph, strengths_of(graph, expected), background, sparsity=(sparsity,) * (n_iters - step))
        expected, shared = _dense_step(graph, gpu, expected, background)
        background = background.making(float(shared.sum()) / 2, graph.n_left)
        if not is_free:
            namespace(expected).maximum(expected - np.float32(sparsity), 0, out=expected)
    return strengths_of(graph, expected, k), background


def _dense_step(graph: Graph, gpu: Gpu | None, expected: Any, background: Background) -> tuple[Any, Any]:
    """M step and E step: expected links (n, k) and of the background (n,), where `expected` is."""
    if gpu is None:
        strengths = dense_strengths(expected, graph.n_left)
    else:
        strengths = block_strengths_gpu.dense_strengths(gpu, expected, graph.n_left)
    return graph.passes.dense(strengths, background.scale, background.propensity)


def sparse_em(
    graph: Graph, start: Strengths, background: Background, *, sparsity: Sequence[float]
) -> tuple[Strengths, Background]:
    """EM on the memberships of `start`. sparsity : what fades in each iteration; what comes to nothing then goes."""
    gpu = gpu_of(graph)
    if gpu is not None and suits(start):
        try:
            return sparse_em_on_gpu(gpu, graph, start, background, sparsity=sparsity)
        except MemoryError:
            log.note("the memberships do not all fit in the memory of the GPU: they go there pass by pass")
    found = start
    for fading in sparsity:
        expected, shared, _ = graph.passes.sparse(*model_arguments(found, background))
        background = background.making(float(shared.sum()) / 2, graph.n_left)
        if fading:
            found = dataclasses.replace(found, expected=expected - fading).kept(expected > fading)
            expected = found.expected
        found = with_expected(graph, found, expected)
    return found, background


def graded(
    graph: Graph, found: Strengths, background: Background, *, sparsity: Sequence[float] = GRADED_SPARSITY
) -> Strengths:
    """Mixed memberships: some more EM in which traces fade faster. A node's shares are its F over their sum.

    found : as `dense_em` leaves them. Left alone, EM explains the background by a trace of every community in every
    node, and the memberships of planted graphs get worse with every iteration.
    """
    return sparse_em(graph, found, background, sparsity=sparsity)[0]


def with_expected(graph: Nodes, support: Strengths, expected: NDArray[np.float64]) -> Strengths:
    """The M step: F on the supports of `support` from expected links (entries,)."""
    left = None if graph.n_left is None else int(support.indptr[graph.n_left])
    values = sparse_strengths(expected, support.communities, support.n_communities, left)
    return dataclasses.replace(support, values=values, expected=expected)


def strengths_of(graph: Nodes, expected: NDArray[np.float32], k: int | None = None) -> Strengths:
    """Strengths where expected links (n, columns) are not zero. k : communities, as many as columns when not given."""
    mask = expected > 0
    indptr = np.concatenate([[0], np.cumsum(to_host(mask.sum(axis=1)))]).astype(np.int64)
    communities = to_host(namespace(expected).nonzero(mask)[1].astype(np.int32))
    links = to_host(expected[mask]).astype(np.float64)
    n_communities = expected.shape[1] if k is None else k
    return with_expected(graph, Strengths(indptr, communities, links, links, n_communities), links)
