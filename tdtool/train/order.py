"""In which order an epoch takes the images: a function of the seed and the epoch, and of nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.train.draws import keys

#: A store of more bytes is read in runs. A constant, not the memory of this machine: a run may be resumed on another.
LARGE_STORE = 8 << 30
#: Bytes of a window, which is shuffled as a whole, and chunks of a window, which are where it is read from.
WINDOW_BYTES, CHUNKS = 1 << 30, 256
_CHUNK_PURPOSE, _ROW_PURPOSE = 1, 2


def epoch_order(n: int, *, seed: int, epoch: int, window: int | None = None) -> NDArray[np.int64]:
    """A permutation of n places, (n,) int64. ValueError: window < 1.

    window : None, every order is as likely; a number of places, where these lie on a disk that is slow at single
    reads: chunks of window / CHUNKS places are shuffled, and then the places of each window, which is so many chunks in
    that order. Neighbours of a chunk stay within a window, and a window fits in memory.
    """
    places = np.arange(n, dtype=np.int64)
    if window is None or window >= n:
        return _shuffled(places, (seed, epoch, _ROW_PURPOSE))
    if window < 1:
        raise ValueError(f"a window of {window} places")
    chunk = -(-window // CHUNKS)
    chunks = _shuffled(np.arange(-(-n // chunk), dtype=np.int64), (seed, epoch, _CHUNK_PURPOSE))
    places = (chunks[:, None] * chunk + np.arange(chunk)).ravel()
    places = places[places < n]  # the last chunk is shorter
    order = np.argsort(_row_keys(places, seed, epoch), kind="stable")
    return places[order[np.argsort(order // window, kind="stable")]]


def window_of(n: int, stored_bytes: int) -> int | None:
    """The window for n images of so many bytes together: None, unless that is a large store."""
    return max(1, int(n * (WINDOW_BYTES / stored_bytes))) if stored_bytes > LARGE_STORE else None


def _row_keys(places: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.uint64]:
    return keys((seed, epoch, _ROW_PURPOSE), places)


def _shuffled(places: NDArray[np.int64], parts: tuple[int, ...]) -> NDArray[np.int64]:
    """Sorted by hash; equal hashes, about never, stay as they are."""
    return places[np.argsort(keys(parts, places), kind="stable")]
