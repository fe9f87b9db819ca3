"""The third moment as a tensor: against brute force, and as good to apply as what it was made of."""

from __future__ import annotations

import numpy as np
import pytest

from tdtool.data.corpus import Corpus
from tdtool.engine import LocalEngine
from tdtool.moments import packed_triples
from tdtool.moments.packed_triples import tensor_apply, unpacked, weighted_cubes, whitened_tensor
from tdtool.moments.pairs import first_moment, second_moment_apply
from tdtool.moments.three_star import ThreeStar
from tdtool.moments.triples import ThirdMoment, implicit_apply, third_moment
from tdtool.moments.whitening import range_finder
from tests import oracles
from tests.moments.conftest import N_TOPICS

HELD_OUT = np.array([0, 17, 18, 59])


def collected(engine: LocalEngine, alpha0: float) -> ThirdMoment:
    corpus = engine.corpus
    first = first_moment(engine.map_reduce, HELD_OUT, corpus.n_terms)
    pairs = second_moment_apply(engine.map_reduce, first, HELD_OUT, alpha0)
    whitening = range_finder(pairs, corpus.n_terms, N_TOPICS, rng=np.random.default_rng(3))
    shape = {"alpha0": alpha0, "n_partitions": corpus.n_partitions}
    return third_moment(engine.map_reduce, first, whitening, HELD_OUT, **shape)


@pytest.mark.parametrize("alpha0", [0.1, 2.0])
@pytest.mark.parametrize("k", [N_TOPICS, 2, 1])
@pytest.mark.parametrize("rows_at_once", [4096, 3])
def test_it_is_the_whitened_moment_of_brute_force(
    corpus: Corpus, alpha0: float, k: int, rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_triples, "_ROWS_AT_ONCE", rows_at_once)
    counts = corpus.matrix().toarray()
    moment3 = oracles.third_moment(counts, oracles.document_weights(counts, HELD_OUT.tolist()), alpha0)
    with LocalEngine(corpus, workers=2, memory=1 << 30) as engine:
        moment = collected(engine, alpha0)
        found = whitened_tensor(engine.map_reduce, moment.first(k))
    whitening = moment.whitening[:, :k].astype(float)
    expected = oracles.whitened(moment3, whitening)
    terms = max(np.sum(np.linalg.norm(whitening, axis=1) ** 3 * moment.n), 1.0)
    np.testing.assert_allclose(found, expected, atol=3e-6 * terms)
    assert np.abs(expected).max() > 1e-2


def test_it_is_symmetric_nested_and_the_same_for_any_workers(corpus: Corpus) -> None:
    found = []
    for workers in (1, 3):
        with LocalEngine(corpus, workers=workers, memory=1 << 30) as engine:
            moment = collected(engine, 0.5)
            found.append(whitened_tensor(engine.map_reduce, moment))
            fewer = whitened_tensor(engine.map_reduce, moment.first(3))
    np.testing.assert_array_equal(found[0], found[1])
    for axes in ((0, 2, 1), (2, 1, 0), (1, 2, 0)):
        np.testing.assert_array_equal(found[0], found[0].transpose(axes))
    np.testing.assert_allclose(fewer, found[0][:3, :3, :3], atol=1e-5 * np.abs(fewer).max())


@pytest.mark.parametrize("n_directions", [N_TOPICS, 3])
def test_it_is_applied_as_the_moment_is(corpus: Corpus, n_directions: int, rng: np.random.Generator) -> None:
    directions = np.linalg.qr(rng.standard_normal((N_TOPICS, N_TOPICS)))[0][:, :n_directions]
    with LocalEngine(corpus, workers=2, memory=1 << 30) as engine:
        moment = collected(engine, 0.1)
        implicit = implicit_apply(engine.map_reduce, moment)(directions)
        tensor = whitened_tensor(engine.map_reduce, moment)
    found = tensor_apply(tensor)(directions)
    np.testing.assert_allclose(found, implicit, atol=3e-6 * np.abs(implicit).max())
    np.testing.assert_allclose(found, np.einsum("abc,bj,cj->aj", tensor, directions, directions), atol=1e-12)


@pytest.mark.parametrize("k", [0, 1, 2, 5])
def test_packed_entries_come_by_their_indices(k: int) -> None:
    places = [(a, b, c) for a in range(k) for b in range(a, k) for c in range(b, k)]
    tensor = unpacked(np.arange(len(places)).astype(float), k)
    assert tensor.shape == (k, k, k)
    for number, place in enumerate(places):
        assert all(tensor[tuple(place[i] for i in order)] == number for order in ((0, 1, 2), (2, 0, 1), (1, 0, 2)))


@pytest.mark.parametrize("rows_at_once", [4096, 4])
def test_weighted_cubes_are_sums_of_outer_products(
    rows_at_once: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(packed_triples, "_ROWS_AT_ONCE", rows_at_once)
    rows, scale = rng.standard_normal((11, 3)), rng.random(11)
    expected = np.einsum("d,da,db,dc->abc", scale, rows, rows, rows)
    np.testing.assert_allclose(weighted_cubes(rows, scale), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("alpha0", [0.0, 0.7])
def test_a_star_is_the_same_from_its_tensor(alpha0: float, rng: np.random.Generator) -> None:
    weights = rng.dirichlet(np.ones(17))
    points = np.linalg.qr(rng.standard_normal((17, 5)))[0] / np.sqrt(weights)[:, None]
    directions = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    plain = ThreeStar.of(points, weights, alpha0=alpha0)
    kept = ThreeStar.of(points, weights, alpha0=alpha0, tensor=weighted_cubes(points, weights))
    np.testing.assert_allclose(kept.apply(directions), plain.apply(directions), rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(kept.points, plain.points)
