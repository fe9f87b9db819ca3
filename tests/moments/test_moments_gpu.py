"""The steps of the moments on a GPU are those of the CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from tdtool.data.corpus import Corpus
from tdtool.data.steps import needs_of
from tdtool.engine import LocalEngine
from tdtool.engine_gpu import GpuEngine
from tdtool.moments import pairs, pairs_gpu, triples_gpu
from tdtool.moments.pairs import first_moment, pair_step, vocabulary_step
from tdtool.moments.triples import ThirdMoment, dense_step, implicit_step, third_moment, whitened_rows_step
from tdtool.moments.whitening import range_finder
from tests.emulated_gpu import EmulatedGpu, needs_compiler

pytestmark = needs_compiler

STEPS = {**pairs_gpu.GPU_STEPS, **triples_gpu.GPU_STEPS}
HELD_OUT = np.array([0, 17, 18, 59])


@pytest.fixture(params=["counts", "real", "long"])
def corpora(request: pytest.FixtureRequest, corpus: Corpus) -> Corpus:
    """Whole counts, real ones, and a word of many documents with a document of many words."""
    if request.param == "real":
        return dataclasses.replace(corpus, counts=(corpus.counts * 1.75).astype(np.float32))
    if request.param == "counts":
        return corpus
    rng = np.random.default_rng(5)
    matrix = sp.random_array(
        (620, 611), density=0.002, rng=rng, data_sampler=lambda size: rng.integers(1, 4, size)
    ).tolil()
    matrix[:, 3] = 1
    matrix[7, :] = 2
    return Corpus.from_csr(matrix.tocsr().astype(np.int64))


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"])
def engine(request: pytest.FixtureRequest, corpora: Corpus) -> Iterator[GpuEngine]:
    local = LocalEngine(corpora, workers=1, memory=1 << 30)
    with GpuEngine(local, EmulatedGpu(reverse=request.param), STEPS, entries=150) as opened:
        yield opened


@pytest.fixture
def local(corpora: Corpus) -> Iterator[LocalEngine]:
    with LocalEngine(corpora, workers=1, memory=1 << 30) as opened:
        yield opened


def close(found: NDArray[Any], wanted: NDArray[Any], share: float) -> None:
    """To a share of the largest."""
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(found, wanted, atol=share * max(np.abs(wanted).max(), 1e-300), rtol=0)


def test_first_moment_and_vocabulary(engine: GpuEngine, local: LocalEngine) -> None:
    n_terms = local.corpus.n_terms
    for given in [(pairs.first_moment_step, HELD_OUT, n_terms), (vocabulary_step, n_terms)]:
        found, again = engine.map_reduce(*given), engine.map_reduce(*given)
        for here, there, once_more in zip(found, local.map_reduce(*given), again, strict=True):
            real = here.dtype == np.int64 and np.any(local.corpus.counts % 1)  # uses are cut off in each partition
            close(here, there, 0.1 if real else 1e-11)
            assert np.array_equal(here, once_more)


@pytest.mark.parametrize("q", [1, 6, 8, 132])
def test_pairs(engine: GpuEngine, local: LocalEngine, q: int) -> None:
    block = np.random.default_rng(2).standard_normal((local.corpus.n_terms, q)).astype(np.float32)
    (found,), (again,) = (engine.map_reduce(pair_step, HELD_OUT, block) for _ in range(2))
    close(found, local.map_reduce(pair_step, HELD_OUT, block)[0], 1e-5)
    assert np.array_equal(found, again)


def moment_of(engine: Any, keep_rows: bool = True) -> ThirdMoment:
    """The third moment for a whitening that has nothing to do with the documents."""
    first = first_moment(engine.map_reduce, HELD_OUT, engine.corpus.n_terms)
    rng = np.random.default_rng(9)
    numbers = rng.standard_normal((engine.corpus.n_terms, 5))

    def apply(block: NDArray[np.float32]) -> NDArray[np.float32]:
        return (numbers @ (numbers.T @ block)).astype(np.float32)

    whitening = range_finder(apply, engine.corpus.n_terms, 5, rng=rng)
    shape = {"alpha0": 0.5, "n_partitions": engine.corpus.n_partitions, "keep_rows": keep_rows}
    return third_moment(engine.map_reduce, first, whitening, HELD_OUT, **shape)


def test_third_moment(engine: GpuEngine, local: LocalEngine) -> None:
    here, there = moment_of(engine), moment_of(local)
    close(here.z, there.z, 1e-5)
    close(here.n, there.n, 1e-6)
    for name in ("whitened", "triple_scale"):
        kept = [np.concatenate([array for _, array in one.states(name)]) for one in (engine, local)]
        close(*kept, 1e-5)
    directions = np.linalg.qr(np.random.default_rng(3).standard_normal((5, 5)))[0].astype(np.float32)
    for k in (5, 2, 1):
        given = directions[:k, :k]
        (found,), (again,) = (engine.map_reduce(implicit_step, there.first(k), given) for _ in range(2))
        close(found, local.map_reduce(implicit_step, there.first(k), given)[0], 1e-5)
        assert np.array_equal(found, again)
        close(engine.map_reduce(dense_step, there.first(k))[0], local.map_reduce(dense_step, there.first(k))[0], 1e-5)


def test_rows_are_kept_only_where_asked(engine: GpuEngine) -> None:
    moment_of(engine, keep_rows=False)
    with pytest.raises(KeyError):
        next(engine.states("whitened"))


@pytest.mark.parametrize("alpha0", [0.1, 3.0])
def test_second_moment_and_range_finder_on_the_gpu(engine: GpuEngine, local: LocalEngine, alpha0: float) -> None:
    n_terms = local.corpus.n_terms
    first = first_moment(local.map_reduce, HELD_OUT, n_terms)
    here = pairs_gpu.second_moment_apply(engine.gpu, engine.map_reduce_there, first, HELD_OUT, alpha0)
    there = pairs.second_moment_apply(local.map_reduce, first, HELD_OUT, alpha0)
    block = np.random.default_rng(2).standard_normal((n_terms, 7)).astype(np.float32)
    close(engine.gpu.to_host(here(engine.gpu.to_device(block))), there(block), 1e-5)
    found = range_finder(here, n_terms, 3, rng=np.random.default_rng(4), gpu=engine.gpu)
    wanted = range_finder(there, n_terms, 3, rng=np.random.default_rng(4))
    np.testing.assert_allclose(found.spectrum[:3], wanted.spectrum[:3], rtol=1e-4)
    assert (found.whitening.dtype, found.unwhitening.dtype) == (np.float32, np.float64)
    for name in ("whitening", "unwhitening"):
        one, two = getattr(found, name), getattr(wanted, name)
        cosines = np.abs(np.sum(one * two, axis=0)) / np.linalg.norm(one, axis=0) / np.linalg.norm(two, axis=0)
        np.testing.assert_allclose(cosines, 1, rtol=1e-3)


def test_the_table_has_the_steps_of_the_moments() -> None:
    exact = {pairs.first_moment_step, vocabulary_step, pair_step, whitened_rows_step, implicit_step, dense_step}
    assert exact == set(STEPS)
    assert needs_of(implicit_step).reads == ("whitened", "triple_scale")
