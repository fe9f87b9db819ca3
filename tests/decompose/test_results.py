"""Scale, order and signs of components are settled in one place and leave the model as it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdtool.decompose.results import CPFit, TuckerFit, cp_fit, dense_of, signs_of_largest, unit_columns
from tests.oracles_decompose import outer_sum

SHAPES = st.lists(st.sampled_from([1, 2, 3, 5, 7]), min_size=1, max_size=4)


@given(SHAPES, st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_convention_leaves_the_model(shape: list[int], rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, factors = rng.standard_normal(rank), [rng.standard_normal((size, rank)) for size in shape]
    fit = cp_fit(weights, factors)
    np.testing.assert_allclose(fit.to_dense(), outer_sum(weights, factors), atol=1e-12)
    assert (np.diff(fit.weights) <= 0).all()
    assert (fit.weights >= 0).all()
    for factor in fit.factors:
        np.testing.assert_allclose(np.linalg.norm(factor, axis=0), 1)
    for factor in fit.factors[:-1]:
        assert (factor.max(axis=0) >= -factor.min(axis=0)).all()


def test_order_scale_and_signs_of_what_comes_in_do_not_matter(rng: np.random.Generator) -> None:
    weights, factors = np.array([3.0, -2.0, 0.5]), [rng.standard_normal((size, 3)) for size in (5, 2, 7)]
    one = cp_fit(weights, factors)
    order, signs = [2, 0, 1], np.array([1.0, -1.0, -1.0])
    moved = [factors[0][:, order] * signs, factors[1][:, order] * 4.0, factors[2][:, order] * signs]
    two = cp_fit(weights[order] / 4, moved)
    np.testing.assert_allclose(one.weights, two.weights)
    for a, b in zip(one.factors, two.factors, strict=True):
        np.testing.assert_allclose(a, b)


def test_lengths_neither_overflow_nor_underflow() -> None:
    columns, lengths = unit_columns(np.array([[3e200, 3e-200, 0.0], [4e200, -4e-200, 0.0]]))
    np.testing.assert_allclose(columns, [[0.6, 0.6, 0.0], [0.8, -0.8, 0.0]])
    np.testing.assert_allclose(lengths, [5e200, 5e-200, 0.0])


def test_signs_of_real_and_complex_columns() -> None:
    np.testing.assert_allclose(signs_of_largest(np.array([[1.0, 0.0, 2.0], [-3.0, 0.0, 1.0]])), [-1, 1, 1])
    np.testing.assert_allclose(signs_of_largest(np.array([[1.0], [-2.0j]])), [-1j])


def test_a_dead_component_stays_dead(rng: np.random.Generator) -> None:
    factors = [rng.standard_normal((size, 2)) for size in (3, 5)]
    factors[1][:, 0] = 0
    fit = cp_fit([4.0, 1.0], factors)
    assert fit.weights[1] == 0
    np.testing.assert_allclose(fit.to_dense(), outer_sum([4.0, 1.0], factors))


def test_what_a_fit_says_of_itself(rng: np.random.Generator) -> None:
    factors = [np.linalg.qr(rng.standard_normal((size, 2)))[0] for size in (5, 3, 7)]
    fit = cp_fit([2.0, 1.0], factors, [0.5, 0.25], "tol", restart_errors=[0.25, 0.5], n_restarts=2)
    assert (fit.rank, fit.relative_error, fit.fit) == (2, 0.25, 0.75)
    assert (fit.stopped, fit.n_restarts, fit.restart_errors, fit.warnings) == ("tol", 2, (0.25, 0.5), ())
    assert np.isnan(CPFit(fit.weights, fit.factors, (), "diverged").relative_error)
    core = rng.standard_normal((2, 2, 2))
    tucker = TuckerFit(core, tuple(factors), (0.75, 0.5), "tol")
    assert (tucker.ranks, tucker.relative_error, tucker.fit) == ((2, 2, 2), 0.5, 0.5)
    np.testing.assert_allclose(tucker.to_dense(), np.einsum("abc,ia,jb,kc->ijk", core, *factors), atol=1e-14)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 5, 7)])
def test_dense_of_is_the_sum_of_outer_products(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    weights, factors = rng.standard_normal(3), [rng.standard_normal((size, 3)) for size in shape]
    np.testing.assert_allclose(dense_of(weights, factors), outer_sum(weights, factors), atol=1e-13)
