"""Shared work: borders by sizes alone, results in order, the same bits from every kernel for any number of threads."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tdtool.kernels import threads
from tdtool.kernels.modes import gram, mode_dot, multi_mode_dot, norm
from tdtool.kernels.mttkrp import mttkrp, mttkrp_sweep
from tdtool.kernels.sparse_tensor import SparseTensor
from tdtool.kernels.sparse_tree import EntryList, FibreTree, visit_order
from tests import oracles_modes as oracles

Array = NDArray[Any]
SHAPE, RANK = (17, 19, 23), 3


@pytest.fixture
def fine(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Small work is cut in blocks as large work is, BLAS has one thread; the list grows with every helping thread."""
    monkeypatch.setattr(threads, "GRAIN", 2**10)
    pool, helped = threads._pool, []

    def counted() -> ThreadPoolExecutor:
        helped.append(1)
        return pool()

    monkeypatch.setattr(threads, "_pool", counted)
    with threadpool_limits(1, user_api="blas"):
        yield helped


def same_bits(compute: Callable[[], Array], helped: list[int]) -> Array:
    """What `compute` gives, after it gave the same with 1, 2 and 3 threads."""
    alone = compute()
    assert not helped
    for n_threads in (2, 3):
        with threads.using(n_threads):
            np.testing.assert_array_equal(compute(), alone)
    assert helped
    helped.clear()
    return alone


# ---- how many threads


def test_contractions_without_a_context_use_as_many_threads_as_the_blas() -> None:
    with threadpool_limits(1, user_api="blas"):
        assert threads.current_or_blas() == 1
        with threads.using(3):
            assert threads.current_or_blas() == 3


def test_one_thread_without_a_context_and_nested_contexts() -> None:
    assert threads.current() == 1
    with threads.using(3):
        with threads.using(2):
            assert threads.current() == 2
        assert threads.current() == 3
    assert threads.current() == 1
    with pytest.raises(ValueError, match="n_threads is 0"), threads.using(0):
        pass


def test_a_context_is_of_its_own_thread() -> None:
    seen = []
    with threads.using(3):
        other = threading.Thread(target=lambda: seen.append(threads.current()))
        other.start()
        other.join()
    assert seen == [1]


# ---- blocks


@pytest.mark.parametrize("size", [1, 2, 7, 16, 1001])
def test_blocks_cover_all_places_once(size: int) -> None:
    for work in (0, threads.GRAIN, 2 * threads.GRAIN, 5.5 * threads.GRAIN, 1e6 * threads.GRAIN):
        found = threads.blocks(size, work)
        np.testing.assert_array_equal(np.concatenate([np.arange(size)[part] for part in found]), np.arange(size))
        assert len(found) == (1 if work < 2 * threads.GRAIN else min(int(work // threads.GRAIN), 16, size))


def test_blocks_have_a_least_size_and_a_largest_number() -> None:
    assert threads.blocks(100, 1e6 * threads.GRAIN, least=34) == [slice(0, 34), slice(34, 100)]
    assert len(threads.blocks(100, 1e6 * threads.GRAIN, most=5)) == 5
    assert threads.blocks(100, 1e6 * threads.GRAIN, most=0) == [slice(0, 100)]
    with threads.using(7):
        assert len(threads.blocks(100, 3 * threads.GRAIN)) == 3


def test_sums_are_added_neighbours_first() -> None:
    parts = [np.array([1e16]), np.array([1.0]), np.array([-1e16]), np.array([1.0]), np.array([3.0])]
    expected = ((parts[0] + parts[1]) + (parts[2] + parts[3])) + parts[4]
    first = parts[0]
    assert threads.tree_sum(parts) is first
    np.testing.assert_array_equal(first, expected)


# ---- tasks


@pytest.mark.parametrize("n_threads", [1, 2, 3, 20])
def test_results_come_in_the_order_of_the_tasks(n_threads: int) -> None:
    with threads.using(n_threads):
        assert threads.run_parallel([lambda n=n: n**2 for n in range(9)]) == [n**2 for n in range(9)]
        assert threads.run_parallel([]) == []


def test_tasks_run_at_the_same_time_and_share_the_threads() -> None:
    both = threading.Barrier(2, timeout=10)

    def meet() -> int:
        both.wait()
        return threads.current()

    with threads.using(6):
        assert threads.run_parallel([meet, meet]) == [3, 3]
        assert threads.current() == 6


def test_tasks_within_tasks_end() -> None:
    with threads.using(8):
        found = threads.run_parallel([lambda: threads.run_parallel([threads.current] * 40)] * 4)
    assert found == [[1] * 40] * 4


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_failed_task_ends_those_not_begun(n_threads: int) -> None:
    done = []

    def fail() -> None:
        raise ArithmeticError("of the task")

    with threads.using(n_threads), pytest.raises(ArithmeticError, match="of the task"):
        threads.run_parallel([fail, fail, *[lambda: done.append(1)] * 50])
    assert not done


def test_failure_in_a_helping_thread_is_raised() -> None:
    both = threading.Barrier(2, timeout=10)
    caller = threading.get_ident()

    def fail_elsewhere() -> None:
        both.wait()
        if threading.get_ident() != caller:
            raise ArithmeticError("of the helper")

    with threads.using(2), pytest.raises(ArithmeticError, match="of the helper"):
        threads.run_parallel([fail_elsewhere, fail_elsewhere])


# ---- kernels


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
@pytest.mark.parametrize("layout", ["C", "F", "cut out"])
def test_kernels_of_dense_tensors(dtype: type, layout: str, rng: np.random.Generator, fine: list[int]) -> None:
    tensor = oracles.draw(rng, SHAPE, dtype)
    tensor = np.asfortranarray(tensor) if layout == "F" else tensor
    tensor = oracles.layouts(tensor)["cut out"] if layout == "cut out" else tensor
    factors = [oracles.draw(rng, (size, RANK), dtype) for size in SHAPE]
    close = {"rtol": 1e-3, "atol": 1e-3} if dtype is np.float32 else {"rtol": 1e-10, "atol": 1e-10}
    for mode in range(3):
        found = same_bits(lambda mode=mode: mttkrp(tensor, factors, mode), fine)
        np.testing.assert_allclose(found, oracles.mttkrp_oracle(tensor, factors, mode), **close)
        found = same_bits(lambda mode=mode: mode_dot(tensor, factors[mode], mode, transpose=True), fine)
        np.testing.assert_allclose(
            found, np.moveaxis(np.tensordot(tensor, factors[mode], (mode, 0)), -1, mode), **close
        )
        matrix = oracles.unfolded(tensor, mode)
        np.testing.assert_allclose(
            same_bits(lambda mode=mode: gram(tensor, mode), fine), matrix @ matrix.conj().T, **close
        )
    same_bits(lambda: multi_mode_dot(tensor, factors, transpose=True), fine)
    found = same_bits(lambda: np.array(norm(tensor)), fine)
    assert found == pytest.approx(np.linalg.norm(tensor.ravel()), rel=1e-6)


@pytest.mark.parametrize("shape", [(17, 19, 23), (150, 2, 150), (3, 5, 10, 12, 11), (4, 1, 6, 40)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_sweeps(shape: tuple[int, ...], order: Any, rng: np.random.Generator, fine: list[int]) -> None:
    tensor = np.asarray(oracles.draw(rng, shape), order=order)
    start = [oracles.draw(rng, (size, RANK)) for size in shape]

    def sweep() -> Array:
        factors, products = list(start), []
        mttkrp_sweep(tensor, factors, lambda mode, product: products.append(product) or product / np.abs(product).max())
        for mode, product in enumerate(products):
            seen = [*factors[:mode], *start[mode:]]
            np.testing.assert_allclose(product, oracles.mttkrp_oracle(tensor, seen, mode), rtol=1e-9, atol=1e-9)
        return np.concatenate(products)

    same_bits(sweep, fine)


@pytest.mark.parametrize(("max_bytes", "kind"), [(0, EntryList), (2**20, FibreTree)])
def test_sparse_mttkrp(max_bytes: int, kind: type, rng: np.random.Generator, fine: list[int]) -> None:
    dense = np.where(rng.random(SHAPE) < 0.1, rng.standard_normal(SHAPE), 0)
    tensor = SparseTensor.from_coo(np.nonzero(dense), dense[np.nonzero(dense)], SHAPE)
    factors = [rng.standard_normal((size, RANK)) for size in SHAPE]
    for mode in range(3):
        tensor._orders[mode] = visit_order(tensor.coordinates, tensor.values, SHAPE, mode, max_bytes=max_bytes)
        assert isinstance(tensor._orders[mode], kind)
        found = same_bits(lambda mode=mode: mttkrp(tensor, factors, mode), fine)
        np.testing.assert_allclose(found, oracles.mttkrp_oracle(dense, factors, mode), rtol=1e-11, atol=1e-11)


def test_workspaces_are_small_for_each_thread(rng: np.random.Generator, fine: list[int]) -> None:
    tensor = oracles.draw(rng, (90, 80, 70))
    factors = [oracles.draw(rng, (size, 2)) for size in tensor.shape]

    def every_kernel(mode: int) -> None:
        mttkrp(tensor, factors, mode)
        mode_dot(tensor, factors[mode], mode, transpose=True)
        gram(tensor, mode)
        norm(tensor)

    for mode in range(3):
        every_kernel(mode)  # compiles
        peaks = []
        for n_threads in (1, 3):
            with threads.using(n_threads):
                tracemalloc.start()
                every_kernel(mode)
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
        assert peaks[0] < tensor.nbytes / 3
        assert peaks[1] < tensor.nbytes / 3 + 2 * 2**19
    assert fine


def test_small_work_is_left_in_one_piece(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_pool", lambda: pytest.fail("a thread was asked for"))
    tensor, factors = rng.standard_normal((5, 6, 7)), [rng.standard_normal((size, 2)) for size in (5, 6, 7)]
    with threads.using(2):
        mttkrp(tensor, factors, 0)
        mttkrp_sweep(tensor, list(factors), lambda mode, product: product)
        mode_dot(tensor, factors[1], 1, transpose=True)
        gram(tensor, 2)
        norm(tensor)
