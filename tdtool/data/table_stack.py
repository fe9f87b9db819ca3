"""Tables in a stack: the columns of a wide table, or the rows of a long one, as rows x columns x slices."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tdtool.errors import InputError

_ENDING = re.compile(r"(?P<stem>.+?)(?P<ending>[_. :-](?P<word>[^_. :-]+))")
_YEAR = re.compile(r"(19|20)\d\d")
#: Fewer columns in common are no sign of a stack.
_FEWEST_COLUMNS = 3


@dataclasses.dataclass(frozen=True)
class Stack:
    """values : (n, p, s) float64, NaN where missing; ids : n; names : p columns; slices : s."""

    values: NDArray[np.float64]
    ids: list[str]
    names: list[str]
    slices: list[str]


def recognise_endings(names: Sequence[str]) -> list[str] | None:
    """The endings ("_written", "_oral") that all columns share: every stem with every ending, and nothing else.

    Endings that are numbers count the items of a questionnaire as a rule, and are no slices, unless they are years.
    """
    found = [_ENDING.fullmatch(name) for name in names]
    stems: dict[str, list[str]] = {}
    for match in found:
        if match is None or (match["word"].isdecimal() and not _YEAR.fullmatch(match["word"])):
            return None
        stems.setdefault(match["stem"], []).append(match["ending"])
    endings = next(iter(stems.values()), [])
    same = all(set(own) == set(endings) for own in stems.values())
    return endings if same and len(endings) > 1 and len(stems) >= _FEWEST_COLUMNS else None


def split_ending(name: str, endings: Sequence[str]) -> tuple[str, str] | None:
    """(stem, ending) of a column's name; the longest ending that fits."""
    for ending in sorted(endings, key=len, reverse=True):
        if name.endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)], ending
    return None


def wide_stack(
    values: NDArray[np.float64], names: Sequence[str], ids: list[str], endings: Sequence[str]
) -> tuple[Stack, dict[str, str]]:
    """From columns STEM + ENDING. values : (n, q). Returns the stack, and why columns were left out."""
    places = {parts: i for i, name in enumerate(names) if (parts := split_ending(name, endings))}
    left_out = {name: "it has no ending of the stack" for name in names if split_ending(name, endings) is None}
    stems = list(dict.fromkeys(stem for stem, _ in places))
    whole = [stem for stem in stems if all((stem, ending) in places for ending in endings)]
    for (stem, ending), i in places.items():
        if stem not in whole:
            lacking = next(other for other in endings if (stem, other) not in places)
            left_out[names[i]] = f"there is no {stem}{lacking} to go with {stem}{ending}"
    index = [[places[stem, ending] for ending in endings] for stem in whole]
    stacked = values[:, np.array(index, np.int64).reshape(len(whole), len(endings))]
    return Stack(stacked, ids, whole, [ending.strip("_. :-") or ending for ending in endings]), left_out


def long_stack(
    values: NDArray[np.float64],
    names: list[str],
    ids: list[str],
    groups: list[str],
    *,
    path: str,
    lines: NDArray[np.int64],
) -> Stack:
    """From rows (id, slice). values : (rows, p); InputError where an id comes twice in a slice."""
    slices, rows = list(dict.fromkeys(groups)), list(dict.fromkeys(ids))
    place_of_id, place_of_slice = {v: i for i, v in enumerate(rows)}, {v: i for i, v in enumerate(slices)}
    stacked = np.full((len(rows), len(names), len(slices)), np.nan)
    seen: dict[tuple[str, str], int] = {}
    for row, key in enumerate(zip(ids, groups, strict=True)):
        first = seen.setdefault(key, row)
        if first != row:
            what = f"{key[0]!r} comes a second time in slice {key[1]!r} (first in line {lines[first]})"
            raise InputError(what, path=path, line=int(lines[row]), hint="name the column of ids with --id-column")
        stacked[place_of_id[key[0]], :, place_of_slice[key[1]]] = values[row]
    return Stack(stacked, rows, names, slices)
