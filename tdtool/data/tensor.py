"""A tensor as a person has it: numbers, which are missing, names of modes and of indices, and where it came from."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.config import SourceConfig, TensorConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.streams import Input
from tdtool.data.readers.tensor_formats import FORMATS, check_given, sniff
from tdtool.data.readers.tensor_types import Entries, Found, by, check_memory, check_shape, result_dtype
from tdtool.errors import InputError, UsageError
from tdtool.kernels.sparse_tensor import SparseTensor

#: Values looked at in one go for NaN and infinity.
_BLOCK = 1 << 22
#: Whole numbers beyond this are not exact as floats.
_EXACT = 1 << 53
#: Bytes that an entry takes while the sparse tensor is made of them, for each mode and for the value.
_BYTES_AN_ENTRY = 32


@dataclasses.dataclass(frozen=True)
class LabelledTensor:
    """A tensor and what its numbers stand for.

    values : (I_0, ..., I_N-1) float32, float64, complex64 or complex128 in any memory layout, or a SparseTensor;
    missing : bool of the same shape, True where there is no value (values is NaN exactly there), None when there are
    all; mode_names : N names ("mode0" ... when the input has none); labels : for each mode its I_n names, or None;
    source : path, bytes, blake2b (None for a pipe), format, key; ledger : rows of text formats;
    description : one line for a person.
    """

    values: NDArray | SparseTensor
    missing: NDArray[np.bool_] | None
    mode_names: tuple[str, ...]
    labels: tuple[list[str] | None, ...]
    source: dict[str, Any]
    ledger: Ledger
    description: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the modes."""
        return tuple(self.values.shape)


def read_tensor(path: str, config: TensorConfig, *, memory: int) -> LabelledTensor:
    """Read a tensor from a file, compressed or not, or from standard input ("-").

    The format is recognised by content, then by name, unless the configuration says it. memory : bytes that may be
    used; what is declared larger is refused before it is read. Raises InputError for what is no tensor or is damaged,
    ResourceError for what does not fit, UsageError for settings that contradict each other.
    """
    if config.format != "auto" and config.format not in FORMATS:
        raise UsageError(f"there is no format {config.format!r}", hint=f"known are auto, {', '.join(FORMATS)}")
    source = Input(path, SourceConfig(max_ratio=config.max_ratio, max_bytes=config.max_bytes))
    if not source.head:
        raise InputError("it is empty", path=source.path, hint=f"known formats: {', '.join(FORMATS)}")
    if config.format == "auto":
        kind = sniff(source.head, source.name, source.path)
    else:
        kind = config.format
        check_given(kind, source.head, source.path)
    _check_settings(kind, config)
    ledger = Ledger()
    found = _read(kind, source, path, config, memory, ledger)
    return _finished(found, source, kind, memory, ledger)


def _check_settings(kind: str, config: TensorConfig) -> None:
    """UsageError for a setting that says something of another format."""
    arrays, tables = ("npz", "hdf5", "mat"), ("csv", "tsv")
    for name, value, where in (
        ("key", config.key, arrays),
        ("mask", config.mask, arrays),
        ("columns", config.columns, tables),
        ("value", config.value, tables),
    ):
        if value is not None and kind not in where:
            raise UsageError(
                f"{name} is {value!r}, and the input is {FORMATS[kind]}",
                hint=f"it is for the formats {', '.join(where)}",
            )


def _read(kind: str, source: Input, path: str, config: TensorConfig, memory: int, ledger: Ledger) -> Found:
    """The reader of a format; each is imported when it is used."""
    if kind in ("npy", "npz"):
        from tdtool.data.readers import tensor_numpy

        return (
            tensor_numpy.read_npy(source, path, memory)
            if kind == "npy"
            else tensor_numpy.read_npz(source, config, memory)
        )
    if kind == "hdf5":
        from tdtool.data.readers.tensor_hdf5 import read_hdf5

        return read_hdf5(source, path, config, memory)
    if kind == "mat":
        from tdtool.data.readers.tensor_mat import read_mat

        return read_mat(source, path, config, memory)
    if kind == "tns":
        from tdtool.data.readers.tensor_tns import read_tns

        return read_tns(source, path, config, memory, ledger)
    from tdtool.data.readers.tensor_table import read_table

    return read_table(source, kind, config, memory, ledger)


def _finished(found: Found, source: Input, kind: str, memory: int, ledger: Ledger) -> LabelledTensor:
    values: NDArray | SparseTensor
    missing: NDArray[np.bool_] | None = None
    check_shape(found.values.shape, found.kind.rpartition(", ")[2], source.path)
    if isinstance(found.values, Entries):
        values = _sparse(found.values, source.path, memory, ledger)
    else:
        values, missing = _dense(found.values, found.missing, source.path, ledger)
    order = len(found.values.shape)
    labels = found.labels or (None,) * order
    names = found.mode_names or tuple(f"mode{mode}" for mode in range(order))
    about = {"format": kind, "key": found.key}
    counters = [f"{amount:,} {what}" for what, amount in ledger.counters.items()]
    facts = [f"{found.kind} of {_facts(values, missing)}", *_about_labels(labels, names), *found.notes, *counters]
    description = "; ".join(facts)
    return LabelledTensor(values, missing, names, labels, _provenance(source) | about, ledger, description)


def _dense(
    raw: NDArray, given: NDArray[np.bool_] | None, path: str, ledger: Ledger
) -> tuple[NDArray, NDArray[np.bool_] | None]:
    """Values in the dtype to compute in, NaN where missing, and the mask. InputError for an infinite value."""
    dtype = result_dtype(raw.dtype, "the array", path)
    if raw.dtype.kind in "iu" and raw.dtype.itemsize == 8:
        large = (raw > _EXACT) | (raw < -_EXACT) if raw.dtype.kind == "i" else raw > _EXACT
        ledger.count("whole numbers beyond 2**53, rounded", int(np.count_nonzero(large)))
    with np.errstate(over="ignore"):
        values = raw.astype(dtype, order="K", copy=False)
    n_missing = _check_finite(values, given, path)
    if given is not None and bool(given.any()):
        values[given] = np.nan
    elif not n_missing:
        return values, None
    missing = np.isnan(values)
    if bool(missing.all()):
        raise InputError("all its values are missing", path=path)
    return values, missing


def _check_finite(values: NDArray, missing: NDArray[np.bool_] | None, path: str) -> int:
    """How many values are NaN; InputError that names the first infinite one that counts."""
    n_missing = 0
    for start, block in _blocks(values):
        odd = ~np.isfinite(block)
        if not bool(odd.any()):
            continue
        nan = np.isnan(block)
        n_missing += int(np.count_nonzero(nan))
        infinite = odd & ~nan
        if missing is not None:
            infinite &= ~missing[start : start + len(block)]
        if bool(infinite.any()):
            place = np.argwhere(infinite)[0]
            place[0] += start
            raise InputError(
                f"the value at [{', '.join(map(str, place.tolist()))}] (counted from 0) is infinite or too large",
                path=path,
                hint="only NaN stands for a missing value; replace what is infinite",
            )
    return n_missing


def _blocks(values: NDArray) -> Any:
    """Slabs along the first mode, of some megabytes where one index of it is not larger."""
    step = max(1, _BLOCK // max(1, math.prod(values.shape[1:])))
    return ((start, values[start : start + step]) for start in range(0, len(values), step))


def _sparse(entries: Entries, path: str, memory: int, ledger: Ledger) -> SparseTensor:
    order, nnz = len(entries.shape), entries.values.size
    if not nnz:
        raise InputError("there is no entry", path=path)
    check_memory(_BYTES_AN_ENTRY * (order + 1) * nnz, memory, f"a tensor of {nnz:,} entries", path)
    longest = max(entries.shape)
    check_memory(8 * longest, memory, f"a mode of {longest:,} indices", path)
    try:
        tensor = SparseTensor.from_coo(entries.coordinates, entries.values, entries.shape)
    except ValueError as error:
        raise InputError(f"its entries make no tensor: {error}", path=path) from error
    if not tensor.nnz:
        raise InputError("all its values are 0", path=path)
    ledger.count("entries that are 0, or of a place seen before (added up)", nnz - tensor.nnz)
    return tensor


def _facts(values: NDArray | SparseTensor, missing: NDArray[np.bool_] | None) -> str:
    """Shape, type, and how much is there."""
    if isinstance(values, SparseTensor):
        cells = math.prod(values.shape)
        return f"{by(values.shape)}, sparse, {values.nnz:,} values ({_share(values.nnz / cells)} of the cells)"
    facts = f"{by(values.shape)} {values.dtype}"
    if missing is None:
        return facts
    n = int(np.count_nonzero(missing))
    return f"{facts}, {n:,} {'value' if n == 1 else 'values'} missing ({_share(n / missing.size)})"


def _share(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else f"{share:.2g}"


def _about_labels(labels: tuple[list[str] | None, ...], names: tuple[str, ...]) -> list[str]:
    named = [name for name, texts in zip(names, labels, strict=True) if texts is not None]
    return [f"labels for {', '.join(named)}"] if named else []


def _provenance(source: Input) -> dict[str, Any]:
    """Where the numbers came from: name, bytes and, for a file, BLAKE2b-128 of them."""
    path = Path(source.path)
    if source.size is None or not path.is_file():
        return {"path": source.path, "bytes": source.size, "blake2b": None}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, functools.partial(hashlib.blake2b, digest_size=16))
    return {"path": path.name, "bytes": source.size, "blake2b": digest.hexdigest()}
