"""Core consistency against its definition; the chosen rank is the planted one, and that of the amino acids is 3."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.decompose import core_consistency as core_module
from tdtool.decompose.core_consistency import core_consistency
from tdtool.decompose.cp import cp_als
from tdtool.decompose.rank_choice import RankTrial, choose_cp_rank, pick_rank, split_half
from tdtool.decompose.results import CPFit, cp_fit
from tdtool.kernels.sparse_tensor import SparseTensor
from tests import oracles_power as oracles

Array = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def random_fit(rng: np.random.Generator, shape: tuple[int, ...], rank: int) -> CPFit:
    return cp_fit(rng.uniform(0.5, 2.0, rank), [rng.standard_normal((size, rank)) for size in shape])


def planted(rng: np.random.Generator, shape: tuple[int, ...], rank: int, noise: float) -> Array:
    """A CP tensor of random factors, and noise of that share of its norm."""
    signal = oracles.cp_tensor(rng.uniform(1.0, 2.0, rank), random_fit(rng, shape, rank).factors)
    error = rng.standard_normal(shape)
    return np.asarray(signal + noise * np.linalg.norm(signal) / np.linalg.norm(error) * error)


def sparse_of(tensor: Array) -> SparseTensor:
    places = np.nonzero(tensor)
    return SparseTensor.from_coo(list(places), tensor[places], tensor.shape)


def spread(fit: CPFit) -> list[Array]:
    """The factors with the weights spread evenly."""
    return [factor * fit.weights ** (1 / len(fit.factors)) for factor in fit.factors]


@settings(max_examples=20)
@given(seeds, st.sampled_from([(5, 7, 3), (3, 5, 2, 4)]), st.integers(1, 3))
def test_core_consistency_is_that_of_its_definition(seed: int, shape: tuple[int, ...], rank: int) -> None:
    rng = np.random.default_rng(seed)
    fit, tensor = random_fit(rng, shape, min(rank, min(shape))), rng.standard_normal(shape)
    tensor[rng.random(shape) < 0.5] = 0
    expected = oracles.core_consistency(tensor, spread(fit))
    assert core_consistency(tensor, fit) == pytest.approx(expected, rel=1e-8)
    assert core_consistency(sparse_of(tensor), fit) == pytest.approx(expected, rel=1e-8)


def test_sparse_core_consistency_does_not_depend_on_blocks(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, tensor = random_fit(rng, (5, 7, 3), 2), rng.standard_normal((5, 7, 3))
    whole = core_consistency(sparse_of(tensor), fit)
    monkeypatch.setattr(core_module, "_BLOCK", 9)
    assert core_consistency(sparse_of(tensor), fit) == pytest.approx(whole, rel=1e-10)


def test_a_perfect_model_has_a_perfect_core(rng: np.random.Generator) -> None:
    fit = random_fit(rng, (5, 7, 3), 3)
    assert core_consistency(fit.to_dense(), fit) == pytest.approx(100, abs=1e-8)


def test_a_core_that_interacts_is_not_consistent(rng: np.random.Generator) -> None:
    """A Tucker model with orthonormal factors and a full core: the core that comes back is that one."""
    factors = [np.linalg.qr(rng.standard_normal((size, 2)))[0] for size in (5, 7, 3)]
    core = np.zeros((2, 2, 2))
    core[0, 0, 0] = core[1, 1, 1] = 1
    core[0, 1, 1] = 0.5
    tensor = np.einsum("abc,ia,jb,kc->ijk", core, *factors)
    assert core_consistency(tensor, cp_fit(np.ones(2), factors)) == pytest.approx(100 * (1 - 0.25 / 2))


def test_the_model_stands_in_for_missing_values(rng: np.random.Generator) -> None:
    fit, mask = random_fit(rng, (5, 7, 3), 2), rng.random((5, 7, 3)) < 0.3
    tensor = fit.to_dense() + 0.1 * rng.standard_normal((5, 7, 3))
    holes = np.where(mask, np.nan, tensor)
    expected = oracles.core_consistency(np.where(mask, fit.to_dense(), tensor), spread(fit))
    assert core_consistency(holes, fit, mask=mask) == pytest.approx(expected, rel=1e-8)


def test_core_consistency_refuses_what_does_not_fit(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"shape \(5, 7\), the fit \(5, 7, 3\)"):
        core_consistency(np.ones((5, 7)), random_fit(rng, (5, 7, 3), 2))
    with pytest.raises(ValueError, match="lower rank"):
        core_consistency(np.ones((2, 2, 2)), random_fit(rng, (2, 2, 2), 400))


def test_halves_of_planted_data_agree_and_those_of_noise_do_not(rng: np.random.Generator) -> None:
    tensor = planted(rng, (20, 9, 7), 3, 0.1)
    assert split_half(tensor, 3, rng) > 0.97
    assert split_half(tensor, 3, rng, mode=1) > 0.97
    assert split_half(tensor, 4, rng) < 0.8
    assert split_half(rng.standard_normal((20, 9, 7)), 1, rng) < 0.8
    assert math.isnan(split_half(tensor[:3, :3, :3], 1, rng))  # too short
    assert math.isnan(split_half(tensor[:4, :2, :3], 5, rng))  # 2 x 2 x 3 needs 4 components at most


def test_halves_of_sparse_data_are_those_of_the_dense_data(rng: np.random.Generator) -> None:
    """Counts in every fifth place: the same halves, told apart by nothing but storage."""
    dense = np.floor(np.abs(planted(rng, (20, 9, 7), 2, 0.0)) * 30)
    dense[rng.random(dense.shape) < 0.2] = 0
    one = split_half(dense, 1, np.random.default_rng(3), n_splits=1)
    two = split_half(sparse_of(dense), 1, np.random.default_rng(3), n_splits=1)
    assert two == pytest.approx(one, abs=1e-2)
    assert one > 0.8


def test_halves_with_missing_values(rng: np.random.Generator) -> None:
    tensor, mask = planted(rng, (12, 9, 7), 2, 0.01), rng.random((12, 9, 7)) < 0.2
    assert split_half(np.where(mask, np.nan, tensor), 2, rng, mask=mask) > 0.99
    mask[:, 3, :] = True
    mask[0, 3, :] = False  # only one half can have seen this slice
    assert math.isnan(split_half(np.where(mask, np.nan, tensor), 2, rng, mask=mask))


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5])
def test_the_planted_rank_is_chosen(rank: int) -> None:
    rng = np.random.default_rng(100 + rank)
    choice = choose_cp_rank(planted(rng, (16, 11, 9), rank, 0.2), rank + 2, rng=rng)
    assert choice.rank == rank
    assert [trial.rank for trial in choice.table] == list(range(1, len(choice.table) + 1))
    errors = [trial.relative_error for trial in choice.table]
    assert errors == sorted(errors, reverse=True)
    assert choice.table[rank - 1].congruence >= 0.9
    assert choice.reason.startswith(f"rank {rank} is the largest tried that gains more than noise would")


def test_a_large_tensor_is_compressed_and_the_figures_stay(rng: np.random.Generator) -> None:
    """Figures of the choice, made in a small core, against those of a fit of the whole tensor."""
    tensor = planted(rng, (60, 40, 5), 2, 0.1)
    choice = choose_cp_rank(tensor, 3, rng=rng)
    assert choice.rank == 2
    fit = cp_als(tensor, 2, compress=False, rng=rng)
    assert choice.table[1].relative_error == pytest.approx(fit.relative_error, rel=1e-3)
    assert choice.table[1].core_consistency == pytest.approx(core_consistency(tensor, fit), abs=0.5)


def test_exact_data_ends_the_search(rng: np.random.Generator) -> None:
    choice = choose_cp_rank(planted(rng, (12, 9, 7), 2, 0.0), 6, rng=rng)
    assert (choice.rank, len(choice.table)) == (2, 2)


@pytest.mark.parametrize(
    ("noise", "second", "chosen"),
    [
        (0.005, (0.4970, -9.0, 0.91), 2),  # takes 1.2 % off the squared error: more than noise would
        (0.020, (0.4970, -9.0, 0.91), 1),
        (0.005, (0.4970, 99.0, 0.89), 1),
        (0.005, (0.3500, 81.0, 0.10), 2),  # more than halves it
        (0.005, (0.3500, 79.0, 0.10), 1),
        (0.005, (0.3600, 81.0, 0.10), 1),
        (0.005, (0.4970, 51.0, math.nan), 2),
        (0.005, (0.4970, 49.0, math.nan), 1),
    ],
)
def test_what_makes_a_rank_count(noise: float, second: tuple[float, float, float], chosen: int) -> None:
    table = [RankTrial(1, 0.5, 100.0, 0.99, "tol"), RankTrial(2, *second, "tol"), RankTrial(3, 0.34, -9.0, 0.1, "tol")]
    assert pick_rank(table, noise).rank == chosen


def test_a_collapse_of_the_error_needs_no_halves(rng: np.random.Generator) -> None:
    """A component in one slice of each mode: one half of the data alone can have it."""
    factors = [rng.standard_normal((size, 2)) for size in (12, 9, 7)]
    for factor in factors:
        factor[:, 1] = np.eye(len(factor))[1]
    tensor = oracles.cp_tensor(np.array([1.0, 60.0]), factors) + 0.1 * rng.standard_normal((12, 9, 7))
    choice = choose_cp_rank(tensor, 3, rng=rng)
    assert choice.table[1].congruence < 0.9
    assert choice.rank == 2
    assert "halves the squared error" in choice.reason


def test_noise_has_no_components(rng: np.random.Generator) -> None:
    choice = choose_cp_rank(rng.standard_normal((12, 9, 7)), 3, rng=rng)
    assert choice.rank == 1
    assert "for want of better" in choice.reason


def test_each_trial_is_told_as_it_comes(rng: np.random.Generator) -> None:
    told: list[RankTrial] = []
    choice = choose_cp_rank(planted(rng, (12, 9, 7), 2, 0.1), 2, rng=rng, on_rank=told.append)
    assert tuple(told) == choice.table
    assert choice.reason.endswith("higher ranks were not tried")


def test_without_a_mode_to_split_core_consistency_decides(rng: np.random.Generator) -> None:
    choice = choose_cp_rank(planted(rng, (3, 3, 3), 2, 0.01), 2, rng=rng)
    assert choice.rank == 2
    assert "no mode has enough slices" in choice.reason


def test_low_core_consistency_is_told(rng: np.random.Generator) -> None:
    """Components with cosines of 0.9 in all modes: two halves agree, but the core does not look like that of CP."""
    factors = []
    for size in (30, 15, 10):
        shared = np.linalg.qr(rng.standard_normal((size, 4)))[0]
        factors.append(np.sqrt(0.9) * shared[:, :1] + np.sqrt(0.1) * shared[:, 1:])
    signal = oracles.cp_tensor(np.ones(3), factors)
    error = rng.standard_normal(signal.shape)
    tensor = signal + 0.01 * np.linalg.norm(signal) / np.linalg.norm(error) * error
    choice = choose_cp_rank(tensor, 4, rng=rng)
    assert choice.rank == 3
    assert (choice.table[2].core_consistency < 50) == ("look at lower ranks too" in choice.reason)


def test_non_negative_and_missing_data(rng: np.random.Generator) -> None:
    factors = [rng.random((size, 2)) ** 3 for size in (14, 9, 7)]
    tensor = oracles.cp_tensor(np.ones(2), factors) + 0.01 * rng.standard_normal((14, 9, 7))
    assert choose_cp_rank(tensor, 3, nonnegative=True, rng=rng).rank == 2
    mask = rng.random(tensor.shape) < 0.1
    assert choose_cp_rank(np.where(mask, np.nan, tensor), 3, mask=mask, rng=rng).rank == 2


def test_bad_arguments(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="max_rank is 0"):
        choose_cp_rank(np.ones((3, 3, 3)), 0, rng=rng)
    with pytest.raises(ValueError, match="order 2"):
        choose_cp_rank(np.ones((3, 3)), 2, rng=rng)


@pytest.mark.shared_data
def test_three_amino_acids(shared_data: Path) -> None:
    with np.load(shared_data / "tensors" / "amino.npz") as arrays:
        tensor = arrays["X"].astype(np.float64)
    choice = choose_cp_rank(tensor, 4, rng=np.random.default_rng(0))
    assert choice.rank == 3
    assert choice.table[2].relative_error == pytest.approx(0.02505, abs=1e-4)
    assert choice.table[2].core_consistency > 99
    assert choice.table[2].congruence > 0.999
