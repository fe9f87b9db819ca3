"""The M step on a GPU against that of the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from tdtool.kernels import block_strengths_gpu
from tdtool.kernels.block_strengths_cpu import dense_strengths, sparse_strengths
from tests.emulated_gpu import EmulatedGpu, needs_compiler

pytestmark = needs_compiler


@pytest.mark.parametrize("n_left", [None, 0, 29, 300])
@pytest.mark.parametrize(("n_nodes", "k"), [(300, 1), (300, 5), (300, 32), (301, 40)])
def test_dense_strengths(rng: np.random.Generator, n_nodes: int, k: int, n_left: int | None) -> None:
    """A community of nobody, one of a single node, one of two equals: some settle at once."""
    expected = (rng.gamma(1.0, 3.0, (n_nodes, k)) * (rng.random((n_nodes, k)) < 0.5)).astype(np.float32)
    if k > 3:
        expected[:, :3] = 0
        expected[7, 1], expected[8:10, 2] = 4, 5
    bits = []
    for gpu in (EmulatedGpu(), EmulatedGpu(reverse=True)):
        found = gpu.to_host(block_strengths_gpu.dense_strengths(gpu, gpu.to_device(expected), n_left))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, dense_strengths(expected, n_left), rtol=1e-5, atol=1e-7)
        bits.append(found.tobytes())
    assert bits[0] == bits[1]


@pytest.mark.parametrize("shape", [(0, 3), (4, 0)])
def test_nothing(shape: tuple[int, int]) -> None:
    gpu = EmulatedGpu()
    assert block_strengths_gpu.dense_strengths(gpu, gpu.zeros(shape, np.float32)).shape == shape


@pytest.mark.parametrize("n_left", [None, 0, 170, 1000])
@pytest.mark.parametrize("k", [1, 6, 300])
def test_sparse_strengths(
    rng: np.random.Generator, k: int, n_left: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many communities have nobody, or one; the first has many: it is added up in pieces."""
    monkeypatch.setattr(block_strengths_gpu, "_PIECE", 50)
    support = np.minimum(rng.integers(0, k, 1000), rng.integers(0, k, 1000)).astype(np.int32)
    expected = rng.gamma(1.0, 3.0, 1000) * (rng.random(1000) < 0.8)
    bits = []
    for gpu in (EmulatedGpu(), EmulatedGpu(reverse=True)):
        there = gpu.to_device(expected), gpu.to_device(support)
        found = gpu.to_host(block_strengths_gpu.sparse_strengths(gpu, *there, k, n_left))
        np.testing.assert_allclose(found, sparse_strengths(expected, support, k, n_left), rtol=1e-11)
        bits.append(found.tobytes())
    assert bits[0] == bits[1]


def test_no_entries() -> None:
    gpu = EmulatedGpu()
    assert block_strengths_gpu.sparse_strengths(gpu, gpu.zeros(0, np.float64), gpu.zeros(0, np.int32), 0).shape == (0,)
