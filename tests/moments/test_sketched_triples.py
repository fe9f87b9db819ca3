"""The sketched third moment: the sketch of the tensor of brute force, whatever the partitions, and topics from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from tdtool.data.corpus import Corpus
from tdtool.engine import LocalEngine
from tdtool.kernels.symmetric_sketch import symmetric_hashes, symmetric_sketch
from tdtool.moments import sketched_triples
from tdtool.moments.pairs import FirstMoment, first_moment, second_moment_apply
from tdtool.moments.sketched_triples import sketch_operations, sketch_size, third_moment_sketch, word_start
from tdtool.moments.triples import ThirdMoment, exact_operations, third_moment
from tdtool.moments.whitening import Whitening, range_finder
from tests import oracles
from tests.moments.conftest import N_TOPICS

HELD_OUT = np.array([0, 17, 18, 59])


@contextmanager
def collected(
    corpus: Corpus, alpha0: float, workers: int = 2
) -> Iterator[tuple[LocalEngine, FirstMoment, Whitening, ThirdMoment]]:
    with LocalEngine(corpus, workers=workers, memory=1 << 30) as engine:
        first = first_moment(engine.map_reduce, HELD_OUT, corpus.n_terms)
        pairs = second_moment_apply(engine.map_reduce, first, HELD_OUT, alpha0)
        whitening = range_finder(pairs, corpus.n_terms, N_TOPICS, rng=np.random.default_rng(3))
        shape = {"alpha0": alpha0, "n_partitions": corpus.n_partitions, "keep_rows": False}
        yield engine, first, whitening, third_moment(engine.map_reduce, first, whitening, HELD_OUT, **shape)


@pytest.mark.parametrize("alpha0", [0.1, 2.0])
@pytest.mark.parametrize("k", [N_TOPICS, 3])
@pytest.mark.parametrize("rows_at_once", [512, 5])
def test_it_is_the_sketch_of_the_whitened_moment(
    corpus: Corpus, alpha0: float, k: int, rows_at_once: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(sketched_triples, "_ROWS_AT_ONCE", rows_at_once)
    counts = corpus.matrix().toarray()
    moment3 = oracles.third_moment(counts, oracles.document_weights(counts, HELD_OUT.tolist()), alpha0)
    family = symmetric_hashes(k, 32, 3, rng=rng)
    with collected(corpus, alpha0) as (engine, _, whitening, moment):
        found = third_moment_sketch(engine.map_reduce, moment.first(k), HELD_OUT, family)
        whitened = oracles.whitened(moment3, whitening.whitening[:, :k].astype(float))
        expected = symmetric_sketch(np.ascontiguousarray(whitened), family)
        terms = max(np.sum(np.linalg.norm(whitening.whitening[:, :k], axis=1) ** 3 * moment.n), 1.0)
    np.testing.assert_allclose(found.pairs, expected.pairs, atol=3e-6 * terms)
    np.testing.assert_allclose(found.spectrum, expected.spectrum, atol=1e-5 * terms)
    assert np.abs(expected.spectrum).max() > 1e-2


def test_no_rows_are_kept_and_workers_change_no_bit(corpus: Corpus, rng: np.random.Generator) -> None:
    family = symmetric_hashes(N_TOPICS, 32, 2, rng=rng)
    found = []
    for workers in (1, 3):
        with collected(corpus, 0.5, workers) as (engine, _, _, moment):
            found.append(third_moment_sketch(engine.map_reduce, moment, HELD_OUT, family))
            with pytest.raises(KeyError):
                next(iter(engine.states("whitened")))
    assert np.array_equal(found[0].spectrum, found[1].spectrum)
    assert np.array_equal(found[0].pairs, found[1].pairs)


def test_the_start_lies_near_the_topics_of_words_that_have_only_one() -> None:
    """Topics over words of their own and shared ones: the exact directions are the whitened topics."""
    topics = np.array([[0.8, 0, 0, 0.12, 0.08], [0, 0.9, 0, 0.03, 0.07], [0, 0, 0.7, 0.2, 0.1]])
    moment1 = topics.mean(axis=0)
    values, vectors = np.linalg.eigh(topics.T @ topics / 3)
    unwhitening = vectors[:, -3:] * np.sqrt(values[-3:])
    exact = np.linalg.lstsq(unwhitening, topics.T / np.sqrt(3), rcond=None)[0]
    start = word_start(unwhitening, moment1)
    np.testing.assert_allclose(start.T @ start, np.eye(3), atol=1e-6)
    assert np.abs(start.T @ exact).max(axis=0).min() > 0.999
    unseen = np.vstack([unwhitening, [[1e-3, 1, 2]]])  # a word that no document has
    np.testing.assert_allclose(word_start(unseen, np.append(moment1, 0)), start, atol=1e-6)


@pytest.mark.parametrize(
    ("k", "length"), [(1, 1 << 10), (50, 1 << 13), (100, 1 << 15), (200, 1 << 17), (9999, 1 << 17)]
)
def test_sizes_are_chosen_from_the_number_of_topics(k: int, length: int) -> None:
    assert sketch_size(k, None, None) == (length, 1)
    assert sketch_size(k, 77, None) == (77, 1)
    assert sketch_size(k, None, 5) == (length, 5)


def test_operations_grow_with_sketches_and_with_what_is_sketched() -> None:
    def moment(n_documents: int, k: int) -> ThirdMoment:
        block = np.zeros((7000, k), np.float32)
        return ThirdMoment(block, block, np.zeros(7000, np.float32), np.zeros(k), 1.0, n_documents, 0.1, 3)

    once = sketch_operations(moment(5000, 20), 1 << 12, 1)
    assert sketch_operations(moment(5000, 20), 1 << 12, 4) > 3 * once
    assert sketch_operations(moment(50_000, 20), 1 << 12, 1) > 2 * once
    exact = exact_operations(moment(5000, 20))
    assert exact[0] < exact_operations(moment(5000, 40))[0]
    assert min(exact) < once
