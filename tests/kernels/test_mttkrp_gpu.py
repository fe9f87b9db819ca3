"""MTTKRP of tensors of a GPU equals that of the host, alone, in sweeps, and in the small kernels that it is made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.kernels import modes_gpu, mttkrp_gpu
from tdtool.kernels.khatri_rao import khatri_rao
from tdtool.kernels.mttkrp import mttkrp, mttkrp_sweep
from tdtool.kernels.mttkrp_gpu import squared_residual_on_gpu, sum_of_rows
from tdtool.kernels.mttkrp_tree import split_mode
from tests.emulated_gpu import EmulatedGpu, gpu, needs_compiler
from tests.kernels.test_modes_gpu import LAYOUTS, TOLERANCE, assert_close, opened, random

__all__ = ["gpu", "opened"]
pytestmark = needs_compiler
Array = NDArray[Any]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize(
    ("first", "second", "rank"),
    [
        (1, 1, 1),
        (5, 3, 3),
        (3, 5, 4),
        (7, 2, 8),
        (130, 3, 5),
        (3, 200, 12),
        (70, 65, 2),
        (2, 3, 260),
        (2, 70, 1028),
        (1, 3000, 1),
    ],
)
def test_weighted_sums(first: int, second: int, rank: int, dtype: str, reverse: bool, rng: np.random.Generator) -> None:
    gpu = EmulatedGpu(reverse=reverse)
    partial = random((first, second, rank), dtype, rng)
    for over_first, equation in ((True, "psr,pr->sr"), (False, "psr,sr->pr")):
        weights = random((first if over_first else second, rank), dtype, rng)
        found = [
            gpu.to_host(sum_of_rows(gpu, gpu.to_device(partial), gpu.to_device(weights), over_first=over_first))
            for _ in range(2)
        ]
        assert_close(found[0], np.einsum(equation, partial.astype("d"), weights.astype("d")).astype(dtype))
        np.testing.assert_array_equal(*found)


def test_empty_and_complex_sums(opened: EmulatedGpu, rng: np.random.Generator) -> None:
    for shape in [(0, 2, 3), (2, 0, 3), (2, 3, 4)]:
        partial = random(shape, "D", rng)
        for kind in "Dd":
            for over_first, equation in ((True, "psr,pr->sr"), (False, "psr,sr->pr")):
                values = partial.astype(kind) if kind == "D" else partial.real.copy()
                weights = random((shape[0] if over_first else shape[1], shape[2]), kind, rng)
                found = sum_of_rows(opened, opened.to_device(values), opened.to_device(weights), over_first=over_first)
                assert_close(opened.to_host(found), np.einsum(equation, values, weights))


def oracle(tensor: Array, factors: list[Array], mode: int) -> Array:
    others = [factor for other, factor in enumerate(factors) if other != mode]
    unfolded = np.moveaxis(tensor, mode, 0).reshape(tensor.shape[mode], math.prod(map(len, others)))
    return unfolded @ (khatri_rao(others) if others else np.ones((1, factors[0].shape[1])))


@pytest.mark.parametrize("dtype", "fdD")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("small", [False, True])
def test_mttkrp(
    dtype: str, layout: str, small: bool, opened: EmulatedGpu, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small:  # everything in several blocks
        monkeypatch.setattr(mttkrp_gpu, "_BLOCK", 40)
        monkeypatch.setattr(mttkrp_gpu, "PACKED", 20)
        monkeypatch.setattr(modes_gpu, "_LEAST_DEPTH", 3)
    for shape in [(5, 4, 9), (9, 4, 5)]:
        host = random(shape, dtype, rng)
        tensor, twin = LAYOUTS[layout](opened.to_device(host)), LAYOUTS[layout](host)
        factors = [random((size, 3), dtype, rng) for size in twin.shape]
        for mode in range(3):
            found = mttkrp(tensor, [factors[0], opened.to_device(factors[1]), factors[2]], mode)
            assert type(found) is np.ndarray
            assert_close(found, oracle(twin, factors, mode))


@pytest.mark.parametrize("shape", [(6,), (3, 8), (2, 3, 1, 5), (2, 3, 4, 5), (5, 4, 2, 3), (2, 0, 3), (3, 2, 2, 2, 3)])
def test_other_orders(shape: tuple[int, ...], opened: EmulatedGpu, rng: np.random.Generator) -> None:
    host = rng.standard_normal(shape)
    for rank in (1, 4):
        factors = [rng.standard_normal((size, rank)) for size in shape]
        for mode in range(len(shape)):
            assert_close(mttkrp(opened.to_device(host), factors, mode), oracle(host, factors, mode))


def test_factors_are_taken_in_the_precision_of_the_tensor(opened: EmulatedGpu, rng: np.random.Generator) -> None:
    host = random((3, 4, 5), "f", rng)
    factors = [rng.standard_normal((size, 2)) for size in host.shape]
    found = mttkrp(opened.to_device(host), factors, 1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, mttkrp(host, factors, 1), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="do not fit"):
        mttkrp(opened.to_device(host), factors[::-1], 1)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("shape", [(7, 8, 9), (12, 5, 6), (5, 6, 4, 7), (4, 5, 3, 4, 5)])
def test_sweeps(shape: tuple[int, ...], dtype: str, order: str, opened: EmulatedGpu, rng: np.random.Generator) -> None:
    host = random(shape, dtype, rng)
    starts = [random((size, 2), dtype, rng) for size in shape]
    assert split_mode(host, 2) is not None
    tensor = LAYOUTS[order](opened.to_device(host))
    seen: dict[str, list[Array]] = {"cpu": [], "gpu": []}

    def update(where: str) -> Any:
        def change(mode: int, product: Array) -> Array:
            assert type(product) is np.ndarray
            seen[where].append(product)
            return np.asarray(product / np.linalg.norm(product))

        return change

    mttkrp_sweep(LAYOUTS[order](host), list(starts), update("cpu"))
    mttkrp_sweep(tensor, list(starts), update("gpu"))
    for found, wanted in zip(seen["gpu"], seen["cpu"], strict=True):
        assert_close(found, wanted)


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("block", [1 << 24, 30])
def test_residual(
    dtype: str, block: int, opened: EmulatedGpu, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mttkrp_gpu, "_BLOCK", block)
    for shape in [(5, 4, 6), (9,), (3, 5)]:
        host = random(shape, dtype, rng)
        factors = [random((size, 3), dtype, rng) for size in shape]
        rest = khatri_rao(factors[1:]) if len(shape) > 1 else np.ones((1, 3))
        wanted = float(np.sum((host.reshape(len(host), -1).astype("d") - factors[0].astype("d") @ rest.T) ** 2))
        there = [opened.to_device(factor) for factor in factors]
        for layout in ("C", "F") if len(shape) > 1 else ("C",):
            found = squared_residual_on_gpu(opened, LAYOUTS[layout](opened.to_device(host)), there)
            assert found == pytest.approx(wanted, rel=10 * TOLERANCE[dtype])
