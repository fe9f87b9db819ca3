"""From stored images to pixels of the net's size: cut, resized, varied; what cannot be decoded is counted and named."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.config import AugmentConfig
from tdtool.data.image_decode import decode
from tdtool.errors import InputError
from tdtool.train.augment import (
    SMALL,
    Part,
    Views,
    colour_images,
    cut_part,
    middle_square,
    random_part,
    scored_square,
    shift_images,
)

if TYPE_CHECKING:
    from tdtool.data.image_store import ImageSet

#: Bad images that the final message names.
_NAMED = 3


class Loader:
    """Loads images of a set, from any number of threads at a time.

    indices : (n,) int64, the images that are in use; size : rows and columns of what the net sees; training : bad
    images are replaced by the next good one in `indices`, else they are left out; max_bad : how many of them may be
    bad, below 1 as a share: InputError beyond that.
    """

    def __init__(
        self,
        images: ImageSet,
        indices: NDArray[np.int64],
        size: int,
        config: AugmentConfig,
        *,
        training: bool,
        max_bad: float,
    ) -> None:
        self._images, self._size, self._crop = images, size, config.crop and training
        self._training, self._limit = training, max_bad if max_bad >= 1 else max_bad * len(indices)
        self.indices = indices
        self._bad: dict[int, str] = {}
        self._lock = threading.Lock()
        #: numba knows plain arrays only.
        self._pixels = None if images.pixels is None else images.pixels.view(np.ndarray)

    @property
    def cheap(self) -> bool:
        """Whether images are stored just as the net sees them, so that a batch is a matter of a millisecond."""
        return self._pixels is not None and self._size <= SMALL and self._pixels.shape[1:3] == (self._size, self._size)

    @property
    def bad(self) -> dict[int, str]:
        """Images that could not be decoded so far, and why, by their index."""
        with self._lock:
            return dict(self._bad)

    def load(
        self, places: NDArray[np.int64], views: Views | None, out: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Write the images at `places` of `indices` into out.

        places : (B,) int64; views : what training varies, or None; out : (B, S, S, 3) uint8. Returns the indices of
        the images that were loaded, (B,) int64, and which of them are good, (B,) bool.
        """
        indices, good = self.indices[places], np.ones(len(places), np.bool_)
        if self.cheap and self._pixels is not None:
            shift_images(self._pixels, indices, views, out)
        else:
            squares = out if views is None or self._size > SMALL else np.empty_like(out)
            for number, place in enumerate(places.tolist()):
                indices[number], good[number] = self._load_one(place, number, views, squares[number])
            if squares is not out:
                shift_images(squares, np.arange(len(places)), views, out)
        if views is not None:
            colour_images(out, views)
        return indices, good

    def _load_one(self, place: int, number: int, views: Views | None, out: NDArray[np.uint8]) -> tuple[int, bool]:
        """The index of the image that was written into out, and whether it is a good one."""
        for tried in range(len(self.indices)):
            index = int(self.indices[(place + tried) % len(self.indices)])
            try:
                image, part = self._image_and_part(index, number, views)
            except InputError as error:
                self._note_bad(index, error)
                if not self._training:
                    out[...] = 0
                    return index, False
                continue
            cut_part(image, part, out, flip=views is not None and self._size > SMALL and bool(views.flip[number]))
            return index, True
        raise InputError("no image can be decoded", path=self._images.names(int(self.indices[place])))

    def _image_and_part(self, index: int, number: int, views: Views | None) -> tuple[NDArray[np.uint8], Part]:
        """The pixels of an image, perhaps made smaller while it is decoded, and the part of them that is wanted."""
        height, width = int(self._images.height[index]), int(self._images.width[index])
        if self._size <= SMALL:
            part = middle_square(height, width)
        elif views is None or not self._crop:
            part = scored_square(height, width, self._size)
        else:
            part = random_part(height, width, views.parts[number])
        if self._pixels is not None:
            return self._pixels[index], part
        wanted = int(np.ceil(min(height, width) * self._size / min(part[2:])))
        image = decode(self._images.encoded(index), name=str(index), size_hint=wanted)
        down, across = image.shape[0] / height, image.shape[1] / width
        return image, (part[0] * down, part[1] * across, part[2] * down, part[3] * across)

    def _note_bad(self, index: int, error: InputError) -> None:
        with self._lock:
            if index in self._bad:
                return
            self._bad[index] = error.what
            n_bad, first = len(self._bad), list(self._bad)[:_NAMED]
        instead = "the next one is taken instead" if self._training else "it is left out"
        (log.warn if n_bad == 1 else log.detail)(f"{self._images.names(index)}: {error.what}; {instead}")
        if n_bad > self._limit:
            names = ", ".join(self._images.names(bad) for bad in first)
            raise InputError(
                f"{n_bad} of {len(self.indices)} images cannot be decoded, more than are put up with: {names} ...",
                hint="tdtool ingest --as images leaves them out and lists them; --max-bad says how many may be bad",
            )
