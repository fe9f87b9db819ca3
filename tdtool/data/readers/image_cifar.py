"""The binary version of CIFAR-10 and CIFAR-100: records of one or two labels and 32 x 32 pixels, colour by colour."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tdtool.data.ledger import Ledger
from tdtool.data.readers.decompress import Reader
from tdtool.data.readers.image_types import CUT_SHORT, ClassNames, PixelBlock
from tdtool.errors import InputError

_SIDE, _PIXELS = 32, 3 * 32 * 32
_RECORDS = 2000  # read at a time
_TEN = {**{f"data_batch_{number}.bin": 0 for number in range(1, 6)}, "test_batch.bin": 2}
_HUNDRED = {"train.bin": 0, "test.bin": 2}
#: Lists of class names that come with the data.
NAME_FILES = ("batches.meta.txt", "fine_label_names.txt")
_PICKLES = {*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"}
_PICKLES_OF_100 = {"train", "test", "meta"}


def is_cifar(name: str) -> bool:
    """Whether a file is called as those with the images are. name : its path."""
    base = name.rpartition("/")[2]
    return base in _TEN or base in _HUNDRED


def is_name_file(name: str) -> bool:
    """Whether a file is called as the lists of class names are."""
    return name.rpartition("/")[2] in NAME_FILES


def refuse_pickles(name: str, path: str) -> None:
    """InputError for the files of CIFAR's Python version. name : of a file; path : of the source."""
    folder, _, base = name.rpartition("/")
    if base in _PICKLES or (base in _PICKLES_OF_100 and folder.endswith("cifar-100-python")):
        raise InputError(
            "this is the Python version of CIFAR, which is pickled: reading it could run code",
            path=path,
            hint="take the binary version (cifar-10-binary.tar.gz, cifar-100-binary.tar.gz) from the same page",
        )


def read_names(file: Reader) -> ClassNames:
    """The class names, one a line."""
    lines = file.read(1 << 16).decode("utf-8", "backslashreplace").split("\n")
    return ClassNames([line.strip() for line in lines if line.strip()])


def read_cifar(file: Reader, name: str, path: str, ledger: Ledger) -> Iterator[PixelBlock]:
    """The images of one binary file, block by block; a last record that is cut is put down in the ledger."""
    base = name.rpartition("/")[2]
    n_labels = 1 if base in _TEN else 2
    split = _TEN.get(base, _HUNDRED.get(base, 0))
    length, first = n_labels + _PIXELS, 0
    while data := _exactly(file, _RECORDS * length):
        records = np.frombuffer(data, np.uint8, len(data) // length * length).reshape(-1, length)
        if len(data) % length:
            ledger.skip(CUT_SHORT, f"{path}:{name}", first + len(records) + 1)
        pixels = records[:, n_labels:].reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
        names = [f"{name.removesuffix('.bin')}/{first + row:05d}" for row in range(len(records))]
        yield PixelBlock(names, np.ascontiguousarray(pixels), records[:, n_labels - 1].astype(np.int64), split)
        first += len(records)


def _exactly(file: Reader, n: int) -> bytes:
    parts, size = list[bytes](), 0
    while size < n and (data := file.read(n - size)):
        parts.append(data)
        size += len(data)
    return b"".join(parts)
