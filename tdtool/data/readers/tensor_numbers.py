"""Text to floats, a column at a time, with the first word that is no number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from tdtool.data.readers.factor_table import MISSING

pc: Any = pyarrow.compute
#: Every way in which people write them; other mixtures of case are words.
_MISSING_WORDS = sorted(
    {form for word in MISSING for form in (word, word.upper(), word.capitalize())} | {"NaN", "-nan"}
)


def to_floats(words: Any, *, missing: bool) -> tuple[NDArray[np.float64], int | None]:
    """Words as floats ((n,) float64), and the first that is no number (None: all are).

    words : binary or string, (n,); missing : words such as "" and "NA" are NaN, otherwise they are no numbers.
    """
    texts = words if pa.types.is_large_string(words.type) else words.view(pa.string())
    texts = pc.ascii_trim_whitespace(texts)
    if missing:
        known = pa.array(_MISSING_WORDS, texts.type)
        texts = pc.if_else(pc.is_in(texts, known), pa.scalar(None, texts.type), texts)
    try:
        return texts.cast(pa.float64()).to_numpy(zero_copy_only=False), None
    except pa.ArrowInvalid:
        return np.zeros(0), _first_wrong(texts)


def is_float(word: str) -> bool:
    """Whether a word of a sample is a number."""
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def lengths(words: Any) -> NDArray[np.int32]:
    """Bytes of each word of a binary array, (n,)."""
    return np.asarray(pc.binary_length(words).to_numpy(zero_copy_only=False))


def _first_wrong(texts: Any) -> int:
    """The first word that cannot be cast, by halves."""
    start, stop = 0, len(texts)
    while stop - start > 1:
        middle = (start + stop) // 2
        try:
            texts[start:middle].cast(pa.float64())
            start = middle
        except pa.ArrowInvalid:
            stop = middle
    return start
