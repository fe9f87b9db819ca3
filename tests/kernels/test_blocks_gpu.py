"""The passes on a GPU against those of the CPU: any widths, long rows cut into pieces, the same bits every time."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.kernels import blocks_cpu, blocks_gpu
from tests.emulated_gpu import EmulatedGpu, needs_compiler

pytestmark = needs_compiler

Array = NDArray[Any]
N_NODES, BACKGROUND = 45, 0.7
kinds = pytest.mark.parametrize(("weighted", "longest"), [(False, 1024), (True, 1024), (True, 7)])


def graph_of(rng: np.random.Generator, *, weighted: bool) -> tuple[Array, Array, Array | None]:
    """Node 3 is linked with all but node 4, which has no edges; the others with a few."""
    upper = np.triu(rng.random((N_NODES, N_NODES)) < 0.1, 1)
    upper[3, 5:], upper[:3, 3] = True, True
    upper[4], upper[:, 4] = False, False
    matrix = (upper * rng.integers(1, 17, upper.shape)) / 4
    matrix += matrix.T
    rows, columns = np.nonzero(matrix)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=N_NODES))]).astype(np.int64)
    weights = matrix[rows, columns].astype(np.float32) if weighted else None
    return indptr, columns.astype(np.int32), weights


def supports_of(rng: np.random.Generator, most: int, n_communities: int) -> tuple[Array, Array, Array]:
    """Up to `most` communities a node, in any order, some of strength 0; node 6 has none, node 7 has `most`."""
    counts = rng.integers(0, most + 1, N_NODES)
    counts[6:8] = 0, most
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    support = np.concatenate([rng.permutation(n_communities)[:count] for count in counts]).astype(np.int32)
    values = rng.gamma(1.0, 0.4, indptr[-1]) * (rng.random(indptr[-1]) < 0.9)
    return indptr, support, values


def on(gpu: EmulatedGpu, *arrays: Any) -> list[Any]:
    return [gpu.to_device(value) if isinstance(value, np.ndarray) else value for value in arrays]


#: Compiled, the twin's float32 weights meet rates in double precision; as plain Python they meet in single.
TIGHT = 1e-6 if numba.config.DISABLE_JIT else 1e-12


def same(gpu: EmulatedGpu, found: Any, expected: Any, rtol: float) -> None:
    for one, other in zip(found, expected, strict=True):
        host = gpu.to_host(one)
        assert (host.dtype, host.shape) == (other.dtype, other.shape)
        np.testing.assert_allclose(host, other, rtol=rtol, atol=rtol * np.abs(other).max(initial=0))


@kinds
@pytest.mark.parametrize("k", [1, 7, 33, 100, 130, 260, 516, 1030])
def test_dense_pass(rng: np.random.Generator, k: int, weighted: bool, longest: int) -> None:
    graph = graph_of(rng, weighted=weighted)
    strengths = (rng.gamma(1.0, 1 / k**0.5, (N_NODES, k)) * (rng.random((N_NODES, k)) < 0.7)).astype(np.float32)
    model = (strengths, BACKGROUND, rng.uniform(0.2, 0.9, N_NODES))
    bits = []
    for gpu in (EmulatedGpu(), EmulatedGpu(reverse=True)):
        pieces = blocks_gpu.cut_long_rows(gpu, graph[0], longest=longest)
        assert (pieces.n_long > 0) == (longest == 7)
        found = blocks_gpu.dense_pass(gpu, *on(gpu, *graph, *model), pieces=pieces)
        same(gpu, found, blocks_cpu.dense_pass(*graph, *model), 1e-5)
        bits.append([gpu.to_host(part).tobytes() for part in found])
    assert bits[0] == bits[1]


@kinds
@pytest.mark.parametrize(("most", "n_communities"), [(0, 1), (1, 3), (5, 9), (20, 31), (70, 2000)])
def test_sparse_pass_and_gains(
    rng: np.random.Generator, most: int, n_communities: int, weighted: bool, longest: int
) -> None:
    graph = graph_of(rng, weighted=weighted)
    model = (*supports_of(rng, most, n_communities), BACKGROUND, rng.uniform(0.2, 0.9, N_NODES))
    bits = []
    for gpu in (EmulatedGpu(), EmulatedGpu(reverse=True)):
        arguments: Any = on(gpu, *graph, *model)
        pieces = blocks_gpu.cut_long_rows(gpu, graph[0], longest=longest)
        for scored in (False, True):
            found = blocks_gpu.sparse_pass(gpu, *arguments, scored=scored, pieces=pieces)
            same(gpu, found, blocks_cpu.sparse_pass(*graph, *model, scored=scored), TIGHT)
        gains = blocks_gpu.entry_gains(gpu, *arguments, pieces=pieces)
        same(gpu, [gains], [blocks_cpu.entry_gains(*graph, *model)], 10 * TIGHT)
        bits.append([gpu.to_host(part).tobytes() for part in (*found, gains)])
    assert bits[0] == bits[1]


@kinds
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 3, 8, 32])
def test_product(rng: np.random.Generator, width: int, dtype: Any, weighted: bool, longest: int) -> None:
    indptr, neighbours, weights = graph_of(rng, weighted=weighted)
    scale, x = rng.uniform(0.5, 1.5, N_NODES), rng.standard_normal((N_NODES, width)).astype(dtype)
    matrix = np.zeros((N_NODES, N_NODES))
    matrix[np.repeat(np.arange(N_NODES), np.diff(indptr)), neighbours] = 1 if weights is None else weights
    expected = ((scale[:, None] * matrix * scale) @ x).astype(dtype)
    bits = []
    for gpu in (EmulatedGpu(), EmulatedGpu(reverse=True)):
        pieces = blocks_gpu.cut_long_rows(gpu, indptr, longest=longest)
        arguments: Any = on(gpu, indptr, neighbours, weights, scale, (scale[:, None] * x).astype(dtype))
        found = blocks_gpu.product(gpu, *arguments, pieces=pieces)
        same(gpu, [found], [expected], 1e-5 if dtype is np.float32 else 1e-12)
        bits.append(gpu.to_host(found).tobytes())
    assert bits[0] == bits[1]


def test_parts_of_the_rows_are_parts_of_the_whole(rng: np.random.Generator) -> None:
    """Bit for bit, though long rows are cut and results are written to where they belong."""
    gpu = EmulatedGpu()
    indptr, neighbours, weights = graph_of(rng, weighted=True)
    theta = rng.uniform(0.2, 0.9, N_NODES)
    dense: Any = on(gpu, rng.gamma(1.0, 0.4, (N_NODES, 8)).astype(np.float32), BACKGROUND, theta)
    model = supports_of(rng, 5, 9)
    sparse: Any = on(gpu, *model, BACKGROUND, theta)
    x: Any = on(gpu, theta, rng.standard_normal((N_NODES, 4)))

    def passes(first: int, last: int) -> list[Array]:
        here = indptr[first : last + 1] - indptr[first]
        ends = slice(indptr[first], indptr[last])
        edges: Any = on(gpu, here, neighbours[ends], None if weights is None else weights[ends])
        given: Any = {"first": first, "pieces": blocks_gpu.cut_long_rows(gpu, here, longest=7)}
        found = (
            *blocks_gpu.dense_pass(gpu, *edges, *dense, **given),
            *blocks_gpu.sparse_pass(gpu, *edges, *sparse, **given, scored=True),
            blocks_gpu.entry_gains(gpu, *edges, *sparse, **given),
            blocks_gpu.product(gpu, *edges, *x, **given),
        )
        return [gpu.to_host(part) for part in found]

    parts = zip(*(passes(*cut) for cut in ((0, 3), (3, 4), (4, 6), (6, N_NODES))), strict=True)
    for one, some in zip(passes(0, N_NODES), parts, strict=True):
        np.testing.assert_array_equal(one, np.concatenate(some))


@pytest.mark.parametrize("n_nodes", [0, 3])
def test_no_edges(n_nodes: int) -> None:
    gpu = EmulatedGpu()
    graph: Any = on(gpu, np.zeros(n_nodes + 1, np.int64), np.zeros(0, np.int32), None)
    rows: Any = on(gpu, np.zeros(n_nodes + 1, np.int64), np.zeros(0, np.int32), np.zeros(0), 1.0, np.ones(n_nodes))
    dense: Any = on(gpu, np.ones((n_nodes, 2), np.float32), 1.0, np.ones(n_nodes))
    for part in blocks_gpu.dense_pass(gpu, *graph, *dense):
        assert not gpu.to_host(part).any()
    for part in (*blocks_gpu.sparse_pass(gpu, *graph, *rows, scored=True), blocks_gpu.entry_gains(gpu, *graph, *rows)):
        assert not gpu.to_host(part).any()


def test_an_edge_that_nothing_explains_is_as_unlikely_as_the_smallest_rate() -> None:
    gpu = EmulatedGpu()
    graph = np.array([0, 1, 2]), np.array([1, 0], np.int32), None
    rows = np.array([0, 1, 2]), np.array([0, 1], np.int32), np.array([1.5, 2.0]), 0.0, np.ones(2)
    found = blocks_gpu.sparse_pass(gpu, *on(gpu, *graph, *rows), scored=True)
    same(gpu, found, blocks_cpu.sparse_pass(*graph, *rows, scored=True), TIGHT)
    dense = np.diag([1.5, 2.0]).astype(np.float32), 0.0, np.ones(2)
    assert not gpu.to_host(blocks_gpu.dense_pass(gpu, *on(gpu, *graph, *dense))[0]).any()


def test_what_does_not_fit_is_refused(rng: np.random.Generator) -> None:
    gpu = EmulatedGpu()
    graph: Any = on(gpu, *graph_of(rng, weighted=False))
    model: Any = on(gpu, *supports_of(rng, 5, 9), BACKGROUND, rng.random(N_NODES))
    with pytest.raises(ValueError, match="the graph has 45 nodes"):
        blocks_gpu.sparse_pass(gpu, graph[0], graph[1][:-1], None, *model)
    with pytest.raises(ValueError, match="in 4,097 communities"):
        blocks_gpu.sparse_pass(gpu, *graph, *model, widest=4097)
    with pytest.raises(ValueError, match="takes at most 32"):
        blocks_gpu.product(gpu, *graph, model[-1], gpu.zeros((N_NODES, 33), np.float32))
