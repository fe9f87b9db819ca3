"""From documents found to batches of text: what every reader of text ends with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tdtool.data.batches import TextBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.source_types import EMPTY, LONGEST_DOCUMENT, TOO_LONG

#: A batch holds about this much text ...
BATCH_BYTES = 8 << 20
#: ... and no more documents than this.
BATCH_DOCUMENTS = 1 << 16

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Collector:
    """Gathers documents that come one by one as bytes, and hands out batches."""

    def __init__(self, path: str, ledger: Ledger) -> None:
        self.path, self.ledger = path, ledger
        self._texts: list[bytes] = []
        self._ids: list[str] = []
        self._lines: list[int] = []
        self._size = 0

    def add(self, text: bytes, name: str, line: int, place: str | None = None) -> None:
        """Take one document, or note why not. place : its file for the ledger (default: the collector's path)."""
        if not text:
            self.ledger.skip(EMPTY, place or self.path, line or None)
        elif len(text) > LONGEST_DOCUMENT:
            self.ledger.skip(TOO_LONG, place or self.path, line or None)
        else:
            self._texts.append(text)
            self._ids.append(name)
            self._lines.append(line)
            self._size += len(text)

    def ready(self) -> Iterator[TextBatch]:
        """A batch, when enough has come together."""
        if self._size >= BATCH_BYTES or len(self._texts) >= BATCH_DOCUMENTS:
            yield from self.rest()

    def rest(self) -> Iterator[TextBatch]:
        """A last batch of what is left."""
        if not self._texts:
            return
        offsets = np.zeros(len(self._texts) + 1, np.int64)
        np.cumsum([len(text) for text in self._texts], out=offsets[1:])
        text = np.frombuffer(bytearray().join(self._texts), np.uint8)
        self.ledger.use(len(self._texts))
        batch = TextBatch(text, offsets, self._ids, self.path, np.array(self._lines, np.int64))
        self._texts, self._ids, self._lines, self._size = [], [], [], 0
        yield batch


def printable(name: bytes) -> str:
    """An id as text that any file can hold: broken UTF-8 and NUL bytes are written out."""
    return name.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
