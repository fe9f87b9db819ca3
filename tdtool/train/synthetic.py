"""Images of noise, for measuring how fast a net is trained: no disk, no decoding."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
from numpy.typing import NDArray

from tdtool.config import TrainConfig
from tdtool.train.draws import keys, words

#: Bytes of noise that the images are cut out of, about.
_NOISE_BYTES = 1 << 26
#: Batches that there are images for, a tenth of which is scored, and the least that counts as a batch here.
_BATCHES, _SMALLEST = 20, 64


@dataclasses.dataclass(frozen=True)
class SyntheticImages:
    """What `train` asks of images: see data/image_store.py.

    pixels : (n, H, W, 3) uint8, a view of one strip of noise in which each image begins a little after the one before:
    all differ, and together they take no more than 64 MiB and one image. labels : (n,) int64; splits : (n,) uint8.
    """

    n: int
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: NDArray[np.uint8]
    pixels: NDArray[np.uint8]
    height: NDArray[np.int64]
    width: NDArray[np.int64]
    digest: str

    def names(self, i: int) -> str:
        """What messages call image i."""
        return f"synthetic {i}"

    def encoded(self, i: int) -> bytes:
        """There are no files: ValueError."""
        raise ValueError(f"image {i} is pixels, no file")


def synthetic(n: int, *, image_size: int, n_classes: int, seed: int = 0) -> SyntheticImages:
    """n images of image_size rows and columns; the last tenth is for validation. ValueError: sizes below 1."""
    if min(n, image_size, n_classes) < 1:
        raise ValueError(f"{n} images of {image_size} pixels in {n_classes} classes: at least one of each")
    size = image_size * image_size * 3
    apart = max(1, min(size, _NOISE_BYTES // n))
    length = (n - 1) * apart + size
    noise = words(keys((seed,), np.arange(-(-length // 8 // 64) + 1)), 64).view(np.uint8).ravel()
    pixels = np.lib.stride_tricks.as_strided(
        noise, (n, image_size, image_size, 3), (apart, image_size * 3, 3, 1), writeable=False
    )
    labels = (words(keys((seed, 1), np.arange(n)), 1)[:, 0] % np.uint64(n_classes)).astype(np.int64)
    sides = np.full(n, image_size, np.int64)
    about = f"synthetic {n} {image_size} {n_classes} {seed}"
    return SyntheticImages(
        n=n,
        classes=tuple(f"class {number}" for number in range(n_classes)),
        labels=labels,
        splits=np.where(np.arange(n) < n - n // 10, 0, 1).astype(np.uint8),
        pixels=pixels,
        height=sides,
        width=sides,
        digest=hashlib.blake2b(about.encode(), digest_size=16).hexdigest(),
    )


def synthetic_for(config: TrainConfig) -> SyntheticImages:
    """The images of `--data synthetic` for a run: so many batches that a rate can be told, so few that epochs end."""
    n = _BATCHES * max(_SMALLEST, config.batch)
    return synthetic(n, image_size=config.net.image_size, n_classes=config.net.n_classes, seed=config.seed)
