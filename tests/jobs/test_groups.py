"""Groups of partitions are aligned, cover everything once, and are enough for the cores."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tdtool.jobs.groups import group_count, group_size, members


@given(st.integers(1, 300), st.integers(0, 1 << 30), st.integers(1, 70))
def test_groups_share_out_all_partitions_in_order(n_partitions: int, n_entries: int, slots: int) -> None:
    size = group_size(n_partitions, n_entries, slots)
    count = group_count(n_partitions, size)
    groups = [list(members(group, size, n_partitions)) for group in range(count)]
    assert [index for group in groups for index in group] == list(range(n_partitions))
    assert all(group and group[0] % size == 0 for group in groups)
    assert size & (size - 1) == 0
    assert count <= 4 * slots
    assert size == 1 or group_count(n_partitions, size // 2) > slots  # half the size leaves no core without work


def test_tasks_are_as_many_as_pay() -> None:
    small, large = 1 << 18, 1 << 28
    assert [group_size(n, large, 2) for n in (1, 8, 9, 16, 17, 64)] == [1, 1, 2, 2, 4, 8]
    assert [group_size(n, small, 2) for n in (1, 2, 3, 8, 9)] == [1, 1, 2, 4, 8]
    assert group_size(20, 5 << 20, 2) == 4
