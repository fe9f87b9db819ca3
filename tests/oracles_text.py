"""The tokeniser and what follows it, written from the rules on Python strings, without the kernels' tricks."""

from __future__ import annotations

import codecs
import unicodedata
from collections import Counter
from itertools import pairwise

import numpy as np

from tdtool.config import TokenConfig
from tdtool.data.batches import TextBatch

GAP = None
_CJK = [(0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x303C), (0x3041, 0x3096), (0x309D, 0x30FF), (0x31F0, 0x31FF)]
_CJK += [(0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF)]
_UNSPACED = [(0xE00, 0xE7F), (0xE80, 0xEFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F)]


def batch_of(documents: list[bytes]) -> TextBatch:
    """A batch as a reader would make it."""
    offsets = np.cumsum([0] + [len(document) for document in documents], dtype=np.int64)
    text = np.frombuffer(b"".join(documents), np.uint8)
    lines = np.arange(1, len(documents) + 1, dtype=np.int64)
    return TextBatch(text, offsets, [f"d{line}" for line in lines], "nasty.txt", lines)


def decode_oracle(data: bytes) -> tuple[str, int]:
    """The text with one separator for each invalid byte, and how many there were."""
    invalid = 0

    def count(error: UnicodeError) -> tuple[str, int]:
        nonlocal invalid
        assert isinstance(error, UnicodeDecodeError)
        invalid += error.end - error.start
        return "\n" * (error.end - error.start), error.end

    codecs.register_error("count", count)
    return data.decode("utf-8", "count"), invalid


def tokenise_oracle(data: bytes, config: TokenConfig) -> tuple[list[str | None], dict[str, int]]:
    """Words of one document, GAP where one was left out and after each CJK word; and what was counted."""
    text, invalid = decode_oracle(data)
    tally = Counter({"invalid": invalid})
    words: list[str | None] = []
    for run in _runs(text):
        if _is_cjk(run[0]):
            units = _units(run)
            pairs = ["".join(pair) for pair in pairwise(units)] or units
            for pair in pairs:
                tally["long"] += len(pair) > config.max_length
                words += [pair if len(pair) <= config.max_length else GAP, GAP]
        else:
            words.append(_one_word(run, config, tally))
    return words, {name: n for name, n in tally.items() if n}


def count_oracle(words: list[str | None]) -> Counter[str]:
    """How often each word is used."""
    return Counter(word for word in words if word is not GAP)


def _one_word(run: str, config: TokenConfig, tally: Counter[str]) -> str | None:
    tally["unspaced"] += sum(unicodedata.category(c)[0] in "LM" and _within(c, _UNSPACED) for c in run)
    if config.numbers != "keep" and all(unicodedata.category(c)[0] == "N" for c in run):
        tally["numbers"] += 1
        return "#" if config.numbers == "replace" else GAP
    if len(run) > config.max_length or len(run) < config.min_length:
        tally["long" if len(run) > config.max_length else "short"] += 1
        return GAP
    return "".join(c.lower()[0] for c in run) if config.lowercase else run


def _runs(text: str) -> list[str]:
    """Maximal runs of word characters, cut where CJK begins or ends."""
    runs, current = [], ""
    for c in text + "\n":
        inside = unicodedata.category(c)[0] in "LMN"
        plain_mark = unicodedata.category(c)[0] == "M" and not _within(c, _UNSPACED)
        joins = bool(current) and (plain_mark or _is_cjk(c) == _is_cjk(current[0]))
        if current and not (inside and joins):
            runs.append(current)
            current = ""
        if inside:
            current += c
    return runs


def _units(run: str) -> list[str]:
    """CJK characters, each with the marks that follow it."""
    units: list[str] = []
    for c in run:
        if unicodedata.category(c)[0] == "M":
            units[-1] += c
        else:
            units.append(c)
    return units


def _is_cjk(c: str) -> bool:
    return unicodedata.category(c)[0] in "LN" and _within(c, _CJK)


def _within(c: str, ranges: list[tuple[int, int]]) -> bool:
    return any(low <= ord(c) <= high for low, high in ranges)
