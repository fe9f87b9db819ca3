"""EM on sparse supports on a GPU: memberships go there, fade there, and come back when all is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tdtool.data.graph import Graph
from tdtool.kernels.block_strengths_gpu import sparse_strengths
from tdtool.kernels.blocks_gpu import MOST_ENTRIES
from tdtool.kernels.device_gpu import DeviceArray, Gpu
from tdtool.models.overlap_model import Background, Strengths

#: Memberships below which the host answers sooner than a GPU is told what to do.
_LEAST_ENTRIES = 1 << 16


def suits(start: Strengths) -> bool:
    """Whether EM on these memberships is for a GPU: they are many, and no node has more than a kernel takes."""
    return len(start.values) >= _LEAST_ENTRIES and int(np.diff(start.indptr).max(initial=0)) <= MOST_ENTRIES


def sparse_em_on_gpu(
    gpu: Gpu, graph: Graph, start: Strengths, background: Background, *, sparsity: Sequence[float]
) -> tuple[Strengths, Background]:
    """See overlap_em.sparse_em, whose steps these are; `gpu` looks at the edges of the graph."""
    if not sparsity:
        return start, background
    passes: Any = graph.passes
    indptr, communities = gpu.to_device(start.indptr), gpu.to_device(start.communities)
    values = gpu.to_device(start.values)
    for fading in sparsity:
        expected, shared, _ = passes.sparse(indptr, communities, values, background.scale, background.propensity)
        background = background.making(float(gpu.xp.sum(shared)) / 2, graph.n_left)
        if fading:
            indptr, communities, expected = _faded(gpu, indptr, communities, expected, fading)
        left = None if graph.n_left is None else int(gpu.to_host(indptr[graph.n_left : graph.n_left + 1])[0])
        values = sparse_strengths(gpu, expected, communities, start.n_communities, left)
    found = [gpu.to_host(part) for part in (indptr, communities, values, expected)]
    return Strengths(found[0], found[1], found[2], found[3], start.n_communities), background


def _faded(
    gpu: Gpu, indptr: DeviceArray, communities: DeviceArray, expected: DeviceArray, fading: float
) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
    """The memberships of which something is left."""
    xp = gpu.xp
    keep = expected > fading
    counts = xp.concatenate([gpu.zeros(1, np.int64), xp.cumsum(keep.astype(np.int64))])
    return counts[indptr], communities[keep], (expected - fading)[keep]
