"""What topics a document has, and how well they tell its other words, on a GPU."""

from __future__ import annotations

import dataclasses

import numpy as np

from tdtool.data.device_rows import DevicePartials, DeviceRows, DeviceState, GpuSteps
from tdtool.kernels import topic_gpu
from tdtool.kernels.device_gpu import DeviceArray, Gpu
from tdtool.models import inference
from tdtool.models.held_out import GAMMA, mix64


def documents_step(
    gpu: Gpu, rows: DeviceRows, state: DeviceState, word_topic: DeviceArray, alpha: DeviceArray
) -> tuple[DevicePartials, DeviceState]:
    """As inference.documents_step."""
    documents = topic_gpu.Documents(rows.indptr[:-1], rows.indptr[1:], rows.indices, rows.counts)
    return (_document_topic(gpu, documents, word_topic, alpha), rows.lengths.astype(np.int64)), {}


def completion_step(
    gpu: Gpu,
    rows: DeviceRows,
    state: DeviceState,
    documents: DeviceArray,
    seed: int,
    word_topic: DeviceArray,
    alpha: DeviceArray,
) -> tuple[DevicePartials, DeviceState]:
    """As inference.completion_step."""
    xp = gpu.xp
    if documents.size == 0:
        return (gpu.zeros(2, np.float64),), {}
    ends = gpu.to_device(np.array([rows.start, rows.start + rows.n_documents], np.int64))
    first, last = gpu.to_host(xp.searchsorted(documents, ends)).tolist()
    chosen = documents[first:last]
    if first == last:
        return (gpu.zeros(2, np.float64),), {}
    begins, ends = rows.indptr[chosen - rows.start], rows.indptr[chosen - rows.start + 1]
    whole = topic_gpu.Documents(begins, ends, rows.indices, rows.counts)
    seen = topic_gpu.split_counts(gpu, whole, _keys(chosen, seed))
    theta = _document_topic(gpu, dataclasses.replace(whole, counts=seen), word_topic, alpha)
    unseen = dataclasses.replace(whole, counts=rows.counts - seen)
    return (xp.sum(topic_gpu.log_likelihood(gpu, unseen, word_topic, theta), axis=0),), {}


def _keys(documents: DeviceArray, seed: int) -> DeviceArray:
    """As held_out.document_keys, (n,) uint64."""
    (start,) = mix64(np.array([seed], np.int64).astype(np.uint64) + GAMMA)
    return mix64((documents.astype(np.uint64) + np.uint64(1)) * GAMMA + start)


def _document_topic(
    gpu: Gpu, documents: topic_gpu.Documents, word_topic: DeviceArray, alpha: DeviceArray
) -> DeviceArray:
    """As inference.document_topic, (D, T) float32."""
    active, nothing = gpu.xp.ones(documents.size, np.bool_), gpu.empty((0, alpha.size), np.float32)
    expected, _ = topic_gpu.document_step(
        gpu,
        documents,
        active,
        word_topic,
        alpha,
        None,
        nothing,
        max_iters=inference.MAX_SWEEPS,
        tol=inference.SETTLED,
        keep=False,
    )
    gamma = gpu.xp.maximum(expected, np.float32(0)) + alpha
    return gamma / gamma.sum(axis=1, keepdims=True)


GPU_STEPS: GpuSteps = {inference.documents_step: documents_step, inference.completion_step: completion_step}
