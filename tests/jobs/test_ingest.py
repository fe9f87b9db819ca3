"""Ingest on Spark itself: the same corpus, errors in words, and nothing lost with an executor."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tdtool.config import IngestConfig, SparkConfig, TokenConfig, VocabularyConfig
from tdtool.data.corpus_parquet import ParquetCorpus
from tdtool.data.ingest import ingest
from tdtool.errors import InputError
from tdtool.jobs.corpus_output import write_corpus
from tdtool.jobs.ingest import ingest_text
from tdtool.run.ingest import ingest_corpus
from tdtool.store import hdf5
from tests.jobs.processes import command_line, descendants
from tests.jobs.same_corpus import PLAIN, assert_same, compare, some_documents, write_counts, write_source

if TYPE_CHECKING:
    from pyspark import SparkContext

pytestmark = pytest.mark.spark
PHRASES = IngestConfig(tokens=TokenConfig(ngrams=2), vocabulary=VocabularyConfig(stop_words="en", min_df=2, max_df=1.0))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several splits of little text."""
    monkeypatch.setattr("tdtool.jobs.ingest._SMALLEST_SPLIT", 4000)


def content(path: Path) -> str:
    """Digest of what a corpus file holds."""
    with hdf5.open(path) as reader:
        return str(reader.attributes["content_digest"])


@pytest.mark.parametrize("kind", ["txt", "tsv", "uci"])
def test_spark_makes_the_same_corpus(tmp_path: Path, spark_local: SparkContext, kind: str) -> None:
    if kind == "uci":
        compare(spark_local, write_counts("uci", tmp_path), PLAIN, tmp_path)
        return
    corpus = compare(spark_local, write_source(kind, some_documents(140), tmp_path), PHRASES, tmp_path)
    assert "machine_learning" in corpus.vocabulary


def test_an_error_of_a_task_reaches_the_user_in_its_words(tmp_path: Path, spark_local: SparkContext) -> None:
    source = write_counts("uci", tmp_path)
    lines = source.read_text().splitlines()
    lines[200] = "61 owl 3"
    source.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError) as here:
        ingest(str(source), tmp_path / "c.h5", PLAIN, workers=1)
    with pytest.raises(InputError) as there, ingest_text(spark_local, str(source), PLAIN):
        pytest.fail("there is a corpus")
    assert str(there.value) == str(here.value)
    assert "docword.x.txt:201: " in str(there.value)


@pytest.mark.study
def test_what_an_executor_held_is_made_again(tmp_path: Path, spark_cluster: SparkContext) -> None:
    source = write_source("txt", some_documents(140), tmp_path)
    expected = ingest(str(source), tmp_path / "a.h5", PHRASES, workers=1)
    with ingest_text(spark_cluster, str(source), PHRASES) as corpus:
        executors = [pid for pid in descendants(os.getpid()) if "CoarseGrainedExecutorBackend" in command_line(pid)]
        assert len(executors) == 2
        os.kill(executors[0], signal.SIGKILL)
        assert_same(corpus, expected)
        write_corpus(spark_cluster, corpus, str(tmp_path / "b.corpus.parquet"), corpus.attributes)
    ParquetCorpus.open(tmp_path / "b.corpus.parquet").to_hdf5(tmp_path / "b.h5")
    assert content(tmp_path / "b.h5") == content(tmp_path / "a.h5")


@pytest.mark.usefixtures("no_spark")
def test_the_command_writes_the_same_file(tmp_path: Path) -> None:
    source = write_source("directory", some_documents(80), tmp_path)
    here = ingest_corpus(str(source), tmp_path / "a.h5", PLAIN)
    there = ingest_corpus(str(source), str(tmp_path / "b.h5"), PLAIN, spark=SparkConfig("local[1]"))
    for fact in ("description", "n_documents", "n_terms", "n_tokens", "ledger"):
        assert getattr(there, fact) == getattr(here, fact)
    assert content(tmp_path / "b.h5") == content(tmp_path / "a.h5")
