"""The class Gpu with a library in cupy's place that works in this process's memory, and how products are asked for."""

from __future__ import annotations

import ctypes
import sys
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tdtool.kernels import device_gpu
from tdtool.kernels.device_gpu import Gpu, gemm_call, kernel_source, open_gpu, owner
from tests.emulated_gpu import EmulatedArray, EmulatedGpu

#: cublasOperation_t and cublasComputeType_t.
_CUBLAS = {
    "CUBLAS_OP_N": 0,
    "CUBLAS_OP_T": 1,
    "CUBLAS_COMPUTE_32F": 68,
    "CUBLAS_COMPUTE_64F": 70,
    "CUBLAS_COMPUTE_32F_FAST_TF32": 77,
    "CUBLAS_GEMM_DEFAULT": -1,
}
_TYPES = {0: "f", 1: "d", 4: "F", 5: "D"}


def _memory(pointer: int, size: int, dtype: str) -> NDArray[Any]:
    n_bytes = size * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_byte * n_bytes).from_address(pointer), dtype)


class Products:
    """gemmStridedBatchedEx of cupy's cublas module, on matrices by columns in this process's memory."""

    def __init__(self) -> None:
        self.computes: list[int] = []
        vars(self).update(_CUBLAS)

    def gemmStridedBatchedEx(self, *arguments: Any) -> None:  # noqa: N802
        """out = alpha left right + beta out."""
        assert all(isinstance(value, int) for value in arguments)
        handle, turn_a, turn_b, m, n, k, alpha, a, kind, lead_a, step_a, *rest = arguments
        b, kind_b, lead_b, step_b, beta, c, kind_c, lead_c, step_c, batch, compute, algorithm = rest
        assert handle == 7
        assert kind == kind_b == kind_c
        assert algorithm == -1
        self.computes.append(compute)
        dtype = _TYPES[kind]

        def matrix(at: int, lead: int, step: int, index: int, rows: int, columns: int) -> NDArray[Any]:
            assert lead >= max(rows, 1)
            begin = at + index * step * np.dtype(dtype).itemsize
            flat = _memory(begin, (columns - 1) * lead + rows, dtype)
            strides = np.dtype(dtype).itemsize * np.array([1, lead])
            return np.lib.stride_tricks.as_strided(flat, (rows, columns), tuple(strides))

        one, old = (_memory(place, 1, dtype)[0] for place in (alpha, beta))
        for index in range(batch):
            left = matrix(a, lead_a, step_a, index, *((k, m) if turn_a else (m, k)))
            right = matrix(b, lead_b, step_b, index, *((n, k) if turn_b else (k, n)))
            out = matrix(c, lead_c, step_c, index, m, n)
            product = one * (left.T if turn_a else left) @ (right.T if turn_b else right)
            out[...] = product if old == 0 else product + old * out


def put_in_place(patch: pytest.MonkeyPatch) -> Products:
    """Make it the cublas of cupy."""
    found = Products()
    modules = {name: types.ModuleType(name) for name in ("cupy", "cupy.cuda", "cupy.cuda.device")}
    modules |= {name: types.ModuleType(name) for name in ("cupy_backends", "cupy_backends.cuda")}
    modules["cupy_backends.cuda.libs"] = types.ModuleType("cupy_backends.cuda.libs")
    vars(modules["cupy.cuda.device"])["get_cublas_handle"] = lambda: 7
    vars(modules["cupy_backends.cuda.libs"])["cublas"] = found
    for name, module in modules.items():
        patch.setitem(sys.modules, name, module)
    return found


class HostGpu(Gpu):
    """The class itself, with arrays of this process in place of cupy's."""

    def __init__(self, xp: Any = None, *, tf32: bool = False) -> None:
        self.xp, self.tf32 = xp, tf32
        self._functions = {}

    def pointer(self, array: Any) -> int:
        return int(array.ctypes.data)


def laid_out(rng: np.random.Generator, batch: int, rows: int, columns: int, dtype: str, layout: str) -> NDArray[Any]:
    """(batch, rows, columns): rows or columns in runs with gaps after them, or the matrices row by row in turns."""
    shape = {"rows": (batch, rows, columns + 3), "columns": (batch, columns, rows + 2), "turns": (rows, batch, columns)}
    values = rng.standard_normal(shape[layout])
    values = (values + 1j * rng.standard_normal(values.shape) if dtype in "FD" else values).astype(dtype)
    if layout == "rows":
        return values[:, :, :columns]
    return values[:, :, :rows].transpose(0, 2, 1) if layout == "columns" else values.transpose(1, 0, 2)


def strides_of(array: NDArray[Any]) -> tuple[int, int, int]:
    """To the next row, column, matrix."""
    batch, row, column = (step // array.itemsize for step in array.strides)
    return row, column, batch


layouts = st.sampled_from(["rows", "columns", "turns"])


@settings(max_examples=150)
@given(
    st.tuples(*[st.integers(1, 6)] * 4),
    st.tuples(layouts, layouts, layouts),
    st.sampled_from("fdFD"),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_products_as_the_library_is_asked_for_them(
    sizes: tuple[int, ...], chosen: tuple[str, str, str], dtype: str, add: bool, tf32: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    (batch, m, n, k), tolerance = sizes, 1e-4 if dtype in "fF" else 1e-12
    left, right = laid_out(rng, batch, m, k, dtype, chosen[0]), laid_out(rng, batch, k, n, dtype, chosen[1])
    begun = laid_out(rng, batch, m, n, dtype, chosen[2])
    expected = np.einsum("zij,zjk->zik", left, right) + (begun if add else 0)
    call = gemm_call(m, n, k, strides_of(left), strides_of(right), strides_of(begun), batch)
    with pytest.MonkeyPatch.context() as patch:
        asked = put_in_place(patch)
        for gpu in (HostGpu(tf32=tf32), EmulatedGpu()):
            memory = begun.base.copy()
            out = np.lib.stride_tricks.as_strided(memory, begun.shape, begun.strides)
            gpu.gemm(left, right, out, call, add=add)
            np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)
            out[...] = begun
            np.testing.assert_array_equal(memory, begun.base)  # nothing between the rows is touched
    assert asked.computes == [70 if dtype in "dD" else 77 if tf32 else 68]


def test_products_begin_where_they_are_told_to(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(monkeypatch)
    left, right = rng.standard_normal((4, 5)), rng.standard_normal((7, 6))
    for gpu in (HostGpu(), EmulatedGpu()):
        out = np.zeros((9, 8))
        call = gemm_call(2, 3, 4, (5, 1, 0), (6, 1, 0), (8, 1, 0), 1)
        gpu.gemm(left, right, out, call, offsets=(6, 13, 9))
        expected = np.zeros((9, 8))
        expected[1:3, 1:4] = left[1:3, 1:5] @ right[2:6, 1:4]
        np.testing.assert_allclose(out, expected, atol=1e-15)


def test_no_product_of_nothing() -> None:
    """The library is not even there."""
    empty = np.zeros(0)
    for m, n, batch in ((0, 3, 1), (3, 0, 1), (3, 3, 0)):
        HostGpu().gemm(empty, empty, empty, gemm_call(m, n, 2, (2, 1, 0), (3, 1, 0), (3, 1, 0), batch))


def test_matrices_that_the_library_does_not_take() -> None:
    for left, right in (
        ((6, 2, 0), (3, 1, 0)),
        ((4, 1, 0), (-3, 1, 0)),
        ((3, 1, 0), (3, 1, 0)),  # rows of four that overlap
    ):
        with pytest.raises(ValueError, match="has no contiguous rows or columns"):
            gemm_call(2, 3, 4, left, right, (3, 1, 0), 1)


class Kernel:
    """What a module of kernels hands out: remembers its calls."""

    def __init__(self) -> None:
        self.max_dynamic_shared_size_bytes = 48 * 1024
        self.calls: list[Any] = []

    def __call__(self, grid: Any, block: Any, arguments: Any, *, shared_mem: int) -> None:
        self.calls.append((grid, block, arguments, shared_mem))


def test_kernels_are_compiled_once_and_started(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, sources = Kernel(), []

    def raw_module(code: str, options: tuple[str, ...]) -> Any:
        sources.append((code, options))
        return types.SimpleNamespace(get_function=lambda name: kernel)

    gpu = HostGpu(types.SimpleNamespace(RawModule=raw_module))
    gpu.launch("pack.cu", "copy_4", 5, (32, 8), 1, 2)
    gpu.launch("pack.cu", "copy_4", (2, 3), 64, 3, shared=100_000)
    gpu.launch("pack.cu", "copy_4", (0, 3), 64)
    assert kernel.calls == [((5,), (32, 8), (1, 2), 0), ((2, 3), (64,), (3,), 100_000)]
    assert kernel.max_dynamic_shared_size_bytes == 100_000
    assert len(sources) == 1
    assert sources[0] == (kernel_source("pack.cu"), ("-std=c++17",))
    assert "#include" not in kernel_source("pack.cu")
    assert "warp_sum" in kernel_source("pack.cu")


class Clock:
    """Streams, events and pinned memory that do nothing but note the order of what was asked of them."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        clock = self

        class Event:
            made = 0

            def __init__(self, *, disable_timing: bool) -> None:
                assert disable_timing
                self.name = ("copied", "used")[Event.made % 2] + str(Event.made // 2)
                Event.made += 1

            def record(self, stream: Any) -> None:
                clock.notes.append(f"{stream.name} records {self.name}")

            def synchronize(self) -> None:
                clock.notes.append(f"host waits for {self.name}")

        class Stream:
            name = "copies"

            def __init__(self, *, non_blocking: bool = True) -> None:
                assert non_blocking

            def wait_event(self, event: Event) -> None:
                clock.notes.append(f"{self.name} waits for {event.name}")

            def __enter__(self) -> None:
                clock.notes.append("copy")

            def __exit__(self, *error: object) -> None:
                pass

        self.work = Stream()
        self.work.name = "work"
        cuda = types.SimpleNamespace(Event=Event, Stream=Stream, get_current_stream=lambda: self.work)
        cuda.alloc_pinned_memory = Pinned
        self.xp = types.SimpleNamespace(cuda=cuda, empty=Target)


class Pinned(bytearray):
    """Pinned memory: a buffer with a size of its own."""

    @property
    def mem(self) -> Any:
        return types.SimpleNamespace(size=len(self))


class Target:
    """An array that is copied to."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.array = np.zeros(shape, dtype)
        self.data = self

    def copy_from_host_async(self, pointer: int, n_bytes: int, stream: Any) -> None:
        """At once."""
        assert stream.name == "copies"
        ctypes.memmove(self.array.ctypes.data, pointer, n_bytes)


def test_streamed_arrays_come_in_order_and_buffers_wait_for_their_use() -> None:
    clock, rng = Clock(), np.random.default_rng(0)
    batches = [
        (rng.standard_normal((size, 3)), rng.integers(0, 9, 2 * size + 1, dtype=np.int32)[::2], np.zeros(0))
        for size in (4, 700, 1, 5)
    ]
    for batch, found in zip(batches, HostGpu(clock.xp).stream(iter(batches)), strict=True):
        for array, target in zip(batch, found, strict=True):
            np.testing.assert_array_equal(target.array, array)
        clock.notes.append("work")
    ahead = ["host waits for copied0", "copy", "copies records copied0", "host waits for copied1", "copy"]
    assert clock.notes[:8] == [*ahead, "copies records copied1", "work waits for copied0", "work"]
    third = ["host waits for copied0", "work records used0", "copies waits for used0", "copy", "copies records copied0"]
    assert clock.notes[8:15] == [*third, "work waits for copied1", "work"]
    assert list(HostGpu(clock.xp).stream(iter([]))) == []


def test_the_owner_of_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    emulated = EmulatedGpu()
    monkeypatch.setattr(device_gpu, "_current", None)
    monkeypatch.setattr(device_gpu, "_open", lambda **options: emulated)
    device = emulated.to_device(np.ones(3))
    assert owner(device) is None
    assert open_gpu(limit=5) is emulated
    assert owner(device) is emulated
    for other in (np.ones(3), 1.0, [1.0], np.float64(1)):
        assert owner(other) is None
    assert type(device) is EmulatedArray
