"""Corpora in memory, from files and in other words; how they are cut into partitions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.config import IngestConfig, SourceConfig, TokenConfig, VocabularyConfig
from tdtool.data.corpus import Corpus, partition_starts
from tdtool.data.ingest import ingest

SMALLEST, LARGEST = 1 << 13, 1 << 22
sizes = st.lists(st.one_of(st.integers(0, 300), st.integers(0, 30_000)), min_size=0, max_size=60)


def indptr_of(entries: list[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(entries, dtype=np.int64)]).astype(np.int64)


@given(sizes)
def test_partitions_cover_every_document_once_in_order(entries: list[int]) -> None:
    indptr = indptr_of(entries)
    starts = partition_starts(indptr)
    assert starts.dtype == np.int64
    assert (starts[0], starts[-1]) == (0, len(entries))
    assert np.all(np.diff(starts) > 0)


@given(sizes)
def test_partitions_are_even_in_entries(entries: list[int]) -> None:
    """None is larger than the size aimed at by more than one document, and only the last may be much smaller."""
    indptr = indptr_of(entries)
    held = np.diff(indptr[partition_starts(indptr)])
    target = min(max(indptr[-1] // 8, SMALLEST), LARGEST)
    assert held.size <= 65
    assert np.all(held <= target + max(entries, default=0))


@pytest.mark.parametrize(
    ("n_documents", "each", "partitions"),
    [(50, 20, 1), (1000, 100, 8), (100_000, 21, 8), (100_000, 60, 23), (1_000_000, 200, 64)],
)
def test_how_many_partitions(n_documents: int, each: int, partitions: int) -> None:
    """Small corpora still spread over cores; large ones have at most 64 partitions until they are very large."""
    starts = partition_starts(np.arange(n_documents + 1, dtype=np.int64) * each)
    assert abs(starts.size - 1 - partitions) <= 1


# ---- in memory


def test_from_csr_takes_any_order_duplicates_and_zeros_and_changes_nothing() -> None:
    data, indices, indptr = np.array([1, 2, 0, 3, 4, 5]), np.array([3, 0, 1, 3, 2, 2]), np.array([0, 4, 4, 6])
    matrix = sp.csr_array((data.copy(), indices.copy(), indptr.copy()), shape=(3, 5))
    corpus = Corpus.from_csr(matrix)
    rows = corpus.rows(0)
    assert rows.indptr.tolist() == [0, 2, 2, 3]
    assert rows.indices.tolist() == [0, 3, 2]
    assert rows.counts.tolist() == [2, 4, 9]
    assert (rows.indptr.dtype, rows.indices.dtype, rows.counts.dtype) == (np.int64, np.int32, np.int32)
    assert (corpus.n_documents, corpus.n_terms, corpus.n_entries, rows.n_documents) == (3, 5, 3, 3)
    np.testing.assert_array_equal(matrix.data, data)
    np.testing.assert_array_equal(matrix.indices, indices)
    np.testing.assert_array_equal(matrix.indptr, indptr)


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [(np.int64, np.int32), (np.uint8, np.int32), (np.float64, np.float32), (np.float32, np.float32)],
)
def test_from_csr_keeps_whole_numbers_whole(dtype: type, kept: type) -> None:
    assert Corpus.from_csr(sp.csr_array(np.array([[3, 0, 1]], dtype))).counts.dtype == kept


def test_from_csr_does_not_wrap_large_counts_round() -> None:
    corpus = Corpus.from_csr(sp.csr_array(np.array([[2**31 + 5, 1]], np.int64)))
    np.testing.assert_allclose(corpus.counts, [2**31 + 5, 1])


def test_from_csr_names() -> None:
    matrix = sp.csr_array(np.eye(2, dtype=int))
    named = Corpus.from_csr(matrix, ["a", "b"], ["first", "second"])
    assert (named.vocabulary, named.document_ids) == (["a", "b"], ["first", "second"])
    plain = Corpus.from_csr(matrix)
    assert (plain.vocabulary, plain.document_ids) == (["term0", "term1"], ["0", "1"])


def test_rows_are_the_parts_of_the_matrix(tiny_corpus: Corpus) -> None:
    whole = tiny_corpus.matrix().toarray()
    for index in range(tiny_corpus.n_partitions):
        rows = tiny_corpus.rows(index)
        part = sp.csr_array((rows.counts, rows.indices, rows.indptr), shape=(rows.n_documents, 7)).toarray()
        np.testing.assert_array_equal(part, whole[rows.start : rows.start + rows.n_documents])
        assert rows.indptr[0] == 0
        assert rows.index == index
    assert tiny_corpus.n_partitions == 5


# ---- through other words


def dense(corpus: Corpus) -> NDArray:
    """The corpus from its partitions."""
    parts = [corpus.rows(i) for i in range(corpus.n_partitions)]
    shape = corpus.n_terms
    return np.vstack(
        [sp.csr_array((p.counts, p.indices, p.indptr), shape=(p.n_documents, shape)).toarray() for p in parts]
    )


WORDS = [list("gfedcba"), list("cxa"), ["x", "y"], list("abcdefg"), ["d"]]


@pytest.mark.parametrize("words", WORDS)
def test_seen_through_other_words(tiny_corpus: Corpus, words: list[str]) -> None:
    seen = tiny_corpus.seen_through(words)
    whole = dense(tiny_corpus)
    columns = [whole[:, "abcdefg".index(w)] if w in "abcdefg" else np.zeros(23) for w in words]
    np.testing.assert_array_equal(dense(seen), np.stack(columns, axis=1))
    assert seen.vocabulary == words
    assert seen.n_documents == 23  # those without a known word stay, empty
    for i in range(seen.n_partitions):
        rows = seen.rows(i)
        inside = np.repeat(np.arange(rows.n_documents), np.diff(rows.indptr))
        assert np.all(np.diff(rows.indices)[np.diff(inside) == 0] > 0)  # ascending within a document
        assert rows.indptr.size == tiny_corpus.rows(i).indptr.size


@pytest.mark.parametrize("words", WORDS)
def test_the_matrix_of_a_corpus_seen_through_other_words(tiny_corpus: Corpus, words: list[str]) -> None:
    seen = tiny_corpus.seen_through(words)
    matrix = seen.matrix()
    assert matrix.shape == (23, len(words))
    assert np.all(matrix.indices < len(words))  # scipy writes outside its memory when they are not
    np.testing.assert_array_equal(matrix.toarray(), dense(seen))


def test_seen_through_twice(tiny_corpus: Corpus) -> None:
    twice = tiny_corpus.seen_through(list("gcxa")).seen_through(list("acb"))
    expected = dense(tiny_corpus)[:, [0, 2, 1]]
    expected[:, 2] = 0  # b was lost on the way
    np.testing.assert_array_equal(dense(twice), expected)


# ---- from a file


@pytest.fixture
def stored(tmp_path: Path) -> Corpus:
    (tmp_path / "texts.txt").write_text("".join(f"apple pear{i % 3} plum{i % 7} apple\n" for i in range(50)))
    config = IngestConfig(SourceConfig(), TokenConfig(numbers="keep"), VocabularyConfig("none", min_df=1, max_df=1.0))
    return ingest(str(tmp_path / "texts.txt"), tmp_path / "corpus.h5", config, workers=1)


def test_open_leaves_the_entries_on_disk(stored: Corpus) -> None:
    assert stored.path is not None
    corpus = Corpus.open(stored.path)
    assert isinstance(corpus.counts, np.memmap)
    assert isinstance(corpus.indices, np.memmap)
    assert not corpus.counts.flags.writeable
    rows = corpus.rows(0)
    assert np.shares_memory(rows.counts, corpus.counts)
    whole = corpus.matrix().toarray()
    assert whole.shape == (50, 11)
    assert whole[:, corpus.vocabulary.index("apple")].tolist() == [2] * 50
    for kind, n in (("pear", 3), ("plum", 7)):
        for i in range(n):
            used = np.flatnonzero(whole[:, corpus.vocabulary.index(f"{kind}{i}")])
            assert used.tolist() == list(range(i, 50, n))
    assert corpus.ledger.rows_used == 50
    assert len(corpus.document_ids) == 50


def test_a_file_and_memory_are_the_same_corpus(stored: Corpus) -> None:
    memory = Corpus.from_csr(stored.matrix(), stored.vocabulary, stored.document_ids)
    for name in ("indptr", "indices", "counts", "starts"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(memory, name))
    assert dataclasses.replace(memory, ledger=stored.ledger).document_ids == stored.document_ids
