"""One document a line."""

from __future__ import annotations

from collections.abc import Iterator

from tdtool.data.batches import TextBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.source_types import OnBytes, TextSource
from tdtool.data.readers.streams import Input
from tdtool.data.readers.text_rows import Layout, row_batches

#: What it is, for the person.
LINES = "text, one document a line"


def open_lines(source: Input) -> TextSource:
    """A source whose documents are the lines of a file; ids are line numbers."""

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[TextBatch]:
        with source.open(on_bytes) as stream:
            yield from row_batches(stream, Layout(), source.path, ledger)

    return TextSource("lines", source.path, source.size, LINES, read)
