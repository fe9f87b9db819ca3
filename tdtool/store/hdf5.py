"""The one way in and out of HDF5: files appear whole or not at all, and are looked over before they are believed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import h5py
from numpy.typing import NDArray

from tdtool.errors import InputError
from tdtool.store.atomic import check_output, replacing
from tdtool.store.reader import BROKEN, Reader
from tdtool.store.schema import FileSchema
from tdtool.store.seal import add_seal
from tdtool.store.shield import shielded
from tdtool.store.sink import Sink
from tdtool.store.writer import Stream, Writer

__all__ = ["Reader", "Stream", "Writer", "check_output", "create", "memory_map", "open"]


@contextlib.contextmanager
def create(path: Path, schema: FileSchema, *, force: bool = False) -> Iterator[Writer]:
    """Write a file of one schema: as NAME.part, synchronised, then renamed. A block that fails leaves nothing."""
    with replacing(Path(path), force) as part:
        with contextlib.closing(Sink(part)) as sink:
            file = None
            try:
                with shielded():
                    file = h5py.File(sink, "w")
                    writer = Writer(file, schema, sink.check)
                yield writer
                writer.finish()
            finally:
                with shielded():
                    if file is not None:
                        file.close()
            sink.check()
        add_seal(part)


@contextlib.contextmanager
def open(path: Path) -> Iterator[Reader]:  # noqa: A001 -- hdf5.open, as in h5py
    """Read a file that tdtool wrote. InputError when it is anything else, damaged, or points outside itself."""
    path = Path(path)
    if not path.is_file():
        what = "is a directory, not a file of tdtool" if path.is_dir() else "there is no such file"
        raise InputError(what, path=path)
    try:
        file = h5py.File(path, "r", locking="best-effort")
    except PermissionError as error:
        raise InputError("no permission to read it", path=path) from error
    except OSError as error:
        raise InputError(_why_unreadable(path), path=path) from error
    with file:
        yield _reader(file, path)


def memory_map(path: Path, dataset: str) -> NDArray:
    """A contiguous array of a store, as it lies on disk : read-only, any shape and dtype of the schema."""
    with open(path) as reader:
        return reader.memory_map(dataset)


def _reader(file: h5py.File, path: Path) -> Reader:
    try:
        return Reader(file, path)
    except BROKEN as error:
        raise InputError("the file is damaged", path=path, hint="restore it from a copy, or make it again") from error


def _why_unreadable(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(8)
    return "the HDF5 file is damaged or cut short" if start == b"\x89HDF\r\n\x1a\n" else "not an HDF5 file"
