"""The table of words equals a dictionary, and the filters take out what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdtool.config import VocabularyConfig
from tdtool.data.stop_words import NO_STOP_WORDS, StopWords
from tdtool.data.term_selection import check_vocabulary, document_limits, keep_first, select_terms
from tdtool.data.vocabulary import Vocabulary, WordTable
from tdtool.errors import InputError, UsageError

_WORDS = st.lists(st.text("abcé漢", min_size=0, max_size=4), max_size=60)


@settings(deadline=None)
@given(st.lists(_WORDS, max_size=4))
def test_a_table_numbers_words_as_a_dictionary_does(batches: list[list[str]]) -> None:
    table, expected = WordTable(n_terms=2, n_bytes=1), {"": -1}
    for words in batches:
        numbers = table.add(words)
        assert numbers.tolist() == [expected.setdefault(word, len(expected) - 1) for word in words]
    assert table.words() == [word for word in expected if word]
    assert table.find([*expected, "zz"]).tolist() == [*expected.values(), -1]


@settings(deadline=None)
@given(_WORDS, _WORDS)
def test_merging_is_adding_one_table_after_the_other(first: list[str], second: list[str]) -> None:
    table, other, both = WordTable(2, 1), WordTable(2, 1), WordTable()
    table.add(first)
    other.add(second)
    both.add(first + second)
    numbers = table.merge(other)
    assert table.words() == both.words()
    assert [table.words()[number] for number in numbers] == other.words()


def test_words_with_one_hash_stay_apart() -> None:
    table = WordTable()
    table.add(["one", "two"])
    table.hashes[:2] = 5
    table.slots[:] = 0
    table.reserve(table.hashes.size, 0)
    source, bounds, numbers = (
        np.frombuffer(bytearray(b"twoonesix"), np.uint8),
        np.array([0, 3, 6, 9]),
        np.empty(3, np.int32),
    )
    table.add_bytes(source, bounds, np.full(3, 5), numbers)
    assert numbers.tolist() == [1, 0, 2]


def a_vocabulary(frequencies: dict[str, int]) -> Vocabulary:
    """Words that are used in so many documents, and three times in each."""
    vocabulary = Vocabulary()
    numbers = vocabulary.add(list(frequencies))
    for number, frequency in zip(numbers, frequencies.values(), strict=True):
        vocabulary.observe(np.full(frequency, number, np.int32), np.full(frequency, 3, np.int32))
    return vocabulary


def kept(
    frequencies: dict[str, int], n_documents: int, config: VocabularyConfig, stop: StopWords
) -> tuple[list[str], list[int]]:
    vocabulary = a_vocabulary(frequencies)
    selection = select_terms(vocabulary, n_documents, config, stop)
    assert selection.numbers[selection.order].tolist() == list(range(selection.order.size))
    assert (selection.numbers >= 0).sum() == selection.order.size
    return vocabulary.words(selection.order), list(selection.removed.values())


def test_filters_apply_in_order_and_the_kept_words_are_sorted() -> None:
    frequencies = {"the": 90, "zoo": 7, "rare": 1, "bear": 7, "every": 70, "émeu": 7, "wolf": 9, "unused": 0}
    config = VocabularyConfig(min_df=2, max_df=0.5, max_size=3)
    assert kept(frequencies, 100, config, StopWords("en", frozenset({"the"}))) == (
        ["wolf", "bear", "zoo"],
        [1, 1, 1, 1],
    )


def test_document_frequency_and_total_are_counted() -> None:
    vocabulary = a_vocabulary({"once": 1, "twice": 2})
    assert vocabulary.document_frequency[:3].tolist() == [1, 2, 0]
    assert vocabulary.count[:3].tolist() == [3, 6, 0]


@pytest.mark.parametrize(
    ("n_documents", "config", "limits"),
    [
        (1000, VocabularyConfig(), (5, 300)),
        (999, VocabularyConfig(), (2, 299)),
        (50, VocabularyConfig(), (2, 15)),
        (49, VocabularyConfig(), (1, 49)),
        (49, VocabularyConfig(max_df=0.3), (1, 14)),
        (3, VocabularyConfig(max_df=0.3), (1, 1)),
        (1000, VocabularyConfig(min_df=0.01, max_df=1.0), (10, 1000)),
        (1000, VocabularyConfig(min_df=7, max_df=20), (7, 20)),
        (7, VocabularyConfig(min_df=4, max_df=0.3), (4, 4)),
    ],
)
def test_limits_of_document_frequency(n_documents: int, config: VocabularyConfig, limits: tuple[float, float]) -> None:
    assert document_limits(n_documents, config) == limits


def test_no_word_left_says_what_took_them() -> None:
    with pytest.raises(InputError) as caught:
        kept({"the": 40, "rare": 1, "every": 90}, 100, VocabularyConfig(), StopWords("en", frozenset({"the"})))
    for part in (
        "3 distinct",
        "1 stop words (en)",
        "1 in fewer than 2 documents",
        "1 in more than 30 of 100",
        "--stop-words none",
    ):
        assert part in str(caught.value)


def test_no_word_found_says_so() -> None:
    with pytest.raises(InputError, match=r"no words were found\n.*--min-length"):
        kept({}, 5, VocabularyConfig(), NO_STOP_WORDS)


def test_a_fixed_vocabulary_keeps_its_order() -> None:
    vocabulary = a_vocabulary({"zoo": 1, "bear": 0, "new": 5})
    selection = keep_first(vocabulary, 2)
    assert (selection.order.tolist(), selection.numbers.tolist()) == ([0, 1], [0, 1, -1])


@pytest.mark.parametrize(
    "config",
    [VocabularyConfig(min_df=-1), VocabularyConfig(max_df=float("nan")), VocabularyConfig(max_size=0)],
)
def test_limits_that_cannot_be(config: VocabularyConfig) -> None:
    with pytest.raises(UsageError, match="--m"):
        check_vocabulary(config)
