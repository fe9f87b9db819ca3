"""Missing values: the model of what was observed, with errors over that alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.decompose.cp import cp_als
from tdtool.decompose.cp_missing import MissingProblem, filled, observed_start
from tdtool.decompose.cp_sweeps import run
from tdtool.decompose.matching import factor_match_score
from tdtool.decompose.results import CPFit, cp_fit
from tests import oracles_decompose as oracles

Array = NDArray[Any]


def planted(shape: tuple[int, ...], rank: int, rng: np.random.Generator) -> CPFit:
    """Components >= 0 with different weights."""
    return cp_fit(np.arange(rank, 0, -1.0), [rng.random((size, rank)) for size in shape])


def observed_error(fit: CPFit, tensor: Array, mask: Array) -> float:
    """Relative error over what was observed, from the difference itself."""
    return float(np.linalg.norm((tensor - fit.to_dense())[~mask]) / np.linalg.norm(tensor[~mask]))


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize(
    ("shape", "share"), [((9, 8, 10), 0.05), ((9, 8, 10), 0.4), ((20, 18, 16), 0.93), ((6, 5, 7, 8), 0.5)]
)
def test_missing_values_are_recovered(
    shape: tuple[int, ...], share: float, nonnegative: bool, rng: np.random.Generator
) -> None:
    truth = planted(shape, 2, rng)
    mask = rng.random(shape) < share
    tensor = np.where(mask, np.nan, truth.to_dense())
    fit = cp_als(tensor, 2, mask=mask, nonnegative=nonnegative, max_iters=3000, tol=1e-13)
    accuracy = 1e-3 if nonnegative else 1e-6
    assert fit.relative_error < accuracy
    np.testing.assert_allclose(
        fit.to_dense()[mask], truth.to_dense()[mask], atol=accuracy * truth.to_dense().max() * 10
    )
    assert factor_match_score(truth, fit)[0] > 1 - 50 * accuracy
    if nonnegative:
        assert min(factor.min() for factor in fit.factors) >= 0


@pytest.mark.parametrize("share", [0.04, 0.5, 0.92])
def test_one_sweep_is_the_oracles_whatever_form_the_pattern_has(share: float, rng: np.random.Generator) -> None:
    tensor, mask = rng.standard_normal((9, 8, 10)), rng.random((9, 8, 10)) < share
    start = [rng.standard_normal((size, 2)) for size in tensor.shape]
    ours, known = [factor.copy() for factor in start], np.where(mask, 0.0, tensor)
    length = float(np.linalg.norm(known))
    squared = MissingProblem(known, mask, length, nonnegative=False).sweep(ours)
    theirs = oracles.als_sweep(tensor, start, ~mask)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    difference = (tensor - oracles.outer_sum(np.ones(2), theirs))[~mask]
    assert squared == pytest.approx(float(difference @ difference) / length**2, rel=1e-6)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_errors_never_grow_and_are_those_of_the_observed(nonnegative: bool, rng: np.random.Generator) -> None:
    tensor, mask = rng.random((7, 5, 6)), rng.random((7, 5, 6)) < 0.3
    fit = cp_als(np.where(mask, 1e30, tensor), 3, mask=mask, nonnegative=nonnegative, max_iters=50)
    assert (np.diff(fit.errors) <= 0).all()
    assert fit.relative_error == pytest.approx(observed_error(fit, tensor, mask), abs=1e-9)


def test_what_stands_in_the_gaps_does_not_matter(rng: np.random.Generator) -> None:
    tensor, mask = rng.random((7, 5, 6)), rng.random((7, 5, 6)) < 0.3
    one = cp_als(np.where(mask, np.nan, tensor), 2, mask=mask)
    two = cp_als(np.where(mask, -5.0, tensor), 2, mask=mask)
    np.testing.assert_array_equal(one.weights, two.weights)


def test_no_gaps_is_the_full_problem(rng: np.random.Generator) -> None:
    tensor = rng.random((7, 5, 6))
    none = np.zeros(tensor.shape, bool)
    assert cp_als(tensor, 2, mask=none).errors == cp_als(tensor, 2).errors


def test_single_precision(rng: np.random.Generator) -> None:
    truth = planted((9, 8, 10), 2, rng)
    mask = rng.random((9, 8, 10)) < 0.3
    fit = cp_als(truth.to_dense().astype(np.float32), 2, mask=mask, tol=1e-8)
    assert fit.relative_error < 1e-4
    assert fit.relative_error == pytest.approx(observed_error(fit, truth.to_dense(), mask), abs=1e-6)


def test_a_start_fills_gaps_from_profiles(rng: np.random.Generator) -> None:
    one = cp_fit([10.0], [rng.random((size, 1)) + 0.5 for size in (9, 8, 10)]).to_dense()
    mask = rng.random(one.shape) < 0.05
    guess = observed_start(np.where(mask, 0.0, one), mask)
    np.testing.assert_array_equal(guess[~mask], one[~mask])
    np.testing.assert_allclose(guess[mask], one[mask], rtol=0.3)
    np.testing.assert_array_equal(observed_start(np.zeros((2, 3)), np.ones((2, 3), bool)), 0)


def test_a_row_with_fewer_values_than_components_stays_finite(rng: np.random.Generator) -> None:
    tensor, mask = rng.random((6, 5, 7)), np.zeros((6, 5, 7), bool)
    mask[2] = True
    mask[2, 1, 3] = False
    course = run(
        MissingProblem(filled(tensor, mask), mask, float(np.linalg.norm(tensor[~mask])), nonnegative=False),
        [rng.random((size, 3)) for size in tensor.shape],
        max_iters=30,
        tol=0.0,
    )
    assert np.isfinite(course.error)
    assert (np.diff(course.errors) <= 0).all()


def test_bad_masks(rng: np.random.Generator) -> None:
    tensor = rng.random((3, 4, 5))
    with pytest.raises(
        ValueError, match=r"the mask is bool of shape \(4, 3, 5\); it must be bool of shape \(3, 4, 5\)"
    ):
        cp_als(tensor, 2, mask=np.zeros((4, 3, 5), bool))
    with pytest.raises(ValueError, match="the mask is float64"):
        cp_als(tensor, 2, mask=np.zeros((3, 4, 5)))  # type: ignore[arg-type]
    mask = np.zeros((3, 4, 5), bool)
    mask[:, 2] = True
    with pytest.raises(ValueError, match="all values of index 2 of mode 1 are missing; leave that slice out"):
        cp_als(tensor, 2, mask=mask)
    with pytest.raises(ValueError, match="NaN or infinite"):
        cp_als(np.where(tensor > 0.5, np.nan, tensor), 2, mask=tensor > 0.9)


@pytest.mark.shared_data
def test_kinetic_fluorescence_has_gaps_and_four_components(shared_data: Any) -> None:
    with np.load(shared_data / "tensors" / "kinetic_fluorescence.npz") as arrays:
        tensor, mask = arrays["X"][::4], arrays["mask"][::4]
    fit = cp_als(tensor, 3, mask=mask, nonnegative=True, n_restarts=1)
    assert mask.any()
    assert fit.relative_error < 0.04
    assert fit.relative_error == pytest.approx(observed_error(fit, tensor, mask), abs=1e-9)
