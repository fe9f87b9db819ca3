"""Share a contraction between threads."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import threadpoolctl

_pools: dict[int, ThreadPoolExecutor] = {}

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)  # a child has none of its parent's threads


def default_threads() -> int:
    """As many threads as BLAS may use now: what OPENBLAS_NUM_THREADS and its like or threadpoolctl's limits say."""
    allowed = [library.num_threads for library in _blas_libraries()]
    return max(1, min(allowed)) if allowed else 1


def run_together(calls: Sequence[Callable[[], None]]) -> None:
    """Run all calls, each in a thread of its own; the first exception is raised when all have ended."""
    if len(calls) == 1:
        calls[0]()
        return
    helpers = len(calls) - 1
    if helpers not in _pools:
        _pools[helpers] = ThreadPoolExecutor(helpers, thread_name_prefix="tdtool-contract")
    futures = [_pools[helpers].submit(call) for call in calls[1:]]
    try:
        calls[0]()
    finally:
        for future in futures:
            future.exception()
    for future in futures:
        future.result()


@functools.cache
def _blas_libraries() -> list[threadpoolctl.LibController]:
    return list(threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers)
