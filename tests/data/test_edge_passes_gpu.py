"""Passes of a graph on an emulated GPU: those of the CPU, from one piece or from parts, whichever allocation fails."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.data import edge_passes_gpu
from tdtool.data.edge_passes_gpu import GpuEdgeEngine, GpuPasses, gpu_of
from tdtool.data.graph import Graph
from tests.emulated_gpu import EmulatedGpu, needs_compiler
from tests.small_graphs import thirteen

pytestmark = needs_compiler

Array = NDArray[Any]
K = 5


@pytest.fixture(params=[False, True], ids=["plain", "weighted"])
def graph(rng: np.random.Generator, request: pytest.FixtureRequest) -> Graph:
    return thirteen(rng, weighted=request.param, n_left=None)[0]


@dataclasses.dataclass(frozen=True)
class Model:
    """A dense and a sparse model of thirteen nodes."""

    strengths: Array
    sparse: tuple[Any, ...]
    theta: Array

    def of(self, graph: Graph) -> list[Array]:
        """All passes."""
        multiply = graph.passes.product(self.theta, np.dtype(np.float64))
        vectors = np.column_stack([self.theta, self.theta**2])
        if multiply is None:
            product = (graph.adjacency().toarray() * np.outer(self.theta, self.theta)) @ vectors
        else:
            product = multiply(vectors)
        return [
            *graph.passes.dense(self.strengths, 0.5, self.theta),
            *graph.passes.sparse(*self.sparse, 0.5, self.theta, scored=True),
            graph.passes.gains(*self.sparse, 0.5, self.theta),
            product,
        ]


@pytest.fixture
def model(rng: np.random.Generator) -> Model:
    indptr = np.concatenate([[0], np.cumsum(rng.integers(0, 4, 13))]).astype(np.int64)
    support = np.concatenate([rng.permutation(K)[:count] for count in np.diff(indptr)]).astype(np.int32)
    strengths = rng.gamma(1.0, 0.4, (13, K)).astype(np.float32)
    return Model(strengths, (indptr, support, rng.gamma(1.0, 0.4, indptr[-1])), rng.uniform(0.3, 0.9, 13))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_passes_gpu, "_LEAST_ENDS", 0)


def on(gpu: EmulatedGpu, graph: Graph) -> Graph:
    return dataclasses.replace(graph, engine=GpuEdgeEngine(gpu))


def same(found: list[Array], expected: list[Array]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert type(one) is np.ndarray
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_allclose(one, other, rtol=1e-5 if one.dtype == np.float32 else 1e-7)


def test_the_passes_of_the_cpu(graph: Graph, model: Model) -> None:
    there = on(EmulatedGpu(), graph)
    same(model.of(there), model.of(graph))
    assert (gpu_of(graph), gpu_of(there)) == (None, there.engine.gpu)  # type: ignore[union-attr]


def test_the_graph_goes_there_once(graph: Graph, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = EmulatedGpu()
    sent: list[int] = []
    upload = gpu.to_device
    monkeypatch.setattr(gpu, "to_device", lambda array: sent.append(len(array)) or upload(array))
    there = on(gpu, graph)
    model.of(there)
    model.of(there)
    assert sent.count(graph.neighbours.size) == (1 if graph.weights is None else 2)
    assert sent.count(len(model.sparse[1])) == 1 + 4  # the support, and strengths in each pass
    indptr, support, strengths = model.sparse
    other = Model(model.strengths, (indptr, (support + 1).astype(np.int32), strengths), model.theta / 2)
    same(other.of(there), other.of(graph))


@pytest.mark.usefixtures("small_parts")
def test_parts_have_the_bits_of_the_whole(graph: Graph, model: Model) -> None:
    whole, there = on(EmulatedGpu(), graph), on(EmulatedGpu(), graph)
    passes = there.passes
    assert isinstance(passes, GpuPasses)
    expected = model.of(whole)
    for n_parts in (3, 6, 13):
        passes._cut()
        assert 2 < passes.n_parts <= n_parts
        for one, other in zip(model.of(there), expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("fail_at", range(1, 28, 2))
def test_memory_that_ends_once(graph: Graph, model: Model, fail_at: int) -> None:
    there = on(EmulatedGpu(fail_at=fail_at), graph)
    same(model.of(there), model.of(graph))
    assert there.passes.n_parts > 1  # type: ignore[attr-defined]


@pytest.mark.usefixtures("small_parts")
def test_memory_that_is_not_there_is_said(graph: Graph, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = EmulatedGpu()

    def none(*arguments: Any) -> Any:
        raise MemoryError("no memory")

    monkeypatch.setattr(gpu, "empty", none)
    with pytest.raises(MemoryError, match="no memory"):
        on(gpu, graph).passes.dense(model.strengths, 0.5, model.theta)


def test_arrays_of_the_gpu_stay_there(graph: Graph, model: Model) -> None:
    gpu = EmulatedGpu()
    there = on(gpu, graph)
    found = there.passes.dense(gpu.to_device(model.strengths), 0.5, model.theta)
    assert all(map(gpu.owns, found))
    for one, other in zip(found, there.passes.dense(model.strengths, 0.5, model.theta), strict=True):
        np.testing.assert_array_equal(gpu.to_host(one), other)
    sparse = there.passes.sparse(*map(gpu.to_device, model.sparse), 0.5, model.theta, scored=True)
    for one, other in zip(sparse, there.passes.sparse(*model.sparse, 0.5, model.theta, scored=True), strict=True):
        np.testing.assert_array_equal(gpu.to_host(one), other)
    multiply = there.passes.product(model.theta, np.dtype(np.float32))
    assert multiply is not None
    wide = np.arange(13 * 40, dtype=np.float32).reshape(13, 40)
    columns = np.column_stack([multiply(wide[:, i]) for i in range(40)])
    np.testing.assert_allclose(gpu.to_host(multiply(gpu.to_device(wide))), columns, rtol=1e-6)


def test_other_graphs_make_room_first(graph: Graph, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two graphs on the GPU the one that is not looked at goes; it comes back when it is."""
    gpu = EmulatedGpu()
    first = on(gpu, graph)
    second = dataclasses.replace(first)
    model.of(first)
    monkeypatch.setattr(gpu, "_fail_at", gpu._allocations + 3)
    same(model.of(second), model.of(graph))
    assert second.passes.n_parts == 1  # type: ignore[attr-defined]
    assert first.passes._whole is None  # type: ignore[attr-defined]
    same(model.of(first), model.of(graph))


def test_what_is_too_wide_is_done_here(graph: Graph, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_passes_gpu.blocks_gpu, "MOST_ENTRIES", 0)
    monkeypatch.setattr(edge_passes_gpu.blocks_gpu, "MOST_COLUMNS", K - 1)
    gpu = EmulatedGpu()
    same(model.of(on(gpu, graph)), model.of(graph))
    assert set(gpu.launches) == {"product_rows_double"}
