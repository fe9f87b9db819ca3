"""Images between the source and the store: their number and sizes are only known when the last has come."""

from __future__ import annotations

import contextlib
import os
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from tdtool.data.image_take import Taken
from tdtool.errors import ResourceError
from tdtool.store.atomic import is_full

_BUFFER = 1 << 22


class Spool:
    """Files and pixels of images in scratch files without a name, and what is known of each. A context manager.

    directory : where the disk has room. has_files, has_pixels : of all images that came (pixels: all of one size).
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files, self._pixels = self._scratch(), self._scratch()
        self.names = list[str]()
        self.labels, self.splits = list[int | None](), list[int | None]()
        self._heights, self._widths = array("i"), array("i")
        self._starts = array("q", [0])
        self.has_files = self.has_pixels = True
        self._shape: tuple[int, ...] | None = None
        self.n_bad = 0

    def add(self, taken: Taken) -> None:
        """The next image. ResourceError where the disk is full."""
        self.names.append(taken.name)
        self.labels.append(taken.label)
        self.splits.append(taken.split)
        self._heights.append(taken.height)
        self._widths.append(taken.width)
        self._starts.append(self._starts[-1] + len(taken.data or b""))
        with self._told():
            self._keep(taken)

    @property
    def heights(self) -> NDArray[np.int32]:
        """Rows of each image : (n,)."""
        return np.array(self._heights, np.int32)

    @property
    def widths(self) -> NDArray[np.int32]:
        """Columns of each image : (n,)."""
        return np.array(self._widths, np.int32)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Bytes of each image's file : (n,)."""
        starts = np.array(self._starts, np.int64)
        return starts[1:] - starts[:-1]

    def finish(self) -> None:
        """All images have come; from here on they can be asked for. ResourceError where the disk is full."""
        with self._told():
            self._files.flush()
            self._pixels.flush()

    def pixels(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pixels of some images : (b, H, W, 3)."""
        shape = self._shape or (0, 0, 3)
        out = np.empty((len(indices), *shape), np.uint8)
        n_bytes, handle = int(np.prod(shape)), self._pixels.fileno()
        for row, index in zip(out, indices.tolist(), strict=True):
            os.preadv(handle, [row], index * n_bytes)
        return out

    def encoded(self, index: int) -> bytes:
        """The file of one image."""
        start = self._starts[index]
        return os.pread(self._files.fileno(), self._starts[index + 1] - start, start)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not is_full(error):
                raise
            hint = "free some space there, or write elsewhere with -o"
            raise ResourceError("the disk is full", path=self._directory, hint=hint) from error

    def _keep(self, taken: Taken) -> None:
        if taken.data is None:
            self.has_files = False
        else:
            self._files.write(taken.data)
        if taken.pixels is not None and self._shape is None:
            self._shape = taken.pixels.shape
        if self.has_pixels and (taken.pixels is None or taken.pixels.shape != self._shape):
            self.has_pixels = False
            self._pixels.seek(0)
            self._pixels.truncate()
        if self.has_pixels and taken.pixels is not None:
            self._pixels.write(np.ascontiguousarray(taken.pixels).data)

    def _scratch(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._directory, buffering=_BUFFER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._files, self._pixels):
            try:
                file.close()
            except OSError as failed:  # what is buffered no longer fits on the disk, and nobody wants it any more
                if error is None or not is_full(failed):
                    raise
