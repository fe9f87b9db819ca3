"""The rows of a table of numbers, streamed in blocks of columns."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from tdtool.data.ledger import Ledger
from tdtool.data.readers.decompress import RawFile
from tdtool.data.readers.source_types import EMPTY
from tdtool.data.readers.streams import ByteStream, Input
from tdtool.data.readers.tensor_numbers import lengths, to_floats
from tdtool.data.readers.text_batches import printable
from tdtool.data.readers.text_rows import Layout
from tdtool.errors import InputError
from tdtool.kernels.rows_cpu import NO_BYTE

_BLOCK_BYTES = 8 << 20
#: What pyarrow says of a row of another length.
_RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")


@dataclasses.dataclass(frozen=True)
class Block:
    """Some rows. columns : binary arrays (n,), those that were asked for; lines : (n,) int64 of the file."""

    columns: list[pa.Array]
    lines: NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of a table. n_before : lines up to and with the header, 0 when there is none."""

    source: Input
    layout: Layout
    n_columns: int
    n_before: int
    ledger: Ledger

    def blocks(self, columns: list[int]) -> Iterator[Block]:
        """The wanted columns, some megabytes of the file at a time. Empty lines go to the ledger.

        Raises InputError with the line of the first row that is longer or shorter than the others.
        """
        line = 1 + self.n_before
        with self.source.open() as stream:
            try:
                for batch in self._reader(stream):
                    lines = np.arange(line, line + batch.num_rows, dtype=np.int64)
                    line += batch.num_rows
                    yield self._kept(batch, lines, columns)
            except pa.ArrowInvalid as error:
                raise self._unreadable(error, line) from error

    def floats(self, words: pa.Array, lines: NDArray[np.int64], name: str) -> NDArray[np.float64]:
        """A column as numbers (n,), NaN where the value is missing. InputError with the line of a word."""
        values, wrong = to_floats(words, missing=True)
        if wrong is not None:
            word = printable(bytes(words[wrong].as_py()).strip()[:40])
            comma = "write the decimal comma as a point" if word.replace(",", "", 1).lstrip("-").isdecimal() else None
            raise InputError(
                f"the value {word!r} in column {name} is not a number",
                path=self.source.path,
                line=int(lines[wrong]),
                hint=comma or "leave the cell empty, or write NA, where a value is missing",
            )
        bad = np.flatnonzero(np.isinf(values))
        if bad.size:
            raise InputError(
                f"the value in column {name} is infinite or too large",
                path=self.source.path,
                line=int(lines[bad[0]]),
                hint="leave the cell empty, or write NA, where a value is missing",
            )
        return values

    def _reader(self, stream: ByteStream) -> pa_csv.CSVStreamingReader:
        names = [str(column) for column in range(self.n_columns)]
        quote: Any = False if self.layout.quote == NO_BYTE else chr(self.layout.quote)
        source: Any = pa.PythonFile(RawFile(stream), mode="r")
        return pa_csv.open_csv(
            source,
            read_options=pa_csv.ReadOptions(
                use_threads=False, block_size=_BLOCK_BYTES, skip_rows=self.n_before, column_names=names
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=chr(self.layout.delimiter),
                quote_char=quote,
                ignore_empty_lines=False,
                newlines_in_values=False,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()), strings_can_be_null=False, check_utf8=False
            ),
        )

    def _kept(self, batch: pa.RecordBatch, lines: NDArray[np.int64], columns: list[int]) -> Block:
        """The wanted columns without empty rows."""
        blank = np.ones(batch.num_rows, np.bool_)
        for column in batch.columns:
            if not blank.any():
                break
            blank &= lengths(column) == 0
        chosen = [batch.column(column) for column in columns]
        for line in lines[blank].tolist():
            self.ledger.skip(EMPTY.replace("document", "row"), self.source.path, line)
        if blank.any():
            chosen = [column.filter(pa.array(~blank)) for column in chosen]
        self.ledger.use(int(np.count_nonzero(~blank)))
        return Block(chosen, lines[~blank])

    def _unreadable(self, error: pa.ArrowInvalid, line: int) -> InputError:
        ragged = _RAGGED.search(str(error))
        if ragged:
            return InputError(
                f"the row has {ragged[3]} columns, the others have {ragged[2]}",
                path=self.source.path,
                line=int(ragged[1]),
                hint="every row needs the same columns; put quotes round cells that hold the separator",
            )
        if "Empty CSV" in str(error):
            return InputError("there are no rows", path=self.source.path, line=line)
        return InputError(
            f"the table cannot be read ({str(error).splitlines()[0]})",
            path=self.source.path,
            line=line,
            hint="is a quote opened and never closed, or a row longer than 8 MB?",
        )
