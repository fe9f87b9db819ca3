"""Single steps at real sizes: each on the GPU against the same call on the CPU, twice, and timed on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tdtool.config import GraphConfig, IngestConfig
from tdtool.data.edge_passes import Rows, scaled_matrix
from tdtool.data.edge_passes_gpu import GpuEdgeEngine
from tdtool.kernels.device_gpu import Gpu
from tdtool.kernels.modes import gram, mode_dot, norm
from tdtool.kernels.mttkrp import mttkrp
from tdtool.kernels.symmetric_sketch import symmetric_hashes, symmetric_sketch
from tdtool.models.inference import documents_step
from tdtool.moments.pairs import first_moment_step, pair_step
from tdtool.run.engines import open_engine
from tdtool.run.graphs import load_graph
from tdtool.run.machine import total_memory
from tests.bench.gpu_models import corpus_of, edges_of
from tests.bench.gpu_work import OURS, Array, Found, Work, attempts, largest_difference, settled, timed

#: What results may differ by, over their largest entry; of steps that iterate in single precision.
TOLERANCE = {"float32": 1e-5, "float64": 1e-11}
_ITERATED = 1e-3
Step = Callable[[], Any]


def kernels(gpu: Gpu, work: Work) -> Iterator[Found]:
    """Modes of tensors, sketches, passes over documents and over edges."""
    rng = np.random.default_rng(work.seed)
    for dtype in work.sizes.dtypes:
        yield from _of_tensors(gpu, work, rng, dtype)
        gpu.free_unused()
    try:
        yield from _of_documents(gpu, work, rng)
    except FileNotFoundError as error:
        yield Found(OURS, "steps of topics", note=f"no corpus: {error}")
    gpu.free_unused()
    yield from _of_edges(gpu, work, rng)


def _of_tensors(gpu: Gpu, work: Work, rng: np.random.Generator, dtype: str) -> Iterator[Found]:
    n, rank = work.sizes.tensors[-1], work.sizes.rank
    shape = (n, n - 1, n + 1)
    tensor = rng.standard_normal(shape, np.dtype(dtype))
    there = gpu.to_device(tensor)
    factors = [rng.standard_normal((size, rank), np.dtype(dtype)) for size in shape]
    for mode in range(3):
        matrix = np.ascontiguousarray(factors[mode].T)
        steps: dict[str, Callable[[Any], Any]] = {
            "mode_dot": lambda x, matrix=matrix, mode=mode: mode_dot(x, matrix, mode),
            "gram": lambda x, mode=mode: gram(x, mode),
            "mttkrp": lambda x, mode=mode: mttkrp(x, factors, mode),
        }
        for name, step in steps.items():
            case = f"{name} mode {mode} n={n} {dtype}"
            yield _compared(gpu, case, lambda step=step: step(there), lambda step=step: step(tensor), TOLERANCE[dtype])
    yield _compared(gpu, f"norm n={n} {dtype}", lambda: norm(there), lambda: norm(tensor), TOLERANCE[dtype])
    yield from _of_sketches(gpu, work, rng, dtype)


def _of_sketches(gpu: Gpu, work: Work, rng: np.random.Generator, dtype: str) -> Iterator[Found]:
    n, length, repeats = work.sizes.sketch
    half = rng.standard_normal((n, 4), np.dtype(dtype))
    tensor = np.einsum("ir,jr,kr->ijk", half, half, half, optimize=True)
    there = gpu.to_device(tensor)
    family = symmetric_hashes(n, length, repeats, rng=rng)
    directions = rng.standard_normal((n, 8), np.dtype(dtype))
    for name in ("along", "values"):
        case = f"sketch and {name} n={n} L={length} B={repeats} {dtype}"
        yield _compared(
            gpu,
            case,
            lambda name=name: getattr(symmetric_sketch(there, family), name)(directions),
            lambda name=name: getattr(symmetric_sketch(tensor, family), name)(directions),
            TOLERANCE[dtype],
        )


def _of_documents(gpu: Gpu, work: Work, rng: np.random.Generator) -> Iterator[Found]:
    """One pass over the last corpus of the sizes, with as many columns as its least number of topics."""
    name, numbers = work.sizes.topics[-1]
    store, k = str(corpus_of(name, work)), numbers[0]
    nobody = np.zeros(0, np.int64)
    with (
        open_engine(store, IngestConfig(), workers=work.threads) as here,
        open_engine(store, IngestConfig(), workers=work.threads, gpu=gpu) as there,
    ):
        n_terms = here.corpus.n_terms
        block = rng.standard_normal((n_terms, k), np.float32)
        word_topic = rng.dirichlet(np.full(n_terms, 0.1), k).T.astype(np.float32)
        arguments = np.ascontiguousarray(word_topic), np.full(k, 0.1, np.float32)
        cases: dict[str, tuple[Callable[[Any], Any], float]] = {
            "first moment": (lambda engine: engine.map_reduce(first_moment_step, nobody, n_terms), 1e-11),
            "pairs": (lambda engine: engine.map_reduce(pair_step, nobody, block), 1e-5),
            "documents": (lambda engine: _joined(engine, arguments), _ITERATED),
        }
        for case, (step, tolerance) in cases.items():
            yield _compared(
                gpu, f"{case} {name} k={k}", lambda step=step: step(there), lambda step=step: step(here), tolerance
            )


def _joined(engine: Any, arguments: tuple[Array, Array]) -> Array:
    """Topics of all documents, in order."""
    parts = dict(engine.map(documents_step, *arguments))
    return np.concatenate([parts[index][0] for index in sorted(parts)])


def _of_edges(gpu: Gpu, work: Work, rng: np.random.Generator) -> Iterator[Found]:
    name, k = work.sizes.graphs[-1], work.sizes.communities
    graph = load_graph(str(edges_of(name, work)), GraphConfig(), memory=total_memory())
    n = graph.n_nodes
    strengths, propensity = rng.random((n, k), np.float32), rng.random(n)
    vector, scale = rng.standard_normal(n), rng.random(n)
    there = GpuEdgeEngine(gpu).passes(graph)
    here = Rows(graph.indptr, graph.neighbours, graph.weights)
    matrix, multiply = scaled_matrix(here, scale, np.dtype(np.float64)), there.product(scale, np.dtype(np.float64))
    assert multiply is not None
    model = strengths, 0.01, propensity
    yield _compared(gpu, f"dense pass {name} k={k}", lambda: there.dense(*model), lambda: here.dense(*model), 1e-5)
    yield _compared(gpu, f"product {name}", lambda: multiply(vector), lambda: matrix @ vector, 1e-11)


def _compared(gpu: Gpu, case: str, on_gpu: Step, on_cpu: Step, tolerance: float) -> Found:
    """Seconds of the second call on the GPU; the largest error of both calls, each array over its own largest entry."""

    def measure() -> Found:
        cold_seconds, cold = timed(on_gpu, gpu.synchronize)
        seconds, warm = timed(on_gpu, gpu.synchronize)
        on_cpu_seconds, expected = settled(on_cpu)
        one, two, three = (_arrays(gpu, result) for result in (cold, warm, expected))
        error = max(largest_difference(a, b) for found in (one, two) for a, b in zip(found, three, strict=True))
        same = all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
        quality = {"error": error, "same": float(same), "cold": cold_seconds, "speedup": on_cpu_seconds / seconds}
        found = Found(OURS, case, seconds, quality)
        if not error <= tolerance:
            found.seconds, found.note = None, f"wrong: {error:.1e} where {tolerance:.0e} is allowed"
        return found

    return attempts(OURS, case, measure)


def _arrays(gpu: Gpu, result: Any) -> list[Array]:
    """The arrays of a result on the host, in double precision."""
    parts = result if isinstance(result, (tuple, list)) else (result,)
    return [np.asarray(gpu.to_host(part) if gpu.owns(part) else part, np.float64) for part in parts]
