"""The step of the sketched third moment on a GPU: transforms of whitened documents and words, a block at a time."""

from __future__ import annotations

import numpy as np

from tdtool.data.device_rows import DevicePartials, DeviceRows, DeviceState, GpuSteps
from tdtool.kernels import sketch_gpu, sparse_gpu
from tdtool.kernels.device_gpu import DeviceArray, Gpu
from tdtool.kernels.hashing import HashFamily
from tdtool.kernels.sketch import column_blocks
from tdtool.kernels.sparse_gpu import product
from tdtool.moments.pairs_gpu import lengths_in_moments, scale_where_used
from tdtool.moments.sketched_triples import sketch_step
from tdtool.moments.triples import ThirdMoment


def sketch_step_gpu(
    gpu: Gpu, rows: DeviceRows, state: DeviceState, moment: ThirdMoment, held_out: DeviceArray, family: HashFamily
) -> tuple[DevicePartials, DeviceState]:
    """sketch_step: for each document, and twice for each word of the share, B L numbers are written and transformed."""
    k = moment.n_topics
    cubes = gpu.zeros((family.n_hashes, family.hash_length // 2 + 1), np.complex128)
    pairs = gpu.zeros((k, k), np.float64)
    lengths = lengths_in_moments(rows, held_out)
    scale = scale_where_used(rows, lengths, (lengths - 1) * (lengths - 2)) / moment.length
    whitened = gpu.empty((rows.n_documents, k), np.float32)
    sparse_gpu.csr_dot(gpu, rows.indptr, rows.indices, rows.counts, moment.whitening, whitened, rows.long_rows)
    for block in column_blocks(rows.n_documents, family, 2, gpu):
        y, weights = whitened[block], scale[block]
        once = sketch_gpu.spectra(gpu, y.T, family)
        sketch_gpu.add_products(gpu, [once] * 3, weights, cubes)
        pairs += product(gpu, (weights[:, None].astype(np.float32) * y).T, y * y)
    words = rows.share(moment.n.size)
    for block in column_blocks(words.stop - words.start, family, 3, gpu):
        part = slice(words.start + block.start, words.start + block.stop)
        v, z = moment.whitening[part], moment.z[part]
        once = 2 * moment.n[part, None] * v - z
        pairs += product(gpu, once.T, v * v)
        pairs -= 2 * product(gpu, v.T, v * z)
        twice, once = sketch_gpu.spectra(gpu, v.T, family), sketch_gpu.spectra(gpu, (once - 2 * z).T, family)
        ones = gpu.xp.ones(block.stop - block.start, np.float64)
        sketch_gpu.add_products(gpu, [twice, twice, once], ones, cubes)
    return (cubes, pairs), {}


GPU_STEPS: GpuSteps = {sketch_step: sketch_step_gpu}
