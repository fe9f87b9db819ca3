"""The document step and the word step of a GPU do what those of the CPU do, wherever a document's words are kept."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.kernels import sparse_gpu, topic_cpu, topic_gpu
from tests.emulated_gpu import EmulatedGpu, needs_compiler

pytestmark = needs_compiler

N_TERMS = 350
#: Rooms so small that documents of every kind occur, some of which fit in none.
SMALL = ((1, 1024), (2, 2048), (4, 4096))


@dataclasses.dataclass
class Case:
    """Documents, and a model: arrays of the host."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    counts: NDArray[np.float32]
    word_topic: NDArray[np.float32]
    alpha: NDArray[np.float32]
    own: NDArray[np.float32]


def case_of(n_topics: int, sizes: tuple[int, ...], seed: int = 0, alpha: float = 0.3) -> Case:
    """Documents of these numbers of words, each from few topics; topics overlap little."""
    rng = np.random.default_rng(seed)
    topics = rng.dirichlet(np.full(N_TERMS, 0.05), n_topics) + 1e-5
    indices, counts = [], []
    for size in sizes:
        mixed = rng.dirichlet(np.full(n_topics, 0.1)) @ topics
        indices.append(np.sort(rng.choice(N_TERMS, size, replace=False, p=mixed / mixed.sum())))
        counts.append(rng.integers(1, 6, size))
    totals = rng.uniform(50, 200, n_topics)
    return Case(
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([np.zeros(0), *indices]).astype(np.int32),
        np.concatenate([np.zeros(0), *counts]).astype(np.float32),
        np.ascontiguousarray(topics.T, np.float32),
        rng.uniform(0.5 * alpha, alpha, n_topics).astype(np.float32),
        np.stack([0.05 / totals, 0.75 / totals]).astype(np.float32),
    )


def on_cpu(case: Case, active: NDArray, start: NDArray | None, own: NDArray, **limits: Any) -> tuple[NDArray, NDArray]:
    """Expected counts, and stats."""
    n_documents, n_topics = case.indptr.size - 1, case.alpha.size
    expected = np.full((n_documents, n_topics), -1, np.float32) if start is None else start.copy()
    stats = np.zeros_like(case.word_topic)
    entries = case.indptr, case.indices, case.counts, active, case.word_topic, case.alpha, expected
    topic_cpu.document_step(*entries, limits["max_iters"], np.float32(limits["tol"]), own, stats)
    return expected, stats


def documents_on(gpu: EmulatedGpu, case: Case) -> topic_gpu.Documents:
    indptr = gpu.to_device(case.indptr)
    return topic_gpu.Documents(indptr[:-1], indptr[1:], gpu.to_device(case.indices), gpu.to_device(case.counts))


def on_gpu(
    gpu: EmulatedGpu, case: Case, active: NDArray, start: NDArray | None, own: NDArray, **limits: Any
) -> tuple[NDArray, NDArray]:
    """The same."""
    documents, word_topic, own = documents_on(gpu, case), gpu.to_device(case.word_topic), gpu.to_device(own)
    begin = None if start is None else gpu.to_device(start)
    model = word_topic, gpu.to_device(case.alpha)
    expected, fitted = topic_gpu.document_step(gpu, documents, gpu.to_device(active), *model, begin, own, **limits)
    by_word = sparse_gpu.by_word(gpu, gpu.to_device(case.indptr), documents.indices, N_TERMS)
    stats = topic_gpu.word_step(gpu, fitted, by_word, word_topic, own)
    if begin is not None:
        assert np.array_equal(gpu.to_host(begin), start)  # a step may run again
    return gpu.to_host(expected), gpu.to_host(stats)


def check(case: Case, found: tuple[NDArray, NDArray], wanted: tuple[NDArray, NDArray], tol: float = 1e-5) -> None:
    lengths = np.add.reduceat(np.append(case.counts, 0), case.indptr[:-1]) * (np.diff(case.indptr) > 0)
    assert np.array_equal(found[0] == -1, wanted[0] == -1)
    assert np.all(np.abs(found[0] - wanted[0]) <= tol * lengths[:, None])
    assert np.abs(found[1] - wanted[1]).max() <= tol * max(lengths.max(initial=0), 1)
    assert found[1].sum() == pytest.approx(wanted[1].sum(), rel=1e-5)


LIMITS = {"max_iters": 5, "tol": 1e-2}
SIZES = (3, 0, 1, 40, 2, 17, 300, 33)


def starts_of(case: Case) -> NDArray[np.float32]:
    """Warm starts, of few topics and of none; one cold."""
    rng = np.random.default_rng(5)
    start = rng.gamma(0.15, 4.0, (case.indptr.size - 1, case.alpha.size)).astype(np.float32)
    start[2] = 0
    start[4, 0] = -1
    return start


@pytest.mark.parametrize(("rooms", "reverse"), [(topic_gpu.ROOMS, False), (SMALL, True)], ids=["usual", "small"])
@pytest.mark.parametrize("n_topics", [3, 12, 40])
@pytest.mark.parametrize("start", ["cold", "warm", "own"])
def test_documents_and_words(start: str, n_topics: int, rooms: Any, reverse: bool) -> None:
    case = case_of(n_topics, SIZES)
    active = np.arange(len(SIZES)) != 5
    begin = None if start == "cold" else starts_of(case)
    own = case.own if start == "own" else np.empty((0, n_topics), np.float32)
    gpu = EmulatedGpu(reverse=reverse)
    found = on_gpu(gpu, case, active, begin, own, rooms=rooms, **LIMITS)
    check(case, found, on_cpu(case, active, begin, own, **LIMITS))
    assert "document_fit" in gpu.launches
    again = on_gpu(gpu, case, active, begin, own, rooms=rooms, **LIMITS)
    assert all(np.array_equal(one, two) for one, two in zip(found, again, strict=True))


def test_documents_that_settle_leave_topics_behind() -> None:
    """Many sweeps from a cold start: the working set shrinks, and moves into shared memory on the way."""
    case = case_of(40, (60, 5, 120), seed=3, alpha=0.05)
    active, nothing = np.ones(3, np.bool_), np.empty((0, 40), np.float32)
    gpu = EmulatedGpu()
    limits = {"max_iters": 100, "tol": 1e-3}
    found = on_gpu(gpu, case, active, None, nothing, rooms=SMALL, **limits)
    check(case, found, on_cpu(case, active, None, nothing, **limits), tol=1e-4)
    assert (found[0] > 0).sum(axis=1).max() < 20
    expected, fitted = topic_gpu.document_step(
        gpu,
        documents_on(gpu, case),
        gpu.to_device(active),
        gpu.to_device(case.word_topic),
        gpu.to_device(case.alpha),
        None,
        gpu.to_device(nothing),
        keep=False,
        rooms=SMALL,
        **limits,
    )
    assert np.array_equal(gpu.to_host(expected), found[0])
    assert fitted.lists.shape == (1, 3)


def test_words_of_many_documents() -> None:
    """Words of more entries than a warp takes are cut into segments."""
    rng = np.random.default_rng(4)
    case = case_of(3, (3,) * 600)
    case.indices[:] = np.stack([np.full(600, 1), np.full(600, 4), rng.integers(5, 9, 600)], axis=1).reshape(-1)
    active, start = np.ones(600, np.bool_), rng.gamma(1.0, 2.0, (600, 3)).astype(np.float32)
    gpu = EmulatedGpu()
    found = on_gpu(gpu, case, active, start, case.own, **LIMITS)
    wanted = on_cpu(case, active, start, case.own, **LIMITS)
    assert "add_segments_float" in gpu.launches
    np.testing.assert_allclose(found[0], wanted[0], atol=1e-4)  # 1e-5 of their words
    np.testing.assert_allclose(found[1], wanted[1], rtol=2e-5, atol=1e-4)


@pytest.mark.parametrize("sizes", [(), (0,), (0, 0, 0), (1,)])
def test_few_documents(sizes: tuple[int, ...]) -> None:
    case = case_of(5, sizes)
    active, start = np.ones(len(sizes), np.bool_), np.full((len(sizes), 5), 0.5, np.float32)
    gpu = EmulatedGpu()
    for begin in (None, start):
        found = on_gpu(gpu, case, active, begin, case.own, **LIMITS)
        check(case, found, on_cpu(case, active, begin, case.own, **LIMITS))


def test_more_topics_take_more_memory_until_there_is_none() -> None:
    rooms = [topic_gpu._rooms_for(n, topic_gpu.ROOMS, True)[-1] for n in (1000, 2000, 4000, 10_000)]
    assert [warps for warps, _ in rooms] == [8, 4, 1, 1]
    assert [floats for _, floats in rooms] == [16128, 16128, 32 + 5 * 4000, 32 + 5 * 10_000]
    with pytest.raises(ValueError, match="12000 topics do not fit"):
        topic_gpu._rooms_for(12_000, topic_gpu.ROOMS, True)


@pytest.mark.parametrize("n_topics", [3, 40])
def test_log_likelihood(n_topics: int) -> None:
    case = case_of(n_topics, (3, 0, 140, 1), seed=1)
    case.counts[1::3] = 0
    case.counts[2] = 0.5
    case.word_topic[case.indices[0]] = 0  # impossible: the score is bad and finite
    theta = np.random.default_rng(2).dirichlet(np.full(n_topics, 0.3), 4).astype(np.float32)
    wanted = topic_cpu.log_likelihood(case.indptr, case.indices, case.counts, case.word_topic, theta)
    gpu = EmulatedGpu()
    scores = topic_gpu.log_likelihood(
        gpu, documents_on(gpu, case), gpu.to_device(case.word_topic), gpu.to_device(theta)
    )
    total, n_words = gpu.to_host(scores).sum(axis=0)
    assert total == pytest.approx(wanted, rel=1e-11)
    assert n_words == case.counts.sum()


def test_split_counts() -> None:
    case = case_of(3, (3, 0, 30, 1, 4), seed=1)
    case.counts[-2] = 2.5
    keys = np.random.default_rng(0).integers(0, 2**64, 5, dtype=np.uint64)
    wanted = np.zeros_like(case.counts)
    with np.errstate(over="ignore"):  # 64-bit hashing wraps round; numpy mentions it where the kernel is not compiled
        topic_cpu.split_tokens(case.indptr, case.counts, keys, wanted)
    wanted[-4:] = case.counts[-4:] / 2
    gpu = EmulatedGpu()
    found = gpu.to_host(topic_gpu.split_counts(gpu, documents_on(gpu, case), gpu.to_device(keys)))
    np.testing.assert_array_equal(found, wanted)
