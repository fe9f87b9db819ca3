"""Products with a narrow matrix in register tiles, against numpy, for every remainder of rows, columns and sums."""

from __future__ import annotations

import itertools
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.registry import CPUDispatcher

from tdtool.kernels import skinny, skinny_cpu
from tdtool.kernels.skinny import multiply_left, multiply_right
from tdtool.kernels.skinny_micro import MOST_ROWS, add_tile
from tdtool.kernels.vector_size import VECTOR_BYTES
from tests import oracles_modes as oracles

SETTINGS: Any = numba.config


def tolerance(dtype: type) -> dict[str, float]:
    return {"rtol": 1e-4, "atol": 1e-4} if np.dtype(dtype).char == "f" else {"rtol": 1e-12, "atol": 1e-11}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_sums", [1, 7, 600])
@pytest.mark.parametrize("rank", [1, 2, 8, 13, 16, 37])
def test_multiply_right(dtype: type, n_sums: int, rank: int, rng: np.random.Generator, monkeypatch: Any) -> None:
    monkeypatch.setattr(skinny, "_FEWEST", 0)
    monkeypatch.setattr(skinny, "_WORK", 200)
    for rows in (1, 3, 15):
        stack, matrix = oracles.draw(rng, (2, rows, n_sums), dtype), oracles.draw(rng, (n_sums, rank), dtype)
        for other in (stack, np.asfortranarray(stack), stack[:, ::-1, ::-1]):
            wide = np.full((2, rows, rank + 3), np.nan, dtype)
            multiply_right(other, matrix, wide[..., :rank])
            expected = np.einsum("lmp,pr->lmr", other.astype(np.float64), matrix.astype(np.float64))
            np.testing.assert_allclose(wide[..., :rank], expected, **tolerance(dtype))
            assert np.isnan(wide[..., rank:]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_sums", [1, 7, 600])
@pytest.mark.parametrize("width", [1, 16, 17, 50])
def test_multiply_left(dtype: type, n_sums: int, width: int, rng: np.random.Generator, monkeypatch: Any) -> None:
    monkeypatch.setattr(skinny, "_FEWEST", 0)
    for rank in (1, 3, 15):
        stack, matrix = oracles.draw(rng, (2, n_sums, width), dtype), oracles.draw(rng, (n_sums, rank), dtype).T
        for other in (stack, stack[:, ::-1], stack[..., ::-1]):
            wide = np.full((2, rank, width + 3), np.nan, dtype)
            multiply_left(matrix, other, wide[..., :width])
            expected = np.einsum("rp,lps->lrs", matrix.astype(np.float64), other.astype(np.float64))
            np.testing.assert_allclose(wide[..., :width], expected, **tolerance(dtype))
            assert np.isnan(wide[..., width:]).all()


def test_complex_wide_and_small_products_are_left_to_the_blas(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(skinny, "_entry", never)
    for dtype, size, rank in ((np.complex128, 40, 20), (np.float64, 40, 129), (np.float64, 9, 20)):
        stack, matrix = oracles.draw(rng, (1, 40, size), dtype), oracles.draw(rng, (size, rank), dtype)
        out = np.empty((1, 40, rank), dtype)
        multiply_right(stack, matrix, out)
        np.testing.assert_allclose(out, stack @ matrix, rtol=1e-12)


def test_infinity_stays_in_its_row(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skinny, "_FEWEST", 0)
    stack, out = np.ones((1, 9, 5)), np.empty((1, 9, 3))
    stack[0, 4, 2] = np.inf
    multiply_right(stack, np.ones((5, 3)), out)
    assert np.isinf(out[0, 4]).all()
    np.testing.assert_array_equal(np.delete(out[0], 4, axis=0), np.full((8, 3), 5.0))


def _tile(rows, vectors, depth, scalars, m, p, wide, q, v, out, add):  # type: ignore[no-untyped-def]
    add_tile(rows, vectors, depth, scalars, m, p, wide, q, v, out, add)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vector_code_equals_its_plain_twin(
    dtype: type, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SETTINGS, "DISABLE_JIT", 0)  # this one is compiled in any run
    compiled, lanes = CPUDispatcher(_tile), VECTOR_BYTES // np.dtype(dtype).itemsize
    scalars, wide = oracles.draw(rng, (24, 22), dtype)[::2, ::-2], oracles.draw(rng, (9, 5 * lanes), dtype)[1:]
    for rows, vectors, add in itertools.product([1, 2, 4, 8][: MOST_ROWS.bit_length()], [1, 2, 3], [False, True]):
        expected = oracles.draw(rng, (11, 5 * lanes), dtype)
        got = expected.copy()
        add_tile(rows, vectors, 5, scalars, 3, 2, wide, 1, lanes + 1, expected, add)
        compiled(rows, vectors, 5, scalars, 3, 2, wide, 1, lanes + 1, got, add)
        np.testing.assert_allclose(got, expected, **tolerance(dtype))


def test_rows_fill_whole_vectors() -> None:
    assert VECTOR_BYTES in (16, 32, 64)
    assert [skinny_cpu._part(left) for left in (1, 2, 3, 4)] == [1, 2, 2, 4]
