"""Lines of word:count pairs, a document each: Blei's lda-c (words from 0) and svmlight (words from 1, or from 0)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tdtool.data.batches import CountBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.counts_batches import count_batch, whole_lines, wrong_line
from tdtool.data.readers.counts_vocabulary import find_vocabulary
from tdtool.data.readers.source_types import EMPTY, CountSource, OnBytes
from tdtool.data.readers.streams import ByteStream, Input
from tdtool.errors import InputError
from tdtool.kernels import counts_cpu

_NAMES = {"lda-c": "lda-c counts", "svmlight": "svmlight counts"}


@dataclasses.dataclass(frozen=True)
class PairBlock:
    """Documents of one block. indptr : (D + 1,); indices : (nnz,) as written; counts : (nnz,); lines : (D,)."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]
    counts: NDArray[np.int64]
    lines: NDArray[np.int64]


def open_pairs(source: Input, kind: str) -> CountSource:
    """A source of the counts in a file of pairs. kind : "lda-c" or "svmlight".

    Such files do not say how many terms there are: a first pass over a file finds out, a pipe needs a vocabulary.
    """
    lowest, highest = None, None
    if source.seekable:
        lowest, highest = _range(source, kind)
    elif source.config.vocabulary is None:
        raise InputError(
            f"{_NAMES[kind]} through a pipe need a vocabulary",
            path=source.path,
            hint="name it with --vocabulary, or save the data to a file",
        )
    terms = terms_of(source, kind, lowest, highest)

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[CountBatch]:
        with source.open(on_bytes) as stream:
            yield from pair_batches(stream, kind, terms.smallest, len(terms.vocabulary), source.path, ledger)

    n_terms = len(terms.vocabulary)
    return CountSource(kind, source.path, source.size, terms.description, n_terms, terms.vocabulary, read)


@dataclasses.dataclass(frozen=True)
class Terms:
    """smallest : the number of the first term in the file; description : one line for the person."""

    smallest: int
    vocabulary: list[str]
    description: str


def terms_of(source: Input, kind: str, lowest: int | None, highest: int | None) -> Terms:
    """The terms of a file in which the numbers from lowest to highest were seen (None: nobody looked)."""
    smallest = 0 if kind == "lda-c" else 1
    smallest = smallest if lowest is None else min(smallest, lowest)
    least = 0 if highest is None else highest - smallest + 1
    vocabulary, origin = find_vocabulary(source, least, exact=False)
    description = f"{_NAMES[kind]}, {len(vocabulary):,} terms numbered from {smallest}, {origin}"
    return Terms(smallest, vocabulary, description)


def pair_batches(
    stream: ByteStream, kind: str, smallest: int, n_terms: int, path: str, ledger: Ledger, first_line: int = 1
) -> Iterator[CountBatch]:
    """Read a stream to its end as documents. first_line : of the stream in its file."""
    for block in pair_blocks(stream, kind, path, first_line):
        _check_range(block, smallest, n_terms, path)
        numbers = (block.indptr, block.indices - smallest, block.counts, block.lines, block.lines)
        yield from count_batch(*numbers, path, ledger)


def pair_blocks(stream: ByteStream, kind: str, path: str, first_line: int = 1) -> Iterator[PairBlock]:
    """The numbers as they are written, a block at a time."""
    for buffer, line in whole_lines(stream, path, first_line):
        indptr, indices, counts, lines, status, wrong = counts_cpu.parse_pairs(buffer, leading_length=kind == "lda-c")
        if status != counts_cpu.OK:
            raise wrong_line(status, path, line + wrong)
        yield PairBlock(indptr, indices, counts, lines + line)


def range_of(blocks: Iterator[PairBlock]) -> tuple[int, int]:
    """The smallest and largest number of a term; the largest is -1 when there is none."""
    lowest, highest = counts_cpu.LARGEST, -1
    for block in blocks:
        if len(block.indices):
            lowest, highest = min(lowest, int(block.indices.min())), max(highest, int(block.indices.max()))
    return lowest, highest


def _range(source: Input, kind: str) -> tuple[int, int]:
    with source.open() as stream:
        lowest, highest = range_of(pair_blocks(stream, kind, source.path))
    if highest < 0:
        raise InputError(f"there is no entry in it; all are {EMPTY}s", path=source.path)
    return lowest, highest


def _check_range(block: PairBlock, smallest: int, n_terms: int, path: str) -> None:
    bad = np.flatnonzero((block.indices < smallest) | (block.indices >= smallest + n_terms))
    if len(bad):
        document = int(np.searchsorted(block.indptr, bad[0], side="right")) - 1
        raise InputError(
            f"term {int(block.indices[bad[0]]):,} is not between {smallest} and {smallest + n_terms - 1:,}, the numbers"
            " of the vocabulary",
            path=path,
            line=int(block.lines[document]),
        )
