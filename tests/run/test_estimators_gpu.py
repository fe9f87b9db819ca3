"""The estimators of the Python API on an emulated GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tdtool import SpectralLDA, TensorCommunities
from tdtool.errors import GpuError
from tests.emulated_gpu import EmulatedGpu, gpu, needs_compiler

__all__ = ["gpu"]


@needs_compiler
def test_topics_are_those_of_threads(gpu: EmulatedGpu, rng: np.random.Generator) -> None:
    topics = np.kron(np.eye(3), np.ones(6)) + 0.02
    shares = rng.dirichlet([0.2] * 3, 60)
    counts = rng.poisson(25 * shares @ (topics / topics.sum(axis=1, keepdims=True)))
    here = SpectralLDA(3, polish=2, random_state=0, device="cpu").fit(counts)
    assert not gpu.launches
    there = SpectralLDA(3, polish=2, random_state=0, device="cuda").fit(counts)
    assert gpu.launches
    np.testing.assert_allclose(there.components_, here.components_, atol=1e-3)
    assert there.perplexity(counts) == pytest.approx(here.perplexity(counts), rel=2e-3)


@needs_compiler
def test_communities_are_those_of_threads(gpu: EmulatedGpu) -> None:
    graph = np.kron(np.eye(3), np.ones((7, 7))) - np.eye(21)
    graph[0, 7] = graph[7, 0] = graph[8, 14] = graph[14, 8] = 1
    here = TensorCommunities(3, random_state=0, device="cpu").fit(graph)
    assert not gpu.launches
    there = TensorCommunities(3, random_state=0, device="cuda").fit(graph)
    assert gpu.launches
    np.testing.assert_array_equal(there.labels_, here.labels_)
    np.testing.assert_allclose(there.membership_.toarray(), here.membership_.toarray(), atol=1e-5)


@pytest.mark.parametrize("estimator", [SpectralLDA(2), TensorCommunities(2)], ids=lambda each: type(each).__name__)
def test_devices_that_are_none(estimator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.ones((6, 6)) - np.eye(6)
    with pytest.raises(ValueError, match="device is 'tpu'; it is 'auto', 'cpu' or 'cuda'"):
        estimator.set_params(device="tpu").fit(x)

    def none(**options: object) -> None:
        raise GpuError("no GPU")

    monkeypatch.setattr("tdtool.kernels.device_gpu.open_gpu", none)
    with pytest.raises(GpuError):
        estimator.set_params(device="cuda").fit(x)
