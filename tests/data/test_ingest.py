"""Ingest from end to end: the corpus says what the documents say, whatever the workers, the batches and the packing."""

from __future__ import annotations

import bz2
import dataclasses
import errno
import gzip
import logging
import os
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tdtool.config import IngestConfig, SourceConfig, TokenConfig, VocabularyConfig
from tdtool.data import corpus as corpus_module
from tdtool.data import ingest as module
from tdtool.data import spill, tokeniser
from tdtool.data.corpus import Corpus
from tdtool.data.corpus_writer import partition_digest
from tdtool.data.ingest import OUT_OF_VOCABULARY, ingest
from tdtool.data.readers import text_batches
from tdtool.errors import InputError, ResourceError, UsageError
from tdtool.store import hdf5
from tests.oracles_text import count_oracle, tokenise_oracle

PLAIN = IngestConfig(vocabulary=VocabularyConfig(stop_words="none", min_df=1, max_df=1.0))
WORDS = [f"{a}{b}{c}" for a in "bcdfgk" for b in "aeiou" for c in "lmnrst"]


def some_documents(n_documents: int, seed: int = 0, longest: int = 60) -> list[str]:
    """Documents of words drawn by Zipf's law, with a number and a capital here and there."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, len(WORDS) + 1)
    lengths = rng.integers(3, longest, n_documents)
    drawn = rng.choice(len(WORDS), lengths.sum(), p=share / share.sum())
    pieces = np.split(drawn, np.cumsum(lengths)[:-1])
    return [" ".join(WORDS[w] if w % 7 else WORDS[w].title() + " 12," for w in piece) for piece in pieces]


def directory_of(documents: list[str], at: Path) -> Path:
    at.mkdir()
    for number, document in enumerate(documents):
        (at / f"{number:04}.txt").write_text(document, encoding="utf-8")
    return at


def as_counts(corpus: Corpus) -> dict[str, dict[str, int]]:
    matrix = corpus.matrix().toarray()
    return {
        name: {corpus.vocabulary[term]: int(row[term]) for term in np.flatnonzero(row)}
        for name, row in zip(corpus.document_ids, matrix, strict=True)
    }


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(text_batches, "BATCH_BYTES", 700)
    return


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("workers", [1, 3])
def test_the_corpus_counts_the_words_of_every_document(tmp_path: Path, workers: int) -> None:
    documents = [*some_documents(40), "1 2 3", "lone"]
    source = directory_of(documents, tmp_path / "docs")
    corpus = ingest(str(source), tmp_path / "c.h5", PLAIN, workers=workers)
    expected = {
        f"{number:04}.txt": dict(count_oracle(tokenise_oracle(document.encode(), PLAIN.tokens)[0]))
        for number, document in enumerate(documents)
    }
    del expected["0040.txt"]
    assert as_counts(corpus) == expected
    assert list(as_counts(corpus)) == list(expected)
    rows = np.split(np.array(corpus.indices), corpus.indptr[1:-1])
    assert all((np.diff(row) > 0).all() for row in rows)
    frequency = Counter(word for counts in expected.values() for word in counts)
    assert corpus.vocabulary == sorted(frequency, key=lambda word: (-frequency[word], word))
    with hdf5.open(tmp_path / "c.h5") as reader:
        assert reader.get("vocabulary/document_frequency").tolist() == [frequency[word] for word in corpus.vocabulary]
        totals = Counter({w: sum(c.get(w, 0) for c in expected.values()) for w in frequency})
        assert reader.get("vocabulary/count").tolist() == [totals[word] for word in corpus.vocabulary]
    assert (corpus.ledger.rows_in, corpus.ledger.rows_used) == (42, 41)
    assert corpus.ledger.skips["no words left"].examples == [str(source / "0040.txt")]
    assert corpus.ledger.counters["numbers left out"] == sum(document.count(" 12,") for document in documents) + 3


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("ngrams", [1, 2])
def test_the_number_of_workers_changes_nothing(tmp_path: Path, ngrams: int) -> None:
    source = directory_of(some_documents(50, seed=1), tmp_path / "docs")
    config = dataclasses.replace(PLAIN, tokens=TokenConfig(ngrams=ngrams))
    files = []
    for workers in (1, 2, 4):
        ingest(str(source), tmp_path / f"{workers}.h5", config, workers=workers)
        files.append((tmp_path / f"{workers}.h5").read_bytes())
    assert files[0] == files[1] == files[2]


def test_packing_of_the_input_changes_no_content(tmp_path: Path) -> None:
    data = "\n".join(some_documents(60, seed=2)).encode()
    digests = set()
    for name, packed in (("a.txt", data), ("b.txt.gz", gzip.compress(data)), ("c.txt.bz2", bz2.compress(data))):
        (tmp_path / name).write_bytes(packed)
        corpus = ingest(str(tmp_path / name), tmp_path / f"{name}.h5", PLAIN, workers=1)
        digests.add(
            (tuple(corpus.vocabulary), corpus.indptr.tobytes(), corpus.indices.tobytes(), corpus.counts.tobytes())
        )
    assert len(digests) == 1


def test_every_partition_has_its_digest(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(some_documents(900, seed=3)))
    corpus = ingest(str(tmp_path / "a.txt"), tmp_path / "c.h5", PLAIN, workers=1)
    assert corpus.n_partitions > 1
    with hdf5.open(tmp_path / "c.h5") as reader:
        digests = reader.get("partitions/digest")
    rows = [corpus.rows(index) for index in range(corpus.n_partitions)]
    assert digests == [partition_digest(part.indptr, part.indices, part.counts) for part in rows]
    assert len(set(digests)) == len(digests)


def test_the_file_says_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(some_documents(9)))
    attributes = ingest(str(tmp_path / "a.txt"), tmp_path / "c.h5", PLAIN, workers=1).attributes
    size = (tmp_path / "a.txt").stat().st_size
    assert (attributes["source"]["path"], attributes["source"]["bytes"]) == ("a.txt", size)
    assert len(attributes["source"]["blake2b"]) == 32
    assert attributes["config"]["vocabulary"]["stop_words"] == "none"


def test_a_fixed_vocabulary_is_kept_and_the_rest_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the cat saw the dog\nan owl flew\ncat cat dog\n")
    corpus = ingest(
        str(tmp_path / "a.txt"), tmp_path / "c.h5", IngestConfig(), workers=1, fixed_vocabulary=["dog", "emu", "cat"]
    )
    assert corpus.vocabulary == ["dog", "emu", "cat"]
    assert corpus.matrix().toarray().tolist() == [[1, 0, 1], [1, 0, 2]]
    assert corpus.ledger.counters[OUT_OF_VOCABULARY] == 6
    assert corpus.ledger.skips["no words left"].examples == [f"{tmp_path / 'a.txt'}:2"]


def test_counts_take_the_same_filters(tmp_path: Path) -> None:
    (tmp_path / "docword.x.txt").write_text("3\n4\n6\n1 1 2\n1 2 1\n2 1 1\n2 3 5\n3 4 1\n3 1 4\n")
    (tmp_path / "vocab.x.txt").write_text("the\nowl\nemu\nsun\n")
    config = IngestConfig(vocabulary=VocabularyConfig(stop_words="en", min_df=1, max_df=1.0))
    corpus = ingest(str(tmp_path / "docword.x.txt"), tmp_path / "c.h5", config, workers=1)
    assert corpus.vocabulary == ["emu", "owl", "sun"]
    assert corpus.matrix().toarray().tolist() == [[0, 1, 0], [5, 0, 0], [0, 0, 1]]


def table(tmp_path: Path, rows: list[tuple[str, str]]) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("name,body\n" + "".join(f"{name},{text}\n" for name, text in rows))
    return path


def test_a_repeated_id_of_a_named_column_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, [("x", "some words here"), ("y", "other words there"), ("x", "more words anywhere")])
    config = dataclasses.replace(PLAIN, source=SourceConfig(column="body", id_column="name"))
    with pytest.raises(InputError, match=r't.csv:4: two documents have the id "x"\n.*t.csv:2'):
        ingest(str(path), tmp_path / "c.h5", config, workers=1)
    assert not list(tmp_path.glob("c.h5*"))


def test_a_repeated_id_that_was_guessed_gets_a_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from tdtool.data.document_ids import DocumentIds

    with spill.Spill() as scratch:
        ids = DocumentIds(scratch)
        ids.add(["a", "b", "a"], np.array([1, 2, 3]), "f.csv")
        ids.add(["a#2", "a", "b"], np.array([4, 5, 6]), "f.csv")
        with caplog.at_level(logging.WARNING, "tdtool"):
            ids.make_unique(strict=False)
        assert list(ids.batches()) == [["a", "b", "a#3"], ["a#2", "a#4", "b#2"]]
    assert '3 documents repeat the id of an earlier one ("a" at f.csv:1 and f.csv:3)' in caplog.text


def test_ids_that_no_encoding_holds_are_written_out() -> None:
    from tdtool.data.document_ids import DocumentIds

    with spill.Spill() as scratch:
        ids = DocumentIds(scratch)
        ids.add(["caf\udce9", "été"], np.array([0, 2]), "dir")
        assert list(ids.batches()) == [["caf\\udce9", "été"]]
        assert list(ids.places(0, [0, 1])) == [("dir/caf\\udce9", None), ("dir", 2)]


@pytest.mark.parametrize(
    ("text", "config", "says"),
    [
        (
            "the and of\nof the and\n",
            IngestConfig(vocabulary=VocabularyConfig(stop_words="en")),
            "no words are left of the 3",
        ),
        ("1 2 3\n4 5\n", IngestConfig(), "no words were found"),
    ],
)
def test_text_without_words_is_refused(tmp_path: Path, text: str, config: IngestConfig, says: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(InputError, match=says):
        ingest(str(tmp_path / "a.txt"), tmp_path / "c.h5", config, workers=1)
    assert not list(tmp_path.glob("c.h5*"))


def test_documents_that_a_fixed_vocabulary_does_not_know_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some words\n")
    with pytest.raises(InputError, match="no document has a word left"):
        ingest(str(tmp_path / "a.txt"), tmp_path / "c.h5", IngestConfig(), workers=1, fixed_vocabulary=["zebra"])


@pytest.mark.parametrize(
    "config",
    [
        IngestConfig(vocabulary=VocabularyConfig(stop_words="klingon")),
        IngestConfig(vocabulary=VocabularyConfig(min_df=-2)),
        IngestConfig(tokens=TokenConfig(max_length=0)),
    ],
)
def test_bad_settings_are_refused_before_anything_is_read(tmp_path: Path, config: IngestConfig) -> None:
    with pytest.raises(UsageError):
        ingest(str(tmp_path / "absent.txt"), tmp_path / "c.h5", config, workers=1)


def test_an_existing_output_stays_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(some_documents(9)))
    (tmp_path / "c.h5").write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        ingest(str(tmp_path / "a.txt"), tmp_path / "c.h5", PLAIN, workers=1)
    assert (tmp_path / "c.h5").read_text() == "precious"
    assert ingest(str(tmp_path / "a.txt"), tmp_path / "c.h5", PLAIN, workers=1, force=True).n_documents == 9


def test_unspaced_scripts_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.txt").write_text("ภาษาไทย กับ words\nไทย words\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING, "tdtool"):
        corpus = ingest(str(tmp_path / "a.txt"), tmp_path / "c.h5", PLAIN, workers=1)
    assert caplog.text.count("segment such text first") == 1
    assert corpus.ledger.counters[tokeniser.UNSPACED] == 13


def test_a_full_disk_says_how_much_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("\n".join(some_documents(9)))

    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(spill.os, "pwrite", full)
    with pytest.raises(ResourceError, match=r"temporary directory is full.* MB more are needed.*\n.*TMPDIR"):
        ingest(str(tmp_path / "a.txt"), tmp_path / "c.h5", PLAIN, workers=1)
    assert not list(tmp_path.glob("c.h5*"))


@pytest.mark.usefixtures("small_batches")
def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = directory_of(some_documents(30), tmp_path / "docs")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    seen = []
    real = module.put_counts

    def interrupt(*arguments: object) -> object:
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "put_counts", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ingest(str(source), tmp_path / "c.h5", PLAIN, workers=2)
    assert list(scratch.iterdir()) == []
    assert not list(tmp_path.glob("c.h5*"))


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_batches, "BATCH_BYTES", 200_000)
    monkeypatch.setattr(corpus_module, "_USUAL", corpus_module._SMALLEST)
    peaks = []
    for n_documents in (0, 300, 1800):
        source = directory_of(some_documents(n_documents or 300, longest=3000), tmp_path / f"docs{n_documents}")
        tracemalloc.start()
        ingest(str(source), tmp_path / f"{n_documents}.h5", PLAIN, workers=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.6 * peaks[1]  # six times the corpus; how many batches are in hand at the peak varies a little
