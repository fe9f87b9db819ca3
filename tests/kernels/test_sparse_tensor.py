"""Sparse tensors against their dense arrays."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.kernels import sparse_tensor
from tdtool.kernels.modes import gram, norm
from tdtool.kernels.mttkrp import mttkrp
from tdtool.kernels.sparse_tensor import SparseTensor, sparse_inner, sparse_model_at, sparse_mttkrp
from tdtool.kernels.sparse_tree import EntryList, FibreTree, visit_order
from tests import oracles_modes as oracles

SETTINGS: Any = numba.config
SHAPES = [(5,), (3, 5), (2, 3, 5), (7, 2, 3), (2, 3, 5, 7), (3, 2, 4, 1, 5), (2, 1, 3, 2, 1, 2, 2, 3)]


def sparse_of(dense: NDArray[Any]) -> SparseTensor:
    return SparseTensor.from_coo(np.nonzero(dense), dense[np.nonzero(dense)], dense.shape)


def draw_dense(rng: np.random.Generator, shape: tuple[int, ...], share: float = 0.3) -> NDArray[np.float64]:
    return np.where(rng.random(shape) < share, rng.standard_normal(shape), 0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.0, 0.05, 0.4, 1.0])
def test_products_equal_the_dense_ones(shape: tuple[int, ...], share: float, rng: np.random.Generator) -> None:
    dense = draw_dense(rng, shape, share)
    tensor, factors = sparse_of(dense), [rng.standard_normal((size, 3)) for size in shape]
    np.testing.assert_array_equal(tensor.to_dense(), dense)
    assert norm(tensor) == pytest.approx(np.linalg.norm(dense))
    for mode in range(len(shape)):
        expected = oracles.mttkrp_oracle(dense, factors, mode)
        np.testing.assert_allclose(mttkrp(tensor, factors, mode), expected, rtol=1e-12, atol=1e-12)
        matrix = oracles.unfolded(dense, mode)
        np.testing.assert_allclose(gram(tensor, mode), matrix @ matrix.T, rtol=1e-12, atol=1e-12)
    weights = np.array([3.0, -1.0, 0.5])
    expected_inner = np.sum(dense * oracles.model(weights, factors))
    assert sparse_inner(tensor, weights, factors) == pytest.approx(expected_inner, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES[1:])
@pytest.mark.parametrize(("max_bytes", "kind"), [(0, EntryList), (2**20, FibreTree)])
def test_trees_and_lists_agree(shape: tuple[int, ...], max_bytes: int, kind: type, rng: np.random.Generator) -> None:
    dense = draw_dense(rng, shape)
    tensor, factors = sparse_of(dense), [rng.standard_normal((size, 3)) for size in shape]
    for mode in range(len(shape)):
        made = visit_order(tensor.coordinates, tensor.values, shape, mode, max_bytes=max_bytes)
        assert isinstance(made, kind)
        tensor._orders[mode] = made
        expected = oracles.mttkrp_oracle(dense, factors, mode)
        np.testing.assert_allclose(mttkrp(tensor, factors, mode), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("threads", [2, 3, 50])
@pytest.mark.parametrize("max_bytes", [0, 2**20])
def test_threads_change_nothing(threads: int, max_bytes: int, rng: np.random.Generator) -> None:
    shape = (11, 7, 5)
    tensor, factors = sparse_of(draw_dense(rng, shape)), [rng.standard_normal((size, 3)) for size in shape]
    for mode in range(3):
        tensor._orders[mode] = visit_order(tensor.coordinates, tensor.values, shape, mode, max_bytes=max_bytes)
        alone = sparse_mttkrp(tensor, factors, mode)
        np.testing.assert_array_equal(sparse_mttkrp(tensor, factors, mode, threads=threads), alone)
        assert np.any(alone != 0)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 4), st.integers(-2, 2)), max_size=30))
def test_entries_of_one_place_add_up(entries: list[tuple[int, int, int, int]]) -> None:
    expected = np.zeros((2, 3, 5))
    for *place, value in entries:
        expected[tuple(place)] += value
    table = np.array(entries, np.int64).reshape(-1, 4).T
    tensor = SparseTensor.from_coo(table[:3], table[3], (2, 3, 5))
    np.testing.assert_array_equal(tensor.to_dense(), expected)
    assert tensor.nnz == np.count_nonzero(expected)
    assert np.all(tensor.values != 0)
    assert list(zip(*(place.tolist() for place in tensor.coordinates), strict=True)) == list(
        zip(*(place.tolist() for place in np.nonzero(expected)), strict=True)
    )


def test_sizes_whose_product_overflows(rng: np.random.Generator) -> None:
    shape = (2**40, 3, 2**40)
    places = [np.array([2**40 - 1, 5, 2**40 - 1, 5]), np.array([2, 1, 2, 0]), np.array([7, 2**39, 7, 1])]
    tensor = SparseTensor.from_coo(places, np.array([1.0, 2.0, 4.0, 8.0]), shape)
    assert [place.tolist() for place in tensor.coordinates] == [[5, 5, 2**40 - 1], [0, 1, 2], [1, 2**39, 7]]
    assert tensor.values.tolist() == [8.0, 2.0, 5.0]
    assert tensor.coordinates[0].dtype == np.int64
    assert tensor.visit_order(1).n_roots == 3
    assert gram(tensor, 1).tolist() == [[64, 0, 0], [0, 4, 0], [0, 0, 25]]


def test_a_single_entry(rng: np.random.Generator) -> None:
    tensor = SparseTensor.from_coo([[4], [1], [2]], [2.5], (7, 2, 3))
    factors = [rng.standard_normal((size, 2)) for size in (7, 2, 3)]
    expected = np.zeros((7, 2))
    expected[4] = 2.5 * factors[1][1] * factors[2][2]
    np.testing.assert_allclose(mttkrp(tensor, factors, 0), expected, rtol=1e-15)
    assert tensor.order == 3
    assert tensor.nbytes == 8 + 3 * 4


def test_model_at_places(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_tensor, "_ENTRIES", 4)
    factors, weights = [rng.standard_normal((size, 4)) for size in (2, 3, 5)], rng.standard_normal(4)
    places = [rng.integers(0, size, 11) for size in (2, 3, 5)]
    expected = oracles.model(weights, factors)[tuple(places)]
    np.testing.assert_allclose(sparse_model_at(places, weights, factors), expected, rtol=1e-12)


def test_what_is_kept_for_mttkrp_is_no_larger_than_the_entries(rng: np.random.Generator) -> None:
    for shape in [(40, 30, 20), (90, 80, 70, 60, 50, 40, 30, 20)]:
        places = [rng.integers(0, size, 3000) for size in shape]
        tensor = SparseTensor.from_coo(places, rng.random(3000), shape)
        assert isinstance(tensor.visit_order(0), FibreTree if len(shape) == 3 else EntryList)
        for mode in range(len(shape)):
            assert tensor.visit_order(mode).nbytes <= tensor.nbytes
            assert tensor.visit_order(mode) is tensor.visit_order(mode)


def test_bad_entries_are_named(rng: np.random.Generator) -> None:
    def make(places: Any, values: Any = (1.0,), shape: Any = (2, 3)) -> SparseTensor:
        return SparseTensor.from_coo(places, np.asarray(values), shape)

    with pytest.raises(ValueError, match="mode 1 has coordinates from 0 to 3; its size is 3"):
        make([[0, 1], [0, 3]], (1.0, 2.0))
    with pytest.raises(ValueError, match="mode 0 has coordinates from -1 to -1"):
        make([[-1], [0]])
    with pytest.raises(ValueError, match="mode 0 has coordinates"):
        make([np.array([2**64 - 1], np.uint64), [0]])
    with pytest.raises(ValueError, match="mode 0 are float64"):
        make([[0.5], [0]])
    with pytest.raises(ValueError, match="needs 2 lists of one length"):
        make([[0], [0, 1]])
    with pytest.raises(ValueError, match="needs 2 lists of one length"):
        make([[0], [0], [0]])
    with pytest.raises(ValueError, match=r"values\[1\] is nan"):
        make([[0, 1], [0, 1]], (1.0, np.nan))
    with pytest.raises(ValueError, match="need 1 real numbers"):
        make([[0], [0]], (1j,))
    with pytest.raises(ValueError, match="need 1 real numbers"):
        make([[0], [0]], (1.0, 2.0))
    with pytest.raises(ValueError, match="add up to more"), np.errstate(over="ignore"):
        make([[0, 0], [0, 0]], (1e308, 1e308))
    with pytest.raises(ValueError, match="1 to 8 modes"):
        make([], (), ())
    with pytest.raises(ValueError, match="1 to 8 modes"):
        make([[0]] * 9, (1.0,), (1,) * 9)
    with pytest.raises(ValueError, match="size 1 or more"):
        make([[0], [0]], (1.0,), (2, 0))
    with pytest.raises(ValueError, match="the largest size"):
        make([[0], [0]], (1.0,), (2, 2**70))


def test_bad_operands_are_named(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = SparseTensor.from_coo([[0], [1], [2]], [1.0], (2, 3, 5))
    factors = [rng.standard_normal((size, 2)) for size in (2, 3, 5)]
    with pytest.raises(ValueError, match="do not fit a tensor"):
        mttkrp(tensor, [*factors[:2], np.ones((4, 2))], 0)
    with pytest.raises(ValueError, match="complex factors"):
        mttkrp(tensor, [factor + 1j for factor in factors], 0)
    with pytest.raises(ValueError, match="mode is 3"):
        mttkrp(tensor, factors, 3)
    with pytest.raises(ValueError, match="weights are float64"):
        sparse_inner(tensor, np.ones(3), factors)
    with pytest.raises(ValueError, match="mode 2 has coordinates from 9 to 9"):
        sparse_model_at([[0], [1], [9]], np.ones(2), factors)
    monkeypatch.setattr(sparse_tensor, "_LARGEST_GRAM", 4)
    with pytest.raises(ValueError, match="mode 2 has size 5; a dense Gram matrix is made up to 4"):
        gram(tensor, 2)
    with pytest.raises(ValueError, match="entries; at most"):
        SparseTensor.from_coo([[0], [0]], [1.0], (2**20, 2**20)).to_dense()


@pytest.mark.shared_data
@pytest.mark.skipif(SETTINGS.DISABLE_JIT, reason="half a million entries in plain Python")
def test_memory_of_a_real_sweep(shared_data: Path) -> None:
    text = gzip.decompress((shared_data / "tensors" / "nips_author_word_year.tns.gz").read_bytes())
    table = np.array(text.split(), np.float64).reshape(-1, 4)
    places, values = (table[:, :3].T - 1).astype(np.int32), table[:, 3].copy()
    shape = tuple(int(size) for size in places.max(axis=1) + 1)
    factors = [np.random.default_rng(1).random((size, 20)) for size in shape]
    tracemalloc.start()
    tensor = SparseTensor.from_coo(places, values, shape)
    products = [mttkrp(tensor, factors, mode) for mode in range(3)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tensor.shape, tensor.nnz) == ((930, 7174, 32), 563_915)
    assert peak < 10 * tensor.nbytes
    inner = sparse_inner(tensor, np.ones(20), factors)
    for factor, product in zip(factors, products, strict=True):
        assert np.sum(factor * product) == pytest.approx(inner, rel=1e-12)
