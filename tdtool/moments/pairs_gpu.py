"""The steps of the first and second moments on a GPU, and the second moment applied to blocks that stay there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tdtool.data.device_rows import DevicePartials, DeviceRows, DeviceState, GpuSteps
from tdtool.kernels import sparse_gpu
from tdtool.kernels.device_gpu import DeviceArray, Gpu
from tdtool.moments.pairs import (
    SHORTEST_DOCUMENT,
    FirstMoment,
    first_moment_step,
    pair_step,
    vocabulary_step,
)

#: Columns of a block that go through the documents at a time: a workspace of 512 bytes a document.
_COLUMNS = 128
#: Words whose numbers are made doubles at a time.
_WORDS_AT_ONCE = 1 << 16


def lengths_in_moments(rows: DeviceRows, held_out: DeviceArray) -> DeviceArray:
    """l_d, (D_p,) float64, 0 for documents that the moments leave out: held out, or shorter than 3 words."""
    lengths = rows.lengths.copy()
    lengths[(lengths < SHORTEST_DOCUMENT) | rows.contains(held_out)] = 0.0
    return lengths


def scale_where_used(rows: DeviceRows, lengths: DeviceArray, divisor: DeviceArray) -> DeviceArray:
    """1 / divisor where the document counts, else 0; all (D_p,) float64."""
    xp = rows.gpu.xp
    return xp.where(lengths > 0, 1.0 / xp.where(lengths > 0, divisor, 1.0), 0.0)


def word_weights(rows: DeviceRows, scale: DeviceArray) -> DeviceArray:
    """scale_d c_di of each entry by word, in the dtype of scale (D_p,): (nnz,)."""
    words = rows.by_word
    return rows.counts[words.order] * scale[words.document]


def weighted_column_sums(rows: DeviceRows, scale: DeviceArray) -> DeviceArray:
    """C' scale, (V,) float64. scale : (D_p,) float64."""
    words = rows.by_word
    return sparse_gpu.row_sums(rows.gpu, words.indptr, word_weights(rows, scale), words.long_rows)


def first_moment_gpu(
    gpu: Gpu, rows: DeviceRows, state: DeviceState, held_out: DeviceArray, n_terms: int
) -> tuple[DevicePartials, DeviceState]:
    """first_moment_step."""
    lengths = lengths_in_moments(rows, held_out)
    used = (lengths > 0).astype(np.float64)
    words = weighted_column_sums(rows, used)
    diagonal = weighted_column_sums(rows, scale_where_used(rows, lengths, lengths - 1))
    return (words, diagonal, gpu.xp.stack([lengths.sum(), used.sum()])), {}


def vocabulary_gpu(gpu: Gpu, rows: DeviceRows, state: DeviceState, n_terms: int) -> tuple[DevicePartials, DeviceState]:
    """vocabulary_step."""
    uses = weighted_column_sums(rows, gpu.xp.ones(rows.n_documents, np.float64))
    indptr = rows.by_word.indptr
    return (indptr[1:] - indptr[:-1], uses.astype(np.int64)), {}


def pair_gpu(
    gpu: Gpu, rows: DeviceRows, state: DeviceState, held_out: DeviceArray, block: DeviceArray
) -> tuple[DevicePartials, DeviceState]:
    """pair_step: some columns at a time to the documents and back, nnz (8 q + 16 q / 128) bytes in all."""
    lengths = lengths_in_moments(rows, held_out)
    words, n_columns = rows.by_word, block.shape[1]
    weights = word_weights(rows, scale_where_used(rows, lengths, lengths - 1).astype(np.float32))
    out = gpu.empty(block.shape, np.float32)
    for first in range(0, n_columns, _COLUMNS):
        part = slice(first, min(first + _COLUMNS, n_columns))
        along = gpu.empty((rows.n_documents, part.stop - first), np.float32)
        sparse_gpu.csr_dot(gpu, rows.indptr, rows.indices, rows.counts, block[:, part], along, rows.long_rows)
        sparse_gpu.csr_dot(gpu, words.indptr, words.document, weights, along, out[:, part], words.long_rows)
    return (out,), {}


def second_moment_apply(
    gpu: Gpu,
    map_reduce: Callable[..., DevicePartials],
    first: FirstMoment,
    held_out: NDArray[np.int64],
    alpha0: float,
) -> Callable[[DeviceArray], DeviceArray]:
    """block (V, q) float32 of the GPU -> M2 block, there too. map_reduce : leaves its sums on the GPU."""
    diagonal = gpu.to_device(first.diagonal.astype(np.float32))
    moment1 = gpu.to_device(first.moment1)
    corrected = moment1 * (alpha0 / (alpha0 + 1))

    def apply(block: DeviceArray) -> DeviceArray:
        (pairs,) = map_reduce(pair_step, held_out, block, about="second moment")
        along = gpu.zeros(block.shape[1], np.float64)
        for start in range(0, block.shape[0], _WORDS_AT_ONCE):
            part = slice(start, start + _WORDS_AT_ONCE)
            along += moment1[part] @ block[part].astype(np.float64)
        sparse_gpu.second_moment(gpu, pairs, block, 1 / first.length, diagonal, corrected, along)
        return pairs

    return apply


GPU_STEPS: GpuSteps = {first_moment_step: first_moment_gpu, vocabulary_step: vocabulary_gpu, pair_step: pair_gpu}
