"""MTTKRP of dense tensors, mode by mode and as a sweep, against einsum."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdtool.kernels import mttkrp_dense, skinny
from tdtool.kernels.mttkrp import mttkrp, mttkrp_sweep
from tdtool.kernels.mttkrp_tree import split_mode
from tdtool.kernels.sparse_tensor import SparseTensor
from tests import oracles_modes as oracles
from tests.kernels.test_modes import DTYPES, SHAPES, close

#: Sides of every kind: long before the mode, long after it, one of length 1.
SIDES = [*SHAPES, (9, 2, 2), (2, 2, 9), (1, 5, 3), (3, 5, 1), (13, 3, 2, 2)]


def factors_of(rng: np.random.Generator, shape: tuple[int, ...], rank: int, dtype: type = np.float64) -> list:
    return [oracles.draw(rng, (size, rank), dtype) for size in shape]


@pytest.mark.parametrize("block", [8, 40, 2**16])
@pytest.mark.parametrize("shape", SIDES)
def test_every_layout_and_block(
    shape: tuple[int, ...], block: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mttkrp_dense, "_BLOCK", block)
    tensor, factors = oracles.draw(rng, shape), factors_of(rng, shape, 4)
    for mode in range(len(shape)):
        expected = oracles.mttkrp_oracle(tensor, factors, mode)
        for other in oracles.layouts(tensor).values():
            close(mttkrp(other, factors, mode), expected)


@pytest.mark.parametrize("rank", [1, 3, 17])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_and_rank(dtype: type, rank: int, rng: np.random.Generator) -> None:
    tensor, factors = oracles.draw(rng, (2, 3, 5, 7), dtype), factors_of(rng, (2, 3, 5, 7), rank, dtype)
    for mode in range(4):
        close(mttkrp(tensor, factors, mode), oracles.mttkrp_oracle(tensor, factors, mode))
        close(mttkrp(np.asfortranarray(tensor), factors, mode), oracles.mttkrp_oracle(tensor, factors, mode))


def test_mixed_types_take_the_widest(rng: np.random.Generator) -> None:
    tensor, factors = oracles.draw(rng, (2, 3, 5), np.float32), factors_of(rng, (2, 3, 5), 2)
    close(mttkrp(tensor, factors, 1), oracles.mttkrp_oracle(tensor.astype(np.float64), factors, 1))
    assert mttkrp(np.ones((2, 3, 5), int), [f.astype(np.float32) for f in factors], 0).dtype == np.float64


def test_nothing_gives_zeros() -> None:
    np.testing.assert_array_equal(mttkrp(np.ones((2, 0, 3)), [np.ones((s, 2)) for s in (2, 0, 3)], 2), np.zeros((3, 2)))
    assert mttkrp(np.ones((2, 5, 3)), [np.ones((s, 0)) for s in (2, 5, 3)], 1).shape == (5, 0)


@given(st.permutations([0, 1, 2, 3]), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_the_order_of_the_modes_does_not_matter(modes: list[int], mode: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tensor, factors = oracles.draw(rng, (2, 3, 5, 7)), factors_of(rng, (2, 3, 5, 7), 3)
    moved = mttkrp(tensor.transpose(modes), [factors[m] for m in modes], mode)
    close(moved, mttkrp(tensor, factors, modes[mode]))


@given(st.integers(0, 2), st.floats(-3, 3), st.integers(0, 2**32 - 1))
def test_linear_in_the_tensor(mode: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, two, factors = oracles.draw(rng, (2, 3, 5)), oracles.draw(rng, (2, 3, 5)), factors_of(rng, (2, 3, 5), 2)
    both = mttkrp(one + scale * two, factors, mode)
    close(both, mttkrp(one, factors, mode) + scale * mttkrp(two, factors, mode))


@pytest.mark.parametrize("rank", [1, 2, 30])
@pytest.mark.parametrize("shape", [*SIDES, (3, 4, 5, 2, 3)])
def test_sweep_sees_the_factors_as_they_change(shape: tuple[int, ...], rank: int, rng: np.random.Generator) -> None:
    tensor, start = oracles.draw(rng, shape), factors_of(rng, shape, rank)
    seen: list[int] = []

    def update(mode: int, product: np.ndarray) -> np.ndarray:
        seen.append(mode)
        return np.asarray(np.tanh(product) + mode)

    expected = oracles.sweep_oracle(tensor, start, update)
    for other in oracles.layouts(tensor).values():
        seen.clear()
        factors = list(start)
        mttkrp_sweep(other, factors, update)
        assert seen == list(range(len(shape)))
        for got, wanted in zip(factors, expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-10)


def test_sweep_of_a_sparse_tensor(rng: np.random.Generator) -> None:
    dense = np.where(rng.random((2, 3, 5)) < 0.4, oracles.draw(rng, (2, 3, 5)), 0)
    start = factors_of(rng, (2, 3, 5), 2)
    factors = list(start)
    tensor = SparseTensor.from_coo(np.nonzero(dense), dense[np.nonzero(dense)], dense.shape)
    mttkrp_sweep(tensor, factors, lambda mode, product: np.cos(product) + mode)
    expected = oracles.sweep_oracle(dense, start, lambda mode, product: np.cos(product) + mode)
    for got, wanted in zip(factors, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


def test_where_the_tree_splits() -> None:
    assert split_mode(np.empty((9, 9, 9)), 2) == 2
    assert split_mode(np.empty((9, 9, 99)), 2) == 2
    assert split_mode(np.empty((99, 9, 9)), 2) == 1
    assert split_mode(np.empty((9, 9, 9), order="F"), 2) == 2
    assert split_mode(np.empty((9, 8, 7, 6)), 2) == 2
    assert split_mode(np.empty((9, 9, 9)), 5) is None
    assert split_mode(np.empty((9, 9, 9))[:, :8], 1) is None
    assert split_mode(np.empty((9, 9)), 1) is None
    assert split_mode(np.empty((9, 0, 9)), 1) is None


def test_no_temporary_as_large_as_the_tensor(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mttkrp_dense, "_BLOCK", 2**12)
    monkeypatch.setattr(skinny, "_WORK", 2**12)
    tensor, factors = oracles.draw(rng, (45, 40, 35)), factors_of(rng, (45, 40, 35), 11)
    layouts = [tensor, np.asfortranarray(tensor), oracles.layouts(tensor)["cut out"], tensor[::-1, :, ::-1]]
    for other in layouts:
        for mode in range(3):
            mttkrp(other, factors, mode)  # compiles
            tracemalloc.start()
            mttkrp(other, factors, mode)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < tensor.nbytes / 2, (other.strides, mode)
        mttkrp_sweep(other, list(factors), lambda mode, _: factors[mode])
        tracemalloc.start()
        mttkrp_sweep(other, list(factors), lambda mode, _: factors[mode])
        assert tracemalloc.get_traced_memory()[1] < tensor.nbytes
        tracemalloc.stop()


def test_bad_operands_are_named(rng: np.random.Generator) -> None:
    tensor, factors = oracles.draw(rng, (2, 3, 5)), factors_of(rng, (2, 3, 5), 2)
    with pytest.raises(ValueError, match=r"\(2, 2\), \(3, 2\).*needs a \(size, rank\) for each mode"):
        mttkrp(tensor, factors[:2], 0)
    with pytest.raises(ValueError, match=r"\(4, 2\).*do not fit a tensor of \(2, 3, 5\)"):
        mttkrp(tensor, [factors[0], np.ones((4, 2)), factors[2]], 0)
    with pytest.raises(ValueError, match="one rank"):
        mttkrp_sweep(tensor, [factors[0], np.ones((3, 4)), factors[2]], lambda _, product: product)
    with pytest.raises(ValueError, match="mode is 3"):
        mttkrp(tensor, factors, 3)
    with pytest.raises(ValueError, match="the factor holds"):
        mttkrp(tensor, [np.array([["a"]]), *factors[1:]], 0)
