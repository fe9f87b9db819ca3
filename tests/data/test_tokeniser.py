"""What words are: the rules of the tokeniser, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from tdtool.config import TokenConfig
from tdtool.data import tokeniser
from tdtool.data.batches import TextBatch
from tdtool.errors import UsageError
from tests.oracles_text import batch_of


def words_of(*documents: bytes, config: TokenConfig = TokenConfig()) -> list[list[str]]:  # noqa: B008 -- frozen
    """The words of each document, without the gaps."""
    result = tokeniser.tokenise(batch_of(list(documents)), config)
    words = result.words.words()
    return [[words[token] for token in piece if token >= 0] for piece in np.split(result.tokens, result.ends)[:-1]]


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
    assert words_of(text.encode()) == [words]


def test_a_word_never_crosses_documents() -> None:
    assert words_of(b"ab", b"cd", b"", b"ef") == [["ab"], ["cd"], [], ["ef"]]


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


@pytest.mark.parametrize(
    ("numbers", "words"), [("keep", ["a1", "2024", "५"]), ("drop", ["a1"]), ("replace", ["a1", "#", "#"])]
)
def test_numbers_are_kept_dropped_or_replaced(numbers: str, words: list[str]) -> None:
    config = TokenConfig(min_length=1, numbers=numbers)  # type: ignore[arg-type]
    assert words_of("a1 2024 ५".encode(), config=config) == [words]


def test_what_is_left_out_is_counted() -> None:
    config = TokenConfig(min_length=2, max_length=5)
    result = tokeniser.tokenise(batch_of([b"a bb ccccc dddddd 1 22 \xff\xfe", "ไทย".encode()]), config)
    assert result.words.words() == ["bb", "ccccc", "ไทย"]
    assert result.tally == {
        tokeniser.INVALID_BYTES: 2,
        "words shorter than 2 characters left out": 1,
        "words longer than 5 characters left out": 1,
        "numbers left out": 2,
        tokeniser.UNSPACED: 3,
    }


def test_text_that_may_not_be_written_to_is_read_all_the_same() -> None:
    text = np.frombuffer(b"xx some words xx", np.uint8)
    batch = TextBatch(text, np.array([3, 13]), ["d"], "", np.zeros(1, np.int64))
    assert tokeniser.tokenise(batch, TokenConfig()).words.words() == ["some", "words"]


def test_a_long_document_of_distinct_words_outgrows_every_first_guess() -> None:
    words = [f"w{number:x}q" for number in range(30_000)]
    assert words_of(" ".join(words).encode(), "漢字".encode() * 20_000)[0] == words
