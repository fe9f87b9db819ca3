"""Arrays put aside on disk while a corpus is made, so that memory does not grow with it."""

from __future__ import annotations

import errno
import os
import tempfile
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tdtool.errors import ResourceError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Piece(NamedTuple):
    """Where one array lies in a spill."""

    offset: int
    dtype: np.dtype
    size: int


class Spill:
    """A nameless file in the temporary directory: nobody else can open it, and it is gone when the process is."""

    def __init__(self) -> None:
        self.directory = tempfile.gettempdir()
        self.n_bytes = 0
        try:
            self._file = tempfile.TemporaryFile(buffering=0, prefix="tdtool-")  # noqa: SIM115 -- closed by __exit__
        except OSError as error:
            raise self._trouble(error, 0) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, array: NDArray[Any]) -> Piece:
        """Append an array of one axis; returns where it is."""
        piece = Piece(self.n_bytes, array.dtype, array.size)
        left = memoryview(np.ascontiguousarray(array).view(np.uint8).data)
        while left:
            try:
                written = os.pwrite(self._file.fileno(), left, self.n_bytes)
            except OSError as error:
                raise self._trouble(error, left.nbytes) from error
            self.n_bytes += written
            left = left[written:]
        return piece

    def get(self, piece: Piece) -> NDArray[Any]:
        """An array that was put aside: (size,) of its dtype."""
        array = np.empty(piece.size, piece.dtype)
        left, offset = array.view(np.uint8).data, piece.offset
        while left:
            n_read = os.preadv(self._file.fileno(), [left], offset)
            if not n_read:
                raise ResourceError("the scratch file was cut short while it was in use", path=self.directory)
            left, offset = left[n_read:], offset + n_read
        return array

    def _trouble(self, error: OSError, wanted: int) -> Exception:
        if error.errno not in _FULL:
            return ResourceError(f"no scratch file can be written: {error.strerror or error}", path=self.directory)
        size = (
            f"{self.n_bytes / 1e6:,.1f} MB of scratch are written and {wanted / 1e6:,.1f} MB more are needed at least"
        )
        hint = "free some space there, or set TMPDIR to a directory on a larger disk"
        return ResourceError(f"the disk of the temporary directory is full: {size}", path=self.directory, hint=hint)
