"""Sketches on an emulated GPU: each kernel against its twin of the CPU, and what is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.kernels import device_gpu, sketch, sketch_cpu, sketch_gpu
from tdtool.kernels.hashing import HashFamily, hash_family
from tdtool.kernels.sketch import count_sketch, draw_hashes, kruskal_sketch, parseval_weights, spectra, tensor_sketch
from tdtool.kernels.sparse_tensor import SparseTensor
from tdtool.kernels.symmetric_sketch import symmetric_hashes, symmetric_kruskal_sketch, symmetric_sketch
from tests import oracles_sketch
from tests.emulated_gpu import EmulatedGpu, needs_compiler

pytestmark = needs_compiler
Array = NDArray[Any]
KINDS = [np.float32, np.float64]


class Gpu(EmulatedGpu):
    """Takes only arrays that lie as the kernels expect them, where no strides are given."""

    def launch(self, file: str, kernel: str, grid: Any, block: Any, *arguments: Any, shared: int = 0) -> None:
        first = 1 if kernel.startswith("count_sketch") else 0
        assert all(value.flags.c_contiguous for value in arguments[first:] if self.owns(value)), kernel
        super().launch(file, kernel, grid, block, *arguments, shared=shared)


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> EmulatedGpu:
    """The GPU that is open, its threads in either order."""
    found = Gpu(reverse=request.param)
    monkeypatch.setattr(device_gpu, "_current", found)
    return found


def close(found: Array, expected: Array, kind: Any) -> None:
    """1e-5 or 1e-11 of the largest magnitude."""
    wide = np.result_type(kind, np.float32) == np.float64
    assert found.shape == expected.shape
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=(1e-11 if wide else 1e-5) * np.abs(expected).max(initial=1)
    )


def complex_columns(shape: tuple[int, ...], kind: Any, rng: np.random.Generator) -> Array:
    real = rng.standard_normal((2, *shape))
    return (real[0] + 1j * real[1]).astype(np.result_type(kind, np.complex64))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "rank", "length"), [(7, 3, 11), (301, 17, 37), (1, 1, 1), (5, 18, 300), (3, 0, 4)])
def test_count_sketches(gpu: EmulatedGpu, kind: Any, n: int, rank: int, length: int, rng: np.random.Generator) -> None:
    matrix, family = rng.standard_normal((n, rank)).astype(kind), hash_family(n, length, 3, rng=rng)
    for given, same in ((matrix, gpu.to_device(matrix)), (matrix[:, ::-1], gpu.to_device(matrix)[:, ::-1])):
        found = count_sketch(same, family)
        assert gpu.owns(found)
        assert found.dtype == kind
        close(gpu.to_host(found), count_sketch(given, family), kind)
    turned = gpu.to_device(matrix.T).T
    assert np.array_equal(
        gpu.to_host(count_sketch(turned, family)), gpu.to_host(count_sketch(gpu.to_device(matrix), family))
    )
    close(gpu.to_host(spectra(turned, family)), spectra(matrix, family), kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "shape", [(7,), (5, 3), (2, 3, 5), (4, 6, 131), (40, 2, 8), (3, 70, 5), (2, 3, 4, 5), (3, 0, 2)]
)
@pytest.mark.parametrize("length", [16, 37])
def test_sketches_of_dense_tensors(
    gpu: EmulatedGpu, kind: Any, shape: tuple[int, ...], length: int, rng: np.random.Generator
) -> None:
    tensor, hashes = rng.standard_normal(shape).astype(kind), draw_hashes(shape, length, 2, rng=rng)
    expected, given = tensor_sketch(tensor, hashes), gpu.to_device(tensor)
    found = tensor_sketch(given, hashes)
    assert gpu.owns(found.spectrum)
    assert found.spectrum.dtype == expected.spectrum.dtype
    close(gpu.to_host(found.spectrum), expected.spectrum, kind)
    again = sketch_gpu.dense_sketch(gpu, given, hashes)
    assert np.array_equal(gpu.to_host(again), gpu.to_host(sketch_gpu.dense_sketch(gpu, given, hashes)))


@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize("workspace", [1, 1 << 28])
@pytest.mark.parametrize("n_modes", [1, 2])
def test_rows_and_fibres_and_any_pieces_give_the_same(
    gpu: EmulatedGpu,
    by_rows: bool,
    workspace: int,
    n_modes: int,
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
) -> None:
    """Also of modes in any order, and of tensors with gaps, which are copied slab by slab."""
    monkeypatch.setattr(sketch_gpu, "split", lambda shape, length: (by_rows, n_modes))
    monkeypatch.setattr(sketch_gpu, "_WORKSPACE", workspace)
    monkeypatch.setattr(sketch_gpu, "_SORTED", 50 if workspace == 1 else 1 << 22)
    tensor = rng.standard_normal((5, 4, 133))
    for turned in ((0, 1, 2), (2, 0, 1)):
        for cut in (slice(None), slice(None, None, 2), slice(None, None, -1)):
            given, view = tensor.transpose(turned)[cut], gpu.to_device(tensor).transpose(turned)[cut]
            hashes = draw_hashes(given.shape, 35, 2, rng=rng)
            close(gpu.to_host(tensor_sketch(view, hashes).spectrum), tensor_sketch(given, hashes).spectrum, np.float64)


def test_the_cheaper_way_through_a_tensor() -> None:
    assert sketch_gpu.split((800, 800, 800), 1 << 13) == (True, 2)
    assert sketch_gpu.split((10, 10, 1_000_000), 1 << 13)[0] is False
    assert sketch_gpu.split((1_000_000, 10, 10), 1 << 13) == (True, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 9, 35, 130])
def test_entries_of_different_indices(gpu: EmulatedGpu, kind: Any, n: int, rng: np.random.Generator) -> None:
    """The kernel does not ask for symmetry, so that entries of a wrong order show."""
    length = 33 if n < 100 else 70
    tensor, family = rng.standard_normal((n, n, n)).astype(kind), symmetric_hashes(n, length, 2, rng=rng)
    expected = np.zeros((2, length))
    for repeat in range(2):
        sketch_cpu.sketch_distinct(
            tensor.astype(np.float64), family.buckets[repeat], family.signs[repeat], expected[repeat]
        )
    close(gpu.to_host(sketch_gpu.distinct_sketch(gpu, gpu.to_device(tensor), family)), expected, kind)


def test_entries_of_different_indices_some_columns_at_a_time(
    gpu: EmulatedGpu, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    tensor, family = gpu.to_device(rng.standard_normal((130, 130, 130))), symmetric_hashes(130, 33, 2, rng=rng)
    whole = gpu.to_host(sketch_gpu.distinct_sketch(gpu, tensor, family))
    monkeypatch.setattr(sketch_gpu, "_WORKSPACE", 1)
    close(gpu.to_host(sketch_gpu.distinct_sketch(gpu, tensor, family)), whole, np.float64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "length"), [(1, 1), (6, 11), (40, 300)])
def test_pairs(gpu: EmulatedGpu, kind: Any, n: int, length: int, rng: np.random.Generator) -> None:
    matrix, family = rng.standard_normal((n, n)).astype(kind), symmetric_hashes(n, length, 3, rng=rng)
    expected = np.zeros((3, length))
    for repeat in range(3):
        sketch_cpu.sketch_pairs(
            matrix.astype(np.float64), family.buckets[repeat], family.signs[repeat], expected[repeat]
        )
    close(gpu.to_host(sketch_gpu.pairs_sketch(gpu, gpu.to_device(matrix), family)), expected, kind)


def test_sparse_tensors(gpu: EmulatedGpu, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    shape = (9, 7, 11)
    dense = np.where(rng.random(shape) < 0.3, rng.standard_normal(shape), 0)
    sparse, hashes = (
        SparseTensor.from_coo(np.nonzero(dense), dense[dense != 0], shape),
        draw_hashes(shape, 37, 2, rng=rng),
    )
    expected = tensor_sketch(sparse, hashes).spectrum
    for at_once in (50, 1 << 22):
        monkeypatch.setattr(sketch_gpu, "_SORTED", at_once)
        close(gpu.to_host(tensor_sketch(sparse, hashes, gpu=gpu).spectrum), expected, np.float64)
    empty = SparseTensor.from_coo(np.zeros((3, 0), int), np.zeros(0), shape)
    assert not gpu.to_host(tensor_sketch(empty, hashes, gpu=gpu).spectrum).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_hashes", [1, 2, 5, 20, 400])
def test_medians(gpu: EmulatedGpu, kind: Any, n_hashes: int, rng: np.random.Generator) -> None:
    n, rank, length = 33, 5, 12
    family = hash_family(n, length, n_hashes, rng=rng)
    columns = spectra(rng.standard_normal((n, rank)).astype(kind), family)
    expected = np.empty((rank, n), kind)
    sketch.gather(columns.copy(), family, expected)
    found = np.empty((rank, n), kind)
    sketch.gather(gpu.to_device(columns), family, found)
    close(found, expected, kind)


def test_too_many_medians(gpu: EmulatedGpu, rng: np.random.Generator) -> None:
    family = hash_family(2, 4, 1000, rng=rng)
    with pytest.raises(ValueError, match="median of at most 908"):
        sketch_gpu.gather(gpu, gpu.zeros((1000, 1, 3), np.complex128), family)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_factors", [1, 2, 3, 4])
@pytest.mark.parametrize("length", [1, 2, 37, 600])
def test_products_of_spectra(
    gpu: EmulatedGpu, kind: Any, n_factors: int, length: int, rng: np.random.Generator
) -> None:
    places = length // 2 + 1
    factors = [complex_columns((2, 3, places), kind, rng) for _ in range(n_factors)]
    spectrum, weights = complex_columns((2, places), np.float64, rng), rng.standard_normal(3)
    product, given = np.prod(factors, axis=0), [gpu.to_device(factor) for factor in factors]
    out = gpu.to_device(spectrum)
    sketch_gpu.add_products(gpu, given, gpu.to_device(weights.astype(kind)), out)
    close(gpu.to_host(out), spectrum + np.einsum("r,brf->bf", weights, product), kind)
    found = sketch_gpu.inner_products(gpu, gpu.to_device(spectrum), given, length)
    expected = np.einsum("f,bf,brf->br", parseval_weights(length), spectrum, product.conj()).real
    close(gpu.to_host(found), expected, kind)
    again = sketch_gpu.inner_products(gpu, gpu.to_device(spectrum), given, length)
    assert np.array_equal(gpu.to_host(found), gpu.to_host(again))
    found = sketch_gpu.correlate(gpu, gpu.to_device(spectrum), given)
    assert found.dtype == factors[0].dtype
    close(gpu.to_host(found), spectrum[:, None] * product.conj(), kind)


def test_kernels_of_cubes_are_those_of_the_cpu(gpu: EmulatedGpu, rng: np.random.Generator) -> None:
    columns, spectrum = complex_columns((2, 3, 9), np.float64, rng), complex_columns((2, 9), np.float64, rng)
    cubes = np.empty((2, 3))
    sketch_cpu.cube_products(spectrum, columns, parseval_weights(17), cubes)
    given = gpu.to_device(columns)
    close(gpu.to_host(sketch_gpu.inner_products(gpu, gpu.to_device(spectrum), [given] * 3, 17)), cubes, np.float64)
    found = gpu.to_host(sketch_gpu.correlate(gpu, gpu.to_device(spectrum), [given] * 2))
    sketch_cpu.correlate_squares(spectrum, columns)
    close(found, columns, np.float64)


# ---- what is made of them


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(5, 3), (4, 6, 7), (2, 3, 4, 5)])
@pytest.mark.parametrize("limit", [16, 1 << 30])
def test_answers_of_tensor_sketches(
    gpu: EmulatedGpu, kind: Any, shape: tuple[int, ...], limit: int, rng: np.random.Generator
) -> None:
    gpu.limit = limit  # one column at a time, or all
    tensor, hashes = rng.standard_normal(shape), draw_hashes(shape, 37, 3, rng=rng)
    factors = [rng.standard_normal((size, 3)).astype(kind) for size in shape]
    one, two = tensor_sketch(tensor, hashes), tensor_sketch(gpu.to_device(tensor), hashes)
    assert two.norm() == pytest.approx(one.norm(), rel=1e-12)
    close(two.inner(factors), one.inner(factors), kind)
    on_gpu = [gpu.to_device(factor) for factor in factors]
    kept = [spectra(factor, family) for factor, family in zip(factors, hashes, strict=True)]
    for mode in range(len(shape)):
        found = two.mttkrp(factors, mode)
        assert (type(found), found.dtype) == (np.ndarray, kind)
        close(found, one.mttkrp(factors, mode), kind)
        close(two.mttkrp(on_gpu, mode, kept=[gpu.to_device(k) for k in kept]), found, kind)
    weights = rng.standard_normal(3)
    expected = kruskal_sketch(weights, factors, hashes)
    for model in (
        kruskal_sketch(weights, on_gpu, hashes),
        kruskal_sketch(weights, factors, hashes, kept=[gpu.to_device(k) for k in kept]),
    ):
        close(gpu.to_host(model.spectrum), expected.spectrum, kind)
        assert model.spectrum.dtype == expected.spectrum.dtype
        assert (two - model).norm() == pytest.approx((one - expected).norm(), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [16, 1 << 30])
def test_answers_of_symmetric_sketches(gpu: EmulatedGpu, kind: Any, limit: int, rng: np.random.Generator) -> None:
    gpu.limit = limit
    tensor = oracles_sketch.symmetrised(rng.standard_normal((13, 13, 13)))
    family, directions = symmetric_hashes(13, 64, 3, rng=rng), rng.standard_normal((13, 4)).astype(kind)
    one, two = symmetric_sketch(tensor, family), symmetric_sketch(gpu.to_device(tensor), family)
    for sketched in (two, one.to_device(gpu)):
        close(gpu.to_host(sketched.spectrum), one.spectrum, np.float64)
        close(gpu.to_host(sketched.pairs), one.pairs, np.float64)
        assert sketched.norm() == pytest.approx(one.norm(), rel=1e-12)
        close(sketched.along(directions), one.along(directions), kind)
        close(sketched.values(directions), one.values(directions), kind)
        close(sketched.repeated_along(directions), one.pairs @ directions, kind)
    (weights, model), (expected, expected_model) = two.projected(directions), one.projected(directions)
    close(weights, expected, kind)
    for found, wanted in (
        (model, expected_model),
        (
            symmetric_kruskal_sketch(expected, gpu.to_device(directions), family),
            symmetric_kruskal_sketch(expected, directions, family),
        ),
    ):
        close(gpu.to_host(found.spectrum), wanted.spectrum, kind)
        close(gpu.to_host(found.pairs), wanted.pairs, kind)
    assert (two - model).norm() == pytest.approx((one - expected_model).norm(), rel=1e-5)


def test_hashes_stay_on_the_gpu_as_long_as_their_family(gpu: EmulatedGpu, rng: np.random.Generator) -> None:
    family = hash_family(5, 7, 2, rng=rng)
    one = sketch_gpu.hashes_on(gpu, family)
    assert sketch_gpu.hashes_on(gpu, family) is one
    other = sketch_gpu.hashes_on(EmulatedGpu(), family)
    assert other is not one
    there = HashFamily(gpu.to_device(family.buckets), gpu.to_device(family.signs), 7)
    assert np.array_equal(gpu.to_host(sketch_gpu.hashes_on(gpu, there).codes), gpu.to_host(one.codes))
    n_kept = len(sketch_gpu._uploaded)
    del family, there
    assert len(sketch_gpu._uploaded) == n_kept - 2
