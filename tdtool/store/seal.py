"""A digest of the whole file, after its last byte: HDF5 stops reading before it, and no flipped bit gets past it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tdtool.store.digest import bytes_digest

_MARK = b"\ntdtool seal BLAKE2b-128 "
LENGTH = len(_MARK) + 32 + 1
_BLOCK = 1 << 22


def add_seal(path: Path) -> None:
    """Append the digest of all bytes of a finished file."""
    with path.open("r+b") as file:
        digest = bytes_digest(_pieces(file, path.stat().st_size))
        file.seek(0, os.SEEK_END)
        file.write(_MARK + digest.encode() + b"\n")


def check_seal(path: Path) -> str | None:
    """What is wrong with the seal, or None when every byte is as it was written."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - LENGTH))
        seal = file.read(LENGTH)
        if not seal.startswith(_MARK) or len(seal) != LENGTH:
            return (
                "the seal at the end of the file is missing or damaged: the file was cut or written by another program"
            )
        file.seek(0)
        digest = bytes_digest(_pieces(file, size - LENGTH))
    if seal != _MARK + digest.encode() + b"\n":
        return "the bytes of the file are not those that were written"
    return None


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (piece := file.read(min(_BLOCK, size))):
        size -= len(piece)
        yield piece
