"""Planted corpora: what they claim about themselves holds, and they come out the same every time."""

from __future__ import annotations

import io
import json
import os
import re
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from stopwordsiso import stopwords

from tdtool.data.image_decode import decode
from tdtool.data.planted import (
    PlantedStream,
    main,
    planted_corpus,
    planted_lda,
    planted_stream,
    planted_vocabulary,
    write_lines,
    write_uci,
)
from tdtool.data.planted_lda import cumulative_rows, draw_counts
from tdtool.data.planted_shapes import N_TEST, N_TRAIN
from tdtool.errors import UsageError

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"


def small_stream(n_documents: int = 23, seed: int = 3) -> PlantedStream:
    return planted_stream(n_documents, 60, 3, mean_length=12.0, seed=seed, block_size=7)


def same(left: sparse.csr_array, right: sparse.csr_array) -> bool:
    return np.array_equal(left.toarray(), right.toarray())


def test_draw_counts_takes_each_word_from_its_topic_and_keeps_lengths() -> None:
    topic_word = np.array([[0.5, 0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 0.0]])
    document_topic = np.array([[1.0, 0.0], [0.0, 1.0], [0.25, 0.75]])
    lengths = np.array([40, 0, 4000])
    counts = draw_counts(document_topic, lengths, cumulative_rows(topic_word), np.random.default_rng(5)).toarray()
    assert counts.dtype == np.int32
    assert counts.sum(axis=1).tolist() == lengths.tolist()
    assert counts[0, 3] == 0
    assert counts[0, :2].min() > 0
    assert counts[:, [2, 4]].sum() == 0  # words of probability 0
    assert abs(counts[2, 3] / 4000 - 0.75) < 0.03


def test_planted_lda_has_the_moments_of_its_truth() -> None:
    planted = planted_lda(
        4000, 11, 3, alpha0=1.5, mean_length=30, topic_concentration=0.3, rng=np.random.default_rng(0)
    )
    assert planted.document_term.shape == (4000, 11)
    assert planted.topic_word.shape == (3, 11)
    np.testing.assert_allclose(planted.alpha, 0.5)
    np.testing.assert_allclose(planted.topic_word.sum(axis=1), 1)
    np.testing.assert_allclose(planted.document_topic.sum(axis=1), 1)
    assert abs((planted.document_topic**2).mean() - 0.5 * 1.5 / (1.5 * 2.5)) < 0.01  # of Dirichlet(.5, .5, .5)
    counts = planted.document_term.toarray().astype(float)
    lengths = counts.sum(axis=1)
    assert abs(lengths.mean() - 30) < 0.5
    assert abs(lengths.var() - 30) < 3
    words = planted.document_topic @ planted.topic_word
    pairs = np.einsum("da,db->ab", counts, counts / (lengths * (lengths - 1))[:, None])
    pairs -= np.diag((counts / (lengths * (lengths - 1))[:, None]).sum(axis=0))
    np.testing.assert_allclose(pairs / 4000, words.T @ words / 4000, atol=0.003)


def test_planted_lda_topics_are_as_concentrated_as_asked() -> None:
    def effective_words(concentration: float) -> float:
        planted = planted_lda(
            1, 500, 20, alpha0=1, mean_length=1, topic_concentration=concentration, rng=np.random.default_rng(1)
        )
        return float((1 / (planted.topic_word**2).sum(axis=1)).mean())

    # 1 / E sum p^2 of a Dirichlet is (V c + 1) / (c + 1)
    assert effective_words(0.05) == pytest.approx((500 * 0.05 + 1) / 1.05, rel=0.15)
    assert effective_words(2.0) == pytest.approx(1001 / 3, rel=0.05)


def test_planted_lda_depends_on_the_generator_alone() -> None:
    first, again, other = (
        planted_lda(50, 20, 4, alpha0=1, mean_length=9, rng=np.random.default_rng(seed)) for seed in (7, 7, 8)
    )
    assert same(first.document_term, again.document_term)
    assert not same(first.document_term, other.document_term)


def test_a_block_is_a_function_of_seed_and_index() -> None:
    in_order = list(small_stream())
    assert [block.shape for block in in_order] == [(7, 60), (7, 60), (7, 60), (2, 60)]
    for index in (2, 0, 3):
        assert same(small_stream().block(index), in_order[index])
    assert not same(small_stream(seed=4).block(0), in_order[0])
    assert not same(in_order[0], in_order[1])


def test_a_shorter_stream_is_the_beginning_of_a_longer_one() -> None:
    longer = sparse.vstack(list(small_stream(40))).tocsr()
    shorter = sparse.vstack(list(small_stream(23))).tocsr()
    assert same(longer[:23], shorter)


def test_stream_has_the_asked_length_and_a_zipf_like_vocabulary() -> None:
    stream = planted_stream(3000, 20_000, 10, mean_length=89.0, block_size=3000)
    counts = stream.block(0)
    lengths = counts.sum(axis=1)
    assert lengths.min() >= 1
    assert abs(lengths.mean() - 89) < 2
    assert lengths.std() > 3 * np.sqrt(89)  # abstracts vary more than Poisson
    frequency = np.sort(np.asarray(counts.sum(axis=0)))[::-1]
    assert frequency[:200].sum() > 0.3 * frequency.sum()
    assert 0.001 < frequency[0] / frequency.sum() < 0.05
    np.testing.assert_allclose(stream.topic_word.sum(axis=1), 1)
    assert stream.topic_word.min() > 0


def test_memory_of_a_stream_does_not_grow() -> None:
    def peak(n_documents: int) -> int:
        stream = planted_stream(n_documents, 5000, 5, block_size=500)
        tracemalloc.start()
        try:
            write_uci(stream, io.BufferedWriter(NullFile()))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(6000) < 1.15 * peak(1000)


class NullFile(io.RawIOBase):
    """Takes everything, keeps nothing."""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        return len(memoryview(data))  # type: ignore[arg-type]


def test_uci_file_holds_the_counts() -> None:
    file = io.BytesIO()
    write_uci(small_stream(), file)
    header, entries = (
        file.getvalue().decode("ascii").split("\n", 3)[:3],
        np.loadtxt(io.BytesIO(file.getvalue()), skiprows=3),
    )
    counts = sparse.vstack(list(small_stream())).tocsr()
    assert header == ["23", "60", str(counts.nnz)]
    rows, columns, values = entries.astype(int).T
    read = sparse.csr_array((values, (rows - 1, columns - 1)), shape=(23, 60))
    assert same(read, counts)
    assert re.fullmatch(rb"(\d+\n){3}([1-9]\d* [1-9]\d* [1-9]\d*\n)+", file.getvalue())


def test_text_lines_hold_the_counts_in_no_particular_order() -> None:
    file, again = io.BytesIO(), io.BytesIO()
    write_lines(small_stream(), file)
    write_lines(small_stream(), again)
    assert file.getvalue() == again.getvalue()
    lines = file.getvalue().decode("ascii").splitlines()
    vocabulary = planted_vocabulary(60)
    counts = sparse.vstack(list(small_stream())).toarray()
    assert [Counter(line.split()) for line in lines] == [
        Counter({word: int(count) for word, count in zip(vocabulary, row, strict=True) if count}) for row in counts
    ]
    assert any(line.split() != sorted(line.split(), key=vocabulary.index) for line in lines)


@pytest.mark.parametrize("n_terms", [1, 57, 4000])
def test_planted_vocabulary_is_different_plain_words(n_terms: int) -> None:
    words = planted_vocabulary(n_terms)
    assert len(set(words)) == len(words) == n_terms
    assert all(re.fullmatch("[a-z]{4,6}", word) for word in words)
    assert not set(words) & set(stopwords("en"))
    assert [len(word) for word in words] == sorted(len(word) for word in words)


def test_main_writes_a_bag_of_words(tmp_path: Path) -> None:
    for folder in ("first", "again"):
        main([str(tmp_path / folder), "--seed", "2", "--documents", "40"])
    first, again = tmp_path / "first", tmp_path / "again"
    assert {path.name for path in first.iterdir()} == {"docword.planted.txt.gz", "vocab.planted.txt"}
    for path in first.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()
    n_lines = len((first / "vocab.planted.txt").read_text().splitlines())
    assert n_lines == np.loadtxt(first / "docword.planted.txt.gz", max_rows=2)[1] == 141_043


def test_sample_data_is_what_the_generator_writes(tmp_path: Path) -> None:
    main([str(tmp_path), "--seed", "0"])
    written = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path: (SAMPLE_DATA / path).read_bytes() for path in written if (SAMPLE_DATA / path).exists()}
    assert kept.keys() == written.keys()
    for path, data in written.items():  # zlib's bytes are not the same everywhere, pixels are
        assert kept[path] == data or np.array_equal(*(decode(d, name=str(path)) for d in (kept[path], data))), path
    assert len(list((SAMPLE_DATA / "corpus").iterdir())) == 300
    assert sum(len(files) for _, _, files in os.walk(SAMPLE_DATA / "images")) == 5 * (N_TRAIN + N_TEST)


def test_sample_corpus_is_another_for_another_seed(tmp_path: Path) -> None:
    planted_corpus(tmp_path, np.random.default_rng(1))
    ours = (SAMPLE_DATA / "corpus.truth.json").read_bytes()
    assert (tmp_path / "corpus.truth.json").read_bytes() != ours


def test_truth_of_the_sample_corpus_is_in_its_documents() -> None:
    truth = json.loads((SAMPLE_DATA / "corpus.truth.json").read_text())
    topic_of = {word: topic for topic, words in truth["topics"].items() for word in words}
    assert len(truth["documents"]) == 300
    for name, shares in truth["documents"].items():
        text = (SAMPLE_DATA / "corpus" / name).read_text(encoding="ascii")
        assert 3 <= text.count(".") <= 8
        found = Counter(topic_of[word] for word in re.findall("[a-z]+", text.lower()) if word in topic_of)
        assert shares == {topic: pytest.approx(n / found.total(), abs=1e-4) for topic, n in found.items()}
        assert 1 <= len(shares) <= 3
    assert Counter(len(shares) for shares in truth["documents"].values()).keys() == {1, 2, 3}


def test_sample_topics_share_no_word() -> None:
    truth = json.loads((SAMPLE_DATA / "corpus.truth.json").read_text())
    assert [len(words) for words in truth["topics"].values()] == [40] * 8
    words = [word for words in truth["topics"].values() for word in words] + truth["common"]
    assert len(set(words)) == len(words)
    assert not set(words) & set(stopwords("en"))


def test_planted_corpus_refuses_a_directory_in_use(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "mine.txt").write_text("keep me")
    with pytest.raises(UsageError, match="already holds files"):
        planted_corpus(tmp_path, np.random.default_rng(0))
    assert [path.name for path in (tmp_path / "corpus").iterdir()] == ["mine.txt"]
