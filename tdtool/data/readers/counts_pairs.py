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
class _Block:
    """Documents of one block. indptr : (D + 1,); indices : (nnz,) as written; counts : (nnz,); lines : (D,)."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]
    counts: NDArray[np.int64]
    lines: NDArray[np.int64]


def open_pairs(source: Input, kind: str) -> CountSource:
    """A source of the counts in a file of pairs. kind : "lda-c" or "svmlight".

    Such files do not say how many terms there are: a first pass over a file finds out, a pipe needs a vocabulary.
    """
    smallest, largest = (0 if kind == "lda-c" else 1), None
    if source.seekable:
        lowest, largest = _range(source, kind)
        smallest = min(smallest, lowest)
    elif source.config.vocabulary is None:
        raise InputError(
            f"{_NAMES[kind]} through a pipe need a vocabulary",
            path=source.path,
            hint="name it with --vocabulary, or save the data to a file",
        )
    least = 0 if largest is None else largest - smallest + 1
    vocabulary, origin = find_vocabulary(source, least, exact=False)

    def read(ledger: Ledger, on_bytes: OnBytes) -> Iterator[CountBatch]:
        with source.open(on_bytes) as stream:
            for block in _blocks(stream, kind, source.path):
                _check_range(block, smallest, len(vocabulary), source.path)
                numbers = (block.indptr, block.indices - smallest, block.counts, block.lines, block.lines)
                yield from count_batch(*numbers, source.path, ledger)

    description = f"{_NAMES[kind]}, {len(vocabulary):,} terms numbered from {smallest}, {origin}"
    return CountSource(kind, source.path, source.size, description, len(vocabulary), vocabulary, read)


def _blocks(stream: ByteStream, kind: str, path: str) -> Iterator[_Block]:
    for buffer, line in whole_lines(stream, path, 1):
        indptr, indices, counts, lines, status, wrong = counts_cpu.parse_pairs(buffer, leading_length=kind == "lda-c")
        if status != counts_cpu.OK:
            raise wrong_line(status, path, line + wrong)
        yield _Block(indptr, indices, counts, lines + line)


def _range(source: Input, kind: str) -> tuple[int, int]:
    """The smallest and largest number of a term in a file."""
    lowest, highest = counts_cpu.LARGEST, -1
    with source.open() as stream:
        for block in _blocks(stream, kind, source.path):
            if len(block.indices):
                lowest, highest = min(lowest, int(block.indices.min())), max(highest, int(block.indices.max()))
    if highest < 0:
        raise InputError(f"there is no entry in it; all are {EMPTY}s", path=source.path)
    return lowest, highest


def _check_range(block: _Block, smallest: int, n_terms: int, path: str) -> None:
    bad = np.flatnonzero((block.indices < smallest) | (block.indices >= smallest + n_terms))
    if len(bad):
        document = int(np.searchsorted(block.indptr, bad[0], side="right")) - 1
        raise InputError(
            f"term {int(block.indices[bad[0]]):,} is not between {smallest} and {smallest + n_terms - 1:,}, the numbers"
            " of the vocabulary",
            path=path,
            line=int(block.lines[document]),
        )
