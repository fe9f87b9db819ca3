"""A GPU or the reason why there is none: every reason has its sentence, its line to type, and exit code 4."""

from __future__ import annotations

import importlib.metadata
import types
from typing import Any

import numpy as np
import pytest

from tdtool.config import ComputeConfig
from tdtool.errors import GpuError, InputError, MissingExtraError, ResourceError, TdtoolError
from tdtool.kernels import device_gpu
from tdtool.run import device
from tdtool.run.device import Package, cupy_package, gpu_errors, in_words, on_device, open_device, why_not
from tdtool.run.driver import Device, Driver
from tests.emulated_gpu import EmulatedGpu, gpu

__all__ = ["gpu"]

H100 = Device("H100", 80 << 30, (9, 0))
CUPY_13, CUPY_12 = Package("cupy-cuda13x", "14.2.0", 13), Package("cupy-cuda12x", "14.2.0", 12)
GOOD = Driver("580.65", (13, 0), (H100,))


def cupys(message: str, *, name: str = "CUDARuntimeError", module: str = "cupy_backends.cuda.api.runtime") -> Exception:
    """An error as cupy raises it."""
    base = MemoryError if name == "OutOfMemoryError" else RuntimeError
    made: Exception = type(name, (base,), {"__module__": module})(message)
    return made


INSUFFICIENT = cupys("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version")
OTHER = cupys("cudaErrorUnknown: unknown error")
OLD, V100 = Device("K80", 12 << 30, (3, 7)), Device("Tesla V100", 32 << 30, (7, 0))
EXCLUSIVE = Device("A100", 40 << 30, (8, 0), "one process at a time")
REASONS: dict[str, tuple[Driver | None, Package | None, Exception, str, str]] = {
    "no driver": (None, CUPY_13, INSUFFICIENT, "no NVIDIA driver: libcuda.so.1", "--gpus all"),
    "no device": (Driver("580", (13, 0), (), (100, "X")), CUPY_13, OTHER, "finds no GPU", "look at nvidia-smi"),
    "none counted": (Driver("580", (13, 0)), CUPY_13, OTHER, "finds no GPU", "look at nvidia-smi"),
    "fabric": (Driver("580", (13, 0), (), (802, "X")), CUPY_13, OTHER, "not ready", "nvidia-fabricmanager"),
    "mismatch": (Driver("580", (13, 0), (), (803, "X")), CUPY_13, OTHER, "two versions", "restart"),
    "unknown": (
        Driver("580", (13, 0), (), (999, "CUDA_UNKNOWN")),
        CUPY_13,
        OTHER,
        "not start (CUDA_UNKNOWN)",
        "nvidia-smi",
    ),
    "another cuda": (
        Driver("550.54", (12, 4), (H100,)),
        CUPY_13,
        INSUFFICIENT,
        "cupy-cuda13x needs a driver for CUDA 13, and this one (550.54) takes CUDA 12.4",
        "run: pip uninstall cupy-cuda13x && pip install 'cupy-cuda12x[ctk]'",
    ),
    "cupy for cuda 12": (
        Driver("550.54", (12, 4), (H100,)),
        None,
        ModuleNotFoundError("No module named 'cupy'"),
        "cupy is not installed",
        "run: pip install 'cupy-cuda12x[ctk]'",
    ),
    "old driver": (
        Driver("470.1", (11, 4), (H100,)),
        CUPY_12,
        INSUFFICIENT,
        "takes CUDA 11.4, the least is 12",
        "update",
    ),
    "volta": (
        Driver("580", (13, 0), (V100,)),
        CUPY_13,
        OTHER,
        "no code for Tesla V100",
        "pip install 'cupy-cuda12x[ctk]'",
    ),
    "too old": (Driver("470", (11, 4), (OLD,)), CUPY_13, OTHER, "K80 is too old: its compute capability is 3.7", "cpu"),
    "libraries": (
        GOOD,
        CUPY_13,
        ImportError("libcublas.so.13: cannot open shared object file"),
        "libraries of CUDA are missing: libcublas.so.13",
        "run: pip install 'cupy-cuda13x[ctk]'",
    ),
    "compiler": (
        GOOD,
        CUPY_12,
        RuntimeError("CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12"),
        "libraries of CUDA are missing",
        "run: pip install 'cupy-cuda12x[ctk]'",
    ),
    "busy": (
        Driver("580", (13, 0), (EXCLUSIVE,)),
        CUPY_13,
        cupys("cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable"),
        "the GPU is busy",
        "one process at a time",
    ),
    "memory": (
        GOOD,
        CUPY_13,
        cupys("Out of memory allocating 512 bytes", name="OutOfMemoryError", module="cupy.cuda.memory"),
        "memory of the GPU is not enough: Out of memory",
        "--gpu-memory",
    ),
    "failed": (GOOD, CUPY_13, cupys("cudaErrorECCUncorrectable: uncorrectable ECC error"), "the GPU failed", "Xid"),
    "wrong": (GOOD, CUPY_13, RuntimeError("1 times 1"), "cannot be used: RuntimeError: 1 times 1", "--device cpu"),
}


@pytest.mark.parametrize("case", REASONS)
def test_every_reason_says_what_to_do(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    driver, package, error, what, hint = REASONS[case]
    monkeypatch.setattr(device, "cupy_package", lambda: package)
    why = why_not(driver, package, error)
    assert isinstance(why, GpuError)
    assert why.exit_code == 4
    assert what in why.what
    assert hint in str(why.hint)


def test_without_cupy_the_extra_is_named() -> None:
    why = why_not(GOOD, None, ModuleNotFoundError("No module named 'cupy'"))
    assert isinstance(why, MissingExtraError)
    assert str(why) == "cupy is not installed\n  run: pip install 'tdtool[gpu]'"


def test_hidden_devices_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    why = why_not(Driver("580", (13, 0), (), (100, "CUDA_ERROR_NO_DEVICE")), CUPY_13, OTHER)
    assert why is not None
    assert "CUDA_VISIBLE_DEVICES is ''" in str(why.hint)


def test_a_bug_is_no_trouble_of_a_gpus() -> None:
    assert why_not(GOOD, CUPY_13, ZeroDivisionError("x")) is None


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["numpy", "cupy-cuda13x"], Package("cupy-cuda13x", "1.0", 13)),
        (["CuPy"], Package("cupy", "1.0", None)),
        (["cupy-xarray"], None),
    ],
)
def test_installed_cupy(names: list[str], found: Package | None, monkeypatch: pytest.MonkeyPatch) -> None:
    there = [types.SimpleNamespace(metadata={"Name": name}, version="1.0") for name in names]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: there)
    assert cupy_package() == found


# ---- opening


def test_cpu_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "read_driver", None)
    monkeypatch.setattr(device, "cupy_package", None)
    assert open_device(ComputeConfig("cpu")) is None


def test_auto_without_one_is_the_cpu(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for driver, package in ((None, CUPY_13), (GOOD, None), (Driver("550", (12, 4), (H100,)), CUPY_13)):
        monkeypatch.setattr(device, "read_driver", lambda driver=driver: driver)
        monkeypatch.setattr(device, "cupy_package", lambda package=package: package)
        monkeypatch.setattr(device_gpu, "_open", None)  # not even tried
        assert open_device(ComputeConfig()) is None
    assert not caplog.records


def test_auto_and_cuda_where_the_gpu_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> Any:
        raise OTHER

    monkeypatch.setattr(device, "read_driver", lambda: GOOD)
    monkeypatch.setattr(device, "cupy_package", lambda: CUPY_13)
    monkeypatch.setattr(device_gpu, "_open", fail)
    assert open_device(ComputeConfig()) is None
    with pytest.raises(GpuError, match="the GPU failed: CUDARuntimeError: cudaErrorUnknown") as caught:
        open_device(ComputeConfig("cuda"))
    assert caught.value.__cause__ is OTHER


def test_a_bug_while_opening_is_shown_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(device_gpu, "_open", fail)
    with pytest.raises(ZeroDivisionError):
        open_device(ComputeConfig("cuda"))


def test_cuda_is_opened_with_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def open_it(**options: Any) -> EmulatedGpu:
        asked.update(options)
        return EmulatedGpu(**options)

    monkeypatch.setattr(device_gpu, "_open", open_it)
    with on_device(ComputeConfig("cuda", 3 << 30, tf32=True)) as found:
        assert found is not None
        assert (found.limit, found.tf32) == (3 << 30, True)
    assert asked == {"limit": 3 << 30, "tf32": True}


def test_a_gpu_that_multiplies_wrongly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = EmulatedGpu()
    monkeypatch.setattr(wrong, "gemm", lambda *_: None)
    monkeypatch.setattr(device_gpu, "_open", lambda **_: wrong)
    monkeypatch.setattr(device, "read_driver", lambda: GOOD)
    monkeypatch.setattr(device, "cupy_package", lambda: CUPY_13)
    with pytest.raises(GpuError, match="cannot be used: RuntimeError"):
        open_device(ComputeConfig("cuda"))


# ---- while it works


def test_no_memory_on_the_gpu(gpu: EmulatedGpu) -> None:
    with pytest.raises(GpuError, match="memory of the GPU is not enough") as caught, on_device(ComputeConfig("cuda")):
        raise MemoryError("the emulated GPU has no memory left")
    assert "--device cpu" in str(caught.value.hint)


def test_what_a_run_made_of_it_is_said_better(gpu: EmulatedGpu) -> None:
    made = ResourceError("not enough memory for the communities", hint="fewer")
    made.__cause__ = cupys("Out of memory", name="OutOfMemoryError", module="cupy.cuda.memory")
    with pytest.raises(GpuError, match="memory of the GPU"), on_device(ComputeConfig("cuda")):
        raise made


@pytest.mark.parametrize(
    "message",
    ["cudaErrorIllegalAddress: an illegal memory access", "cudaErrorLaunchFailure: unspecified launch failure"],
)
def test_a_gpu_that_fails(gpu: EmulatedGpu, message: str) -> None:
    with pytest.raises(GpuError, match="the GPU failed") as caught, gpu_errors():
        raise cupys(message)
    assert "--device cpu" in str(caught.value.hint)


def test_libraries_that_are_missing_later() -> None:
    with pytest.raises(GpuError, match="libraries of CUDA are missing: libcufft"), gpu_errors():
        raise ImportError("libcufft.so.12: cannot open shared object file")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        np._core._exceptions._ArrayMemoryError((9, 9), np.dtype("f8")),
        ResourceError("the disk is full"),
        InputError("no number"),
        RuntimeError("a bug"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_pass(error: BaseException) -> None:
    assert in_words(error) is None
    with pytest.raises(type(error)) as caught, gpu_errors():
        raise error
    assert caught.value is error
    assert not isinstance(caught.value, GpuError) or isinstance(error, TdtoolError)
