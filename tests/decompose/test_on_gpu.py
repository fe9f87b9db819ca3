"""Decompositions of a tensor of a GPU equal those of the same tensor on the host."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray

from tdtool.decompose import tucker_start
from tdtool.decompose.core_consistency import core_consistency
from tdtool.decompose.cp import cp_als
from tdtool.decompose.rank_choice import choose_cp_rank
from tdtool.decompose.results import CPFit, TuckerFit
from tdtool.decompose.symmetric import is_symmetric
from tdtool.decompose.tensor_power import symmetric_cp, tensor_power
from tdtool.decompose.tucker import choose_ranks, hosvd, st_hosvd, tucker_als
from tdtool.decompose.tucker_subspaces import leading_vectors, singular_pairs
from tdtool.kernels import arrays, device_gpu, mttkrp_gpu
from tests.emulated_gpu import EmulatedArray, EmulatedGpu, gpu, needs_compiler

__all__ = ["gpu"]
pytestmark = needs_compiler
Array = NDArray[Any]
TUCKER = [hosvd, st_hosvd, tucker_als]


@pytest.fixture
def opened(gpu: EmulatedGpu, monkeypatch: pytest.MonkeyPatch) -> EmulatedGpu:
    """The emulated GPU as the current one; numpy makes no arrays of the host of its arrays in silence, as with cupy."""

    def strict(function: Any) -> Any:
        def call(array: Any, *arguments: Any, **options: Any) -> Any:
            if isinstance(array, EmulatedArray):
                raise TypeError("an array of the GPU becomes one of the host by itself")
            return function(array, *arguments, **options)

        return call

    device_gpu.open_gpu()
    for module, names in (
        (np, ("asarray", "array", "ascontiguousarray")),
        (scipy.linalg, ("qr", "eigh", "svd", "eig")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, strict(getattr(module, name)))
    return gpu


@pytest.fixture(params=["small", "all"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is small goes to the host, as it does, or nothing does."""
    if request.param == "all":
        monkeypatch.setattr(arrays, "SMALL", 0)


def of_rank(shape: tuple[int, ...], rank: int, noise: float, rng: np.random.Generator) -> Array:
    letters = "abcde"[: len(shape)]
    factors = [rng.standard_normal((size, rank)) for size in shape]
    tensor = np.einsum(",".join(f"{letter}r" for letter in letters) + f"->{letters}", *factors)
    return np.asarray(tensor + noise * rng.standard_normal(shape) * np.linalg.norm(tensor) / np.sqrt(tensor.size))


def same_cp(found: CPFit, wanted: CPFit, atol: float = 1e-8) -> None:
    assert found.stopped == wanted.stopped
    np.testing.assert_allclose(found.weights, wanted.weights, rtol=atol)
    for one, other in zip(found.factors, wanted.factors, strict=True):
        assert type(one) is np.ndarray
        np.testing.assert_allclose(one, other, atol=atol)
    assert found.relative_error == pytest.approx(wanted.relative_error, abs=atol)


def same_tucker(found: TuckerFit, wanted: TuckerFit, atol: float = 1e-8) -> None:
    assert (found.stopped, len(found.errors)) == (wanted.stopped, len(wanted.errors))
    assert type(found.core) is np.ndarray
    assert found.core.dtype == wanted.core.dtype
    np.testing.assert_allclose(found.core, wanted.core, atol=atol * np.abs(wanted.core).max())
    for one, other in zip(found.factors, wanted.factors, strict=True):
        assert type(one) is np.ndarray
        np.testing.assert_allclose(one, other, atol=atol)
    assert found.relative_error == pytest.approx(wanted.relative_error, abs=atol)


@pytest.mark.parametrize("method", TUCKER)
@pytest.mark.parametrize(
    ("shape", "ranks"),
    [((7, 5), (3, 3)), ((9, 8, 11), (2, 3, 4)), ((5, 7, 6, 3), (2, 4, 3, 2)), ((9,), (1,)), ((40, 3, 2), (3, 3, 2))],
)
@pytest.mark.parametrize("kind", "dD")
@pytest.mark.usefixtures("kept")
def test_tucker(
    method: Any,
    shape: tuple[int, ...],
    ranks: tuple[int, ...],
    kind: str,
    opened: EmulatedGpu,
    rng: np.random.Generator,
) -> None:
    tensor = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if kind == "D" else 0)
    same_tucker(method(opened.to_device(tensor), ranks), method(tensor, ranks))


@pytest.mark.parametrize("kind", "fD")
@pytest.mark.usefixtures("kept")
def test_tucker_from_random_directions(
    kind: str, opened: EmulatedGpu, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tucker_start, "_WORTH_ENTRIES", 1)
    monkeypatch.setattr(tucker_start, "_WORTH_RATIO", 1)
    monkeypatch.setattr(tucker_start, "_OVERSAMPLING", 2)
    tensor = of_rank((14, 12, 13), 3, 1e-3, rng).astype(kind)
    found, wanted = tucker_als(opened.to_device(tensor), (3, 3, 3)), tucker_als(tensor, (3, 3, 3))
    np.testing.assert_allclose(found.to_dense(), wanted.to_dense(), atol=1e-4 if kind == "f" else 1e-9)
    assert found.relative_error == pytest.approx(wanted.relative_error, abs=1e-5 if kind == "f" else 1e-10)


@pytest.mark.parametrize("kind", "fdD")
@pytest.mark.usefixtures("kept")
def test_exact_tucker(kind: str, opened: EmulatedGpu, rng: np.random.Generator) -> None:
    """Errors from the difference itself, vectors that a Gram matrix cannot tell."""
    tensor = of_rank((9, 8, 7), 2, 0.0, rng).astype(kind)
    there = opened.to_device(tensor)
    for method in TUCKER:
        fit = method(there, (3, 3, 3))
        assert fit.relative_error < (1e-6 if kind == "f" else 1e-14)
    assert choose_ranks(there, 1e-5 if kind == "f" else 1e-8) == (2, 2, 2)
    assert choose_ranks(there, 0.5) == choose_ranks(tensor, 0.5)
    for mode in range(3):
        np.testing.assert_allclose(singular_pairs(there, mode)[0], singular_pairs(tensor, mode)[0], atol=1e-13 * 100)
        assert type(leading_vectors(there, mode, 2)) is np.ndarray


@pytest.mark.parametrize("shape", [(12, 9, 10), (6, 5, 7, 4), (8, 30)])
@pytest.mark.parametrize("options", [{}, {"compress": False}, {"compress": True}, {"nonnegative": True}])
@pytest.mark.usefixtures("kept")
def test_cp(shape: tuple[int, ...], options: dict[str, Any], opened: EmulatedGpu, rng: np.random.Generator) -> None:
    tensor = of_rank(shape, 2, 0.01, rng)
    tensor = np.abs(tensor) if options.get("nonnegative") else tensor
    found = cp_als(opened.to_device(tensor), 2, max_iters=20, n_restarts=2, **options)
    wanted = cp_als(tensor, 2, max_iters=20, n_restarts=2, **options)
    if len(shape) > 2:
        same_cp(found, wanted)
        assert core_consistency(opened.to_device(tensor), found) == pytest.approx(
            core_consistency(tensor, wanted), abs=1e-5
        )
    assert found.relative_error == pytest.approx(wanted.relative_error, abs=1e-8)


@pytest.mark.parametrize("compress", [False, True])
def test_exact_cp(
    compress: bool, opened: EmulatedGpu, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mttkrp_gpu, "_BLOCK", 1 << 8)
    tensor = of_rank((9, 8, 7), 3, 0.0, rng)
    fit = cp_als(opened.to_device(tensor), 3, compress=compress)
    assert fit.relative_error < 1e-12
    single = cp_als(opened.to_device(tensor.astype("f")), 3, compress=compress, max_iters=60)
    assert single.relative_error < 1e-5


def test_cp_refuses_a_mask_there(opened: EmulatedGpu, rng: np.random.Generator) -> None:
    tensor = rng.standard_normal((4, 5, 3))
    with pytest.raises(ValueError, match="takes no mask"):
        cp_als(opened.to_device(tensor), 2, mask=tensor > 1)
    with pytest.raises(ValueError, match="NaN"):
        cp_als(opened.to_device(tensor * np.nan), 2)
    assert cp_als(opened.to_device(0 * tensor), 2).relative_error == 0


@pytest.mark.parametrize("order", [3, 4])
@pytest.mark.parametrize("compress", [False, True])
def test_symmetric_powers(order: int, compress: bool, opened: EmulatedGpu, rng: np.random.Generator) -> None:
    vectors = np.linalg.qr(rng.standard_normal((7, 2)))[0] + 0.01 * rng.standard_normal((7, 2))
    letters = "abcd"[:order]
    equation = "r," + ",".join(f"{letter}r" for letter in letters) + f"->{letters}"
    tensor = np.einsum(equation, np.array([3.0, 2.0]), *[vectors] * order)
    tensor = sum(np.transpose(tensor, np.roll(range(order), turn)) for turn in range(order)) / order
    there = opened.to_device(tensor)
    assert is_symmetric(there)
    other = tensor.copy()
    other[(0,) * (order - 1) + (1,)] += 1
    assert not is_symmetric(opened.to_device(other))
    wanted = symmetric_cp(tensor, 2, compress=compress, rng=np.random.default_rng(1))
    found = symmetric_cp(there, 2, compress=compress, rng=np.random.default_rng(1))
    assert found.relative_error < 1e-9
    same_cp(found, dataclasses.replace(wanted, stopped=found.stopped), 1e-7)  # "exact" or "tol": a matter of rounding
    wanted = tensor_power(tensor, 2, n_restarts=3, rng=np.random.default_rng(1))
    same_cp(tensor_power(there, 2, n_restarts=3, rng=np.random.default_rng(1)), wanted)


@pytest.mark.parametrize("shape", [(8, 7, 6), (16, 14, 12)])
def test_the_same_rank_is_chosen(shape: tuple[int, ...], opened: EmulatedGpu, rng: np.random.Generator) -> None:
    tensor = of_rank(shape, 2, 0.02, rng)
    found = choose_cp_rank(opened.to_device(tensor), 3, rng=np.random.default_rng(2))
    wanted = choose_cp_rank(tensor, 3, rng=np.random.default_rng(2))
    assert found.rank == wanted.rank == 2
    np.testing.assert_allclose(
        [trial.relative_error for trial in found.table], [trial.relative_error for trial in wanted.table], atol=1e-6
    )


def test_the_tensor_stays_there(opened: EmulatedGpu, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "SMALL", 0)
    tensor = of_rank((16, 14, 12), 2, 0.01, rng)
    there, sizes, to_host = opened.to_device(tensor), [0], opened.to_host

    def counted(array: Any) -> Any:
        sizes.append(array.size)
        return to_host(array)

    monkeypatch.setattr(opened, "to_host", counted)
    for fit in (
        lambda: hosvd(there, (2, 2, 2)),
        lambda: tucker_als(there, (2, 2, 2)),
        lambda: cp_als(there, 2, max_iters=5),
        lambda: cp_als(there, 2, max_iters=5, compress=False),
    ):
        fit()
    assert max(sizes) == 16 * 16
    assert len(opened.launches) > 10
