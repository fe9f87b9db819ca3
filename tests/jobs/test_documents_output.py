"""The topics of documents that executors write are those that one machine finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tdtool.config import IngestConfig, TopicsConfig
from tdtool.data.corpus import Corpus
from tdtool.data.documents_parquet import ParquetDocuments
from tdtool.data.ingest import ingest
from tdtool.errors import UsageError
from tdtool.jobs.corpus import SparkCorpus
from tdtool.jobs.documents_output import write_documents
from tdtool.models.inference import document_topic
from tdtool.run.topics import fit_topics
from tdtool.store import hdf5
from tests.jobs.one_spark import LOCAL, OneSpark

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, sample_data: Path) -> Corpus:
    path = tmp_path_factory.mktemp("documents") / "sample.corpus.h5"
    return ingest(str(sample_data / "corpus"), path, IngestConfig(), workers=1)


def test_executors_write_what_documents_are_about(spark: OneSpark, corpus: Corpus, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    word_topic = rng.dirichlet(np.full(corpus.n_terms, 0.1), 3).T.astype(np.float32)
    alpha, held_out = np.array([0.3, 0.1, 0.2], np.float32), np.array([0, 7, 299])
    found = SparkCorpus.from_hdf5(spark(LOCAL), str(corpus.path))
    output = tmp_path / "x.documents.parquet"
    write_documents(found, output, word_topic, alpha, {"seed": 5}, held_out=held_out)
    documents = ParquetDocuments.open(output)
    parts = [documents.part(index) for index in range(len(documents.parts))]
    assert [name for names, _, _ in parts for name in names] == corpus.document_ids
    expected = [document_topic(corpus.rows(index), word_topic, alpha) for index in range(corpus.n_partitions)]
    assert np.array_equal(np.concatenate([topics for _, topics, _ in parts]), np.concatenate(expected))
    kept_out = np.concatenate([out for _, _, out in parts if out is not None])
    assert np.flatnonzero(kept_out).tolist() == held_out.tolist()
    with pytest.raises(UsageError):
        write_documents(found, output, word_topic, alpha, {})


def test_a_corpus_that_executors_do_not_have_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Corpus"):
        write_documents(corpus, tmp_path / "x.documents.parquet", np.zeros((1, 1), np.float32), np.zeros(1), {})


def test_topics_on_spark_exports_documents(spark: OneSpark, corpus: Corpus, tmp_path: Path) -> None:
    spark.stop()  # the run starts its own
    export, table = tmp_path / "run.documents.parquet", tmp_path / "run.csv"
    result = fit_topics(
        str(corpus.path),
        tmp_path / "run.h5",
        ingest=IngestConfig(),
        topics=TopicsConfig(4, polish=1),
        spark=LOCAL,
        exports=(str(export), str(table)),
    )
    documents = ParquetDocuments.open(export)
    with hdf5.open(result.path) as reader:
        expected, kept_out = reader.get("documents/topic"), reader.get("documents/held_out")
    parts = [documents.part(index) for index in range(len(documents.parts))]
    assert np.array_equal(np.concatenate([topics for _, topics, _ in parts]), expected)
    assert np.array_equal(np.concatenate([out for _, _, out in parts if out is not None]), kept_out)
    assert table.read_text().startswith('"topic",')
