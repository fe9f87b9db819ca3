"""Tucker decompositions recover planted subspaces, and agree with plain HOOI."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.decompose import tucker_start
from tdtool.decompose.results import TuckerFit
from tdtool.decompose.tucker import choose_ranks, hosvd, st_hosvd, tucker_als
from tdtool.decompose.tucker_subspaces import improved_vectors, leading_vectors, singular_pairs
from tdtool.decompose.tucker_sweeps import settle
from tests import oracles_decompose as oracles

Array = NDArray[Any]
METHODS = [hosvd, st_hosvd, tucker_als]


def planted(shape: tuple[int, ...], ranks: tuple[int, ...], rng: np.random.Generator, noise: float = 0.0) -> Array:
    """A tensor of these multilinear ranks with relative noise."""
    tensor = rng.standard_normal(ranks)
    for mode, (size, rank) in enumerate(zip(shape, ranks, strict=True)):
        basis = np.linalg.qr(rng.standard_normal((size, rank)))[0]
        tensor = np.moveaxis(np.tensordot(basis, tensor, (1, mode)), 0, mode)
    error = rng.standard_normal(shape)
    return tensor + noise * np.linalg.norm(tensor) / np.linalg.norm(error) * error


def true_error(fit: TuckerFit, tensor: Array) -> float:
    """Relative error from the difference itself."""
    return float(np.linalg.norm(tensor - fit.to_dense()) / np.linalg.norm(tensor))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("shape", "ranks"),
    [((7, 5), (3, 3)), ((7, 5, 11), (2, 3, 4)), ((5, 7, 6, 3), (2, 4, 3, 2)), ((9,), (1,)), ((40, 3, 2), (3, 3, 2))],
)
def test_exact_recovery(method: Any, shape: tuple[int, ...], ranks: tuple[int, ...], rng: np.random.Generator) -> None:
    tensor = planted(shape, ranks, rng)
    fit = method(tensor, ranks)
    np.testing.assert_allclose(fit.to_dense(), tensor, atol=1e-12)
    assert fit.relative_error < 1e-13
    assert fit.ranks == ranks
    for factor in fit.factors:
        np.testing.assert_allclose(factor.T @ factor, np.eye(factor.shape[1]), atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_every_precision(method: Any, dtype: Any, rng: np.random.Generator) -> None:
    tensor = rng.standard_normal((5, 7, 6)) + 1j * rng.standard_normal((5, 7, 6))
    tensor = (tensor if np.dtype(dtype).kind == "c" else tensor.real).astype(dtype)
    fit = method(tensor, (2, 3, 4))
    assert {array.dtype for array in (fit.core, *fit.factors)} == {np.dtype(dtype)}
    assert true_error(fit, tensor) == pytest.approx(fit.relative_error, rel=10 * float(np.finfo(dtype).eps) * 100)
    for factor in fit.factors:
        np.testing.assert_allclose(factor.conj().T @ factor, np.eye(factor.shape[1]), atol=1e-5)
        largest = factor[np.argmax(np.abs(factor), axis=0), np.arange(factor.shape[1])]
        assert (largest.real > 0).all()
        np.testing.assert_allclose(largest.imag, 0, atol=1e-6)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_as_good_as_plain_hooi(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tensor = planted((7, 5, 6), (2, 3, 2), rng, noise=0.3)
    fit = tucker_als(tensor, (2, 3, 2), max_iters=200, tol=1e-13)
    core, factors = oracles.hooi(tensor, (2, 3, 2), sweeps=200)
    assert np.linalg.norm(fit.core) == pytest.approx(np.linalg.norm(core), rel=1e-6)
    for ours, theirs in zip(fit.factors, factors, strict=True):
        np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-3)


def test_hosvd_is_the_svd_of_each_unfolding(rng: np.random.Generator) -> None:
    tensor = rng.standard_normal((5, 3, 7))
    fit = hosvd(tensor, (2, 3, 4))
    for ours, theirs in zip(fit.factors, oracles.hosvd_factors(tensor, (2, 3, 4)), strict=True):
        np.testing.assert_allclose(np.abs(ours.T @ theirs), np.eye(ours.shape[1]), atol=1e-8)
    np.testing.assert_allclose(fit.core, oracles.along_all(tensor, fit.factors), atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.sampled_from([(6, 7, 5), (3, 9, 4, 2), (8, 5)]))
@settings(max_examples=20)
def test_errors_never_grow_and_are_true(seed: int, shape: tuple[int, ...]) -> None:
    tensor = np.random.default_rng(seed).standard_normal(shape)
    ranks = (2,) * len(shape)
    fit = tucker_als(tensor, ranks, tol=1e-9)
    assert (np.diff(fit.errors) <= 0).all()
    assert fit.relative_error == pytest.approx(true_error(fit, tensor), abs=1e-12)
    assert fit.relative_error <= st_hosvd(tensor, ranks).relative_error + 1e-12


def test_mode_order_scale_and_turns_do_not_matter(rng: np.random.Generator) -> None:
    tensor, ranks = planted((5, 7, 6), (2, 3, 4), rng, noise=0.2), (2, 3, 4)
    one = tucker_als(tensor, ranks, tol=1e-13, max_iters=500)
    for order in itertools.permutations(range(3)):
        moved = tucker_als(1e-6 * tensor.transpose(order), [ranks[m] for m in order], tol=1e-13, max_iters=500)
        assert moved.relative_error == pytest.approx(one.relative_error, abs=1e-8)
    turn = np.linalg.qr(rng.standard_normal((7, 7)))[0]
    turned = tucker_als(np.einsum("ij,ajc->aic", turn, tensor), ranks, tol=1e-13, max_iters=500)
    assert turned.relative_error == pytest.approx(one.relative_error, abs=1e-8)


def test_strides_do_not_matter(rng: np.random.Generator) -> None:
    tensor = planted((10, 14, 6), (2, 3, 4), rng, noise=0.1)
    view = tensor[::2, ::-1, 1:]
    np.testing.assert_allclose(tucker_als(view, (2, 3, 2)).core, tucker_als(view.copy(), (2, 3, 2)).core, atol=1e-9)


def test_settling_repeats_sweeps_until_they_add_nothing(rng: np.random.Generator) -> None:
    tensor = rng.standard_normal((6, 5, 7))
    factors = oracles.hosvd_factors(tensor, (2, 2, 2))
    energy = [float(np.linalg.norm(settle(tensor, factors, range(3), 0.0, 0.0, n)[0]) ** 2) for n in (1, 2, 5, 300)]
    assert energy == sorted(energy)
    assert energy[1] > energy[0] + 1e-6
    assert energy[3] == pytest.approx(np.linalg.norm(oracles.hooi(tensor, (2, 2, 2), sweeps=300)[0]) ** 2, rel=1e-9)
    assert np.linalg.norm(settle(tensor, factors, range(3), 0.0, 1e9, 300)[0]) ** 2 < energy[1]


@pytest.mark.parametrize("shape", [(70, 60, 50), (9, 80, 10, 30)])
def test_the_random_start_loses_nothing(
    shape: tuple[int, ...], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = (2, 3, 4, 2)[: len(shape)]
    tensor = planted(shape, ranks, rng, noise=1.0)
    calls = []
    sketch = tucker_start.sketched_subspaces
    monkeypatch.setattr(tucker_start, "sketched_subspaces", lambda *args: calls.append(1) or sketch(*args))
    monkeypatch.setattr(tucker_start, "_WORTH_RATIO", 1)
    monkeypatch.setattr(tucker_start, "_WORTH_ENTRIES", 1)
    sketched = tucker_als(tensor, ranks)
    assert calls == [1]
    monkeypatch.setattr(tucker_start, "_WORTH_ENTRIES", tensor.size + 1)
    exact = tucker_als(tensor, ranks)
    assert calls == [1]
    assert sketched.relative_error == pytest.approx(exact.relative_error, abs=1e-7)
    np.testing.assert_array_equal(sketched.core, _again(tensor, ranks, monkeypatch).core)
    other = tucker_als(tensor, ranks, rng=np.random.default_rng(5))
    assert other.relative_error == pytest.approx(exact.relative_error, abs=1e-7)


def _again(tensor: Array, ranks: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> TuckerFit:
    monkeypatch.setattr(tucker_start, "_WORTH_ENTRIES", 1)
    return tucker_als(tensor, ranks)


def test_weak_directions_below_the_reach_of_a_gram_are_found(rng: np.random.Generator) -> None:
    left = np.linalg.qr(rng.standard_normal((9, 3)))[0]
    right = np.linalg.qr(rng.standard_normal((20, 3)))[0]
    tensor = (left * [1.0, 1e-5, 1e-10] @ right.T).reshape(9, 4, 5)
    found = leading_vectors(tensor, 0, 3)
    np.testing.assert_allclose(np.abs(found.T @ left), np.eye(3), atol=1e-4)
    values, vectors = singular_pairs(tensor, 0)
    np.testing.assert_allclose(values[:3], [1.0, 1e-5, 1e-10], rtol=1e-5)
    np.testing.assert_allclose(np.abs(vectors[:, :3].T @ left), np.eye(3), atol=1e-4)
    assert choose_ranks(tensor, 1e-12)[0] == 3
    assert choose_ranks(tensor, 1e-7)[0] == 2
    assert choose_ranks(tensor, 1e-2)[0] == 1


def test_orthogonal_iteration_ends_at_eigenvectors(rng: np.random.Generator) -> None:
    tensor = planted((80, 5, 30), (3, 3, 3), rng, noise=0.1)
    start = np.linalg.qr(rng.standard_normal((80, 3)))[0]
    found, exact = improved_vectors(tensor, 0, start, 0.0), leading_vectors(tensor, 0, 3)
    np.testing.assert_allclose(found @ found.T, exact @ exact.T, atol=1e-6)
    one_step = improved_vectors(tensor, 0, start, 1e9)
    expected = np.linalg.qr(oracles.unfolding(tensor, 0) @ (oracles.unfolding(tensor, 0).T @ start))[0]
    np.testing.assert_allclose(one_step @ one_step.T, expected @ expected.T, atol=1e-9)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.9))
@settings(max_examples=25)
def test_chosen_ranks_keep_their_promise(seed: int, max_error: float) -> None:
    rng = np.random.default_rng(seed)
    tensor = planted((6, 5, 7), (3, 2, 4), rng, noise=rng.uniform(0, 0.5))
    ranks = choose_ranks(tensor, max_error)
    assert st_hosvd(tensor, ranks).relative_error <= max_error
    values = [np.linalg.svd(oracles.unfolding(tensor, mode), compute_uv=False) ** 2 for mode in range(3)]
    for rank, energy in zip(ranks, values, strict=True):
        assert energy[rank:].sum() <= max_error**2 / 3 * energy.sum() * (1 + 1e-9)


def test_chosen_ranks_are_the_planted_ones(rng: np.random.Generator) -> None:
    tensor = planted((9, 5, 7, 6), (3, 2, 4, 3), rng)
    assert choose_ranks(tensor, 1e-9) == (3, 2, 4, 3)
    assert choose_ranks(tensor.astype(np.float32), 1e-3) == (3, 2, 4, 3)
    assert choose_ranks(np.zeros((3, 4, 5)), 0.1) == (1, 1, 1)
    assert choose_ranks(tensor[:, 0, 0, 0], 1.0) == (1,)


def test_why_it_stopped(rng: np.random.Generator) -> None:
    tensor = rng.standard_normal((6, 7, 8))
    assert tucker_als(tensor, (2, 2, 2), max_iters=1, tol=0.0).stopped == "max_iters"
    assert len(tucker_als(tensor, (2, 2, 2), max_iters=3, tol=0.0).errors) == 4
    assert tucker_als(tensor, (2, 2, 2), tol=1e-3).stopped == "tol"
    assert st_hosvd(tensor, (2, 2, 2)).stopped == "one pass"
    zero = tucker_als(np.zeros((3, 4, 5)), (1, 2, 2))
    assert (zero.relative_error, zero.stopped, np.abs(zero.core).max()) == (0.0, "tol", 0.0)


@pytest.mark.parametrize("method", METHODS)
def test_bad_input(method: Any, rng: np.random.Generator) -> None:
    tensor = rng.standard_normal((3, 5, 4))
    with pytest.raises(ValueError, match="2 ranks for a tensor of 3 modes"):
        method(tensor, (2, 2))
    with pytest.raises(ValueError, match=r"rank 6 of mode 1 is not between 1 and its size 5; shape \(3, 5, 4\)"):
        method(tensor, (3, 6, 4))
    with pytest.raises(ValueError, match="rank 0 of mode 0"):
        method(tensor, (0, 2, 2))
    with pytest.raises(ValueError, match="rank 5 of mode 1 is above the product of the other ranks, 4"):
        method(tensor, (2, 5, 2))
    with pytest.raises(ValueError, match="NaN or infinite"):
        method(np.where(tensor > 0, np.nan, tensor), (2, 2, 2))
    with pytest.raises(ValueError, match="NaN or infinite"):
        method(np.full((2, 3), np.inf), (1, 1))
    with pytest.raises(ValueError, match="holds nothing"):
        method(np.float64(3.0), ())
    with pytest.raises(ValueError, match="holds nothing"):
        method(np.zeros((3, 0, 2)), (1, 1, 1))


def test_whole_numbers_are_taken_and_a_bad_error_is_not() -> None:
    tensor = np.arange(60).reshape(3, 4, 5)
    assert tucker_als(tensor, (2, 2, 2)).relative_error < 1e-12
    with pytest.raises(ValueError, match="between 0 and 1"):
        choose_ranks(tensor, 1.5)
