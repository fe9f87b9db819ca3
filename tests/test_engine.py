"""The engine adds partials in one fixed tree, keeps state in bounds, and leaves nothing behind."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from tdtool.data.corpus import Corpus, Partials, Rows, State
from tdtool.data.steps import needs_of, step
from tdtool.engine import LocalEngine, PartialTree
from tests import oracles

ENOUGH = 1 << 30


def corpus_of(n_partitions: int, each: int = 3) -> Corpus:
    """`each` documents in every partition, of one word."""
    counts = np.arange(1, n_partitions * each + 1)[:, None]
    corpus = Corpus.from_csr(sp.csr_array(counts))
    return dataclasses.replace(corpus, starts=np.arange(0, n_partitions * each + 1, each))


def uneven(index: int) -> NDArray[np.float32]:
    """Numbers of many sizes, whose single-precision sum depends on the order."""
    rng = np.random.default_rng(index)
    return (rng.standard_normal(50) * 10.0 ** rng.integers(-6, 7, 50)).astype(np.float32)


def uneven_step(rows: Rows, state: State, delays: dict[int, float]) -> tuple[Partials, State]:
    time.sleep(delays.get(rows.index, 0.0))
    return (uneven(rows.index), np.array([rows.n_documents])), {}


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders go for this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


# ---- sums


@pytest.mark.parametrize("n_partitions", [1, 2, 3, 5, 8, 11])
def test_sums_are_the_same_bits_for_any_workers_and_order_of_finishing(n_partitions: int) -> None:
    expected = oracles.tree_sum([uneven(i) for i in range(n_partitions)])
    slow_first = {i: 0.02 / (i + 1) for i in range(n_partitions)}
    for workers, delays in [(1, {}), (2, {}), (3, {}), (3, slow_first), (3, {n_partitions // 2: 0.03})]:
        with LocalEngine(corpus_of(n_partitions), workers=workers, memory=ENOUGH) as engine:
            total, documents = engine.map_reduce(uneven_step, delays)
        assert np.array_equal(total, expected)
        assert documents == 3 * n_partitions


def test_the_order_of_a_sum_shows_in_its_bits() -> None:
    """Or else the test above could not fail."""
    values = [uneven(i) for i in range(11)]
    assert not np.array_equal(sum(values), oracles.tree_sum(values))
    assert not np.array_equal(oracles.tree_sum(values[::-1]), oracles.tree_sum(values))


@given(st.integers(1, 20).flatmap(lambda n: st.permutations(range(n))))
def test_the_tree_does_not_depend_on_who_comes_first(order: list[int]) -> None:
    tree = PartialTree(len(order))
    for index in order:
        tree.add(index, (uneven(index),))
    (total,) = tree.root()
    assert np.array_equal(total, oracles.tree_sum([uneven(i) for i in range(len(order))]))


@step(reads=("kept",))
def give_back_step(rows: Rows, state: State, parameter: NDArray[np.float64]) -> tuple[Partials, State]:
    return (state["kept"], parameter), {}


@step(keeps=("kept",))
def keep_step(rows: Rows, state: State, size: int = 4) -> tuple[Partials, State]:
    return (), {"kept": np.full((rows.n_documents, size), float(rows.index))}


def test_sums_leave_state_and_parameters_as_they_were() -> None:
    parameter = np.ones(2)
    with LocalEngine(corpus_of(4), workers=1, memory=ENOUGH) as engine:
        engine.map_reduce(keep_step)
        for _ in range(2):
            kept, parameters = engine.map_reduce(give_back_step, parameter)
            assert (kept[0, 0], parameters.tolist()) == (0 + 1 + 2 + 3, [4.0, 4.0])
        assert parameter.tolist() == [1.0, 1.0]


# ---- maps


def index_step(rows: Rows, state: State) -> tuple[Partials, State]:
    time.sleep(0.005 * (rows.index % 3))
    return (np.array([rows.index, rows.start]),), {}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_map_yields_partitions_in_order(workers: int) -> None:
    with LocalEngine(corpus_of(7), workers=workers, memory=ENOUGH) as engine:
        found = [(index, values.tolist()) for index, (values,) in engine.map(index_step)]
    assert found == [(i, [i, 3 * i]) for i in range(7)]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_map_computes_only_a_few_ahead(workers: int) -> None:
    """What is waiting to be taken stays small, however many partitions there are."""
    done: list[int] = []

    def slow_step(rows: Rows, state: State) -> tuple[Partials, State]:
        done.append(rows.index)
        return (), {}

    with LocalEngine(corpus_of(30), workers=workers, memory=ENOUGH) as engine:
        results = engine.map(slow_step)
        for _ in range(5):
            next(results)
        time.sleep(0.05)
        assert len(done) <= 5 + workers + 1
        results.close()
        assert len(done) < 30


def test_workers_are_threads_and_no_more_than_partitions() -> None:
    names: set[int] = set()
    together = threading.Barrier(3, timeout=60)

    def slow_step(rows: Rows, state: State) -> tuple[Partials, State]:
        names.add(threading.get_ident())
        together.wait()
        return (), {}

    with LocalEngine(corpus_of(9), workers=3, memory=ENOUGH) as engine:
        engine.map_reduce(slow_step)
        assert len(names) == 3
    assert LocalEngine(corpus_of(2), workers=8, memory=ENOUGH).workers == 2
    assert LocalEngine(corpus_of(2), workers=0, memory=ENOUGH).workers == 1


class BrokenError(Exception):
    """What a step raises here."""


@step(keeps=("kept",))
def broken_step(rows: Rows, state: State, where: int) -> tuple[Partials, State]:
    if rows.index == where:
        raise BrokenError(f"in {where}")
    return (np.ones(1),), {"kept": np.ones(1000)}


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("where", [0, 4, 8])
def test_what_a_step_raises_comes_out(workers: int, where: int) -> None:
    with LocalEngine(corpus_of(9), workers=workers, memory=ENOUGH) as engine:
        with pytest.raises(BrokenError, match=f"in {where}"):
            engine.map_reduce(broken_step, where)
        threads = threading.active_count()
        (total,) = engine.map_reduce(broken_step, -1)
        assert (total, threading.active_count()) == (9, threads)  # it works on, and no thread is left over


def test_steps_run_with_one_thread_of_linear_algebra() -> None:
    with LocalEngine(corpus_of(1), workers=1, memory=ENOUGH):
        assert {library["num_threads"] for library in threadpool_info()} == {1}


# ---- what steps keep


@step(reads=("total",), keeps=("total", "amount"))
def add_step(rows: Rows, state: State, amount: float) -> tuple[Partials, State]:
    """Adds to what is kept, in place."""
    total = state.get("total")
    if total is None:
        total = np.zeros((rows.n_documents, 2), np.float32)
    total += np.float32(amount) * (1 + rows.index)
    return (total.sum(axis=0).copy(),), {"total": total, "amount": np.full(rows.n_documents, amount)}


def seen_step(rows: Rows, state: State) -> tuple[Partials, State]:
    return (np.array([len(state)]),), {}


def undeclared_step(rows: Rows, state: State) -> tuple[Partials, State]:
    return (), {"kept": np.zeros(rows.n_documents)}


def test_a_step_sees_and_keeps_what_it_has_declared() -> None:
    with LocalEngine(corpus_of(2), workers=1, memory=ENOUGH) as engine:
        engine.map_reduce(keep_step)
        assert engine.map_reduce(seen_step)[0] == 0
        assert engine.map_reduce(step(reads=("kept", "never kept"))(seen_step))[0] == 2  # one in each partition
        with pytest.raises(ValueError, match="kept"):
            engine.map_reduce(undeclared_step)
    assert needs_of(keep_step).keeps == ("kept",)


@pytest.mark.parametrize("memory", [ENOUGH, 0, 100])
@pytest.mark.parametrize("workers", [1, 2])
def test_state_is_kept_between_steps_in_memory_or_on_disk(scratch: Path, memory: int, workers: int) -> None:
    with LocalEngine(corpus_of(5), workers=workers, memory=memory) as engine:
        engine.map_reduce(add_step, 0.1)
        (total,) = engine.map_reduce(add_step, 0.7)
        kept = [array.copy() for _, array in engine.states("total")]
        assert [rows.start for rows, _ in engine.states("amount")] == [0, 3, 6, 9, 12]
        assert all(np.all(array == 0.7) for _, array in engine.states("amount"))
        folders = list(scratch.glob("tdtool-*"))
        assert len(folders) == (memory != ENOUGH)
        assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in folders)
    expected = [np.full((3, 2), np.float32(np.float32(0.1) * i) + np.float32(0.7) * np.float32(i)) for i in range(1, 6)]
    np.testing.assert_allclose(kept, expected, rtol=1e-6)
    np.testing.assert_allclose(total, np.full(2, 3 * 0.8 * 15), rtol=1e-6)
    assert list(scratch.iterdir()) == []


@step(reads=("noise",), keeps=("noise",))
def noisy_step(rows: Rows, state: State) -> tuple[Partials, State]:
    before = state.get("noise", np.zeros(50, np.float32))
    return (before + uneven(rows.index),), {"noise": before + uneven(rows.index + 100)}


def test_state_on_disk_gives_the_same_bits(scratch: Path) -> None:
    results = []
    for memory, workers in [(ENOUGH, 1), (0, 1), (0, 3), (500, 2)]:
        with LocalEngine(corpus_of(6), workers=workers, memory=memory) as engine:
            engine.map_reduce(noisy_step)
            results.append(engine.map_reduce(noisy_step)[0])
    assert all(np.array_equal(result, results[0]) for result in results[1:])


def kept_kinds(engine: LocalEngine, name: str) -> list[bool]:
    """Which of the kept arrays are on disk."""
    return [isinstance(array, np.memmap) for _, array in engine.states(name)]


def test_memory_is_filled_up_first_and_given_back_when_dropped(scratch: Path) -> None:
    size = 3 * 4 * 8
    with LocalEngine(corpus_of(4), workers=1, memory=2 * size + 10) as engine:
        engine.map_reduce(keep_step)
        assert kept_kinds(engine, "kept") == [False, False, True, True]
        assert [array[0, 0] for _, array in engine.states("kept")] == [0, 1, 2, 3]
        engine.drop("kept", "never kept")
        with pytest.raises(KeyError):
            list(engine.states("kept"))
        engine.map_reduce(keep_step)
        assert kept_kinds(engine, "kept") == [False, False, True, True]


def test_an_array_of_another_shape_gives_the_memory_of_the_old_one_back(scratch: Path) -> None:
    size = 3 * 4 * 8
    with LocalEngine(corpus_of(2), workers=1, memory=2 * size) as engine:
        for columns in (4, 3, 2, 4):
            engine.map_reduce(keep_step, columns)
            assert kept_kinds(engine, "kept") == [False, False]
            assert [array.shape for _, array in engine.states("kept")] == [(3, columns)] * 2


def test_spilling_is_mentioned_once(scratch: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tdtool"), LocalEngine(corpus_of(5), workers=2, memory=0) as engine:
        engine.map_reduce(add_step, 1.0)
    (said,) = [record.getMessage() for record in caplog.records if "memory" in record.getMessage()]
    assert str(scratch) in said


@pytest.mark.parametrize("workers", [1, 2])
def test_the_scratch_folder_goes_when_a_step_raises(scratch: Path, workers: int) -> None:
    def run() -> None:
        with LocalEngine(corpus_of(5), workers=workers, memory=0) as engine:
            engine.map_reduce(broken_step, -1)
            assert len(list(scratch.glob("tdtool-*"))) == 1
            engine.map_reduce(broken_step, 4)

    with pytest.raises(BrokenError):
        run()
    assert list(scratch.iterdir()) == []
