"""Phrases: planted ones are found and joined, others are not, and all figures equal those of a slow count."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdtool.config import IngestConfig, TokenConfig, VocabularyConfig
from tdtool.data import phrases
from tdtool.data.ingest import ingest
from tdtool.data.spill import Spill
from tdtool.data.stop_words import NO_STOP_WORDS, StopWords
from tdtool.data.vocabulary import Vocabulary
from tdtool.errors import UsageError


def streams_of(batches: list[list[list[str]]], spill: Spill) -> tuple[list[phrases.Stream], Vocabulary]:
    """Batches of documents of words, "." standing for a gap."""
    vocabulary, streams = Vocabulary(), []
    for documents in batches:
        numbers = [vocabulary.add(["" if word == "." else word for word in document]) for document in documents]
        ends = np.cumsum([len(document) for document in documents], dtype=np.int64)
        streams.append(phrases.Stream(spill.put(np.concatenate([*numbers, np.empty(0, np.int32)])), spill.put(ends)))
    return streams, vocabulary


def words_in(streams: list[phrases.Stream], vocabulary: Vocabulary, spill: Spill) -> list[list[list[str]]]:
    words = [*vocabulary.words(), "."]
    return [
        [[words[token] for token in part] for part in np.split(spill.get(s.tokens), spill.get(s.ends))[:-1]]
        for s in streams
    ]


def chosen_oracle(documents: list[list[str]], stop: set[str]) -> set[tuple[str, str]]:
    """The pairs that are phrases: p(ab) / p(a)p(b) >= p(ab)^-1/2, squared so that it is exact."""
    uses = Counter(word for document in documents for word in document if word != ".")
    pairs = Counter(
        (a, b) for document in documents for a, b in pairwise(document) if a != b and not {a, b} & (stop | {"."})
    )
    n = sum(uses.values())
    return {
        (a, b)
        for (a, b), count in pairs.items()
        if count >= 10 and Fraction(count, n) ** 3 >= (Fraction(uses[a], n) * Fraction(uses[b], n)) ** 2
    }


def joined_oracle(document: list[str], chosen: set[tuple[str, str]]) -> list[str]:
    result, place = [], 0
    while place < len(document):
        pair = tuple(document[place : place + 2])
        result.append("_".join(pair) if pair in chosen else document[place])
        place += 2 if pair in chosen else 1
    return result


_DOCUMENTS = st.lists(
    st.lists(st.sampled_from([*"aabbcdefg", ".", "new york", "york new york"]), max_size=12), max_size=12
)


@settings(deadline=None)
@given(st.lists(_DOCUMENTS, min_size=1, max_size=3))
def test_pairs_are_counted_chosen_and_joined_as_defined(batches: list[list[list[str]]]) -> None:
    batches = [[" ".join(document * 5).split() for document in documents] for documents in batches]
    documents = [document for batch in batches for document in batch]
    chosen = chosen_oracle(documents, {"g"})
    with Spill() as spill:
        streams, vocabulary = streams_of(batches, spill)
        streams = phrases.find_phrases(streams, vocabulary, spill, StopWords("mine", frozenset({"g"})), 2)
        found = words_in(streams, vocabulary, spill)
    assert {word for word in vocabulary.words() if "_" in word} == {"_".join(pair) for pair in chosen}
    assert found == [[joined_oracle(document, chosen) for document in batch] for batch in batches]


def test_a_word_twice_in_a_row_is_no_phrase() -> None:
    documents = [[f"w{number}" for number in range(900)], *[["far", "far"]] * 20]
    with Spill() as spill:
        streams, vocabulary = streams_of([documents], spill)
        assert phrases.find_phrases(streams, vocabulary, spill, NO_STOP_WORDS, 2) == streams


@pytest.mark.parametrize("most", [1, 3, 20])
def test_pairs_are_counted_share_by_share_where_they_are_many(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    draw = np.random.default_rng(3)
    batches = [[list(map(str, draw.integers(0, 9, 200))) for _ in range(n)] for n in (2, 5, 3)]
    found = []
    for limit in (1 << 22, most):
        monkeypatch.setattr(phrases, "_MOST_PAIRS", limit)
        with Spill() as spill:
            streams, vocabulary = streams_of(batches, spill)
            counted = phrases._count(streams, np.ones(vocabulary.size, np.uint8), 2, spill)
            found.append([array.tolist() for array in counted])
    assert found[0] == found[1]
    pairs = Counter(
        pair for batch in batches for document in batch for pair in pairwise(document) if len(set(pair)) > 1
    )
    words = vocabulary.words()
    here = {(words[a], words[b]): n for a, b, n in zip(*found[1], strict=True)}
    assert here == {pair: count for pair, count in pairs.items() if count >= 10}
    assert len(here) > 40


def text(tmp_path: Path) -> Path:
    """New York City, machine learning, and words that stand beside each other only by chance."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(400):
        words = list(rng.choice([f"{a}{b}{c}" for a in "bdfg" for b in "aeiou" for c in "kmnst"], 12))
        words[3:3] = ["New", "York", "City"] if number % 4 == 0 else ["machine", "learning"] if number % 4 == 1 else []
        lines.append(" ".join(words) + " the of the of")
    path = tmp_path / "a.txt"
    path.write_text("\n".join(lines))
    return path


def config(ngrams: int) -> IngestConfig:
    return IngestConfig(
        tokens=TokenConfig(ngrams=ngrams), vocabulary=VocabularyConfig(stop_words="en", min_df=1, max_df=1.0)
    )


@pytest.mark.parametrize(
    ("ngrams", "expected"),
    [(1, set()), (2, {"new_york", "machine_learning"}), (3, {"new_york_city", "machine_learning"})],
)
def test_planted_phrases_are_found(tmp_path: Path, ngrams: int, expected: set[str]) -> None:
    source = text(tmp_path)
    source.write_text(source.read_text().replace("New", "Nev"))
    corpus = ingest(str(source), tmp_path / "c.h5", config(ngrams), workers=1)
    expected = {word.replace("new", "nev") for word in expected}
    assert {word for word in corpus.vocabulary if "_" in word} == expected
    total = corpus.matrix().sum(axis=0)
    assert all(total[corpus.vocabulary.index(word)] == 100 for word in expected)
    assert ("york" in corpus.vocabulary) == (ngrams == 1)


def test_a_stop_word_is_in_no_phrase(tmp_path: Path) -> None:
    corpus = ingest(str(text(tmp_path)), tmp_path / "c.h5", config(2), workers=1)
    assert {word for word in corpus.vocabulary if "_" in word} == {"york_city", "machine_learning"}


@pytest.mark.parametrize("ngrams", [2, 3])
def test_a_fixed_vocabulary_gives_its_phrases_back(tmp_path: Path, ngrams: int) -> None:
    source = text(tmp_path)
    source.write_text(source.read_text().replace("New", "Nev"))
    fitted = ingest(str(source), tmp_path / "c.h5", config(ngrams), workers=1)
    again = ingest(str(source), tmp_path / "d.h5", config(ngrams), workers=1, fixed_vocabulary=fitted.vocabulary)
    assert (again.matrix() != fitted.matrix()).nnz == 0
    assert again.document_ids == fitted.document_ids


def test_a_fixed_vocabulary_has_no_phrase_of_a_word_with_itself() -> None:
    """Such as no text of its own could have given; here the word is the first of all."""
    with Spill() as spill:
        streams, vocabulary = streams_of([[["foo", "foo", "bar", "foo"]]], spill)
        vocabulary.add(["foo_foo", "bar_foo"])
        joined = phrases.known_phrases(streams, vocabulary, spill, 2)
        assert words_in(joined, vocabulary, spill) == [[["foo", "foo", "bar_foo"]]]


def test_chinese_pairs_are_no_phrases(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n".join(["漢字仮名 文字"] * 30 + ["word"] * 30), encoding="utf-8")
    corpus = ingest(str(path), tmp_path / "c.h5", config(2), workers=1)
    assert not [word for word in corpus.vocabulary if "_" in word]


def test_counts_have_no_phrases(tmp_path: Path) -> None:
    (tmp_path / "docword.x.txt").write_text("1\n1\n1\n1 1 2\n")
    (tmp_path / "vocab.x.txt").write_text("owl\n")
    with pytest.raises(UsageError, match="reading order"):
        ingest(str(tmp_path / "docword.x.txt"), tmp_path / "c.h5", config(2), workers=1)


def test_no_text_has_no_phrases() -> None:
    with Spill() as spill:
        streams, vocabulary = streams_of([[[]]], spill)
        assert phrases.find_phrases(streams, vocabulary, spill, NO_STOP_WORDS, 3) == streams
