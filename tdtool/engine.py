"""Maps a step over the partitions of a corpus, on threads of this process.

A step is `step(rows, state, *parameters) -> (partials, new_state)`: a pure function of one partition (rows), what
earlier steps left for that partition (state, a dict of arrays with one row per document) and a few small arrays. What
it takes from the state and leaves there is declared with it (data/steps.py).
partials is a tuple of arrays that are summed over the partitions in one fixed binary tree over the partition index:
the sum does not depend on the number of workers or on which partition finishes first.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import scipy.linalg  # noqa: F401 -- its BLAS is another library than numpy's, and must be loaded to be limited
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from tdtool import log
from tdtool.data.corpus import Corpus, CorpusFacts, Partials, Rows, State
from tdtool.data.steps import Needs, needs_of

Step = Callable[..., tuple[Partials, State]]


class Engine(Protocol):
    """What a run needs of whatever reaches the data. workers : threads of this process.

    The same bits come back from every engine: the data alone decides how sums are added up.
    """

    workers: int

    @property
    def corpus(self) -> CorpusFacts:
        """What is known of the documents without reading them."""

    def map_reduce(self, step: Step, *parameters: Any, about: str = "") -> Partials:
        """Run the step on every partition; return the sum of its partials, and keep the state it returns."""

    def map(self, step: Step, *parameters: Any, about: str = "") -> Iterator[tuple[int, Partials]]:
        """(partition, partials) in the order of the partitions; keeps the state steps return."""

    def drop(self, *names: str) -> None:
        """Forget arrays that steps kept."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LocalEngine:
    """Threads over memory-mapped partitions; per-document state beyond `memory` bytes goes to scratch files."""

    def __init__(self, corpus: Corpus, *, workers: int, memory: int) -> None:
        self.corpus, self.workers = corpus, max(1, min(workers, corpus.n_partitions))
        self._memory_left = memory
        self._state: list[State] = [{} for _ in range(corpus.n_partitions)]
        self._cleanup = contextlib.ExitStack()
        self._scratch: Path | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> LocalEngine:
        # One BLAS thread everywhere: steps run side by side, and the k x k work gives the same bits for any workers.
        self._cleanup.enter_context(ThreadpoolController().limit(limits=1))
        return self

    def __exit__(self, *exception: object) -> None:
        self._state.clear()
        self._cleanup.close()

    def map_reduce(self, step: Step, *parameters: Any, about: str = "") -> Partials:
        """Run the step on every partition; return the sum of its partials, and keep the state it returns."""
        total = PartialTree(self.corpus.n_partitions)
        for index, partials in self.map(step, *parameters, about=about):
            total.add(index, partials)
        return total.root()

    def states(self, name: str) -> Iterator[tuple[Rows, NDArray[Any]]]:
        """Each partition with one of its kept arrays, in order."""
        for index, state in enumerate(self._state):
            yield self.corpus.rows(index), state[name]

    def keep_rows(self, name: str, start: int, array: NDArray[Any]) -> None:
        """Keep an array with a row per document, of those from `start` on: parts of partitions, or several."""
        for index, part in self._overlaps(start, start + array.shape[0]):
            first, last = self.corpus.starts[index : index + 2]
            rows = array[max(first - start, 0) : last - start]
            if rows.shape[0] < last - first:
                old = self._state[index].get(name)
                if old is None or old.shape[1:] != rows.shape[1:] or old.dtype != rows.dtype:
                    self._keep(index, name, np.zeros((last - first, *rows.shape[1:]), rows.dtype))
                self._state[index][name][part] = rows
            else:
                self._keep(index, name, rows)

    def kept_rows(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """The rows of a kept array for documents start ... stop - 1, which a step has kept (see `keeps`)."""
        found = [self._state[index][name][part] for index, part in self._overlaps(start, stop)]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def keeps(self, name: str, start: int, stop: int) -> bool:
        """Whether there is a kept array for documents start ... stop - 1."""
        return all(name in self._state[index] for index, _ in self._overlaps(start, stop))

    def _overlaps(self, start: int, stop: int) -> Iterator[tuple[int, slice]]:
        """(partition, which of its documents) of documents start ... stop - 1."""
        starts = self.corpus.starts
        index = int(np.searchsorted(starts, start, side="right")) - 1
        while start < stop:
            first, last = int(starts[index]), int(starts[index + 1])
            yield index, slice(start - first, min(stop, last) - first)
            start, index = last, index + 1

    def drop(self, *names: str) -> None:
        """Forget arrays that steps kept."""
        for index in range(len(self._state)):
            for name in names:
                self._drop(index, name)

    def _drop(self, index: int, name: str) -> None:
        array = self._state[index].pop(name, None)
        if array is not None and not isinstance(array, np.memmap):
            with self._lock:
                self._memory_left += array.nbytes

    def map(self, step: Step, *parameters: Any, about: str = "") -> Iterator[tuple[int, Partials]]:
        """(partition, partials) in the order of the partitions, a few computed ahead; keeps the state steps return."""

        needs = needs_of(step)

        def work(index: int) -> Partials:
            given = {name: self._state[index][name] for name in needs.reads if name in self._state[index]}
            partials, state = step(self.corpus.rows(index), given, *parameters)
            check_kept(state, needs, step)
            for name, array in state.items():
                self._keep(index, name, array)
            return partials

        count = self.corpus.n_partitions
        with log.task(about or step.__name__, total=count) as bar:
            if self.workers == 1:
                for index in range(count):
                    yield index, work(index)
                    bar.advance()
                return
            pool = ThreadPoolExecutor(self.workers)
            try:
                ahead = self.workers + 1
                futures = {index: pool.submit(work, index) for index in range(min(ahead, count))}
                for index in range(count):
                    yield index, futures.pop(index).result()
                    bar.advance()
                    if index + ahead < count:
                        futures[index + ahead] = pool.submit(work, index + ahead)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _keep(self, index: int, name: str, array: NDArray[Any]) -> None:
        """Hold an array in memory, or in a memory-mapped scratch file once memory is used up."""
        state = self._state[index]
        old = state.get(name)
        if old is not None and old.shape == array.shape and old.dtype == array.dtype:
            if old is not array:
                old[...] = array
            return
        self._drop(index, name)
        with self._lock:
            fits = array.nbytes <= self._memory_left
            self._memory_left -= array.nbytes if fits else 0
            if not fits and self._scratch is None:
                folder = tempfile.TemporaryDirectory(prefix="tdtool-")  # created with mode 0700
                self._scratch = Path(self._cleanup.enter_context(folder))
                log.note(f"documents' state exceeds the memory allowed: the rest goes to {self._scratch}")
        if fits:
            state[name] = array
        else:
            spilled = np.memmap(self._scratch / f"{name}-{index}", array.dtype, "w+", shape=array.shape)  # type: ignore[operator]
            spilled[...] = array
            state[name] = spilled


def check_kept(state: State, needs: Needs, step: Step) -> None:
    """ValueError where a step keeps what it has not declared: another engine would lose it."""
    if not state.keys() <= set(needs.keeps):
        raise ValueError(f"{step.__name__} keeps {', '.join(sorted(state))}, and has declared {needs.keeps}")


class PartialTree:
    """Sums partials pairwise over the partition index: (0+1)+(2+3)..., whatever the order they come in."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._waiting: dict[tuple[int, int], Partials] = {}

    def add(self, index: int, partials: Partials) -> None:
        """Take the partials of one partition."""
        level, count = 0, self._count
        while count > 1:
            sibling = index ^ 1
            if sibling < count:
                other = self._waiting.pop((level, sibling), None)
                if other is None:
                    break
                left, right = (other, partials) if sibling < index else (partials, other)
                partials = _sum(left, right, in_place=level > 0)
            index, level, count = index >> 1, level + 1, (count + 1) >> 1
        self._waiting[level, index] = partials

    def root(self) -> Partials:
        """The sum of all, once every partition is there."""
        ((level, _),) = self._waiting
        (partials,) = self._waiting.values()
        return partials if level else tuple(np.array(array) for array in partials)


def _sum(left: Partials, right: Partials, *, in_place: bool) -> Partials:
    """Elementwise left + right; into left when that is a sum of ours already, and not what a step returned."""
    return tuple(np.add(a, b, out=a if in_place else None) for a, b in zip(left, right, strict=True))
