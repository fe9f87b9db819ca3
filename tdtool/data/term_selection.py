"""Which words of a corpus are kept, and in which order."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from tdtool.config import VocabularyConfig
from tdtool.data.stop_words import StopWords
from tdtool.data.vocabulary import Vocabulary
from tdtool.errors import InputError, UsageError

#: Default limits of document frequency: (documents at least, least frequency, greatest share).
_DEFAULT_LIMITS = ((1000, 5, 0.3), (50, 2, 0.3), (0, 1, 1.0))


@dataclasses.dataclass(frozen=True)
class Selection:
    """V words kept of those found.

    order : (V,) int64, their numbers in the vocabulary, best first; numbers : (found,) int32, the new ones or -1;
    removed : how many distinct words each filter took, in words for the person.
    """

    order: NDArray[np.int64]
    numbers: NDArray[np.int32]
    removed: dict[str, int]


def check_vocabulary(config: VocabularyConfig) -> None:
    """UsageError when the limits cannot be."""
    for name, value in (("--min-df", config.min_df), ("--max-df", config.max_df)):
        if value is not None and not (0 <= value < math.inf):
            raise UsageError(f"{name} {value:g} is no number of documents", hint="below 1 it is a fraction of them")
    if config.max_size is not None and config.max_size < 1:
        raise UsageError(f"--max-vocabulary {config.max_size} leaves no words")


def select_terms(vocabulary: Vocabulary, n_documents: int, config: VocabularyConfig, stop: StopWords) -> Selection:
    """Take out stop words, then words in too few and in too many of the D documents, then the rarest beyond max_size.

    The kept ones are ordered by document frequency, highest first, then by code points. InputError when none is left.
    """
    frequency = vocabulary.document_frequency[: vocabulary.size]
    least, most = document_limits(n_documents, config)
    left = frequency > 0
    found = int(left.sum())
    removed: dict[str, int] = {}
    for reason, out in (
        (f"stop words ({stop.label})", _is_stop_word(vocabulary, stop)),
        (f"in fewer than {least:,g} documents (--min-df)", frequency < least),
        (f"in more than {most:,g} of {n_documents:,} documents (--max-df)", frequency > most),
    ):
        removed[reason] = int((left & out).sum())
        left &= ~out
    kept = np.flatnonzero(left)
    words = vocabulary.words(kept)
    best = sorted(range(kept.size), key=lambda place: (-frequency[kept[place]], words[place]))[: config.max_size]
    removed[f"beyond the first {config.max_size} (--max-vocabulary)"] = kept.size - len(best)
    removed = {reason: amount for reason, amount in removed.items() if amount}
    if not best:
        _refuse(found, removed)
    return _selection(kept[best], vocabulary.size, removed)


def keep_first(vocabulary: Vocabulary, n_terms: int) -> Selection:
    """The first n_terms words in their order, whatever their frequencies."""
    return _selection(np.arange(n_terms), vocabulary.size, {})


def document_limits(n_documents: int, config: VocabularyConfig) -> tuple[float, float]:
    """Least and greatest document frequency of a kept word.

    Limits below 1 are fractions of the documents; a greatest of exactly 1 is all of them. A fraction never excludes
    what the least frequency asks for, so that a handful of documents has words left.
    """
    usual = next((least, share) for documents, least, share in _DEFAULT_LIMITS if n_documents >= documents)
    least = usual[0] if config.min_df is None else config.min_df
    most = usual[1] if config.max_df is None else config.max_df
    if config.min_df is not None and least < 1:
        least = math.ceil(least * n_documents)
    return least, most if most > 1 else max(math.floor(most * n_documents), least, 1)


def _is_stop_word(vocabulary: Vocabulary, stop: StopWords) -> NDArray[np.bool_]:
    numbers = vocabulary.find(sorted(stop.words))
    out = np.zeros(vocabulary.size, bool)
    out[numbers[numbers >= 0]] = True
    return out


def _selection(order: NDArray[np.int64], n_found: int, removed: dict[str, int]) -> Selection:
    numbers = np.full(n_found, -1, np.int32)
    numbers[order] = np.arange(order.size, dtype=np.int32)
    return Selection(order.astype(np.int64), numbers, removed)


def _refuse(found: int, removed: dict[str, int]) -> None:
    if not found:
        hint = "it may hold only numbers, single letters or no text at all: look at --min-length and --numbers"
        raise InputError("no words were found", hint=hint)
    account = ", ".join(f"{amount:,} {reason}" for reason, amount in removed.items())
    hint = "lower --min-df, raise --max-df, or use --stop-words none"
    raise InputError(f"no words are left of the {found:,} distinct ones found: {account}", hint=hint)
