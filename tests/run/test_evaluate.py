"""A stored model scored on documents."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from tdtool.config import IngestConfig, SourceConfig, TokenConfig, VocabularyConfig
from tdtool.data.corpus import Corpus
from tdtool.data.ingest import ingest
from tdtool.engine import LocalEngine
from tdtool.models.scores import completion_perplexity
from tdtool.run.evaluate import Evaluation, evaluate_topics
from tdtool.run.topics import TopicsResult
from tests import oracles


def evaluate(model: TopicsResult, corpus: str, seed: int = 0, workers: int = 2) -> Evaluation:
    return evaluate_topics(model.path, corpus, source=SourceConfig(), seed=seed, workers=workers)


@pytest.fixture(scope="module")
def counts(sample_corpus: str, tmp_path_factory: pytest.TempPathFactory) -> sp.csr_array:
    """The sample corpus in the words of the model."""
    path = tmp_path_factory.mktemp("evaluate") / "corpus.h5"
    return ingest(sample_corpus, path, IngestConfig(), workers=1).matrix()


def test_scores_are_those_of_the_model_on_these_documents(
    sample_fit: TopicsResult, sample_corpus: str, counts: sp.csr_array
) -> None:
    found = evaluate(sample_fit, sample_corpus, seed=3)
    model = sample_fit.fit.model
    with LocalEngine(Corpus.from_csr(counts), workers=1, memory=1 << 30) as engine:
        alpha = model.alpha.astype(np.float32)
        expected, words = completion_perplexity(engine.map_reduce, model.word_topic, alpha, np.arange(300), 3)
    assert found.scores["perplexity"] == pytest.approx(expected, rel=1e-9)
    assert found.scores["words_scored"] == words
    documents = [set(np.flatnonzero(row)) for row in counts.toarray()]
    npmi = [oracles.npmi_coherence(documents, oracles.top_words(column, 10)) for column in model.word_topic.T]
    assert found.scores["npmi"] == pytest.approx(np.mean(npmi))
    assert found.scores["diversity"] == sample_fit.scores["diversity"]
    assert found.n_documents == 300


def test_the_same_scores_for_any_workers_and_other_scores_for_another_seed(
    sample_fit: TopicsResult, sample_corpus: str
) -> None:
    one, two, other = (
        evaluate(sample_fit, sample_corpus, seed, workers).scores for seed, workers in ((0, 1), (0, 3), (1, 1))
    )
    assert one == two
    assert one["perplexity"] != other["perplexity"]


def test_the_result_speaks_json(sample_fit: TopicsResult, sample_corpus: str) -> None:
    plain = json.loads(json.dumps(evaluate(sample_fit, sample_corpus).as_dict(), allow_nan=False))
    assert plain["scores"]["perplexity"] > 1
    assert plain["ledger"]["rows_in"] == 300


def test_words_the_model_does_not_know_are_counted_whatever_the_source(
    sample_fit: TopicsResult, sample_corpus: str, tmp_path: Path
) -> None:
    everything = IngestConfig(SourceConfig(), TokenConfig(), VocabularyConfig("none", min_df=1, max_df=1.0))
    ingest(sample_corpus, tmp_path / "all.h5", everything, workers=1)
    text, stored = evaluate(sample_fit, sample_corpus), evaluate(sample_fit, str(tmp_path / "all.h5"))
    assert stored.scores["perplexity"] == pytest.approx(text.scores["perplexity"], rel=1e-9)
    unknown = text.ledger.counters["out-of-vocabulary tokens"]
    assert unknown > 10_000
    assert stored.ledger.counters.get("out-of-vocabulary tokens") == unknown


def test_documents_without_known_words_do_not_break_it(sample_fit: TopicsResult, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "1.txt").write_text("boat quux")
    (tmp_path / "new" / "2.txt").write_text("zyzzy")
    scores = evaluate(sample_fit, str(tmp_path / "new")).scores
    assert all(np.isfinite(value) for value in scores.values())
