"""What every reader of counts needs: whole lines to parse, entries made canonical, and the wording of what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tdtool.data.batches import CountBatch
from tdtool.data.ledger import Ledger
from tdtool.data.readers.source_types import EMPTY
from tdtool.data.readers.streams import ByteStream
from tdtool.errors import InputError
from tdtool.kernels import counts_cpu

_BLOCK = 8 << 20
#: Lines of counts beyond this are no lines of counts.
_LONGEST_LINE = 256 << 20

_WRONG = {
    counts_cpu.NOT_A_NUMBER: "there is something that is not a number",
    counts_cpu.NEGATIVE: "a count or number is negative",
    counts_cpu.FRACTION: "a count is not a whole number",
    counts_cpu.TOO_LARGE: f"a number is larger than {counts_cpu.LARGEST:,}",
    counts_cpu.WRONG_FIELDS: "the line does not have the right number of fields",
    counts_cpu.NO_COLON: "an entry is not of the form word:count",
    counts_cpu.WRONG_LENGTH: "the number at the start of the line is not the number of its entries",
}
_HINTS = {
    counts_cpu.NEGATIVE: "a topic model needs counts: whole numbers from 0 on",
    counts_cpu.FRACTION: "a topic model needs counts, not weights such as tf-idf",
}


def whole_lines(stream: ByteStream, path: str, first_line: int) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """The stream in blocks of whole lines, with the number of each block's first line.

    A block is valid until the next is asked for; a last line gets its newline when it has none.
    """
    buffer, filled, line = np.empty(_BLOCK, np.uint8), 0, first_line
    final = False
    while not final:
        filled += stream.readinto(buffer[filled:])
        final = filled < buffer.size
        if final and filled and buffer[filled - 1] != 10:
            buffer[filled], filled = 10, filled + 1
        stop = _behind_last_newline(buffer[:filled])
        if stop == 0 and not final:
            if buffer.size >= _LONGEST_LINE:
                raise InputError("the line is longer than 256 MB", path=path, line=line)
            buffer = np.concatenate([buffer, np.empty(buffer.size, np.uint8)])
            continue
        if stop:
            yield buffer[:stop], line
            line += int(np.count_nonzero(buffer[:stop] == 10))
        buffer[: filled - stop] = buffer[stop:filled].copy()
        filled -= stop


def _behind_last_newline(block: NDArray[np.uint8]) -> int:
    """The position behind the last newline, 0 when there is none."""
    window = 4096
    while True:
        found = np.flatnonzero(block[-window:] == 10)
        if len(found):
            return max(block.size - window, 0) + int(found[-1]) + 1
        if window >= block.size:
            return 0
        window *= 8


def wrong_line(status: int, path: str, line: int) -> InputError:
    """The error for a status of kernels/counts_cpu.py."""
    return InputError(_WRONG[status], path=path, line=line, hint=_HINTS.get(status))


def count_batch(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int64],
    counts: NDArray[np.int64],
    numbers: NDArray[np.int64],
    lines: NDArray[np.int64],
    path: str,
    ledger: Ledger,
) -> Iterator[CountBatch]:
    """Make entries canonical: ascending in each document, each term once, no zeros, no empty documents.

    indptr : (D + 1,); indices, counts : (nnz,), indices from 0; numbers : (D,) that name the documents; lines : (D,).
    """
    rows = np.repeat(np.arange(len(numbers), dtype=np.int64), np.diff(indptr))
    if not counts.all():
        kept = counts > 0
        rows, indices, counts = rows[kept], indices[kept], counts[kept]
    step = np.diff(indices)
    same_row = np.diff(rows) == 0
    if bool(((step <= 0) & same_row).any()):
        rows, indices, counts = _sorted_and_merged(rows, indices, counts, path)
    lengths = np.bincount(rows, minlength=len(numbers))
    filled = lengths > 0
    for line in lines[~filled].tolist():
        ledger.skip(EMPTY, path, line or None)
    n = int(filled.sum())
    if not n:
        return
    starts = np.zeros(n + 1, np.int64)
    np.cumsum(lengths[filled], out=starts[1:])
    ids = [str(number) for number in numbers[filled].tolist()]
    ledger.use(n)
    yield CountBatch(starts, indices.astype(np.int32), counts, ids, path, lines[filled])


def _sorted_and_merged(
    rows: NDArray[np.int64], indices: NDArray[np.int64], counts: NDArray[np.int64], path: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    order = np.lexsort((indices, rows))
    rows, indices, counts = rows[order], indices[order], counts[order]
    first = np.flatnonzero(np.r_[True, (np.diff(rows) != 0) | (np.diff(indices) != 0)])
    counts = np.add.reduceat(counts, first)
    if int(counts.max()) > counts_cpu.LARGEST:
        raise InputError(
            f"the counts of one word in one document add up to more than {counts_cpu.LARGEST:,}", path=path
        )
    return rows[first], indices[first], counts
