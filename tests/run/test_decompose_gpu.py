"""`fit_tensor` and `decompose` on a GPU: the results of the host, and what goes to the host instead."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.config import DecomposeConfig
from tdtool.data.ledger import Ledger
from tdtool.data.tensor import LabelledTensor
from tdtool.decompose.results import CPFit, TuckerFit
from tdtool.kernels import device_gpu
from tdtool.kernels.sparse_tensor import SparseTensor
from tdtool.run.decompose import decompose
from tdtool.run.decompose_fit import fit_tensor
from tests.emulated_gpu import EmulatedGpu, gpu, needs_compiler

__all__ = ["gpu"]
pytestmark = needs_compiler
Array = NDArray[Any]


@pytest.fixture
def opened(gpu: EmulatedGpu) -> EmulatedGpu:
    """The emulated GPU as the current one."""
    device_gpu.open_gpu()
    return gpu


def labelled(values: Array | SparseTensor, missing: Array | None = None) -> LabelledTensor:
    names = tuple(f"mode{mode}" for mode in range(len(values.shape)))
    return LabelledTensor(values, missing, names, (None,) * len(names), {}, Ledger(), "a tensor")


@pytest.fixture
def cube(rng: np.random.Generator) -> Array:
    """A symmetric tensor of two powers."""
    vectors = np.linalg.qr(rng.standard_normal((9, 2)))[0]
    tensor = np.einsum("r,ar,br,cr->abc", [3.0, 2.0], vectors, vectors, vectors)
    return np.asarray(sum(np.transpose(tensor, turn) for turn in [(0, 1, 2), (1, 2, 0), (2, 0, 1)]) / 3)


@pytest.fixture
def plain(rng: np.random.Generator) -> Array:
    """A positive tensor of rank 2 with a little noise."""
    factors = [rng.random((size, 2)) for size in (9, 8, 7)]
    tensor = np.einsum("ar,br,cr->abc", *factors)
    return np.asarray(tensor + 0.01 * rng.random(tensor.shape))


METHODS: dict[str, dict[str, Any]] = {
    "cp": {"rank": 2},
    "cp-nonneg": {"rank": 2},
    "power": {"rank": 2},
    "tucker": {"ranks": (2, 2, 2)},
    "hosvd": {"max_error": 0.2},
    "sketch": {"rank": 2, "hash_length": 256, "sketches": 3},
}


def same(found: CPFit | TuckerFit, wanted: CPFit | TuckerFit, atol: float) -> None:
    for one, other in zip(found.factors, wanted.factors, strict=True):
        assert type(one) is np.ndarray
        np.testing.assert_allclose(one, other, atol=atol)
    assert found.relative_error == pytest.approx(wanted.relative_error, abs=atol)


@pytest.mark.parametrize("method", METHODS)
def test_every_method(method: str, cube: Array, plain: Array, opened: EmulatedGpu) -> None:
    tensor = labelled(cube if method in ("power", "sketch") else plain)
    config = DecomposeConfig(method=method, max_iters=20, restarts=2, **METHODS[method])
    found, wanted = fit_tensor(tensor, config, opened), fit_tensor(tensor, config)
    same(found.fit, wanted.fit, 1e-4 if method == "sketch" else 1e-7)
    assert found.norm == pytest.approx(wanted.norm, rel=1e-12)
    np.testing.assert_allclose(found.mode_errors, wanted.mode_errors, atol=1e-7)
    assert opened.launches


def test_sketched_als_and_the_sketch_of_a_sparse_tensor(plain: Array, opened: EmulatedGpu) -> None:
    config = DecomposeConfig(method="sketch", max_iters=5, restarts=1, rank=2, hash_length=256, sketches=3)
    sparse = SparseTensor.from_coo(np.nonzero(plain), plain[np.nonzero(plain)], plain.shape)
    for values in (plain, sparse):
        found, wanted = fit_tensor(labelled(values), config, opened), fit_tensor(labelled(values), config)
        same(found.fit, wanted.fit, 1e-6)


@pytest.mark.parametrize("dtype", ["f", "D"])
def test_tensors_by_columns_and_of_other_types(dtype: str, plain: Array, opened: EmulatedGpu) -> None:
    tensor = np.asfortranarray(plain.astype(dtype) * (1 + 1j if dtype == "D" else 1), dtype=dtype)
    config = DecomposeConfig(method="tucker", ranks=(2, 2, 2), max_iters=20)
    found, wanted = fit_tensor(labelled(tensor), config, opened), fit_tensor(labelled(tensor), config)
    assert found.fit.factors[0].dtype == tensor.dtype
    same(found.fit, wanted.fit, 1e-3 if dtype == "f" else 1e-8)
    if dtype == "f":
        config = DecomposeConfig(method="cp", rank=2, max_iters=60)
        found, wanted = fit_tensor(labelled(tensor), config, opened), fit_tensor(labelled(tensor), config)
        same(found.fit, wanted.fit, 2e-2)


def test_the_rank_is_chosen(plain: Array, opened: EmulatedGpu) -> None:
    config = DecomposeConfig(method="cp", max_rank=3)
    found, wanted = fit_tensor(labelled(plain), config, opened), fit_tensor(labelled(plain), config)
    assert found.fit.factors[0].shape == wanted.fit.factors[0].shape
    same(found.fit, wanted.fit, 1e-6)


def test_what_cannot_go_there_says_so(plain: Array, opened: EmulatedGpu, caplog: pytest.LogCaptureFixture) -> None:
    config = DecomposeConfig(method="cp", rank=2, max_iters=5, restarts=1)
    missing = plain > np.quantile(plain, 0.9)
    holes = np.where(missing, np.nan, plain)
    sparse = SparseTensor.from_coo(np.nonzero(plain), plain[np.nonzero(plain)], plain.shape)
    small = EmulatedGpu(limit=1000)
    for tensor, there, words in (
        (labelled(holes, missing), opened, "missing values"),
        (labelled(sparse), opened, "sparse"),
        (labelled(plain), small, "may be used"),
    ):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="tdtool"):
            found = fit_tensor(tensor, config, there)
        assert words in caplog.text
        assert "on the CPU" in caplog.text
        same(found.fit, fit_tensor(tensor, config).fit, 0.0)


@pytest.mark.parametrize("fail_at", [1, 2, 5, 9])
def test_memory_that_ends_on_the_way(
    fail_at: int, plain: Array, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scarce = EmulatedGpu(fail_at=fail_at)
    monkeypatch.setattr(device_gpu, "_current", scarce)
    config = DecomposeConfig(method="cp", rank=2, max_iters=5, restarts=1)
    with caplog.at_level(logging.INFO, logger="tdtool"):
        found = fit_tensor(labelled(plain), config, scarce)
    assert "decomposing on the CPU" in caplog.text
    same(found.fit, fit_tensor(labelled(plain), config).fit, 0.0)


def test_decompose_takes_it(plain: Array, opened: EmulatedGpu, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", X=plain)
    config = DecomposeConfig(method="tucker", ranks=(2, 2, 2))
    found = decompose(str(tmp_path / "t.npz"), tmp_path / "out.h5", decompose=config, gpu=opened)
    wanted = decompose(str(tmp_path / "t.npz"), tmp_path / "cpu.h5", decompose=config)
    assert opened.launches
    same(found.fit, wanted.fit, 1e-8)
