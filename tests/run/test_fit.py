"""The stages of a fit in their order, and how the number of topics is chosen."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from tdtool import log
from tdtool.config import TopicsConfig
from tdtool.data.corpus import Corpus
from tdtool.data.planted import planted_lda
from tdtool.engine import LocalEngine
from tdtool.models.scores import completion_perplexity
from tdtool.run.choose import candidate_sizes, choose_n_topics
from tdtool.run.fit import TopicFit, TopicFitter, document_sets


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """600 documents of 4 topics over 80 words, in 7 uneven partitions."""
    shape = {"alpha0": 0.4, "mean_length": 40, "topic_concentration": 0.1}
    planted = planted_lda(600, 80, 4, **shape, rng=np.random.default_rng(11))
    starts = np.array([0, 40, 41, 200, 333, 400, 590, 600])
    return dataclasses.replace(Corpus.from_csr(planted.document_term), starts=starts)


def fit(corpus: Corpus, n_topics: int = 4, *, workers: int = 2, memory: int = 1 << 30, **settings: Any) -> TopicFit:
    config = TopicsConfig(n_topics, **settings)
    with LocalEngine(corpus, workers=workers, memory=memory) as engine:
        fitter = TopicFitter(engine, config)
        fitter.prepare(n_topics)
        return fitter.fit(n_topics)


def same(one: TopicFit, two: TopicFit) -> bool:
    arrays = [(getattr(f.model, name) for name in ("word_topic", "alpha", "weights", "totals")) for f in (one, two)]
    return one.scores == two.scores and all(np.array_equal(a, b) for a, b in zip(*arrays, strict=True))


@pytest.mark.parametrize("m3", ["implicit", "dense", "sketch"])
@pytest.mark.parametrize("polish", [0, 2, "auto"])
def test_the_same_bits_for_any_workers_and_memory(corpus: Corpus, m3: Any, polish: Any) -> None:
    first = fit(corpus, workers=1, m3=m3, polish=polish)
    assert first.form == m3
    for workers, memory in [(1, 1 << 30), (2, 1 << 30), (3, 0), (2, 20_000)]:
        assert same(first, fit(corpus, workers=workers, memory=memory, m3=m3, polish=polish))


def test_another_seed_is_another_run(corpus: Corpus) -> None:
    assert not same(fit(corpus, seed=1), fit(corpus, seed=2))


def test_both_forms_of_the_third_moment_find_the_same_topics(corpus: Corpus) -> None:
    implicit, dense = (fit(corpus, m3=form, polish=0) for form in ("implicit", "dense"))
    np.testing.assert_allclose(implicit.model.word_topic, dense.model.word_topic, atol=1e-3)
    np.testing.assert_allclose(implicit.model.weights, dense.model.weights, rtol=1e-3)


def test_a_sketch_of_the_third_moment_finds_the_same_topics(corpus: Corpus) -> None:
    implicit = fit(corpus, polish=0, m3="implicit")
    for settings in ({}, {"hash_length": 77, "sketches": 3}):
        sketched = fit(corpus, polish=0, m3="sketch", **settings)
        assert sketched.stopped == "tol"
        assert np.abs(sketched.model.word_topic - implicit.model.word_topic).max() < 0.02
        assert sketched.scores["perplexity"] == pytest.approx(implicit.scores["perplexity"], rel=0.02)
    assert not same(sketched, fit(corpus, polish=0, m3="sketch"))  # the settings reach the sketch


def test_moments_of_a_sketch_are_forgotten_once_they_are_used(corpus: Corpus) -> None:
    with LocalEngine(corpus, workers=1, memory=1 << 30) as engine:
        fitter = TopicFitter(engine, TopicsConfig(4, m3="sketch", polish=1))
        fitter.prepare(4)
        three, four = fitter.fit(3), fitter.fit(4)
        with pytest.raises(ValueError, match="prepare"):
            fitter.fit(3)
    assert (three.model.n_topics, four.model.n_topics) == (3, 4)


def test_a_sketch_says_once_that_the_exact_form_is_cheaper(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(log, "note", said.append)
    with LocalEngine(corpus, workers=1, memory=1 << 30) as engine:
        fitter = TopicFitter(engine, TopicsConfig(4, m3="sketch", polish=0))
        fitter.prepare(4)
        fitter.fit(3)
        fitter.fit(4)
    assert len(said) == 1
    assert "times cheaper than sketches" in said[0]


def test_fewer_topics_from_the_moments_of_more(corpus: Corpus) -> None:
    """Moments are nested: a fit of 3 topics after 4 is the fit of 3 from the same moments, whatever came between."""
    with LocalEngine(corpus, workers=1, memory=1 << 30) as engine:
        fitter = TopicFitter(engine, TopicsConfig(4))
        assert fitter.prepare(4) == 4
        three, four, again = fitter.fit(3), fitter.fit(4), fitter.fit(3)
    assert same(three, again)
    assert (three.model.n_topics, four.model.n_topics) == (3, 4)


def test_held_out_documents_do_not_touch_the_fit(corpus: Corpus) -> None:
    held_out = document_sets(corpus.n_documents, TopicsConfig(4)).held_out
    assert held_out.size == 60
    counts = corpus.matrix().toarray()
    counts[held_out] = np.where(counts[held_out] > 0, 7 - np.minimum(counts[held_out], 6), 0)
    changed = dataclasses.replace(Corpus.from_csr(sp.csr_array(counts)), starts=corpus.starts)
    one, two = fit(corpus), fit(changed)
    assert np.array_equal(one.model.word_topic, two.model.word_topic)
    assert np.array_equal(one.model.alpha, two.model.alpha)
    assert one.scores["npmi"] == two.scores["npmi"]
    assert one.scores["perplexity"] != two.scores["perplexity"]


def test_scores_sizes_and_account_of_a_fit(corpus: Corpus) -> None:
    result = fit(corpus, polish=3)
    assert (result.passes, result.history, result.stopped) == (3, (), "tol")
    assert set(result.seconds) == {"moments", "decomposition", "polish", "scores"}
    assert result.sizes.sum() == pytest.approx(1)
    assert np.all(np.diff(result.sizes) <= 0)  # largest topic first
    assert result.scores["perplexity"] < 60
    assert result.topic_scores["npmi"].shape == (4,)
    assert result.warnings() == []
    stuck = dataclasses.replace(result, stopped="max_iters", sweeps=100)
    assert stuck.warnings() == ["the power iteration did not settle in 100 sweeps"]


def test_polish_improves_on_the_spectral_topics(corpus: Corpus) -> None:
    assert fit(corpus, polish=5).scores["perplexity"] < fit(corpus, polish=0).scores["perplexity"]


def test_polish_auto_keeps_the_best_of_its_passes(corpus: Corpus) -> None:
    result = fit(corpus, polish="auto")
    assert len(result.history) == result.passes >= 4
    tuning = document_sets(corpus.n_documents, TopicsConfig(4, polish="auto")).tuning
    assert tuning.size == 60
    with LocalEngine(corpus, workers=1, memory=1 << 30) as engine:
        arguments = (result.model.word_topic, result.model.alpha, tuning, 0)
        assert completion_perplexity(engine.map_reduce, *arguments)[0] == pytest.approx(min(result.history), rel=1e-6)


def test_nothing_held_out_leaves_perplexity_out(corpus: Corpus) -> None:
    assert "perplexity" not in fit(corpus, held_out=0.0).scores


def test_more_topics_than_the_moments_tell_apart_are_filled_up() -> None:
    counts = np.zeros((40, 6), int)
    counts[:20, :3] = 4
    counts[20:, 3:] = 4
    corpus = Corpus.from_csr(sp.csr_array(counts))
    with LocalEngine(corpus, workers=1, memory=1 << 30) as engine:
        fitter = TopicFitter(engine, TopicsConfig(5))
        found = fitter.prepare(5)
        result = fitter.fit(5)
    assert found < 5
    assert result.model.n_topics == 5
    np.testing.assert_allclose(result.model.word_topic.sum(axis=0), 1, rtol=1e-5)
    assert all(np.isfinite(value) for value in result.scores.values())


def test_a_fit_needs_its_moments(corpus: Corpus) -> None:
    with LocalEngine(corpus, workers=1, memory=1 << 30) as engine, pytest.raises(ValueError, match="prepare"):
        TopicFitter(engine, TopicsConfig(4)).fit(4)


# ---- who is who


@given(st.integers(1, 3000), st.floats(0, 0.9), st.sampled_from([0, 5, "auto"]), st.integers(0, 2**31))
def test_document_sets_are_disjoint(n: int, share: float, polish: Any, seed: int) -> None:
    documents = document_sets(n, TopicsConfig(5, held_out=share, polish=polish, seed=seed))
    sets = [documents.held_out, documents.tuning, documents.alpha_sample]
    assert len(set(np.concatenate(sets).tolist())) == sum(map(len, sets))
    assert documents.held_out.size == min(int(n * share), 5000)
    assert documents.tuning.size == 0 or polish == "auto"
    assert np.array_equal(documents.left_out, np.sort(np.concatenate(sets[:2])))
    assert documents.alpha_sample.size == min(2000, n - documents.left_out.size)


# ---- -k auto


def test_candidate_sizes() -> None:
    assert candidate_sizes(100_000) == [5, 8, 13, 20, 33, 52, 84, 134]
    assert candidate_sizes(300) == [5, 8, 13, 20]
    assert candidate_sizes(50) == [5]
    assert candidate_sizes(49) == [4]
    assert candidate_sizes(3) == [2]


@given(st.integers(2, 10**7))
def test_candidate_sizes_grow_by_about_1_6_to_a_tenth_of_the_documents(n_documents: int) -> None:
    sizes = candidate_sizes(n_documents)
    assert all(1.5 <= b / a <= 1.7 for a, b in itertools.pairwise(sizes))
    assert sizes[-1] <= max(2, min(200, n_documents // 10))
    assert n_documents < 50 or (sizes[0] == 5 and sizes[-1] * 1.7 > min(200, n_documents // 10))


class Scripted:
    """A fitter whose fits have the NPMI that a script says, in topics that are `spread` away from it on both sides."""

    def __init__(
        self, corpus_fit: TopicFit, npmi: dict[int, float], perplexity: bool = True, spread: float = 0.0
    ) -> None:
        self.fits = {
            k: dataclasses.replace(
                corpus_fit,
                scores={"npmi": v, "diversity": 0.5} | ({"perplexity": 1000.0 - k} if perplexity else {}),
                topic_scores={"npmi": v + spread * np.array([-1.0, -1.0, 1.0, 1.0])},
            )
            for k, v in npmi.items()
        }
        self.asked: list[int] = []

    def fit(self, n_topics: int) -> TopicFit:
        self.asked.append(n_topics)
        return self.fits[n_topics]


@pytest.mark.parametrize(
    ("npmi", "best", "asked"),
    [
        ([0.1, 0.2, 0.3, 0.25], 13, [5, 8, 13, 20]),
        ([0.3, 0.2, 0.1, 0.9], 5, [5, 8, 13]),
        ([0.1, 0.3, 0.2, 0.4], 20, [5, 8, 13, 20]),
        ([0.2, 0.2, 0.1, 0.1], 5, [5, 8, 13]),
        ([-0.4, -0.3, -0.2, -0.1], 20, [5, 8, 13, 20]),
    ],
)
def test_the_highest_npmi_wins(corpus: Corpus, npmi: list[float], best: int, asked: list[int]) -> None:
    sizes = [5, 8, 13, 20]
    scripted: Any = Scripted(fit(corpus, polish=0), dict(zip(sizes, npmi, strict=True)))
    chosen, table = choose_n_topics(scripted, sizes)
    assert chosen is scripted.fits[best]
    assert scripted.asked == asked
    assert [(row.n_topics, row.npmi, row.perplexity) for row in table] == [
        (k, npmi[sizes.index(k)], 1000.0 - k) for k in asked
    ]


@pytest.mark.parametrize(("spread", "taken"), [(0.0, 13), (0.05, 13), (0.07, 8), (0.2, 8), (0.5, 5)])
def test_the_fewest_topics_within_a_standard_error_win(corpus: Corpus, spread: float, taken: int) -> None:
    """The best NPMI is .30 at 13 topics; four topics `spread` away from their mean: a standard error of half of it."""
    npmi = {5: 0.1, 8: 0.27, 13: 0.3, 20: 0.29, 33: 0.28, 52: 0.9}
    scripted: Any = Scripted(fit(corpus, polish=0), npmi, spread=spread)
    chosen, table = choose_n_topics(scripted, list(npmi))
    assert chosen is scripted.fits[taken]
    assert [row.n_topics for row in table] == [5, 8, 13, 20, 33]


def test_choosing_needs_sizes(corpus: Corpus) -> None:
    scripted: Any = Scripted(fit(corpus, polish=0), {})
    with pytest.raises(ValueError, match="no sizes"):
        choose_n_topics(scripted, [])
