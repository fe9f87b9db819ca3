"""The file under an HDF5 file that is being written.

HDF5 cannot be left in the middle of a failed write: it tries again when it is closed, prints, and crashes the process
at exit. So a write that fails (the disk is full) is remembered, the rest goes nowhere, HDF5 closes in peace, and
`check` raises what had happened. Signals must wait: see `shielded`.
"""

from __future__ import annotations

import os
from pathlib import Path


class Sink:
    """A file-like object for h5py's "w" mode: seek, tell, readinto, write, truncate, flush."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self._position = 0
        self._failure: BaseException | None = None

    def check(self) -> None:
        """Raise what went wrong, if anything did since the last check."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Give the handle back."""
        os.close(self._handle)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; returns the new position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: os.fstat(self._handle).st_size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Where the next byte is read or written."""
        return self._position

    def read(self, size: int) -> bytes:
        """Up to `size` bytes."""
        data = os.pread(self._handle, size, self._position)
        self._position += len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer; what lies beyond the end reads as zeros."""
        data = os.pread(self._handle, len(buffer), self._position)
        buffer[: len(data)] = data
        buffer[len(data) :] = bytes(len(buffer) - len(data))
        self._position += len(buffer)
        return len(buffer)

    def write(self, data: memoryview) -> int:
        """Write all of it, or remember why not."""
        length = len(data)
        try:
            self._write(data)
        except BaseException as error:
            self._failure = self._failure or error
        self._position += length
        return length

    def truncate(self, size: int) -> int:
        """Set the length of the file."""
        try:
            if self._failure is None:
                os.ftruncate(self._handle, size)
        except OSError as error:
            self._failure = error
        return size

    def flush(self) -> None:
        """Nothing is held back here."""

    def _write(self, data: memoryview) -> None:
        position, rest = self._position, memoryview(data).cast("B")
        while len(rest) and self._failure is None:
            written = os.pwrite(self._handle, rest, position)
            position, rest = position + written, rest[written:]
