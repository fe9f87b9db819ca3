"""From loadings to words: which columns belong to which factor, and what a factor may be called."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

#: A loading from here on says that a column measures a factor.
SALIENT = 0.3
_NAMED_AFTER = 2


@dataclasses.dataclass(frozen=True)
class FactorGroup:
    """The columns of one factor, by number, the strongest first.

    own : load here most; shared : load elsewhere more, and here too; name : after the strongest.
    """

    own: tuple[int, ...]
    shared: tuple[int, ...]
    name: str


def factor_groups(pattern: Matrix, names: Sequence[str], *, salient: float = SALIENT) -> tuple[FactorGroup, ...]:
    """Sort columns to factors. pattern : (p, k); names : p; a loading counts from `salient` on, of either sign."""
    size = np.abs(pattern)
    first = np.argmax(size, axis=1)
    groups = []
    for factor in range(pattern.shape[1]):
        by_size = np.argsort(-size[:, factor], kind="stable").tolist()
        loading = [column for column in by_size if size[column, factor] >= salient]
        own = tuple(column for column in loading if first[column] == factor)
        strongest = (own or tuple(by_size[:1]))[:_NAMED_AFTER]
        title = ", ".join(f"{'less ' if pattern[c, factor] < 0 else ''}{names[c]}" for c in strongest)
        groups.append(FactorGroup(own, tuple(column for column in loading if first[column] != factor), title))
    return tuple(groups)


def in_reading_order(pattern: Matrix) -> list[int]:
    """Columns by the factor they load on most, the strongest of each first."""
    size = np.abs(pattern)
    first = np.argmax(size, axis=1)
    return sorted(range(len(pattern)), key=lambda column: (first[column], -size[column, first[column]]))
