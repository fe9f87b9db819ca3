"""The polish on a GPU: fits of the documents, then sums over the documents of each word."""

from __future__ import annotations

import numpy as np

from tdtool.data.device_rows import DevicePartials, DeviceRows, DeviceState, GpuSteps
from tdtool.kernels import topic_gpu
from tdtool.kernels.device_gpu import DeviceArray, Gpu
from tdtool.models import polish


def polish_step(
    gpu: Gpu,
    rows: DeviceRows,
    state: DeviceState,
    left_out: DeviceArray,
    word_topic: DeviceArray,
    alpha: DeviceArray,
    own: DeviceArray,
    sample: DeviceArray,
) -> tuple[DevicePartials, DeviceState]:
    """As polish.polish_step."""
    documents = topic_gpu.Documents(rows.indptr[:-1], rows.indptr[1:], rows.indices, rows.counts)
    expected, fitted = topic_gpu.document_step(
        gpu,
        documents,
        ~rows.contains(left_out),
        word_topic,
        alpha,
        state.get("expected"),
        own,
        max_iters=polish.SWEEPS,
        tol=polish.SETTLED,
    )
    stats = topic_gpu.word_step(gpu, fitted, rows.by_word, word_topic, own)
    return (stats, _sampled(gpu, rows, expected, sample)), {"expected": expected}


def _sampled(gpu: Gpu, rows: DeviceRows, expected: DeviceArray, sample: DeviceArray) -> DeviceArray:
    """(n, T) float32: the rows of the documents of `sample`, 0 where they are not here."""
    if rows.n_documents == 0 or sample.size == 0:
        return gpu.zeros((sample.size, expected.shape[1]), np.float32)
    local = sample - rows.start
    inside = (local >= 0) & (local < rows.n_documents)
    found = expected[gpu.xp.clip(local, 0, rows.n_documents - 1)]
    return gpu.xp.where(inside[:, None], found, np.float32(0))


GPU_STEPS: GpuSteps = {polish.polish_step: polish_step}
