"""From text to words: one batch of documents at a time, on one core."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from tdtool.config import TokenConfig
from tdtool.data.batches import TextBatch
from tdtool.data.vocabulary import WordTable
from tdtool.errors import UsageError
from tdtool.kernels import tokenise_cpu as kernel
from tdtool.kernels.count_cpu import count_tokens
from tdtool.kernels.short_words import CASE
from tdtool.kernels.unicode_tables import unicode_tables

_NUMBERS = {"keep": kernel.NUMBERS_KEEP, "drop": kernel.NUMBERS_DROP, "replace": kernel.NUMBERS_REPLACE}
_LONGEST = 10_000
#: Bytes of distinct words that there is room for at first, and tokens at a time.
_BLOCK_BYTES, _BLOCK_WORDS = 1 << 16, 1 << 20
#: Short words that are remembered, a power of two: they should stay in the second-level cache.
_KNOWN = 1 << 15


@dataclasses.dataclass(frozen=True)
class TokenBatch:
    """The words of D documents.

    words : the batch's own table of V_b words, numbered as they first appear;
    tokens : (n_tokens,) int32, numbers of words in reading order, -1 where one was left out (and after each CJK pair);
    ends : (D,) int64, the place in `tokens` after each document; tally : what was seen and left out, by name.
    """

    words: WordTable
    tokens: NDArray[np.int32]
    ends: NDArray[np.int64]
    tally: dict[str, int]

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """Sparse counts: indptr (D + 1,) int64; indices, counts (nnz,) int32, in order of first use in a document."""
        return count_documents(self.tokens, self.ends, self.words.size)


def check_tokens(config: TokenConfig) -> None:
    """UsageError when the settings cannot be."""
    if not 1 <= config.min_length <= config.max_length <= _LONGEST:
        lengths = f"{config.min_length} to {config.max_length}"
        raise UsageError(
            f"word lengths from {lengths} characters: they must be 1 <= minimum <= maximum <= {_LONGEST:,}"
        )
    if config.numbers not in _NUMBERS:
        raise UsageError(f"numbers={config.numbers!r}: must be one of {', '.join(_NUMBERS)}")
    if config.ngrams not in (1, 2, 3):
        raise UsageError(f"phrases of {config.ngrams} words: must be 1 (single words), 2 or 3")


def tokenise(batch: TextBatch, config: TokenConfig) -> TokenBatch:
    """The words of a batch. Safe to call from several threads (the kernels release the GIL)."""
    text, offsets, step = _own(batch.text), _own(batch.offsets), kernel.BYTES_A_CHARACTER * (config.max_length + 1)
    table = WordTable(_usual_terms(text.size), _BLOCK_BYTES + step)
    tally, at = np.zeros(kernel.N_TALLY, np.int64), np.zeros(kernel.N_AT, np.int64)
    at[kernel.BYTE] = offsets[0]
    scan = kernel.Scan(
        text,
        offsets,
        unicode_tables(config.lowercase),
        kernel.Rules(
            config.min_length, config.max_length, _NUMBERS[config.numbers], CASE if config.lowercase else CASE & 0
        ),
        table.arrays,
        known=np.zeros((_KNOWN, 3), np.uint64),
        tokens=np.empty(text.size // 5 + 64, np.int32),
        ends=np.empty(offsets.size - 1, np.int64),
        tally=tally,
        at=at,
    )
    tokens = scan.tokens
    done = False
    while not done:
        n_tokens = int(at[kernel.TOKENS])
        room = n_tokens + _BLOCK_WORDS
        if room > tokens.size:
            tokens = np.concatenate([tokens[:n_tokens], np.empty(tokens.size // 2 + _BLOCK_WORDS, np.int32)])
        table.reserve(1, step)
        done = kernel.scan_documents(scan._replace(words=table.arrays, tokens=tokens[:room]))
        table.size = int(at[kernel.TERMS])
    return TokenBatch(table, tokens[: at[kernel.TOKENS]], scan.ends, _named(tally, config))


def count_documents(
    tokens: NDArray[np.int32], ends: NDArray[np.int64], n_terms: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Sparse counts of the words of D documents; arguments and result as in TokenBatch."""
    indptr = np.empty(ends.size + 1, np.int64)
    indices, counts = np.empty(tokens.size, np.int32), np.empty(tokens.size, np.int32)
    n_entries = count_tokens(tokens, ends, n_terms, indptr, indices, counts)
    return indptr, indices[:n_entries], counts[:n_entries]


def _own(array: NDArray) -> NDArray:
    """The array in the form the kernels were compiled for: contiguous, and writeable by type (they never write)."""
    return array if array.flags.c_contiguous and array.flags.writeable else np.array(array)


def _usual_terms(n_bytes: int) -> int:
    """Distinct words that a text of so many bytes usually has, by Heaps' law."""
    return 64 + int(20 * math.sqrt(n_bytes))


def _named(tally: NDArray[np.int64], config: TokenConfig) -> dict[str, int]:
    names = {
        kernel.INVALID: INVALID_BYTES,
        kernel.SHORT: f"words shorter than {config.min_length} characters left out",
        kernel.LONG: f"words longer than {config.max_length} characters left out",
        kernel.NUMBERS: "numbers left out" if config.numbers == "drop" else "numbers replaced by #",
        kernel.UNSPACED_SEEN: UNSPACED,
    }
    return {name: int(tally[place]) for place, name in names.items() if tally[place]}


#: Counters of the ledger.
INVALID_BYTES = "invalid UTF-8 bytes"
UNSPACED = "characters of Thai, Lao, Khmer or Myanmar"
