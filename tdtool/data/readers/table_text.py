"""CSV and TSV: the layout is read off a sample, the rows are streamed."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator

import numpy as np

from tdtool.config import SourceConfig
from tdtool.data.batches import TextBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.source_types import OnBytes, TextSource
from tdtool.data.readers.streams import Input
from tdtool.data.readers.table_columns import Columns, choose_columns, has_header
from tdtool.data.readers.text_batches import BYTE_ORDER_MARK
from tdtool.data.readers.text_rows import Layout, refuse_ragged, row_batches, too_ragged
from tdtool.errors import InputError
from tdtool.kernels import rows_cpu
from tdtool.kernels.rows_cpu import NO_BYTE

_QUOTE, _TAB, _COMMA = 34, 9, 44
#: What a file called CSV is separated by, the usual first.
_CSV_DELIMITERS = (_COMMA, 59, _TAB, 124)
_SAMPLE_ROWS = 1000
#: Columns looked at when the user names none.
_MOST_COLUMNS = 256


def open_table(source: Input, kind: str) -> TextSource:
    """A source whose documents are one column of a table. kind : "csv" or "tsv"."""
    layout, columns = plan_table(source, kind)

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[TextBatch]:
        with source.open(on_bytes) as stream:
            yield from row_batches(stream, layout, source.path, ledger)
        refuse_ragged(layout, source.path, ledger)

    return TextSource(kind, source.path, source.size, columns.describe(kind.upper()), read, columns.id_given)


def plan_table(source: Input, kind: str) -> tuple[Layout, Columns]:
    """How the rows of a table are cut, by its first ones. kind : "csv" or "tsv"."""
    layout = tsv_layout(source) if kind == "tsv" else csv_layout(source)
    rows = sample_rows(source, layout)
    if not rows:
        raise InputError(
            "there is no complete row in the first megabyte", path=source.path, line=1, hint="is the format right?"
        )
    layout, columns = _with_columns(layout, rows, source.config, source.path)
    _refuse_ragged_sample(source, layout)
    return layout, columns


def tsv_layout(source: Input) -> Layout:
    """Tabs; quotes mean something only when the sample uses them properly."""
    raw, quoted = Layout(delimiter=_TAB), Layout(delimiter=_TAB, quote=_QUOTE)
    return quoted if _is_quoted(source, quoted) else raw


def csv_layout(source: Input) -> Layout:
    """Quoted; the delimiter is the one that gives most rows the same number (above 1) of fields."""

    def agreement(delimiter: int) -> float:
        _, facts = _scan_head(source, Layout(delimiter=delimiter, quote=_QUOTE))
        counts = facts[rows_cpu.N_FIELDS, facts[rows_cpu.BLANK] == 0].tolist()
        usual, n = collections.Counter(counts).most_common(1)[0] if counts else (1, 0)
        return n / len(counts) if usual > 1 else 0.0

    return Layout(delimiter=max(_CSV_DELIMITERS, key=agreement), quote=_QUOTE)


def _with_columns(layout: Layout, rows: list[list[str]], config: SourceConfig, path: str) -> tuple[Layout, Columns]:
    counts = collections.Counter(len(row) for row in rows)
    usual = counts.most_common(1)[0][0]
    header = len(rows[0]) == usual and has_header(rows[0], [row for row in rows[1:] if len(row) == usual], config)
    names = [cell.strip() for cell in rows[0]] if header else None
    sample = [row for row in rows[1 if header else 0 :] if len(row) == usual]
    columns = choose_columns(names, sample, config, path)
    layout = dataclasses.replace(
        layout, n_columns=usual, text_column=columns.text, id_column=columns.id, has_header=header
    )
    return layout, columns


def _refuse_ragged_sample(source: Input, layout: Layout) -> None:
    """Do not wait for the end of a large file when most of its first rows are ragged."""
    _, facts = _scan_head(source, layout)
    if facts.shape[1] < _SAMPLE_ROWS:
        return
    facts = facts[:, 1:] if layout.has_header else facts
    blank = (facts[rows_cpu.BLANK] == 1) & (layout.n_columns > 1)
    ragged = np.flatnonzero((facts[rows_cpu.N_FIELDS] != layout.n_columns) & ~blank)
    if 2 * ragged.size > facts.shape[1]:
        line = int(facts[rows_cpu.ROW_LINE, ragged[0]]) + 1
        raise too_ragged(int(ragged.size), facts.shape[1], layout.n_columns, source.path, line)


def _scan_head(source: Input, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """The complete rows of the head: (bytes, facts (N_FACTS, n) int64), for the text column of the layout."""
    buffer = np.frombuffer(bytearray(source.head.removeprefix(BYTE_ORDER_MARK)), np.uint8)
    facts = np.empty((rows_cpu.N_FACTS, _SAMPLE_ROWS), np.int64)
    n, _, _, _ = rows_cpu.scan_rows(
        buffer,
        delimiter=layout.delimiter,
        quote=layout.quote,
        text_column=layout.text_column,
        id_column=-1,
        final=source.is_whole_head,
        out=facts,
    )
    return buffer, facts[:, :n]


def _is_quoted(source: Input, layout: Layout) -> bool:
    """Whether quotes in the sample open and close fields, and the rows have one length when read so."""
    head = source.head
    if not (head.startswith(b'"') or b'\t"' in head or b'\n"' in head):
        return False
    _, facts = _scan_head(source, layout)
    _, plain = _scan_head(source, dataclasses.replace(layout, quote=NO_BYTE))
    if not facts.shape[1] or facts[rows_cpu.MALFORMED].any():
        return False
    return _disagreement(facts) <= _disagreement(plain)


def _disagreement(facts: np.ndarray) -> float:
    """Share of the rows that do not have the usual number of fields."""
    counts = np.bincount(facts[rows_cpu.N_FIELDS])
    return 1.0 - float(counts.max()) / float(counts.sum())


def sample_rows(source: Input, layout: Layout) -> list[list[str]]:
    """The first complete rows as text (blank ones left out)."""
    _, facts = _scan_head(source, layout)
    n_columns = int(facts[rows_cpu.N_FIELDS].max()) if facts.shape[1] else 0
    n_fields = facts[rows_cpu.N_FIELDS].tolist()
    blank = facts[rows_cpu.BLANK].tolist()
    rows = [[""] * n for n in n_fields]
    for column in range(min(n_columns, _MOST_COLUMNS)):
        buffer, facts = _scan_head(source, dataclasses.replace(layout, text_column=column))
        starts, stops = facts[rows_cpu.TEXT_START].tolist(), facts[rows_cpu.TEXT_STOP].tolist()
        for row, start, stop, n in zip(rows, starts, stops, n_fields, strict=True):
            if column < n:
                row[column] = buffer[start:stop].tobytes().decode("utf-8", "replace")
    return [row for row, is_blank in zip(rows, blank, strict=True) if not is_blank]
