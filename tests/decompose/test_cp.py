"""CP by alternating least squares recovers planted components, dense and sparse, compressed and not."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.decompose import cp_compressed, cp_start
from tdtool.decompose.cp import cp_als
from tdtool.decompose.cp_start import starts_of
from tdtool.decompose.cp_sweeps import FullProblem, extrapolated, run, squared_residual
from tdtool.decompose.cp_updates import balance, grams_of, hadamard, is_singular, least_squares
from tdtool.decompose.matching import congruence, factor_match_score
from tdtool.decompose.results import CPFit, cp_fit
from tdtool.kernels.sparse_tensor import SparseTensor
from tests import oracles_decompose as oracles

Array = NDArray[Any]


def planted(shape: tuple[int, ...], rank: int, rng: np.random.Generator) -> CPFit:
    """Components with different weights."""
    return cp_fit(np.arange(rank, 0, -1.0), [rng.standard_normal((size, rank)) for size in shape])


def noisy(truth: CPFit, noise: float, rng: np.random.Generator) -> Array:
    """The planted tensor with relative noise."""
    tensor = truth.to_dense()
    error = rng.standard_normal(tensor.shape)
    return tensor + noise * np.linalg.norm(tensor) / np.linalg.norm(error) * error


def true_error(fit: CPFit, tensor: Array) -> float:
    """Relative error from the difference itself."""
    return float(np.linalg.norm(tensor - fit.to_dense()) / np.linalg.norm(tensor))


def sparse_of(tensor: Array) -> SparseTensor:
    """All nonzero entries."""
    places = np.nonzero(tensor)
    return SparseTensor.from_coo(places, tensor[places], tensor.shape)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize(
    ("shape", "rank"), [((5, 7, 6), 3), ((7, 5, 3), 4), ((5, 3, 6, 4), 3), ((2, 11, 9), 2), ((5, 2, 3, 4, 3), 2)]
)
def test_exact_recovery(shape: tuple[int, ...], rank: int, compress: bool, rng: np.random.Generator) -> None:
    truth = planted(shape, rank, rng)
    fit = cp_als(truth.to_dense(), rank, compress=compress, max_iters=2000, tol=1e-15, rng=rng)
    assert fit.relative_error < 1e-8
    assert factor_match_score(truth, fit)[0] > 1 - 1e-6


@pytest.mark.parametrize("compress", [True, False])
def test_a_matrix_is_fitted_as_by_its_svd(compress: bool, rng: np.random.Generator) -> None:
    matrix = rng.standard_normal((9, 6))
    values = np.linalg.svd(matrix, compute_uv=False)
    fit = cp_als(matrix, 3, compress=compress, tol=1e-12, max_iters=500)
    assert fit.relative_error == pytest.approx(np.linalg.norm(values[3:]) / np.linalg.norm(values), rel=1e-6)


def test_a_vector_is_its_own_component(rng: np.random.Generator) -> None:
    vector = rng.standard_normal(7)
    fit = cp_als(vector, 1)
    np.testing.assert_allclose(fit.to_dense(), vector)
    assert (fit.weights[0], fit.stopped) == (pytest.approx(np.linalg.norm(vector)), "exact")


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([(6, 5, 7), (3, 5, 2, 4)]))
@settings(max_examples=20)
def test_errors_never_grow_and_are_true(seed: int, compress: bool, shape: tuple[int, ...]) -> None:
    tensor = np.random.default_rng(seed).standard_normal(shape)
    fit = cp_als(tensor, 3, compress=compress, max_iters=60)
    assert (np.diff(fit.errors) <= 0).all()
    assert fit.relative_error == pytest.approx(true_error(fit, tensor), abs=1e-10)
    assert min(fit.restart_errors[1:]) >= fit.restart_errors[0]


def test_one_sweep_is_the_oracles(rng: np.random.Generator) -> None:
    tensor, start = rng.standard_normal((5, 3, 7, 4)), [rng.standard_normal((size, 2)) for size in (5, 3, 7, 4)]
    ours = [factor.copy() for factor in start]
    squared = FullProblem(tensor, float(np.linalg.norm(tensor))).sweep(ours)
    theirs = oracles.als_sweep(tensor, start)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)
    model = oracles.outer_sum(np.ones(2), theirs)
    assert squared == pytest.approx(np.linalg.norm(tensor - model) ** 2 / np.linalg.norm(tensor) ** 2)


def test_as_good_as_many_plain_sweeps(rng: np.random.Generator) -> None:
    tensor = noisy(planted((6, 5, 7), 3, rng), 0.2, rng)
    factors = [rng.standard_normal((size, 3)) for size in tensor.shape]
    for _ in range(150):
        factors = oracles.als_sweep(tensor, factors)
    plain = np.linalg.norm(tensor - oracles.outer_sum(np.ones(3), factors)) / np.linalg.norm(tensor)
    assert cp_als(tensor, 3, tol=1e-9).relative_error <= plain + 1e-6


def test_mode_order_and_scale_do_not_matter(rng: np.random.Generator) -> None:
    tensor = noisy(planted((5, 7, 6), 3, rng), 0.05, rng)
    one = cp_als(tensor, 3, tol=1e-12, max_iters=1000)
    for order in itertools.permutations(range(3)):
        moved = cp_als(1e7 * tensor.transpose(order), 3, tol=1e-12, max_iters=1000)
        assert moved.relative_error == pytest.approx(one.relative_error, abs=1e-7)
        back = cp_fit(moved.weights / 1e7, [moved.factors[order.index(mode)] for mode in range(3)])
        assert factor_match_score(one, back)[0] > 1 - 1e-4


def test_compressing_ends_where_the_tensor_says(rng: np.random.Generator) -> None:
    truth = planted((30, 25, 20), 3, rng)
    tensor = noisy(truth, 0.5, rng)
    assert cp_compressed.worth_compressing(tensor, 3)
    one = cp_als(tensor, 3, tol=1e-10, max_iters=500)
    two = cp_als(tensor, 3, tol=1e-10, max_iters=500, compress=False)
    assert one.relative_error == pytest.approx(two.relative_error, abs=1e-7)
    assert factor_match_score(one, two)[0] > 1 - 1e-3
    assert factor_match_score(truth, one)[0] > 0.9


def test_single_precision_stays_single_and_is_told_to_its_precision(rng: np.random.Generator) -> None:
    truth = planted((12, 9, 10), 3, rng)
    tensor = noisy(truth, 0.1, rng).astype(np.float32)
    for compress in (True, False):
        fit = cp_als(tensor, 3, compress=compress)
        assert fit.relative_error == pytest.approx(true_error(fit, tensor), rel=1e-4)
        assert factor_match_score(truth, fit)[0] > 0.95
    assert cp_als(truth.to_dense().astype(np.float32), 3, tol=1e-9).relative_error < 1e-5


def test_sparse_equals_dense(rng: np.random.Generator) -> None:
    tensor = np.where(rng.random((6, 5, 7)) < 0.3, rng.standard_normal((6, 5, 7)), 0.0)
    start = [rng.standard_normal((size, 3)) for size in tensor.shape]
    length = float(np.linalg.norm(tensor))
    dense = run(FullProblem(tensor, length), start, max_iters=15, tol=0.0)
    sparse = run(FullProblem(sparse_of(tensor), length), start, max_iters=15, tol=0.0)
    np.testing.assert_allclose(sparse.errors, dense.errors, atol=1e-12)
    fit = cp_als(sparse_of(tensor), 3, max_iters=60)
    assert fit.relative_error == pytest.approx(true_error(fit, tensor), abs=1e-10)
    assert (np.diff(fit.errors) <= 0).all()


def test_sparse_recovery(rng: np.random.Generator) -> None:
    factors = [np.where(rng.random((size, 3)) < 0.4, rng.random((size, 3)) + 0.5, 0.0) for size in (20, 30, 25)]
    truth = cp_fit(np.ones(3), factors)
    fit = cp_als(sparse_of(truth.to_dense()), 3, tol=1e-12, max_iters=500)
    assert fit.relative_error < 1e-6
    assert factor_match_score(truth, fit)[0] > 1 - 1e-5


def test_sparse_is_never_made_dense(rng: np.random.Generator) -> None:
    shape = (200_000, 300_000, 100_000)
    places = [rng.integers(0, size, 2000) for size in shape]
    fit = cp_als(SparseTensor.from_coo(places, rng.random(2000), shape), 2, max_iters=2, n_restarts=2)
    assert [factor.shape for factor in fit.factors] == [(size, 2) for size in shape]


@pytest.mark.parametrize("small", [0, 100])
def test_a_start_of_singular_vectors_is_that_of_the_dense_tensor(
    small: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cp_start, "_SMALL_GRAM", small)
    tensor = rng.standard_normal((6, 5, 7)) * (rng.random((6, 5, 7)) < 0.5)
    first = next(starts_of(sparse_of(tensor), 3, 1, rng))
    for mode, factor in enumerate(first):
        expected = np.linalg.svd(oracles.unfolding(tensor, mode))[0][:, :3]
        np.testing.assert_allclose(np.abs(factor.T @ expected), np.eye(3), atol=1e-4)


def test_singular_vectors_that_do_not_settle_are_done_without(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cp_start, "_MOST_RESTARTS", 1)
    places = [rng.integers(0, size, 900) for size in (400, 500, 300)]
    start = next(starts_of(SparseTensor.from_coo(places, np.ones(900), (400, 500, 300)), 5, 1, rng))
    assert [factor.shape for factor in start] == [(400, 5), (500, 5), (300, 5)]
    assert all(np.isfinite(factor).all() for factor in start)


def test_the_algebraic_start_is_exact_without_noise(rng: np.random.Generator) -> None:
    for shape in ((5, 7, 3), (4, 2, 6, 3)):
        truth = planted(shape, 4, rng)
        tensor = truth.to_dense()
        start = next(starts_of(tensor, 4, 1, rng))
        found = np.abs([congruence([ours], [theirs]) for ours, theirs in zip(start, truth.factors, strict=True)])
        np.testing.assert_allclose(found.max(axis=1), 1, atol=1e-6)
        assert run(FullProblem(tensor, float(np.linalg.norm(tensor))), start, max_iters=1, tol=0.0).error < 1e-6


def test_starts_are_as_many_as_asked_for_and_repeatable(rng: np.random.Generator) -> None:
    tensor = rng.standard_normal((5, 7, 6))
    for n_restarts in (1, 2, 4):
        fit = cp_als(tensor, 3, n_restarts=n_restarts)
        assert (fit.n_restarts, len(fit.restart_errors)) == (n_restarts, n_restarts)
    again = [cp_als(tensor, 3, n_restarts=5, rng=np.random.default_rng(7)).errors for _ in range(2)]
    assert again[0] == again[1]


def test_more_components_than_a_mode_has_entries(rng: np.random.Generator) -> None:
    truth = planted((2, 9, 8), 4, rng)
    fit = cp_als(noisy(truth, 0.01, rng), 4)
    assert fit.relative_error < 0.02


@pytest.mark.parametrize("compress", [True, False])
def test_it_tells_of_every_sweep(compress: bool, rng: np.random.Generator) -> None:
    heard: list[tuple[int, float]] = []
    fit = cp_als(rng.standard_normal((9, 8, 7)), 2, compress=compress, on_sweep=lambda *news: heard.append(news))
    assert heard == list(enumerate(fit.errors, start=1))


def test_why_it_stopped(rng: np.random.Generator) -> None:
    tensor = rng.standard_normal((6, 5, 7))
    assert cp_als(tensor, 3, tol=1e-2).stopped == "tol"
    cut = cp_als(tensor, 3, compress=False, tol=0.0, max_iters=3, n_restarts=1)
    assert (cut.stopped, len(cut.errors)) == ("max_iters", 3)
    zero = cp_als(np.zeros((3, 4, 5)), 2)
    assert (zero.relative_error, zero.stopped, zero.weights.tolist()) == (0.0, "exact", [0.0, 0.0])
    np.testing.assert_array_equal(zero.to_dense(), 0)


class Exploding:
    """A problem whose third sweep leaves the numbers."""

    def __init__(self) -> None:
        self.sweeps = 0

    def sweep(self, factors: list[Array]) -> float:
        self.sweeps += 1
        factors[0] = factors[0] + 1.0
        return float("nan") if self.sweeps == 3 else 0.5 / self.sweeps


def test_what_is_not_finite_is_not_kept() -> None:
    course = run(Exploding(), [np.ones((2, 1)), np.ones((3, 1))], max_iters=9, tol=0.0)
    assert (course.stopped, len(course.errors)) == ("diverged", 2)
    assert np.isfinite(course.factors[0]).all()


def test_dependent_components_are_told_and_do_not_stop_it(rng: np.random.Generator) -> None:
    tensor = planted((5, 4, 6), 1, rng).to_dense()
    fit = cp_als(tensor, 3)
    assert fit.relative_error < 1e-8
    fit = cp_als(noisy(planted((2, 3, 4), 2, rng), 0.1, rng), 6)
    assert np.isfinite(fit.weights).all()


def test_two_answers_of_the_same_error_are_told(rng: np.random.Generator) -> None:
    matrix = np.linalg.qr(rng.standard_normal((20, 3)))[0] @ np.linalg.qr(rng.standard_normal((30, 3)))[0].T
    told = cp_als(matrix, 3, compress=True).warnings
    assert any("different components" in text for text in told)


def test_a_singular_system_moves_no_farther_than_it_must(rng: np.random.Generator) -> None:
    column = rng.standard_normal((8, 1))
    basis = np.hstack([column, column, rng.standard_normal((8, 1))])
    gram = basis.T @ basis
    values, old = rng.standard_normal((5, 8)), rng.standard_normal((5, 3))
    assert is_singular(gram)
    assert not is_singular(np.diag([1e-12, 1.0, 1e12]))
    new = least_squares(values @ basis, gram, old)
    np.testing.assert_allclose(np.linalg.norm(values - new @ basis.T), _best(values, basis), rtol=1e-6)
    np.testing.assert_allclose(new[:, 0] - new[:, 1], old[:, 0] - old[:, 1], atol=1e-4)


def _best(values: Array, basis: Array) -> float:
    """The norm of what `basis` cannot reach."""
    return float(np.linalg.norm(values.T - basis @ np.linalg.lstsq(basis, values.T, rcond=None)[0]))


def test_the_parts_of_a_sweep(rng: np.random.Generator) -> None:
    factors = [rng.standard_normal((size, 2)) * scale for size, scale in ((5, 1e90), (3, 1e-80), (7, 1e-10))]
    even = balance(factors)
    lengths = np.array([np.linalg.norm(factor, axis=0) for factor in even])
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[0], lengths.shape))
    np.testing.assert_allclose(
        oracles.outer_sum(np.ones(2), even), oracles.outer_sum(np.ones(2), factors), rtol=1e-10, atol=1e-14
    )
    tensor = rng.standard_normal((5, 3, 7))
    expected = np.linalg.norm(tensor - oracles.outer_sum(np.ones(2), even)) ** 2
    assert squared_residual(tensor, even) == pytest.approx(expected)
    grams = grams_of(even)
    np.testing.assert_allclose(hadamard(grams, 1), (even[0].T @ even[0]) * (even[2].T @ even[2]))
    ahead = extrapolated([np.array([[1.0, 2.0]])], [np.array([[3.0, 1.0]])], 1.0)
    np.testing.assert_array_equal(ahead[0], [[0.0, 3.0]])


@pytest.mark.parametrize(
    ("shape", "rank", "text"),
    [
        ((3, 4, 5), 0, "rank is 0; a tensor of shape .* between 1 and 12"),
        ((3, 4, 5), 13, "rank is 13; a tensor of shape .* between 1 and 12"),
        ((7,), 2, "rank is 2"),
        ((3, 0, 2), 1, "holds nothing"),
        ((), 1, "holds nothing"),
    ],
)
def test_ranks_and_shapes_that_cannot_be(shape: tuple[int, ...], rank: int, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        cp_als(np.ones(shape), rank)


def test_bad_input(rng: np.random.Generator) -> None:
    tensor = rng.standard_normal((3, 4, 5))
    with pytest.raises(ValueError, match="complex values"):
        cp_als(tensor + 1j, 2)
    with pytest.raises(ValueError, match="give a mask"):
        cp_als(np.where(tensor > 1, np.nan, tensor), 2)
    with pytest.raises(ValueError, match="give a mask"):
        cp_als(np.where(tensor > 1, np.inf, tensor), 2)
    with pytest.raises(ValueError, match="at least one start"):
        cp_als(tensor, 2, n_restarts=0)
    with pytest.raises(ValueError, match="compress is 'never'"):
        cp_als(tensor, 2, compress="never")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs numbers"):
        cp_als(np.array([["a", "b"]]), 1)
    sparse = sparse_of(tensor)
    with pytest.raises(ValueError, match="takes no mask"):
        cp_als(sparse, 2, mask=tensor > 1)
    with pytest.raises(ValueError, match="needs a dense tensor"):
        cp_als(sparse, 2, compress=True)
