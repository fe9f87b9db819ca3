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
from tdtool.kernels.unicode_tables import unicode_tables

_NUMBERS = {"keep": kernel.NUMBERS_KEEP, "drop": kernel.NUMBERS_DROP, "replace": kernel.NUMBERS_REPLACE}
_LONGEST = 10_000
#: Scanned at a time before the words are numbered: small enough for the second-level cache.
_BLOCK_BYTES, _BLOCK_WORDS = 1 << 16, 1 << 14


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
    limits = (config.min_length, config.max_length, _NUMBERS[config.numbers])
    text, offsets, tables = _own(batch.text), _own(batch.offsets), unicode_tables(config.lowercase)
    written = np.empty(_BLOCK_BYTES + kernel.BYTES_A_CHARACTER * (config.max_length + 1), np.uint8)
    bounds, hashes = np.zeros(_BLOCK_WORDS + 1, np.int64), np.empty(_BLOCK_WORDS, np.int64)
    table = WordTable(*_usual_room(text.size))
    tokens = np.empty(text.size // 5 + 64, np.int32)
    ends = np.empty(offsets.size - 1, np.int64)
    tally = np.zeros(kernel.N_TALLY, np.int64)
    cursor = np.array([0, offsets[0]], np.int64)
    written_to = (written, bounds[1:], hashes, tally, ends)
    n_tokens, done = 0, False
    while not done:
        done = kernel.scan_documents(text, offsets, cursor, *tables, limits, *written_to, n_tokens)
        n_words = int(tally[kernel.WORDS])
        if n_tokens + n_words > tokens.size:
            tokens = np.concatenate([tokens[:n_tokens], np.empty(tokens.size // 2 + n_words, np.int32)])
        table.add_bytes(written, bounds, hashes, tokens[n_tokens : n_tokens + n_words])
        n_tokens += n_words
    return TokenBatch(table, tokens[:n_tokens], ends, _named(tally, config))


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


def _usual_room(n_bytes: int) -> tuple[int, int]:
    """Words and bytes of words that a text of so many bytes usually has, by Heaps' law."""
    n_terms = 64 + int(20 * math.sqrt(n_bytes))
    return n_terms, 12 * n_terms


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
