"""The compiled tokeniser equals the slow one, on nasty text and on any bytes."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tdtool.config import TokenConfig
from tdtool.data import tokeniser
from tdtool.kernels import unicode_tables as tables
from tests.oracles_text import batch_of, tokenise_oracle

_NAMES = {"invalid": tokeniser.INVALID_BYTES, "unspaced": tokeniser.UNSPACED}

_NASTY_CHARACTERS = st.sampled_from(
    [
        *"aZ zé_-'0९Ⅷ²\0ſKȺΣς漢字々〇ひらカﾀﾞ゙ー한ไทยလာ#",
        *"\u0301\u0345\u200d\ufe0f\u0130\u1e9e\u00ad\ufeff\U0001f600\U00020000\U0001d400",
    ]
)
_NASTY_SEQUENCES = "eda080 edbfbf c080 c1bf e08080 f0808080 f4908080 f888808080 ff 80 bfbf c3 e2 e282 f0 f09f f09f98"
_NASTY_BYTES = st.sampled_from([bytes.fromhex(sequence) for sequence in _NASTY_SEQUENCES.split()])
_CHARACTERS = st.one_of(_NASTY_CHARACTERS, st.characters(exclude_categories=["Cs"])).map(lambda c: c.encode())
_DOCUMENT = st.lists(st.one_of(_CHARACTERS, _CHARACTERS, _NASTY_BYTES), max_size=40).map(b"".join)
_CONFIG = st.builds(
    lambda low, more, numbers, lowercase: TokenConfig(low, low + more, numbers, lowercase),
    st.integers(1, 4),
    st.integers(0, 9),
    st.sampled_from(["keep", "drop", "replace"]),
    st.booleans(),
)


def _read_back(documents: list[bytes], config: TokenConfig) -> tuple[list[list[str | None]], dict[str, int]]:
    """Words of each document by the tokeniser under test."""
    result = tokeniser.tokenise(batch_of(documents), config)
    words = result.words.words()
    pieces = np.split(result.tokens, result.ends)
    assert pieces.pop().size == 0
    return [[None if token < 0 else words[token] for token in piece] for piece in pieces], result.tally


def _assert_equals_oracle(documents: list[bytes], config: TokenConfig) -> None:
    expected = [tokenise_oracle(document, config) for document in documents]
    words, tally = _read_back(documents, config)
    assert words == [each for each, _ in expected]
    totals: dict[str, int] = {}
    for _, counted in expected:
        for name, amount in counted.items():
            totals[name] = totals.get(name, 0) + amount
    names = _NAMES | {
        "short": f"words shorter than {config.min_length} characters left out",
        "long": f"words longer than {config.max_length} characters left out",
        "numbers": "numbers left out" if config.numbers == "drop" else "numbers replaced by #",
    }
    assert tally == {names[name]: amount for name, amount in totals.items()}


@settings(deadline=None)
@given(st.lists(_DOCUMENT, max_size=4), _CONFIG)
@example([b"\xe2\x82", b"\xac next"], TokenConfig())
def test_equals_the_oracle_on_nasty_text(documents: list[bytes], config: TokenConfig) -> None:
    _assert_equals_oracle(documents, config)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=3), _CONFIG)
def test_equals_the_oracle_on_any_bytes(documents: list[bytes], config: TokenConfig) -> None:
    _assert_equals_oracle(documents, config)


@settings(deadline=None)
@given(_DOCUMENT, _CONFIG, st.integers(0, 40))
def test_room_that_runs_out_changes_nothing(document: bytes, config: TokenConfig, words: int) -> None:
    document = document * 3
    blocks = tokeniser._BLOCK_BYTES, tokeniser._BLOCK_WORDS
    whole = _read_back([document, document[:7]], config)
    try:
        tokeniser._BLOCK_BYTES, tokeniser._BLOCK_WORDS = 8, 2 + words
        assert _read_back([document, document[:7]], config) == whole
    finally:
        tokeniser._BLOCK_BYTES, tokeniser._BLOCK_WORDS = blocks


def test_every_code_point_alone_and_in_a_word() -> None:
    config = TokenConfig(min_length=1, numbers="keep")
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    some = points[:0x3000] + points[0x3000::37]
    for start in range(0, len(some), 4000):
        part = some[start : start + 4000]
        _assert_equals_oracle([f" {c} x{c}y {c}{c} ".encode() for c in part], config)


def test_the_tables_agree_with_unicodedata_on_every_code_point() -> None:
    kinds = {"L": tables.LETTER, "M": tables.MARK, "N": tables.DIGIT}
    found = tables.unicode_tables()
    codes = np.arange(0x110000)
    entries = found.entries[64 * found.block[codes >> 6].astype(int) + (codes & 63)]
    categories = "".join(map(unicodedata.category, map(chr, range(0x110000))))[::2]
    kind = entries & 7
    wanted = np.array([kinds.get(category, tables.SEPARATOR) for category in categories])
    assert (np.where(kind == tables.CJK, wanted, kind) == wanted).all()
    assert np.isin(wanted[kind == tables.CJK], (tables.LETTER, tables.DIGIT)).all()
    lower = np.array([ord(chr(code).lower()[0]) for code in range(0x110000)])
    assert (codes + (entries >> tables.SHIFT) == np.where(wanted > 0, lower, codes)).all()


def test_without_lowercase_every_code_point_stays() -> None:
    assert not (tables.unicode_tables(lowercase=False).entries >> tables.SHIFT).any()
    assert bytes(tables.unicode_tables(lowercase=False).ascii[65:70]) == b"ABCDE"


@pytest.mark.parametrize("c", "漢ひカー々〇ﾀ\U00020000")
def test_han_and_kana_are_cjk(c: str) -> None:
    found = tables.unicode_tables()
    assert found.entries[64 * int(found.block[ord(c) >> 6]) + (ord(c) & 63)] == tables.CJK
