"""Decompositions from sketches: planted tensors come back to the noise, and what is claimed of the error is true."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.decompose.matching import factor_match_score
from tdtool.decompose.power import random_orthogonal
from tdtool.decompose.results import CPFit, cp_fit
from tdtool.decompose.sketched import cheaper_exact, sketched_cp_als, sketched_power
from tdtool.decompose.sketched_orthogonal import sketched_orthogonal_power
from tdtool.kernels.sparse_tensor import SparseTensor
from tdtool.kernels.symmetric_sketch import symmetric_hashes, symmetric_sketch
from tests import oracles_sketch

Array = NDArray[np.float64]


def planted(shape: tuple[int, ...], rank: int, noise: float, rng: np.random.Generator) -> tuple[Array, CPFit]:
    """A tensor of orthonormal factors with noise of that share of its norm, and what was planted."""
    symmetric = len(set(shape)) == 1
    factors = [np.linalg.qr(rng.standard_normal((size, rank)))[0] for size in shape]
    factors = [factors[0]] * len(shape) if symmetric else factors
    truth = cp_fit(np.linspace(3, 1, rank), factors)
    clean, rest = truth.to_dense(), rng.standard_normal(shape)
    rest = oracles_sketch.symmetrised(rest) if symmetric else rest
    return clean + rest * (noise * np.linalg.norm(clean) / np.linalg.norm(rest)), truth


def true_error(tensor: Array, fit: CPFit) -> float:
    return float(np.linalg.norm(tensor - fit.to_dense()) / np.linalg.norm(tensor))


@pytest.mark.parametrize("shape", [(20, 23, 18), (9, 10, 8, 7), (30, 40)])
def test_als_finds_planted_components(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    tensor, truth = planted(shape, 3, 0.05, rng)
    fit = sketched_cp_als(tensor, 3, hash_length=1 << 11, n_sketches=3, n_restarts=2, rng=rng)
    assert (fit.stopped, fit.warnings) == ("tol", ())
    assert fit.relative_error == pytest.approx(true_error(tensor, fit), rel=1e-9)
    assert fit.relative_error < 0.07  # 0.05 are the noise
    assert fit.errors[-2] == pytest.approx(fit.relative_error, rel=0.25)  # what the sketch said
    assert fit.n_restarts == len(fit.restart_errors) == 2
    assert min(fit.restart_errors) == min(fit.errors[:-1])
    if len(shape) > 2:  # matrices have no unique components
        assert factor_match_score(fit, truth)[0] > 0.95


def test_als_on_sparse_entries_is_als_on_the_dense_tensor(rng: np.random.Generator) -> None:
    tensor, _ = planted((12, 13, 11), 1, 0.02, rng)
    tensor[::2, ::3] = 0
    sparse = SparseTensor.from_coo(np.nonzero(tensor), tensor[np.nonzero(tensor)], tensor.shape)
    settings = {"hash_length": 1 << 10, "n_sketches": 3, "n_restarts": 2}
    one = sketched_cp_als(tensor, 1, **settings, rng=np.random.default_rng(1))
    two = sketched_cp_als(sparse, 1, **settings, rng=np.random.default_rng(1))
    assert one.relative_error < 0.6
    assert two.relative_error == pytest.approx(one.relative_error, abs=1e-6)
    np.testing.assert_allclose(one.weights, two.weights, rtol=1e-5)


def test_without_noise_the_noise_of_the_sketch_goes_too(rng: np.random.Generator) -> None:
    """Only T - model is read off the sketch: estimates are exact where the model is."""
    tensor, truth = planted((20, 21, 22), 2, 0.0, rng)
    fit = sketched_cp_als(tensor, 2, hash_length=1 << 10, n_sketches=3, tol=1e-9, n_restarts=2, rng=rng)
    assert fit.relative_error < 1e-6
    assert factor_match_score(fit, truth)[0] > 1 - 1e-6


def test_a_sketch_too_short_for_the_model_says_so(rng: np.random.Generator) -> None:
    tensor, _ = planted((20, 21, 22), 5, 0.1, rng)
    fit = sketched_cp_als(tensor, 5, hash_length=20, n_sketches=1, n_restarts=1, rng=rng)
    assert fit.stopped == "diverged"
    assert fit.relative_error == pytest.approx(true_error(tensor, fit), rel=1e-9)
    assert fit.relative_error > 0.5
    assert "hash length is too short" in fit.warnings[0]


def test_als_stops_when_told(rng: np.random.Generator) -> None:
    tensor, _ = planted((9, 8, 7), 2, 0.1, rng)
    fit = sketched_cp_als(tensor, 2, hash_length=256, n_sketches=3, max_iters=2, n_restarts=1, rng=rng)
    assert (fit.stopped, len(fit.errors)) == ("max_iters", 3)
    none = sketched_cp_als(np.zeros((4, 5, 6)), 2, hash_length=16, n_sketches=1, n_restarts=1, rng=rng)
    assert none.relative_error == 0
    assert not none.weights.any()


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_power_finds_planted_components(noise: float, rng: np.random.Generator) -> None:
    tensor, truth = planted((30, 30, 30), 4, noise, rng)
    fit = sketched_power(tensor, 4, hash_length=1 << 11, n_sketches=3, rng=rng)
    assert fit.relative_error == pytest.approx(true_error(tensor, fit), rel=1e-9, abs=1e-12)
    assert fit.relative_error < 1.05 * noise + 1e-4
    assert factor_match_score(fit, truth)[0] > 0.98 if noise else 1 - 1e-6
    for factor in fit.factors[1:]:
        np.testing.assert_allclose(np.abs(factor), np.abs(fit.factors[0]), atol=1e-12)


def test_power_handles_negative_weights_and_no_diagonal(rng: np.random.Generator) -> None:
    """-w u u u is w (-u)(-u)(-u); a tensor of zeros on all (i, j, j) gives no start of its own."""
    tensor, _ = planted((12, 12, 12), 2, 0.0, rng)
    assert sketched_power(-tensor, 2, hash_length=512, n_sketches=3, rng=rng).relative_error < 1e-3
    u = np.linspace(1, 2, 12) / np.linalg.norm(np.linspace(1, 2, 12))
    distinct = np.einsum("i,j,k->ijk", u, u, u)
    index = np.arange(12)
    for place in ((index, slice(None), index), (slice(None), index, index), (index, index, slice(None))):
        distinct[place] = 0
    fit = sketched_power(distinct, 1, hash_length=2048, n_sketches=3, rng=rng)
    assert fit.factors[0][:, 0] @ u > 0.98


@pytest.mark.parametrize(
    ("tensor", "rank", "what"),
    [
        (np.zeros(5), 1, "order 1"),
        (np.zeros((3, 4)), 0, "rank is 0"),
        (np.zeros((3, 4), complex), 1, "real"),
        (np.full((3, 4), np.nan), 1, "NaN"),
    ],
)
def test_als_refuses(tensor: Array, rank: int, what: str, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=what):
        sketched_cp_als(tensor, rank, rng=rng)


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (np.zeros((3,) * 4), "order 4"),
        (np.zeros((3, 3, 4)), "not symmetric"),
        (np.arange(27.0).reshape(3, 3, 3), "not sym"),
    ],
)
def test_power_refuses(tensor: Array, what: str, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=what):
        sketched_power(tensor, 1, rng=rng)


def test_exact_is_cheaper_for_small_tensors_and_long_sketches() -> None:
    assert cheaper_exact((50, 60, 70), 10, 1 << 12, 10)
    assert cheaper_exact((400, 400, 400), 10, 1 << 18, 20)
    assert not cheaper_exact((1000, 1000, 1000), 50, 1 << 12, 5)


# ---- all directions at once


def test_orthogonal_power_on_a_sketch(rng: np.random.Generator) -> None:
    """From a start near the truth it comes nearer."""
    vectors = random_orthogonal(20, rng)
    weights = np.linspace(3, 1, 20)
    tensor = np.einsum("ir,jr,kr->ijk", vectors * weights, vectors, vectors)
    sketch = symmetric_sketch(tensor, symmetric_hashes(20, 2048, 1, rng=rng))
    start = np.linalg.qr(vectors + 0.1 * rng.standard_normal((20, 20)))[0] * np.sign(np.arange(20) - 7.5)
    fit = sketched_orthogonal_power(sketch, start)
    assert fit.stopped == "tol"
    assert np.all(np.diff(fit.weights) <= 0)
    before, after = np.abs(start.T @ vectors).max(axis=0), np.abs(fit.vectors.T @ vectors).max(axis=0)
    assert after.mean() > before.mean()
    np.testing.assert_allclose(np.linalg.norm(fit.vectors, axis=0), 1, atol=1e-9)
    cut = sketched_orthogonal_power(sketch, start, max_iters=1)
    assert (cut.stopped, cut.changes) == ("max_iters", fit.changes[:1])


def test_noise_of_a_short_sketch_does_not_turn_the_directions(rng: np.random.Generator) -> None:
    """Started at the truth, they stay there however little the sketch says."""
    vectors = random_orthogonal(20, rng)
    tensor = np.einsum("ir,jr,kr->ijk", vectors * 2, vectors, vectors)
    rest = oracles_sketch.symmetrised(rng.standard_normal((20, 20, 20)))
    tensor = tensor + rest * (0.3 * np.linalg.norm(tensor) / np.linalg.norm(rest))
    for n_hashes in (1, 3):
        sketch = symmetric_sketch(tensor, symmetric_hashes(20, 64, n_hashes, rng=rng))
        fit = sketched_orthogonal_power(sketch, vectors)
        assert np.abs(fit.vectors.T @ vectors).max(axis=0).mean() > 0.95
