"""Topics on Spark have the bits of topics on threads, whoever fails on the way."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tdtool.config import SparkConfig, TopicsConfig
from tdtool.data.corpus import Corpus
from tdtool.data.corpus_writer import partition_digest
from tdtool.data.planted import planted_lda
from tdtool.engine import Engine, LocalEngine
from tdtool.jobs import engine as spark_engine
from tdtool.jobs.corpus import SparkCorpus
from tdtool.jobs.engine import SparkEngine
from tdtool.models.inference import documents_step
from tdtool.models.polish import polish_step
from tdtool.run.fit import TopicFit, TopicFitter
from tdtool.store import hdf5
from tdtool.store.schema import CORPUS
from tests.jobs.conftest import CLUSTER, LOCAL, OneSpark
from tests.jobs.failing_steps import FailingEngine

pytestmark = pytest.mark.spark

CONFIG = TopicsConfig(n_topics=4, polish=3, seed=5)
ONE = SparkConfig("local[1]")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """2,003 planted documents over 300 words in a file, in seven partitions."""
    rng = np.random.default_rng(3)
    counts = planted_lda(2003, 300, 4, alpha0=0.5, mean_length=40, rng=rng).document_term
    found = Corpus.from_csr(counts)
    starts = np.array([0, 200, 201, 700, 1100, 1101, 1900, found.n_documents])
    path = tmp_path_factory.mktemp("spark") / "planted.corpus.h5"
    write(dataclasses.replace(found, starts=starts), path)
    return Corpus.open(path)


def write(corpus: Corpus, path: Path) -> None:
    """A corpus file with the partitions of `corpus`."""
    parts = [corpus.rows(index) for index in range(corpus.n_partitions)]
    with hdf5.create(path, CORPUS) as writer:
        writer.put("counts/indptr", corpus.indptr)
        writer.put("counts/indices", corpus.indices)
        writer.put("counts/data", corpus.counts)
        writer.put("vocabulary/term", corpus.vocabulary)
        writer.put("vocabulary/document_frequency", np.bincount(corpus.indices, minlength=corpus.n_terms))
        writer.put(
            "vocabulary/count", np.bincount(corpus.indices, corpus.counts, minlength=corpus.n_terms).astype(np.int64)
        )
        writer.put("documents/id", [f"document {d}" for d in range(corpus.n_documents)])
        writer.put("partitions/start", corpus.starts)
        writer.put("partitions/digest", [partition_digest(part.indptr, part.indices, part.counts) for part in parts])
        writer.attribute("ledger", corpus.ledger.as_dict())


def fitted(engine: Engine, config: TopicsConfig = CONFIG) -> TopicFit:
    with engine:
        fitter = TopicFitter(engine, config)
        return fitter.fit(fitter.prepare(4))


def on_threads(corpus: Corpus, config: TopicsConfig = CONFIG) -> TopicFit:
    return fitted(LocalEngine(corpus, workers=2, memory=1 << 30), config)


def assert_same(found: TopicFit, expected: TopicFit) -> None:
    assert np.array_equal(found.model.word_topic, expected.model.word_topic)
    assert np.array_equal(found.model.alpha, expected.model.alpha)
    assert np.array_equal(found.model.totals, expected.model.totals)
    assert found.scores == expected.scores
    assert (found.sweeps, found.passes, found.form) == (expected.sweeps, expected.passes, expected.form)


@pytest.mark.parametrize("m3", ["implicit", "dense", "sketch"])
def test_every_form_of_the_third_moment_has_the_same_bits(spark: OneSpark, corpus: Corpus, m3: str) -> None:
    config = dataclasses.replace(CONFIG, m3=m3)  # type: ignore[arg-type]
    found = fitted(SparkEngine(SparkCorpus.from_hdf5(spark(LOCAL), str(corpus.path)), workers=2), config)
    assert_same(found, on_threads(corpus, config))


def test_the_number_of_polish_passes_is_chosen_alike(spark: OneSpark, corpus: Corpus) -> None:
    config = dataclasses.replace(CONFIG, polish="auto")
    found = fitted(SparkEngine(SparkCorpus.from_hdf5(spark(LOCAL), str(corpus.path)), workers=2), config)
    expected = on_threads(corpus, config)
    assert_same(found, expected)
    assert found.history == expected.history


def test_documents_come_in_order_and_sums_in_stages(
    spark: OneSpark, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark_engine, "_MOST_COLLECTED", 0)  # every sum is added up on the executors
    engine = SparkEngine(SparkCorpus.from_hdf5(spark(LOCAL), str(corpus.path)), workers=2)
    found = fitted(engine)
    expected = on_threads(corpus)
    assert_same(found, expected)
    arguments = (found.model.word_topic, found.model.alpha.astype(np.float32))
    with engine, LocalEngine(corpus, workers=2, memory=1 << 30) as local:
        pairs = zip(engine.map(documents_step, *arguments), local.map(documents_step, *arguments), strict=True)
        for (index, (topics, lengths)), (wanted, (own, counted)) in pairs:
            assert index == wanted
            assert np.array_equal(topics, own)
            assert np.array_equal(lengths, counted)


def test_a_map_keeps_state_as_a_sum_does(spark: OneSpark, corpus: Corpus) -> None:
    """The second pass starts from what the first one left, which shows in its sums."""
    rng = np.random.default_rng(8)
    word_topic = np.ascontiguousarray(rng.dirichlet(np.full(corpus.n_terms, 0.2), 3).T, np.float32)
    nobody, own = np.zeros(0, np.int64), np.empty((0, 3), np.float32)
    arguments = (nobody, word_topic, np.full(3, 0.1, np.float32), own, np.array([1, 200, 2000]))
    found = []
    on_spark = SparkEngine(SparkCorpus.from_hdf5(spark(LOCAL), str(corpus.path)), workers=2)
    for each in (on_spark, LocalEngine(corpus, workers=2, memory=1 << 30)):
        with each as engine:
            first = [index for index, _ in engine.map(polish_step, *arguments)]
            assert first == list(range(corpus.n_partitions))
            found.append(engine.map_reduce(polish_step, *arguments))
            engine.drop("expected")
            cold = engine.map_reduce(polish_step, *arguments)
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))
    assert not np.array_equal(found[0][1], cold[1])


def test_every_step_may_fail_once_in_every_task(spark: OneSpark, corpus: Corpus) -> None:
    found = fitted(FailingEngine(SparkCorpus.from_hdf5(spark(LOCAL), str(corpus.path)), workers=2))
    assert_same(found, on_threads(corpus))


@pytest.mark.parametrize("config", [ONE, CLUSTER], ids=["one thread", "two executors"])
def test_the_number_of_cores_and_processes_does_not_show(spark: OneSpark, corpus: Corpus, config: SparkConfig) -> None:
    found = SparkCorpus.from_hdf5(spark(config), str(corpus.path))
    assert_same(fitted(SparkEngine(found, workers=2)), on_threads(corpus))


def test_names_and_words_of_a_model(spark: OneSpark, corpus: Corpus) -> None:
    found = SparkCorpus.from_hdf5(spark(LOCAL), str(corpus.path))
    assert [name for _, names in found.id_blocks() for name in names] == corpus.document_ids
    wanted = [corpus.vocabulary[7], "no such word", *corpus.vocabulary[20:90]]
    seen, expected = found.seen_through(wanted), corpus.seen_through(wanted)
    assert seen.ledger == expected.ledger
    for index, rows in seen.rows.collect():
        own = expected.rows(index)
        assert np.array_equal(rows.indptr, own.indptr)
        assert np.array_equal(rows.indices, own.indices)
        assert np.array_equal(rows.counts, own.counts)
