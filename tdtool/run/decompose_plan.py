"""What a decomposition will take: memory, which is checked before it starts, operations and time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tdtool.config import DecomposeConfig
from tdtool.data.tensor import LabelledTensor
from tdtool.decompose.cp_compressed import worth_compressing
from tdtool.errors import ResourceError
from tdtool.kernels.sparse_tensor import SparseTensor
from tdtool.run.machine import available_memory, total_memory
from tdtool.run.tensors import TUCKER_METHODS, dense, most_components

# Bytes measured in peaks of processes, on Linux.
_BASE_BYTES, _COMPILED_BYTES = 150 << 20, 55 << 20  # the program itself; compiled loops, and the compiler
_MISSING_COPIES, _SKETCH_COPIES = 4, 4  # arrays of the size of the tensor, of the sketch
_ENTRY_BYTES, _FIBRES = 32, 2  # of a sparse tensor: while it is read; partial products
_DOUBLE = 8
_SWEEPS, _SCREENING, _REFINED, _SPLITS = 40, 32, 6, 8  # sweeps to settle, of each start, after compression; halves
_PASS = 10  # what reading the tensor once more costs, in components
# Operations a second of one core at 2.6 GHz, rounded down.
_FLOPS, _SPARSE_FLOPS = 5e9, 5e8
_START_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class DecomposePlan:
    """Sizes that are exact, and costs that are estimates.

    held_bytes : arrays at the peak, the tensor itself included; memory_bytes : the whole process.
    """

    shape: tuple[int, ...]
    n_values: int
    n_missing: int
    method: str
    ranks: tuple[int, ...]
    tensor_bytes: int
    held_bytes: int
    memory_bytes: int
    operations: float
    seconds: float
    description: str

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return dataclasses.asdict(self)


def plan_of(tensor: LabelledTensor, config: DecomposeConfig, workers: int) -> DecomposePlan:
    """Predict what `fit_tensor` will take of memory and time for a tensor that has been read."""
    values, missing = tensor.values, tensor.missing
    n_missing = 0 if missing is None else int(np.count_nonzero(missing))
    sparse = isinstance(values, SparseTensor)
    n_values = values.nnz if isinstance(values, SparseTensor) else values.size - n_missing
    tensor_bytes = values.nbytes + (0 if missing is None else missing.nbytes)
    ranks = _ranks(tensor.shape, config)
    if sparse:
        workspace, operations = _sparse_cost(tensor.shape, n_values, tensor_bytes, ranks, config)
    elif config.method in TUCKER_METHODS:
        workspace, operations = _tucker_cost(tensor.shape, values.dtype.itemsize, ranks, config)  # type: ignore[union-attr]
    else:
        workspace, operations = _cp_cost(tensor, ranks, config)
    rate = _SPARSE_FLOPS if sparse else _FLOPS
    held = tensor_bytes + workspace
    return DecomposePlan(
        shape=tensor.shape,
        n_values=n_values,
        n_missing=n_missing,
        method=config.method,
        ranks=ranks,
        tensor_bytes=tensor_bytes,
        held_bytes=held,
        memory_bytes=_BASE_BYTES + held,
        operations=operations,
        seconds=_START_SECONDS + operations / (rate * workers),
        description=tensor.description,
    )


def memory_limit(memory: int | None) -> int:
    """Bytes that arrays may take: what the user says, else what is free."""
    return memory or available_memory() or total_memory()


def check_memory(plan: DecomposePlan, limit: int, source: str) -> None:
    """ResourceError, with what takes less, when the arrays at the peak are larger than `limit`."""
    if plan.held_bytes <= limit:
        return
    what = (
        f"--method {plan.method} on it needs about {_size(plan.held_bytes)} of memory, and {_size(limit)} may be used"
    )
    advice = ["values as float32 take half", "a .tns takes less where most values are 0"]
    if plan.method not in TUCKER_METHODS:
        advice.insert(
            0, "--method sketch holds a short sketch in its place" if plan.method != "sketch" else "a lower --rank"
        )
    raise ResourceError(what, path=source, hint=f"{'; '.join(advice)}; or allow more with --memory")


def _size(amount: int) -> str:
    return f"{amount / 1e9:.1f} GB" if amount >= 1e9 else f"{amount / 1e6:.0f} MB"


def _ranks(shape: Sequence[int], config: DecomposeConfig) -> tuple[int, ...]:
    """Ranks that are fitted: those of Tucker, the CP rank, or all that --rank auto tries."""
    if config.method in TUCKER_METHODS:
        return config.ranks or tuple(shape)
    most = min(config.max_rank, most_components(shape))
    return (config.rank,) if config.rank else tuple(range(1, most + 1))


def _cp_cost(tensor: LabelledTensor, ranks: Sequence[int], config: DecomposeConfig) -> tuple[int, float]:
    """Bytes and operations of CP on a dense tensor: copies of it, partial products shared between modes, factors."""
    values = dense(tensor)
    rank, itemsize = max(ranks), values.dtype.itemsize
    half = values.ndim // 2
    partial = max(math.prod(values.shape[:half]), math.prod(values.shape[half:])) * rank * itemsize
    workspace = _COMPILED_BYTES + 2 * partial + 6 * sum(values.shape) * rank * _DOUBLE
    if config.method == "sketch":
        sketch = config.sketches * (config.hash_length // 2 + 1) * 16
        passes = 80.0 * values.size * config.sketches
        return (
            workspace + _SKETCH_COPIES * sketch,
            passes + _SWEEPS * rank * 40.0 * config.sketches * config.hash_length,
        )
    chosen = config.rank is None
    if tensor.missing is not None:
        workspace += values.nbytes * (_MISSING_COPIES + (1 if chosen else 0))
    elif config.method == "cp-nonneg" or chosen:
        workspace += values.nbytes
    full = tensor.missing is not None or config.method == "cp-nonneg"
    sweeps = _sweeps(config) if full or not worth_compressing(values, rank) else _REFINED
    operations = sum(sweeps * 4.0 * values.size * (r + _PASS) for r in ranks) + float(values.size) * sum(values.shape)
    return workspace, operations


def _sweeps(config: DecomposeConfig) -> float:
    """Sweeps of all fits of one rank: every start gets some, the best goes on; with --rank auto so do halves."""
    one = float(min(_SCREENING * (config.restarts - 1) + _SWEEPS, config.max_iters * config.restarts))
    return one * (1 + (_SPLITS / 2 if config.rank is None else 0))


def _tucker_cost(
    shape: Sequence[int], itemsize: int, ranks: Sequence[int], config: DecomposeConfig
) -> tuple[int, float]:
    """Bytes and operations of Tucker: the first projection is the largest array, Gram matrices the most work."""
    n_cells = math.prod(shape)
    kept = [min(rank / size, 1.0) for rank, size in zip(ranks, shape, strict=True)]
    workspace = _COMPILED_BYTES + int(n_cells * itemsize * 2 * max(kept)) + 3 * max(shape) ** 2 * itemsize
    grams = sum(float(n_cells) * size for size in shape) + 10.0 * sum(float(size) ** 3 for size in shape)
    sweeps = 0 if config.method == "hosvd" else min(config.max_iters, _SWEEPS // 4)
    return workspace, 2 * grams + sweeps * 4.0 * n_cells * max(ranks)


def _sparse_cost(
    shape: Sequence[int], n_values: int, tensor_bytes: int, ranks: Sequence[int], config: DecomposeConfig
) -> tuple[int, float]:
    """Bytes and operations of CP on a sparse tensor, which is never made dense; what reading it took stays with it."""
    rank, order = max(ranks), len(shape)
    read = _ENTRY_BYTES * (order + 1) * n_values
    products = _FIBRES * n_values * rank * _DOUBLE
    workspace = _COMPILED_BYTES + read + 2 * tensor_bytes + products + 6 * sum(shape) * rank * _DOUBLE
    return workspace, sum(_sweeps(config) * 2.0 * order * n_values * r for r in ranks)
