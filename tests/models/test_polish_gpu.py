"""The polish and the scores of a GPU are those of the CPU, for whatever pieces the documents come in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from tdtool.data.corpus import Corpus
from tdtool.engine import LocalEngine
from tdtool.engine_gpu import GpuEngine
from tdtool.models import inference_gpu, polish_gpu
from tdtool.models.inference import completion_step, documents_step
from tdtool.models.polish import DocumentSets, polish
from tdtool.models.scores import completion_perplexity
from tdtool.models.topic_model import TopicModel
from tests.emulated_gpu import EmulatedGpu, needs_compiler

pytestmark = needs_compiler

DOCUMENTS = DocumentSets(np.array([2, 9, 20]), np.array([5]), np.array([0, 1, 4, 10, 21]))
STEPS = {**polish_gpu.GPU_STEPS, **inference_gpu.GPU_STEPS}


@pytest.fixture
def model(rng: np.random.Generator) -> TopicModel:
    """Topics that are alike and a large alpha, so that no topic is about to leave a document."""
    word_topic = np.ascontiguousarray(rng.dirichlet(np.full(7, 3.0), 3).T, np.float32)
    return TopicModel(word_topic, np.array([2.0, 1.2, 3.1]), np.array([3.0, 2.0, 1.0]), np.zeros(3))


def on_both(corpus: Corpus, work: Callable[[Any], Any], entries: int = 1 << 20, **options: Any) -> tuple[Any, Any]:
    """What some work finds with an engine of a GPU, and of the CPU."""
    gpu = EmulatedGpu(**options)
    with GpuEngine(LocalEngine(corpus, workers=1, memory=1 << 30), gpu, STEPS, entries=entries) as engine:
        found = work(engine)
    assert "document_fit" in gpu.launches
    with LocalEngine(corpus, workers=1, memory=1 << 30) as engine:
        return found, work(engine)


@pytest.mark.parametrize(
    "options", [{}, {"entries": 20}, {"limit": 100}, {"reverse": True}, {"fail_at": 13}, {"fail_at": 28}], ids=str
)
def test_passes(tiny_corpus: Corpus, model: TopicModel, options: dict[str, Any]) -> None:
    corpus = dataclasses.replace(tiny_corpus, counts=tiny_corpus.counts * 5)

    def work(engine: Any) -> tuple[TopicModel, NDArray[np.float32]]:
        found = polish(engine.map_reduce, model, DOCUMENTS, passes=3)
        return found, np.concatenate([kept.copy() for _, kept in engine.states("expected")])

    (found, expected), (wanted, twin) = on_both(corpus, work, **options)
    assert expected.shape == twin.shape
    np.testing.assert_allclose(expected, twin, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.word_topic, wanted.word_topic, rtol=1e-4)
    np.testing.assert_allclose(found.alpha, wanted.alpha, rtol=1e-4)
    assert found.word_topic.dtype == np.float32


@pytest.mark.parametrize("sample", [[], [22]])
def test_a_sample_of_few(tiny_corpus: Corpus, model: TopicModel, sample: list[int]) -> None:
    sets = dataclasses.replace(DOCUMENTS, alpha_sample=np.array(sample, np.int64))
    found, wanted = on_both(tiny_corpus, lambda engine: polish(engine.map_reduce, model, sets, passes=1), entries=20)
    np.testing.assert_allclose(found.alpha, wanted.alpha, rtol=1e-4)


@pytest.mark.parametrize("entries", [1 << 20, 20])
@pytest.mark.parametrize("factor", [1, 0.35])
def test_topics_of_documents(tiny_corpus: Corpus, model: TopicModel, entries: int, factor: float) -> None:
    corpus = dataclasses.replace(tiny_corpus, counts=(tiny_corpus.counts * factor).astype(type(factor)))

    def work(engine: Any) -> list[Any]:
        return list(engine.map(documents_step, model.word_topic, model.alpha.astype(np.float32)))

    found, wanted = on_both(corpus, work, entries)
    assert [index for index, _ in found] == [index for index, _ in wanted]
    for (_, (topics, lengths)), (_, (twin, twin_lengths)) in zip(found, wanted, strict=True):
        np.testing.assert_allclose(topics, twin, atol=1e-5)
        np.testing.assert_array_equal(lengths, twin_lengths)
        assert (topics.dtype, lengths.dtype) == (twin.dtype, twin_lengths.dtype)


@pytest.mark.parametrize("documents", [[2, 3, 9, 20], [22], [], list(range(23))], ids=str)
@pytest.mark.parametrize("factor", [1, 0.75])
def test_document_completion(tiny_corpus: Corpus, model: TopicModel, documents: list[int], factor: float) -> None:
    corpus = dataclasses.replace(tiny_corpus, counts=(tiny_corpus.counts * factor).astype(type(factor)))
    arguments = np.array(documents, np.int64), 7, model.word_topic, model.alpha.astype(np.float32)
    gpu = EmulatedGpu()
    with (
        GpuEngine(LocalEngine(corpus, workers=1, memory=1 << 30), gpu, STEPS, entries=20) as engine,
        LocalEngine(corpus, workers=1, memory=1 << 30) as local,
    ):
        (found,), (wanted,) = (each.map_reduce(completion_step, *arguments) for each in (engine, local))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert found[1] == wanted[1]


def test_perplexity_of_topics_that_differ(rng: np.random.Generator) -> None:
    """Documents of few among many topics, whose others leave: the score is the same, to what a sweep more changes."""
    topics = rng.dirichlet(np.full(60, 0.1), 12) + 1e-4
    mixed = rng.dirichlet(np.full(12, 0.1), 30) @ (topics / topics.sum(axis=1, keepdims=True))
    counts = np.stack(
        [
            rng.multinomial(n, p)
            for n, p in zip(rng.integers(5, 90, 30), mixed / mixed.sum(axis=1)[:, None], strict=True)
        ]
    )
    corpus = Corpus.from_csr(sp.csr_array(counts))
    word_topic, alpha = np.ascontiguousarray(topics.T, np.float32), np.full(12, 0.1)

    def work(engine: Any) -> tuple[float, float]:
        return completion_perplexity(engine.map_reduce, word_topic, alpha, np.arange(0, 30, 2), 3)

    (found, words), (wanted, same) = on_both(corpus, work)
    assert words == same > 100
    assert found == pytest.approx(wanted, rel=2e-4)
