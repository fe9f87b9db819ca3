"""From the rows of a table to a tensor: the grid that the indices span, what is in it, and what its gaps mean."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.data.readers.tensor_rows import Rows
from tdtool.data.readers.tensor_types import Entries, Found, check_memory
from tdtool.data.readers.text_batches import printable
from tdtool.errors import InputError

#: A dense array may have so many cells for each number that would be stored as an entry.
_DENSE_UP_TO = 4
_LARGEST = 2**62
_WHOLE_DIGITS = 18


@dataclasses.dataclass(frozen=True)
class _Mode:
    """One column of indices, numbered. places : (n,) int64 from 0; labels : I names, None for plain numbers."""

    places: NDArray[np.int64]
    size: int
    labels: list[str] | None


def from_entries(
    rows: Rows,
    kind: str,
    names: list[str] | None,
    indices: tuple[int, ...],
    value: int,
    *,
    unused: tuple[str, ...],
    memory: int,
) -> Found:
    """A tensor of rows that give one value each. indices, value : the columns; unused : names of those passed over."""
    columns = [_Column() for _ in indices]
    parts: list[NDArray[np.float64]] = []
    lines: list[NDArray[np.int64]] = []
    n = 0
    for block in rows.blocks([*indices, value]):
        for column, words in zip(columns, block.columns[:-1], strict=True):
            column.add(words, block.lines, rows.source.path)
        parts.append(rows.floats(block.columns[-1], block.lines, _called(names, value)))
        lines.append(block.lines)
        n += len(block.lines)
        check_memory(16 * (len(indices) + 2) * n, memory, f"a table of more than {n:,} rows", rows.source.path)
    if not n:
        raise InputError("there are no rows", path=rows.source.path, hint="a row holds indices and a value")
    modes, base = _numbered(columns)
    notes = [] if base is None else [f"indices count from {base}"]
    notes += [f"columns not used: {', '.join(unused)}"] if unused else []
    grid = _Grid(modes, np.concatenate(parts), np.concatenate(lines), rows.source.path, notes)
    values = grid.tensor(memory)
    mode_names = () if names is None else tuple(names[column] for column in indices)
    labels = tuple(mode.labels for mode in modes)
    kept = mode_names if all(mode_names) and len(set(mode_names)) == len(mode_names) else ()
    return Found(values, f"{kind}, rows of indices and a value", None, None, labels, kept, tuple(grid.notes))


def from_matrix(rows: Rows, kind: str, names: list[str] | None, *, labelled: bool, memory: int) -> Found:
    """A matrix of a table of numbers. labelled : the first column names the rows."""
    first = 1 if labelled else 0
    parts: list[NDArray[np.float64]] = []
    labels: list[str] = []
    n_rows, n_columns = 0, rows.n_columns - first
    for block in rows.blocks(list(range(rows.n_columns))):
        n_rows += len(block.lines)
        check_memory(16 * n_rows * n_columns, memory, f"a table of more than {n_rows:,} rows", rows.source.path)
        part = np.empty((len(block.lines), n_columns))
        for column in range(n_columns):
            name = _called(names, column + first)
            part[:, column] = rows.floats(block.columns[column + first], block.lines, name)
        parts.append(part)
        if labelled:
            labels += [printable(word.strip()) for word in list[Any](block.columns[0].to_pylist())]
    if not n_rows:
        raise InputError("there are no rows", path=rows.source.path)
    row_labels = labels if labelled else None
    column_labels = None if names is None else names[first:]
    corner = names[0] if names is not None and labelled and names[0] else "row"
    mode_names = (corner, "column") if (labelled or names is not None) and corner != "column" else ()
    return Found(np.concatenate(parts), f"{kind}, table", labels=(row_labels, column_labels), mode_names=mode_names)


def _called(names: list[str] | None, column: int) -> str:
    return f"{column + 1}" if names is None else repr(names[column])


class _Column:
    """The words of a column of indices, each numbered when it first appears."""

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self._codes: list[NDArray[np.int32]] = []

    def add(self, words: Any, lines: NDArray[np.int64], path: str) -> None:
        """Number the words of a block. InputError for an empty one."""
        coded = words.dictionary_encode()
        table = np.empty(len(coded.dictionary), np.int32)
        for position, word in enumerate(coded.dictionary.to_pylist()):
            stripped = word.strip()
            if not stripped:
                wrong = int(np.flatnonzero(coded.indices.to_numpy() == position)[0])
                raise InputError(
                    "an index is empty", path=path, line=int(lines[wrong]), hint="every row needs all its indices"
                )
            table[position] = self.numbers.setdefault(stripped, len(self.numbers))
        self._codes.append(table[coded.indices.to_numpy()])

    def codes(self) -> NDArray[np.int32]:
        """The numbers of all rows (n,)."""
        return np.concatenate(self._codes)

    def whole(self) -> NDArray[np.int64] | None:
        """The words as whole numbers, in the order of their own; None when one is not."""
        words = list(self.numbers)
        if not all(word.removeprefix(b"-").isdigit() and len(word) <= _WHOLE_DIGITS for word in words):
            return None
        return np.array([int(word) for word in words], np.int64)


def _numbered(columns: list[_Column]) -> tuple[list[_Mode], int | None]:
    """The modes, and whether plain numbers count from 0 or 1 (None: there are none).

    Whole numbers that begin at 0 or 1 and leave few gaps are indices; others, such as years, are names in their order.
    Text is numbered as it appears.
    """
    wholes = [column.whole() for column in columns]
    plain = [whole is not None and _are_indices(whole) for whole in wholes]
    starts = [int(whole.min()) for whole, is_plain in zip(wholes, plain, strict=True) if is_plain and whole is not None]
    base = min(starts, default=None)
    modes = []
    for column, whole, is_plain in zip(columns, wholes, plain, strict=True):
        codes = column.codes()
        if whole is None:
            words = [printable(word) for word in column.numbers]
            modes.append(_Mode(codes.astype(np.int64), len(words), words))
        elif is_plain and base is not None:
            modes.append(_Mode(whole[codes] - base, int(whole.max()) - base + 1, None))
        else:
            distinct, place = np.unique(whole, return_inverse=True)
            modes.append(_Mode(place[codes], distinct.size, [str(number) for number in distinct.tolist()]))
    return modes, base


def _are_indices(whole: NDArray[np.int64]) -> bool:
    return int(whole.min()) in (0, 1) and int(whole.max()) <= 4 * whole.size + 16


class _Grid:
    """Values at places. notes : what was decided, for the person."""

    def __init__(
        self, modes: list[_Mode], values: NDArray[np.float64], lines: NDArray[np.int64], path: str, notes: list[str]
    ) -> None:
        self.shape = tuple(mode.size for mode in modes)
        self.notes = notes
        self._modes, self._values, self._lines, self._path = modes, values, lines, path

    def tensor(self, memory: int) -> NDArray[np.float64] | Entries:
        """Dense when every cell is there, or the gaps are missing values, or few; else sparse, the gaps 0."""
        cells, n = math.prod(self.shape), self._values.size
        has_missing = bool(np.isnan(self._values).any())
        counts = self._are_counts()
        n_distinct = self._check_repeats(counts) if cells < _LARGEST else n
        if n_distinct == cells:
            return self._dense(memory, np.nan)
        gaps = f"cells without a row ({cells - n_distinct:,})"
        if not counts:
            self.notes.append(f"{gaps} are missing values")
            return self._dense(memory, np.nan)
        self.notes.append(f"{gaps} are 0, as the values are counts")
        if has_missing or cells <= _DENSE_UP_TO * (len(self.shape) + 1) * n:
            return self._dense(memory, 0.0)
        return Entries(tuple(mode.places for mode in self._modes), self._values, self.shape)

    def _are_counts(self) -> bool:
        """Whether what there is are whole numbers from 0 on."""
        known = self._values[~np.isnan(self._values)]
        return bool((known >= 0).all() and (known == np.floor(known)).all())

    def _dense(self, memory: int, gap: float) -> NDArray[np.float64]:
        check_memory(10 * math.prod(self.shape), memory, "the tensor with all its cells", self._path)
        dense = np.full(math.prod(self.shape), gap)
        places = np.ravel_multi_index(tuple(mode.places for mode in self._modes), self.shape)
        if self._repeated:
            dense[places] = 0.0
            np.add.at(dense, places, self._values)
        else:
            dense[places] = self._values
        return dense.reshape(self.shape)

    def _check_repeats(self, counts: bool) -> int:
        """How many cells have a row. Counts of one cell are added up; other values may come once."""
        places = np.ravel_multi_index(tuple(mode.places for mode in self._modes), self.shape)
        order = np.argsort(places, kind="stable")
        again = np.flatnonzero(np.diff(places[order]) == 0) + 1
        self._repeated = bool(again.size)
        if again.size and not counts:
            row = int(order[again].min())
            raise InputError(
                f"a second row gives a value for {self._place(row)}",
                path=self._path,
                line=int(self._lines[row]),
                hint="give one value a cell: average or add up those of the same indices first",
            )
        if again.size:
            self.notes.append(f"rows of a cell seen before ({again.size:,}) are added up, as the values are counts")
        return int(places.size - again.size)

    def _place(self, row: int) -> str:
        parts = []
        for mode in self._modes:
            place = int(mode.places[row])
            parts.append(str(place) if mode.labels is None else mode.labels[place])
        return f"[{', '.join(parts)}]"
