"""Spark on lists: RDDs without a JVM, for tests of what jobs do with them.

Everything that would travel is pickled and read again; every task runs twice and must give the same; what a shuffle
brings arrives in no order.
"""

# ruff: noqa: N802 -- the names are Spark's

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cloudpickle


class ListContext:
    """Stands in for a SparkContext."""

    defaultParallelism = 2

    def __init__(self) -> None:
        self.n_tasks = self.n_sent = self.n_destroyed = self.persisted = 0

    def parallelize(self, items: Iterable[Any], n_slices: int) -> ListRDD:
        """Split `items` into slices as Spark does."""
        whole = list(items)
        cuts = [number * len(whole) // n_slices for number in range(n_slices + 1)]
        return ListRDD(self, lambda index: whole[cuts[index] : cuts[index + 1]], n_slices)

    def broadcast(self, value: Any) -> ListBroadcast:
        """A value that tasks read."""
        self.n_sent += 1
        return ListBroadcast(self, value)

    def runJob(
        self, rdd: ListRDD, function: Callable[[Iterator[Any]], Iterable[Any]], partitions: Iterable[int]
    ) -> list[Any]:
        """What the function makes of some partitions."""
        return [item for index in partitions for item in function(iter(rdd.items(index)))]

    def setJobGroup(self, *about: object, **more: object) -> None:
        """Nobody looks."""

    def statusTracker(self) -> ListContext:
        """Nothing to tell."""
        return self

    def getJobIdsForGroup(self, group: str) -> list[int]:
        """No jobs."""
        return []


class ListBroadcast:
    """A broadcast: as it is on the driver, pickled once for tasks."""

    def __init__(self, context: ListContext, value: Any) -> None:
        self._context = context
        self.value = value

    def __reduce__(self) -> Any:
        return _Received, (self.value,)

    def destroy(self) -> None:
        """It is gone."""
        self._context.n_destroyed += 1
        del self.value


class _Received:
    """A broadcast on an executor."""

    def __init__(self, value: Any) -> None:
        self.value = value


class ListRDD:
    """Stands in for an RDD: partitions are computed when they are asked for, and again each time unless persisted."""

    def __init__(self, context: ListContext, compute: Callable[[int], list[Any]], n_partitions: int) -> None:
        self.context = context
        self._compute, self._n_partitions = compute, n_partitions
        self._kept: dict[int, bytes] | None = None

    def items(self, index: int) -> list[Any]:
        """The elements of one partition, as they arrive elsewhere."""
        if self._kept is not None and index in self._kept:
            return list(cloudpickle.loads(self._kept[index]))
        packed = cloudpickle.dumps(self._compute(index))
        if self._kept is not None:
            self._kept[index] = packed
        return list(cloudpickle.loads(packed))

    def mapPartitionsWithIndex(
        self,
        function: Callable[[int, Iterator[Any]], Iterable[Any]],
        preservesPartitioning: bool = False,
    ) -> ListRDD:
        """A function of each partition's number and elements."""
        packed = cloudpickle.dumps(function)

        def compute(index: int) -> list[Any]:
            given = cloudpickle.dumps(self.items(index))
            once, again = (list(cloudpickle.loads(packed)(index, iter(cloudpickle.loads(given)))) for _ in range(2))
            assert cloudpickle.dumps(once) == cloudpickle.dumps(again)
            self.context.n_tasks += 1
            return once

        return ListRDD(self.context, compute, self._n_partitions)

    def mapPartitions(
        self,
        function: Callable[[Iterator[Any]], Iterable[Any]],
        preservesPartitioning: bool = False,
    ) -> ListRDD:
        """A function of each partition's elements."""
        return self.mapPartitionsWithIndex(lambda _, items: function(items))

    def map(self, function: Callable[[Any], Any], preservesPartitioning: bool = False) -> ListRDD:
        """A function of each element."""
        return self.mapPartitionsWithIndex(lambda _, items: map(function, items))

    def partitionBy(self, n_partitions: int, place: Callable[[Any], int]) -> ListRDD:
        """Pairs brought together by key; the files of a shuffle stay."""
        files: list[Any] = []

        def compute(index: int) -> list[Any]:
            if not files:
                files.extend(item for j in range(self._n_partitions) for item in self.items(j))
            found = [item for item in files if place(item[0]) == index]
            random.Random(index).shuffle(found)
            return found

        return ListRDD(self.context, compute, n_partitions)

    def zip(self, other: ListRDD) -> ListRDD:
        """Elements of both, one by one."""

        def compute(index: int) -> list[Any]:
            return list(zip(self.items(index), other.items(index), strict=True))

        return ListRDD(self.context, compute, self._n_partitions)

    def persist(self, level: object) -> ListRDD:
        """Keep what is computed."""
        self._kept = {} if self._kept is None else self._kept
        self.context.persisted += 1
        return self

    def unpersist(self) -> None:
        """Keep it no longer."""
        self._kept = None
        self.context.persisted -= 1

    def getNumPartitions(self) -> int:
        """How many."""
        return self._n_partitions

    def toLocalIterator(self, prefetchPartitions: bool = False) -> Iterator[Any]:
        """All elements, in order."""
        for index in range(self._n_partitions):
            yield from self.items(index)

    def collect(self) -> list[Any]:
        """All elements, in order."""
        return list(self.toLocalIterator())

    def count(self) -> int:
        """How many elements."""
        return len(self.collect())

    def treeReduce(self, function: Callable[[Any, Any], Any], depth: int = 2) -> Any:
        """All elements put together."""
        first, *others = self.collect()
        for other in others:
            first = function(first, other)
        return first
