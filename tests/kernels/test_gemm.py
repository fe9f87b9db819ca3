"""Batched products by a BLAS, and the packed product across the borders of its blocks."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.kernels import gemm_blas, gemm_cpu, gemm_micro
from tdtool.kernels import gemm_places as places
from tdtool.kernels.contract_pairwise import ready_step
from tdtool.kernels.gemm_cpu import strided_gemm
from tdtool.kernels.plan import make_plan
from tests import oracles_contract as oracle

M, N, K, B = 5, 3, 7, 2
TOLERANCE = {"f": 1e-5, "d": 1e-13, "F": 1e-5, "D": 1e-13}
_BLAS = ["openblas", "mkl"]
Compile = Callable[[Callable[..., None]], Any]


def need(blas: str) -> None:
    if blas == "mkl":
        try:
            gemm_blas.gemm_address("d", "mkl")
        except ValueError:
            pytest.skip("MKL is not installed")


def draw(shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> NDArray:
    values = rng.standard_normal(shape)
    return np.asarray(values + 1j * rng.standard_normal(shape) if dtype in "FD" else values, dtype)


def steps(array: NDArray) -> tuple[int, int]:
    return array.strides[0] // array.itemsize, array.strides[1] // array.itemsize


@pytest.mark.parametrize("blas", _BLAS)
@pytest.mark.parametrize("dtype", "fdFD")
def test_every_order_of_the_three_matrices(blas: str, dtype: str, rng: np.random.Generator) -> None:
    need(blas)
    a, b = draw((M, K), dtype, rng), draw((K, N), dtype, rng)
    for orders in itertools.product("CF", repeat=3):
        left, right = np.asarray(a, order=orders[0]), np.asarray(b, order=orders[1])
        out = np.full((M, N), np.nan, dtype, order=orders[2])
        strided_gemm(left, right, out, (M, N, K), (steps(left), steps(right), steps(out)), blas=blas)
        np.testing.assert_allclose(out, a @ b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("blas", _BLAS)
def test_loops_offsets_and_accumulation(blas: str, rng: np.random.Generator) -> None:
    need(blas)
    a, b = draw((B, M, K), "d", rng), draw((B, K, N), "d", rng)
    strides, loop = ((K, 1), (N, 1), (N, 1)), (B, M * K, K * N, M * N)
    out = np.full((B, M, N), np.nan)
    strided_gemm(a, b, out, (M, N, K), strides, loops=[loop], blas=blas)
    np.testing.assert_allclose(out, a @ b, rtol=1e-13)
    strided_gemm(a, b, out, (M, N, K), strides, loops=[loop], accumulate=True, blas=blas)
    np.testing.assert_allclose(out, 2 * (a @ b), rtol=1e-13)
    total = np.full((M, N), np.nan)
    strided_gemm(a, b, total, (M, N, K), strides, loops=[(*loop[:3], 0)], blas=blas)
    np.testing.assert_allclose(total, (a @ b).sum(axis=0), rtol=1e-12, atol=1e-14)
    second = np.full((B, M, N), np.nan)
    strided_gemm(a, b, second, (M, N, K), strides, offsets=(M * K, K * N, M * N), blas=blas)
    np.testing.assert_allclose(second[1], a[1] @ b[1], rtol=1e-13)
    assert np.isnan(second[0]).all()
    by_columns = np.full((B, N, M), np.nan)
    strided_gemm(a, b, by_columns, (M, N, K), (strides[0], strides[1], (1, M)), loops=[(*loop[:3], M * N)], blas=blas)
    np.testing.assert_allclose(by_columns.transpose(0, 2, 1), a @ b, rtol=1e-13)


def test_what_a_blas_does_not_take(rng: np.random.Generator) -> None:
    a, b, out = draw((M, K), "d", rng), draw((K, N), "d", rng), np.empty((M, N))
    good = (steps(a), steps(b), steps(out))
    with pytest.raises(ValueError, match=r"strides \(14, 2\) of a \(5, 7\) matrix"):
        strided_gemm(a, b, out, (M, N, K), ((14, 2), *good[1:]))
    with pytest.raises(ValueError, match="dtypes float64, float64 and float32"):
        strided_gemm(a, b, out.astype("f"), (M, N, K), good)
    with pytest.raises(ValueError, match="must be positive"):
        strided_gemm(a, b, out, (M, 0, K), good)
    with pytest.raises(ValueError, match="beyond what a BLAS"):
        strided_gemm(a, b, out, (M, N, K), ((2**31, 1), *good[1:]))
    with pytest.raises(ValueError, match="blas is 'atlas'"):
        strided_gemm(a, b, out, (M, N, K), good, blas="atlas")


def test_a_missing_mkl_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gemm_blas.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(gemm_blas.sys, "base_prefix", str(tmp_path))
    with pytest.raises(ValueError, match=r"pip install tdtool\[mkl\]"):
        gemm_blas._mkl.__wrapped__()


def check_packed(equation: str, sizes: dict[str, int], dtype: str, rng: np.random.Generator) -> None:
    """Run the step of a plan, whatever `contract` would choose, on random layouts."""
    arrays = oracle.random_operands(equation, sizes, rng, dtype)
    expected = np.einsum(equation, *arrays)
    scale = np.einsum(equation, *map(np.abs, arrays))
    for operands in (arrays, [oracle.random_layout(array, rng) for array in arrays]):
        strides = [tuple(step // array.itemsize for step in array.strides) for array in operands]
        plan = make_plan(equation, (operands[0].shape, operands[1].shape), (strides[0], strides[1]), dtype)
        out = np.full(plan.shape, np.nan, dtype)
        ready_step(plan).run(operands[0], operands[1], out, 1, None)
        assert np.max(np.abs(out - expected) / scale) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", "fdFD")
@pytest.mark.parametrize(
    "sizes",
    [
        {"a": 3, "b": 2 * places.DEPTH + 1, "c": 5},  # blocks of sums
        {"a": 3, "b": 2, "c": 2 * places.RIGHT_BYTES // (8 * places.DEPTH) + 1},  # blocks of columns
        {"a": 31, "b": 9, "c": 17},
    ],
)
def test_blocks_of_sums_and_columns(sizes: dict[str, int], dtype: str, rng: np.random.Generator) -> None:
    check_packed("ab,bc->ac", sizes, dtype, rng)


@pytest.mark.parametrize("equation", ["pb,abc->apc", "pb,cba->acp", "pb,bca->pac", "pb,acb->cpa", "pb,cab->acp"])
def test_more_rows_than_lists_are_kept_for(equation: str, rng: np.random.Generator) -> None:
    check_packed(equation, {"a": 19, "b": 3, "c": 131, "p": 4}, "d", rng)


def test_every_way_to_fill_panels_is_met() -> None:
    """Sizes of the other tests are small; these plans have each style of rows, with lists and without."""
    found = set()
    for case, n in itertools.product(oracle.TABLE, (16, 48, 96)):
        equation = oracle.c_ordered_equation(case)
        shapes = tuple(tuple(n for _ in term) for term in equation.split("->")[0].split(","))
        strides = tuple(tuple(n**power for power in reversed(range(len(shape)))) for shape in shapes)
        parameters = ready_step(make_plan(equation, shapes, strides, "d")).parameters
        if parameters.size > places.HEADER:
            found.add((int(parameters[places.ROW_STYLE]), bool(parameters[places.PREPARED])))
    needed = {(style, prepared) for style in (places.CUT, places.SIDE_BY_SIDE) for prepared in (False, True)}
    assert needed | {(places.RUN_ON, False), (places.RUN_ON, True)} <= found or gemm_micro.VECTOR_BYTES < 64


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Compile:
    """Compiles even where compilation is off, functions that call nothing but vector code."""
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)
    return lambda function: numba.njit(function)


def test_the_vector_tile_is_its_python_twin(compiled: Compile, rng: np.random.Generator) -> None:
    height, width = 3 * gemm_micro.VECTOR_BYTES // 8, gemm_micro.COLUMNS
    packed = rng.integers(-5, 6, 4 * (height + width)).astype(float)
    columns = np.arange(width, dtype=np.int64) * (height + 1)

    def tile(vectors, packed, right_at, out, columns, n_columns, add):  # type: ignore[no-untyped-def]
        gemm_micro.multiply_tile(vectors, 4, packed, 0, right_at, out, 2, columns, 0, n_columns, add)

    vector_tile = compiled(tile)
    for vectors, n_columns, add in itertools.product((1, 2, 3), (1, width), (False, True)):
        found, expected = (np.arange(height * width + width + 2, dtype=float) for _ in range(2))
        vector_tile(vectors, packed, 4 * height, found, columns, n_columns, add)
        tile(vectors, packed, 4 * height, expected, columns, n_columns, add)
        np.testing.assert_array_equal(found, expected)
        assert (found != np.arange(found.size)).sum() > 0


@pytest.mark.parametrize("dtype", "fd")
def test_vector_copies_are_their_python_twins(compiled: Compile, dtype: str, rng: np.random.Generator) -> None:
    source = rng.standard_normal(200).astype(dtype)
    offsets = np.sort(rng.permutation(80)[:81]).astype(np.int64)

    def turn(source, offsets, target):  # type: ignore[no-untyped-def]
        gemm_micro.transpose_square(source, offsets, 1, 3, target, 2, 11)

    def copy(source, target, count, n_panels):  # type: ignore[no-untyped-def]
        gemm_micro.copy_steps(source, 5, offsets[1:4], 3, target, 1, 40, offsets, n_panels, count)

    vector_turn, vector_copy = compiled(turn), compiled(copy)
    found, expected = np.zeros((2, 11 * gemm_micro.SQUARE + 2), dtype)
    vector_turn(source, offsets, found)
    turn(source, offsets, expected)
    np.testing.assert_array_equal(found, expected)
    assert np.count_nonzero(found) == gemm_micro.SQUARE**2
    for count, n_panels in itertools.product((0, gemm_micro.SQUARE, 4 * gemm_micro.SQUARE), (1, 2)):
        found, expected = np.zeros((2, 250), dtype)
        vector_copy(source, found, count, n_panels)
        copy(source, expected, count, n_panels)
        np.testing.assert_array_equal(found, expected)
        assert np.count_nonzero(found) == 3 * count * n_panels


def test_the_compiled_call_of_a_blas_is_its_python_twin(compiled: Compile, rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((M, K)), rng.standard_normal((K, N))
    found, expected = np.zeros((2, M, N))
    parameters, turned = gemm_cpu.gemm_parameters(a.dtype, (M, N, K), (steps(a), steps(b), (N, 1)), [])
    assert turned
    beta = parameters[gemm_cpu._ZERO]

    def call(numbers, left, right, out, beta):  # type: ignore[no-untyped-def]
        gemm_cpu.call_gemm(numbers, left, right, out, beta)

    compiled(call)(parameters, b.ctypes.data, a.ctypes.data, found.ctypes.data, beta)
    call(parameters, b.ctypes.data, a.ctypes.data, expected.ctypes.data, beta)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found, a @ b, rtol=1e-13)
