"""The sketched third moment on an emulated GPU is that of the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from tdtool.data.corpus import Corpus
from tdtool.decompose.sketched_orthogonal import sketched_orthogonal_power
from tdtool.engine import LocalEngine
from tdtool.engine_gpu import GpuEngine
from tdtool.kernels import device_gpu, sketch_gpu
from tdtool.kernels.symmetric_sketch import SymmetricSketch, symmetric_hashes
from tdtool.moments.pairs import first_moment, second_moment_apply
from tdtool.moments.sketched_triples import third_moment_sketch
from tdtool.moments.sketched_triples_gpu import GPU_STEPS
from tdtool.moments.triples import ThirdMoment, third_moment
from tdtool.moments.whitening import range_finder
from tests.emulated_gpu import EmulatedGpu, needs_compiler
from tests.moments.conftest import N_TOPICS

pytestmark = needs_compiler
HELD_OUT = np.array([0, 17, 18, 59])


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> EmulatedGpu:
    found = EmulatedGpu()
    monkeypatch.setattr(device_gpu, "_current", found)
    return found


@pytest.fixture
def moment(corpus: Corpus) -> ThirdMoment:
    with LocalEngine(corpus, workers=1, memory=1 << 30) as engine:
        first = first_moment(engine.map_reduce, HELD_OUT, corpus.n_terms)
        pairs = second_moment_apply(engine.map_reduce, first, HELD_OUT, 0.5)
        whitening = range_finder(pairs, corpus.n_terms, N_TOPICS, rng=np.random.default_rng(3))
        given = engine.map_reduce, first, whitening, HELD_OUT
        return third_moment(*given, alpha0=0.5, n_partitions=corpus.n_partitions, keep_rows=False)


def sketched(corpus: Corpus, moment: ThirdMoment, gpu: EmulatedGpu | None, entries: int = 1 << 20) -> SymmetricSketch:
    family = symmetric_hashes(moment.n_topics, 32, 3, rng=np.random.default_rng(1))
    local = LocalEngine(corpus, workers=1, memory=1 << 30)
    with local if gpu is None else GpuEngine(local, gpu, GPU_STEPS, entries=entries) as engine:
        return third_moment_sketch(engine.map_reduce, moment, HELD_OUT, family)


@pytest.mark.parametrize("k", [N_TOPICS, 3])
@pytest.mark.parametrize("entries", [1, 1 << 20])
@pytest.mark.parametrize("block_bytes", [1, 1 << 28])
def test_it_is_the_sketch_of_the_cpu(
    corpus: Corpus,
    moment: ThirdMoment,
    gpu: EmulatedGpu,
    k: int,
    entries: int,
    block_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one piece or many, all columns at a time or one."""
    monkeypatch.setattr(sketch_gpu, "_BLOCK_BYTES", block_bytes)
    one = sketched(corpus, moment.first(k), None)
    two = sketched(corpus, moment.first(k), gpu, entries)
    assert "csr_dot_8" in gpu.launches or "csr_dot_8_aligned" in gpu.launches
    assert "add_products_float" in gpu.launches
    np.testing.assert_allclose(two.spectrum, one.spectrum, atol=1e-5 * np.abs(one.spectrum).max())
    np.testing.assert_allclose(two.pairs, one.pairs, atol=1e-5 * np.abs(one.pairs).max())


def test_topics_are_read_off_on_the_gpu(corpus: Corpus, moment: ThirdMoment, gpu: EmulatedGpu) -> None:
    sketch = sketched(corpus, moment, None)
    start = np.linalg.qr(np.random.default_rng(2).standard_normal((N_TOPICS, N_TOPICS)))[0]
    one = sketched_orthogonal_power(sketch, start, max_iters=4)
    two = sketched_orthogonal_power(sketch.to_device(gpu), start, max_iters=4)
    np.testing.assert_allclose(two.weights, one.weights, rtol=1e-4)
    np.testing.assert_allclose(two.vectors, one.vectors, atol=1e-4)
