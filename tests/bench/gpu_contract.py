"""The 36 contractions, and batched products, on a GPU: ours, cupy.einsum, torch.einsum and cuTENSOR."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tdtool.kernels.contract import contract
from tdtool.kernels.device_gpu import Gpu, gemm_call
from tdtool.run.bench_machine import copy_rate, gemm_rate, upload_rate
from tests.bench.contract import equations
from tests.bench.contract_peers import random_operands
from tests.bench.gpu_work import OURS, Array, Found, Work, attempts, best_seconds, largest_difference

#: Beyond this many entries of all indices together the check looks at a slice of the result.
_CHECKED = 1 << 20
#: What a result may differ by from numpy's in double precision, over its largest entry.
TOLERANCE = {"float32": 1e-5, "float64": 1e-11}
Call = Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class System:
    """make : (equation, operands of the host) -> the call; fetch : (result, places) -> numpy array of those entries;
    same : whether two results are equal to the bit; wait : until the GPU is done."""

    make: Callable[[str, list[Array]], Call]
    fetch: Callable[[Any, Any], Array]
    same: Callable[[Any, Any], bool]
    wait: Call


def rates(gpu: Gpu, work: Work) -> Iterator[Found]:
    """What the GPU reaches: square products of cuBLAS, and bandwidth."""
    rows = work.sizes.rates or None
    for name, dtype, tf32 in (("float64", "f8", False), ("float32", "f4", False), ("tf32", "f4", True)):
        rate = gemm_rate(gpu, np.dtype(dtype), tf32=tf32, rows=rows)
        yield Found("cuBLAS", f"square product {name}", quality={"tflops": rate / 1e12})
    yield Found("cupy", "copy on the GPU", quality={"gb": copy_rate(gpu) / 1e9})
    yield Found("tdtool", "stream to the GPU", quality={"gb": upload_rate(gpu) / 1e9})


def contraction(gpu: Gpu, work: Work) -> Iterator[Found]:
    """Every case at every size in every precision, checked cold and warm, and timed."""
    systems = dict(_systems(gpu))
    for dtype in work.sizes.dtypes:
        for n in work.sizes.contract:
            for name, equation in equations().items():
                sizes = dict.fromkeys("mnpk", n)
                yield from _case(systems, f"{name} n={n} {dtype}", equation, sizes, dtype, work)
                gpu.free_unused()
            yield attempts("matmul", f"matmul n={n} {dtype}", lambda n=n, dtype=dtype: _matmul(gpu, n, dtype, work))
        for count, n in work.sizes.batch:
            sizes = {"b": count} | dict.fromkeys("mnk", n)
            yield from _case(systems, f"batch {count} n={n} {dtype}", "bmk,bkn->bmn", sizes, dtype, work)
            gpu.free_unused()


def _case(
    systems: dict[str, System], case: str, equation: str, sizes: dict[str, int], dtype: str, work: Work
) -> Iterator[Found]:
    operands = random_operands(equation, sizes, dtype)
    places, expected = _expected(equation, operands, sizes)
    for name, system in systems.items():
        yield attempts(
            name,
            case,
            lambda name=name, system=system: _measured(name, system, case, equation, operands, places, expected, work),
        )


def _measured(
    name: str,
    system: System,
    case: str,
    equation: str,
    operands: list[Array],
    places: Any,
    expected: Array,
    work: Work,
) -> Found:
    call = system.make(equation, operands)
    cold = call()
    warm = call()
    errors = [largest_difference(system.fetch(result, places), expected) for result in (cold, warm)]
    found = Found(name, case, quality={"error": max(errors), "same": float(system.same(cold, warm))})
    del cold, warm
    if not max(errors) <= TOLERANCE[str(operands[0].dtype)]:
        found.note = f"wrong: {errors[0]:.1e} cold, {errors[1]:.1e} warm"
        return found
    found.seconds = best_seconds(call, system.wait, work.sizes.seconds)
    terms = equation.split("->")[0].split(",")
    sizes = {x: n for term, a in zip(terms, operands, strict=True) for x, n in zip(term, a.shape, strict=True)}
    found.quality["tflops"] = 2 * float(np.prod(list(sizes.values()), dtype=float)) / found.seconds / 1e12
    return found


def _expected(equation: str, operands: list[Array], sizes: dict[str, int]) -> tuple[Any, Array]:
    """Places of the result that are looked at, and what numpy has there in double precision."""
    inputs, output = equation.split("->")
    cut: dict[str, slice] = {}
    if np.prod(list(sizes.values()), dtype=float) > _CHECKED:
        cut = {x: slice(sizes[x] // 2, sizes[x] // 2 + 1) for x in output[1:]}
    parts = [
        operand[tuple(cut.get(x, slice(None)) for x in term)].astype(np.float64)
        for term, operand in zip(inputs.split(","), operands, strict=True)
    ]
    return tuple(cut.get(x, slice(None)) for x in output), np.einsum(equation, *parts)


def _matmul(gpu: Gpu, n: int, dtype: str, work: Work) -> Found:
    """The yardstick: one product (n, n) (n, n^2) by cuBLAS, as many operations as a case of size n."""
    left, right = (
        gpu.to_device(operand) for operand in random_operands("ab,bc->", {"a": n, "b": n, "c": n * n}, dtype)
    )
    out = gpu.empty((n, n * n), dtype)
    call = gemm_call(n, n * n, n, (n, 1, 0), (n * n, 1, 0), (n * n, 1, 0), 1)
    seconds = best_seconds(lambda: gpu.gemm(left, right, out, call), gpu.synchronize, work.sizes.seconds)
    return Found("matmul", f"matmul n={n} {dtype}", seconds, {"tflops": 2 * n**4 / seconds / 1e12})


def _systems(gpu: Gpu) -> Iterator[tuple[str, System]]:
    """Ours, and the peers that are here."""

    def uploaded(run: Callable[..., Any]) -> Callable[[str, list[Array]], Call]:
        def make(equation: str, operands: list[Array]) -> Call:
            arrays = [gpu.to_device(operand) for operand in operands]
            return lambda: run(equation, *arrays)

        return make

    def fetch(result: Any, places: Any) -> Array:
        return gpu.to_host(gpu.xp.ascontiguousarray(result[places]))

    def same(one: Any, other: Any) -> bool:
        return bool(gpu.xp.array_equal(one, other))

    def system(run: Callable[..., Any]) -> System:
        return System(uploaded(run), fetch, same, gpu.synchronize)

    yield OURS, system(contract)
    yield "cupy", system(lambda *given: gpu.xp.ascontiguousarray(gpu.xp.einsum(*given)))
    torch = importlib.import_module("torch") if importlib.util.find_spec("torch") else None
    if torch is not None and torch.cuda.is_available():
        yield "torch", _torch(torch)
    if importlib.util.find_spec("cutensor") or importlib.util.find_spec("cupyx"):
        run = _cutensor(gpu)
        if run is not None:
            yield "cuTENSOR", system(run)


def _torch(torch: Any) -> System:
    torch.backends.cuda.matmul.allow_tf32 = False

    def make(equation: str, operands: list[Array]) -> Call:
        tensors = [torch.from_numpy(operand).cuda() for operand in operands]
        return lambda: torch.einsum(equation, *tensors).contiguous()

    return System(make, lambda x, places: np.asarray(x[places].cpu().numpy()), torch.equal, torch.cuda.synchronize)


def _cutensor(gpu: Gpu) -> Callable[..., Any] | None:
    """cuTENSOR through cupyx, where both are here; None otherwise."""
    try:
        library = importlib.import_module("cupyx.cutensor")
    except ImportError:
        return None

    def run(equation: str, left: Any, right: Any) -> Any:
        inputs, output = equation.split("->")
        one, two = inputs.split(",")
        sizes = dict(zip(one + two, (*left.shape, *right.shape), strict=True))
        out = gpu.empty(tuple(sizes[x] for x in output), left.dtype)
        return library.contraction(1.0, left, tuple(one), right, tuple(two), 0.0, out, tuple(output))

    return run
