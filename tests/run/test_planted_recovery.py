"""Topics that were planted are found: small in every detail, large by the figures we promise."""

from __future__ import annotations

import numpy as np
import pytest

from tdtool.config import TopicsConfig
from tdtool.data.corpus import Corpus
from tdtool.data.planted import PlantedLda, planted_lda
from tdtool.engine import LocalEngine
from tdtool.models.scores import completion_perplexity
from tdtool.run.fit import TopicFit, TopicFitter, document_sets
from tests.oracles import matched_total_variation


def fits(planted: PlantedLda, *configs: TopicsConfig) -> tuple[list[TopicFit], float]:
    """A fit for each configuration, and the perplexity of the truth on the same held-out documents."""
    corpus = Corpus.from_csr(planted.document_term)
    n_topics = planted.alpha.size
    found = []
    with LocalEngine(corpus, workers=2, memory=1 << 30) as engine:
        for config in configs:
            fitter = TopicFitter(engine, config)
            assert fitter.prepare(n_topics) == n_topics
            found.append(fitter.fit(n_topics))
        truth = np.ascontiguousarray(planted.topic_word.T, np.float32)
        held_out = document_sets(corpus.n_documents, configs[0]).held_out
        return found, completion_perplexity(engine.map_reduce, truth, planted.alpha, held_out, configs[0].seed)[0]


@pytest.mark.parametrize(("alpha0", "passes", "seed"), [(0.3, 8, 1), (1.0, 8, 2), (3.0, 30, 3)])
def test_small_planted_topics_are_found(alpha0: float, passes: int, seed: int) -> None:
    """The more topics a document mixes, the more passes it takes."""
    shape = {"alpha0": alpha0, "mean_length": 80, "topic_concentration": 0.1}
    planted = planted_lda(3000, 150, 5, **shape, rng=np.random.default_rng(seed))
    configs = [TopicsConfig(5, alpha0=alpha0, polish=polish, seed=seed) for polish in (0, passes)]
    (spectral, polished), oracle = fits(planted, *configs)
    for fit in (spectral, polished):
        assert matched_total_variation(fit.model.topic_word, planted.topic_word).max() < 0.05
        assert fit.stopped == "tol"
        assert fit.warnings() == []
        assert 0.99 * oracle < fit.scores["perplexity"] < 1.01 * oracle
    # The moments are told the sum of the prior; the polish learns it, low where documents hardly mix.
    assert spectral.model.alpha.sum() == pytest.approx(alpha0, rel=1e-6)
    assert alpha0 / 2 < polished.model.alpha.sum() < alpha0 * 1.2


@pytest.mark.slow
def test_planted_topics_at_the_size_we_promise() -> None:
    """Mean total variation 0.04 after the spectral step; perplexity within 1 % of the truth's after the polish."""
    shape = {"alpha0": 1.0, "mean_length": 100, "topic_concentration": 0.05}
    planted = planted_lda(20_000, 2000, 20, **shape, rng=np.random.default_rng(0))
    configs = [TopicsConfig(20, alpha0=1.0, polish=0), TopicsConfig(20, alpha0=1.0)]
    (spectral, polished), oracle = fits(planted, *configs)
    assert matched_total_variation(spectral.model.topic_word, planted.topic_word).mean() <= 0.04
    assert matched_total_variation(polished.model.topic_word, planted.topic_word).mean() <= 0.05
    assert oracle * 0.99 < polished.scores["perplexity"] <= oracle * 1.01
