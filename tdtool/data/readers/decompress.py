"""Decompression as a stream: gzip, bzip2, xz and zstd, in members one after the other, never more than asked for."""

from __future__ import annotations

import bz2
import io
import lzma
import re
import zlib
from collections.abc import Callable
from typing import Protocol

#: How each compression begins (bzip2 so that no text does), and how it is called.
_MAGIC = re.compile(
    rb"(?P<gzip>\x1f\x8b\x08)|(?P<bzip2>BZh[1-9](1AY&SY|\x17rE8P\x90))|(?P<xz>\xfd7zXZ\x00)|(?P<zstd>\x28\xb5\x2f\xfd)"
)
#: So many bytes tell the compression.
MAGIC_BYTES = 10
#: File name suffixes that a compression adds.
SUFFIXES = (".gz", ".bz2", ".xz", ".zst")

_CHUNK = 1 << 18


class TruncatedError(Exception):
    """The compressed data ends before it is complete."""


class DamagedError(Exception):
    """The compressed data contradicts itself."""


class Reader(Protocol):
    """Something bytes come out of: read(n) gives at most n of them, and none only at the end."""

    def read(self, n: int, /) -> bytes: ...


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def compression_of(head: bytes) -> str | None:
    """The compression a file has, by its first bytes."""
    found = _MAGIC.match(head)
    return None if found is None else next(name for name, magic in found.groupdict().items() if magic)


def decompressor(raw: Reader, compression: str) -> Reader:
    """A reader of what `raw` (compressed as named) holds. Its read raises TruncatedError or DamagedError."""
    if compression == "zstd":
        return _Zstd(raw)
    makers: dict[str, Callable[[], _Decompressor]] = {
        "gzip": _Gzip,
        "bzip2": bz2.BZ2Decompressor,
        "xz": lzma.LZMADecompressor,
    }
    return _Members(raw, makers[compression], compression)


class _Gzip:
    """zlib's object with the manners of bz2's and lzma's."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


class _Members:
    """Compressed members, one after the other until the raw bytes end; zeros behind the last one are padding."""

    def __init__(self, raw: Reader, make: Callable[[], _Decompressor], compression: str) -> None:
        self._raw: Reader = raw
        self._make, self._compression = make, compression
        self._current: _Decompressor | None = make()

    def read(self, n: int, /) -> bytes:
        while self._current is not None:
            try:
                out = self._step(self._current, n)
            except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
                raise DamagedError(str(error)) from error
            if out:
                return out
        return b""

    def _step(self, current: _Decompressor, n: int) -> bytes:
        if current.eof:
            self._next_member(current.unused_data)
            return b""
        data = self._raw.read(_CHUNK) if current.needs_input else b""
        if not data and current.needs_input:
            # A decoder may still hold output that it was not asked for.
            out = current.decompress(b"", n)
            if out or current.eof:
                return out
            raise TruncatedError
        return current.decompress(data, n)

    def _next_member(self, rest: bytes) -> None:
        rest = rest.lstrip(b"\0")
        while not rest:
            rest = self._raw.read(_CHUNK)
            if not rest:
                self._current = None
                return
            rest = rest.lstrip(b"\0")
        while len(rest) < MAGIC_BYTES and (more := self._raw.read(_CHUNK)):
            rest += more
        if compression_of(rest) != self._compression:
            raise DamagedError("something else follows the compressed data")
        self._current, self._raw = self._make(), _Prefixed(rest, self._raw)


class _Prefixed:
    """A reader with some bytes put back in front."""

    def __init__(self, head: bytes, raw: Reader) -> None:
        self._head = head
        self._raw: Reader = raw._raw if isinstance(raw, _Prefixed) and not raw._head else raw

    def read(self, n: int, /) -> bytes:
        if self._head:
            head, self._head = self._head[:n], self._head[n:]
            return head
        return self._raw.read(n)


class RawFile(io.RawIOBase):
    """A Reader in the dress that pyarrow wants; who asks for everything gets a block at a time."""

    def __init__(self, raw: Reader) -> None:
        self._inner = raw

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, n: int = -1, /) -> bytes:
        """As io.RawIOBase has it."""
        return self._inner.read(n if n >= 0 else _CHUNK)


class _Zstd:
    """zstd by way of pyarrow, which the base install has (the standard library learns it in Python 3.14)."""

    def __init__(self, raw: Reader) -> None:
        import pyarrow as pa

        self._stream = pa.CompressedInputStream(pa.PythonFile(RawFile(raw), mode="r"), "zstd")

    def read(self, n: int, /) -> bytes:
        import pyarrow as pa

        try:
            return self._stream.read(n)
        except (pa.ArrowException, OSError) as error:
            if "Truncated" in str(error):
                raise TruncatedError from error
            raise DamagedError(str(error)) from error
