"""Decompositions from sketches of a tensor of an emulated GPU are those of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tdtool.decompose import sketched
from tdtool.decompose.results import CPFit, cp_fit
from tdtool.decompose.sketched import sketched_cp_als, sketched_power
from tdtool.kernels import device_gpu
from tdtool.kernels.sparse_tensor import SparseTensor
from tdtool.kernels.symmetric_sketch import symmetric_hashes, symmetric_sketch
from tests import oracles_sketch
from tests.emulated_gpu import EmulatedGpu, needs_compiler

pytestmark = needs_compiler


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> EmulatedGpu:
    found = EmulatedGpu()
    monkeypatch.setattr(device_gpu, "_current", found)
    return found


def planted(shape: tuple[int, ...], rank: int, rng: np.random.Generator) -> Any:
    """A tensor of orthonormal factors, symmetric where the sizes are equal, with 2 % of noise."""
    factors = [np.linalg.qr(rng.standard_normal((size, rank)))[0] for size in shape]
    rest = rng.standard_normal(shape)
    if len(set(shape)) == 1:
        factors, rest = [factors[0]] * len(shape), oracles_sketch.symmetrised(rest)
    clean = cp_fit(np.linspace(3, 1, rank), factors).to_dense()
    return clean + rest * (0.02 * np.linalg.norm(clean) / np.linalg.norm(rest))


def same(one: CPFit, two: CPFit, tol: float) -> None:
    assert (one.stopped, len(one.errors)) == (two.stopped, len(two.errors))
    np.testing.assert_allclose(two.errors, one.errors, rtol=tol)
    np.testing.assert_allclose(two.weights, one.weights, rtol=tol)
    for found, expected in zip(two.factors, one.factors, strict=True):
        assert type(found) is np.ndarray
        np.testing.assert_allclose(found, expected, atol=tol)


@pytest.mark.parametrize("kept", [0, 1 << 28])
@pytest.mark.parametrize("shape", [(12, 13, 11), (5, 6, 4, 7)])
def test_als(
    gpu: EmulatedGpu, shape: tuple[int, ...], kept: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """With the transforms of factors at hand, and without."""
    monkeypatch.setattr(sketched, "_KEPT_BYTES", kept)
    tensor = planted(shape, 2, rng)
    settings: Any = {"hash_length": 1 << 9, "n_sketches": 3, "n_restarts": 2, "max_iters": 6}
    one = sketched_cp_als(tensor, 2, **settings, rng=np.random.default_rng(1))
    two = sketched_cp_als(gpu.to_device(tensor), 2, **settings, rng=np.random.default_rng(1))
    assert one.relative_error < 0.5
    same(one, two, 1e-8)


def test_als_of_sparse_entries(gpu: EmulatedGpu, rng: np.random.Generator) -> None:
    tensor = planted((12, 13, 11), 1, rng)
    tensor[::2, ::3] = 0
    sparse = SparseTensor.from_coo(np.nonzero(tensor), tensor[np.nonzero(tensor)], tensor.shape)
    settings: Any = {"hash_length": 1 << 9, "n_sketches": 3, "n_restarts": 1, "max_iters": 4}
    one = sketched_cp_als(sparse, 1, **settings, rng=np.random.default_rng(1))
    two = sketched_cp_als(sparse, 1, **settings, gpu=gpu, rng=np.random.default_rng(1))
    assert "sketch_entries" in gpu.launches
    same(one, two, 1e-8)


@pytest.mark.parametrize(("kind", "tol"), [(np.float32, 1e-4), (np.float64, 1e-6)])
def test_power(gpu: EmulatedGpu, kind: Any, tol: float, rng: np.random.Generator) -> None:
    """Size 40. Searches run in single precision on either side, the sweeps that end them in the tensor's."""
    tensor = planted((40, 40, 40), 2, rng).astype(kind)
    settings: Any = {"hash_length": 1 << 10, "n_sketches": 3, "n_restarts": 3, "max_iters": 8}
    one = sketched_power(tensor, 2, **settings, rng=np.random.default_rng(1))
    two = sketched_power(gpu.to_device(tensor), 2, **settings, rng=np.random.default_rng(1))
    assert one.relative_error < 0.05
    assert two.relative_error == pytest.approx(one.relative_error, rel=tol)
    np.testing.assert_allclose(two.weights, one.weights, rtol=tol)
    np.testing.assert_allclose(two.factors[0], one.factors[0], atol=tol)


def test_joint_sweeps_in_double_precision(gpu: EmulatedGpu, rng: np.random.Generator) -> None:
    tensor, family = planted((40, 40, 40), 3, rng), symmetric_hashes(40, 1 << 10, 3, rng=rng)
    leading = np.linalg.svd(tensor.reshape(40, -1), full_matrices=False)[0][:, :3]
    start = np.linalg.qr(leading + 0.05 * rng.standard_normal((40, 3)))[0]
    one = sketched._jointly(symmetric_sketch(tensor, family), np.ones(3), start, 1.0)
    two = sketched._jointly(symmetric_sketch(gpu.to_device(tensor), family), np.ones(3), start, 1.0)
    assert len(one[2]) > 2
    assert one[3] == two[3]
    np.testing.assert_allclose(two[0], one[0], rtol=1e-10)
    np.testing.assert_allclose(two[1], one[1], atol=1e-10)
    np.testing.assert_allclose(two[2], one[2], rtol=1e-10)
