"""The steps of the whitened third moment on a GPU: products of tall blocks, some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tdtool.data.device_rows import DevicePartials, DeviceRows, DeviceState, GpuSteps
from tdtool.kernels import sparse_gpu
from tdtool.kernels.device_gpu import DeviceArray, Gpu
from tdtool.kernels.sparse_gpu import product
from tdtool.moments.pairs_gpu import lengths_in_moments, scale_where_used, weighted_column_sums, word_weights
from tdtool.moments.triples import ThirdMoment, dense_step, implicit_step, whitened_rows_step

#: Rows of a product in single precision, whose results are then added in double precision.
_ROWS_AT_ONCE = 1 << 15
#: Bytes of the pairs (rows, k * k) of the dense form that there are at a time.
_PAIR_BYTES = 1 << 28


def whitened_rows_gpu(
    gpu: Gpu, rows: DeviceRows, state: DeviceState, held_out: DeviceArray, whitening: DeviceArray, keep: bool
) -> tuple[DevicePartials, DeviceState]:
    """whitened_rows_step."""
    lengths = lengths_in_moments(rows, held_out)
    scale = scale_where_used(rows, lengths, (lengths - 1) * (lengths - 2))
    single, words = scale.astype(np.float32), rows.by_word
    whitened = gpu.empty((rows.n_documents, whitening.shape[1]), np.float32)
    sparse_gpu.csr_dot(gpu, rows.indptr, rows.indices, rows.counts, whitening, whitened, rows.long_rows)
    z = gpu.empty(whitening.shape, np.float32)
    weights = word_weights(rows, single)
    sparse_gpu.csr_dot(gpu, words.indptr, words.document, weights, whitened, z, words.long_rows)
    n = weighted_column_sums(rows, scale)
    return (z, n), {"whitened": whitened, "triple_scale": single} if keep else {}


def implicit_gpu(
    gpu: Gpu, rows: DeviceRows, state: DeviceState, moment: ThirdMoment, directions: DeviceArray
) -> tuple[DevicePartials, DeviceState]:
    """implicit_step: two products for the documents (4 k^2 operations each) and four for the piece's words."""
    k = moment.n_topics
    whitened, scale = state["whitened"][:, :k], state["triple_scale"]
    total = gpu.zeros((k, k), np.float64)
    for part in _parts(0, rows.n_documents, _ROWS_AT_ONCE):
        squares = product(gpu, whitened[part], directions)
        sparse_gpu.scaled_squares(gpu, squares, scale[part])
        total += product(gpu, whitened[part].T, squares)
    total /= moment.length
    share = rows.share(moment.n.size)
    for part in _parts(share.start, share.stop, _ROWS_AT_ONCE):
        v, z = moment.whitening[part], moment.z[part]
        along_v, along_z = product(gpu, v, directions), product(gpu, z, directions)
        sparse_gpu.word_terms(gpu, along_v, along_z, moment.n[part])
        total -= product(gpu, z.T, along_v)
        total += 2 * product(gpu, v.T, along_z)
    return (total,), {}


def dense_gpu(
    gpu: Gpu, rows: DeviceRows, state: DeviceState, moment: ThirdMoment
) -> tuple[DevicePartials, DeviceState]:
    """dense_step."""
    k = moment.n_topics
    tensor = gpu.zeros((2, k, k * k), np.float64)
    whitened, scale = state["whitened"][:, :k], state["triple_scale"] / np.float32(moment.length)
    _add_outer(gpu, tensor[0], whitened, scale[:, None] * whitened, whitened)
    words = rows.share(moment.n.size)
    v, z, n = moment.whitening[words], moment.z[words], moment.n[words]
    _add_outer(gpu, tensor[0], v, 2 * n[:, None] * v, v)
    _add_outer(gpu, tensor[1], v, v, z)
    return (tensor.reshape(2, k, k, k),), {}


def _add_outer(gpu: Gpu, out: DeviceArray, a: DeviceArray, b: DeviceArray, c: DeviceArray) -> None:
    """Add sum_r a_r (x) b_r (x) c_r to out (k, k * k) float64; a, b, c : (n, k) float32."""
    k = out.shape[0]
    for part in _parts(0, a.shape[0], min(max(_PAIR_BYTES // (4 * k * k), 1), _ROWS_AT_ONCE)):
        pairs = (b[part, :, None] * c[part, None, :]).reshape(-1, k * k)
        out += product(gpu, a[part].T, pairs)


def _parts(first: int, last: int, size: int) -> Iterator[slice]:
    """first ... last - 1, `size` at a time."""
    return (slice(start, min(start + size, last)) for start in range(first, last, size))


GPU_STEPS: GpuSteps = {
    whitened_rows_step: whitened_rows_gpu,
    implicit_step: implicit_gpu,
    dense_step: dense_gpu,
}
