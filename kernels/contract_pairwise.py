"""Run the contraction of two numpy arrays by its plan."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels import gemm_cpu
from tdtool.kernels import gemm_places as packed
from tdtool.kernels.contract_packed import packed_parameters, with_layouts
from tdtool.kernels.gemm_micro import COLUMNS, SQUARE
from tdtool.kernels.gemm_packed import packed_entry, workspace
from tdtool.kernels.plan import Plan
from tdtool.kernels.threads import current_or_blas, run_parallel, using
from tdtool.kernels.vector_size import VECTOR_BYTES

Array = NDArray[Any]

#: What a thread must have to do before a second one is worth waking (about 0.2 ms).
_THREAD_FLOPS = 10_000_000
#: Matrices of at least this many rows, columns and sums go to the BLAS where its kernels beat ours: with short vectors.
_BLAS_SIZE = 64 if VECTOR_BYTES < 64 else 1 << 62
#: Kinds that are limited by memory, not arithmetic.
_BY_EINSUM = ("vector", "outer", "elementwise")


class Step:
    """A plan made ready to run many times.

    entry(first, second, out, workspace, parameters) does it in one thread; first is the second operand when `swapped`.
    shape, dtype : of the result; is_small : more threads would not help. checked : parameters that include the layouts
    of both operands; with them `entry` returns 0, and does nothing, for others.
    """

    __slots__ = ("checked", "dtype", "entry", "is_small", "parameters", "plan", "shape", "swapped")

    def __init__(self, plan: Plan) -> None:
        self.plan, self.shape, self.dtype = plan, plan.shape, plan.dtype
        self.is_small = plan.flops < 2 * _THREAD_FLOPS or plan.kind in _BY_EINSUM
        self.swapped = False
        self.parameters = np.empty(0, np.int64)
        self.checked: NDArray[np.int64] | None = None
        self.entry: Callable[..., object]
        if plan.kind in _BY_EINSUM:
            self.entry = functools.partial(_einsum, str(plan.equation))
        elif prefers_blas(plan):
            self._set_blas("openblas")
        else:
            self.parameters, self.swapped = packed_parameters(plan)
            self.entry = packed_entry(np.empty(0, plan.dtype).real.dtype)

    def run(self, left: Array, right: Array, out: Array, threads: int | None, blas: str | None) -> None:
        """Write the contraction of the two operands of the equation to `out`."""
        if blas is not None and self.plan.kind in ("flat", "batched"):
            blas_step(self.plan, blas).run(left, right, out, threads, None)
            return
        first, second = (right, left) if self.swapped else (left, right)
        n_threads = 1 if self.is_small or prefers_blas(self.plan) else threads or current_or_blas()
        shares = self._shares(min(n_threads, self.plan.flops // _THREAD_FLOPS))
        with using(len(shares)):
            run_parallel([functools.partial(self._call, first, second, out, share) for share in shares])

    def check(self, left: Array, right: Array) -> bool:
        """Make `checked` from the operands the plan is for; False for a step that cannot check."""
        if self.plan.kind in _BY_EINSUM or prefers_blas(self.plan):
            return False
        if not left.dtype is right.dtype is np.dtype(left.dtype.char):
            return False  # a dtype object that may be freed cannot be told by its address
        first, second = (right, left) if self.swapped else (left, right)
        self.checked = with_layouts(self.parameters, first, second)
        return True

    def _call(self, first: Array, second: Array, out: Array, parameters: NDArray[np.int64]) -> None:
        self.entry(first, second, out, workspace(), parameters)

    def _shares(self, n_threads: int) -> list[NDArray[np.int64]]:
        """The parameters of each thread: an equal part of the batches, the panels of rows, or the columns."""
        if n_threads <= 1:
            return [self.parameters]
        kinds = ((packed.FIRST_BATCH, 1), (packed.FIRST_PANEL, SQUARE), (packed.FIRST_COLUMN, COLUMNS))
        pieces = {place: -(-int(self.parameters[place + 1]) // unit) for place, unit in kinds}
        place = next(
            (place for place, count in pieces.items() if count >= 4 * n_threads),
            max(pieces, key=lambda place: pieces[place]),
        )
        ends = np.linspace(0, pieces[place], n_threads + 1).round().astype(np.int64) * dict(kinds)[place]
        shares = []
        for begin, end in zip(ends[:-1], np.minimum(ends[1:], self.parameters[place + 1]), strict=True):
            if begin < end:
                share = self.parameters.copy()
                share[place : place + 2] = begin, end
                share[packed.PREPARED] = 0  # lists that were made for the whole do not fit a part
                share[packed.ROW_OUT_AT : packed.TILE_COLUMNS_AT + 1] = packed.WORK_PLACES
                shares.append(share)
        return shares

    def _set_blas(self, blas: str) -> None:
        """Run the plan's matrix products by a BLAS, with its own threads."""
        gemm = self.plan.gemm
        self.is_small = True
        self.parameters, turned = gemm_cpu.gemm_parameters(
            self.plan.dtype,
            (gemm.row.size, gemm.column.size, gemm.sum.size),
            (
                (gemm.row.left, gemm.sum.left),
                (gemm.sum.right, gemm.column.right),
                (gemm.row.out, gemm.column.out),
            ),
            [(mode.size, mode.left, mode.right, mode.out) for mode in gemm.loops],
            blas=blas,
        )
        self.swapped = self.plan.swapped != turned
        self.entry = functools.partial(_blas, gemm_cpu.gemm_entry())


def prefers_blas(plan: Plan) -> bool:
    """Whether the plan is for the BLAS by default: large contiguous matrices on a processor with short vectors."""
    gemm = plan.gemm
    return plan.kind in ("flat", "batched") and min(gemm.row.size, gemm.column.size, gemm.sum.size) >= _BLAS_SIZE


@functools.lru_cache(maxsize=1024)
def ready_step(plan: Plan) -> Step:
    """The step of a plan, made once."""
    return Step(plan)


@functools.lru_cache(maxsize=256)
def blas_step(plan: Plan, blas: str) -> Step:
    """The step of a flat or batched plan on a BLAS of choice."""
    step = Step(plan)
    step._set_blas(blas)
    return step


def _einsum(equation: str, left: Array, right: Array, out: Array, *_: object) -> None:
    """numpy's own loops: they copy nothing, and memory is the limit."""
    np.einsum(equation, left, right, out=out)


def _blas(entry: gemm_cpu.Entry, first: Array, second: Array, out: Array, _: object, parameters: Array) -> None:
    entry(first, second, out, parameters)
