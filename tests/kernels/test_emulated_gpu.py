"""The emulated GPU itself: what the other tests of GPU code stand on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.kernels import device_gpu
from tests import emulated_gpu
from tests.emulated_gpu import EmulatedGpu, needs_compiler

pytestmark = needs_compiler

SOURCE = """
#include "common.cuh"
extern "C" __global__ void sums(const float* x, int n, float* out) {
    __shared__ float parts[32];
    float total = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) total += x[i];
    total = block_sum(total, parts);
    if (threadIdx.x == 0) out[blockIdx.x] = total;
}
extern "C" __global__ void turned(const double* x, double* out) {
    DYNAMIC_SHARED(double, kept);
    kept[threadIdx.x] = x[threadIdx.x];
    BARRIER
    out[threadIdx.x] = kept[blockDim.x - 1 - threadIdx.x];
}
extern "C" __global__ void lanes(int* up, unsigned* ballot) {
    const int lane = threadIdx.x % 32;
    up[threadIdx.x] = __shfl_up_sync(ALL_LANES, lane, 1);
    ballot[threadIdx.x] = __ballot_sync(ALL_LANES, lane % 3 == 0);
}
extern "C" __global__ void kept(float* out) {
    __shared__ float tile[2][32];
    out[blockIdx.x * 32 + threadIdx.x] = tile[1][threadIdx.x];
    tile[1][threadIdx.x] = 1;
}
extern "C" __global__ void some_leave(unsigned* ballot, int* down) {
    if (threadIdx.x >= 40) return;
    ballot[threadIdx.x] = __ballot_sync(__ballot_sync(ALL_LANES, 1), 1);
    down[threadIdx.x] = __shfl_down_sync(ALL_LANES, (int)threadIdx.x, 1, 4);
}
"""


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts kernels of this file in place of those of a .cu file."""

    def use(barrier: str) -> None:
        header = Path(device_gpu.__file__).with_name("common.cuh").read_text()
        text = SOURCE.replace("BARRIER", barrier).replace('#include "common.cuh"', header)
        monkeypatch.setattr(emulated_gpu, "kernel_source", lambda file: text)
        emulated_gpu._compiled.cache_clear()

    use("__syncthreads();")
    yield use
    emulated_gpu._compiled.cache_clear()


@pytest.mark.parametrize("reverse", [False, True])
def test_sums_over_a_block(source: Any, reverse: bool) -> None:
    gpu = EmulatedGpu(reverse=reverse)
    x = np.arange(1000, dtype=np.float32)
    out = gpu.empty(3, np.float32)
    gpu.launch("x.cu", "sums", 3, 96, gpu.to_device(x), np.int32(1000), out)
    assert gpu.to_host(out).tolist() == [499500.0] * 3


@pytest.mark.parametrize("reverse", [False, True])
def test_a_missing_barrier_shows(source: Any, reverse: bool) -> None:
    gpu = EmulatedGpu(reverse=reverse)
    x = np.arange(64.0)

    def turned() -> np.ndarray:
        out = gpu.empty(64, np.float64)
        gpu.launch("x.cu", "turned", 1, 64, gpu.to_device(x), out, shared=64 * 8)
        return gpu.to_host(out)

    np.testing.assert_array_equal(turned(), x[::-1])
    source("")
    assert np.isnan(turned()).any()


def test_lanes_see_each_other(source: Any) -> None:
    gpu = EmulatedGpu()
    up, ballot = gpu.empty(64, np.int32), gpu.empty(64, np.uint32)
    gpu.launch("x.cu", "lanes", 1, 64, up, ballot)
    assert gpu.to_host(up).tolist() == [0, *range(31)] * 2
    assert set(gpu.to_host(ballot).tolist()) == {sum(1 << lane for lane in range(0, 32, 3))}


def test_lanes_that_have_left_have_no_vote(source: Any) -> None:
    for gpu in (EmulatedGpu(), EmulatedGpu(reverse=True)):
        ballot, down = gpu.empty(40, np.uint32), gpu.empty(40, np.int32)
        gpu.launch("x.cu", "some_leave", 1, 64, ballot, down)
        assert gpu.to_host(ballot).tolist() == [2**32 - 1] * 32 + [2**8 - 1] * 8
        assert gpu.to_host(down).tolist() == [lane if lane % 4 == 3 else lane + 1 for lane in range(40)]


def test_shared_memory_begins_unwritten_in_every_block(source: Any) -> None:
    gpu = EmulatedGpu()
    out = gpu.zeros(96, np.float32)
    gpu.launch("x.cu", "kept", 3, 32, out)
    assert np.isnan(gpu.to_host(out)).all()


def test_arguments_must_have_the_types_of_the_kernel(source: Any) -> None:
    gpu = EmulatedGpu()
    x, out = gpu.zeros(4, np.float32), gpu.empty(1, np.float32)
    for arguments, message in (
        ((x, 4, out), "n is no numpy scalar"),
        ((x, np.int64(4), out), "n is int64, not int"),
        ((gpu.zeros(4, np.float64), np.int32(4), out), "x is float64"),
        ((np.zeros(4, np.float32), np.int32(4), out), "x is not an array of the GPU"),
        ((x, np.int32(4)), "takes 3 arguments; 2 were given"),
    ):
        with pytest.raises(AssertionError, match=message):
            gpu.launch("x.cu", "sums", 1, 32, *arguments)


def test_arrays_of_the_host_do_not_mix_in() -> None:
    gpu = EmulatedGpu()
    x = gpu.to_device(np.ones(3))
    assert all(map(gpu.owns, (x * 2 + x, x[1:], gpu.xp.sum(x))))
    for mixed in (lambda: x + np.ones(3), lambda: gpu.xp.concatenate([x, np.ones(3)]), lambda: np.dot(x, np.ones(3))):
        with pytest.raises(TypeError, match="array of the host"):
            mixed()


def test_memory_ends_where_it_is_told() -> None:
    gpu = EmulatedGpu(fail_at=2)
    gpu.zeros(3, np.float32)
    with pytest.raises(MemoryError):
        gpu.empty(3, np.float32)
    gpu.empty(3, np.float32)


def test_streamed_arrays_are_gone_two_later() -> None:
    gpu = EmulatedGpu()
    seen = []
    for (x,) in gpu.stream((np.full(2, float(i)),) for i in range(3)):
        seen.append(x)
        assert gpu.to_host(x).tolist() == [len(seen) - 1.0] * 2
    assert np.isnan(gpu.to_host(seen[0])).all()
