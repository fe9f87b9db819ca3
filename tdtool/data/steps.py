"""What a step takes from, and leaves in, the state that an engine keeps for each partition."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Needs:
    """reads, keeps : names of kept arrays; rows : whether the step looks at the documents, or at `index` alone.

    sum_bytes : size of the partials for some parameters; None: they are as large as the largest array among those.
    """

    reads: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    rows: bool = True
    sum_bytes: Callable[..., int] | None = None


def step(
    *,
    reads: tuple[str, ...] = (),
    keeps: tuple[str, ...] = (),
    rows: bool = True,
    sum_bytes: Callable[..., int] | None = None,
) -> Callable[[Function], Function]:
    """Declare what a step needs; an engine gives it nothing else, so that nothing else travels on a cluster.

    What is in `reads` may be missing from the state, where no step has kept it yet.
    """

    def declare(function: Function) -> Function:
        function.needs = Needs(reads, keeps, rows, sum_bytes)  # type: ignore[attr-defined]
        return function

    return declare


def needs_of(function: Callable[..., Any]) -> Needs:
    """What a step has declared; without a declaration it reads the documents alone."""
    return getattr(function, "needs", Needs())
