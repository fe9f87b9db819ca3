"""Tell the system which images will be read soon, so that the disk reads them in runs and not one by one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tdtool.data.image_store import ImageSet


def read_ahead(images: ImageSet, indices: NDArray[np.int64]) -> int:
    """Ask for images `indices`, (n,) int64 in any order; returns how many runs they were.

    The system reads them into its cache while others go on. Where it cannot be asked (macOS), or the images are no
    mapped file, nothing is done: 0.
    """
    mapped = images.pixels if images.pixels is not None else images.data
    if not isinstance(mapped, np.memmap) or not hasattr(os, "posix_fadvise") or not len(indices):
        return 0
    indices = np.unique(indices)
    starts = np.flatnonzero(np.diff(indices, prepend=-2) > 1)
    firsts, lasts = indices[starts], indices[np.append(starts[1:], len(indices)) - 1] + 1
    if images.starts is None:
        size = mapped[0].nbytes
        begins, ends = firsts * size, lasts * size
    else:
        begins, ends = images.starts[firsts], images.starts[lasts]
    file = os.open(images.path, os.O_RDONLY)
    try:
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            os.posix_fadvise(file, mapped.offset + begin, end - begin, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(file)
    return len(begins)
