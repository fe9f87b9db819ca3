"""What the tasks of a Spark job compute, without Spark: sums are subtrees of the engine's tree, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.data.corpus import Partials, Rows, State
from tdtool.data.steps import step
from tdtool.engine import PartialTree
from tdtool.jobs.broadcasts import Parameters, size_of
from tdtool.jobs.engine import Task, _without_rows, add_groups
from tdtool.jobs.groups import group_count, group_size, members
from tdtool.jobs.kept_state import StateFolder, Version
from tdtool.moments.triples import ThirdMoment
from tests import oracles


def uneven(index: int) -> NDArray[np.float32]:
    """Numbers of many sizes, whose single-precision sum depends on the order."""
    rng = np.random.default_rng(index)
    return (rng.standard_normal(30) * 10.0 ** rng.integers(-6, 7, 30)).astype(np.float32)


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this "executor" keeps what steps leave."""
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path))
    return tmp_path


def uneven_step(rows: Rows, state: State) -> tuple[Partials, State]:
    return (uneven(rows.index),), {}


@step(reads=("total",), keeps=("total",))
def adding_step(rows: Rows, state: State, amount: float) -> tuple[Partials, State]:
    """Adds to what is kept, in place where it can."""
    total = state.get("total", np.zeros(3, np.float32))
    total += np.float32(amount) * uneven(rows.index)[:3]
    return (total.copy(),), {"total": total}


@step(reads=("total",), rows=False)
def reading_step(rows: Rows, state: State) -> tuple[Partials, State]:
    return (state["total"].copy(),), {}


def undeclared_step(rows: Rows, state: State) -> tuple[Partials, State]:
    return (), {"kept": np.zeros(1)}


def version(number: int, amount: float, before: Version | None) -> Version:
    return Version(number, adding_step, Parameters((amount,), (False,)), {} if before is None else {"total": before})


def task_of(
    function: Callable[..., tuple[Partials, State]],
    *given: object,
    reads: Version | None = None,
    keep_as: Version | None = None,
    group: int = 1,
    n_partitions: int = 1,
) -> Task:
    parameters = Parameters(given, (False,) * len(given))
    live = frozenset(kept.number for kept in (reads, keep_as) if kept is not None)
    sources = {} if reads is None else {"total": reads}
    return Task("run", function, parameters, sources, keep_as, live, group, n_partitions)


def elements(indices: range) -> list[tuple[int, Rows]]:
    return list(_without_rows(np.arange(100), indices))


@given(n_partitions=st.integers(1, 40), slots=st.integers(1, 4), span=st.sampled_from([1, 2, 4]))
def test_groups_and_subtrees_add_up_to_the_tree_of_all(n_partitions: int, slots: int, span: int) -> None:
    size = group_size(n_partitions, 1 << 30, slots)
    count = group_count(n_partitions, size)
    task = task_of(uneven_step, group=size, n_partitions=n_partitions)
    sums = [total for group in range(count) for total in task.sums(elements(members(group, size, n_partitions)))]
    assert [index for index, _ in sums] == list(range(count))
    parents = [
        parent
        for first in range(group_count(count, span))
        for parent in add_groups(span, count, [sums[i] for i in reversed(members(first, span, count))])
    ]
    tree = PartialTree(len(parents))
    for index, partials in reversed(parents):
        tree.add(index, partials)
    assert np.array_equal(tree.root()[0], oracles.tree_sum([uneven(i) for i in range(n_partitions)]))


def test_one_task_may_have_several_groups() -> None:
    task = task_of(uneven_step, group=2, n_partitions=5)
    assert [group for group, _ in task.sums(elements(range(2, 5)))] == [1, 2]


def test_a_step_may_not_keep_what_it_has_not_declared() -> None:
    with pytest.raises(ValueError, match="kept"):
        list(task_of(undeclared_step).sums(elements(range(1))))


def passes(amounts: list[float]) -> list[Version]:
    """Run one adding step after the other on two partitions; returns their versions."""
    versions: list[Version] = []
    for number, amount in enumerate(amounts, 1):
        before = versions[-1] if versions else None
        versions.append(version(number, amount, before))
        task = task_of(adding_step, amount, reads=before, keep_as=versions[-1], n_partitions=2)
        list(task.sums(elements(range(2))))
    return versions


def kept_versions(disk: Path, index: int) -> list[str]:
    return sorted(path.name for path in (disk / "tdtool-run" / str(index)).iterdir())


def test_state_is_found_by_the_next_step_and_old_state_goes(disk: Path) -> None:
    versions = passes([0.1, 0.7, 0.3])
    ((_, (total,)),) = task_of(reading_step, reads=versions[-1], n_partitions=2).sums(elements(range(1, 2)))
    expected = np.zeros(3, np.float32)
    for amount in (0.1, 0.7, 0.3):
        expected += np.float32(amount) * uneven(1)[:3]
    assert np.array_equal(total, expected)
    assert kept_versions(disk, 1) == ["2", "3"]  # the one before is there for a second attempt


def test_a_second_attempt_starts_from_what_the_first_one_read(disk: Path) -> None:
    """Steps change arrays in place, and a task may run twice: what it read must be as it was."""
    versions = passes([0.1, 0.7])
    task = task_of(adding_step, 0.7, reads=versions[0], keep_as=versions[1], n_partitions=2)
    first, second = (next(task.sums(elements(range(1))))[1] for _ in range(2))
    assert first is not None
    assert second is not None
    assert np.array_equal(first[0], second[0])
    assert not list(disk.glob("tdtool-run/0/part-*"))


@pytest.mark.parametrize("lost", [["3"], ["2", "3"]])
def test_lost_state_is_made_again_to_the_bit(disk: Path, lost: list[str]) -> None:
    versions = passes([0.1, 0.7, 0.3])
    reading = task_of(reading_step, reads=versions[-1], n_partitions=2)
    ((_, before),) = reading.sums(elements(range(1)))
    for number in lost:
        (disk / "tdtool-run" / "0" / number).rename(disk / f"lost-{number}")
    ((group, nothing),) = reading.sums_without_rows(elements(range(1)))
    assert (group, nothing) == (0, None)  # without documents it cannot
    ((_, after),) = reading.sums(elements(range(1)))
    assert before is not None
    assert after is not None
    assert np.array_equal(before[0], after[0])
    ((_, again),) = reading.sums_without_rows(elements(range(1)))
    assert again is not None  # it is there now


def test_a_group_without_documents_is_the_sum_of_its_states() -> None:
    versions = passes([0.1, 0.7])
    ((_, found),) = task_of(reading_step, reads=versions[-1], group=2, n_partitions=2).sums_without_rows(
        elements(range(2))
    )
    ((_, expected),) = task_of(reading_step, reads=versions[-1], group=2, n_partitions=2).sums(elements(range(2)))
    assert found is not None
    assert expected is not None
    assert np.array_equal(found[0], expected[0])


def test_files_of_another_attempt_are_left_as_they_are(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.save(3, 1, {"a": np.ones(2)})
    folder.save(3, 1, {"a": np.zeros(2)})
    state = folder.load(3, 1)
    assert state is not None
    state["a"] += 1  # a private copy
    again = folder.load(3, 1)
    assert again is not None
    assert again["a"].tolist() == [1.0, 1.0]
    assert folder.load(3, 2) is None
    assert folder.load(4, 1) is None


def test_empty_arrays_are_kept(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.save(0, 1, {"a": np.zeros((0, 5), np.float32)})
    state = folder.load(0, 1)
    assert state is not None
    assert state["a"].shape == (0, 5)


def test_sizes_of_parameters_are_those_of_their_arrays() -> None:
    block = np.zeros((3, 5), np.float32)
    moment = ThirdMoment(block, block, np.zeros(3, np.float32), np.zeros(5), 1.0, 7, 0.1, 2)
    assert [size_of(value) for value in (block, moment, 3, "text", None)] == [60, 60 + 60 + 12 + 40, 0, 0, 0]
