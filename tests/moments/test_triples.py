"""The whitened third moment, implicit and dense, against the V x V x V tensor of brute force."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from tdtool.data.corpus import Corpus
from tdtool.engine import LocalEngine
from tdtool.moments.pairs import first_moment, second_moment_apply
from tdtool.moments.triples import (
    ThirdMoment,
    choose_form,
    dense_apply,
    implicit_apply,
    third_moment,
)
from tdtool.moments.whitening import range_finder
from tests import oracles
from tests.moments.conftest import N_TOPICS

FORMS = [implicit_apply, dense_apply]
HELD_OUT = np.array([0, 17, 18, 59])


@contextmanager
def collected(corpus: Corpus, alpha0: float) -> Iterator[tuple[LocalEngine, ThirdMoment, np.ndarray]]:
    """An engine that keeps the whitened rows, the third moment, and the whitening in double precision."""
    with LocalEngine(corpus, workers=2, memory=1 << 30) as engine:
        first = first_moment(engine.map_reduce, HELD_OUT, corpus.n_terms)
        pairs = second_moment_apply(engine.map_reduce, first, HELD_OUT, alpha0)
        whitening = range_finder(pairs, corpus.n_terms, N_TOPICS, rng=np.random.default_rng(3))
        shape = {"alpha0": alpha0, "n_partitions": corpus.n_partitions}
        yield (
            engine,
            third_moment(engine.map_reduce, first, whitening, HELD_OUT, **shape),
            whitening.whitening.astype(float),
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("alpha0", [0.1, 2.0])
@pytest.mark.parametrize(("k", "orthogonal"), [(N_TOPICS, True), (N_TOPICS, False), (2, True), (1, True)])
def test_third_moment_along_directions(
    corpus: Corpus, form: Callable[..., Callable], alpha0: float, k: int, orthogonal: bool, rng: np.random.Generator
) -> None:
    counts = corpus.matrix().toarray()
    moment3 = oracles.third_moment(counts, oracles.document_weights(counts, HELD_OUT.tolist()), alpha0)
    directions = rng.standard_normal((k, k))
    directions = np.linalg.qr(directions)[0] if orthogonal else directions / np.linalg.norm(directions, axis=0)
    with collected(corpus, alpha0) as (engine, moment, whitening):
        assert moment.n_topics == N_TOPICS
        found = form(engine.map_reduce, moment.first(k))(directions)
        expected = oracles.along(oracles.whitened(moment3, whitening[:, :k]), directions)
        # Single precision in rows and words. What is added and taken away is of the size of sum_i |v_i|^3 n_i.
        terms = np.sum(np.linalg.norm(whitening[:, :k], axis=1) ** 3 * moment.n)
        np.testing.assert_allclose(found, expected, atol=3e-6 * max(terms, 1.0))
        assert np.abs(expected).max() > 1e-3 * max(terms, 1.0)


def test_both_forms_agree(corpus: Corpus) -> None:
    with collected(corpus, 0.1) as (engine, moment, _):
        implicit, dense = (form(engine.map_reduce, moment)(np.eye(N_TOPICS)) for form in FORMS)
        np.testing.assert_allclose(implicit, dense, atol=2e-6 * np.abs(implicit).max())


@pytest.mark.parametrize("n_terms", [1, 5, 11, 1000])
@pytest.mark.parametrize("n_partitions", [1, 3, 7])
def test_partitions_share_out_the_words(n_terms: int, n_partitions: int) -> None:
    none = np.zeros((n_terms, 0), np.float32)
    moment = ThirdMoment(none, none, np.zeros(n_terms, np.float32), np.zeros(0), 1.0, 1, 0.1, n_partitions)
    shares = [np.arange(n_terms)[moment.words(i)] for i in range(n_partitions)]
    assert np.concatenate(shares).tolist() == list(range(n_terms))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("n_documents", "n_terms", "k", "form"),
    [(1_000_000, 50_000, 10, "dense"), (2000, 5000, 500, "implicit"), (20_000, 2000, 20, "dense")],
)
def test_choose_form_by_cost(n_documents: int, n_terms: int, k: int, form: str) -> None:
    block = np.zeros((n_terms, k), np.float32)
    moment = ThirdMoment(block, block, np.zeros(n_terms, np.float32), np.zeros(k), 1.0, n_documents, 0.1, 3)
    assert choose_form(moment) == form
    assert choose_form(dataclasses.replace(moment, n_partitions=999, length=5.0)) == form
