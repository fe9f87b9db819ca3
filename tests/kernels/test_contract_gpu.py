"""On the GPU contract is np.einsum too, whatever the equation, the sizes and the strides; its workspace is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.kernels import device_gpu, gemm_gpu, pack_gpu
from tdtool.kernels.contract import contract
from tdtool.kernels.contract_gpu import contract_on_gpu
from tdtool.kernels.device_gpu import open_gpu
from tdtool.kernels.plan import c_strides, make_plan
from tests import emulated_gpu
from tests import oracles_contract as oracle
from tests.drawn_equations import equations
from tests.emulated_gpu import EmulatedArray, EmulatedGpu, gpu, needs_compiler

pytestmark = needs_compiler
__all__ = ["gpu"]

SIZES = {"m": 3, "n": 4, "p": 5, "k": 6}
_BY_DTYPE = {"f": 1e-5, "d": 1e-13, "F": 1e-5, "D": 1e-13}


@pytest.fixture(autouse=True)
def opened(gpu: EmulatedGpu, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(device_gpu, "_current", None)
    open_gpu()
    yield
    _forget()  # tests change what it goes by


def _forget() -> None:
    """Choices that were made by other limits."""
    gemm_gpu.choose.cache_clear()
    gemm_gpu._direct_calls.cache_clear()


def there(array: NDArray[Any]) -> Any:
    """The array on the GPU, its strides kept."""
    return array.view(EmulatedArray)


def close(found: Any, equation: str, *operands: NDArray[Any], tolerance: float = 1e-13) -> None:
    """Against np.einsum, relative to the sum of the absolute products."""
    expected = np.einsum(equation, *operands)
    scale = np.einsum(equation, *(np.abs(operand) for operand in operands))
    assert isinstance(found, EmulatedArray)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert np.all(np.abs(np.asarray(found.view(np.ndarray)) - expected) <= tolerance * scale)


@pytest.mark.parametrize("case", oracle.TABLE)
def test_the_36_cases_in_every_layout(case: str, rng: np.random.Generator) -> None:
    equation = oracle.c_ordered_equation(case)
    left, right = oracle.random_operands(equation, SIZES, rng)
    for one in oracle.layouts(left):
        close(contract(equation, there(one), there(right)), equation, left, right)
    for two in oracle.layouts(right):
        close(contract(equation, there(left), there(two)), equation, left, right)
    for layout in oracle.layouts(np.empty((5, 4, 3))):
        out = there(layout)
        assert contract(equation, there(left), there(right), out=out) is out
        close(out, equation, left, right)


@pytest.mark.parametrize("dtype", "fFD")
@pytest.mark.parametrize("case", oracle.TABLE)
def test_the_36_cases_in_other_dtypes(case: str, dtype: str, rng: np.random.Generator) -> None:
    equation = oracle.c_ordered_equation(case)
    left, right = oracle.random_operands(equation, {"m": 33, "n": 5, "p": 34, "k": 7}, rng, dtype)
    close(contract(equation, there(left), there(right)), equation, left, right, tolerance=_BY_DTYPE[dtype])


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(equations(), st.sampled_from("dfFD"), st.sampled_from([4 << 10, 200, 1]), st.integers(0, 2**32 - 1))
def test_any_equation_and_layout(
    monkeypatch: pytest.MonkeyPatch, drawn: tuple[str, dict[str, int]], dtype: str, work_bytes: int, seed: int
) -> None:
    (equation, sizes), rng = drawn, np.random.default_rng(seed)
    monkeypatch.setattr(gemm_gpu, "WORK_BYTES", work_bytes)
    _forget()
    arrays = oracle.random_operands(equation, sizes, rng, dtype)
    operands = [there(oracle.random_layout(array, rng)) for array in arrays]
    tolerance = 3 * _BY_DTYPE[dtype]
    first = contract(equation, *operands)
    close(first, equation, *arrays, tolerance=tolerance)
    assert contract(equation, *operands).tobytes() == first.tobytes()
    reverse = contract_on_gpu(EmulatedGpu(reverse=True), equation, operands)
    assert reverse.tobytes() == first.tobytes()
    out = there(oracle.random_layout(np.zeros(first.shape, dtype), rng))
    close(contract(equation, *operands, out=out), equation, *arrays, tolerance=tolerance)


@pytest.mark.parametrize("case", oracle.TABLE)
def test_what_the_library_reads_is_one_call_without_a_copy(case: str) -> None:
    """The 28 cases of the paper that a strided batched product does, and the eight that need their tensor packed."""
    equation = oracle.c_ordered_equation(case)
    shapes = tuple((512,) * len(term) for term in equation.split("->")[0].split(","))
    plan = make_plan(equation, (shapes[0], shapes[1]), (c_strides(shapes[0]), c_strides(shapes[1])), "f")
    product, offsets = gemm_gpu.choose(plan)
    assert product.loops == ()
    assert offsets == (0, 0, 0)
    assert sum(product.packed) == (case in oracle.EXOTIC)
    assert not product.packed[2]
    assert (product.batch == ()) == (case in oracle.FLAT)
    if case not in oracle.EXOTIC:
        assert product.chunks == gemm_gpu._whole(product)
    else:
        assert gemm_gpu._workspace(product, list(product.chunks)) * 4 <= 512**3 * 4 // 8
        assert product.chunks[3] >= 32


class Counted(EmulatedGpu):
    """Remembers how many bytes every new array has."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: list[int] = []

    def empty(self, shape: tuple[int, ...] | int, dtype: Any) -> Any:
        made = super().empty(shape, dtype)
        self.bytes.append(made.nbytes)
        return made


@pytest.mark.parametrize("case", sorted(oracle.EXOTIC))
@pytest.mark.parametrize("reverse", [False, True])
def test_packed_blocks_are_small(
    case: str, reverse: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemm_gpu, "WORK_BYTES", 4 << 10)
    _forget()
    counted = Counted()
    counted._reverse = reverse
    equation = oracle.c_ordered_equation(case)
    left, right = oracle.random_operands(equation, {"m": 33, "n": 35, "p": 34, "k": 36}, rng, "f")
    out = counted.empty((34, 35, 33), np.float32)
    counted.bytes.clear()
    contract_on_gpu(counted, equation, [there(left), there(right)], out)
    close(out, equation, left, right, tolerance=1e-5)
    assert set(counted.launches) == {"turn_4"}
    assert 0 < sum(counted.bytes) <= max(left.nbytes, right.nbytes, out.nbytes) // 8


@pytest.mark.parametrize(
    ("equation", "kernels"),
    [
        ("ab,bc->ac", set()),
        ("ab,b->a", set()),
        ("ab,a->b", set()),
        ("a,b->ab", {"products"}),
        ("abc,cab->bac", {"products"}),
        ("ab,ba->", {"sums_along"}),
        ("abr,br->ar", {"sums_across"}),
        ("abc->", {"sums_along"}),
        ("abc->cba", {"turn"}),
        ("abc->bac", {"copy"}),
        ("aab->ba", {"turn"}),
        ("abc,bd->ad", {"sums_across"}),
        ("arb,brc->arc", set()),
        ("abr,bcr->acr", {"turn"}),
    ],
)
@pytest.mark.parametrize("dtype", "fdFD")
def test_the_right_kernels_run(equation: str, kernels: set[str], dtype: str, rng: np.random.Generator) -> None:
    sizes = {"a": 33, "b": 37, "c": 5, "d": 9, "r": 34}
    operands = oracle.random_operands(equation, sizes, rng, dtype)
    emulated = EmulatedGpu()
    found = contract_on_gpu(emulated, equation, list(map(there, operands)))
    close(found, equation, *operands, tolerance=_BY_DTYPE[dtype])
    assert {name.rpartition("_")[0] for name in emulated.launches} == kernels
    again = EmulatedGpu(reverse=True)
    assert contract_on_gpu(again, equation, list(map(there, operands))).tobytes() == found.tobytes()


@pytest.mark.parametrize("reverse", [False, True])
def test_long_sums_are_cut_and_added_in_order(reverse: bool, rng: np.random.Generator) -> None:
    """One long sum by all processors; single precision is summed in double precision."""
    for equation, axis, shape in (
        ("ab->a", 1, (3, 20001)),
        ("ab->b", 0, (5001, 3)),
        ("abc->", (0, 1, 2), (11, 71, 13)),
    ):
        values = rng.standard_normal(shape).astype("f") + 1000
        layout = there(np.pad(values, [(0, 0), (0, 0), (0, 1)])[..., :-1] if len(shape) == 3 else values)
        emulated = EmulatedGpu(reverse=reverse)
        total = emulated.to_host(contract_on_gpu(emulated, equation, [layout]))
        np.testing.assert_allclose(total, values.sum(axis=axis, dtype="d"), rtol=1e-7)
        assert emulated.launches[-1] == "sums_end_f"
    long, vector = oracle.random_operands("ab,b->a", {"a": 2, "b": 1 << 16}, rng, "f")
    emulated = EmulatedGpu(reverse=reverse)
    close(contract_on_gpu(emulated, "ab,b->a", [there(long), there(vector)]), "ab,b->a", long, vector, tolerance=1e-7)
    assert emulated.launches == ["sums_along_f", "sums_end_f"]


def test_division_beyond_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels' own division: its quotients are those of whole numbers."""
    text = (
        device_gpu.kernel_source("pack.cu")
        + """
extern "C" __global__ void divide(const long long* a, const long long* b, long long* quotient, long long* rest) {
    Long index = a[threadIdx.x];
    rest[threadIdx.x] = rest_of(index, b[threadIdx.x]);
    quotient[threadIdx.x] = index;
}
"""
    )
    monkeypatch.setattr(emulated_gpu, "kernel_source", lambda file: text)
    sizes = np.array([1, 2, 3, 7, 511, 512, 99991, 2**31 - 1, 2**31, 2**33 + 1, 2**40 - 3], np.int64)
    starts = np.array([0, 1, 2**32 - 1, 2**32, 2**32 + 1, 2**40 + 12345, 2**41 - 1, 3 * 2**39, 2**45 + 7], np.int64)
    a, b = (grid.ravel() for grid in np.meshgrid(starts, sizes))
    emulated = EmulatedGpu()
    quotient, rest = emulated.empty(a.size, np.int64), emulated.empty(a.size, np.int64)
    emulated.launch("divide.cu", "divide", 1, a.size, there(a), there(b), quotient, rest)
    np.testing.assert_array_equal(emulated.to_host(quotient), a // b)
    np.testing.assert_array_equal(emulated.to_host(rest), a % b)


def test_several_operands_and_shared_indices(rng: np.random.Generator) -> None:
    for equation in ("abc,ad,be,cf->def", "ab,ac,ad->bcd", "ab,bc,cd->da", "abcdef,fdb->eca", "ab,ab,ab->ba"):
        sizes = dict(zip("abcdef", (3, 4, 5, 6, 2, 7), strict=True))
        operands = oracle.random_operands(equation, sizes, rng)
        close(contract(equation, *map(there, operands)), equation, *operands)


def test_out_may_overlap_an_operand(rng: np.random.Generator) -> None:
    square, right = rng.standard_normal((5, 5)), rng.standard_normal((5, 5))
    expected, device = square @ right, there(square)
    assert contract("ab,bc->ac", device, there(right), out=device) is device
    np.testing.assert_allclose(square, expected, rtol=1e-13)
    row = rng.standard_normal((6, 5))
    expected = row[:5] @ right
    contract("ab,bc->ac", there(row[:5]), there(right), out=there(row[1:]))
    np.testing.assert_allclose(row[1:], expected, rtol=1e-13)
    both = rng.standard_normal((5, 5))
    expected = both.T.copy()
    contract("ab->ba", there(both), out=there(both))
    np.testing.assert_array_equal(both, expected)


def test_dtypes(rng: np.random.Generator) -> None:
    left, right = rng.standard_normal((3, 7)).astype("f"), rng.standard_normal((7, 2)) + 1j
    found = contract("ab,bc->ac", there(left), there(right))
    assert found.dtype == np.complex128
    np.testing.assert_allclose(np.asarray(found.view(np.ndarray)), left @ right, rtol=1e-13)
    whole = np.arange(6).reshape(2, 3)
    close(contract("ab,ab->a", there(whole), there(whole)), "ab,ab->a", whole.astype("d"), whole.astype("d"))
    with pytest.raises(ValueError, match="float16 cannot be contracted"):
        contract("a,a->", there(np.ones(2, "e")), there(np.ones(2, "e")))


def test_empty_tensors(rng: np.random.Generator) -> None:
    out = there(np.full((3, 5), 7.0))
    contract("ab,bc->ac", there(np.ones((3, 0))), there(np.ones((0, 5))), out=out)
    np.testing.assert_array_equal(out.view(np.ndarray), np.zeros((3, 5)))
    assert contract("ab,bc->ac", there(np.ones((0, 3))), there(np.ones((3, 5)))).shape == (0, 5)
    assert contract("abc->c", there(np.ones((2, 0, 3)))).tolist() == [0, 0, 0]
    assert float(contract("ab,a->", there(np.ones((2, 0))), there(np.ones(2)))) == 0
    assert float(contract(",->", there(np.array(2.0)), there(np.array(3.0)))) == 6


def test_what_does_not_fit(rng: np.random.Generator) -> None:
    left, right = there(np.ones((2, 3))), there(np.ones((3, 5)))
    for mixed in ((left, np.ones((3, 5))), (np.ones((2, 3)), right), (left, [[1.0] * 5] * 3)):
        with pytest.raises(TypeError, match="some arrays are on the GPU and some are not"):
            contract("ab,bc->ac", *mixed)
    with pytest.raises(TypeError, match="some are not"):
        contract("ab,bc->ac", left, right, out=np.empty((2, 5)))
    for out, message in (
        (np.empty((5, 2)), r"out is float64 of shape \(5, 2\); the result is float64 of shape \(2, 5\)"),
        (np.empty((2, 5), "f"), "out is float32"),
        (np.lib.stride_tricks.as_strided(np.zeros(8), (2, 5), (8, 8)), "share one place"),
        (np.broadcast_to(np.zeros(5), (2, 5)), "share one place"),
    ):
        with pytest.raises(ValueError, match=message):
            contract("ab,bc->ac", left, right, out=there(out))
    records = np.zeros((3, 5), np.dtype([("flag", "i1"), ("value", "f8")]))
    with pytest.raises(ValueError, match="no multiples of an entry"):
        contract("ab,bc->ac", left, there(records["value"]))
    with pytest.raises(ValueError, match="size 3 before and size 4"):
        contract("ab,bc->ac", left, there(np.ones((4, 5))))


def test_memory_that_is_not_there(rng: np.random.Generator) -> None:
    """Whichever array does not fit, it is a MemoryError, and the operands are as they were."""
    left, right = oracle.random_operands("nk,pkm->mnp", {"m": 5, "n": 6, "p": 7, "k": 8}, rng)
    before = left.copy(), right.copy()
    for fail_at in range(1, 20):
        try:
            found = contract_on_gpu(EmulatedGpu(fail_at=fail_at), "nk,pkm->mnp", [there(left), there(right)])
        except MemoryError:
            np.testing.assert_array_equal(left, before[0])
            np.testing.assert_array_equal(right, before[1])
        else:
            close(found, "nk,pkm->mnp", left, right)
            return
    pytest.fail("it never found enough memory")


def test_sizes_beyond_what_the_library_takes_are_cut(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm_gpu, "_LARGEST", 50)
    monkeypatch.setattr(gemm_gpu, "_MOST_BATCHES", 3)
    _forget()
    for equation in ("ab,bc->ac", "zab,zbc->zac", "abc,cd->abd", "abr,bcr->acr"):
        operands = oracle.random_operands(equation, {"a": 60, "b": 55, "c": 53, "d": 5, "z": 8, "r": 7}, rng)
        close(contract(equation, *map(there, operands)), equation, *operands)
    _forget()


@pytest.mark.parametrize("size", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("reverse", [False, True])
def test_copies_of_blocks(size: type, reverse: bool, rng: np.random.Generator) -> None:
    """Every order of three modes, with steps, none a multiple of a tile; places that are not copied stay."""
    gpu = EmulatedGpu(reverse=reverse)
    array = rng.standard_normal((5, 33, 35)).astype(size)
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)):
        target = gpu.empty(array.size + 3, size)
        turned = array.transpose(order)
        steps = c_strides(turned.shape)
        modes = tuple(
            (n, step // array.itemsize, to) for n, step, to in zip(turned.shape, turned.strides, steps, strict=True)
        )
        pack_gpu.copy_block(gpu, there(array), target, modes, (0, 2))
        found = gpu.to_host(target)
        np.testing.assert_array_equal(found[2:-1], turned.ravel())
        assert np.isnan(found[[0, 1, -1]]).all()
