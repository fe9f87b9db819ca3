"""Symmetry is seen, refused where it lacks, and sums of powers are refined to the least squares solution."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.decompose import symmetric
from tdtool.decompose.symmetric import (
    best_weights,
    is_symmetric,
    leading_directions,
    power_map,
    refine,
    require_symmetric,
    residual_norm,
)
from tests import oracles_power as oracles

Array = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=40)
@given(seeds, st.integers(2, 4), st.integers(1, 4), st.integers(-1, 1))
def test_one_entry_out_of_place_is_seen(seed: int, order: int, size: int, decade: int) -> None:
    """Add to one entry just less, or more, than what is allowed; only entries with equal indices stay symmetric."""
    rng = np.random.default_rng(seed)
    tensor = oracles.symmetrised(rng.standard_normal((size,) * order))
    assert is_symmetric(tensor)
    place = tuple(rng.integers(0, size, order))
    tensor[place] += 1e-6 * 10.0**decade * np.abs(tensor).max()
    allowed = 1e-6 * np.abs(tensor).max() * 3
    assert is_symmetric(tensor, 3e-6) == (oracles.largest_asymmetry(tensor) <= allowed)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[1:])
def test_symmetry_in_some_modes_only_is_not_enough(order: tuple[int, ...], rng: np.random.Generator) -> None:
    """A tensor that one permutation of its modes leaves alone."""
    tensor, turned = rng.standard_normal((3, 3, 3, 3)), np.zeros((3, 3, 3, 3))
    power = tensor
    for _ in range(12):  # a multiple of the length of every cycle
        power = power.transpose(order)
        turned += power
    np.testing.assert_allclose(turned, turned.transpose(order), atol=1e-12)
    assert not is_symmetric(turned)


@pytest.mark.parametrize("order", [3, 4])
def test_symmetry_in_all_modes_but_one_is_not_enough(order: int, rng: np.random.Generator) -> None:
    for mode in range(order):
        slices = [oracles.symmetrised(rng.standard_normal((3,) * (order - 1))) for _ in range(3)]
        assert not is_symmetric(np.stack(slices, axis=mode))


def test_what_cannot_be_symmetric() -> None:
    assert not is_symmetric(np.zeros((2, 3, 2)))
    assert not is_symmetric(np.ones(3))
    assert is_symmetric(np.zeros((3, 3, 3)))
    for value in (np.nan, np.inf, -np.inf):
        tensor = np.ones((3, 3, 3))
        tensor[1, 1, 1] = value
        assert not is_symmetric(tensor)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.ones((2, 3, 2)), r"\(2, 3, 2\) is not symmetric: use cp"),
        (np.arange(27.0).reshape(3, 3, 3), "not symmetric: use cp"),
        (np.ones((3, 3)), "order 2"),
        (np.ones((0, 0, 0)), "empty"),
        (np.ones((2, 2, 2)) * 1j, "complex128"),
        (np.full((2, 2, 2), np.nan), "NaN"),
        (np.full((2, 2, 2), -np.inf), "NaN or infinite"),
        (np.array([[["a"]]]), "<U1"),
    ],
)
def test_bad_tensors_are_refused(tensor: Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        require_symmetric(tensor, 1)


def test_good_tensors_keep_their_memory(rng: np.random.Generator) -> None:
    tensor = oracles.symmetrised(rng.standard_normal((3, 3, 3)))
    assert require_symmetric(tensor, 2) is tensor
    assert require_symmetric(tensor.astype(np.float32), 2).dtype == np.float32
    assert require_symmetric(np.ones((2, 2, 2), np.int8), 1).dtype == np.float64
    with pytest.raises(ValueError, match="rank is 0"):
        require_symmetric(tensor, 0)


@pytest.mark.parametrize("order", [3, 4])
def test_powers_along_directions(order: int, rng: np.random.Generator) -> None:
    tensor = oracles.symmetrised(rng.standard_normal((5,) * order))
    vectors = rng.standard_normal((5, 3))
    for r in range(3):
        along = tensor
        for _ in range(order - 1):
            along = along @ vectors[:, r]
        np.testing.assert_allclose(power_map(tensor, vectors)[:, r], along, atol=1e-10)


@pytest.mark.parametrize("block", [1, 30, 1 << 18])
def test_residuals_do_not_depend_on_blocks(
    block: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(symmetric, "_BLOCK", block)
    tensor = oracles.symmetrised(rng.standard_normal((7, 7, 7)))
    weights, vectors = rng.standard_normal(3), rng.standard_normal((7, 3))
    left = tensor - oracles.sum_of_powers(weights, vectors, 3)
    assert residual_norm(tensor, weights, vectors) == pytest.approx(np.linalg.norm(left), rel=1e-12)


def test_best_weights_are_least_squares(rng: np.random.Generator) -> None:
    tensor, vectors = oracles.symmetrised(rng.standard_normal((5, 5, 5))), rng.standard_normal((5, 3))
    powers = np.stack([oracles.sum_of_powers(np.ones(1), vectors[:, [r]], 3).ravel() for r in range(3)], axis=1)
    np.testing.assert_allclose(best_weights(tensor, vectors), np.linalg.lstsq(powers, tensor.ravel())[0], rtol=1e-8)


@pytest.mark.parametrize("size", [9, 150])
def test_leading_directions_hold_the_tensor(size: int, rng: np.random.Generator) -> None:
    """Below and above the size where the Gram matrix is left out."""
    vectors = rng.standard_normal((size, 3))
    tensor = oracles.cp_tensor(np.array([1.0, -2.0, 0.3]), [vectors] * 3)
    basis = leading_directions(tensor, 3, rng)
    np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(basis @ (basis.T @ vectors), vectors, atol=1e-8 * np.abs(vectors).max())
    np.testing.assert_array_equal(leading_directions(np.ones((3, 3, 3)), 3, rng), np.eye(3))


@pytest.mark.parametrize("order", [3, 4])
def test_refined_powers_are_stationary(order: int, rng: np.random.Generator) -> None:
    """At a least squares solution no small change of a vector lowers the residual: central differences vanish."""
    weights, vectors = np.array([2.0, -1.0, 1.5]), np.linalg.qr(rng.standard_normal((5, 5)))[0][:, :3]
    noise = 0.02 * oracles.symmetrised(rng.standard_normal((5,) * order))
    tensor = oracles.sum_of_powers(weights, vectors, order) + noise
    fit = refine(tensor, weights, vectors, tol=1e-15)
    assert list(fit.errors) == sorted(fit.errors, reverse=True)
    assert fit.errors[0] > fit.errors[-1]
    size = np.linalg.norm(tensor)
    assert fit.errors[-1] * size == pytest.approx(
        np.linalg.norm(tensor - model(fit.signs, fit.vectors, order)), rel=1e-10
    )

    def squared(change: Array) -> float:
        return float(np.sum((tensor - model(fit.signs, fit.vectors + change, order)) ** 2))

    for i, r in itertools.product(range(5), range(3)):
        step = np.zeros((5, 3))
        step[i, r] = 1e-4
        assert abs(squared(step) - squared(-step)) / 2e-4 < 1e-5 * squared(np.zeros((5, 3)))
        assert squared(step) > squared(np.zeros((5, 3)))


def model(signs: Array, vectors: Array, order: int) -> Array:
    return oracles.sum_of_powers(signs, vectors, order)


@settings(max_examples=15)
@given(seeds, st.sampled_from([3, 4]))
def test_refinement_converges_to_the_planted_powers(seed: int, order: int) -> None:
    rng = np.random.default_rng(seed)
    weights, vectors = np.array([2.0, -1.0, 1.5]), rng.standard_normal((6, 3))
    vectors /= np.linalg.norm(vectors, axis=0)
    tensor = oracles.sum_of_powers(weights, vectors, order)
    fit = refine(tensor, weights, vectors + 0.01 * rng.standard_normal((6, 3)))
    assert fit.stopped == "tol"
    assert fit.errors[-1] < 1e-10
    assert len(fit.errors) < 20
    np.testing.assert_array_equal(fit.signs, [1, 1, 1] if order == 3 else [1, -1, 1])


def test_refinement_says_when_it_was_cut(rng: np.random.Generator) -> None:
    vectors, tensor = np.linalg.qr(rng.standard_normal((5, 2)))[0], oracles.symmetrised(rng.standard_normal((5, 5, 5)))
    fit = refine(tensor, best_weights(tensor, vectors), vectors, max_iters=6)
    assert fit.stopped == "max_iters"
    assert 2 <= len(fit.errors) <= 7
