"""Tensor heads with at most a given share of a fc head's parameters: those that "auto" chooses among. No torch here.

Letters: C channels, H rows, W columns of the activation that the head reads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

from tdtool.errors import UsageError
from tdtool.nn.head_spec import HeadSpec, Shape, head_parameters

#: Ranks of rows and columns, as parts of their numbers, beside a pooled head and beside one that tells places apart;
#: ranks of the outputs; widths of hidden layers.
_POOLED_SIDES, _SIDES = (0.4, 0.0), (0.7, 0.4)
_OUTPUTS = (0.2,)
_WIDTHS = (1.0, 0.75, 0.5)
#: From this number of classes on, their mode has a rank of its own.
_MANY_CLASSES = 64
#: Further ranks of the channels below the largest that the share allows: a smaller head may be the better one.
_PARTS = (1.0, 0.5)
#: A contraction that leaves fewer of the channels than this loses too much.
_FEWEST = 1 / 16


def candidates(share: float, shape: Shape, n_classes: int, hidden: Sequence[int]) -> tuple[HeadSpec, ...]:
    """Heads to choose among, none with more than `share` of the parameters of the fc head; the largest first.

    shape : (C, H, W); hidden : widths of the model's own fc head, () where that is pooled. UsageError where no tensor
    head is so small.
    """
    budget = head_parameters(HeadSpec("auto", share=share), shape, n_classes, hidden)

    def size(spec: HeadSpec) -> int:
        return head_parameters(spec, shape, n_classes, hidden)

    found = {
        *_regressions(shape, n_classes, _sides(shape, hidden), size, budget),
        *_contractions(shape, hidden, size, budget),
    }
    if not found:
        smallest = size(HeadSpec("trl", (1, 1, 1)))
        raise UsageError(
            f"head auto:{share:g}: no tensor head has so few as {budget:,} parameters",
            hint=f"the smallest, trl:1,1,1, has {smallest:,}; a pooled linear layer (gap) has "
            f"{size(HeadSpec('gap')):,}",
        )
    return tuple(sorted(found, key=lambda spec: (-size(spec), str(spec))))


def _regressions(
    shape: Shape, n_classes: int, pairs: list[tuple[int, int]], size: Callable[[HeadSpec], int], budget: int
) -> Iterator[HeadSpec]:
    outputs = [()] + [(max(1, round(part * n_classes)),) for part in _OUTPUTS if n_classes >= _MANY_CLASSES]
    for sides, last in itertools.product(pairs, outputs):

        def head(rank: int, sides: tuple[int, int] = sides, last: tuple[int, ...] = last) -> HeadSpec:
            return HeadSpec("trl", (rank, *sides, *last))

        useful = min(shape[0], math.prod(sides) * (last[0] if last else n_classes))
        largest = _largest(lambda rank: size(head(rank)) <= budget, useful)
        yield from (head(_rounded(part * largest)) for part in _PARTS if part * largest >= 1)


def _contractions(
    shape: Shape, hidden: Sequence[int], size: Callable[[HeadSpec], int], budget: int
) -> Iterator[HeadSpec]:
    if not hidden:
        return
    for sides, part in itertools.product(_sides(shape, hidden), _WIDTHS):
        widths = None if part == 1 else (max(1, round(part * hidden[0])),)

        def head(rank: int, sides: tuple[int, int] = sides, widths: tuple[int, ...] | None = widths) -> HeadSpec:
            return HeadSpec("tcl", (rank, *sides), widths)

        largest = _largest(lambda rank: size(head(rank)) <= budget, shape[0])
        if largest >= max(1.0, _FEWEST * shape[0]):
            yield head(_rounded(largest))


def _sides(shape: Shape, hidden: Sequence[int]) -> list[tuple[int, int]]:
    """Ranks of rows and columns, each pair once."""
    parts = _SIDES if hidden else _POOLED_SIDES
    pairs = [(max(1, round(part * shape[1])), max(1, round(part * shape[2]))) for part in parts]
    return list(dict.fromkeys(pairs))


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, where all below one that fits do too; 0: not even 1."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _rounded(rank: float) -> int:
    """A whole rank, above 16 a multiple of 8: matrix products of such sizes are the fast ones."""
    return int(rank) // 8 * 8 if rank > 16 else int(rank)
