"""Opening an input: a file, a compressed file or standard input, as one stream of bytes with caps on its growth."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from tdtool.config import SourceConfig
from tdtool.data.readers.decompress import (
    MAGIC_BYTES,
    SUFFIXES,
    DamagedError,
    Reader,
    TruncatedError,
    compression_of,
    decompressor,
)
from tdtool.data.readers.places import name_of, open_binary, size, trouble
from tdtool.data.readers.source_types import OnBytes, ignore
from tdtool.errors import InputError

#: Small streams may grow as they like; above this many bytes the ratio counts.
RATIO_COUNTS_FROM = 100 << 20
#: Formats that need to jump about are held in memory when they come compressed or through a pipe, up to this size.
LARGEST_IN_MEMORY = 2 << 30
#: How much of a stream is looked at to recognise it.
HEAD_BYTES = 1 << 20

_STEP = 1 << 20


class GrowthCap:
    """The guard against bombs: tells when what came out is too much for what went in."""

    def __init__(self, path: str, config: SourceConfig) -> None:
        self._path, self._config = path, config
        self.n_in, self.n_out = 0, 0

    def check(self) -> None:
        """Raise InputError when a cap is passed."""
        if self.n_out > self._config.max_bytes:
            raise InputError(
                f"it holds more than the {self._config.max_bytes:,} bytes that are allowed",
                path=self._path,
                hint="decompress it yourself first if that is what you want",
            )
        if self.n_out > RATIO_COUNTS_FROM and self.n_out > self._config.max_ratio * max(self.n_in, 1):
            raise InputError(
                f"it grows to more than {self._config.max_ratio:,} times its size when decompressed"
                f" ({self.n_in:,} bytes gave {self.n_out:,} so far)",
                path=self._path,
                hint="decompress it yourself first if that is what you want",
            )


class _Raw:
    """The bytes on disk, counted."""

    def __init__(self, file: BinaryIO, path: str, cap: GrowthCap) -> None:
        self._file, self._path, self._cap = file, path, cap
        self.on_bytes: OnBytes = ignore
        self.head = b""

    def read(self, n: int, /) -> bytes:
        if self.head:
            data, self.head = self.head[:n], self.head[n:]
            return data
        return self.read_on(n)

    def read_on(self, n: int) -> bytes:
        """Past the head, which stays."""
        try:
            data = self._file.read(n)
        except OSError as error:
            raise trouble(self._path, error) from error
        self._count(len(data))
        return data

    def readinto(self, view: memoryview) -> int:
        if self.head:
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)
        try:
            n = self._file.readinto(view)  # type: ignore[attr-defined]
        except OSError as error:
            raise trouble(self._path, error) from error
        self._count(n)
        return int(n)

    def _count(self, n: int) -> None:
        self._cap.n_in += n
        self.on_bytes(n)


class ByteStream:
    """An opened input: bytes after decompression, counted and capped. A context manager.

    plain : the bytes are what they are, even if they begin as compressed data does.
    """

    def __init__(self, file: BinaryIO, path: str, config: SourceConfig, *, plain: bool = False) -> None:
        self.path = path
        self._file = file
        self._cap = GrowthCap(path, config)
        self._raw = _Raw(file, path, self._cap)
        self._head = b""
        with contextlib.ExitStack() as on_error:
            on_error.callback(self.close)
            while len(self._raw.head) < MAGIC_BYTES and (data := self._raw.read_on(MAGIC_BYTES)):
                self._raw.head += data
            on_error.pop_all()
        self.compression = None if plain else compression_of(self._raw.head)
        self._source: Reader = self._raw if self.compression is None else decompressor(self._raw, self.compression)

    def listen(self, on_bytes: OnBytes) -> None:
        """Tell on_bytes of the bytes taken from disk: those so far, and all that come."""
        on_bytes(self._cap.n_in)
        self._raw.on_bytes = on_bytes

    def read(self, n: int, /) -> bytes:
        """Exactly n bytes, fewer only at the end."""
        parts = [self._head[:n]]
        self._head = self._head[n:]
        missing = n - len(parts[0])
        while missing > 0 and (data := self._pull(missing)):
            parts.append(data)
            missing -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: NDArray[np.uint8]) -> int:
        """Fill `buffer` ((n,) uint8, contiguous); returns how many bytes came, fewer than n only at the end."""
        view, filled = memoryview(buffer), 0  # type: ignore[arg-type]
        while filled < len(view):
            if self._head or self.compression is not None:
                data = self.read(min(_STEP, len(view) - filled))
                view[filled : filled + len(data)] = data
                n = len(data)
            else:
                n = self._raw.readinto(view[filled:])
                self._grown(n)
            if n == 0:
                break
            filled += n
        return filled

    def peek(self, n: int) -> bytes:
        """The next n bytes (fewer only at the end), which stay to be read."""
        while len(self._head) < n and (data := self._pull(n - len(self._head))):
            self._head += data
        return self._head[:n]

    def whole(self) -> io.BytesIO:
        """All that is left, in memory, for formats that jump about."""
        data = self.read(LARGEST_IN_MEMORY + 1)
        if len(data) > LARGEST_IN_MEMORY:
            raise InputError(
                "this format cannot be streamed, and it is larger than 2 GB",
                path=self.path,
                hint="decompress it to a file first",
            )
        return io.BytesIO(data)

    def _pull(self, n: int) -> bytes:
        try:
            data = self._source.read(min(n, _STEP))
        except TruncatedError as error:
            raise InputError(
                f"the {self.compression} data ends too early, after {self._cap.n_out:,} bytes of content",
                path=self.path,
                hint="the file is incomplete: copy or download it again",
            ) from error
        except DamagedError as error:
            raise InputError(
                f"the {self.compression} data is damaged after {self._cap.n_out:,} bytes of content ({error})",
                path=self.path,
                hint="copy or download the file again",
            ) from error
        self._grown(len(data))
        return data

    def _grown(self, n: int) -> None:
        self._cap.n_out += n
        self._cap.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; standard input stays open for whoever owns it."""
        if self._file is not sys.stdin.buffer:
            self._file.close()


class Input:
    """A named input that can be opened: a file as often as one likes, a pipe once.

    path : as the user wrote it, for messages; place : where it is; name : file name without a compression suffix, ""
    for standard input; size : bytes on disk or None; head : its first bytes after decompression (at most HEAD_BYTES),
    for recognising it.
    """

    def __init__(self, path: str, config: SourceConfig, *, place: str | None = None) -> None:
        self.config = config
        self.path = "standard input" if path == "-" else path
        self.place = place or path
        self.name = "" if path == "-" else _without_suffix(name_of(path))
        self._open: Callable[[], BinaryIO] = self._standard_input if path == "-" else self._file
        self.size = None if path == "-" else size(self.place)
        self.seekable = self.size is not None
        self._kept: ByteStream | None = None
        stream = ByteStream(self._open(), self.path, config)
        self.compression = stream.compression
        with contextlib.ExitStack() as when_done:
            when_done.enter_context(stream)
            self.head = stream.peek(HEAD_BYTES)
            if not self.seekable:
                self._kept = stream
                when_done.pop_all()
        self.is_whole_head = len(self.head) < HEAD_BYTES

    def _standard_input(self) -> BinaryIO:
        return sys.stdin.buffer

    def _file(self) -> BinaryIO:
        return open_binary(self.place)

    def open(self, on_bytes: OnBytes = ignore) -> ByteStream:
        """A stream from the first byte on; a second time only for files."""
        if self.seekable:
            stream = ByteStream(self._open(), self.path, self.config)
        elif self._kept is not None:
            stream, self._kept = self._kept, None
        else:
            raise InputError(
                "a pipe can be read only once, and this needs a second pass", path=self.path, hint="save it to a file"
            )
        stream.listen(on_bytes)
        return stream

    def open_seekable(self, on_bytes: OnBytes = ignore) -> BinaryIO:
        """A file one can jump about in: the file itself, or its decompressed content in memory."""
        if self.seekable and self.compression is None:
            return io.BufferedReader(self._open())  # type: ignore[type-var]
        with self.open(on_bytes) as stream:
            return stream.whole()


def _without_suffix(name: str) -> str:
    lower = name.lower()
    aliases = {".tgz": ".tar", ".tbz2": ".tar", ".txz": ".tar", ".tzst": ".tar"}
    for suffix, instead in aliases.items():
        if lower.endswith(suffix):
            return name[: -len(suffix)] + instead
    return next((name[: -len(suffix)] for suffix in SUFFIXES if lower.endswith(suffix)), name)
