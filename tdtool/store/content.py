"""What values must be, beyond their types: shares that sum to 1, entries that lie within the vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tdtool.store.reader import Reader

_SUM_TOLERANCE = 1e-3
_LENGTH_TOLERANCE = {8: 1e-6, 4: 1e-3}  # by the bytes of a number
_BLOCK = 1 << 22
_MAY_LACK = ("selection/", "scores/")  # without held-out documents; of rows with missing values


class Finding(NamedTuple):
    """Something wrong. where : the array, or "file"."""

    where: str
    what: str


def check_content(reader: Reader) -> list[Finding]:
    """Everything wrong with the values, read a block at a time."""
    findings = [finding for path in reader.paths() for finding in _not_finite(reader, path)]
    for check in _CHECKS.get(reader.schema.name, ()):
        findings += check(reader)
    return findings


def check_counts(reader: Reader) -> Iterator[Finding]:
    """A corpus that kernels can walk without leaving their arrays."""
    n_entries, n_terms = reader.shape("counts/indices")[0], reader.shape("vocabulary/term")[0]
    indptr = reader.rows("counts/indptr", 0, reader.shape("counts/indptr")[0])
    starts = reader.rows("partitions/start", 0, reader.shape("partitions/start")[0])
    if not _climbs(indptr, n_entries):
        yield Finding("counts/indptr", f"does not climb from 0 to {n_entries:,}")
    if not _climbs(starts, indptr.size - 1):
        yield Finding("partitions/start", f"does not climb from 0 to {indptr.size - 1:,}")
    for start in range(0, n_entries, _BLOCK):
        stop = min(start + _BLOCK, n_entries)
        indices, counts = reader.rows("counts/indices", start, stop), reader.rows("counts/data", start, stop)
        if indices.min() < 0 or indices.max() >= n_terms:
            yield Finding("counts/indices", f"names terms outside the vocabulary of {n_terms:,}")
            return
        if counts.min() < 1:
            yield Finding("counts/data", "has counts below 1")
            return


def _climbs(values: np.ndarray, end: int) -> bool:
    return values.size > 0 and values[0] == 0 and values[-1] == end and bool(np.all(values[1:] >= values[:-1]))


def _not_finite(reader: Reader, path: str) -> Iterator[Finding]:
    wanted = reader.spec(path).kind == "f" and not path.startswith(_MAY_LACK)
    if wanted and not all(np.isfinite(block).all() for _, block in reader.blocks(path)):
        yield Finding(path, "has values that are not finite")


def _shares(path: str) -> Callable[[Reader], Iterator[Finding]]:
    def check(reader: Reader) -> Iterator[Finding]:
        for start, block in reader.blocks(path):
            wrong = (np.abs(block.sum(axis=1, dtype=np.float64) - 1) > _SUM_TOLERANCE) | (block < 0).any(axis=1)
            if wrong.any():
                yield Finding(path, f"row {start + int(wrong.argmax()):,} is no distribution: it does not sum to 1")
                return

    return check


def check_weights(reader: Reader) -> Iterator[Finding]:
    """Components as they are ordered and scaled: by weight, none negative, columns of length 1 (or 0)."""
    weights = reader.rows("components/weight", 0, reader.shape("components/weight")[0])
    if np.any(weights < 0) or np.any(np.diff(weights) > 0):
        yield Finding("components/weight", "is not descending and at least 0")
    for path in _factors(reader):
        squares = np.zeros(weights.size)
        for _, block in reader.blocks(path):
            squares += np.square(block, dtype=np.float64).sum(axis=0)
        if np.any((np.abs(squares - 1) > _tolerance(reader, path)) & (squares > 0)):
            yield Finding(path, "has columns whose length is not 1")


def check_orthonormal(reader: Reader) -> Iterator[Finding]:
    """Factors of a Tucker decomposition have orthonormal columns."""
    for path in _factors(reader):
        other = path.replace("factors/", "imaginary/")
        gram = np.zeros((reader.shape(path)[1],) * 2, np.complex128)
        for start, real in reader.blocks(path):
            block = real.astype(np.complex128)
            if other in reader:
                block += 1j * reader.rows(other, start, start + len(real))
            gram += block.conj().T @ block
        if np.any(np.abs(gram - np.eye(len(gram))) > _tolerance(reader, path)):
            yield Finding(path, "has columns that are not orthonormal")


def check_correlation(reader: Reader) -> Iterator[Finding]:
    """Correlations of factors: symmetric, 1 with themselves."""
    path = "factors/correlation"
    matrix = reader.rows(path, 0, reader.shape(path)[0])
    if np.any(np.abs(matrix - matrix.T) > _SUM_TOLERANCE) or np.any(np.abs(matrix.diagonal() - 1) > _SUM_TOLERANCE):
        yield Finding(path, "is no matrix of correlations")


def _tolerance(reader: Reader, path: str) -> float:
    return _LENGTH_TOLERANCE.get(np.dtype(reader.dtype(path)).itemsize, 1e-1)


def _factors(reader: Reader) -> list[str]:
    return [path for path in reader.paths() if path.startswith("factors/")]


_CHECKS: dict[str, tuple[Callable[[Reader], Iterator[Finding]], ...]] = {
    "tdtool.corpus": (check_counts,),
    "tdtool.topics": (_shares("topics/topic_word"), _shares("documents/topic")),
    "tdtool.documents": (_shares("documents/topic"),),
    "tdtool.cp": (check_weights,),
    "tdtool.tucker": (check_orthonormal,),
    "tdtool.factors": (check_correlation,),
}
