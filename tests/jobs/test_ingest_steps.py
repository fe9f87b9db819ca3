"""Ingest on Spark, with lists in place of Spark: what comes out is what ingest on one machine makes, bit for bit."""

from __future__ import annotations

import dataclasses
import gzip
import logging
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdtool.config import IngestConfig, SourceConfig, TokenConfig, VocabularyConfig
from tdtool.data import corpus as corpus_module
from tdtool.data.ingest import ingest
from tdtool.data.readers import split_files, table_text, text_batches
from tdtool.errors import InputError, TdtoolError, UsageError
from tdtool.jobs import gathering
from tdtool.jobs import ingest as module
from tdtool.jobs.corpus_output import write_corpus
from tdtool.jobs.ingest import ingest_text
from tdtool.jobs.layout import Layout, Piece, partition_rows
from tdtool.jobs.vocabulary import PackedWords, WordCounts, merged
from tdtool.store import hdf5
from tests.jobs.lists import ListContext
from tests.jobs.same_corpus import PLAIN, compare, some_documents, write_counts, write_source


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many splits, batches, partitions, shares and waves of little text."""
    monkeypatch.setattr(module, "_SMALLEST_SPLIT", 2500)
    monkeypatch.setattr(split_files, "_OPENING", 0)
    monkeypatch.setattr(text_batches, "BATCH_BYTES", 700)
    monkeypatch.setattr(corpus_module, "_SMALLEST", 150)
    monkeypatch.setattr(gathering, "_SPLITS_A_SHARE", 4)
    monkeypatch.setattr(gathering, "_WAVE", 3)


@pytest.fixture
def context() -> ListContext:
    """Spark on lists."""
    return ListContext()


@pytest.mark.parametrize("kind", ["directory", "txt", "jsonl", "csv", "tsv", "parquet"])
def test_every_format_gives_the_same_corpus(tmp_path: Path, context: ListContext, kind: str) -> None:
    source = write_source(kind, some_documents(110), tmp_path)
    corpus = compare(context, source, PLAIN, tmp_path)
    assert corpus.n_partitions > 5
    assert corpus.ledger.skips["no words left"].count == 2
    assert context.n_tasks > 20
    assert (context.persisted, context.n_sent) == (0, context.n_destroyed)


@pytest.mark.parametrize("kind", ["uci", "svmlight", "lda-c"])
@pytest.mark.parametrize("stop", ["none", "en"])
def test_counts_give_the_same_corpus(tmp_path: Path, context: ListContext, kind: str, stop: str) -> None:
    config = IngestConfig(vocabulary=VocabularyConfig(stop_words=stop, min_df=2, max_df=0.9))
    source = write_counts(kind, tmp_path)
    corpus = compare(context, source, config, tmp_path)
    assert ("the" in corpus.vocabulary) == (stop == "none")
    compare(context, source, config, tmp_path, fixed=["the", "zebra", *corpus.vocabulary[5:9]])


def test_what_cannot_be_cut_gives_the_same_corpus(tmp_path: Path, context: ListContext) -> None:
    documents = some_documents(60, seed=4)
    packed = tmp_path / "a.txt.gz"
    packed.write_bytes(gzip.compress("\n".join(documents).encode()))
    compare(context, packed, PLAIN, tmp_path)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(write_source("directory", documents, tmp_path), "docs")
    compare(context, tmp_path / "a.tar", PLAIN, tmp_path)
    quoted = write_source("csv", [f'"{text}",\n{text}' for text in documents], tmp_path)
    compare(context, quoted, PLAIN, tmp_path)


@pytest.mark.parametrize("ngrams", [2, 3])
@pytest.mark.parametrize("kind", ["txt", "directory"])
def test_phrases_are_the_same(tmp_path: Path, context: ListContext, ngrams: int, kind: str) -> None:
    config = IngestConfig(
        tokens=TokenConfig(ngrams=ngrams), vocabulary=VocabularyConfig(stop_words="en", min_df=1, max_df=1.0)
    )
    documents = [text.replace("New", "Nev") for text in some_documents(200, seed=ngrams)]
    source = write_source(kind, documents, tmp_path)
    corpus = compare(context, source, config, tmp_path)
    assert ("nev_york_city" in corpus.vocabulary) == (ngrams == 3)
    assert "machine_learning" in corpus.vocabulary
    words = [*corpus.vocabulary, "york_city", "the_of", "city_city"]
    fixed = compare(context, source, config, tmp_path, fixed=words)
    assert fixed.ledger.counters["out-of-vocabulary tokens"] > 0
    assert (context.persisted, context.n_sent) == (0, context.n_destroyed)


@pytest.mark.parametrize(
    "config",
    [
        IngestConfig(),
        IngestConfig(tokens=TokenConfig(lowercase=False, numbers="replace", min_length=1)),
        IngestConfig(vocabulary=VocabularyConfig(min_df=0.05, max_df=0.6, max_size=33)),
    ],
)
def test_settings_mean_the_same(tmp_path: Path, context: ListContext, config: IngestConfig) -> None:
    compare(context, write_source("txt", some_documents(90, seed=8), tmp_path), config, tmp_path)


_TEXT = st.text(st.sampled_from("ab \t\n\r,.é漢1_\u2028\x00"), max_size=40)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_TEXT, min_size=1, max_size=7), st.integers(5, 99))
def test_any_lines_give_the_same_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str], size: int
) -> None:
    monkeypatch.setattr(module, "_SMALLEST_SPLIT", size)
    source = tmp_path / "a.txt"
    source.write_bytes("".join(texts).encode() + b"\nword")
    config = dataclasses.replace(PLAIN, tokens=TokenConfig(min_length=1), source=SourceConfig(format="lines"))
    outcomes = []
    for attempt in (
        lambda: ingest(str(source), tmp_path / "a.h5", config, workers=1, force=True),
        lambda: compare(ListContext(), source, config, tmp_path),
    ):
        outcomes.append(_error_of(attempt))
    assert outcomes[0] == outcomes[1]


def _error_of(attempt: Callable[[], object]) -> str | None:
    try:
        attempt()
    except TdtoolError as error:
        return f"{type(error).__name__}: {error}"
    return None


def test_repeated_names_get_the_same_numbers(
    tmp_path: Path, context: ListContext, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_text, "_SAMPLE_ROWS", 40)  # beyond it, ids that were guessed come once more
    source = write_source("tsv", some_documents(120), tmp_path)
    with caplog.at_level(logging.WARNING, "tdtool"):
        corpus = compare(context, source, PLAIN, tmp_path)
    assert "n7#2" in corpus.document_ids
    said = [record.getMessage() for record in caplog.records if "repeat the id" in record.getMessage()]
    assert len(said) == 2
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("kind", "config", "fixed", "says"),
    [
        (
            "tsv",
            dataclasses.replace(PLAIN, source=SourceConfig(id_column="id")),
            None,
            'two documents have the id "n0"',
        ),
        ("txt", IngestConfig(vocabulary=VocabularyConfig(min_df=1e9)), None, "no words are left of the"),
        ("txt", PLAIN, ["zebra"], "no document has a word left"),
        ("txt", PLAIN, ["zebra", "zebra"], "has a word twice"),
        ("uci", IngestConfig(tokens=TokenConfig(ngrams=2)), None, "reading order"),
        ("txt", IngestConfig(tokens=TokenConfig(max_length=0)), None, "word lengths"),
        ("txt", IngestConfig(vocabulary=VocabularyConfig(stop_words="klingon")), None, "no language code"),
        ("jsonl", dataclasses.replace(PLAIN, source=SourceConfig(field="body")), None, "body"),
    ],
)
def test_errors_are_the_same(
    tmp_path: Path, context: ListContext, kind: str, config: IngestConfig, fixed: list[str] | None, says: str
) -> None:
    source = write_counts(kind, tmp_path) if kind == "uci" else write_source(kind, some_documents(120), tmp_path)

    def on_spark() -> None:
        with ingest_text(context, str(source), config, fixed_vocabulary=fixed):
            pytest.fail("there is a corpus")

    here = _error_of(
        lambda: ingest(str(source), tmp_path / "c.h5", config, workers=1, fixed_vocabulary=fixed, force=True)
    )
    assert here is not None
    assert says in here
    assert _error_of(on_spark) == here


def test_a_broken_line_is_named_with_its_number(tmp_path: Path, context: ListContext) -> None:
    source = write_counts("uci", tmp_path)
    lines = source.read_text().splitlines()
    lines[200] = "61 owl 3"
    source.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"docword\.x\.txt:201: "), ingest_text(context, str(source), PLAIN):
        pytest.fail("there is a corpus")


def test_standard_input_is_refused(context: ListContext) -> None:
    with pytest.raises(UsageError, match="standard input"), ingest_text(context, "-", PLAIN):
        pytest.fail("there is a corpus")


@pytest.mark.parametrize("name", ["b.h5", "b.corpus.parquet"])
def test_a_store_written_from_executors_has_the_same_content(tmp_path: Path, context: ListContext, name: str) -> None:
    from tdtool.data.corpus_parquet import ParquetCorpus

    source = write_source("txt", some_documents(130, seed=5), tmp_path)
    ingest(str(source), tmp_path / "a.h5", PLAIN, workers=1)
    with ingest_text(context, str(source), PLAIN) as corpus:
        write_corpus(context, corpus, str(tmp_path / name), corpus.attributes)
        with pytest.raises(UsageError, match="exists already"):
            write_corpus(context, corpus, str(tmp_path / name), corpus.attributes)
        write_corpus(context, corpus, str(tmp_path / name), corpus.attributes, force=True)
    written = tmp_path / name
    if name.endswith(".parquet"):
        written = tmp_path / "c.h5"
        ParquetCorpus.open(tmp_path / name).to_hdf5(written)
    with hdf5.open(tmp_path / "a.h5") as here, hdf5.open(written) as there:
        assert here.attributes["content_digest"] == there.attributes["content_digest"]
        for attribute in ("ledger", "config", "source"):
            assert here.attributes[attribute] == there.attributes[attribute]


def word_counts(*entries: tuple[str, int, int]) -> WordCounts:
    """From (word, document frequency, count)."""
    words, frequency, count = zip(*entries, strict=True)
    return WordCounts(PackedWords.of(words), np.array(frequency, np.int64), np.array(count, np.int64))


def as_dict(counts: WordCounts) -> dict[str, tuple[int, int]]:
    words = counts.words.table().words()
    return {w: (int(a), int(b)) for w, a, b in zip(words, counts.document_frequency, counts.count, strict=True)}


def test_words_merge_in_any_order_and_share() -> None:
    parts = [word_counts(("owl", 1, 2), ("été", 3, 9)), word_counts(("emu", 2, 2), ("owl", 5, 7), ("漢", 1, 1))]
    whole = {"owl": (6, 9), "été": (3, 9), "emu": (2, 2), "漢": (1, 1)}
    assert as_dict(merged(parts)) == as_dict(merged(parts[::-1])) == whole
    by_share = [as_dict(merged(own)) for own in zip(*(part.split(3) for part in parts), strict=True)]
    assert len([share for share in by_share if share]) > 1
    assert sum(map(len, by_share)) == len(whole)
    assert {word: uses for share in by_share for word, uses in share.items()} == whole


def test_a_piece_that_did_not_arrive_is_noticed() -> None:
    layout = Layout(np.array([0, 2, 5]), np.zeros(1, np.int64), np.zeros(1, np.int64), {}, 2)
    two = np.array([1, 1], np.int32)
    pieces = [(1, Piece(4, two[:1], two[:1] * 6, two[:1], ["e"])), (0, Piece(0, two, two * 3, two, ["a", "b"]))]
    pieces += [(1, Piece(2, two, two * 4, two, ["c", "d"]))]
    found = dict(partition_rows(0, pieces, layout))
    assert (found[1].start, found[1].indices.tolist(), found[1].indptr.tolist()) == (2, [4, 4, 6], [0, 1, 2, 3])
    with pytest.raises(RuntimeError, match="partition 1 got 1 documents of 3"):
        list(partition_rows(0, pieces[:2], layout))
