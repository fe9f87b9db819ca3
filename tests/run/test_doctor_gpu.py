"""What `tdtool doctor` says of a GPU, with one and without."""

from __future__ import annotations

from typing import Any

import pytest

from tdtool.kernels import device_gpu
from tdtool.run import bench_machine, device, doctor
from tdtool.run.device import Package
from tdtool.run.driver import Device, Driver
from tests.emulated_gpu import EmulatedGpu, gpu

__all__ = ["gpu"]

DRIVER = Driver("580.65.06", (13, 0), (Device("NVIDIA H100", 80 << 30, (9, 0), "one process at a time"),))


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a driver and cupy; nothing is measured."""
    for module in (device, doctor):
        monkeypatch.setattr(module, "read_driver", lambda: DRIVER)
        monkeypatch.setattr(module, "cupy_package", lambda: Package("cupy-cuda13x", "14.2.0", 13))
    for name in ("CUDA_PATH", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(doctor, "_cuda_wheels", lambda: ["cublas 13.1", "cufft 12.0"])


def test_a_gpu_is_described(gpu: EmulatedGpu) -> None:
    assert doctor.examine()["GPU"] == {
        "--device cuda": "emulated, 8.0 of 16.0 GiB free",
        "driver": "580.65.06, runs CUDA up to 13.0",
        "device 0": "NVIDIA H100, 80.0 GiB, compute capability 9.0, one process at a time",
        "cupy": "14.2.0 (cupy-cuda13x)",
        "CUDA libraries": "cublas 13.1, cufft 12.0",
    }


def test_a_gpu_is_measured(gpu: EmulatedGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "measure", dict)
    monkeypatch.setattr(bench_machine, "_SECONDS", 0.01)
    monkeypatch.setattr(bench_machine, "_GPU_ROWS", 64)
    monkeypatch.setattr(bench_machine, "_GPU_BYTES", 1 << 16)
    measured = doctor.examine(bench=True)["Measured"]
    assert list(measured) == [
        "GPU matrix product, float64",
        "GPU matrix product, float32",
        "GPU matrix product, tf32",
        "GPU memory, copy",
        "to the GPU",
    ]
    assert all(float(text.split()[0]) >= 0 for text in measured.values())
    assert gpu.tf32 is False


def test_why_there_is_none_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> Any:
        raise ImportError("libcublas.so.13: cannot open shared object file")

    monkeypatch.setattr(device_gpu, "_open", fail)
    facts = doctor.examine()["GPU"]
    assert (
        facts["--device cuda"] == "none: libraries of CUDA are missing: libcublas.so.13: cannot open shared object file"
    )
    assert facts["help"].startswith("run: pip install 'cupy-cuda13x[ctk]'")
    for module in (device, doctor):
        monkeypatch.setattr(module, "read_driver", lambda: None)
        monkeypatch.setattr(module, "cupy_package", lambda: None)
    facts = doctor.examine()["GPU"]
    assert facts["--device cuda"] == "none: there is no NVIDIA driver: libcuda.so.1 is not found"
    assert facts["cupy"] == "missing"
    assert not any(name.startswith(("device 0", "driver")) for name in facts)
