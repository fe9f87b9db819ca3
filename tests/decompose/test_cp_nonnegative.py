"""Non-negative CP: nothing below zero, the optimality conditions hold, and dead components come back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.decompose.cp import cp_als
from tdtool.decompose.cp_nonnegative import NonnegativeProblem, hals, nonnegative_starts, revive
from tdtool.decompose.cp_sweeps import run
from tdtool.decompose.matching import factor_match_score
from tdtool.decompose.results import CPFit, cp_fit
from tdtool.kernels.sparse_tensor import SparseTensor
from tests import oracles_decompose as oracles

Array = NDArray[Any]


def planted(shape: tuple[int, ...], rank: int, rng: np.random.Generator) -> CPFit:
    """Components >= 0, a third of their entries zero."""
    factors = [np.where(rng.random((size, rank)) < 0.33, 0.0, rng.random((size, rank)) + 0.1) for size in shape]
    return cp_fit(np.arange(rank, 0, -1.0), factors)


@pytest.mark.parametrize(("shape", "rank"), [((9, 8, 10), 3), ((7, 6, 5, 8), 2), ((12, 9), 1)])
def test_recovery(shape: tuple[int, ...], rank: int, rng: np.random.Generator) -> None:
    truth = planted(shape, rank, rng)
    fit = cp_als(truth.to_dense(), rank, nonnegative=True, max_iters=2000, tol=1e-12)
    assert fit.relative_error < 1e-4
    assert factor_match_score(truth, fit)[0] > 0.999


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_nothing_is_negative_and_errors_never_grow(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tensor = rng.standard_normal((6, 5, 7))
    fit = cp_als(tensor, 3, nonnegative=True, max_iters=40, rng=rng)
    assert min(factor.min() for factor in fit.factors) >= 0
    assert fit.weights.min() >= 0
    assert (np.diff(fit.errors) <= 0).all()
    difference = np.linalg.norm(tensor - fit.to_dense()) / np.linalg.norm(tensor)
    assert fit.relative_error == pytest.approx(difference, abs=1e-10)


def test_the_optimality_conditions_hold(rng: np.random.Generator) -> None:
    """Where an entry is zero the gradient must not pull it up, elsewhere it must be zero (KKT)."""
    tensor = planted((6, 5, 7), 3, rng).to_dense() + 0.3 * rng.random((6, 5, 7))
    fit = cp_als(tensor, 3, nonnegative=True, max_iters=20_000, tol=1e-15)
    for mode, factor in enumerate(fit.factors):
        gradient = oracles.cp_gradient(tensor, fit.weights, fit.factors, mode)
        scale = np.abs(oracles.unfolding(tensor, mode)).sum(axis=1).max()
        zero = factor < 1e-9
        assert zero.any() or mode > 0
        assert gradient[zero].min(initial=0.0) > -1e-4 * scale
        assert np.abs(gradient[~zero]).max(initial=0.0) < 1e-4 * scale


def test_hals_settles_at_non_negative_least_squares(rng: np.random.Generator) -> None:
    basis, values = rng.random((20, 4)), rng.standard_normal((5, 20))
    new = np.ones((5, 4))
    for _ in range(200):
        new = hals(values @ basis, basis.T @ basis, new)
    expected = [scipy.optimize.nnls(basis, row)[0] for row in values]
    np.testing.assert_allclose(new, expected, atol=1e-6)
    gram = np.diag([1.0, 0.0])
    np.testing.assert_array_equal(hals(np.ones((3, 2)), gram, np.full((3, 2), 5.0)), [[1.0, 5.0]] * 3)


def test_a_dead_component_comes_back(rng: np.random.Generator) -> None:
    truth = planted((9, 8, 10), 3, rng)
    tensor = truth.to_dense()
    start = [rng.random((size, 3)) for size in tensor.shape]
    start[0][:, 1] = 0
    start[2][:, 1] = 0
    before = oracles.outer_sum(np.ones(3), start)
    revived = [factor.copy() for factor in start]
    revive(revived, rng)
    np.testing.assert_allclose(oracles.outer_sum(np.ones(3), revived), before)
    assert [int(factor.any(axis=0).sum()) for factor in revived] == [2, 3, 3]
    problem = NonnegativeProblem(tensor, float(np.linalg.norm(tensor)), rng)
    assert run(problem, start, max_iters=2000, tol=1e-12).error < 1e-3


def test_starts_are_not_negative(rng: np.random.Generator) -> None:
    tensor = rng.standard_normal((5, 7, 6))
    starts = list(nonnegative_starts(tensor, 4, 4, rng))
    assert len(starts) == 4
    assert min(factor.min() for start in starts for factor in start) >= 0
    assert all(factor.any(axis=0).all() for start in starts for factor in start)
    assert len(list(nonnegative_starts(tensor, 4, 1, rng))) == 1


def test_sparse_counts(rng: np.random.Generator) -> None:
    truth = planted((20, 15, 12), 2, rng)
    counts = rng.poisson(200 * truth.to_dense()).astype(float)
    places = np.nonzero(counts)
    sparse = cp_als(SparseTensor.from_coo(places, counts[places], counts.shape), 2, nonnegative=True)
    dense = cp_als(counts, 2, nonnegative=True)
    assert min(factor.min() for factor in sparse.factors) >= 0
    assert sparse.relative_error == pytest.approx(dense.relative_error, abs=1e-3)
    assert factor_match_score(truth, sparse, weights=False)[0] > 0.98


@pytest.mark.shared_data
def test_amino_acids_are_found(shared_data: Any) -> None:
    """The known concentrations of three amino acids in five samples (Bro 1997)."""
    with np.load(shared_data / "tensors" / "amino.npz") as arrays:
        tensor, known = arrays["X"], arrays["Y"]
    for nonnegative in (False, True):
        fit = cp_als(tensor, 3, nonnegative=nonnegative)
        correlation = np.abs(np.corrcoef(fit.factors[0].T, known.T)[:3, 3:])
        assert sorted(correlation.argmax(axis=0)) == [0, 1, 2]
        assert correlation.max(axis=0).min() >= 0.998
        assert fit.relative_error == pytest.approx(0.0251, abs=2e-4)


@pytest.mark.shared_data
def test_spectra_of_a_landscape(shared_data: Any) -> None:
    with np.load(shared_data / "tensors" / "jasper_ridge.npz") as arrays:
        image, spectra = arrays["X"][::2, ::2], arrays["endmembers"]
    fit = cp_als(image, 4, nonnegative=True)
    correlation = np.corrcoef(fit.factors[2].T, spectra.T)[:4, 4:].max(axis=0)
    assert (np.sort(correlation)[2:] > 0.9).all()
    assert fit.relative_error < 0.3
