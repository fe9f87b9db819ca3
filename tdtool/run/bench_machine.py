"""A quick look at what a machine can do. Each measurement ends within two seconds."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable

import numpy as np

_SECONDS = 0.7
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
