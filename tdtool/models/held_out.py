"""Which documents are kept out of the fit, and which of their words are seen: by hashing, never by order or luck."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: SplitMix64's step.
GAMMA = np.uint64(0x9E3779B97F4A7C15)


def mix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014): a bijection of 64-bit words that looks random."""
    with np.errstate(over="ignore"):
        z = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def document_keys(documents: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """One 64-bit key per document index, a function of (seed, index) alone."""
    with np.errstate(over="ignore"):
        start = mix64(np.array([seed], dtype=np.int64).astype(np.uint64) + GAMMA)
        return mix64(start + (documents.astype(np.uint64) + np.uint64(1)) * GAMMA)


def held_out_documents(n_documents: int, share: float, cap: int, seed: int) -> NDArray[np.int64]:
    """The documents with the smallest keys: min(share of D, cap) of them, ascending (H,) int64."""
    wanted = min(int(n_documents * share), cap)
    keys = document_keys(np.arange(n_documents), seed)
    chosen = np.argpartition(keys, wanted - 1)[:wanted] if wanted else np.zeros(0, np.int64)
    return np.sort(chosen).astype(np.int64)


def sample_documents(n_documents: int, wanted: int, seed: int, without: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most `wanted` documents that are not among `without`, ascending; another draw than held_out_documents."""
    keys = document_keys(np.arange(n_documents), seed ^ 0x5DEECE66D)
    keys[without] = np.uint64(0xFFFFFFFFFFFFFFFF)
    wanted = min(wanted, n_documents - without.size)
    chosen = np.argpartition(keys, wanted - 1)[:wanted] if wanted else np.zeros(0, np.int64)
    return np.sort(chosen).astype(np.int64)
