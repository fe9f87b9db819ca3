"""Topics on a GPU are those of threads but for rounding, whatever memory it has."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from tdtool.config import IngestConfig, MomentsConfig, TopicsConfig
from tdtool.data.corpus import Corpus
from tdtool.data.planted import planted_lda
from tdtool.decompose.power import PowerFit
from tdtool.engine import LocalEngine
from tdtool.engine_gpu import GpuEngine
from tdtool.kernels import device_gpu
from tdtool.models import coherence, inference, polish
from tdtool.models.topic_model import recover_topics
from tdtool.moments import packed_triples, pairs, sketched_triples, triples
from tdtool.moments.pairs import FirstMoment
from tdtool.moments.whitening import Whitening
from tdtool.run.fit import TopicFit, TopicFitter
from tdtool.run.gpu_steps import GPU_STEPS
from tdtool.run.infer import infer_documents
from tdtool.run.moments import ingest_moments
from tdtool.run.topics import fit_topics
from tdtool.run.topics_of_moments import topics_of_moments
from tdtool.store import hdf5
from tests.emulated_gpu import EmulatedGpu, needs_compiler

pytestmark = needs_compiler


@pytest.fixture(autouse=True)
def current(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays of any emulated GPU are known as such."""
    monkeypatch.setattr(device_gpu, "_current", EmulatedGpu())


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """90 documents of 3 topics over 30 words, in 4 uneven partitions."""
    shape = {"alpha0": 0.3, "mean_length": 30, "topic_concentration": 0.1}
    planted = planted_lda(90, 30, 3, **shape, rng=np.random.default_rng(11))
    return dataclasses.replace(Corpus.from_csr(planted.document_term), starts=np.array([0, 20, 21, 60, 90]))


def fit(engine: Any, **settings: Any) -> TopicFit:
    with engine:
        fitter = TopicFitter(engine, TopicsConfig(3, held_out=0.2, **settings))
        assert fitter.prepare(3) == 3
        return fitter.fit(3)


def on_threads(corpus: Corpus) -> LocalEngine:
    return LocalEngine(corpus, workers=1, memory=1 << 30)


def on_gpu(corpus: Corpus, gpu: EmulatedGpu) -> GpuEngine:
    return GpuEngine(on_threads(corpus), gpu, GPU_STEPS, entries=300)


def check_same(found: TopicFit, wanted: TopicFit, *, atol: float = 2e-3) -> None:
    """The same topics in some order, the same perplexity within 0.2 %."""
    distances = np.abs(found.model.word_topic.T[:, None] - wanted.model.word_topic.T[None]).sum(axis=2)
    rows, columns = linear_sum_assignment(distances)
    assert distances[rows, columns].max() < 10 * atol
    np.testing.assert_allclose(found.model.alpha[rows], wanted.model.alpha[columns], rtol=20 * atol)
    assert found.scores["perplexity"] == pytest.approx(wanted.scores["perplexity"], rel=2e-3)
    assert found.form == wanted.form


@pytest.mark.parametrize("m3", ["implicit", "dense", "sketch"])
@pytest.mark.parametrize("polish", [0, 2])
def test_topics_are_those_of_threads(corpus: Corpus, m3: Any, polish: Any) -> None:
    settings = {"m3": m3, "polish": polish}
    wanted = fit(on_threads(corpus), **settings)
    found, streamed = (fit(on_gpu(corpus, EmulatedGpu(limit=limit)), **settings) for limit in (1 << 30, 20_000))
    check_same(found, wanted)
    check_same(streamed, wanted)
    if m3 != "sketch":  # whose blocks are as large as memory allows
        pairs = zip(vars(found.model).values(), vars(streamed.model).values(), strict=True)
        assert all(np.array_equal(one, two) for one, two in pairs)
        assert found.scores == streamed.scores


def test_a_failure_anywhere_changes_little(corpus: Corpus) -> None:
    counted = EmulatedGpu()
    wanted = fit(on_gpu(corpus, counted), m3="implicit", polish=1)
    rng = np.random.default_rng(0)
    for place in rng.choice(counted._allocations, 8, replace=False):
        check_same(fit(on_gpu(corpus, EmulatedGpu(fail_at=int(place) + 1)), m3="implicit", polish=1), wanted)


@pytest.fixture
def source(corpus: Corpus, tmp_path: Path) -> str:
    """24 of the documents, one a line."""
    matrix, path = corpus.matrix(), tmp_path / "documents.txt"
    lines = [" ".join(f"word{w}x" for w in range(30) for _ in range(matrix[d, w])) for d in range(24)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def shares(path: Path) -> np.ndarray:
    with hdf5.open(path) as reader:
        return reader.get("documents/topic")


def test_runs_on_a_gpu(source: str, tmp_path: Path) -> None:
    gpu, config = EmulatedGpu(), IngestConfig()
    fits = [tmp_path / "gpu.h5", tmp_path / "cpu.h5"]
    given = {"ingest": config, "topics": TopicsConfig(2, polish=1, held_out=0.3)}
    here, there = (fit_topics(source, path, **given, gpu=owner) for path, owner in zip(fits, (gpu, None), strict=True))
    assert {"csr_dot_8", "row_sums_float"} <= set(gpu.launches)
    assert here.scores["perplexity"] == pytest.approx(there.scores["perplexity"], rel=2e-3)
    np.testing.assert_allclose(shares(fits[0]), shares(fits[1]), atol=2e-3)
    new = tmp_path / "new.txt"  # other words, and an order of its own
    new.write_text("word3x word4x nothing word29x\nwhat word1x word1x\n\nnothing\n")
    found = []
    for number, owner in enumerate((gpu, None)):
        output = tmp_path / f"{number}.h5"
        infer_documents(fits[1], str(new), output, source=config.source, gpu=owner)
        found.append(shares(output))
    np.testing.assert_allclose(found[0], found[1], atol=2e-3)


@pytest.mark.parametrize("form", ["dense", "sketch"])
def test_topics_of_moments_on_a_gpu(source: str, tmp_path: Path, form: Any) -> None:
    moments = tmp_path / "m.h5"
    ingest_moments(source, moments, ingest=IngestConfig(), moments=MomentsConfig(2, m3=form))
    found = []
    for number, gpu in enumerate((EmulatedGpu(), EmulatedGpu(fail_at=1), None)):
        result = topics_of_moments(moments, tmp_path / f"{number}.h5", gpu=gpu)
        found.append(result.fit.model.word_topic)
        assert gpu is None or gpu._allocations > 0
    for other in found[:2]:
        np.testing.assert_allclose(other, found[2], atol=1e-3)


def test_the_table_has_every_step_but_those_that_threads_do() -> None:
    modules = (pairs, triples, packed_triples, sketched_triples, polish, inference, coherence)
    steps = {
        value
        for module in modules
        for name, value in vars(module).items()
        if name.endswith("_step") and value.__module__ == module.__name__
    }
    assert set(GPU_STEPS) < steps
    assert steps - set(GPU_STEPS) == {packed_triples.packed_step, coherence.together_step}


@pytest.mark.parametrize("fail_at", [None, 1, 3])
def test_topics_are_recovered_there_or_here(rng: np.random.Generator, fail_at: int | None) -> None:
    whitening = Whitening(np.zeros((40, 3), np.float32), rng.standard_normal((40, 3)), np.ones(3))
    power = PowerFit(np.linalg.qr(rng.standard_normal((3, 3)))[0], np.array([3.0, 2.0, 1.5]), (1e-4,), "tol")
    first = FirstMoment(rng.dirichlet(np.ones(40)), np.zeros(40), 100.0, 10)
    gpu = EmulatedGpu(fail_at=fail_at)
    here = recover_topics(whitening, power, first, alpha0=1.0, polish_follows=True)
    there = recover_topics(whitening, power, first, alpha0=1.0, polish_follows=True, gpu=gpu)
    assert type(there.word_topic) is np.ndarray
    np.testing.assert_allclose(there.word_topic, here.word_topic, rtol=1e-6)
    np.testing.assert_allclose(there.word_topic.sum(axis=0), 1, rtol=1e-5)
