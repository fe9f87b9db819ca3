"""How many threads kernels may use, and how work is shared out so that no result depends on their number.

Work is cut by sizes alone (`blocks`), never by the number of threads. A block is computed by one thread, the same way
whichever thread that is; blocks write to places of their own, or give partial results that are added in one fixed tree
(`tree_sum`). So one thread that takes the blocks in turn, and several that take them as they come, end with the same
bits. That holds for what blocks call as well: whoever asks for more than one thread limits the BLAS to one, as the sums
of most BLAS depend on their own threads.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import contextvars
import functools
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import threadpoolctl
from numpy.typing import NDArray

Array = NDArray[Any]
Result = TypeVar("Result")

#: Operations of a block, one to two milliseconds: what sharing it out costs is little beside that.
GRAIN = 2**25
#: The most blocks of one call; entries that are read once cost as much as so many multiplications more.
MOST_BLOCKS, READING = 16, 8
#: More threads than any machine is worth: they are started when they are needed, not before.
_MOST_THREADS = 256

_allowed: contextvars.ContextVar[int] = contextvars.ContextVar("tdtool_threads", default=0)
_pools: list[concurrent.futures.ThreadPoolExecutor] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)  # a child has none of its parent's threads


@contextlib.contextmanager
def using(n_threads: int) -> Iterator[None]:
    """Kernels called inside use up to `n_threads` threads; without any such block, one. ValueError: less than 1."""
    if n_threads < 1:
        raise ValueError(f"n_threads is {n_threads}; at least one is needed")
    token = _allowed.set(n_threads)
    try:
        yield
    finally:
        _allowed.reset(token)


def current() -> int:
    """How many threads a kernel may use here."""
    return _allowed.get() or 1


def current_or_blas() -> int:
    """The same, but without a context as many as BLAS may use: OPENBLAS_NUM_THREADS or threadpoolctl's limits say."""
    return _allowed.get() or max(1, min((library.num_threads for library in _blas_libraries()), default=1))


def pays(work: float) -> bool:
    """Whether so many operations are worth a second block: what is less is not worth cutting up either."""
    return work >= 2 * GRAIN


def blocks(size: int, work: float, *, least: int = 1, most: int = MOST_BLOCKS) -> list[slice]:
    """Cut `size` places in blocks that are worth a thread: their slices, in order, at least one.

    work : operations for all of it; least : places of a block, which begins at a multiple of it; most : blocks. Only
    these decide, so that the borders are the same for any number of threads.
    """
    if not pays(work):
        return [slice(0, size)]
    count = max(1, min(int(work // GRAIN), most, MOST_BLOCKS, size // least))
    borders = [*(size * number // count // least * least for number in range(count)), size]
    return [slice(first, last) for first, last in itertools.pairwise(borders)]


def run_parallel(tasks: Sequence[Callable[[], Result]]) -> list[Result]:
    """The results of all tasks, in their order; by as many threads as are allowed, each with its share of them inside.

    The caller's thread works too, so tasks may call this again. An exception of a task ends the others that have not
    begun and is raised.
    """
    n_threads = min(current(), len(tasks)) if len(tasks) > 1 else 1
    if n_threads < 2:
        return [task() for task in tasks]
    inside = current() // n_threads
    waiting = collections.deque(enumerate(tasks))
    results: dict[int, Result] = {}

    def work() -> None:
        with using(inside):
            while True:
                try:
                    number, task = waiting.popleft()
                except IndexError:
                    return
                try:
                    results[number] = task()
                except BaseException:
                    waiting.clear()
                    raise

    helpers = [_pool().submit(contextvars.copy_context().run, work) for _ in range(n_threads - 1)]
    try:
        work()
    finally:
        helpers = [helper for helper in helpers if not helper.cancel()]
        concurrent.futures.wait(helpers)
    for helper in helpers:
        helper.result()
    return [results[number] for number in range(len(tasks))]


def tree_sum(parts: Sequence[Array]) -> Array:
    """The sum of arrays of one shape, neighbours first, then neighbours of those sums; in the memory of the first."""
    step = 1
    while step < len(parts):
        for place in range(0, len(parts) - step, 2 * step):
            parts[place][...] += parts[place + step]
        step *= 2
    return parts[0]


@functools.cache
def _blas_libraries() -> list[threadpoolctl.LibController]:
    return list(threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers)


def _pool() -> concurrent.futures.ThreadPoolExecutor:
    """The helping threads of this process."""
    if not _pools:
        _pools.append(concurrent.futures.ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="tdtool"))
    return _pools[0]
