"""Print how a contraction will be done."""

from __future__ import annotations

from typing import Any

import numpy as np

from tdtool.kernels.contract_equation import Equation, index_sizes, output_shape, pairwise_path, parse
from tdtool.kernels.gemm_places import WORK_BYTES
from tdtool.kernels.plan import Mode, Plan, Shape, c_strides, make_plan

_KINDS = {
    "flat": "one matrix product",
    "batched": "a batch of matrix products, each on contiguous columns or rows",
    "exotic": "the batch mode is the contiguous one: blocks are packed, nothing is transposed",
    "vector": "a matrix times a vector, or two vectors: limited by memory",
    "outer": "nothing is summed: limited by memory",
    "elementwise": "all modes are shared: limited by memory",
}


def explain(equation: str, *operands: Any) -> str:
    """How `contract` goes about it, for a person. operands : arrays, or shapes of C-ordered float64 arrays.

    Raises ValueError as `contract` does.
    """
    parsed = parse(equation)
    layouts = [_layout(operand) for operand in operands]
    sizes = index_sizes(parsed, [shape for shape, _, _ in layouts])
    dtype = np.result_type(*[dtype for _, _, dtype in layouts])
    lines = [f"{parsed}  ({', '.join(f'{letter}={size}' for letter, size in sizes.items())}, {dtype})"]
    if len(layouts) == 1:
        lines.append("  one operand: numpy.einsum")
    elif len(layouts) == 2:
        lines += _pair_lines(parsed, layouts[0][:2], layouts[1][:2], dtype)
    else:
        lines += _path_lines(parsed, [layout[:2] for layout in layouts], dtype)
    return "\n".join(lines)


def _layout(operand: Any) -> tuple[Shape, Shape, np.dtype[Any]]:
    """Shape, strides in entries and dtype."""
    if isinstance(operand, tuple):
        return operand, c_strides(operand), np.dtype(np.float64)
    array = np.asarray(operand)
    dtype = array.dtype if array.dtype.kind in "fc" else np.dtype(np.float64)
    return array.shape, tuple(step // array.itemsize for step in array.strides), dtype


def _path_lines(equation: Equation, layouts: list[tuple[Shape, Shape]], dtype: np.dtype[Any]) -> list[str]:
    """Each pairwise step; intermediate results are C-ordered."""
    lines, left = [], list(layouts)
    for number, (places, text) in enumerate(pairwise_path(equation, tuple(shape for shape, _ in layouts)), 1):
        taken = [left.pop(place) for place in places]
        step = parse(text)
        shape = output_shape(step, index_sizes(step, [shape for shape, _ in taken]))
        left.append((shape, c_strides(shape)))
        lines.append(f"step {number}: {text}")
        lines += _pair_lines(step, taken[0], taken[1], dtype) if len(taken) == 2 else ["  numpy.einsum"]
    return lines


def _pair_lines(
    equation: Equation, left: tuple[Shape, Shape], right: tuple[Shape, Shape], dtype: np.dtype[Any]
) -> list[str]:
    terms, layouts, lines = list(equation.inputs), [left, right], []
    for place in (0, 1):
        lonely = set(terms[place]) - set(terms[1 - place]) - set(equation.output)
        if lonely:
            lines.append(f"  operand {place} is summed over {', '.join(sorted(lonely))} first")
            kept = [(x, size) for x, size in zip(terms[place], layouts[place][0], strict=True) if x not in lonely]
            terms[place] = "".join(letter for letter, _ in kept)
            shape = tuple(size for _, size in kept)
            layouts[place] = (shape, c_strides(shape))
    (one, two), (three, four) = layouts
    if 0 in (*one, *three):
        return [*lines, "  a size is 0: nothing to multiply"]
    plan = make_plan(f"{terms[0]},{terms[1]}->{equation.output}", (one, three), (two, four), dtype.char)
    return lines + _plan_lines(plan)


def _plan_lines(plan: Plan) -> list[str]:
    gemm = plan.gemm
    case = f"case {plan.case}, " if plan.case else ""
    first, second = ("second", "first") if plan.swapped else ("first", "second")
    lines = [f"  {case}{plan.kind}: {_KINDS[plan.kind]}"]
    lines.append(f"  rows {_modes(plan.rows)} of the {first} operand, columns {_modes(plan.columns)} of the {second}")
    lines.append(f"  summed {_modes(plan.sums)}, shared {_modes(plan.batches)}")
    if plan.kind in ("flat", "batched"):
        strides = (max(gemm.row.left, gemm.sum.left), max(gemm.sum.right, gemm.column.right), gemm.column.out)
        size = f"{gemm.row.size} x {gemm.column.size} x {gemm.sum.size}"
        lines.append(f"  {gemm.batch} x gemm of {size} (rows, columns, sums), leading dimensions {strides}")
    flops, moved = plan.flops, plan.bytes
    lines.append(
        f"  {flops:.3g} flops, {moved:.3g} bytes ({flops / moved:.1f} flops a byte), {WORK_BYTES} bytes of workspace"
    )
    return lines


def _modes(group: tuple[Mode, ...]) -> str:
    """Merged indices with their sizes, the output's fastest first."""
    return " x ".join(f"{mode.labels}={mode.size}" for mode in group) or "none"
