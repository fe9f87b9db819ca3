"""Communities with edges looked at by an emulated GPU: those of the CPU, and nothing large moves while EM goes on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.config import CommunitiesConfig
from tdtool.data.edge_passes_gpu import GpuEdgeEngine
from tdtool.data.graph import Graph
from tdtool.data.planted_graph import planted_disjoint
from tdtool.kernels import blocks_gpu
from tdtool.kernels.device_gpu import open_gpu
from tdtool.models import dense_communities, overlap_em, sparse_em_gpu
from tdtool.models.communities import CommunityFit, fit_communities
from tdtool.models.overlap_model import Background, Strengths
from tdtool.models.spectral_memberships import nearly_pure, spectral_memberships, without_traces
from tdtool.moments import graph_embedding
from tdtool.moments.graph_embedding import GraphEmbedding
from tests.emulated_gpu import EmulatedGpu, gpu, needs_compiler
from tests.small_graphs import graph_of, on_support, thirteen

pytestmark = [needs_compiler, pytest.mark.usefixtures("gpu")]
__all__ = ["gpu"]

Array = NDArray[Any]


@pytest.fixture
def as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small graphs are treated as large ones are."""
    monkeypatch.setattr(graph_embedding, "_DENSE_NODES", 7)
    monkeypatch.setattr(graph_embedding, "_LEAST_COORDINATES", 0)
    monkeypatch.setattr(sparse_em_gpu, "_LEAST_ENTRIES", 0)


def on_gpu(graph: Graph) -> Graph:
    return dataclasses.replace(graph, engine=GpuEdgeEngine(open_gpu()))


def planted(*, weighted: bool = False) -> Graph:
    rng = np.random.default_rng(5)
    graph = planted_disjoint([20, 25, 30], mean_degree=10, mixing=0.1, rng=rng)
    return graph_of(graph, rng.integers(1, 4, len(graph.edges)) if weighted else None)


def same(found: CommunityFit, expected: CommunityFit) -> None:
    np.testing.assert_array_equal(found.cover.indptr, expected.cover.indptr)
    np.testing.assert_array_equal(found.cover.communities, expected.cover.communities)
    np.testing.assert_allclose(found.strengths, expected.strengths, rtol=1e-3)
    assert found.bits == pytest.approx(expected.bits, rel=1e-4)
    assert (found.mode, found.reason, len(found.trials)) == (expected.mode, expected.reason, len(expected.trials))


@pytest.mark.usefixtures("as_large")
@pytest.mark.parametrize(
    ("config", "weighted"),
    [
        (CommunitiesConfig(n_communities=3), True),
        (CommunitiesConfig(n_communities=3, alpha0=0.5, overlap=False), False),
        (CommunitiesConfig(n_communities=3, polish=0), False),
        (CommunitiesConfig(max_communities=5, polish=4), False),
        (CommunitiesConfig(mode="sparse"), False),
    ],
    ids=["three", "alpha0", "spectral", "chosen", "sparse"],
)
def test_the_cover_of_the_cpu(gpu: EmulatedGpu, config: CommunitiesConfig, weighted: bool) -> None:
    graph = planted(weighted=weighted)
    same(fit_communities(on_gpu(graph), config), fit_communities(graph, config))
    assert "sparse_rows" in gpu.launches
    assert ("product_rows_double" in gpu.launches) == (config.mode != "sparse")


@pytest.mark.usefixtures("as_large")
def test_nodes_of_a_community_laid_together(monkeypatch: pytest.MonkeyPatch, gpu: EmulatedGpu) -> None:
    """Large graphs: vectors in single precision, nodes in another order; the same bits every time."""
    monkeypatch.setattr(graph_embedding, "_BULK_NODES", 7)
    monkeypatch.setattr(dense_communities, "_BULK_NODES", 7)
    graph, config = planted(weighted=True), CommunitiesConfig(n_communities=3, polish=4)
    first, second = (fit_communities(on_gpu(graph), config) for _ in range(2))
    same(first, fit_communities(graph, config))
    assert "product_rows_float" in gpu.launches
    assert first.strengths.tobytes() == second.strengths.tobytes()
    assert first.embedding is not None
    assert second.embedding is not None
    assert first.embedding.tobytes() == second.embedding.tobytes()


@pytest.mark.usefixtures("as_large")
def test_a_graph_that_comes_in_parts(monkeypatch: pytest.MonkeyPatch, gpu: EmulatedGpu) -> None:
    """Every upload that is larger than some parts of the graph fails."""
    graph, config = planted(), CommunitiesConfig(n_communities=3, polish=3)
    monkeypatch.setattr("tdtool.data.edge_passes_gpu._LEAST_ENDS", 0)
    upload = gpu.to_device

    def limited(array: Array) -> Array:
        if array.dtype == np.int32 and array.size > graph.neighbours.size // 4:
            raise MemoryError("too large")
        return upload(array)

    monkeypatch.setattr(gpu, "to_device", limited)
    same(fit_communities(on_gpu(graph), config), fit_communities(graph, config))


@pytest.mark.parametrize("n_left", [None, 5])
@pytest.mark.parametrize("k", [3, 4])
def test_em_stays_on_the_gpu(
    rng: np.random.Generator, k: int, n_left: int | None, monkeypatch: pytest.MonkeyPatch, gpu: EmulatedGpu
) -> None:
    graph, _ = thirteen(rng, weighted=True, n_left=n_left)
    memberships = rng.dirichlet([0.5] * k, 13).astype(np.float32)
    theta = overlap_em.fit_propensity(graph)
    there = on_gpu(graph)
    start = gpu.to_device(memberships)
    moved: list[int] = []
    for name in ("to_device", "to_host"):
        whole = getattr(gpu, name)
        monkeypatch.setattr(gpu, name, lambda array, whole=whole: moved.append(array.ndim) or whole(array))
    for given in (start, memberships):
        moved.clear()
        found, background = overlap_em.dense_em(there, given, theta, n_iters=5, sparsity=0.3)
        assert moved.count(2) == 1 + (given is memberships)  # degrees, a column
        expected, other = overlap_em.dense_em(graph, memberships, theta, n_iters=5, sparsity=0.3)
        check(found, expected)
        assert background.scale == pytest.approx(other.scale, rel=1e-5)


def test_too_many_communities_for_the_gpu(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, gpu: EmulatedGpu
) -> None:
    graph, _ = thirteen(rng, weighted=False, n_left=None)
    memberships, theta = rng.dirichlet([0.5] * 3, 13).astype(np.float32), overlap_em.fit_propensity(graph)
    for module in (overlap_em, blocks_gpu):
        monkeypatch.setattr(module, "MOST_COLUMNS", 2)
    found, _ = overlap_em.dense_em(on_gpu(graph), gpu.to_device(memberships), theta, n_iters=2)
    check(found, overlap_em.dense_em(graph, memberships, theta, n_iters=2)[0])
    assert not any(name.startswith("dense") for name in gpu.launches)


def check(found: Strengths, expected: Strengths) -> None:
    assert found.n_communities == expected.n_communities
    np.testing.assert_array_equal(found.indptr, expected.indptr)
    np.testing.assert_array_equal(found.communities, expected.communities)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n_left", [None, 5])
@pytest.mark.parametrize("sparsity", [(0.0,), (0.3, 0.0, 0.2), ()])
def test_em_on_supports(
    rng: np.random.Generator, n_left: int | None, sparsity: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, _ = thirteen(rng, weighted=True, n_left=n_left)
    dense = rng.gamma(1.0, 0.4, (13, 3)) * (rng.random((13, 3)) < 0.8)
    start, background = on_support(dense), Background(0.4, overlap_em.fit_propensity(graph))
    monkeypatch.setattr(sparse_em_gpu, "_LEAST_ENTRIES", 0)
    found, one = overlap_em.sparse_em(on_gpu(graph), start, background, sparsity=sparsity)
    expected, other = overlap_em.sparse_em(graph, start, background, sparsity=sparsity)
    check(found, expected)
    np.testing.assert_allclose(found.expected, expected.expected, rtol=1e-7)
    assert one.scale == pytest.approx(other.scale, rel=1e-9)


def test_em_on_supports_where_memory_ends(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, gpu: EmulatedGpu
) -> None:
    graph, _ = thirteen(rng, weighted=True, n_left=None)
    start, background = on_support(rng.gamma(1.0, 0.4, (13, 3))), Background(0.4, overlap_em.fit_propensity(graph))
    monkeypatch.setattr(sparse_em_gpu, "_LEAST_ENTRIES", 0)

    def none(*arguments: Any) -> Any:
        raise MemoryError("no memory")

    monkeypatch.setattr(sparse_em_gpu, "sparse_strengths", none)
    found, _ = overlap_em.sparse_em(on_gpu(graph), start, background, sparsity=(0.2,))
    check(found, overlap_em.sparse_em(graph, start, background, sparsity=(0.2,))[0])


@pytest.mark.parametrize("alpha0", [0.0, 0.7])
@pytest.mark.usefixtures("as_large")
def test_spectral_memberships(gpu: EmulatedGpu, alpha0: float) -> None:
    graph = planted()
    here, there = GraphEmbedding(graph), GraphEmbedding(on_gpu(graph))
    np.testing.assert_allclose(there.eigenvalues(3), here.eigenvalues(3), atol=1e-6)
    expected, fit = spectral_memberships(*here.fit_points(3), alpha0=alpha0)
    points, weights = there.fit_points(3)
    np.testing.assert_array_equal(gpu.to_host(points), there.points(3))
    found, other = spectral_memberships(points, weights, alpha0=alpha0)
    assert gpu.owns(found)
    assert type(expected) is np.ndarray
    np.testing.assert_allclose(other.weights, fit.weights, rtol=1e-4)
    for change in (lambda x: x, nearly_pure, without_traces):
        np.testing.assert_allclose(gpu.to_host(change(found)), change(expected), atol=2e-3)


def test_small_embeddings_stay_here(gpu: EmulatedGpu) -> None:
    points, weights = GraphEmbedding(on_gpu(planted())).fit_points(3)
    assert type(points) is type(weights) is np.ndarray
    assert not gpu.launches
