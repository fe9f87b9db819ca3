"""Maps a step over the partitions of a corpus, on the executors of a Spark cluster.

The same steps as on threads, with the same bits: partials of a task's partitions are added in the subtree of the fixed
tree that they are, and the tree is finished with the subtrees by number, not in order of arrival. What steps keep lies
on the disk of the executor that made it, memory-mapped; tasks go where theirs is. What is lost with an executor is made
again by running the steps that made it: a task carries their chain, as an RDD does its lineage.
"""

from __future__ import annotations

import dataclasses
import functools
import uuid
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
import scipy.linalg  # noqa: F401 -- its BLAS is another library than numpy's, and must be loaded to be limited
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from tdtool.data.corpus import Partials, Rows
from tdtool.data.steps import Needs, needs_of
from tdtool.engine import PartialTree, Step
from tdtool.jobs.broadcasts import Broadcasts, Parameters, size_of
from tdtool.jobs.corpus import SparkCorpus, in_waves, persisted
from tdtool.jobs.groups import group_count, members
from tdtool.jobs.kept_state import StateFolder, Version, read_state, run_step
from tdtool.jobs.progress import carried, run_job

#: Partial sums that all tasks together may send to the driver; larger ones are added up on the executors first.
_MOST_COLLECTED = 1 << 27
#: Sums that then come from the executors.
_FEW = 2

#: (number of the group, its sum), or None in place of the sum where state was lost that a task cannot make again.
Total = tuple[int, Partials | None]


class SparkEngine:
    """Executors that hold the documents and what steps keep of them; the driver holds sums."""

    def __init__(self, corpus: SparkCorpus, *, workers: int) -> None:
        self.corpus, self.workers = corpus, workers
        self._context = corpus.context
        self._run = uuid.uuid4().hex
        self._kept: dict[str, Version] = {}
        self._steps = 0
        self._broadcasts = Broadcasts(self._context)
        self._blas: Any = None

    def __enter__(self) -> Self:
        self._blas = ThreadpoolController().limit(limits=1)  # the same bits for the k x k work as with one thread
        self._blas.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._blas.__exit__(kind, error, trace)
        if kind is None:  # after an error the context goes, and all that it holds
            self._broadcasts.close()

    def map_reduce(self, step: Step, *parameters: Any, about: str = "") -> Partials:
        """Run the step on every partition; return the sum of its partials, and keep the state it returns."""
        needs = needs_of(step)
        task = self._task(step, parameters, needs)
        about = about or step.__name__
        count = group_count(self.corpus.n_partitions, self.corpus.group)
        if _sum_bytes(needs, parameters) * count > _MOST_COLLECTED:
            found = self._collected_in_stages(task, count, about)
        else:
            found = self._collected(task, needs, count, about)
        self._keep(task, needs)
        self._broadcasts.forget()
        return found

    def map(self, step: Step, *parameters: Any, about: str = "") -> Iterator[tuple[int, Partials]]:
        """(partition, partials) in the order of the partitions; keeps the state the step returns.

        All are computed first, so that every core has work; the driver holds those of one task at a time.
        """
        needs = needs_of(step)
        task = self._task(step, parameters, needs)
        results = persisted(self.corpus.rows.mapPartitions(carried(task.each), True))
        try:
            run_job(self._context, about or step.__name__, results.count)
            self._keep(task, needs)
            yield from in_waves(results, about or step.__name__, 1)
        finally:
            results.unpersist()

    def drop(self, *names: str) -> None:
        """Forget arrays that steps kept; their files go when the next step keeps something, or with the executors."""
        for name in names:
            self._kept.pop(name, None)

    def _task(self, step: Step, parameters: tuple[Any, ...], needs: Needs) -> Task:
        self._steps += 1
        given = self._broadcasts.send(parameters, lasting=bool(needs.keeps))
        reads = {name: self._kept[name] for name in needs.reads if name in self._kept}
        version = Version(self._steps, step, given, reads) if needs.keeps else None
        live = {kept.number for kept in self._kept.values()} | {self._steps}
        return Task(
            self._run, step, given, reads, version, frozenset(live), self.corpus.group, self.corpus.n_partitions
        )

    def _keep(self, task: Task, needs: Needs) -> None:
        if task.version is not None:
            self._kept |= dict.fromkeys(needs.keeps, task.version)

    def _collected(self, task: Task, needs: Needs, count: int, about: str) -> Partials:
        """The sum of all groups, which send theirs to the driver."""
        if needs.rows:
            totals = self.corpus.rows.mapPartitions(carried(task.sums))
        else:
            places = functools.partial(_without_rows, self.corpus.starts)
            totals = self.corpus.anchors.mapPartitions(places).mapPartitions(carried(task.sums_without_rows))
        found: list[Total] = run_job(self._context, about, totals.collect)
        lost = [group for group, partials in found if partials is None]
        if lost:
            again = carried(task.sums)
            found += run_job(self._context, about, lambda: self._context.runJob(self.corpus.rows, again, lost))
        tree = PartialTree(count)
        for group, partials in found:
            if partials is not None:
                tree.add(group, partials)
        return tree.root()

    def _collected_in_stages(self, task: Task, count: int, about: str) -> Partials:
        """The sum of all groups; executors exchange theirs, and add them up until there are few."""
        span = 1
        while group_count(count, span) > _FEW:
            span *= 2
        outputs = group_count(count, span)
        totals = self.corpus.rows.mapPartitions(carried(task.sums))
        together = totals.partitionBy(outputs, functools.partial(_parent, span))
        sums = together.mapPartitions(carried(functools.partial(add_groups, span, count)))
        tree = PartialTree(outputs)
        for parent, partials in run_job(self._context, about, sums.collect):
            tree.add(parent, partials)
        return tree.root()


@dataclasses.dataclass(frozen=True)
class Task:
    """A step on its way to the executors.

    reads, version : the state it takes, and what it keeps (None: nothing); live : numbers of versions that are still
    read; group : partitions of one task; n_partitions : of the corpus.
    """

    run: str
    step: Step
    given: Parameters
    reads: dict[str, Version]
    version: Version | None
    live: frozenset[int]
    group: int
    n_partitions: int

    def sums(self, elements: Iterable[tuple[int, Rows]]) -> Iterator[Total]:
        """(group, its sum) of the groups that the elements make up, in ascending order."""
        tree, left = PartialTree(0), 0
        for index, rows in elements:
            if not left:
                left = len(members(index // self.group, self.group, self.n_partitions))
                tree = PartialTree(left)
            tree.add(index % self.group, self._partials(rows))
            left -= 1
            if not left:
                yield index // self.group, tree.root()

    def sums_without_rows(self, elements: Iterable[tuple[int, Rows]]) -> Iterator[Total]:
        """The same from state alone, which cannot be made again without the documents. The elements of one group."""
        folder, group = StateFolder.of_run(self.run), list(elements)
        states = [read_state(self.reads, rows, folder, again=False) for _, rows in group]
        number = group[0][0] // self.group
        if any(state is None for state in states):
            yield number, None
            return
        tree = PartialTree(len(group))
        for (index, rows), state in zip(group, states, strict=True):
            tree.add(index % self.group, run_step(self.step, self.given, rows, state or {}, folder, keep_as=None)[0])
        yield number, tree.root()

    def each(self, elements: Iterable[tuple[int, Rows]]) -> Iterator[tuple[int, Partials]]:
        """(partition, partials)."""
        for index, rows in elements:
            yield index, self._partials(rows)

    def _partials(self, rows: Rows) -> Partials:
        folder = StateFolder.of_run(self.run)
        state = read_state(self.reads, rows, folder, again=True) or {}
        number = None if self.version is None else self.version.number
        partials, _ = run_step(self.step, self.given, rows, state, folder, keep_as=number)
        if number is not None:
            folder.forget(rows.index, self.live)
        return partials


def add_groups(span: int, count: int, totals: Iterable[tuple[int, Partials]]) -> Iterator[tuple[int, Partials]]:
    """(parent, sum) of `span` groups, of `count` groups in all, in whatever order they come."""
    tree, parent = PartialTree(0), -1
    for group, partials in totals:
        if parent < 0:
            parent = group // span
            tree = PartialTree(len(members(parent, span, count)))
        tree.add(group % span, partials)
    if parent >= 0:
        yield parent, tree.root()


def _parent(span: int, group: int) -> int:
    return group // span


def _without_rows(starts: NDArray[np.int64], indices: Iterable[int]) -> Iterator[tuple[int, Rows]]:
    nothing = np.empty(0, np.int32)
    for index in indices:
        yield index, Rows(index, int(starts[index]), np.zeros(1, np.int64), nothing, nothing)


def _sum_bytes(needs: Needs, parameters: tuple[Any, ...]) -> int:
    """Bytes of one partial sum: where a step does not say, it is about as large as the largest array it is given."""
    if needs.sum_bytes is not None:
        return needs.sum_bytes(*parameters)
    return max((size_of(value) for value in parameters if isinstance(value, np.ndarray)), default=0)
