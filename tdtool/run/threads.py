"""How many threads a run uses: as many as were asked for in kernels, and one in BLAS."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tdtool.kernels.threads import using
from tdtool.run.machine import available_cores


@contextlib.contextmanager
def limited(workers: int | None) -> Iterator[None]:
    """Kernels use `workers` threads (None: all cores); BLAS one: its sums would depend on how many it has."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"), using(workers or available_cores()):
        yield
