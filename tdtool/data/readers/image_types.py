"""What a reader of images hands out: encoded files or blocks of pixels, and what it knows of their classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tdtool.data.ledger import Ledger
from tdtool.data.readers.source_types import OnBytes

#: Reasons in the ledger, worded once.
NOT_AN_IMAGE = "no image of a known format"
TOO_LONG = "longer than 256 MB"
CUT_SHORT = "cut short"
OTHER_FILES = "files that are no images were passed over"
#: What images are called.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
#: Names of folders, files and arrays that say which split their images are of: 0 training, 1 validation, 2 test.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("val", "valid", "validation", "dev"), 1),
    **dict.fromkeys(("test", "testing", "t10k"), 2),
}


class EncodedImage(NamedTuple):
    """An image's file. data : its bytes, or the place they are to be read from; label : its number, None where the
    folders of `name` say the class; split : None where they say it, or nobody does."""

    name: str
    data: bytes | str
    label: int | None = None
    split: int | None = None


class PixelBlock(NamedTuple):
    """Images of one size. names : b; pixels : (b, H, W, 3) uint8; labels : (b,) int64."""

    names: list[str]
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    split: int


class ClassNames(NamedTuple):
    """What labels mean, where a source says so: names by number."""

    names: list[str]


Item: TypeAlias = EncodedImage | PixelBlock | ClassNames


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """Labelled images. format : folder, tar, zip, cifar, npz or idx; size : bytes on disk; description : one line for
    the person.

    read : (ledger, on_bytes) -> items, in an order that is the same each time; what cannot even be taken out is put
    down in the ledger; on_bytes hears of bytes read from disk.
    """

    format: str
    path: str
    size: int | None
    description: str
    read: Callable[[Ledger, OnBytes], Iterator[Item]]


def has_image_name(name: str) -> bool:
    """Whether a file is called as images are."""
    return name.lower().endswith(SUFFIXES)


def split_in(name: str) -> int | None:
    """The split that a file's name tells of: 2 for "imagenet-val-test_003.tar", None when it says nothing."""
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    found = [SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES]
    return found[-1] if found else None
