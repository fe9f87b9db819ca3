"""Which column of a table is the text and which names the rows: as the user says, else by looking at a sample."""

from __future__ import annotations

import dataclasses

from tdtool.config import SourceConfig
from tdtool.errors import InputError

#: Names that a header tends to have; found in the first row they make it one.
_USUAL_NAMES = frozenset(
    (
        *("abstract", "author", "authors", "body", "category", "class", "comment", "content", "contents", "date"),
        *("description", "doc", "docid", "doc_id", "docno", "document", "document_id", "filename", "headline", "id"),
        *("idx", "index", "key", "label", "labels", "lang", "language", "message", "name", "paragraph", "post"),
        *("rating", "review", "score", "sentence", "source", "subject", "summary", "target", "text", "timestamp"),
        *("title", "topic", "url", "user", "year"),
    )
)
_ID_NAMES = ("id", "doc_id", "docid", "document_id", "docno", "key", "uid", "uuid", "filename", "url")
_LONGEST_NAME = 64
_LONGEST_ID = 200


@dataclasses.dataclass(frozen=True)
class Columns:
    """The choice made. names : the header, or None; text, id : 0-based, id -1 when the row number is the id."""

    names: list[str] | None
    text: int
    id: int
    n_columns: int
    id_given: bool

    def describe(self, kind: str) -> str:
        """One line for the person: "TSV, text in column 3 of 3, ids in column 1"."""
        text = f"text in column {self._label(self.text)} of {self.n_columns}"
        return f"{kind}, {text}, " + ("ids are row numbers" if self.id < 0 else f"ids in column {self._label(self.id)}")

    def _label(self, column: int) -> str:
        return f"{column + 1}" if self.names is None else f"{column + 1} ({self.names[column]})"


def choose_columns(names: list[str] | None, sample: list[list[str]], config: SourceConfig, path: str) -> Columns:
    """Choose the text and id columns. sample : rows of one length, the header left out (may be empty)."""
    n_columns = len(names) if names is not None else len(sample[0])
    columns: list[tuple[str, ...]] = list(zip(*sample, strict=True)) if sample else [()] * n_columns
    text = None if config.column is None else _named(config.column, names, n_columns, path)
    given = None if config.id_column is None else _named(config.id_column, names, n_columns, path)
    if text is None:
        candidates = [column for column in range(n_columns) if column != given] or [0]
        text = max(candidates, key=lambda column: (_richness(columns[column]), -column))
    identifier = given if given is not None else _guess_id(names, columns, text)
    return Columns(names, text, identifier, n_columns, given is not None or identifier < 0)


def has_header(first: list[str], sample: list[list[str]], config: SourceConfig) -> bool:
    """Whether the first row names the columns. sample : the rows behind it."""
    cells = [cell.strip() for cell in first]
    wanted = [name for name in (config.column, config.id_column) if name is not None and not name.isdecimal()]
    if wanted and all(name in cells for name in wanted):
        return True
    if not all(cells) or len(set(cells)) < len(cells) or max(map(len, cells)) > _LONGEST_NAME:
        return False
    if any(_is_number(cell) for cell in cells):
        return False
    if any(cell.lower() in _USUAL_NAMES for cell in cells):
        return True
    columns = list(zip(*sample, strict=True))
    if any(all(_is_number(cell) for cell in column) for column in columns if column):
        return True
    if any(len(cell.split()) > 3 or any(map(str.isdigit, cell)) for cell in cells):
        return False
    has_words, length = max((_richness(column) for column in columns), default=(False, 0.0))
    return has_words and length > 4 * max(map(len, cells))


def _named(wanted: str, names: list[str] | None, n_columns: int, path: str) -> int:
    """The 0-based column that the user means by a name or a 1-based number."""
    if names is not None and wanted in names:
        return names.index(wanted)
    if wanted.isdecimal() and 1 <= int(wanted) <= n_columns:
        return int(wanted) - 1
    have = f"columns 1 to {n_columns} and no header" if names is None else f"the columns {', '.join(names)}"
    raise InputError(f"there is no column {wanted!r}", path=path, hint=f"it has {have}; name one with --column")


def _richness(cells: tuple[str, ...]) -> tuple[bool, float]:
    """How much a column looks like text: whether it has words, and how long its cells are."""
    if not cells:
        return False, 0.0
    return sum(" " in cell for cell in cells) * 2 > len(cells), sum(map(len, cells)) / len(cells)


def _guess_id(names: list[str] | None, columns: list[tuple[str, ...]], text: int) -> int:
    """A column with the name of an id, else the first that is unique, short and without spaces; -1 for none."""
    fit = [column for column in range(len(columns)) if column != text and _may_be_id(columns[column])]
    if names is not None:
        lower = [name.lower() for name in names]
        for name in _ID_NAMES:
            if name in lower and lower.index(name) in fit:
                return lower.index(name)
    return next((column for column in fit if not all(_is_fraction(cell) for cell in columns[column])), -1)


def _may_be_id(cells: tuple[str, ...]) -> bool:
    if not cells or len(set(cells)) < len(cells) or not all(cells):
        return False
    return max(map(len, cells)) <= _LONGEST_ID and not any(" " in cell for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_fraction(cell: str) -> bool:
    return _is_number(cell) and not cell.strip().isdecimal()
