"""CSV and TSV as tensors: what the columns mean is read off a sample, then the rows are streamed."""

from __future__ import annotations

import collections
import csv
import dataclasses
import itertools

from tdtool.config import TensorConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.factor_table import MISSING
from tdtool.data.readers.streams import Input
from tdtool.data.readers.table_text import csv_layout, sample_rows, tsv_layout
from tdtool.data.readers.tensor_grid import from_entries, from_matrix
from tdtool.data.readers.tensor_numbers import is_float
from tdtool.data.readers.tensor_rows import Rows
from tdtool.data.readers.tensor_types import MOST_MODES, Found
from tdtool.data.readers.text_batches import BYTE_ORDER_MARK, printable
from tdtool.data.readers.text_rows import Layout
from tdtool.errors import InputError
from tdtool.kernels.rows_cpu import NO_BYTE

#: Columns of the sample that are looked at.
_LOOKED_AT = 256

#: What the value is called where rows are entries, and what the first index is.
_VALUE_NAMES = frozenset(("value", "val", "v", "count", "n", "x", "weight", "amount", "rating", "score"))
_INDEX_NAMES = frozenset(("i", "mode0", "mode1", "index", "index0", "index1", "i0", "i1", "dim0", "dim1", "x"))
_HINT = "rows of indices and a value: name the columns with --columns A,B,C --value V"


@dataclasses.dataclass(frozen=True)
class _Plan:
    """How the rows are meant. names : the header, or None; indices, value : columns from 0, value -1: a table.

    labelled : the first column of a table names the rows; unused : columns that are neither.
    """

    names: list[str] | None
    indices: tuple[int, ...]
    value: int = -1
    labelled: bool = False
    unused: tuple[str, ...] = ()


def read_table(source: Input, kind: str, config: TensorConfig, memory: int, ledger: Ledger) -> Found:
    """A tensor of the rows "index ... index value", or a matrix of a table with a name for each row and column."""
    layout = tsv_layout(source) if kind == "tsv" else csv_layout(source)
    sample = [[cell.strip() for cell in row] for row in sample_rows(source, layout)]
    if not sample:
        what = "there is no complete row in the first megabyte"
        raise InputError(what, path=source.path, line=1, hint="is it a table with one row a line?")
    n_columns = collections.Counter(map(len, sample)).most_common(1)[0][0]
    if n_columns < 2:
        raise InputError("it has one column; a tensor needs at least an index and values", path=source.path, line=1)
    good = [row[:_LOOKED_AT] for row in sample if len(row) == n_columns]
    first, n_blank = _first_row(source.head, layout, source.path)
    plan = _planned(first if len(first) == n_columns else None, good, config, source.path)
    rows = Rows(source, layout, n_columns, n_blank + 1 if plan.names is not None else 0, ledger)
    if plan.value < 0:
        return from_matrix(rows, kind.upper(), plan.names, labelled=plan.labelled, memory=memory)
    return from_entries(rows, kind.upper(), plan.names, plan.indices, plan.value, unused=plan.unused, memory=memory)


def _first_row(head: bytes, layout: Layout, path: str) -> tuple[list[str], int]:
    """The cells of the first row that is not blank, and how many lines are before it."""
    lines = head.removeprefix(BYTE_ORDER_MARK).split(b"\n")
    n_blank = next((i for i, line in enumerate(lines) if line.strip(b" \r")), 0)
    text = printable(lines[n_blank].rstrip(b"\r"))
    if layout.quote == NO_BYTE:
        cells = text.split(chr(layout.delimiter))
    else:
        try:
            cells = next(csv.reader([text], delimiter=chr(layout.delimiter), quotechar=chr(layout.quote)), [])
        except csv.Error as error:
            raise InputError(f"the first row cannot be read ({error})", path=path, line=n_blank + 1) from error
    return [cell.strip() for cell in cells], n_blank


def _planned(first: list[str] | None, sample: list[list[str]], config: TensorConfig, path: str) -> _Plan:
    header = first is not None and _is_header(first, sample[1:], config)
    names = first if header and first is not None else None
    rows = sample[1:] if header else sample
    if not rows:
        raise InputError("there are names and no rows below them", path=path, line=1)
    columns = list(zip(*rows, strict=True))
    _refuse_decimal_commas([column[1:] or column for column in columns], path)
    if config.columns is None and config.value is None and _is_matrix(names, columns):
        return _Plan(names, (), labelled=_is_labelled(names, columns))
    return _entries_plan(names, columns, config, path)


def _entries_plan(names: list[str] | None, columns: list[tuple[str, ...]], config: TensorConfig, path: str) -> _Plan:
    n = len(columns)
    numeric = [column for column in range(n) if _are_numbers(columns[column])]
    given = [] if config.columns is None else [_position(each, names, n, path) for each in config.columns.split(",")]
    if config.value is not None:
        value = _position(config.value, names, n, path)
    else:
        left = [column for column in numeric if column not in given]
        if not left:
            raise InputError("no column holds numbers that could be the values", path=path, line=1, hint=_HINT)
        value = left[-1]
    indices = given or [
        column for column in range(n) if column != value and (column not in numeric or _are_whole(columns[column]))
    ]
    if value in indices or len(set(indices)) < len(indices):
        raise InputError("a column is named twice among the indices and the value", path=path, hint=_HINT)
    if not 2 <= len(indices) <= MOST_MODES:
        what = f"{len(indices)} columns look like indices; a tensor has 2 to {MOST_MODES} modes"
        raise InputError(what, path=path, line=1, hint=_HINT)
    unused = [column for column in range(n) if column != value and column not in indices]
    labels = tuple(f"{column + 1}" if names is None else names[column] for column in unused)
    return _Plan(names, tuple(indices), value, unused=labels)


def _is_header(first: list[str], rest: list[list[str]], config: TensorConfig) -> bool:
    """Whether the first row names the columns."""
    wanted = [name.strip() for name in (config.columns or "").split(",") if name] + [config.value or ""]
    if any(name in first and not name.isdecimal() for name in wanted if name):
        return True
    columns = list(zip(*rest, strict=True))
    if any(map(_has_decimal_comma, first)):
        return False
    for cell, column in zip(first, columns, strict=False):
        if not _is_number_or_missing(cell) and _are_numbers(column):
            return True
    if not columns:
        return all(cell and not _is_number_or_missing(cell) for cell in first)
    return _counts_up(first[1:]) and not _are_numbers(columns[0]) and all(map(_are_numbers, columns[1:]))


def _has_decimal_comma(cell: str) -> bool:
    return "," in cell and is_float(cell.replace(",", ".", 1))


def _refuse_decimal_commas(columns: list[tuple[str, ...]], path: str) -> None:
    """InputError for a column of 2,5 and the like: it would be read as names."""
    for column in columns:
        if any(map(_has_decimal_comma, column)) and all(
            _is_number_or_missing(cell.replace(",", ".", 1)) for cell in column
        ):
            word = next(cell for cell in column if _has_decimal_comma(cell))
            what = f"the numbers are written with a decimal comma ({word})"
            raise InputError(what, path=path, hint="write them with a point: sed 's/,/./g'")


def _counts_up(cells: list[str]) -> bool:
    """1987, 1988, 1989: names of columns that happen to be numbers."""
    if len(cells) < 2 or not _are_whole(tuple(cells)):
        return False
    steps = {int(right) - int(left) for left, right in itertools.pairwise(cells)}
    return len(steps) == 1 and steps != {0}


def _is_matrix(names: list[str] | None, columns: list[tuple[str, ...]]) -> bool:
    """Whether the rows are those of a matrix, and no entries."""
    if not all(map(_are_numbers, columns[1:])):
        return False
    unique = len(set(columns[0])) == len(columns[0])
    if not _are_numbers(columns[0]):
        return unique and (len(columns[0]) > 1 or len(columns) > 3 or len(columns) == 2)
    whole = all(map(_are_whole, columns[:-1])) and 3 <= len(columns) <= MOST_MODES + 1
    if not whole:
        return True
    if names is not None and (names[-1].lower() in _VALUE_NAMES or names[0].lower() in _INDEX_NAMES):
        return False
    return unique and names is not None and len(columns[0]) > 1


def _is_labelled(names: list[str] | None, columns: list[tuple[str, ...]]) -> bool:
    """Whether the first column of a table names its rows."""
    if not _are_numbers(columns[0]):
        return True
    unique = len(set(columns[0])) == len(columns[0])
    return (
        names is not None
        and unique
        and _are_whole(columns[0])
        and (not names[0] or names[0].lower() in ("id", "index"))
    )


def _position(wanted: str, names: list[str] | None, n_columns: int, path: str) -> int:
    """The column that the user means by a name or a 1-based number."""
    name = wanted.strip()
    if names is not None and name in names:
        return names.index(name)
    if name.isdecimal() and 1 <= int(name) <= n_columns:
        return int(name) - 1
    have = f"columns 1 to {n_columns} and no header" if names is None else f"the columns {', '.join(names)}"
    raise InputError(f"there is no column {name!r}", path=path, hint=f"it has {have}")


def _is_number_or_missing(cell: str) -> bool:
    return cell.lower() in MISSING or is_float(cell)


def _are_numbers(cells: tuple[str, ...]) -> bool:
    """Whether these are numbers or missing, and one at least a number."""
    return all(map(_is_number_or_missing, cells)) and any(cell.lower() not in MISSING for cell in cells)


def _are_whole(cells: tuple[str, ...]) -> bool:
    return all(cell.removeprefix("-").isdecimal() and cell.isascii() and len(cell) < 19 for cell in cells)
