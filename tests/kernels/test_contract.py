"""contract is np.einsum, whatever the equation, the sizes and the strides; it copies nothing large."""

from __future__ import annotations

import threading
import tracemalloc

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.kernels import contract as module
from tdtool.kernels import contract_pairwise
from tdtool.kernels.contract import contract
from tdtool.kernels.gemm_places import WORK_BYTES
from tests import oracles_contract as oracle
from tests.drawn_equations import equations

SIZES = {"m": 2, "n": 3, "p": 5, "k": 7}
compiled_only = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="too slow without compiled code")
_BY_DTYPE = {"f": 1e-5, "d": 1e-13, "F": 1e-5, "D": 1e-13}


def close(found: NDArray, equation: str, *operands: NDArray, tolerance: float = 1e-13) -> None:
    """Against np.einsum, relative to the sum of the absolute products."""
    expected = np.einsum(equation, *operands)
    scale = np.einsum(equation, *(np.abs(operand) for operand in operands))
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert np.all(np.abs(found - expected) <= tolerance * scale)


@pytest.mark.parametrize("case", oracle.TABLE)
def test_the_36_cases_in_every_layout(case: str, rng: np.random.Generator) -> None:
    equation = oracle.c_ordered_equation(case)
    left, right = oracle.random_operands(equation, SIZES, rng)
    for one in oracle.layouts(left):
        close(contract(equation, one, right), equation, left, right)
    for two in oracle.layouts(right):
        close(contract(equation, left, two), equation, left, right)
    for out in oracle.layouts(np.empty((5, 3, 2))):
        assert contract(equation, left, right, out=out) is out
        close(out, equation, left, right)


@pytest.mark.parametrize("dtype", "fFD")
@pytest.mark.parametrize("case", oracle.TABLE)
def test_the_36_cases_in_other_dtypes(case: str, dtype: str, rng: np.random.Generator) -> None:
    equation = oracle.c_ordered_equation(case)
    left, right = oracle.random_operands(equation, {"m": 9, "n": 3, "p": 5, "k": 7}, rng, dtype)
    close(contract(equation, left, right), equation, left, right, tolerance=_BY_DTYPE[dtype])


@compiled_only
@pytest.mark.parametrize("sizes", [{"m": 24, "n": 17, "p": 33, "k": 8}, {"m": 50, "n": 40, "p": 9, "k": 300}])
@pytest.mark.parametrize("case", oracle.TABLE)
def test_the_36_cases_of_several_panels(case: str, sizes: dict[str, int], rng: np.random.Generator) -> None:
    equation = oracle.c_ordered_equation(case)
    left, right = oracle.random_operands(equation, sizes, rng)
    close(contract(equation, left, right), equation, left, right)


@settings(max_examples=300)
@given(equations(), st.sampled_from("dfFD"), st.integers(0, 2**32 - 1))
def test_any_equation_and_layout(drawn: tuple[str, dict[str, int]], dtype: str, seed: int) -> None:
    (equation, sizes), rng = drawn, np.random.default_rng(seed)
    arrays = oracle.random_operands(equation, sizes, rng, dtype)
    operands = [oracle.random_layout(array, rng) for array in arrays]
    tolerance = 3 * _BY_DTYPE[dtype]
    first = contract(equation, *operands)
    close(first, equation, *arrays, tolerance=tolerance)
    np.testing.assert_array_equal(contract(equation, *operands), first)
    out = oracle.random_layout(np.zeros(first.shape, dtype), rng)
    close(contract(equation, *operands, out=out), equation, *arrays, tolerance=tolerance)
    close(contract(equation, *operands, blas="openblas"), equation, *arrays, tolerance=tolerance)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_it_is_linear_in_each_operand(seed: int) -> None:
    a, b, c = oracle.random_operands("kij,lkj,kij->il", {"i": 3, "j": 5, "k": 2, "l": 7}, np.random.default_rng(seed))
    together = contract("kij,lkj->il", a + 2 * c, b)
    np.testing.assert_allclose(together, contract("kij,lkj->il", a, b) + 2 * contract("kij,lkj->il", c, b), atol=1e-12)


def test_sizes_of_zero_and_one() -> None:
    empty, full = np.ones((3, 0)), np.ones((0, 5))
    np.testing.assert_array_equal(contract("ab,bc->ac", empty, full), np.zeros((3, 5)))
    np.testing.assert_array_equal(contract("ab,bc->ac", empty, full, out=np.full((3, 5), 7.0)), np.zeros((3, 5)))
    assert contract("ab,bc->ac", np.ones((0, 3)), np.ones((3, 5))).shape == (0, 5)
    np.testing.assert_array_equal(contract("ab,bc->ac", np.ones((1, 1)), np.full((1, 3), 2.0)), np.full((1, 3), 2.0))
    assert contract("ab,b->", empty, np.ones(0)) == 0


def test_broadcast_strides(rng: np.random.Generator) -> None:
    wide, right = np.broadcast_to(rng.standard_normal((1, 7)), (3, 7)), rng.standard_normal((5, 7, 2))
    close(contract("ab,cbd->acd", wide, right), "ab,cbd->acd", wide, right)


def test_scalars_lists_and_whole_numbers() -> None:
    assert contract("a,a->", [1, 2, 3], [4, 5, 6]) == 32
    assert contract(",a->a", 2, np.arange(3)).tolist() == [0, 2, 4]
    assert contract("ab,b->a", np.eye(2, dtype=np.int32), np.array([True, False])).dtype == np.float64


def test_mixed_dtypes_meet_in_the_wider(rng: np.random.Generator) -> None:
    left, right = rng.standard_normal((3, 7)).astype("f"), rng.standard_normal((7, 2)) + 1j
    found = contract("ab,bc->ac", left, right)
    assert found.dtype == np.complex128
    np.testing.assert_allclose(found, left @ right, rtol=1e-13)
    swapped = left.astype(">f4")
    np.testing.assert_array_equal(contract("ab,cb->ac", swapped, left), contract("ab,cb->ac", left, left))


def test_fields_of_records_and_odd_addresses(rng: np.random.Generator) -> None:
    records = np.zeros((3, 5), np.dtype([("flag", "i1"), ("value", "f8")]))
    records["value"] = rng.standard_normal((3, 5))
    right = rng.standard_normal((5, 2))
    close(contract("ab,bc->ac", records["value"], right), "ab,bc->ac", records["value"], right)
    out = np.zeros((3, 2), np.dtype([("flag", "i1"), ("value", "f8")]))["value"]
    close(contract("ab,bc->ac", records["value"], right, out=out), "ab,bc->ac", records["value"], right)


def test_without_an_arrow_the_lonely_indices_are_the_output(rng: np.random.Generator) -> None:
    left, right = rng.standard_normal((3, 7)), rng.standard_normal((7, 2))
    np.testing.assert_array_equal(contract("zk, ka", left, right), contract("zk,ka->az", left, right))


@pytest.mark.parametrize(
    ("equation", "shapes", "message"),
    [
        ("ab,bc->ac", [(2, 3), (4, 5)], "index 'b' has size 3 before and size 4 in operand 1"),
        ("aab->b", [(2, 3, 5)], "index 'a' has size 2 before and size 3 in operand 0"),
        ("ab,bc->ac", [(2, 3)], "2 operands are named, 1 are given"),
        ("ab,bc->ac", [(2, 3), (3, 5, 7)], "operand 1 has 3 modes"),
        ("ab->abc", [(2, 3)], "output index 'c' occurs in no operand"),
        ("ab->aa", [(2, 3)], "output index 'a' occurs 2 times"),
        ("a...,b->ab", [(2, 3), (3,)], "ellipsis"),
        ("a1,b->ab", [(2, 3), (3,)], "indices are letters"),
    ],
)
def test_equations_that_do_not_fit(equation: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        contract(equation, *(np.ones(shape) for shape in shapes))


def test_dtypes_and_libraries_without_a_kernel() -> None:
    with pytest.raises(ValueError, match="dtype object cannot be contracted"):
        contract("a,a->", np.array([None, 1]), np.ones(2))
    with pytest.raises(ValueError, match="dtype float16"):
        contract("a,a->", np.ones(2, np.float16), np.ones(2))

    class Foreign:
        __module__ = "cupy.core"

    with pytest.raises(TypeError, match="no contraction for arrays of cupy, numpy; have numpy"):
        contract("a,a->", Foreign(), np.ones(2))


def test_out_that_does_not_fit() -> None:
    left, right = np.ones((2, 3)), np.ones((3, 5))
    for out, message in (
        (np.empty((5, 2)), r"out is float64 of shape \(5, 2\); the result is float64 of shape \(2, 5\)"),
        (np.empty((2, 5), "f"), "out is float32"),
        ([[0.0]], "out is list"),
        (np.broadcast_to(np.zeros(5), (2, 5)), "cannot be written"),
        (np.lib.stride_tricks.as_strided(np.zeros(8), (2, 5), (8, 8)), "share one place"),
    ):
        with pytest.raises(ValueError, match=message):
            contract("ab,bc->ac", left, right, out=out)


def test_out_may_overlap_an_operand(rng: np.random.Generator) -> None:
    square, right = rng.standard_normal((5, 5)), rng.standard_normal((5, 5))
    expected = square @ right
    assert contract("ab,bc->ac", square, right, out=square) is square
    np.testing.assert_allclose(square, expected, rtol=1e-13)
    row = rng.standard_normal((6, 5))
    expected = row[:5] @ right
    contract("ab,bc->ac", row[:5], right, out=row[1:])
    np.testing.assert_allclose(row[1:], expected, rtol=1e-13)


def test_several_operands_in_an_order_found_once(rng: np.random.Generator) -> None:
    equation = "abc,ad,be,cf->def"
    operands = oracle.random_operands(equation, {"a": 5, "b": 7, "c": 3, "d": 2, "e": 3, "f": 5}, rng)
    out = np.empty((2, 3, 5))
    assert contract(equation, *operands, out=out) is out
    close(out, equation, *operands)
    hyper = oracle.random_operands("ab,ac,ad->bcd", {"a": 5, "b": 2, "c": 3, "d": 7}, rng)
    close(contract("ab,ac,ad->bcd", *hyper), "ab,ac,ad->bcd", *hyper)


def test_the_short_way_tells_layouts_apart(rng: np.random.Generator) -> None:
    """The same equation with other shapes, strides and dtypes in turn, several times over."""
    calls = []
    for shape in ((3, 4, 5), (5, 4, 3), (4, 4, 4)):
        right = rng.standard_normal((4, shape[1]))
        tensor = rng.standard_normal(shape)
        calls += [(right, tensor), (right, oracle.laid_out(tensor, (2, 0, 1), (1, 2, -1))), (right.astype("f"), tensor)]
    for left, right in calls * 3:
        found = contract("kn,mnp->mpk", left, right)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, np.einsum("kn,mnp->mpk", left, right), rtol=1e-13, atol=1e-13)


def test_plans_are_kept_and_their_number_is_bounded(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setattr(module, "_ready", {})
    monkeypatch.setattr(module, "_recent", {})
    monkeypatch.setattr(module, "_MOST_READY", 3)
    for size in range(2, 9):
        operands = rng.standard_normal((size, 2)), rng.standard_normal((2, 3))
        for _ in range(2):
            close(contract("ab,bc->ac", *operands), "ab,bc->ac", *operands)
    assert len(module._ready) == 3
    assert list(module._recent) == ["ab,bc->ac"]


@compiled_only
@pytest.mark.parametrize("case", oracle.TABLE)
def test_nothing_as_large_as_an_operand_is_allocated(case: str, rng: np.random.Generator) -> None:
    equation = oracle.c_ordered_equation(case)
    left, right = oracle.random_operands(equation, dict.fromkeys("mnpk", 72), rng)
    out = np.empty((72, 72, 72))
    tracemalloc.start()
    try:
        thread = threading.Thread(target=contract, args=(equation, left, right), kwargs={"out": out, "threads": 1})
        thread.start()
        thread.join()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert WORK_BYTES <= 1_000_000 + 48_576  # 1 MB of 2^20 bytes
    assert peak < WORK_BYTES + 200_000 < right.nbytes
    np.testing.assert_allclose(out, np.einsum(equation, left, right, optimize=True), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("case", ["1.1", "1.3", "2.4", "3.4", "5.5", "6.6"])
@pytest.mark.parametrize("dtype", "dF")
def test_threads_give_the_same_bits(
    case: str, dtype: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract_pairwise, "_THREAD_FLOPS", 1)
    contract_pairwise.ready_step.cache_clear()
    equation = oracle.c_ordered_equation(case)
    operands = oracle.random_operands(equation, {"m": 53, "n": 3, "p": 11, "k": 5}, rng, dtype)
    try:
        alone = contract(equation, *operands, threads=1)
        for threads in (2, 3, 40):
            np.testing.assert_array_equal(contract(equation, *operands, threads=threads), alone)
    finally:
        contract_pairwise.ready_step.cache_clear()
    close(alone, equation, *operands, tolerance=_BY_DTYPE[dtype])


@pytest.mark.parametrize("case", ["1.1", "1.3", "3.3", "6.5"])
def test_large_matrices_go_to_the_blas_where_vectors_are_short(
    case: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract_pairwise, "_BLAS_SIZE", 1)
    monkeypatch.setattr(module, "_ready", {})
    contract_pairwise.ready_step.cache_clear()
    equation = oracle.c_ordered_equation(case)
    operands = oracle.random_operands(equation, SIZES, rng)
    try:
        for _ in range(3):
            close(contract(equation, *operands), equation, *operands)
        assert next(iter(module._ready.values())).entry.func is contract_pairwise._blas
    finally:
        contract_pairwise.ready_step.cache_clear()
        module._ready.clear()


def test_threads_share_batches_too(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract_pairwise, "_THREAD_FLOPS", 1)
    contract_pairwise.ready_step.cache_clear()
    operands = oracle.random_operands("zab,zbc->zac", {"z": 9, "a": 5, "b": 3, "c": 7}, rng)
    try:
        close(contract("zab,zbc->zac", *operands, threads=2), "zab,zbc->zac", *operands)
    finally:
        contract_pairwise.ready_step.cache_clear()


@compiled_only
def test_many_threads_at_once(rng: np.random.Generator) -> None:
    operands = oracle.random_operands("pkm,nk->mnp", {"m": 30, "n": 20, "p": 10, "k": 40}, rng)
    expected, wrong = contract("pkm,nk->mnp", *operands), []

    def work() -> None:
        wrong.extend(1 for _ in range(50) if not np.array_equal(contract("pkm,nk->mnp", *operands), expected))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
