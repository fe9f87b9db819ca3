"""Unfolding, mode products, Khatri-Rao products, Gram matrices and norms, of tensors of any layout."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.kernels.khatri_rao import khatri_rao
from tdtool.kernels.modes import chain_order, fold, gram, mode_dot, multi_mode_dot, norm, unfold
from tests import oracles_modes as oracles

SHAPES = [(5,), (3, 5), (2, 3, 5), (7, 2, 3), (2, 3, 5, 7), (3, 2, 4, 1, 5)]
DTYPES = [np.float32, np.float64, np.complex64, np.complex128]


def close(got: NDArray[Any], expected: NDArray[Any]) -> None:
    """Equal to the precision of what was asked for, and of the same type."""
    assert got.dtype == expected.dtype
    single = got.dtype.char in "fF"
    np.testing.assert_allclose(got, expected, rtol=1e-4 if single else 1e-12, atol=1e-4 if single else 1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_unfold_and_fold(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    tensor = oracles.draw(rng, shape)
    for mode in range(len(shape)):
        for other in oracles.layouts(tensor).values():
            matrix = unfold(other, mode)
            np.testing.assert_array_equal(matrix, oracles.unfolded(tensor, mode))
            np.testing.assert_array_equal(fold(matrix, mode, shape), tensor)


def test_unfold_of_whole_numbers_is_float64() -> None:
    assert unfold(np.arange(6).reshape(2, 3), 1).dtype == np.float64
    assert unfold(np.ones((2, 3), np.float16), 0).dtype == np.float64
    assert unfold(np.ones((2, 3), np.clongdouble), 0).dtype == np.complex128
    assert unfold(np.ones((2, 3), ">f4"), 0).dtype == np.float64


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_mode_dot(shape: tuple[int, ...], dtype: type, rng: np.random.Generator) -> None:
    tensor = oracles.draw(rng, shape, dtype)
    for mode in range(len(shape)):
        matrix = oracles.draw(rng, (4, shape[mode]), dtype)
        expected = oracles.mode_product(tensor, matrix, mode)
        for other in oracles.layouts(tensor).values():
            close(mode_dot(other, matrix, mode), expected)
            close(mode_dot(other, np.asfortranarray(matrix.T), mode, transpose=True), expected)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_mode_dot_writes_to_out(mode: int, order: Any, rng: np.random.Generator) -> None:
    tensor, matrix = oracles.draw(rng, (2, 3, 5)), oracles.draw(rng, (7, (2, 3, 5)[mode]))
    expected = oracles.mode_product(tensor, matrix, mode)
    for other in oracles.layouts(tensor).values():
        wide = np.full([*expected.shape, 2], np.nan, order=order)
        out = wide[..., 0]
        assert mode_dot(other, matrix, mode, out=out) is out
        close(out.copy(), expected)
        assert np.isnan(wide[..., 1]).all()


def test_mode_dot_keeps_the_layout(rng: np.random.Generator) -> None:
    tensor = np.asfortranarray(oracles.draw(rng, (2, 3, 5)))
    assert mode_dot(tensor, np.ones((7, 3)), 1).flags.f_contiguous
    assert mode_dot(tensor.T, np.ones((7, 3)), 1).flags.c_contiguous


def test_mode_dot_of_mixed_types_takes_the_wider(rng: np.random.Generator) -> None:
    tensor, matrix = oracles.draw(rng, (2, 3), np.float32), oracles.draw(rng, (5, 3), np.complex128)
    close(mode_dot(tensor, matrix, 1), oracles.mode_product(tensor.astype(np.complex128), matrix, 1))
    assert mode_dot(np.ones((2, 3), int), np.ones((5, 3), np.float32), 1).dtype == np.float64


def test_mode_dot_of_nothing_is_zero() -> None:
    assert mode_dot(np.ones((2, 0, 3)), np.ones((0, 0)), 1).shape == (2, 0, 3)
    np.testing.assert_array_equal(mode_dot(np.ones((2, 0, 3)), np.ones((5, 0)), 1), np.zeros((2, 5, 3)))


@given(st.permutations([0, 1, 2]), st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_mode_dot_moves_with_the_modes(modes: list[int], mode: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tensor = oracles.draw(rng, (2, 3, 5))
    matrix = oracles.draw(rng, (4, tensor.shape[modes[mode]]))
    moved = mode_dot(tensor.transpose(modes), matrix, mode)
    close(moved, mode_dot(tensor, matrix, modes[mode]).transpose(modes))


@given(st.integers(0, 2), st.floats(-3, 3), st.integers(0, 2**32 - 1))
def test_mode_dot_is_linear_in_the_tensor(mode: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, two = oracles.draw(rng, (2, 3, 5)), oracles.draw(rng, (2, 3, 5))
    matrix = oracles.draw(rng, (4, one.shape[mode]))
    close(mode_dot(one + scale * two, matrix, mode), mode_dot(one, matrix, mode) + scale * mode_dot(two, matrix, mode))


@pytest.mark.parametrize("transpose", [False, True])
def test_multi_mode_dot(transpose: bool, rng: np.random.Generator) -> None:
    tensor = oracles.draw(rng, (2, 3, 5, 7))
    matrices = [oracles.draw(rng, (size, old)) for size, old in zip((6, 2, 4, 3), tensor.shape, strict=True)]
    given_ = [matrix.T if transpose else matrix for matrix in matrices]
    close(multi_mode_dot(tensor, given_, transpose=transpose), np.einsum("abcd,ea,fb,gc,hd->efgh", tensor, *matrices))
    skipped = np.einsum("abcd,ea,gc,hd->ebgh", tensor, matrices[0], matrices[2], matrices[3])
    close(multi_mode_dot(tensor, given_, skip=1, transpose=transpose), skipped)
    close(multi_mode_dot(tensor, [given_[0], None, *given_[2:]], transpose=transpose), skipped)
    some = np.einsum("abcd,hd,fb->afch", tensor, matrices[3], matrices[1])
    close(multi_mode_dot(tensor, [given_[3], given_[1]], modes=[3, 1], transpose=transpose), some)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5))
def test_chain_order_is_the_cheapest_of_all(sizes: list[tuple[int, int]]) -> None:
    def cost(order: tuple[int, ...]) -> int:
        shape, total = [before for before, _ in sizes], 0
        for mode in order:
            total += int(np.prod(shape)) * sizes[mode][1]
            shape[mode] = sizes[mode][1]
        return total

    best = min(cost(order) for order in itertools.permutations(range(len(sizes))))
    assert cost(tuple(chain_order(dict(enumerate(sizes))))) == best


def test_khatri_rao(rng: np.random.Generator) -> None:
    one, two, three = (oracles.draw(rng, (size, 4)) for size in (2, 3, 5))
    close(khatri_rao([one, two, three]), np.einsum("ir,jr,kr->ijkr", one, two, three).reshape(30, 4))
    alone = khatri_rao([one])
    np.testing.assert_array_equal(alone, one)
    assert not np.shares_memory(alone, one)
    assert khatri_rao([np.ones((2, 1), int), np.ones((3, 1), int)]).dtype == np.float64


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_gram(shape: tuple[int, ...], dtype: type, rng: np.random.Generator) -> None:
    tensor = oracles.draw(rng, shape, dtype)
    for mode in range(len(shape)):
        matrix = oracles.unfolded(tensor, mode)
        for other in oracles.layouts(tensor).values():
            close(gram(other, mode), matrix @ matrix.conj().T)


@pytest.mark.parametrize("shape", [(3, 130, 140), (300, 9, 70), (50, 40, 7, 11)])
def test_gram_slice_by_slice_and_packed(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    tensor = oracles.draw(rng, shape)
    for other in (tensor, tensor[..., ::2], tensor[:, ::3]):
        matrix = np.moveaxis(other, 1, 0).reshape(other.shape[1], -1)
        np.testing.assert_allclose(gram(other, 1), matrix @ matrix.T, rtol=1e-10, atol=1e-10)


def test_gram_of_nothing_is_zero() -> None:
    np.testing.assert_array_equal(gram(np.ones((2, 0, 3)), 2), np.zeros((3, 3)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_norm(dtype: type, rng: np.random.Generator) -> None:
    tensor = oracles.draw(rng, (2, 3, 5), dtype)
    expected = np.sqrt(np.sum(np.abs(tensor.astype(np.complex128)) ** 2))
    for other in oracles.layouts(tensor).values():
        assert norm(other) == pytest.approx(expected, rel=1e-14)
    assert norm(np.array([3, 4])) == 5
    assert norm(np.ones((2, 0))) == 0


def test_no_product_copies_the_tensor(rng: np.random.Generator) -> None:
    tensor = oracles.draw(rng, (90, 80, 70))
    layouts = [tensor, np.asfortranarray(tensor), oracles.layouts(tensor)["cut out"], tensor[::-1, :, ::-1]]
    for other, mode in itertools.product(layouts, range(3)):
        matrix = np.ones((2, other.shape[mode]))
        mode_dot(other, matrix, mode)  # compiles
        tracemalloc.start()
        mode_dot(other, matrix, mode)
        gram(other, mode)
        norm(other)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < tensor.nbytes / 2, (other.strides, mode)


def test_bad_operands_are_named(rng: np.random.Generator) -> None:
    tensor = oracles.draw(rng, (2, 3, 5))
    with pytest.raises(ValueError, match="mode is 3; a tensor of order 3 has the modes 0 to 2"):
        unfold(tensor, 3)
    with pytest.raises(ValueError, match="mode is -1"):
        gram(tensor, -1)
    with pytest.raises(ValueError, match=r"\(3, 9\) does not fold into \(2, 3, 5\)"):
        fold(np.ones((3, 9)), 1, (2, 3, 5))
    with pytest.raises(ValueError, match=r"mode 1 has shape \(4, 5\).*\(J, 3\)"):
        mode_dot(tensor, np.ones((4, 5)), 1)
    with pytest.raises(ValueError, match=r"mode 1 has shape \(4, 3\).*\(3, J\)"):
        mode_dot(tensor, np.ones((4, 3)), 1, transpose=True)
    with pytest.raises(ValueError, match="the tensor holds object"):
        norm(np.array([None, 1]))
    with pytest.raises(ValueError, match="out is float64 of shape"):
        mode_dot(tensor, np.ones((4, 3)), 1, out=np.empty((2, 3, 5)))
    with pytest.raises(ValueError, match="out shares memory"):
        mode_dot(tensor, np.ones((3, 3)), 1, out=tensor)
    with pytest.raises(ValueError, match="1 matrices for modes"):
        multi_mode_dot(tensor, [np.ones((2, 2))])
    with pytest.raises(ValueError, match="once"):
        multi_mode_dot(tensor, [np.ones((2, 2))] * 2, modes=[0, 0])
    with pytest.raises(ValueError, match=r"mode 2 has shape \(2, 2\)"):
        multi_mode_dot(tensor, [np.ones((2, 2))], modes=[2])
    with pytest.raises(ValueError, match="mode is 5"):
        multi_mode_dot(tensor, [None] * 3, skip=5)
    with pytest.raises(ValueError, match=r"\[2, 3\] columns"):
        khatri_rao([np.ones((5, 2)), np.ones((5, 3))])
    with pytest.raises(ValueError, match="at least one"):
        khatri_rao([])
    with pytest.raises(ValueError, match=r"matrix 1 .* \(3,\)"):
        khatri_rao([np.ones((5, 2)), np.ones(3)])
