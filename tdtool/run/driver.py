"""The NVIDIA driver of this machine and its GPUs, asked by ctypes: what can be known without cupy."""

from __future__ import annotations

import ctypes
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LIBRARY = "libcuda.so.1"
_VERSION_FILE = Path("/proc/driver/nvidia/version")
_VERSION = re.compile(r"(?<![\w.])(\d{3,}\.\d+(\.\d+)?)(?![\w.])")
_NAME_BYTES = 256
#: CUdevice_attribute: major and minor compute capability, and who may use the device.
_MAJOR, _MINOR, _COMPUTE_MODE = 75, 76, 20
#: What values of the compute mode but 0 mean.
_MODES = {1: "one thread at a time", 2: "prohibited", 3: "one process at a time"}


@dataclasses.dataclass(frozen=True)
class Device:
    """One GPU. memory : bytes; capability : major, minor; mode : "" or who alone may use it."""

    name: str
    memory: int
    capability: tuple[int, int]
    mode: str = ""


@dataclasses.dataclass(frozen=True)
class Driver:
    """A driver that is installed.

    version : "580.65.06", "" where the system does not tell; cuda : the newest CUDA that it runs, major and minor;
    error : the number and name of what its start answered, (0, "") for well.
    """

    version: str
    cuda: tuple[int, int]
    devices: tuple[Device, ...] = ()
    error: tuple[int, str] = (0, "")

    @property
    def cuda_text(self) -> str:
        """As it is written: 13.0."""
        return ".".join(map(str, self.cuda))


def read_driver(load: Callable[[str], Any] = ctypes.CDLL, version_file: Path = _VERSION_FILE) -> Driver | None:
    """What the driver says; None where there is none.

    load : opens a library by its name, OSError where it is not there; version_file : where Linux has the version.
    """
    try:
        library = load(_LIBRARY)
    except OSError:
        return None
    error = int(library.cuInit(0))
    version = _version(version_file)
    cuda = _cuda(library)
    if error:
        return Driver(version, cuda, error=(error, _error_name(library, error)))
    count = ctypes.c_int()
    error = int(library.cuDeviceGetCount(ctypes.byref(count)))
    devices = tuple(_device(library, number) for number in range(count.value)) if not error else ()
    return Driver(version, cuda, devices, (error, _error_name(library, error) if error else ""))


def _version(path: Path) -> str:
    try:
        found = _VERSION.search(path.read_text(encoding="ascii", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""


def _cuda(library: Any) -> tuple[int, int]:
    """(0, 0) where it does not tell; answered even before a start."""
    number = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(number)):
        return 0, 0
    return number.value // 1000, number.value % 1000 // 10


def _error_name(library: Any, error: int) -> str:
    name = ctypes.c_char_p()
    if library.cuGetErrorName(error, ctypes.byref(name)) or name.value is None:
        return f"error {error}"
    return name.value.decode("ascii", "replace")


def _device(library: Any, number: int) -> Device:
    handle, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(_NAME_BYTES)
    library.cuDeviceGet(ctypes.byref(handle), number)
    library.cuDeviceGetName(name, _NAME_BYTES, handle)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    major, minor, mode = (_attribute(library, handle, which) for which in (_MAJOR, _MINOR, _COMPUTE_MODE))
    text = name.value.decode("utf-8", "replace")
    return Device(text, memory.value, (major, minor), "" if mode == 0 else _MODES.get(mode, f"mode {mode}"))


def _attribute(library: Any, handle: ctypes.c_int, which: int) -> int:
    value = ctypes.c_int()
    library.cuDeviceGetAttribute(ctypes.byref(value), which, handle)
    return value.value
