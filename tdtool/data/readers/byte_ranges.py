"""Parts of a file of lines: cut by bytes, read by whole lines, each line in exactly one part."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO, NamedTuple

from tdtool.config import SourceConfig
from tdtool.data.readers.places import open_binary, trouble
from tdtool.data.readers.streams import ByteStream
from tdtool.errors import InputError

_LOOK = 1 << 16


class ByteRange(NamedTuple):
    """The lines that begin in [start, stop) of a file."""

    start: int
    stop: int


def cut_bytes(n_bytes: int, split_bytes: int) -> list[ByteRange]:
    """Ranges of nearly equal length, none longer than `split_bytes`."""
    n_ranges = max(-(-n_bytes // max(split_bytes, 1)), 1)
    borders = [n_bytes * i // n_ranges for i in range(n_ranges + 1)]
    return [ByteRange(start, stop) for start, stop in pairwise(borders)]


def whole_lines_of(place: str, part: ByteRange, shown: str | None = None) -> ByteRange:
    """The exact bytes of the lines that begin in a range, newlines included; start == stop when there are none."""
    with open_binary(place) as file:
        start = _line_start(file, part.start, shown or place)
        stop = _line_start(file, part.stop, shown or place)
    return ByteRange(start, stop)


@contextlib.contextmanager
def open_range(place: str, part: ByteRange, config: SourceConfig, shown: str | None = None) -> Iterator[ByteStream]:
    """The lines that begin in a range, as a stream; nothing in it is taken for a compression or a byte order mark.

    shown : what messages call the file. Read it with whole_lines(stream, path, first_line) or row_blocks(...).
    """
    exact = whole_lines_of(place, part, shown)
    with open_binary(place) as file:
        limited = io.BufferedReader(_Limited(file, exact, shown or place), _LOOK)
        with ByteStream(limited, shown or place, config, plain=True) as stream:
            yield stream


def _line_start(file: BinaryIO, position: int, shown: str) -> int:
    """The first position from `position` on where a line begins, or the end of the file."""
    if position <= 0:
        return 0
    at = position - 1
    try:
        file.seek(at)
        while data := file.read(_LOOK):
            found = data.find(b"\n")
            if found >= 0:
                return at + found + 1
            at += len(data)
    except OSError as error:
        raise trouble(shown, error) from error
    return at


class _Limited(io.RawIOBase):
    """The bytes of a file from start to stop, and no more; fewer are an error."""

    def __init__(self, file: BinaryIO, part: ByteRange, shown: str) -> None:
        self._file, self._left, self._shown = file, part.stop - part.start, shown
        file.seek(part.start)

    def readable(self) -> bool:
        return True

    def readinto(self, view: memoryview) -> int:  # type: ignore[override]
        wanted = min(len(view), self._left)
        if not wanted:
            return 0
        n = int(self._file.readinto(view[:wanted]))  # type: ignore[attr-defined]
        if not n:
            raise InputError("it has become shorter while it was read", path=self._shown)
        self._left -= n
        return n
