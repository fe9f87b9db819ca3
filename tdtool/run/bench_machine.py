"""A quick look at what a machine can do. Each measurement ends within two seconds."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tdtool.kernels.device_gpu import gemm_call

if TYPE_CHECKING:
    from tdtool.kernels.device_gpu import Gpu

_SECONDS = 0.7
#: GPUs: rows of square matrices, and bytes that are copied; a GPU with little memory gets less.
_GPU_ROWS, _GPU_BYTES = 8192, 1 << 30
_DISK_BYTES, _DISK_BLOCK = 128 << 20, 8 << 20


def measure() -> dict[str, str]:
    """Rates by name: matrix products, memory, FFT, disk."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 768, 768))
    a32, b32 = a.astype(np.float32), b.astype(np.float32)
    source = np.ones(16 << 20)
    target = np.empty_like(source)
    signal = rng.standard_normal(1 << 20)
    n = signal.size
    return {
        "matrix product, float64": f"{2 * 768**3 * _rate(lambda: a @ b) / 1e9:.1f} GF/s",
        "matrix product, float32": f"{2 * 768**3 * _rate(lambda: a32 @ b32) / 1e9:.1f} GF/s",
        "memory, copy": f"{2 * source.nbytes * _rate(lambda: np.copyto(target, source)) / 1e9:.1f} GB/s",
        "real FFT, 2^20 points": f"{2.5 * n * np.log2(n) * _rate(lambda: np.fft.rfft(signal)) / 1e9:.2f} GF/s",
        "scratch disk, write": f"{_disk_rate() / 1e6:.0f} MB/s",
    }


def measure_gpu(gpu: Gpu) -> dict[str, str]:
    """Rates of a GPU by name: matrix products of cuBLAS, memory, the way up."""
    rates = {"GPU matrix product, float64": f"{gemm_rate(gpu, np.float64) / 1e12:.1f} TF/s"}
    rates["GPU matrix product, float32"] = f"{gemm_rate(gpu, np.float32) / 1e12:.1f} TF/s"
    rates["GPU matrix product, tf32"] = f"{gemm_rate(gpu, np.float32, tf32=True) / 1e12:.1f} TF/s"
    rates["GPU memory, copy"] = f"{copy_rate(gpu) / 1e9:.0f} GB/s"
    rates["to the GPU"] = f"{upload_rate(gpu) / 1e9:.1f} GB/s"
    return rates


def gemm_rate(gpu: Gpu, dtype: Any, *, tf32: bool = False, rows: int | None = None) -> float:
    """Operations a second of a square matrix product. rows : of the matrices, None for large ones."""
    itemsize = np.dtype(dtype).itemsize
    n = rows or max(min(_GPU_ROWS * 4 // itemsize, int((gpu.limit / (4 * itemsize)) ** 0.5)), 1)
    rng = np.random.default_rng(0)
    left, right = (gpu.to_device(rng.standard_normal((n, n), np.float32).astype(dtype)) for _ in range(2))
    out = gpu.empty((n, n), dtype)
    strides = (n, 1, n * n)
    call = gemm_call(n, n, n, strides, strides, strides, 1)
    before, gpu.tf32 = gpu.tf32, tf32
    try:
        return 2.0 * n**3 * _rate(lambda: _whole(gpu, lambda: gpu.gemm(left, right, out, call)))
    finally:
        gpu.tf32 = before


def copy_rate(gpu: Gpu) -> float:
    """Bytes a second that a copy within the GPU's memory reads and writes."""
    n_bytes = min(_GPU_BYTES, gpu.limit // 4)
    source, target = gpu.zeros(n_bytes, np.uint8), gpu.empty(n_bytes, np.uint8)
    return 2 * n_bytes * _rate(lambda: _whole(gpu, lambda: gpu.xp.copyto(target, source)))


def upload_rate(gpu: Gpu) -> float:
    """Bytes a second from this process's memory to the GPU's, as a stream of batches."""
    batches = [(np.zeros(min(_GPU_BYTES // 16, gpu.limit // 8), np.uint8),)] * 4
    return 4 * batches[0][0].nbytes * _rate(lambda: _whole(gpu, lambda: list(map(len, gpu.stream(batches)))))


def _whole(gpu: Gpu, work: Callable[[], object]) -> None:
    """Work that is done when this returns, not only started."""
    work()
    gpu.synchronize()


def _rate(work: Callable[[], object]) -> float:
    """Runs a second: of the fastest run, after one to warm up."""
    work()
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while (start := time.perf_counter()) < end:
        work()
        best = min(best, time.perf_counter() - start)
    return 1 / best


def _disk_rate() -> float:
    """Bytes a second written to the scratch directory and synchronised; slow disks get less to do."""
    block = np.random.default_rng(0).bytes(_DISK_BLOCK)
    with tempfile.TemporaryFile() as file:
        start, written = time.perf_counter(), 0
        while written < _DISK_BYTES and time.perf_counter() - start < _SECONDS:
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
            written += _DISK_BLOCK
        return written / (time.perf_counter() - start)
