"""Runs one tensor layer in a process of its own: `python -m tests.bench.layers_peers TASK`."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.bench.children import reports
from tests.bench.measure import peak_rss_mb

Array = NDArray[Any]
#: No more passes are timed after so many seconds.
_MOST_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Task:
    """shape : C, H, W; n_outputs : 0 for a contraction; rank_out : 0: none; batch : images."""

    system: str
    kind: str
    shape: Sequence[int]
    ranks: Sequence[int]
    n_outputs: int
    rank_out: int
    batch: int
    repeats: int
    seed: int


@dataclasses.dataclass(frozen=True)
class Weights:
    """factors : of the modes, (I_n, R_n); core : (R_0, ..., rank of the outputs or K); out : (K, rank), or none."""

    factors: list[Array]
    core: Array | None = None
    out: Array | None = None


def drawn(task: Task) -> tuple[Array, Weights]:
    """Inputs (B, C, H, W) and weights, float32 values; the same in every process."""
    rng = np.random.default_rng(task.seed)

    def normal(*sizes: int) -> Array:
        return (rng.standard_normal(sizes) / np.sqrt(sizes[0])).astype(np.float32)

    x = np.maximum(rng.standard_normal((task.batch, *task.shape)), 0).astype(np.float32)
    factors = [normal(size, rank) for size, rank in zip(task.shape, task.ranks, strict=True)]
    if task.kind == "tcl":
        return x, Weights(factors)
    core = normal(*task.ranks, task.rank_out or task.n_outputs)
    return x, Weights(factors, core, normal(task.n_outputs, task.rank_out) if task.rank_out else None)


def definition(x: Array, weights: Weights) -> Array:
    """The outputs in float64."""
    y = np.einsum("bchw,cr,hs,wt->brst", *(a.astype(np.float64) for a in (x, *weights.factors)), optimize=True)
    if weights.core is not None:
        y = np.tensordot(y, weights.core.astype(np.float64), 3)
    return y if weights.out is None else y @ weights.out.astype(np.float64).T


def tdtool(task: Task, weights: Weights) -> nn.Module:
    """Ours."""
    from tdtool.nn.tcl import TensorContraction
    from tdtool.nn.trl import TensorRegression

    layer: nn.Module
    if task.kind == "tcl":
        layer = TensorContraction(task.shape, task.ranks, bias=False)
    else:
        rank_out = task.rank_out or None
        layer = TensorRegression(task.shape, task.ranks, task.n_outputs, rank_out=rank_out, bias=False)
    given = {f"factor{mode}": factor for mode, factor in enumerate(weights.factors)}
    given |= {name: value for name, value in (("core", weights.core), ("factor_out", weights.out)) if value is not None}
    layer.load_state_dict({name: torch.from_numpy(value) for name, value in given.items()})
    return layer


def tltorch(task: Task, weights: Weights) -> nn.Module:
    """TensorLy-Torch's layers."""
    import tltorch as tl

    if task.kind == "tcl":
        layer = tl.TCL(task.shape, task.ranks)
        for mode, factor in enumerate(weights.factors):
            layer.factors[mode].data = torch.from_numpy(factor.T.copy())
        return layer
    assert weights.core is not None
    rank = (*task.ranks, task.rank_out or task.n_outputs)
    layer = tl.TRL(task.shape, (task.n_outputs,), factorization="tucker", rank=rank)
    out = np.eye(task.n_outputs, dtype=np.float32) if weights.out is None else weights.out
    layer.weight.core.data = torch.from_numpy(weights.core)
    for mine, theirs in zip((*weights.factors, out), layer.weight.factors, strict=True):
        theirs.data = torch.from_numpy(mine)
    return layer


class _Projected(nn.Module):
    """Its regression with the argument that projects the input, which its own layer never gives."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        from tltorch.functional.tensor_regression import trl

        return trl(x, self.layer.weight, project_input=True)


def tltorch_project_input(task: Task, weights: Weights) -> nn.Module:
    """See _Projected."""
    return _Projected(tltorch(task, weights))


BUILD = {"tdtool": tdtool, "tltorch": tltorch, "tltorch project_input": tltorch_project_input}


def main(task: Task, report: Callable[..., None]) -> None:
    """Check, count and time one layer."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    values, weights = drawn(task)
    layer = BUILD[task.system](task, weights)
    x = torch.from_numpy(values).requires_grad_()
    wanted = definition(values, weights)
    report(started=True)
    with FlopCounterMode(display=False) as counter:
        y = layer(x)
    forward = counter.get_total_flops()
    found = y.detach().double().numpy().reshape(wanted.shape)
    error = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    with FlopCounterMode(display=False) as counter:
        y.sum().backward()
    quality = {"mflop": forward / 1e6, "backward_mflop": counter.get_total_flops() / 1e6, "error": error}
    report(quality=quality)  # known, however long the passes take
    gradient = torch.ones_like(y)
    times, cpu = [], time.process_time()
    begun = time.perf_counter()
    for place in range(task.repeats + 3):
        if len(times) >= 3 and time.perf_counter() - begun > _MOST_SECONDS:
            break
        layer.zero_grad()
        x.grad = None
        start = time.perf_counter()
        layer(x).backward(gradient)
        if place >= 3:  # the first ones warm up
            times.append(time.perf_counter() - start)
        cpu_seconds = (time.process_time() - cpu) / (place + 1)
    report(seconds=statistics.median(times), cpu_seconds=cpu_seconds, peak_rss_mb=peak_rss_mb())


if __name__ == "__main__":
    with reports() as send:
        main(Task(**json.loads(sys.argv[1])), send)
