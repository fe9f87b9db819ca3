"""Plans: the 36 cases by name and kind, and that their sizes, strides and counts give the contraction."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.kernels.contract import explain
from tdtool.kernels.plan import Plan, c_strides, make_plan
from tests import oracles_contract as oracle

SIZES = {"m": 2, "n": 3, "p": 5, "k": 7}


def plan_of(equation: str, left: NDArray, right: NDArray, out: NDArray | None = None) -> Plan:
    def strides(array: NDArray) -> tuple[int, ...]:
        return tuple(step // array.itemsize for step in array.strides)

    out_strides = None if out is None else strides(out)
    return make_plan(equation, (left.shape, right.shape), (strides(left), strides(right)), left.dtype.char, out_strides)


def planned(equation: str, sizes: dict[str, int]) -> Plan:
    return plan_of(equation, *oracle.random_operands(equation, sizes, np.random.default_rng(0)))


@pytest.mark.parametrize("case", oracle.TABLE)
def test_the_36_cases_have_their_names_and_kinds(case: str, rng: np.random.Generator) -> None:
    equation = oracle.c_ordered_equation(case)
    left, right = oracle.random_operands(equation, SIZES, rng)
    plan = plan_of(equation, left, right)
    assert plan.case == case
    assert plan.kind == ("flat" if case in oracle.FLAT else "exotic" if case in oracle.EXOTIC else "batched")
    np.testing.assert_allclose(oracle.emulated(plan, left, right), np.einsum(equation, left, right), atol=1e-13)
    terms, output = equation.split("->")
    exchanged = plan_of(",".join(reversed(terms.split(","))) + "->" + output, right, left)
    assert (exchanged.case, exchanged.kind) == (case, plan.kind)


def test_how_many_there_are_of_each_kind() -> None:
    kinds = Counter(planned(oracle.c_ordered_equation(case), SIZES).kind for case in oracle.TABLE)
    assert kinds == {"flat": 8, "batched": 20, "exotic": 8}


def test_fortran_order_is_read_as_the_paper_writes_it(rng: np.random.Generator) -> None:
    for case, (matrix, tensor) in oracle.TABLE.items():
        equation = f"{matrix},{tensor}->mnp"
        left, right = (np.asfortranarray(array) for array in oracle.random_operands(equation, SIZES, rng))
        out = np.empty((2, 3, 5), order="F")
        assert plan_of(equation, left, right, out).case == case


def test_batched_plans_are_blas_calls_and_exotic_ones_cannot_be() -> None:
    for case in oracle.TABLE:
        plan = planned(oracle.c_ordered_equation(case), SIZES)
        assert oracle.is_blas_call(plan.gemm) == (plan.kind != "exotic")
        assert plan.gemm.contiguous == (plan.kind != "exotic")
        assert plan.gemm.batch == (1 if plan.kind == "flat" else plan.gemm.loops[0].size)


@pytest.mark.parametrize(
    ("equation", "kind", "batch"),
    [
        ("abc,cd->abd", "flat", 1),  # rows merge
        ("abcd,cdef->abef", "flat", 1),  # rows, columns and sums merge
        ("abc,bcd->ad", "flat", 1),
        ("zab,zbc->zac", "batched", 2),
        ("abz,bcz->acz", "exotic", 2),  # the shared mode is the contiguous one
        ("ab,b->a", "vector", 2),
        ("ab,ab->", "vector", 1),
        ("a,b->ab", "outer", 1),
        ("ab,ab->ab", "elementwise", 6),
        ("aab,bc->ac", "flat", 1),  # a diagonal
        ("aba,bc->ac", "exotic", 1),
    ],
)
def test_kinds(equation: str, kind: str, batch: int) -> None:
    plan = planned(equation, {"a": 2, "b": 3, "c": 5, "d": 7, "e": 3, "f": 2, "z": 2})
    assert plan.kind == kind
    if kind != "vector":
        assert plan.gemm.batch == batch


def test_merged_modes_keep_their_letters_and_sizes() -> None:
    plan = planned("abcd,cdef->abef", {"a": 2, "b": 3, "c": 5, "d": 7, "e": 3, "f": 2})
    assert [(mode.labels, mode.size) for mode in (plan.rows + plan.columns + plan.sums)] == [
        ("ef", 6),
        ("ab", 6),
        ("cd", 35),
    ]
    assert plan.flops == 2 * 6 * 6 * 35
    assert plan.bytes == 8 * (6 * 35 + 35 * 6 + 36)


def test_modes_that_do_not_lie_alike_stay_apart(rng: np.random.Generator) -> None:
    left, right = oracle.random_operands("abc,cd->abd", {"a": 2, "b": 3, "c": 5, "d": 7}, rng)
    cut = oracle.laid_out(left, (0, 1, 2), (1, 2, 1))
    assert [mode.size for mode in plan_of("abc,cd->abd", cut, right).columns] == [3, 2]
    assert [mode.size for mode in plan_of("abc,cd->abd", left, right).columns] == [6]


def test_a_size_of_one_hides_an_exotic_layout() -> None:
    assert planned("km,pkn->pnm", SIZES | {"p": 1}).kind == "flat"


def test_the_same_question_gets_the_same_plan_and_others_do_not() -> None:
    shapes, strides = ((2, 3), (3, 5)), ((3, 1), (5, 1))
    plan = make_plan("ab,bc->ac", shapes, strides, "d")
    assert make_plan("ab,bc->ac", shapes, strides, "d") is plan
    assert make_plan("ab,bc->ac", shapes, strides, "f") is not plan
    assert make_plan("ab,bc->ac", shapes, (strides[0], (1, 3)), "d") is not plan
    assert make_plan.cache_info().maxsize == 1024


def test_strides_of_a_c_ordered_array() -> None:
    for shape in ((), (3,), (2, 3, 5), (2, 0, 5)):
        array = np.empty(shape)
        if array.size:
            assert c_strides(shape) == tuple(step // 8 for step in array.strides)
    assert c_strides((2, 0, 5)) == (5, 5, 1)


def test_an_index_of_one_operand_alone_has_to_be_summed_before() -> None:
    with pytest.raises(ValueError, match="index 'b' occurs in one operand only"):
        planned("ab,ac->ac", {"a": 2, "b": 3, "c": 5})


@settings(max_examples=150)
@given(st.data(), st.integers(0, 2**32 - 1))
def test_any_plan_run_as_a_strided_batched_gemm_is_the_contraction(data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = (data.draw(st.permutations("abcde").map(lambda x: "".join(x[:3]))) for _ in range(2))
    lonely = [x for x in left if x not in right] + [x for x in right if x not in left]
    shared = data.draw(st.lists(st.sampled_from([x for x in left if x in right] or ["-"]), unique=True))
    output = data.draw(st.permutations(lonely + [x for x in shared if x != "-"]).map("".join))
    equation = f"{left},{right}->{output}"
    sizes = dict(zip("abcde", data.draw(st.permutations([1, 2, 3, 5, 7])), strict=True))
    operands = [oracle.random_layout(array, rng) for array in oracle.random_operands(equation, sizes, rng)]
    plan = plan_of(equation, *operands)
    np.testing.assert_allclose(oracle.emulated(plan, *operands), np.einsum(equation, *operands), rtol=1e-12, atol=1e-13)
    if plan.gemm.contiguous:
        assert oracle.is_blas_call(plan.gemm)


def test_explain_says_what_matters() -> None:
    text = explain("mk,knp->mnp", (4, 8), (8, 16, 32))
    assert "case 6.5, flat" in text
    assert "1 x gemm of 512 x 4 x 8" in text
    assert "leading dimensions (512, 8, 512)" in text
    assert "3.28e+04 flops, 4.94e+04 bytes" in text
    text = explain("mk,pkn->mnp", (4, 8), (32, 8, 16))
    assert "case 6.4, exotic" in text
    assert "bytes of workspace" in text
    assert "20 x gemm of 3 x 2 x 5" in explain("zab,zbc->zac", (20, 2, 5), (20, 5, 3))
    assert "summed over b first" in explain("ab,ac->ac", (2, 3), (2, 5))
    assert "numpy.einsum" in explain("aab->b", np.ones((2, 2, 3)))
    assert "nothing to multiply" in explain("ab,bc->ac", (2, 0), (0, 3))
    steps = explain("ab,bc,cd->ad", (2, 3), (3, 5), (5, 7))
    assert "step 1" in steps
    assert "step 2" in steps
    with pytest.raises(ValueError, match="index 'b' has size 3 before and size 4"):
        explain("ab,bc->ac", (2, 3), (4, 5))
