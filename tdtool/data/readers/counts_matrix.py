"""Matrix Market coordinate files: rows are documents, columns are terms."""

from __future__ import annotations

from collections.abc import Iterator

from tdtool.data.batches import CountBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.counts_triples import Header, triple_batches
from tdtool.data.readers.counts_vocabulary import find_vocabulary
from tdtool.data.readers.source_types import CountSource, OnBytes
from tdtool.data.readers.streams import HEAD_BYTES, Input
from tdtool.errors import InputError
from tdtool.kernels.counts_cpu import LARGEST


def open_matrix_market(source: Input) -> CountSource:
    """A source of the counts in a Matrix Market file."""
    header, size = matrix_header(source)
    vocabulary, origin = find_vocabulary(source, header.n_terms, exact=True)

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[CountBatch]:
        with source.open(on_bytes) as stream:
            stream.read(size)
            yield from triple_batches(stream, header, source.path, ledger)

    description = describe_matrix(header, origin)
    return CountSource("matrix-market", source.path, source.size, description, header.n_terms, vocabulary, read)


def matrix_header(source: Input) -> tuple[Header, int]:
    """The sizes, and how many bytes the banner, comments and sizes take."""
    return _header(source.head, source.path)


def describe_matrix(header: Header, origin: str) -> str:
    """One line for the person. origin : where the vocabulary comes from."""
    return f"Matrix Market, {header.n_documents:,} documents (rows), {header.n_terms:,} terms, {origin}"


def _header(head: bytes, path: str) -> tuple[Header, int]:
    """The banner, comments and sizes, and how many bytes they take."""
    size, line = 0, 0
    n_fields = 3
    while size < len(head):
        end = head.find(b"\n", size)
        raw = head[size : end if end >= 0 else len(head)].strip()
        size, line = (end if end >= 0 else len(head)) + 1, line + 1
        if line == 1:
            n_fields = _fields(raw, path)
        elif raw and not raw.startswith(b"%"):
            return _sizes(raw, line, n_fields, path), min(size, len(head))
    where = "the first megabyte" if len(head) >= HEAD_BYTES else "the file"
    raise InputError(f"there is no line with the sizes of the matrix in {where}", path=path, line=line)


def _fields(banner: bytes, path: str) -> int:
    """How many numbers an entry has, by the banner."""
    words = banner.lower().split()
    if len(words) != 5 or words[0] != b"%%matrixmarket" or words[1] != b"matrix":
        raise InputError(
            "a Matrix Market file begins with %%MatrixMarket matrix coordinate integer general", path=path, line=1
        )
    for word, fit, hint in (
        (words[2], (b"coordinate",), "dense matrices are not read; write it as coordinate"),
        (words[3], (b"integer", b"real", b"unsigned-integer", b"pattern"), "entries must be counts"),
        (words[4], (b"general",), "a matrix of documents and terms is not symmetric; write it as general"),
    ):
        if word not in fit:
            raise InputError(f"{word.decode('utf-8', 'replace')} matrices cannot be used", path=path, line=1, hint=hint)
    return 2 if words[3] == b"pattern" else 3


def _sizes(raw: bytes, line: int, n_fields: int, path: str) -> Header:
    words = raw.split()
    if len(words) != 3 or not all(word.isdigit() for word in words):
        raise InputError("this line should give rows, columns and entries", path=path, line=line)
    rows, columns, entries = (int(word) for word in words)
    if max(rows, columns) > LARGEST:
        raise InputError(f"the matrix has more than {LARGEST:,} rows or columns", path=path, line=line)
    return Header(rows, columns, entries, line=line, n_fields=n_fields)
