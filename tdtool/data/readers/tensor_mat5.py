"""MATLAB files of version 5 ("-v7"): arrays of numbers and sparse matrices. Everything else is named and passed over.

The format: "MAT-File Format", The MathWorks. scipy's reader believes the sizes in a file and can crash on a damaged
one; here each is held against the bytes that are there.
"""

from __future__ import annotations

import dataclasses
import math
import struct
import zlib
from collections.abc import Callable
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tdtool.data.readers.streams import GrowthCap, Input
from tdtool.errors import InputError

_Read: TypeAlias = Callable[[int], bytes]

#: Classes of variables by their number in the file.
_CLASSES = (
    *("", "cell", "struct", "object", "char", "sparse", "double", "single", "int8", "uint8", "int16", "uint16"),
    *("int32", "uint32", "int64", "uint64", "function handle", "object"),
)
#: Those that hold numbers, with their dtype.
NUMBERS = {"double": "f8", "single": "f4", "sparse": "f8", "logical": "b1"} | {
    f"{sign}int{bits}": f"{sign or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
#: Types of stored data by their number: doubles that are small whole numbers are stored as such.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED, _OPAQUE = 14, 15, 17
_LOGICAL, _COMPLEX = 0x200, 0x800
_HEADER_BYTES, _FIELD_MOST, _MOST_VARIABLES, _MOST_MODES = 128, 4096, 10_000, 64
_STEP = 1 << 18


@dataclasses.dataclass(frozen=True)
class Variable:
    """One variable. kind : its class ("double", "struct" ...); position : where its element begins in the file."""

    name: str
    shape: tuple[int, ...]
    kind: str
    is_complex: bool
    position: int


class Mat5:
    """An opened file. variables : name -> Variable, in the order of the file. InputError for one that is damaged."""

    def __init__(self, file: BinaryIO, source: Input) -> None:
        self._file, self._source = file, source
        self._size = file.seek(0, 2)
        file.seek(0)
        header = file.read(_HEADER_BYTES)
        if header[126:128] not in (b"IM", b"MI"):
            raise self._damaged("its header is cut short or wrong")
        self._order = "<" if header[126:128] == b"IM" else ">"
        self.variables: dict[str, Variable] = {}
        position, n_elements = _HEADER_BYTES, 0
        while position < self._size and n_elements < _MOST_VARIABLES:
            element = self._element(position)
            found = None if element is None else self._variable(element, position)
            if found is not None and found.name:
                self.variables.setdefault(found.name, found)
            position, n_elements = self._behind(position), n_elements + 1

    def read(self, variable: Variable) -> NDArray:
        """The values of an array of numbers, in its shape (first index fastest)."""
        element = self._values_of(variable)
        n = math.prod(variable.shape)
        values = element.numbers(n).astype(NUMBERS[variable.kind], copy=False)
        if variable.is_complex:
            both = np.empty(n, np.result_type(values, np.complex64))
            both.real, both.imag = values, element.numbers(n)
            values = both
        element.finish()
        return values.reshape(variable.shape, order="F")

    def read_sparse(self, variable: Variable) -> dict[str, NDArray]:
        """The arrays of a sparse matrix by the names of scipy.sparse.save_npz; what they say is not checked."""
        element = self._values_of(variable)
        indices, indptr, data = element.numbers(), element.numbers(), element.numbers()
        element.finish()
        nnz = max(int(indptr[-1]), 0) if indptr.size else 0
        if variable.is_complex:
            data = data.astype(np.complex128)
        arrays = {"format": np.array("csc"), "shape": np.array(variable.shape), "indptr": indptr}
        return arrays | {"indices": indices[:nnz], "data": data[:nnz]}

    def stored_bytes(self, variable: Variable) -> int:
        """Bytes that a variable says it has, decompressed."""
        element = self._element(variable.position)
        return 0 if element is None else element.left

    def _damaged(self, what: str) -> InputError:
        return InputError(
            f"the MATLAB file is damaged or incomplete: {what}",
            path=self._source.path,
            hint="copy it again, or save it anew",
        )

    def _tag(self, position: int) -> tuple[int, int]:
        """Type and bytes of the element at a place."""
        self._file.seek(position)
        raw = self._file.read(8)
        if len(raw) < 8:
            raise self._damaged("it ends inside an element")
        kind, n_bytes = struct.unpack(self._order + "II", raw)
        if position + 8 + n_bytes > self._size:
            raise self._damaged(f"an element of {n_bytes:,} bytes goes beyond its end")
        return kind, n_bytes

    def _behind(self, position: int) -> int:
        return position + 8 + self._tag(position)[1]

    def _element(self, position: int) -> _Element | None:
        """The matrix at a place, decompressed; None for an element of another kind."""
        kind, n_bytes = self._tag(position)
        if kind == _MATRIX:
            return _Element(_bounded(self._file, n_bytes), n_bytes, self._order, self._damaged)
        if kind != _COMPRESSED:
            return None
        read = _inflated(_bounded(self._file, n_bytes), self._damaged)
        raw = read(8)
        if len(raw) < 8:
            raise self._damaged("a compressed variable is cut short")
        kind, inner = struct.unpack(self._order + "II", raw)
        cap = GrowthCap(self._source.path, self._source.config)
        cap.n_in, cap.n_out = n_bytes, inner
        cap.check()
        return _Element(read, inner, self._order, self._damaged) if kind == _MATRIX else None

    def _variable(self, element: _Element, position: int) -> Variable:
        """Name, shape and class of the matrix that begins here."""
        raw = element.field()
        if len(raw) != 8:
            raise self._damaged("a variable has no flags")
        flags = struct.unpack(self._order + "I", raw[:4])[0]
        number = flags & 0xFF
        if number == _OPAQUE:
            return Variable(element.field().decode("ascii", "replace"), (), "object", False, position)
        sizes = element.field()
        shape = struct.unpack(f"{self._order}{len(sizes) // 4}i", sizes[: len(sizes) // 4 * 4])
        if not 2 <= len(shape) <= _MOST_MODES or min(shape) < 0 or not 0 < number < len(_CLASSES):
            raise self._damaged("a variable has no shape or class")
        name, kind = element.field().decode("ascii", "replace"), _CLASSES[number]
        if flags & _LOGICAL and kind in NUMBERS and kind != "sparse":
            kind = "logical"
        return Variable(name, shape, kind, bool(flags & _COMPLEX), position)

    def _values_of(self, variable: Variable) -> _Element:
        element = self._element(variable.position)
        if element is None or self._variable(element, variable.position) != variable:
            raise self._damaged("it changed while it was read")
        return element


class _Element:
    """The bytes of one matrix, read front to back. left : bytes that it says are still to come."""

    def __init__(self, read: _Read, n_bytes: int, order: str, damaged: Callable[[str], InputError]) -> None:
        self.left = n_bytes
        self._read, self._order, self._damaged = read, order, damaged

    def field(self) -> bytes:
        """The content of a small part: flags, sizes or a name."""
        _, n_bytes, small = self._tag()
        if n_bytes > _FIELD_MOST:
            raise self._damaged(f"a name or shape of {n_bytes:,} bytes")
        return small[:n_bytes] if small else bytes(self._padded(n_bytes))

    def numbers(self, n: int | None = None) -> NDArray:
        """The content of a part as a vector of numbers, n of them where that is known."""
        kind, n_bytes, small = self._tag()
        if kind not in _STORED:
            raise self._damaged(f"numbers are stored as type {kind}")
        dtype = np.dtype(self._order + _STORED[kind])
        if n_bytes % dtype.itemsize or n not in (None, n_bytes // dtype.itemsize):
            raise self._damaged(f"{n_bytes:,} bytes do not hold {n or 0:,} numbers of {dtype.itemsize}")
        values = np.frombuffer(small[:n_bytes] if small else self._padded(n_bytes), dtype)
        return values.astype(dtype.newbyteorder("="))

    def finish(self) -> None:
        """Read on to the end, where the checksum of compressed bytes is."""
        while self._read(_STEP):
            self.left = 0

    def _tag(self) -> tuple[int, int, bytes]:
        """Type and size of a part, and its bytes when they are few and lie in the tag itself."""
        raw = self._take(8)
        kind, n_bytes = struct.unpack(self._order + "II", raw)
        if not kind >> 16:
            return kind, n_bytes, b""
        kind, n_bytes = kind & 0xFFFF, kind >> 16
        if n_bytes > 4:
            raise self._damaged("a part of more than 4 bytes is marked as small")
        return kind, n_bytes, bytes(raw[4:])

    def _padded(self, n_bytes: int) -> bytearray:
        data = self._take(n_bytes)
        self._take(min(-n_bytes % 8, self.left))
        return data

    def _take(self, n: int) -> bytearray:
        """Exactly n bytes."""
        if n > self.left:
            raise self._damaged(f"a part of {n:,} bytes is larger than what it is in")
        self.left -= n
        data = bytearray()
        while len(data) < n and (piece := self._read(min(n - len(data), _STEP))):
            data += piece
        if len(data) < n:
            raise self._damaged(f"{n - len(data):,} bytes are missing")
        return data


def _bounded(file: BinaryIO, n_bytes: int) -> _Read:
    """Reads from a file, n_bytes at most in all."""
    left = n_bytes

    def read(n: int) -> bytes:
        nonlocal left
        data = file.read(min(n, left))
        left -= len(data)
        return data

    return read


def _inflated(raw: _Read, damaged: Callable[[str], InputError]) -> _Read:
    """Reads what one variable's zlib stream (without the frame of gzip) holds, never more than asked for."""
    inflate = zlib.decompressobj()

    def read(n: int) -> bytes:
        try:
            while not inflate.eof:
                data = inflate.unconsumed_tail or raw(_STEP)
                out = inflate.decompress(data, n)
                if out or not data:
                    return out
        except zlib.error as error:
            raise damaged(str(error)) from error
        return b""

    return read
