"""What a reader hands out: a source of documents, as text or as counts, that can be read in batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import ClassVar, TypeAlias

from tdtool.data.batches import CountBatch, TextBatch
from tdtool.data.ledger import Ledger

OnBytes: TypeAlias = Callable[[int], None]

#: Reasons in the ledger, worded once.
EMPTY = "empty document"
TOO_LONG = "longer than 256 MB"
BINARY = "binary file"

#: A document may take this many bytes.
LONGEST_DOCUMENT = 256 << 20


def ignore(n_bytes: int) -> None:
    """The default of on_bytes: nobody counts."""


@dataclasses.dataclass(frozen=True)
class TextSource:
    """Documents as text. size : bytes on disk, None for a pipe; description : one line for the person.

    ids_given : the user named the ids (or they are file names or line numbers); False where a column was guessed.
    """

    format: str
    path: str
    size: int | None
    description: str
    read: Callable[[Ledger, OnBytes], Iterator[TextBatch]]
    ids_given: bool = True
    kind: ClassVar[str] = "text"

    def batches(self, ledger: Ledger, on_bytes: OnBytes = ignore) -> Iterator[TextBatch]:
        """About 8 MB of text at a time; documents are counted in the ledger; on_bytes hears of bytes read from disk."""
        return self.read(ledger, on_bytes)


@dataclasses.dataclass(frozen=True)
class CountSource:
    """Documents as counts of n_terms terms. vocabulary : n_terms names."""

    format: str
    path: str
    size: int | None
    description: str
    n_terms: int
    vocabulary: list[str]
    read: Callable[[Ledger, OnBytes], Iterator[CountBatch]]
    kind: ClassVar[str] = "counts"

    def batches(self, ledger: Ledger, on_bytes: OnBytes = ignore) -> Iterator[CountBatch]:
        """About a million entries at a time; documents are counted in the ledger."""
        return self.read(ledger, on_bytes)
