"""What readers hand on: a few megabytes of documents at a time, as flat arrays."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class TextBatch:
    """D documents of raw text.

    text : (n_bytes,) uint8, the documents' bytes one after the other, UTF-8 (possibly broken: the tokeniser copes);
    offsets : (D + 1,) int64 into text; ids : D names; path : the file read;
    lines : (D,) int64, 1-based line or row in that file, 0 where a document is a whole file (its id is its path).
    """

    text: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    ids: list[str]
    path: str
    lines: NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class CountBatch:
    """D documents that are counted already.

    indptr : (D + 1,) int64; indices : (nnz,) int32 term ids below the source's n_terms, ascending and each once in
    a document; counts : (nnz,) int64, positive; ids, path, lines : as in TextBatch.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    counts: NDArray[np.int64]
    ids: list[str]
    path: str
    lines: NDArray[np.int64]
