"""Products, Gram matrices and norms of tensors of a GPU equal those of the host, whatever the strides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.kernels import device_gpu, modes_gpu
from tdtool.kernels.modes import gram, mode_dot, multi_mode_dot, norm, unfold
from tdtool.kernels.modes_gpu import add_pieces, multiply, squared_distance
from tests.emulated_gpu import EmulatedGpu, gpu, needs_compiler

__all__ = ["gpu"]
pytestmark = needs_compiler
Array = NDArray[Any]

TOLERANCE = {"f": 1e-5, "F": 1e-5, "d": 1e-11, "D": 1e-11}
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C": lambda x: x,
    "F": lambda x: x.transpose(range(x.ndim)[::-1]).copy().transpose(range(x.ndim)[::-1]),
    "turned": lambda x: x.transpose(1, 2, 0).copy().transpose(2, 0, 1),
    "backwards": lambda x: x[::-1, :, ::-1],
    "cut": lambda x: x[:, 1:, :-1],
    "steps": lambda x: x[:, :, ::2],
    "rows": lambda x: x[::2],
}


@pytest.fixture
def opened(gpu: EmulatedGpu) -> EmulatedGpu:
    """The emulated GPU as the current one."""
    device_gpu.open_gpu()
    return gpu


def random(shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> Array:
    values = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if dtype in "FD" else 0)
    return values.astype(dtype)


def assert_close(found: Array, wanted: Array) -> None:
    assert found.dtype == wanted.dtype
    scale = max(float(np.abs(wanted).max(initial=0.0)), 1e-30)
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE[wanted.dtype.char] * scale)


@pytest.mark.parametrize("dtype", "fdFD")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("small", [False, True])
def test_mode_dot(
    dtype: str, layout: str, small: bool, opened: EmulatedGpu, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small:  # blocks of what is packed, batches of two matrices
        monkeypatch.setattr(modes_gpu, "PACKED", 8)
    host = random((5, 4, 7), dtype, rng)
    tensor, twin = LAYOUTS[layout](opened.to_device(host)), LAYOUTS[layout](host)
    for mode in range(3):
        matrix = random((3, twin.shape[mode]), dtype, rng)
        wanted = mode_dot(twin, matrix, mode)
        found = mode_dot(tensor, matrix, mode)
        assert opened.owns(found)
        assert_close(opened.to_host(found), wanted)
        turned = mode_dot(tensor, opened.to_device(matrix.T), mode, transpose=True)
        assert_close(opened.to_host(turned), wanted)
        out = opened.empty(wanted.shape[::-1], dtype).transpose(2, 1, 0)
        assert mode_dot(tensor, matrix, mode, out=out) is out
        assert_close(opened.to_host(out), wanted)


def test_mode_dot_of_other_orders_and_empty_ones(opened: EmulatedGpu, rng: np.random.Generator) -> None:
    for shape in [(6,), (3, 8), (2, 3, 1, 5), (1, 1, 4), (4, 1, 1), (2, 0, 3), (3, 2, 2, 2, 3)]:
        host = rng.standard_normal(shape)
        tensor = opened.to_device(host)
        for mode in range(host.ndim):
            matrix = rng.standard_normal((2, shape[mode]))
            assert_close(opened.to_host(mode_dot(tensor, matrix, mode)), mode_dot(host, matrix, mode))
            assert_close(opened.to_host(unfold(tensor, mode)), unfold(host, mode))


def test_a_mode_of_one_place_between_modes_that_do_not_merge(opened: EmulatedGpu, rng: np.random.Generator) -> None:
    host = rng.standard_normal((3, 4, 2, 5))
    tensor, whole = opened.to_device(host)[:, :, :1], opened.zeros((2, 4, 2, 5), np.float64)
    matrix = rng.standard_normal((2, 3))
    mode_dot(tensor, matrix, 0, out=whole[:, :, :1])
    assert_close(opened.to_host(whole[:, :, :1]), mode_dot(host[:, :, :1], matrix, 0))
    assert not opened.to_host(whole[:, :, 1:]).any()


def test_mixed_precisions_and_bad_sizes(opened: EmulatedGpu, rng: np.random.Generator) -> None:
    single, matrix = random((4, 3, 5), "f", rng), rng.standard_normal((2, 3))
    tensor = opened.to_device(single)
    assert_close(opened.to_host(mode_dot(tensor, matrix, 1)), mode_dot(single, matrix, 1))
    with pytest.raises(ValueError, match="needs \\(J, 4\\)"):
        mode_dot(tensor, matrix, 0)
    with pytest.raises(ValueError, match="out is"):
        mode_dot(tensor, matrix, 1, out=opened.empty((4, 2, 5), np.float32))


def test_chains_stay_on_the_gpu(opened: EmulatedGpu, rng: np.random.Generator) -> None:
    host = rng.standard_normal((4, 5, 6))
    matrices = [rng.standard_normal((size, size - 2)) for size in host.shape]
    tensor = opened.to_device(host)
    found = multi_mode_dot(tensor, [matrices[0], opened.to_device(matrices[1]), matrices[2]], transpose=True)
    assert opened.owns(found)
    assert_close(opened.to_host(found), multi_mode_dot(host, matrices, transpose=True))
    assert_close(
        opened.to_host(multi_mode_dot(tensor, matrices, skip=1, transpose=True)),
        multi_mode_dot(host, matrices, skip=1, transpose=True),
    )


def test_a_product_takes_no_room_as_large_as_the_tensor(opened: EmulatedGpu, rng: np.random.Generator) -> None:
    tensor = opened.to_device(rng.standard_normal((6, 7, 20)))
    sizes: list[int] = []
    empty = opened.empty
    opened.empty = lambda shape, dtype: sizes.append(int(np.prod(shape))) or empty(shape, dtype)  # type: ignore[method-assign, func-returns-value]
    for mode in range(3):
        mode_dot(tensor, rng.standard_normal((2, tensor.shape[mode])), mode)
    assert sizes == [tensor.size // size * 2 for size in tensor.shape]


@pytest.mark.parametrize("dtype", "fdFD")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("small", [False, True])
def test_gram(
    dtype: str, layout: str, small: bool, opened: EmulatedGpu, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small:
        monkeypatch.setattr(modes_gpu, "PACKED", 30)
        monkeypatch.setattr(modes_gpu, "_LEAST_DEPTH", 3)
    for shape in [(5, 4, 7), (6, 9, 3)]:
        host = random(shape, dtype, rng)
        tensor, twin = LAYOUTS[layout](opened.to_device(host)), LAYOUTS[layout](host)
        for mode in range(3):
            matrix = unfold(twin, mode)
            found = gram(tensor, mode)
            assert type(found) is np.ndarray
            assert_close(found, matrix @ matrix.conj().T)
            np.testing.assert_array_equal(gram(tensor, mode), found)


@pytest.mark.parametrize("dtype", "fdFD")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_norm(
    dtype: str, layout: str, opened: EmulatedGpu, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for packed in (modes_gpu.PACKED, 20):
        monkeypatch.setattr(modes_gpu, "PACKED", packed)
        host = random((5, 4, 7), dtype, rng)
        found = norm(LAYOUTS[layout](opened.to_device(host)))
        assert found == pytest.approx(norm(LAYOUTS[layout](host)), rel=1e-14)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", [0, 1, 3, 31, 33, 6001])
@pytest.mark.parametrize("dtype", "fd")
def test_norm_of_vectors_that_begin_anywhere(
    dtype: str, size: int, reverse: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = EmulatedGpu(reverse=reverse)
    monkeypatch.setattr(device_gpu, "_current", gpu)
    host = random((size + 3,), dtype, rng)
    tensor = gpu.to_device(host)
    for start in range(4):
        part = slice(start, start + size)
        found = norm(tensor[part])
        assert found == pytest.approx(float(np.linalg.norm(host[part].astype(np.float64))), rel=1e-14)
        assert norm(tensor[part]) == found
        there = squared_distance(gpu, tensor[part], tensor[:size])
        assert there == pytest.approx(float(np.sum((host[part].astype(np.float64) - host[:size]) ** 2)), rel=1e-13)


def test_norm_of_single_precision_is_summed_in_double(opened: EmulatedGpu) -> None:
    host = np.full(100_000, 0.1, np.float32)
    assert norm(opened.to_device(host)) == pytest.approx(norm(host), rel=1e-14)


@pytest.mark.parametrize("dtype", "fdFD")
@pytest.mark.parametrize("n_pieces", [1, 2, 7])
def test_sums_of_pieces(dtype: str, n_pieces: int, opened: EmulatedGpu, rng: np.random.Generator) -> None:
    for size in (1, 33, 300):
        host, kept = random((n_pieces, size), dtype, rng), random((size,), dtype, rng)
        out = opened.to_device(kept)
        add_pieces(opened, opened.to_device(host), out, add=True)
        assert_close(opened.to_host(out), kept + host.sum(axis=0))
        add_pieces(opened, opened.to_device(host), out)
        assert_close(opened.to_host(out), host.sum(axis=0))


@pytest.mark.parametrize("depth", [0, 1, 5, 64, 67])
@pytest.mark.parametrize("add", [False, True])
def test_products_of_long_sums(
    depth: int, add: bool, opened: EmulatedGpu, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modes_gpu, "_LEAST_DEPTH", 8)
    left, right, kept = rng.standard_normal((3, depth)), rng.standard_normal((depth, 5)), rng.standard_normal((3, 5))
    wanted = left @ right + (kept if add else 0)
    for order in (lambda x: opened.to_device(x), lambda x: opened.to_device(x.T).T):
        out = opened.to_device(kept)
        multiply(opened, order(left), order(right), out, add=add)
        assert_close(opened.to_host(out), wanted)
