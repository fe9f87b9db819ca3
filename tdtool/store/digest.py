"""Digests of content: what an array says, not how, when or by whom it was written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

#: Rows that are turned to bytes at a time, so that hashing takes no memory of its own.
_BLOCK_BYTES = 1 << 24


class RunningDigest:
    """BLAKE2b-128 over path, dtype, shape and little-endian bytes of an array that arrives in pieces, first rows first.

    Text hashes as NUL-terminated UTF-8, whatever its storage.
    """

    def __init__(self, path: str, dtype: np.dtype | type[str], shape: Sequence[int]) -> None:
        name = "text" if dtype is str or np.dtype(dtype).kind in "OUS" else np.dtype(dtype).newbyteorder("<").str
        self._hash = hashlib.blake2b(digest_size=16)
        self._hash.update(f"{path}\n{name}\n{tuple(int(n) for n in shape)}\n".encode())

    def update(self, values: NDArray | Sequence[str]) -> None:
        """Add the next rows. values : numbers of any shape, or strings."""
        if isinstance(values, np.ndarray) and values.dtype.kind not in "OUS":
            for block in _blocks(values):
                self._hash.update(
                    np.ascontiguousarray(block, block.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data
                )
        else:
            self._hash.update(_terminated(values))

    def hexdigest(self) -> str:
        """The digest of what has arrived: 32 hexadecimal letters."""
        return self._hash.hexdigest()


def array_digest(path: str, values: NDArray | Sequence[str]) -> str:
    """Digest of a whole array. values : numbers of any shape, or strings."""
    if isinstance(values, np.ndarray):
        running = RunningDigest(path, values.dtype, values.shape)
    else:
        running = RunningDigest(path, str, (len(values),))
    running.update(values)
    return running.hexdigest()


def content_digest(schema: str, version: int, digests: Mapping[str, str]) -> str:
    """Digest of a file's content from those of its arrays. digests : path -> digest."""
    whole = hashlib.blake2b(f"{schema}\n{version}\n".encode(), digest_size=16)
    for path in sorted(digests):
        whole.update(f"{path} {digests[path]}\n".encode())
    return whole.hexdigest()


def bytes_digest(pieces: Iterable[bytes | memoryview | NDArray[np.uint8]]) -> str:
    """BLAKE2b-128 (hexadecimal) of raw bytes that arrive in pieces."""
    running = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        running.update(piece.data if isinstance(piece, np.ndarray) else piece)
    return running.hexdigest()


def as_bytes(text: str | bytes) -> bytes:
    """Text as it is stored: UTF-8, with NUL shown as U+2400 and what UTF-8 cannot hold as a backslash escape."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
    return data.replace(b"\0", "\u2400".encode()) if b"\0" in data else data


def _terminated(texts: Sequence[str | bytes] | NDArray) -> bytes:
    """Texts as they are stored, each with a NUL after it."""
    if are_clean(texts):
        return "\0".join([*cast("Sequence[str]", texts), ""]).encode()
    return b"".join(as_bytes(text) + b"\0" for text in texts)


def are_clean(texts: Sequence[str | bytes] | NDArray) -> bool:
    """Whether all are strings that UTF-8 can hold, without a NUL: nearly always, and then they need no look each."""
    if not all(type(text) is str for text in texts):
        return False
    whole = "".join(cast("Sequence[str]", texts))
    return "\0" not in whole and (whole.isascii() or _fits_utf8(whole))


def _fits_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _blocks(values: NDArray) -> Iterable[NDArray]:
    """Pieces of a few megabytes, along the first axis."""
    if values.ndim == 0 or values.nbytes <= _BLOCK_BYTES:
        return [values]
    rows = max(1, _BLOCK_BYTES * len(values) // values.nbytes)
    return (values[start : start + rows] for start in range(0, len(values), rows))
