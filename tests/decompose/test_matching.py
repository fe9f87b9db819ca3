"""Components are matched whatever their order and signs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tdtool.decompose.matching import align, congruence, factor_match_score
from tdtool.decompose.results import CPFit, cp_fit


@pytest.fixture
def fit(rng: np.random.Generator) -> CPFit:
    """Four components of a (5, 3, 7) tensor with clearly different weights."""
    return cp_fit([8.0, 4.0, 2.0, 1.0], [np.abs(rng.standard_normal((size, 4))) + 0.1 for size in (5, 3, 7)])


def shuffled(fit: CPFit, order: list[int]) -> CPFit:
    """The same model with its components in another order, and two factors turned."""
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    first, second, third = (factor[:, order] for factor in fit.factors)
    return dataclasses.replace(fit, weights=fit.weights[order], factors=(first * signs, second, third * signs))


def test_congruence_is_the_product_of_cosines(rng: np.random.Generator) -> None:
    a = [rng.standard_normal((size, 2)) for size in (5, 3)]
    b = [rng.standard_normal((size, 4)) for size in (5, 3)]
    found = congruence(a, b)
    assert found.shape == (2, 4)
    expected = 1.0
    for x, y in zip(a, b, strict=True):
        expected *= x[:, 1] @ y[:, 3] / np.linalg.norm(x[:, 1]) / np.linalg.norm(y[:, 3])
    assert found[1, 3] == pytest.approx(expected)
    np.testing.assert_allclose(congruence([7 * a[0], a[1] / 3], b), found)


def test_the_same_model_in_another_order_scores_one(fit: CPFit) -> None:
    order = [2, 0, 3, 1]
    score, matches = factor_match_score(fit, shuffled(fit, order))
    assert score == pytest.approx(1)
    assert [order[match] for match in matches] == [0, 1, 2, 3]


def test_weights_count_unless_told_otherwise(fit: CPFit) -> None:
    heavier = dataclasses.replace(fit, weights=fit.weights * 2)
    assert factor_match_score(fit, heavier)[0] == pytest.approx(0.5)
    assert factor_match_score(fit, heavier, weights=False)[0] == pytest.approx(1)


def test_a_negated_component_is_another_one(fit: CPFit) -> None:
    negated = dataclasses.replace(fit, factors=(*fit.factors[:2], -fit.factors[2]))
    assert factor_match_score(fit, negated)[0] == 0


def test_fewer_components_match_fewer(fit: CPFit) -> None:
    two = dataclasses.replace(fit, weights=fit.weights[[3, 1]], factors=tuple(f[:, [3, 1]] for f in fit.factors))
    score, matches = factor_match_score(fit, two)
    assert (score, matches.tolist()) == (pytest.approx(1), [-1, 1, -1, 0])
    score, matches = factor_match_score(two, fit)
    assert (score, matches.tolist()) == (pytest.approx(1), [3, 1])


def test_align_undoes_order_and_signs(fit: CPFit) -> None:
    mixed = shuffled(fit, [3, 1, 0, 2])
    back = align(mixed, fit)
    np.testing.assert_allclose(back.weights, fit.weights)
    for a, b in zip(back.factors, fit.factors, strict=True):
        np.testing.assert_allclose(a, b)
    np.testing.assert_allclose(back.to_dense(), mixed.to_dense())


def test_align_puts_the_unmatched_last(fit: CPFit) -> None:
    two = dataclasses.replace(fit, weights=fit.weights[[2, 0]], factors=tuple(f[:, [2, 0]] for f in fit.factors))
    back = align(fit, two)
    np.testing.assert_allclose(back.weights, fit.weights[[2, 0, 1, 3]])


def test_models_of_other_tensors_do_not_match(fit: CPFit) -> None:
    with pytest.raises(ValueError, match="one for each mode"):
        congruence(fit.factors, fit.factors[:2])
    with pytest.raises(ValueError, match="mode 1 has size 3 in one model and 7"):
        congruence(fit.factors, (fit.factors[0], fit.factors[2], fit.factors[1]))
