"""How a contraction of two tensors maps to matrix products, found from shapes and strides alone.

Modes that lie alike in all tensors are merged; what is left decides the kind:

- "flat": one matrix product;
- "batched": equal matrix products at fixed steps in memory, each with a contiguous row or column in all three matrices
  (what a BLAS, and a GPU's strided batched one, can run);
- "exotic": no choice of matrices has that, because the batch mode is the contiguous one;
- "vector": a matrix times a vector, or two vectors; "outer": nothing is summed; "elementwise": all modes are shared.

Source: Shi, Niranjan, Anandkumar, Cecka 2016, "Tensor contractions with extended BLAS kernels on CPU and GPU", table 2.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable

import numpy as np

from tdtool.kernels.contract_equation import Equation, index_sizes, output_shape, parse

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Mode:
    """One index, or several merged. Strides are in entries; 0 where the tensor does not have the index."""

    labels: str
    size: int
    left: int
    right: int
    out: int

    def swapped(self) -> Mode:
        """The same with the two operands exchanged."""
        return Mode(self.labels, self.size, self.right, self.left, self.out)


_ONE = Mode("", 1, 1, 1, 1)


Groups = tuple[tuple[Mode, ...], tuple[Mode, ...], tuple[Mode, ...], tuple[Mode, ...]]


@dataclasses.dataclass(frozen=True)
class Gemm:
    """out[row, column] = sum over sum of left[row, sum] right[sum, column], repeated over loops.

    A loop over a mode with out = 0 adds to the output (it belongs to a sum); all others write to places of their own.
    contiguous : each of the three matrices has a mode of stride 1, as a BLAS needs.
    """

    row: Mode
    column: Mode
    sum: Mode
    loops: tuple[Mode, ...]
    contiguous: bool

    @property
    def batch(self) -> int:
        """How many products there are."""
        return math.prod(mode.size for mode in self.loops)


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """What to run; make_plan hands out the same object for the same question.

    Rows are modes of the first factor and the output, columns of the second factor and the output.
    swapped : the first factor is the second operand (the output's contiguous mode is one of its rows).
    case : "1.1" ... "6.6" for one summed index, orders 2 and 3, nothing shared; otherwise None.
    """

    equation: Equation
    shape: Shape
    dtype: np.dtype
    kind: str
    case: str | None
    swapped: bool
    rows: tuple[Mode, ...]
    columns: tuple[Mode, ...]
    sums: tuple[Mode, ...]
    batches: tuple[Mode, ...]
    gemm: Gemm

    @property
    def flops(self) -> int:
        """Real additions and multiplications."""
        modes = (*self.rows, *self.columns, *self.sums, *self.batches)
        return (8 if self.dtype.kind == "c" else 2) * math.prod(mode.size for mode in modes)

    @property
    def bytes(self) -> int:
        """Of the two operands and the result, each once."""
        groups = (self.rows + self.sums, self.sums + self.columns, self.rows + self.columns)
        return sum(math.prod(mode.size for mode in group + self.batches) for group in groups) * self.dtype.itemsize


@functools.lru_cache(maxsize=1024)
def make_plan(
    equation: str,
    shapes: tuple[Shape, Shape],
    strides: tuple[Shape, Shape],
    dtype: str,
    out_strides: Shape | None = None,
) -> Plan:
    """Plan a contraction of two tensors. strides : in entries, any; dtype : of both and of the result.

    out_strides : of the result; by default those of a fresh C-ordered array. Indices of one operand that the output
    does not have must have been summed before. Raises ValueError for an equation that does not fit the shapes.
    """
    parsed = parse(equation)
    sizes = index_sizes(parsed, shapes)
    shape = output_shape(parsed, sizes)
    out_strides = c_strides(shape) if out_strides is None else out_strides
    modes = _modes(parsed, sizes, (*strides, out_strides))
    groups = _groups(parsed, modes)
    swapped = _first_is_right(*groups[:2])
    if swapped:
        left, right, sums, batches = (tuple(mode.swapped() for mode in group) for group in groups)
        groups = (right, left, sums, batches)
    rows, columns, sums, batches = groups
    gemm = _choose_gemm(rows, columns, sums, batches)
    kind, case = _kind(groups, gemm), _case(parsed, modes)
    return Plan(parsed, shape, np.dtype(dtype), kind, case, swapped, rows, columns, sums, batches, gemm)


def c_strides(shape: Shape) -> Shape:
    """Strides in entries of a C-ordered array."""
    steps = itertools.accumulate((max(size, 1) for size in reversed(shape[1:])), lambda a, b: a * b, initial=1)
    return tuple(reversed(list(steps))) if shape else ()


def _modes(equation: Equation, sizes: dict[str, int], strides: tuple[Shape, ...]) -> dict[str, Mode]:
    """One mode an index; a repeated index (a diagonal) has the sum of its strides."""
    found = {letter: [0, 0, 0] for letter in sizes}
    for place, letters in enumerate((*equation.inputs, equation.output)):
        for letter, stride in zip(letters, strides[place], strict=True):
            found[letter][place] += stride
    return {letter: Mode(letter, sizes[letter], *found[letter]) for letter in sizes}


def _groups(equation: Equation, modes: dict[str, Mode]) -> Groups:
    """Merged modes of the left operand and the output, the right and the output, both operands, all three."""
    groups: tuple[list[Mode], ...] = ([], [], [], [])
    left, right = (set(letters) for letters in equation.inputs)
    for letter, mode in modes.items():
        if letter not in equation.output:
            if letter not in left or letter not in right:
                raise ValueError(f"{equation}: index {letter!r} occurs in one operand only; sum over it first")
            groups[2].append(mode)
        elif mode.size != 1:
            groups[3 if letter in left and letter in right else 0 if letter in left else 1].append(mode)
    groups[2][:] = [mode for mode in groups[2] if mode.size != 1]
    return _merged(groups[0]), _merged(groups[1]), _merged(groups[2]), _merged(groups[3])


def _merged(group: list[Mode]) -> tuple[Mode, ...]:
    """Join modes where stepping beyond the end of one is a step of the other, in every tensor; by output stride."""
    modes = list(group)
    pair = _first_pair(modes)
    while pair is not None:
        inner, outer = pair
        modes = [mode for mode in modes if mode not in pair]
        modes.append(dataclasses.replace(inner, labels=outer.labels + inner.labels, size=inner.size * outer.size))
        pair = _first_pair(modes)
    return tuple(sorted(modes, key=lambda mode: (abs(mode.out), abs(mode.left) + abs(mode.right))))


def _first_pair(modes: list[Mode]) -> tuple[Mode, Mode] | None:
    for inner, outer in itertools.permutations(modes, 2):
        steps = (inner.left * inner.size, inner.right * inner.size, inner.out * inner.size)
        if steps == (outer.left, outer.right, outer.out):
            return inner, outer
    return None


def _first_is_right(left: tuple[Mode, ...], right: tuple[Mode, ...]) -> bool:
    """Whether rows should be the right operand's: where the output is contiguous, or else where there are more."""
    for group, answer in ((left, False), (right, True)):
        if any(mode.out == 1 for mode in group):
            return answer
    return math.prod(mode.size for mode in right) > math.prod(mode.size for mode in left)


def _choose_gemm(
    rows: tuple[Mode, ...], columns: tuple[Mode, ...], sums: tuple[Mode, ...], batches: tuple[Mode, ...]
) -> Gemm:
    """The largest matrices that a BLAS can take, the output's faster modes first; else the largest there are."""
    choices = []
    for row, column, total in itertools.product(rows or [_ONE], columns or [_ONE], sums or [_ONE]):
        chosen = (row, column, total)
        loops = tuple(mode for mode in (*rows, *columns, *batches, *sums) if mode not in chosen)
        choices.append(Gemm(row, column, total, loops, _contiguous(row, column, total)))
    return max(choices, key=lambda gemm: (gemm.contiguous, -gemm.batch, -abs(gemm.column.out)))


def _contiguous(row: Mode, column: Mode, total: Mode) -> bool:
    left, right = (row.left, row.size, total.left, total.size), (total.right, total.size, column.right, column.size)
    return _leads(row.out, row.size, column.out, column.size) and all(
        _leads(*matrix) or _leads(*matrix[2:], *matrix[:2]) for matrix in (left, right)
    )


def _leads(stride: int, size: int, other_stride: int, other_size: int) -> bool:
    """Whether a matrix is columns of `size` contiguous entries that do not overlap."""
    return (stride == 1 or size == 1) and (other_stride >= size or other_size == 1)


def _kind(groups: Groups, gemm: Gemm) -> str:
    rows, columns, sums, _ = groups
    if not rows and not columns and not sums:
        return "elementwise"
    if not sums:
        return "outer"
    if not rows or not columns:
        return "vector"
    if not gemm.contiguous:
        return "exotic"
    return "batched" if gemm.loops else "flat"


def _case(equation: Equation, modes: dict[str, Mode]) -> str | None:
    """Named after the layouts, fastest mode first: C mnp, A one of them and k, B k and the other two."""
    inputs = [set(letters) for letters in equation.inputs]
    summed = inputs[0] & inputs[1]
    orders = sorted(len(letters) for letters in equation.inputs)
    if orders != [2, 3] or len(summed) != 1 or len(equation.output) != 3 or summed & set(equation.output):
        return None
    if sorted(map(len, inputs)) != orders:
        return None
    names = dict(zip(_by_stride(equation.output, [modes[x].out for x in equation.output]), "mnp", strict=True))
    (k,) = summed
    names[k] = "k"
    layouts = []
    for place, letters in enumerate(equation.inputs):
        strides = [(modes[x].left, modes[x].right)[place] for x in letters]
        layouts.append("".join(names[x] for x in _by_stride(letters, strides)))
    matrix, tensor = sorted(layouts, key=len)
    free = matrix.replace("k", "")
    r, s = (letter for letter in "mnp" if letter != free)
    first = 2 * "mnp".index(free) + (1 if matrix[1] == "k" else 2)
    second = ("k" + r + s, "k" + s + r, r + "k" + s, s + "k" + r, r + s + "k", s + r + "k").index(tensor) + 1
    return f"{first}.{second}"


def _by_stride(letters: str, strides: Iterable[int]) -> str:
    """The letters from the fastest mode to the slowest; ties as in a C-ordered array."""
    order = sorted(zip((abs(stride) for stride in strides), range(0, -len(letters), -1), letters, strict=True))
    return "".join(letter for _, _, letter in order)
