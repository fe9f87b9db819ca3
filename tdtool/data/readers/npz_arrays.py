"""Arrays in .npy and .npz files. Nothing pickled is read, and no header is believed before the bytes are counted."""

from __future__ import annotations

import contextlib
import math
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tdtool.data.readers.streams import GrowthCap, Input
from tdtool.errors import InputError

#: What numpy raises on a header that is none.
_NO_HEADER = (
    *(ValueError, TypeError, KeyError, IndexError, SyntaxError, OverflowError, RecursionError, MemoryError),
    *(EOFError, tokenize.TokenError),
)
_BROKEN_ZIP = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError),
    *(OverflowError, IndexError, UnicodeDecodeError),
)
#: numpy writes no others, and those of other methods cannot be unpacked in small steps.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_STEP = 1 << 20


class Header(NamedTuple):
    """What an array says of itself. size : bytes of the header, n_bytes : those of the values behind it."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    size: int

    @property
    def n_bytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes], name: str, path: str) -> Header:
    """The header of an array in numpy's format, from a file that stands at its beginning."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of numpy on headers from Python 2, which are fine
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)
    except _NO_HEADER as error:
        first = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{name} is not a numpy array ({first})", path=path, hint="it is damaged, or was not written by numpy.save"
        ) from error
    if any(size < 0 for size in shape) or not dtype.itemsize:
        raise InputError(f"{name} declares a negative size", path=path)
    return Header(tuple(shape), bool(fortran), dtype, file.tell())


def refuse_pickled(header: Header, name: str, path: str) -> None:
    """InputError for an array of Python objects."""
    if header.dtype.hasobject:
        raise InputError(
            f"{name} is pickled, which is refused: reading it could run code",
            path=path,
            hint="save it as numbers: numpy.save(file, array.astype(float)); a sparse matrix: scipy.sparse.save_npz",
        )


def read_values(file: IO[bytes], header: Header) -> NDArray[Any] | None:
    """The values behind a header, in the order they are stored in; None when the file ends before they do."""
    flat = np.empty(header.n_bytes, np.uint8)
    filled = 0
    while filled < flat.size and (data := file.read(min(_STEP, flat.size - filled))):
        flat[filled : filled + len(data)] = np.frombuffer(data, np.uint8)
        filled += len(data)
    return None if filled < flat.size else arranged(flat, header)


def arranged(flat: NDArray[np.uint8], header: Header) -> NDArray[Any]:
    """Bytes (n_bytes,) as the array that the header describes, without a copy."""
    return flat.view(header.dtype).reshape(header.shape, order="F" if header.fortran else "C")


class NpzArchive:
    """The arrays of an .npz file, looked at one by one. headers : name -> Header, in the order of the file."""

    def __init__(self, archive: zipfile.ZipFile, path: str) -> None:
        self.path = path
        self._archive = archive
        self._members = {
            info.filename.removesuffix(".npy"): info for info in archive.infolist() if info.filename.endswith(".npy")
        }
        self.headers: dict[str, Header] = {}
        for name, info in self._members.items():
            self._check_method(info)
            with archive.open(info) as file:
                self.headers[name] = header = read_header(file, f"{name}.npy in it", path)
            if not header.dtype.hasobject and header.size + header.n_bytes != info.file_size:
                raise self._wrong_size(name)

    def read(self, name: str) -> NDArray[Any]:
        """One array, in the order it is stored in."""
        refuse_pickled(self.headers[name], f"{name}.npy in it", self.path)
        with self._archive.open(self._members[name]) as file:
            header = read_header(file, f"{name}.npy in it", self.path)
            values = read_values(file, header)
            if values is None or file.read(1):
                raise self._wrong_size(name)
            return values

    def blocks(self, name: str, n_bytes: int) -> Iterator[NDArray[Any]]:
        """The rows of one array, about `n_bytes` at a time; all at once where columns are stored first."""
        header = self.headers[name]
        if header.fortran and len(header.shape) > 1:
            yield self.read(name)
            return
        refuse_pickled(header, f"{name}.npy in it", self.path)
        row_bytes = header.n_bytes // max(header.shape[0], 1)
        step = max(1, n_bytes // max(row_bytes, 1))
        with self._archive.open(self._members[name]) as file:
            read_header(file, f"{name}.npy in it", self.path)
            for start in range(0, header.shape[0], step):
                shape = (min(step, header.shape[0] - start), *header.shape[1:])
                values = read_values(file, header._replace(shape=shape))
                if values is None:
                    raise self._wrong_size(name)
                yield values

    def _check_method(self, info: zipfile.ZipInfo) -> None:
        if info.compress_type not in _METHODS:
            raise InputError(
                f"{info.filename} in it is compressed in a way that numpy does not use",
                path=self.path,
                hint="save it with numpy.savez_compressed",
            )

    def _wrong_size(self, name: str) -> InputError:
        return InputError(
            f"{name}.npy in it does not have the size it claims", path=self.path, hint="copy or download it again"
        )


@contextlib.contextmanager
def opened_npz(source: Input) -> Iterator[NpzArchive]:
    """The archive of an .npz file; what goes wrong with it is an InputError. Bombs are refused by what they declare."""
    cap = GrowthCap(source.path, source.config)
    try:
        with source.open_seekable() as raw, zipfile.ZipFile(raw) as archive:
            infos = archive.infolist()
            cap.n_in = sum(info.compress_size for info in infos)
            cap.n_out = sum(info.file_size for info in infos)
            cap.check()
            yield NpzArchive(archive, source.path)
    except _BROKEN_ZIP as error:
        raise InputError(
            f"the .npz file is damaged or incomplete ({error})", path=source.path, hint="copy or download it again"
        ) from error
