"""How canonical partitions are shared out among Spark's: in aligned groups, so that sums stay subtrees of one tree."""

from __future__ import annotations

#: Tasks for each core at most: enough for cores of unequal speed, few enough that starting them costs little.
_TASKS_A_SLOT = 4
#: Entries of a task, where there are tasks for all cores: with fewer it costs more to start than it takes.
_LEAST_ENTRIES = 1 << 20


def group_size(n_partitions: int, n_entries: int, slots: int) -> int:
    """Canonical partitions of one task, a power of two. slots : tasks that run at the same time.

    Group j holds partitions j * size ... : its sum is a node of the binary tree over all of them (engine.PartialTree),
    whatever the size, so that the number of cores does not show in a result.
    """
    slots, size = max(slots, 1), 1
    most = min(max(n_entries // _LEAST_ENTRIES, slots), _TASKS_A_SLOT * slots)
    while group_count(n_partitions, size) > most:
        size *= 2
    return size


def group_count(n_partitions: int, size: int) -> int:
    """Groups of `size` partitions, the last one perhaps smaller."""
    return -(-n_partitions // size)


def members(group: int, size: int, n_partitions: int) -> range:
    """The partitions of one group."""
    return range(group * size, min((group + 1) * size, n_partitions))
