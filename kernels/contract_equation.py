"""Read and check einsum equations."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Sequence

import opt_einsum


@dataclasses.dataclass(frozen=True)
class Equation:
    """inputs : the index letters of each operand, one a mode; output : those of the result."""

    inputs: tuple[str, ...]
    output: str

    def __str__(self) -> str:
        return f"{','.join(self.inputs)}->{self.output}"


@functools.lru_cache(maxsize=4096)
def parse(equation: str) -> Equation:
    """Read "ij,jk->ik"; without an arrow, the letters that occur once make the output, in alphabetical order.

    Raises ValueError for anything but letters, commas and one arrow, and for an output that no operand explains.
    """
    text = equation.replace(" ", "")
    if "." in text:
        raise ValueError(f"{equation!r}: write every index out; an ellipsis is not supported")
    left, arrow, output = text.partition("->")
    inputs = tuple(left.split(","))
    letters = Counter(left.replace(",", ""))
    if not all(letter.isalpha() for letter in [*letters, *output]):
        raise ValueError(f"{equation!r}: indices are letters, operands are divided by ',' and the output by '->'")
    if not arrow:
        output = "".join(sorted(letter for letter, count in letters.items() if count == 1))
    for letter, count in Counter(output).items():
        if count > 1:
            raise ValueError(f"{equation!r}: output index {letter!r} occurs {count} times; it may occur once")
        if letter not in letters:
            raise ValueError(f"{equation!r}: output index {letter!r} occurs in no operand")
    return Equation(inputs, output)


def index_sizes(equation: Equation, shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The size of every index. Raises ValueError when operands and equation, or two modes of one index, disagree."""
    if len(shapes) != len(equation.inputs):
        raise ValueError(f"{equation}: {len(equation.inputs)} operands are named, {len(shapes)} are given")
    sizes: dict[str, int] = {}
    for place, (letters, shape) in enumerate(zip(equation.inputs, shapes, strict=True)):
        if len(letters) != len(shape):
            raise ValueError(
                f"{equation}: operand {place} has {len(shape)} modes (shape {shape}), its indices are {letters!r}"
            )
        for letter, size in zip(letters, shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise ValueError(
                    f"{equation}: index {letter!r} has size {sizes[letter]} before and size {size} in operand {place}"
                )
    return sizes


def output_shape(equation: Equation, sizes: dict[str, int]) -> tuple[int, ...]:
    """The shape of the result."""
    return tuple(sizes[letter] for letter in equation.output)


@functools.lru_cache(maxsize=1024)
def pairwise_path(equation: Equation, shapes: tuple[tuple[int, ...], ...]) -> list[tuple[tuple[int, ...], str]]:
    """The cheapest order to contract three or more tensors in (opt_einsum, "auto").

    Returns steps of (places of the tensors to take, descending, and their equation); a result goes to the end.
    """
    _, info = opt_einsum.contract_path(str(equation), *shapes, shapes=True, optimize="auto")
    sizes, terms, steps = index_sizes(equation, shapes), list(equation.inputs), []
    for step in info.contraction_list:
        places = tuple(sorted(step[0], reverse=True))
        taken = [terms.pop(place) for place in places]
        kept = step[2].partition("->")[2]
        output = _like_the_larger(taken, kept, sizes) if terms else equation.output
        steps.append((places, f"{','.join(taken)}->{output}"))
        terms.append(output)
    return steps


def _like_the_larger(taken: list[str], kept: str, sizes: dict[str, int]) -> str:
    """The order of an intermediate result: that of the larger tensor, new indices in place of the summed ones.

    Then what is read in long runs is also written in long runs (a matrix on a mode of a tensor: twice the speed).
    """
    larger = max(taken, key=lambda term: math.prod(sizes[letter] for letter in term))
    summed = [place for place, letter in enumerate(larger) if letter not in kept]
    new = [letter for letter in kept if letter not in larger]
    place = summed[0] if summed else len(larger)
    order = [*larger[:place], *new, *larger[place:]]
    return "".join(letter for letter in dict.fromkeys(order) if letter in kept)
