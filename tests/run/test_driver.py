"""What is read from an NVIDIA driver, by a library object that stands in for libcuda."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from tdtool.run.driver import Device, Driver, read_driver

GIB = 1 << 30
VERSION = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs)  Sun Jul 27 UTC 2025\n"
    "GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2)\n"
)


class FakeCuda:
    """libcuda as far as it is called: results by pointer, 0 for well."""

    def __init__(
        self, *, start: int = 0, count_error: int = 0, cuda: int = 13000, devices: list[dict[str, Any]]
    ) -> None:
        self._start, self._count_error, self._cuda, self._devices = start, count_error, cuda, devices

    def cuInit(self, flags: int) -> int:  # noqa: N802 -- the library's name
        assert flags == 0
        return self._start

    def cuDriverGetVersion(self, out: Any) -> int:  # noqa: N802
        out._obj.value = self._cuda
        return 0 if self._cuda else 1

    def cuGetErrorName(self, error: int, out: Any) -> int:  # noqa: N802
        names = {100: b"CUDA_ERROR_NO_DEVICE", 803: b"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"}
        out._obj.value = names.get(error)
        return 0 if error in names else 1

    def cuDeviceGetCount(self, out: Any) -> int:  # noqa: N802
        out._obj.value = len(self._devices)
        return self._count_error

    def cuDeviceGet(self, out: Any, number: int) -> int:  # noqa: N802
        out._obj.value = number
        return 0

    def cuDeviceGetName(self, out: Any, size: int, handle: ctypes.c_int) -> int:  # noqa: N802
        out.value = self._devices[handle.value]["name"]
        assert len(out.value) < size
        return 0

    def cuDeviceTotalMem_v2(self, out: Any, handle: ctypes.c_int) -> int:  # noqa: N802
        out._obj.value = self._devices[handle.value]["memory"]
        return 0

    def cuDeviceGetAttribute(self, out: Any, which: int, handle: ctypes.c_int) -> int:  # noqa: N802
        out._obj.value = self._devices[handle.value][{75: "major", 76: "minor", 20: "mode"}[which]]
        return 0


H100 = {"name": b"NVIDIA H100 80GB HBM3", "memory": 80 * GIB, "major": 9, "minor": 0, "mode": 0}
T4 = {"name": b"Tesla T4", "memory": 15 * GIB, "major": 7, "minor": 5, "mode": 3}


def read(library: FakeCuda, version_file: Path = Path("/nowhere/version")) -> Driver:
    driver = read_driver(lambda name: {"libcuda.so.1": library}[name], version_file)
    assert driver is not None
    return driver


def test_no_library_is_no_driver() -> None:
    def load(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    assert read_driver(load) is None


def test_devices_and_versions(tmp_path: Path) -> None:
    (tmp_path / "version").write_text(VERSION)
    driver = read(FakeCuda(devices=[H100, T4]), tmp_path / "version")
    assert (driver.version, driver.cuda, driver.cuda_text, driver.error) == ("580.65.06", (13, 0), "13.0", (0, ""))
    assert driver.devices == (
        Device("NVIDIA H100 80GB HBM3", 80 * GIB, (9, 0), ""),
        Device("Tesla T4", 15 * GIB, (7, 5), "one process at a time"),
    )
    assert read(FakeCuda(cuda=12040, devices=[T4])).cuda == (12, 4)


@pytest.mark.parametrize(("number", "name"), [(100, "CUDA_ERROR_NO_DEVICE"), (999, "error 999")])
def test_a_start_that_fails_is_told(number: int, name: str) -> None:
    driver = read(FakeCuda(start=number, devices=[H100]))
    assert (driver.version, driver.cuda, driver.devices, driver.error) == ("", (13, 0), (), (number, name))
    assert read(FakeCuda(count_error=number, devices=[H100])).error == (number, name)


def test_a_driver_that_tells_no_version() -> None:
    assert read(FakeCuda(cuda=0, devices=[])).cuda == (0, 0)


def test_this_machine() -> None:
    driver = read_driver()
    assert driver is None or driver.cuda > (0, 0)
