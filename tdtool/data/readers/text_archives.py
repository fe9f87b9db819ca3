"""tar and zip archives of text files, streamed: each member is a document, nothing is unpacked to disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from tdtool.data.batches import TextBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.archive_members import tar_members, worded, zip_members
from tdtool.data.readers.source_types import LONGEST_DOCUMENT, TOO_LONG, OnBytes, TextSource
from tdtool.data.readers.streams import Input
from tdtool.data.readers.text_batches import Collector
from tdtool.data.readers.text_files import add_document, read_document, refuse_no_text


def open_archive(source: Input, kind: str) -> TextSource:
    """A source whose documents are the files in an archive. kind : "tar" (in its order) or "zip" (sorted by name)."""

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[TextBatch]:
        collector, taken = Collector(source.path, ledger), 0
        members = tar_members(source, on_bytes) if kind == "tar" else zip_members(source, on_bytes)
        with worded(source.path):
            for name, file in members:
                _add_member(name, file, collector)
                for batch in collector.ready():
                    taken += len(batch.ids)
                    yield batch
        for batch in collector.rest():
            taken += len(batch.ids)
            yield batch
        refuse_no_text(taken, source.path, ledger)

    return TextSource(kind, source.path, source.size, f"{kind} archive of text files, ids are file names", read)


def _add_member(name: str, file: IO[bytes], collector: Collector) -> None:
    place = f"{collector.path}:{name}"
    text = read_document(file)
    if len(text) > LONGEST_DOCUMENT:
        collector.ledger.skip(TOO_LONG, place)
    else:
        add_document(text, name, place, collector)
