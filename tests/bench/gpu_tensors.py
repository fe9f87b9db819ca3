"""Tucker, CP and sketched power of planted tensors: ours on the GPU and on the CPU, tensorly on torch's GPU."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tdtool.decompose.cp import cp_als
from tdtool.decompose.sketched import sketched_power
from tdtool.decompose.tucker import tucker_als
from tdtool.kernels.device_gpu import Gpu
from tests.bench import decompose_peers, sketch_peers
from tests.bench.gpu_work import ON_CPU, OURS, Array, Found, Work, attempts, settled, timed

_NOISE, _TOL, _MOST = 0.1, 1e-6, 200
_FOUND = 0.99
Fit = Callable[[Any], Any]


def tensors(gpu: Gpu, work: Work) -> Iterator[Found]:
    """Tucker ALS and CP ALS of n x n x n tensors; times are of the fit, with the tensor where it is worked on."""
    for kind, rank in (("tucker", work.sizes.rank), ("cp", work.sizes.components)):
        for n in work.sizes.tensors:
            task = decompose_peers.Task("", kind, f"planted {n}", rank, _NOISE, _TOL, _MOST, work.seed, "")
            data = decompose_peers.load(task)
            for dtype in work.sizes.dtypes:
                typed = dataclasses.replace(data, tensor=data.tensor.astype(dtype))
                yield from _decomposed(gpu, task, typed, f"{kind} n={n} {dtype}")


def _decomposed(gpu: Gpu, task: decompose_peers.Task, data: decompose_peers.Data, case: str) -> Iterator[Found]:
    fit = _ours(task)
    upload, there = timed(lambda: gpu.to_device(data.tensor), gpu.synchronize)

    def on_gpu() -> Found:
        cold, first = timed(lambda: fit(there), gpu.synchronize)
        seconds, second = timed(lambda: fit(there), gpu.synchronize)
        same = all(np.array_equal(a, b) for a, b in zip(_parts(first), _parts(second), strict=True))
        quality = _quality(task, data, second) | {"same": float(same), "cold": cold, "upload": upload}
        return Found(OURS, case, seconds, quality)

    def on_cpu() -> Found:
        seconds, found = settled(lambda: fit(data.tensor))
        return Found(ON_CPU, case, seconds, _quality(task, data, found))

    yield attempts(OURS, case, on_gpu)
    yield attempts(ON_CPU, case, on_cpu)
    there = None
    gpu.free_unused()
    if all(importlib.util.find_spec(name) for name in ("tensorly", "torch")):
        import torch

        if torch.cuda.is_available():
            yield attempts("tensorly", case, lambda: _tensorly(task, data, case))


def _ours(task: decompose_peers.Task) -> Fit:
    limits: dict[str, Any] = {"max_iters": task.max_iters, "tol": task.tol}
    if task.kind == "tucker":
        return lambda tensor: tucker_als(tensor, [task.rank] * 3, **limits)
    return lambda tensor: cp_als(tensor, task.rank, rng=np.random.default_rng(task.seed), **limits)


def _parts(fit: Any) -> list[Array]:
    return [fit.core if hasattr(fit, "core") else fit.weights, *fit.factors]


def _quality(task: decompose_peers.Task, data: decompose_peers.Data, fit: Any) -> dict[str, float]:
    head, *factors = (np.asarray(part) for part in _parts(fit))
    return decompose_peers.quality(task, data, head, factors) | {"sweeps": float(len(fit.errors))}


def _tensorly(task: decompose_peers.Task, data: decompose_peers.Data, case: str) -> Found:
    """Its defaults, on torch's GPU, with the common stopping rule; the second of two calls."""
    import tensorly
    import torch
    from tensorly import decomposition

    with tensorly.backend_context("pytorch"):
        there = torch.from_numpy(data.tensor).cuda()
        limits: dict[str, Any] = {"n_iter_max": task.max_iters, "tol": task.tol}

        def fit() -> Any:
            if task.kind == "tucker":
                return decomposition.tucker(there, [task.rank] * 3, **limits)
            return decomposition.parafac(there, task.rank, random_state=task.seed, **limits)

        fit()
        seconds, (head, factors) = timed(fit, torch.cuda.synchronize)
    arrays = [np.asarray(part.cpu().numpy(), np.float64) for part in (head, *factors)]
    return Found("tensorly", case, seconds, decompose_peers.quality(task, data, arrays[0], arrays[1:]))


def sketches(gpu: Gpu, work: Work) -> Iterator[Found]:
    """Sketched power of a planted symmetric tensor."""
    n, length, repeats = work.sizes.sketch
    tensor, vectors = sketch_peers._planted(n, work.sizes.components, _NOISE, np.random.default_rng(work.seed))
    floor = _NOISE / math.hypot(1, _NOISE)
    for dtype in work.sizes.dtypes:
        values = tensor.astype(dtype)
        case = f"sketched power n={n} L=2^{length.bit_length() - 1} B={repeats} {dtype}"

        def fit(given: Any) -> Any:
            rng = np.random.default_rng(work.seed)
            return sketched_power(given, work.sizes.components, hash_length=length, n_sketches=repeats, rng=rng)

        def quality(found: Any) -> dict[str, float]:
            cosines = np.abs(vectors.T @ found.factors[0]).max(axis=1)
            return {"residual": found.relative_error / floor, "matched": float(np.mean(cosines > _FOUND))}

        def on_gpu(values: Array = values, case: str = case, fit: Fit = fit, quality: Any = quality) -> Found:
            there = gpu.to_device(values)
            cold, first = timed(lambda: fit(there), gpu.synchronize)
            seconds, second = timed(lambda: fit(there), gpu.synchronize)
            same = np.array_equal(first.factors[0], second.factors[0])
            return Found(OURS, case, seconds, quality(second) | {"same": float(same), "cold": cold})

        def on_cpu(values: Array = values, case: str = case, fit: Fit = fit, quality: Any = quality) -> Found:
            seconds, found = settled(lambda: fit(values))
            return Found(ON_CPU, case, seconds, quality(found))

        yield attempts(OURS, case, on_gpu)
        gpu.free_unused()
        yield attempts(ON_CPU, case, on_cpu)
