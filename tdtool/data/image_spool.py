"""Images between the source and the store: their number and sizes are only known when the last has come."""

from __future__ import annotations

import tempfile
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

    directory : where the disk has room. has_files, has_pixels : of all images that came.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: IO[bytes] = self._scratch()
        self._pixels: IO[bytes] = self._scratch()
        self._maps: dict[str, NDArray[np.uint8]] = {}
        self.names = list[str]()
        self.labels, self.splits = list[int | None](), list[int | None]()
        self._numbers = list[tuple[int, int, int]]()  # height, width, bytes of the file
        self.has_files = self.has_pixels = True
        self._shape: tuple[int, ...] | None = None
        self.n_bad = 0

    def add(self, taken: Taken) -> None:
        """The next image. ResourceError where the disk is full."""
        self.names.append(taken.name)
        self.labels.append(taken.label)
        self.splits.append(taken.split)
        self._numbers.append((taken.height, taken.width, len(taken.data or b"")))
        try:
            self._keep(taken)
        except OSError as error:
            if is_full(error):
                hint = "free some space there, or write elsewhere with -o"
                raise ResourceError("the disk is full", path=self._directory, hint=hint) from error
            raise

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
            self._pixels.write(taken.pixels.tobytes())

    @property
    def heights(self) -> NDArray[np.int32]:
        """Rows of each image : (n,)."""
        return self._column(0).astype(np.int32)

    @property
    def widths(self) -> NDArray[np.int32]:
        """Columns of each image : (n,)."""
        return self._column(1).astype(np.int32)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Bytes of each image's file : (n,)."""
        return self._column(2)

    def pixels(self) -> NDArray[np.uint8]:
        """Pixels of all images : (n, H, W, 3), mapped."""
        return self._mapped(self._pixels).reshape(len(self.names), *(self._shape or (0, 0, 3)))

    def encoded(self, index: int) -> bytes:
        """The file of one image."""
        if "files" not in self._maps:
            self._maps["files"] = self._mapped(self._files)
            self._stops = np.cumsum(self.lengths)
        stop = int(self._stops[index])
        return self._maps["files"][stop - self._numbers[index][2] : stop].tobytes()

    def _column(self, number: int) -> NDArray[np.int64]:
        return np.array([row[number] for row in self._numbers], np.int64)

    def _mapped(self, file: IO[bytes]) -> NDArray[np.uint8]:
        file.flush()
        size = file.seek(0, 2)
        return np.memmap(file, np.uint8, "r", shape=(size,)) if size else np.empty(0, np.uint8)

    def _scratch(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._directory, buffering=_BUFFER)  # noqa: SIM115 -- closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._maps.clear()
        self._files.close()
        self._pixels.close()
