"""The compiled tokeniser equals the slow one on nasty text, and does what its rules say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tdtool.config import TokenConfig
from tdtool.data import tokeniser
from tdtool.data.batches import TextBatch
from tdtool.errors import UsageError
from tests.oracles_text import tokenise_oracle

_NAMES = {"invalid": tokeniser.INVALID_BYTES, "unspaced": tokeniser.UNSPACED}

_NASTY_CHARACTERS = st.sampled_from(
    list(
        "aZ zé_-'0९Ⅷ²\0\u0301\u0345\u200d\ufe0f\u0130\u1e9eſKȺΣς漢字々〇ひらカﾀﾞ゙ー한ไทยလာ\U0001f600\U00020000\U0001d400\u00ad\ufeff#"
    )
)
_NASTY_BYTES = st.sampled_from(
    [
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xe0\x80\x80",
        b"\xf0\x80\x80\x80",
        b"\xf4\x90\x80\x80",
    ]
    + [
        b"\xf8\x88\x80\x80\x80",
        b"\xff",
        b"\x80",
        b"\xbf\xbf",
        b"\xc3",
        b"\xe2",
        b"\xe2\x82",
        b"\xf0",
        b"\xf0\x9f",
        b"\xf0\x9f\x98",
    ]
)
_CHARACTERS = st.one_of(_NASTY_CHARACTERS, st.characters(exclude_categories=["Cs"])).map(lambda c: c.encode())
_DOCUMENT = st.lists(st.one_of(_CHARACTERS, _CHARACTERS, _NASTY_BYTES), max_size=40).map(b"".join)
_CONFIG = st.builds(
    lambda low, more, numbers, lowercase: TokenConfig(low, low + more, numbers, lowercase),
    st.integers(1, 4),
    st.integers(0, 9),
    st.sampled_from(["keep", "drop", "replace"]),
    st.booleans(),
)


def batch_of(documents: list[bytes]) -> TextBatch:
    """A batch as a reader would make it."""
    offsets = np.cumsum([0] + [len(document) for document in documents], dtype=np.int64)
    text = np.frombuffer(b"".join(documents), np.uint8)
    lines = np.arange(1, len(documents) + 1, dtype=np.int64)
    return TextBatch(text, offsets, [f"d{line}" for line in lines], "nasty.txt", lines)


def read_back(documents: list[bytes], config: TokenConfig) -> tuple[list[list[str | None]], dict[str, int]]:
    """Words of each document by the tokeniser under test."""
    result = tokeniser.tokenise(batch_of(documents), config)
    words = result.words.words()
    pieces = np.split(result.tokens, result.ends)
    assert pieces.pop().size == 0
    return [[None if token < 0 else words[token] for token in piece] for piece in pieces], result.tally


def assert_equals_oracle(documents: list[bytes], config: TokenConfig) -> None:
    expected = [tokenise_oracle(document, config) for document in documents]
    words, tally = read_back(documents, config)
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


@given(st.lists(_DOCUMENT, max_size=4), _CONFIG)
@example([b"\xe2\x82", b"\xac next"], TokenConfig())
def test_equals_the_oracle_on_nasty_text(documents: list[bytes], config: TokenConfig) -> None:
    assert_equals_oracle(documents, config)


@given(st.lists(st.binary(max_size=60), max_size=3), _CONFIG)
def test_equals_the_oracle_on_any_bytes(documents: list[bytes], config: TokenConfig) -> None:
    assert_equals_oracle(documents, config)


@given(_DOCUMENT, _CONFIG, st.integers(0, 40))
def test_room_that_runs_out_changes_nothing(document: bytes, config: TokenConfig, words: int) -> None:
    document = document * 3
    blocks = tokeniser._BLOCK_BYTES, tokeniser._BLOCK_WORDS
    whole = read_back([document, document[:7]], config)
    try:
        tokeniser._BLOCK_BYTES, tokeniser._BLOCK_WORDS = 8, 2 + words
        assert read_back([document, document[:7]], config) == whole
    finally:
        tokeniser._BLOCK_BYTES, tokeniser._BLOCK_WORDS = blocks


def test_every_code_point_alone_and_in_a_word() -> None:
    config = TokenConfig(min_length=1, numbers="keep")
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    some = points[:0x3000] + points[0x3000::37]
    for start in range(0, len(some), 4000):
        part = some[start : start + 4000]
        assert_equals_oracle([f" {c} x{c}y {c}{c} ".encode() for c in part], config)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't split_me well-known", ["don", "split", "me", "well", "known"]),
        ("ÉCOLE Straße ПРИВЕТ", ["école", "straße", "привет"]),
        ("漢字かな交じり", ["漢字", "字か", "かな", "な交", "交じ", "じり"]),
        ("字 A漢B", ["字", "漢"]),
        ("2024年 b2b 1984 x9", ["年", "b2b", "x9"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("cafe\u0301", ["cafe\u0301"]),
        ("か\u3099き", ["か\u3099き"]),
    ],
)
def test_words_of(text: str, words: list[str]) -> None:
    assert [word for word in read_back([text.encode()], TokenConfig())[0][0] if word] == words


def test_a_word_never_crosses_documents() -> None:
    assert read_back([b"ab", b"cd", b"", b"ef"], TokenConfig())[0] == [["ab"], ["cd"], [], ["ef"]]


def test_a_token_batch_counts_its_words() -> None:
    result = tokeniser.tokenise(batch_of([b"bb aa bb", b"", b"cc aa aa"]), TokenConfig())
    indptr, indices, counts = result.counts()
    assert result.words.words() == ["bb", "aa", "cc"]
    assert (indptr.tolist(), indices.tolist(), counts.tolist()) == ([0, 2, 2, 4], [0, 1, 2, 1], [2, 1, 1, 2])


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (TokenConfig(min_length=0), "1 <= minimum"),
        (TokenConfig(min_length=9, max_length=8), "from 9 to 8"),
        (TokenConfig(numbers="maybe"), "keep, drop, replace"),  # type: ignore[arg-type]
        (TokenConfig(ngrams=4), "4 words"),
    ],
)
def test_settings_that_cannot_be(config: TokenConfig, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        tokeniser.check_tokens(config)
