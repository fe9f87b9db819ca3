"""From exact moments to exact topics; the simplex; order and padding of models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.decompose.power import PowerFit, orthogonal_power, random_orthogonal
from tdtool.models.topic_model import TopicModel, no_topics, pad_topics, project_to_simplex, recover_topics
from tdtool.moments.pairs import FirstMoment
from tdtool.moments.whitening import Whitening, range_finder
from tests import oracles

V = 30
ALPHA = np.array([0.5, 0.1, 0.3, 0.2])


def exact_moments(topics: NDArray, alpha: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """M1 (V,), M2 (V, V), M3 (V, V, V) of LDA itself, no corpus between. topics : (V, T)."""
    h1, h2, h3 = oracles.dirichlet_moments(alpha)
    mean, pairs = topics @ h1, topics @ h2 @ topics.T
    triples = np.einsum("abc,ia,jb,kc->ijk", h3, topics, topics, topics)
    alpha0 = alpha.sum()
    moment2 = pairs - alpha0 / (alpha0 + 1) * np.outer(mean, mean)
    return mean, moment2, oracles.corrected_third_moment(mean, pairs, triples, alpha0)


def decompose(
    moments: tuple[NDArray, NDArray, NDArray], k: int, rng: np.random.Generator
) -> tuple[Whitening, PowerFit]:
    _, moment2, moment3 = moments
    whitening = range_finder(lambda block: (moment2 @ block).astype(np.float32), V, k, rng=rng)
    tensor = oracles.whitened(moment3, whitening.whitening.astype(float))
    return whitening, orthogonal_power(lambda u: oracles.along(tensor, u), random_orthogonal(k, rng), tol=1e-14)


@pytest.fixture
def topics(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.dirichlet(np.full(V, 0.2), ALPHA.size).T


def first_of(mean: NDArray) -> FirstMoment:
    return FirstMoment(mean, np.zeros_like(mean), 1000.0, 10)


def test_exact_moments_give_the_topics_and_their_alpha(topics: NDArray, rng: np.random.Generator) -> None:
    moments = exact_moments(topics, ALPHA)
    whitening, fit = decompose(moments, ALPHA.size, rng)
    alpha0 = ALPHA.sum()
    # Weights by theorem 4.3: lambda_i = 2 / (alpha0 + 2) sqrt(alpha0 (alpha0 + 1) / alpha_i).
    expected = 2 / (alpha0 + 2) * np.sqrt(alpha0 * (alpha0 + 1) / np.sort(ALPHA))
    np.testing.assert_allclose(fit.weights, expected, rtol=1e-4)
    model = recover_topics(whitening, fit, first_of(moments[0]), alpha0=alpha0, polish_follows=False)
    order = np.argsort(ALPHA)  # the rarest topic has the largest weight
    np.testing.assert_allclose(model.alpha, ALPHA[order], rtol=1e-3)
    np.testing.assert_allclose(model.weights, fit.weights)
    assert oracles.matched_total_variation(model.topic_word, topics.T).max() < 2e-3  # the background, and no more
    assert np.abs(model.word_topic - topics[:, order]).sum(axis=0).max() / 2 < 2e-3
    assert not model.totals.any()


@pytest.mark.parametrize("polish_follows", [True, False])
def test_recovered_topics_are_distributions_with_every_word_possible(
    topics: NDArray, polish_follows: bool, rng: np.random.Generator
) -> None:
    topics[4] = 0  # a word that only held-out documents use
    moments = exact_moments(topics / topics.sum(axis=0), ALPHA)
    whitening, fit = decompose(moments, ALPHA.size, rng)
    model = recover_topics(whitening, fit, first_of(moments[0]), alpha0=1.1, polish_follows=polish_follows)
    assert (model.word_topic.dtype, model.word_topic.shape) == (np.float32, (V, 4))
    np.testing.assert_allclose(model.word_topic.sum(axis=0), 1, rtol=1e-5)
    assert model.word_topic.min() > 0


def test_the_sign_of_a_direction_does_not_matter(topics: NDArray, rng: np.random.Generator) -> None:
    moments = exact_moments(topics, ALPHA)
    whitening, fit = decompose(moments, ALPHA.size, rng)
    flipped = PowerFit(fit.vectors * [1, -1, -1, 1], fit.weights, fit.changes, fit.stopped)
    one, two = (
        recover_topics(whitening, f, first_of(moments[0]), alpha0=1.1, polish_follows=False) for f in (fit, flipped)
    )
    np.testing.assert_allclose(one.word_topic, two.word_topic, atol=1e-7)


def test_estimates_are_brought_back_to_the_simplex(topics: NDArray, rng: np.random.Generator) -> None:
    """From wrong directions, columns have negative entries; the topics are the nearest distributions."""
    moments = exact_moments(topics, ALPHA)
    whitening, fit = decompose(moments, ALPHA.size, rng)
    turned = np.linalg.qr(fit.vectors + 0.2 * rng.standard_normal((4, 4)))[0]
    columns = whitening.unwhitening @ turned
    columns /= columns.sum(axis=0)
    assert columns.min() < -0.01
    wrong = PowerFit(turned, fit.weights, fit.changes, fit.stopped)
    model = recover_topics(whitening, wrong, first_of(moments[0]), alpha0=1.1, polish_follows=False)
    nearest = project_to_simplex(columns)
    assert np.abs(model.word_topic - nearest).sum(axis=0).max() / 2 < 2e-3


def test_before_a_polish_topics_are_softer(topics: NDArray, rng: np.random.Generator) -> None:
    moments = exact_moments(topics, ALPHA)
    whitening, fit = decompose(moments, ALPHA.size, rng)
    sharp, soft = (
        recover_topics(whitening, fit, first_of(moments[0]), alpha0=1.1, polish_follows=follows).word_topic
        for follows in (False, True)
    )
    toward = moments[0][:, None]
    assert np.all(np.abs(soft - toward).sum(axis=0) < 0.9 * np.abs(sharp - toward).sum(axis=0))


# ---- the simplex

matrices = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 4), st.sampled_from([1e-3, 1, 1e3]))


@settings(max_examples=60)
@given(matrices)
def test_project_to_simplex_gives_the_nearest_point(drawn: tuple[int, int, int, float]) -> None:
    """p is nearest to x in a polytope if and only if (x - p) . (corner - p) <= 0 for every corner."""
    seed, n_terms, n_topics, scale = drawn
    columns = np.random.default_rng(seed).standard_normal((n_terms, n_topics)) * scale
    nearest = project_to_simplex(columns)
    assert nearest.min() >= 0
    np.testing.assert_allclose(nearest.sum(axis=0), 1, atol=1e-12 * max(scale, 1))
    for x, p in zip(columns.T, nearest.T, strict=True):
        assert np.max((np.eye(n_terms) - p) @ (x - p)) < 1e-9 * max(scale, 1)


def test_project_to_simplex_leaves_distributions_alone(topics: NDArray) -> None:
    np.testing.assert_allclose(project_to_simplex(topics), topics, atol=1e-15)
    corner = np.zeros((5, 1))
    corner[3] = 1
    np.testing.assert_array_equal(project_to_simplex(corner * 17), corner)
    np.testing.assert_allclose(project_to_simplex(np.zeros((5, 1))), 0.2)


# ---- models as values


def some_model(totals: NDArray) -> TopicModel:
    word_topic = np.array([[0.5, 0.2, 0.3], [0.5, 0.8, 0.7]], np.float32)
    return TopicModel(word_topic, np.array([0.1, 0.4, 0.2]), np.array([3.0, 2.0, 1.0]), totals)


@pytest.mark.parametrize(
    ("totals", "order"), [([5.0, 7.0, 6.0], [1, 2, 0]), ([0.0, 0.0, 0.0], [1, 2, 0]), ([3.0, 0.0, 3.0], [0, 2, 1])]
)
def test_ordered_by_words_or_by_the_prior(totals: list[float], order: list[int]) -> None:
    model = some_model(np.array(totals))
    ordered = model.ordered()
    for name in ("alpha", "weights", "totals"):
        np.testing.assert_array_equal(getattr(ordered, name), getattr(model, name)[order])
    np.testing.assert_array_equal(ordered.word_topic, model.word_topic[:, order])
    np.testing.assert_array_equal(ordered.topic_word, ordered.word_topic.T)
    assert ordered.word_topic.flags.c_contiguous


def test_padding_adds_noise_around_the_word_frequencies(rng: np.random.Generator) -> None:
    mean = np.array([0.9, 0.1])
    model = some_model(np.zeros(3))
    padded = pad_topics(model, 5, mean, rng)
    assert padded.n_topics == 5
    np.testing.assert_array_equal(padded.word_topic[:, :3], model.word_topic)
    np.testing.assert_allclose(padded.word_topic.sum(axis=0), 1, rtol=1e-6)
    assert not np.array_equal(padded.word_topic[:, 3], padded.word_topic[:, 4])
    np.testing.assert_allclose(padded.alpha, [0.1, 0.4, 0.2, 0.7 / 3, 0.7 / 3])
    np.testing.assert_array_equal(padded.weights, [3, 2, 1, 0, 0])
    assert pad_topics(model, 3, mean, rng) is model
    assert pad_topics(model, 2, mean, rng) is model


def test_padding_nothing(rng: np.random.Generator) -> None:
    padded = pad_topics(no_topics(2), 4, np.array([0.75, 0.25]), rng)
    np.testing.assert_allclose(padded.alpha, 0.25)
    assert padded.word_topic.dtype == np.float32
    drawn = pad_topics(no_topics(2), 4000, np.array([0.75, 0.25]), rng).word_topic.mean(axis=1)
    assert drawn[0] > 0.6
