"""Planted symmetric tensors are recovered: orthogonal ones exactly by power iteration, others after whitening."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.decompose.power import random_orthogonal
from tdtool.decompose.results import CPFit
from tdtool.decompose.tensor_power import METHODS, symmetric_cp, tensor_power
from tests import oracles_power as oracles

Array = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def unit(rng: np.random.Generator, size: int, rank: int) -> Array:
    vectors = rng.standard_normal((size, rank))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=0))


def recovered(fit: CPFit, weights: Array, vectors: Array, *, atol: float) -> None:
    """Assert that a fit is the planted sum of powers: magnitudes, vectors, and signs where the order knows them."""
    order = len(fit.factors)
    np.testing.assert_allclose(fit.weights, np.sort(np.abs(weights))[::-1], atol=atol)
    match = np.argmax(np.abs(fit.factors[0].T @ vectors), axis=1)
    assert sorted(match) == list(range(len(weights)))
    for r, planted in enumerate(match):
        component = fit.weights[r] * np.prod([factor[:, r] @ vectors[:, planted] for factor in fit.factors])
        assert component == pytest.approx(weights[planted], abs=atol)
        for factor in fit.factors:
            assert abs(factor[:, r] @ vectors[:, planted]) == pytest.approx(1, abs=atol)
    np.testing.assert_allclose(fit.to_dense(), oracles.sum_of_powers(weights, vectors, order), atol=10 * atol)


@settings(max_examples=20)
@given(seeds, st.integers(1, 6), st.sampled_from([3, 4]), st.booleans())
def test_orthogonal_components_are_found_one_by_one(seed: int, rank: int, order: int, equal: bool) -> None:
    rng = np.random.default_rng(seed)
    vectors = random_orthogonal(6, rng)[:, :rank]
    weights = (np.ones(rank) if equal else rng.uniform(0.5, 3.0, rank)) * rng.choice([-1.0, 1.0], rank)
    fit = tensor_power(oracles.sum_of_powers(weights, vectors, order), rank, rng=rng)
    recovered(fit, weights, vectors, atol=1e-10)
    assert fit.stopped == "exact"
    assert len(fit.errors) == rank
    assert list(fit.errors) == sorted(fit.errors, reverse=True)


@settings(max_examples=15)
@given(seeds, st.integers(1, 5), st.sampled_from([3, 4]), st.sampled_from(METHODS))
def test_components_that_are_not_orthogonal(seed: int, rank: int, order: int, method: str) -> None:
    rng = np.random.default_rng(seed)
    vectors, weights = unit(rng, 7, rank), rng.uniform(1.0, 3.0, rank) * rng.choice([-1.0, 1.0], rank)
    fit = symmetric_cp(oracles.sum_of_powers(weights, vectors, order), rank, method=method, rng=rng)
    assert fit.stopped == "exact"
    recovered(fit, weights, vectors, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_noise_is_all_that_is_left(method: str, rng: np.random.Generator) -> None:
    """n = 100, k = 10, noise a tenth of the signal: the residual is the noise, and every component is matched."""
    vectors = unit(rng, 100, 10)
    signal = oracles.cp_tensor(np.linspace(2.0, 1.0, 10), [vectors] * 3)
    noise = oracles.symmetrised(rng.standard_normal((100, 100, 100)))
    noise *= 0.1 * np.linalg.norm(signal) / np.linalg.norm(noise)
    tensor = signal + noise
    fit = symmetric_cp(tensor, 10, method=method, rng=rng)
    floor = np.linalg.norm(noise) / np.linalg.norm(tensor)
    assert 0.99 * floor < fit.relative_error <= 1.0 * floor
    assert fit.relative_error == pytest.approx(
        np.linalg.norm(tensor - fit.to_dense()) / np.linalg.norm(tensor), rel=1e-9
    )
    cosines = np.abs(fit.factors[0].T @ vectors)
    np.testing.assert_array_equal(np.argmax(cosines, axis=1), np.arange(10))
    assert cosines.max(axis=1).min() > 0.9999
    assert fit.restart_errors[0] == pytest.approx(fit.relative_error, rel=1e-9)


def test_near_collinear_components(rng: np.random.Generator) -> None:
    """Cosines of 0.9: whitening is what separates them."""
    common = unit(rng, 12, 1)
    vectors = np.sqrt(0.9) * common + np.sqrt(0.1) * random_orthogonal(12, rng)[:, :5]
    vectors /= np.linalg.norm(vectors, axis=0)
    weights = np.array([1.0, 1.2, 1.4, 1.6, 1.8])
    recovered(symmetric_cp(oracles.sum_of_powers(weights, vectors, 3), 5, rng=rng), weights, vectors, atol=1e-6)


def test_a_full_set_of_components(rng: np.random.Generator) -> None:
    vectors, weights = unit(rng, 7, 7), np.arange(1.0, 8.0)
    recovered(symmetric_cp(oracles.sum_of_powers(weights, vectors, 3), 7, rng=rng), weights, vectors, atol=1e-6)


def test_without_compression(rng: np.random.Generator) -> None:
    vectors = random_orthogonal(9, rng)[:, :4] + 0.05 * rng.standard_normal((9, 4))
    vectors /= np.linalg.norm(vectors, axis=0)
    weights = np.array([2.0, -1.5, 1.0, 3.0])
    fit = symmetric_cp(oracles.sum_of_powers(weights, vectors, 3), 4, compress=False, n_restarts=3, rng=rng)
    recovered(fit, weights, vectors, atol=1e-6)
    assert fit.n_restarts == 3


@settings(max_examples=10)
@given(seeds, st.sampled_from([3, 4]))
def test_turning_the_tensor_turns_the_components(seed: int, order: int) -> None:
    rng = np.random.default_rng(seed)
    turn, vectors, weights = random_orthogonal(6, rng), unit(rng, 6, 4), np.array([4.0, -3.0, 2.0, 1.0])
    noise = 1e-3 * oracles.symmetrised(rng.standard_normal((6,) * order))
    tensor = oracles.sum_of_powers(weights, vectors, order) + noise
    turned = tensor
    for _ in range(order):
        turned = np.tensordot(turned, turn, axes=(0, 1))  # takes the first mode to the end
    one, two = (symmetric_cp(t, 4, rng=np.random.default_rng(1)) for t in (tensor, turned))
    np.testing.assert_allclose(two.weights, one.weights, rtol=1e-4)
    np.testing.assert_allclose(np.abs(np.sum((turn @ one.factors[0]) * two.factors[0], axis=0)), 1, atol=1e-6)


def test_scale_goes_into_the_weights_and_memory_order_does_not_matter(rng: np.random.Generator) -> None:
    vectors, weights = random_orthogonal(5, rng)[:, :3], np.array([3.0, 2.0, 1.0])
    tensor = oracles.sum_of_powers(weights, vectors, 3)
    recovered(tensor_power(np.asfortranarray(tensor * 1e-30), 3, rng=rng), weights * 1e-30, vectors, atol=1e-10)
    recovered(symmetric_cp(tensor[::-1, ::-1, ::-1] * 1e6, 3, rng=rng), weights * 1e6, vectors[::-1], atol=1e-3)
    single = symmetric_cp(tensor.astype(np.float32), 3, rng=rng)
    recovered(single, weights, vectors, atol=1e-5)
    assert single.factors[0].dtype == np.float64


def test_the_same_generator_gives_the_same_answer(rng: np.random.Generator) -> None:
    tensor = oracles.symmetrised(rng.standard_normal((6, 6, 6)))
    for fit in (tensor_power, symmetric_cp):
        one, two = (fit(tensor, 3, rng=np.random.default_rng(5)) for _ in range(2))
        np.testing.assert_array_equal(one.factors[2], two.factors[2])
        assert one.errors == two.errors


def test_power_says_why_it_stopped(rng: np.random.Generator) -> None:
    tensor = oracles.symmetrised(rng.standard_normal((6, 6, 6)))
    assert tensor_power(tensor, 2, rng=rng).stopped == "tol"
    cut = tensor_power(tensor, 2, max_iters=1, tol=1e-15, rng=rng)
    assert (cut.stopped, cut.n_restarts) == ("max_iters", 10)
    assert cut.relative_error == pytest.approx(np.linalg.norm(tensor - cut.to_dense()) / np.linalg.norm(tensor))


def test_more_restarts_find_the_largest_component_first(rng: np.random.Generator) -> None:
    """Weights of 1 ... 8: one start ends anywhere, the best of 200 at the largest."""
    vectors = random_orthogonal(8, rng)
    tensor = oracles.sum_of_powers(np.arange(1.0, 9.0), vectors, 3)
    best = [tensor_power(tensor, 1, n_restarts=200, rng=np.random.default_rng(s)).weights[0] for s in range(5)]
    np.testing.assert_allclose(best, 8)
    alone = [tensor_power(tensor, 1, n_restarts=1, rng=np.random.default_rng(s)).weights[0] for s in range(5)]
    assert min(alone) < 7.5


def test_degenerate_sums_are_told(rng: np.random.Generator) -> None:
    """a a b + a b a + b a a has rank 3, and two powers come as near as one likes with weights that grow."""
    a, b = random_orthogonal(5, rng)[:, :2].T
    tensor = sum(np.einsum("i,j,k->ijk", *order) for order in ((a, a, b), (a, b, a), (b, a, a)))
    fit = symmetric_cp(np.asarray(tensor), 2, rng=rng)
    assert any("nearly cancel" in warning for warning in fit.warnings)
    assert fit.weights.sum() > 10 * np.linalg.norm(tensor)


def test_nothing_in_it() -> None:
    for fit in (tensor_power, symmetric_cp):
        found = fit(np.zeros((3, 3, 3)), 2, rng=np.random.default_rng(0))
        assert found.relative_error == 0
        np.testing.assert_array_equal(found.weights, 0)
        np.testing.assert_array_equal(found.to_dense(), 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank is 0"),
        ({"rank": 4}, "rank 4 is above the size 3"),
        ({"rank": 2, "n_restarts": 0}, "n_restarts is 0"),
        ({"rank": 2, "max_iters": 0}, "max_iters 0"),
        ({"rank": 2, "tensor": np.arange(27.0).reshape(3, 3, 3)}, "use cp"),
        ({"rank": 2, "tensor": np.full((3, 3, 3), np.nan)}, "NaN"),
    ],
)
def test_bad_input(options: dict[str, Any], message: str, rng: np.random.Generator) -> None:
    for fit in (tensor_power, symmetric_cp):
        with pytest.raises(ValueError, match=message):
            fit(**{"tensor": np.ones((3, 3, 3)), "rng": rng, **options})
    with pytest.raises(ValueError, match="method is 'both'; it is one of orthogonal, robust"):
        symmetric_cp(np.ones((3, 3, 3)), 1, method="both", rng=rng)
