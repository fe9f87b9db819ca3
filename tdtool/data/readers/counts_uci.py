"""UCI bag of words: docword.NAME.txt (three header lines, then "document term count"), vocab.NAME.txt beside it."""

from __future__ import annotations

from collections.abc import Iterator

from tdtool.data.batches import CountBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.counts_triples import Header, triple_batches
from tdtool.data.readers.counts_vocabulary import find_vocabulary
from tdtool.data.readers.source_types import CountSource, OnBytes
from tdtool.data.readers.streams import ByteStream, Input
from tdtool.errors import InputError
from tdtool.kernels.counts_cpu import LARGEST

_NAMES = ("documents (D)", "terms (W)", "entries (NNZ)")


def open_uci(source: Input) -> CountSource:
    """A source of the counts in a UCI docword file."""
    header, _ = uci_header(source)
    vocabulary, origin = find_vocabulary(source, header.n_terms, exact=True)

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[CountBatch]:
        with source.open(on_bytes) as stream:
            again = _skip_header(stream, source.path)
            yield from triple_batches(stream, again, source.path, ledger)

    description = describe_uci(header, origin)
    return CountSource("uci", source.path, source.size, description, header.n_terms, vocabulary, read)


def uci_header(source: Input) -> tuple[Header, int]:
    """D, W and NNZ, and how many bytes they take."""
    return _header(source.head, source.path)


def describe_uci(header: Header, origin: str) -> str:
    """One line for the person. origin : where the vocabulary comes from."""
    return f"UCI bag of words, {header.n_documents:,} documents, {header.n_terms:,} terms, {origin}"


def _skip_header(stream: ByteStream, path: str) -> Header:
    header, size = _header(stream.peek(4096), path)
    stream.read(size)
    return header


def _header(head: bytes, path: str) -> tuple[Header, int]:
    """D, W and NNZ, and how many bytes they take."""
    lines = head[:4096].split(b"\n", 3)
    numbers = []
    for line, (name, raw) in enumerate(zip(_NAMES, lines, strict=False), start=1):
        if not raw.strip().isdigit():
            found = raw.strip()[:40].decode("utf-8", "replace")
            raise InputError(
                f"the header should give the number of {name} and has {found!r}",
                path=path,
                line=line,
                hint="a UCI file begins with three lines: documents, terms, entries",
            )
        numbers.append(int(raw))
    if len(numbers) < 3:
        raise InputError("the header ends too early", path=path, line=len(numbers) + 1)
    if max(numbers[:2]) > LARGEST:
        raise InputError(f"the header promises more than {LARGEST:,} documents or terms", path=path, line=1)
    size = min(sum(len(line) + 1 for line in lines[:3]), len(head))
    return Header(numbers[0], numbers[1], numbers[2], line=3), size
