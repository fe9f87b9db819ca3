"""Which columns of a table measure something: as the user says, else by looking at all of them."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import re
from collections.abc import Sequence

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from tdtool.data.readers.factor_table import Table, TableColumn, is_infinite
from tdtool.errors import InputError, UsageError

#: A column with fewer values says too little.
FEWEST_VALUES = 10
#: So much of a column that the columns before it explain makes it a repetition.
REPETITION = 0.998
_ID_NAME = re.compile(r"(.*[_ .-])?(id|ids|uid|uuid|key|index|idx|nr|no|number|code)|column 1|unnamed.*", re.IGNORECASE)
_PERSON = re.compile(r"students?|pupils?|persons?|participants?|subjects?|names?|respondents?|case", re.IGNORECASE)
_GLOB = re.compile(r"[*?\[]")
_MOSTLY = 0.9
_SUSPICIOUS = 0.05  # share of its variance that a column has for itself, roughly reckoned
_MATTERS = 0.05


@dataclasses.dataclass(frozen=True)
class Measures:
    """The columns chosen, in the order of the table; left_out : why others were not, by name."""

    columns: list[TableColumn]
    left_out: dict[str, str]

    @property
    def names(self) -> list[str]:
        """Of the columns chosen."""
        return [column.name for column in self.columns]

    def values(self) -> NDArray[np.float64]:
        """(n, p), NaN where missing."""
        return np.column_stack([column.values for column in self.columns])


def select_names(names: Sequence[str], wanted: str) -> tuple[list[str], set[str]]:
    """Names that "a,b:d,t*" means, in the order of the table, and those of them that are named in full.

    UsageError for a name, range or glob that means nothing.
    """
    chosen: set[str] = set()
    in_full: set[str] = set()
    for part in (part.strip() for part in wanted.split(",")):
        if part in names:
            chosen.add(part)
            in_full.add(part)
        elif ":" in part:
            first, last = (_known(end.strip(), names) for end in part.split(":", 1))
            low, high = sorted((names.index(first), names.index(last)))
            chosen.update(names[low : high + 1])
        elif _GLOB.search(part) and (found := fnmatch.filter(names, part)):
            chosen.update(found)
        else:
            _known(part, names)
    return [name for name in names if name in chosen], in_full


def _known(name: str, names: Sequence[str]) -> str:
    """The name itself, or UsageError with names like it."""
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    more = f"; did you mean {', '.join(close)}?" if close else ""
    have = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    raise UsageError(f"there is no column {name!r}{more}", hint=f"the table has {have}")


def find_ids(table: Table, wanted: str | None, groups: list[str] | None) -> tuple[str | None, list[str]]:
    """The column that names the rows and what it says; (None, row numbers) where there is none.

    groups : (n) slice of each row of a stack; a name may come once in each.
    """
    if wanted is not None:
        name = _known(wanted, table.names)
        cells = table.column(name).cells
        lines = table.lines.tolist()
        if groups is None and len(set(cells)) < len(cells):
            where = next(i for i, cell in enumerate(cells) if cell in cells[:i])
            what = f"{cells[where]!r} comes twice in the id column {name!r}"
            raise InputError(what, path=table.path, line=lines[where], hint="choose another --id-column, or none")
        return name, cells
    for place, column in enumerate(table.columns):
        if _names_rows(column, place, groups):
            return column.name, column.cells
    if groups is not None:
        what = "the slices of a stack are matched by the names of their rows, and no column has such names"
        raise InputError(what, path=table.path, hint="name the column with --id-column")
    return None, [str(i) for i in range(1, table.n_rows + 1)]


def _names_rows(column: TableColumn, place: int, groups: list[str] | None) -> bool:
    """Unique cells, in a column that is called like an id, or in the first one."""
    keys: Sequence[object] = column.cells if groups is None else list(zip(column.cells, groups, strict=True))
    if not all(column.cells) or len(set(keys)) < len(keys):
        return False
    whole = column.bad is None and bool(np.all(column.values == np.rint(column.values)))
    if _ID_NAME.fullmatch(column.name) or _PERSON.fullmatch(column.name):
        return whole or column.bad is not None
    if place > 0 or groups is not None:
        return False
    is_text = column.n_bad == len(column.cells)
    return is_text or (whole and len(keys) > 2 and bool(np.all(np.diff(column.values) == 1)))


def choose_measures(table: Table, wanted: str | None, *, not_these: set[str]) -> Measures:
    """Choose the columns. wanted : as --columns has it; not_these : the columns of ids and slices.

    A column named in full must be usable (InputError); one found by a glob, a range or on its own is left out with
    the reason, except for a cell that is no number in a column of numbers: that is InputError too.
    """
    names, in_full = select_names(table.names, wanted) if wanted is not None else (table.names, set())
    left_out: dict[str, str] = {}
    chosen: list[TableColumn] = []
    for column in (table.column(name) for name in names):
        if column.name in not_these and column.name not in in_full:
            continue
        reason = _unusable(table, column)
        if reason is not None and column.name in in_full:
            hint = "leave it out of --columns"
            raise InputError(f"the column {column.name!r} cannot be used: {reason}", path=table.path, hint=hint)
        if reason is None:
            chosen.append(column)
        else:
            left_out[column.name] = reason
    if wanted is None:
        chosen = _without_groups(chosen, left_out)
    return Measures(_without_repetitions(chosen, in_full, left_out), left_out)


def _unusable(table: Table, column: TableColumn) -> str | None:
    """Why a column measures nothing, or None. InputError for a stray cell among numbers."""
    if column.bad is not None:
        row, cell = column.bad
        line = int(table.lines[row])
        if is_infinite(cell) or column.n_values >= _MOSTLY * (column.n_values + column.n_bad):
            kind = "not finite" if is_infinite(cell) else "not a number"
            hint = "correct it, or leave the cell empty; --columns chooses other columns"
            raise InputError(f"{cell!r} in the column {column.name!r} is {kind}", path=table.path, line=line, hint=hint)
        return f"text ({cell!r} in line {line})"
    if column.n_values < FEWEST_VALUES:
        return f"only {column.n_values} values"
    if np.nanmax(column.values) == np.nanmin(column.values):
        return "constant"
    return None


def _without_groups(columns: list[TableColumn], left_out: dict[str, str]) -> list[TableColumn]:
    """Leave out columns of two values among others: they sort rows into groups. Where most are so, they are items."""
    two = [column for column in columns if np.unique(column.values[~np.isnan(column.values)]).size == 2]
    if 2 * len(two) >= len(columns):
        return columns
    left_out.update({column.name: "two values only: a group, no measurement" for column in two})
    return [column for column in columns if column not in two]


def _without_repetitions(columns: list[TableColumn], in_full: set[str], left_out: dict[str, str]) -> list[TableColumn]:
    """Leave out columns that follow from those before them, unless they are named in full."""
    if len(columns) < 2:
        return columns
    matrix = _rough_correlations(np.column_stack([column.values for column in columns]))
    root = np.zeros((0, 0))  # the Cholesky factor of what is kept so far
    kept: list[int] = []
    for place, column in enumerate(columns):
        towards = scipy.linalg.solve_triangular(root, matrix[kept, place], lower=True) if kept else np.zeros(0)
        rest = 1 - float(towards @ towards)
        if rest < _SUSPICIOUS and column.name not in in_full:
            from_these = _follows_from(column, [columns[i] for i in kept])
            if from_these:
                left_out[column.name] = f"follows from {' and '.join(from_these)}"
                continue
        kept.append(place)
        root = np.block([[root, np.zeros((len(root), 1))], [towards[None], np.full((1, 1), np.sqrt(max(rest, 1e-6)))]])
    return [columns[i] for i in kept]


def _rough_correlations(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(p, p) near enough to find repetitions. values : (n, p), NaN where missing."""
    seen = (~np.isnan(values)).astype(np.float64)
    standard = (values - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0)
    standard = np.where(seen > 0, standard, 0.0)
    return np.asarray(standard.T @ standard / np.maximum(seen.T @ seen, 1.0))


def _follows_from(column: TableColumn, others: list[TableColumn]) -> list[str]:
    """The columns that explain this one all but entirely in the rows that have all of them: one if one does."""
    values = column.values
    for group in [*([other] for other in others), others]:
        table = np.column_stack([*(other.values for other in group), values])
        rows = table[~np.isnan(table).any(axis=1)]
        if len(rows) < max(FEWEST_VALUES, 3 * len(group)):
            continue
        rows = rows - rows.mean(axis=0)
        size = np.sqrt(np.mean(rows**2, axis=0))
        rows = rows / np.where(size > 0, size, 1.0)
        weights = np.linalg.lstsq(rows[:, :-1], rows[:, -1], rcond=None)[0]
        if size[-1] > 0 and np.mean((rows[:, -1] - rows[:, :-1] @ weights) ** 2) < 1 - REPETITION:
            return [other.name for other, weight in zip(group, weights, strict=True) if abs(weight) > _MATTERS]
    return []
