"""Looking at one image on its way into a store: read, checked, decoded where that is wanted."""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdtool.config import ImagesConfig
from tdtool.data.image_decode import decode, read_header, resized
from tdtool.data.readers.image_types import EncodedImage, PixelBlock
from tdtool.data.readers.places import read_bytes
from tdtool.errors import InputError

#: Images up to this size are stored as pixels where all are of one.
SMALL = 96


class Taken(NamedTuple):
    """One image that was looked at. reason : why it cannot be used, None for a good one; place : where it is;
    data : its file, None where only the pixels are kept; pixels : (H, W, 3) uint8, None where only the file is."""

    name: str
    place: str
    label: int | None = None
    split: int | None = None
    height: int = 0
    width: int = 0
    data: bytes | None = None
    pixels: NDArray[np.uint8] | None = None
    reason: str | None = None


class Taker:
    """What is done to each image, by several threads. path : of the source, for messages.

    With `config.size` images are brought to it, and their files are not kept. Else small images are decoded as long as
    all that came are of one size; after that pixels cannot be stored, so headers do.
    """

    def __init__(self, config: ImagesConfig, path: str) -> None:
        self._config, self._path = config, path
        self._lock = threading.Lock()
        self._size: tuple[int, int] | None = None
        self._uniform = config.encoding != "files"

    def take(self, task: list[EncodedImage] | PixelBlock) -> list[Taken]:
        """The images of a task, in its order."""
        return [self._file(image) for image in task] if isinstance(task, list) else self._block(task)

    def _file(self, image: EncodedImage) -> Taken:
        place = image.data if isinstance(image.data, str) else f"{self._path}:{image.name}"
        try:
            data = read_bytes(image.data) if isinstance(image.data, str) else image.data
            taken = Taken(image.name, place, image.label, image.split)
            return self._resized(taken, data) if self._config.size else self._as_it_is(taken, data)
        except InputError as error:
            return Taken(image.name, place, reason=error.what.partition(" (")[0])

    def _resized(self, taken: Taken, data: bytes) -> Taken:
        size = self._config.size or 0
        pixels = resized(decode(data, name=taken.place, size_hint=size), size)
        return taken._replace(height=size, width=size, pixels=pixels)

    def _as_it_is(self, taken: Taken, data: bytes) -> Taken:
        header = read_header(data, name=taken.place)
        size = header.height, header.width
        small = max(size) <= SMALL
        pixels = None
        if small or self._config.encoding == "pixels":
            if self._still_uniform(size):
                pixels = decode(data, name=taken.place)
            elif small:
                decode(data, name=taken.place)  # cheap, and finds damage that a header does not show
        else:
            self._uniform = False
        return taken._replace(height=size[0], width=size[1], data=data, pixels=pixels)

    def _still_uniform(self, size: tuple[int, int]) -> bool:
        with self._lock:
            self._size = self._size or size
            self._uniform = self._uniform and self._size == size
            return self._uniform

    def _block(self, block: PixelBlock) -> list[Taken]:
        pixels = block.pixels
        if self._config.size:
            pixels = np.stack([resized(image, self._config.size) for image in pixels]) if len(pixels) else pixels
        _, height, width, _ = pixels.shape
        rows = zip(block.names, block.labels.tolist(), pixels, strict=True)
        return [
            Taken(name, f"{self._path}:{name}", label, block.split, height, width, pixels=image)
            for name, label, image in rows
        ]
