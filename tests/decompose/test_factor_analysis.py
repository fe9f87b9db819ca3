"""Factor analysis: planted factors, slow oracles, scikit-learn, fit statistics, scores, stacks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import FactorAnalysis
from threadpoolctl import threadpool_limits

from tdtool.decompose.correlations import LEAST_EIGENVALUE, adequacy, correlations, smoothed
from tdtool.decompose.factor_analysis import (
    LEAST_UNIQUENESS,
    degrees_of_freedom,
    factor_analysis,
    factor_scores,
    fit_statistics,
    minres_objective,
    ml_objective,
    most_factors,
)
from tdtool.decompose.factor_groups import factor_groups, in_reading_order
from tdtool.decompose.rotation import rotate
from tdtool.decompose.stacked_factors import preprocess, stacked_factors
from tests import oracles_factors as oracles

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Matrices here are small: threads would only wait for each other."""
    with threadpool_limits(1, user_api="blas"):
        yield


@given(seeds, st.sampled_from([0.0, 0.2]))
@settings(max_examples=25)
def test_correlations_are_those_of_the_rows_that_have_both(seed: int, holes: float) -> None:
    draw = np.random.default_rng(seed)
    values = oracles.with_holes(draw.standard_normal((60, 5)) @ draw.standard_normal((5, 5)) * 7 + 100, holes, draw)
    found = correlations(values)
    wanted = oracles.pairwise_correlation(values)
    assert np.abs(found.matrix - wanted).max() < 1e-10 + 1.01 * found.smoothed
    np.testing.assert_allclose(found.mean, np.nanmean(values, axis=0))
    np.testing.assert_allclose(found.scale, np.nanstd(values, axis=0, ddof=1))
    assert found.n_pairs[0, 1] == np.sum(~np.isnan(values[:, :2]).any(axis=1))
    assert found.n_rows <= 60


def test_contradictory_correlations_are_smoothed_and_good_ones_left_alone() -> None:
    impossible = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    smooth = smoothed(impossible)
    assert np.linalg.eigvalsh(smooth)[0] > 0.5 * LEAST_EIGENVALUE
    np.testing.assert_allclose(np.diag(smooth), 1)
    np.testing.assert_array_equal(smooth, smooth.T)
    assert smooth[0, 1] > 0.4 > -0.4 > smooth[0, 2]
    fine = np.array([[1.0, 0.5], [0.5, 1.0]])
    assert smoothed(fine) is fine


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v[:, :1], "two columns"),
        (lambda v: np.where(np.arange(3) == 1, 4.0, v), "b is constant"),
        (lambda v: np.where((np.arange(20) < 18)[:, None] & (np.arange(3) == 2), np.nan, v), "in 2 rows; 3 are needed"),
        (lambda v: np.where((np.arange(20) > 4)[:, None] & (np.arange(3) == 2), np.nan, _still(v)), "a is constant wh"),
    ],
)
def test_columns_without_a_correlation_are_named(change, words: str, rng: np.random.Generator) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=words):
        correlations(change(rng.standard_normal((20, 3))), names=["a", "b", "c"])


def _still(values: np.ndarray) -> np.ndarray:
    values[:5, 0] = 3.0
    return values


def test_kmo_and_bartlett_from_their_definitions(rng: np.random.Generator) -> None:
    loadings = oracles.planted_loadings((3, 4), 0.4, 0.8, rng)
    matrix = correlations(oracles.planted_table(loadings, 150, rng)[0]).matrix
    square = partial = 0.0
    for a in range(7):
        for b in range(7):
            if a != b:
                others = [c for c in range(7) if c not in (a, b)]
                block = matrix[np.ix_([a, b], [a, b])] - matrix[np.ix_([a, b], others)] @ np.linalg.solve(
                    matrix[np.ix_(others, others)], matrix[np.ix_(others, [a, b])]
                )
                square += matrix[a, b] ** 2
                partial += block[0, 1] ** 2 / (block[0, 0] * block[1, 1])
    found = adequacy(matrix, 150)
    assert found.kmo == pytest.approx(square / (square + partial))
    assert found.chi_square == pytest.approx(-(149 - 19 / 6) * np.log(np.linalg.det(matrix)))
    assert found.df == 21
    assert found.p_value == pytest.approx(scipy.stats.chi2.sf(found.chi_square, 21), rel=1e-9)
    assert adequacy(np.eye(5), 100).p_value == pytest.approx(1)


@given(seeds)
@settings(max_examples=20)
def test_gradients_are_those_of_differences(seed: int) -> None:
    draw = np.random.default_rng(seed)
    matrix = np.corrcoef(draw.standard_normal((6, 30)) + draw.standard_normal(30))
    point = draw.uniform(0.2, 0.9, 6)
    for objective in (ml_objective, minres_objective):
        for k in (1, 2):
            exact = objective(point, matrix, k)[1]
            by_steps = scipy.optimize.approx_fprime(point, lambda x: objective(x, matrix, k)[0], 1e-7)  # noqa: B023
            np.testing.assert_allclose(exact, by_steps, atol=2e-5 * max(1, np.abs(exact).max()))


@pytest.mark.parametrize("method", ["ml", "minres"])
def test_minimum_is_that_over_loadings_and_uniqueness_at_once(method: str, rng: np.random.Generator) -> None:
    loadings = oracles.planted_loadings((3, 4), 0.5, 0.8, rng)
    matrix = correlations(oracles.planted_table(loadings, 120, rng)[0]).matrix
    fit = factor_analysis(matrix, 2, method=method)  # type: ignore[arg-type]
    least, implied = oracles.fit_all_at_once(matrix, 2, method, loadings + 0.05)
    assert fit.method == method
    assert fit.stopped == "tol"
    assert fit.objective == pytest.approx(least, abs=1e-6)
    np.testing.assert_allclose(fit.implied(), implied, atol=2e-3)
    np.testing.assert_allclose(np.diag(fit.implied()), 1, atol=2e-3)


@pytest.mark.parametrize("method", ["ml", "minres"])
def test_exact_correlations_give_the_planted_loadings_back(method: str, rng: np.random.Generator) -> None:
    loadings = oracles.planted_loadings((4, 5, 6), 0.5, 0.9, rng)
    matrix = oracles.planted_table(loadings, 2, rng)[2]
    fit = factor_analysis(matrix, 3, method=method)  # type: ignore[arg-type]
    np.testing.assert_allclose(fit.loadings @ fit.loadings.T, loadings @ loadings.T, atol=1e-3)
    np.testing.assert_allclose(fit.uniqueness, 1 - np.sum(loadings**2, axis=1), atol=1e-3)
    assert oracles.congruence(rotate(fit.loadings, "varimax", rng=rng).pattern, loadings).min() > 0.9999


@pytest.mark.parametrize("rotation", ["promax", "oblimin"])
def test_planted_factors_are_found_in_a_sample(rotation: str, rng: np.random.Generator) -> None:
    loadings = oracles.planted_loadings((4, 5, 6), 0.6, 0.85, rng)
    values, scores, _ = oracles.planted_table(loadings, 500, rng, correlation=0.35)
    found = correlations(values)
    fit = factor_analysis(found.matrix, 3)
    turned = rotate(fit.loadings, rotation, rng=rng)  # type: ignore[arg-type]
    assert oracles.congruence(turned.pattern, loadings).min() > 0.98
    assert np.abs(turned.correlation[np.triu_indices(3, 1)] - 0.35).max() < 0.15
    standard = (values - found.mean) / found.scale
    estimated = factor_scores(standard, turned.pattern, turned.correlation, fit.uniqueness)
    cross = np.corrcoef(estimated.T, scores.T)[:3, 3:]
    assert cross.max(axis=1).min() > 0.85


def test_scikit_learn_finds_the_same_model(rng: np.random.Generator) -> None:
    loadings = oracles.planted_loadings((3, 4), 0.5, 0.8, rng)
    values = oracles.planted_table(loadings, 400, rng)[0]
    standard = (values - values.mean(axis=0)) / values.std(axis=0)
    peer = FactorAnalysis(2, tol=1e-10, max_iter=10_000, svd_method="lapack").fit(standard)
    fit = factor_analysis(correlations(values).matrix, 2)
    np.testing.assert_allclose(fit.loadings @ fit.loadings.T, peer.components_.T @ peer.components_, atol=1e-3)
    np.testing.assert_allclose(fit.uniqueness, peer.noise_variance_, atol=1e-3)


def test_loadings_come_by_size_and_do_not_depend_on_the_order_of_columns(rng: np.random.Generator) -> None:
    loadings = oracles.planted_loadings((3, 5), 0.5, 0.8, rng)
    matrix = correlations(oracles.planted_table(loadings, 200, rng)[0]).matrix
    order = rng.permutation(8)
    one, two = factor_analysis(matrix, 2), factor_analysis(matrix[np.ix_(order, order)], 2)
    np.testing.assert_allclose(two.loadings, one.loadings[order], atol=1e-4)
    assert np.all(np.diff(np.sum(one.loadings**2, axis=0)) < 0)
    assert one.loadings.sum(axis=0).min() > 0


def test_heywood_cases_stop_at_the_bound_and_are_named() -> None:
    matrix = np.array([[1.0, 0.9, 0.9], [0.9, 1.0, 0.6], [0.9, 0.6, 1.0]])  # .9 * .9 / .6 > 1: one factor cannot
    fit = factor_analysis(matrix, 1)
    assert fit.heywood == (0,)
    assert fit.uniqueness.min() == pytest.approx(LEAST_UNIQUENESS)
    assert np.isfinite(fit.loadings).all()


def test_nearly_singular_correlations_are_fitted_by_least_squares(rng: np.random.Generator) -> None:
    values = oracles.planted_table(oracles.planted_loadings((3, 4), 0.5, 0.8, rng), 200, rng)[0]
    doubled = np.column_stack([values, values[:, 0] + 1e-4 * values[:, 5]])
    fit = factor_analysis(correlations(doubled).matrix, 2)
    assert fit.method == "minres"
    assert factor_analysis(correlations(values).matrix, 2).method == "ml"
    with pytest.raises(ValueError, match="positive definite"):
        factor_analysis(np.ones((5, 5)), 1, method="ml")


def test_the_most_factors_are_those_with_degrees_of_freedom_left() -> None:
    for p in range(3, 40):
        assert degrees_of_freedom(p, most_factors(p)) >= 0 > degrees_of_freedom(p, most_factors(p) + 1)
    with pytest.raises(ValueError, match="between 1 and 2 factors, not 3"):
        factor_analysis(np.eye(5), 3)
    with pytest.raises(ValueError, match="not 0"):
        factor_analysis(np.eye(5), 0)


def test_fit_statistics_from_their_definitions(rng: np.random.Generator) -> None:
    values = oracles.planted_table(oracles.planted_loadings((4, 5), 0.5, 0.8, rng), 250, rng)[0]
    matrix = correlations(values).matrix
    fit = factor_analysis(matrix, 1)
    found = fit_statistics(matrix, fit, 250)
    discrepancy = oracles.ml_discrepancy(matrix, fit.implied())
    assert found.df == 27
    assert found.chi_square == pytest.approx((249 - 23 / 6 - 2 / 3) * discrepancy)
    assert found.rmsea == pytest.approx(np.sqrt(discrepancy / 27 - 1 / 249))
    null = -(249 - 23 / 6) * np.log(np.linalg.det(matrix)) / 36
    assert found.tli == pytest.approx((null - found.chi_square / 27) / (null - 1))
    residual = (matrix - fit.implied())[np.tril_indices(9, -1)]
    assert found.srmr == pytest.approx(np.sqrt(np.mean(residual**2)))
    assert found.p_value == pytest.approx(0, abs=1e-6)
    better = fit_statistics(matrix, factor_analysis(matrix, 2), 250)
    assert better.rmsea is not None
    assert better.rmsea < 0.05 < found.rmsea
    full = fit_statistics(matrix[:3, :3], factor_analysis(matrix[:3, :3], 1), 250)
    assert (full.df, full.p_value, full.rmsea, full.tli) == (0, None, None, None)


def test_chi_square_of_the_right_model_has_its_distribution() -> None:
    draw = np.random.default_rng(5)
    loadings = oracles.planted_loadings((3, 4), 0.5, 0.8, draw)
    below = 0
    for _ in range(100):
        matrix = correlations(oracles.planted_table(loadings, 300, draw)[0]).matrix
        below += (fit_statistics(matrix, factor_analysis(matrix, 2), 300).p_value or 0) < 0.1
    assert 3 <= below <= 19


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_scores_are_conditional_means(holes: float, rng: np.random.Generator) -> None:
    loadings = oracles.planted_loadings((2, 3), 0.4, 0.9, rng)
    correlation = np.array([[1.0, 0.4], [0.4, 1.0]])
    values = oracles.with_holes(oracles.planted_table(loadings, 17, rng, 0.4)[0], holes, rng)
    values[3] = np.nan if holes else values[3]
    unique = rng.uniform(0.2, 0.7, 5)
    found = factor_scores(values, loadings, correlation, unique)
    np.testing.assert_allclose(found, oracles.expected_scores(values, loadings, correlation, unique), atol=1e-12)


def test_columns_are_sorted_to_factors() -> None:
    pattern = np.array([[0.1, 0.9], [0.7, 0.35], [-0.8, 0.0], [0.2, 0.29], [0.5, 0.6]])
    one, two = factor_groups(pattern, list("abcde"))
    assert (one.own, one.shared, one.name) == ((2, 1), (4,), "less c, b")
    assert (two.own, two.shared, two.name) == ((0, 4), (1,), "a, e")
    assert in_reading_order(pattern) == [2, 1, 0, 4, 3]


def planted_stack(rng: np.random.Generator, n: int = 90) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """values (n, 7, 3), scores, loadings, weights: columns on scales of their own, one slice larger than the others."""
    loadings = oracles.planted_loadings((3, 4), 0.7, 0.9, rng)
    weights = np.array([[1.4, 0.6], [1.0, 1.0], [0.5, 1.3]])
    scores = rng.standard_normal((n, 2))
    scores -= scores.mean(axis=0)
    clean = np.einsum("ir,jr,kr->ijk", scores, loadings, weights)
    sizes = np.outer(rng.uniform(1, 30, 7), [1.0, 1.0, 5.0])
    return (clean + 0.3 * rng.standard_normal(clean.shape)) * sizes + 50, scores, loadings, weights


def test_preprocessing_keeps_the_rank_and_evens_out_columns_and_slices(rng: np.random.Generator) -> None:
    values, *_ = planted_stack(rng)
    standard, mean, scale = preprocess(values)
    np.testing.assert_allclose(standard * scale + mean, values)
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.mean(standard**2, axis=(0, 1)), 1, rtol=1e-6)
    np.testing.assert_allclose(np.mean(standard**2, axis=(0, 2)), 1, rtol=1e-6)
    assert np.linalg.matrix_rank(scale) == 1
    values[:, 2, 1] = 4.0
    with pytest.raises(ValueError, match="constant in a slice"):
        preprocess(values)


@pytest.mark.parametrize("holes", [0.0, 0.1])
def test_planted_factors_of_a_stack_are_found(holes: float, rng: np.random.Generator) -> None:
    values, scores, loadings, weights = planted_stack(rng)
    found = stacked_factors(oracles.with_holes(values, holes, rng), 2, rng=rng)
    order = np.argmax(np.abs(np.corrcoef(found.scores.T, scores.T)[2:, :2]), axis=1)
    assert sorted(order) == [0, 1]
    cross = np.corrcoef(found.scores[:, order].T, scores.T)[:2, 2:]
    assert np.diag(cross).min() > 0.97
    assert oracles.congruence(found.weights, weights).min() > 0.97
    assert oracles.congruence(found.pattern, loadings).min() > 0.98
    np.testing.assert_allclose(np.mean(found.scores**2, axis=0), 1)
    np.testing.assert_allclose(np.mean(found.weights**2, axis=0), 1)
    np.testing.assert_allclose(np.diag(found.correlation), 1)
    assert np.all(np.diff(found.variance) <= 0)
    assert found.pattern.sum(axis=0).min() > 0
    assert found.communality.min() > 0.6
    assert found.variance.sum() == pytest.approx(found.communality.sum(), rel=0.05)
    assert found.core_consistency > 90


def drawn_stack(loadings: np.ndarray, weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    k = loadings.shape[1]
    scores = rng.standard_normal((n, k)) @ np.linalg.cholesky(0.7 * np.eye(k) + 0.3).T
    clean = np.einsum("ir,jr,kr->ijk", scores, loadings, weights)
    return clean + 0.6 * rng.standard_normal(clean.shape)


def test_axes_that_the_slices_leave_open_are_set_by_simple_structure(rng: np.random.Generator) -> None:
    loadings = oracles.planted_loadings((3, 3, 4), 0.7, 0.9, rng)
    weights = np.array([[1.05, 1.0, 0.97], [0.95, 1.0, 1.03]])
    values = drawn_stack(loadings, weights, 200, rng)
    found = stacked_factors(values, 3, n_restarts=3, rng=rng)
    assert found.axes == "simplicity"
    assert oracles.congruence(found.pattern, loadings).min() > 0.98
    alone = stacked_factors(values, 3, n_restarts=3, prefer_simple=False, rng=rng)
    assert alone.axes == "slices"
    assert oracles.congruence(alone.pattern, loadings).min() < 0.9
    assert 0 <= found.relative_error - alone.relative_error < 0.01, "they fit about as well"


def test_axes_that_the_slices_set_are_not_turned_to_simple_structure(rng: np.random.Generator) -> None:
    loadings = np.abs(rng.standard_normal((9, 2)))
    values = drawn_stack(loadings, np.array([[1.3, 0.7], [0.6, 1.25]]), 200, rng)
    found = stacked_factors(values, 2, n_restarts=3, rng=rng)
    assert found.axes == "slices"
    assert oracles.congruence(found.pattern * found.scale[:, None], loadings).min() > 0.98


def test_structure_of_a_stack_is_the_correlation_with_the_factors(rng: np.random.Generator) -> None:
    values, *_ = planted_stack(rng)
    found = stacked_factors(values, 2, rng=rng)
    standard = preprocess(values)[0]
    for factor in range(2):
        moving = found.scores[:, factor, None] * found.weights[:, factor]
        along = np.mean(standard * moving[:, None, :], axis=(0, 2))
        np.testing.assert_allclose(found.structure[:, factor], along, atol=1e-6)
