"""What readers of graphs share: how weights are named, what they may be, and how text is shown in a message."""

from __future__ import annotations

import math

from tdtool.data.readers.tensor_numbers import is_float
from tdtool.errors import InputError

#: Attributes that are taken for the weight of an edge when the user names none.
WEIGHTS = ("weight", "value")
#: `--weight none`: every edge counts once, whatever the file says.
NO_WEIGHT = "none"

_LONGEST_SHOWN = 60


def as_weight(text: str, name: str, path: str, line: int) -> float:
    """The weight of an edge from its text; InputError unless it is a finite number from 0 on."""
    if not is_float(text):
        raise InputError(
            f"the {name} {shown(text)} of an edge is not a number",
            path=path,
            line=line,
            hint="name another attribute with --weight, or none",
        )
    return check_weight(float(text), name, path, line)


def check_weight(value: float, name: str, path: str, line: int | None) -> float:
    """`value`, when it can be the weight of an edge."""
    if not math.isfinite(value) or value < 0:
        raise InputError(
            f"the {name} of an edge is {value:g}",
            path=path,
            line=line,
            hint="weights are finite numbers from 0 on; --weight none leaves them out",
        )
    return value


def shown(text: str) -> str:
    """Text of a file within a message: short, and nothing in it that a terminal obeys."""
    return ascii(text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "...")
