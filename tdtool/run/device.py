"""The GPU that a run uses, or why there is none; and what goes wrong on it, in words."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from tdtool import log
from tdtool.config import ComputeConfig
from tdtool.errors import GpuError, MissingExtraError, ResourceError
from tdtool.kernels import device_gpu
from tdtool.run.driver import Driver, read_driver

if TYPE_CHECKING:
    from tdtool.kernels.device_gpu import Gpu

_ON_CPU = "without a GPU: --device cpu"
#: Least compute capability of our kernels, of what CUDA 13 compiles for, and the CUDA of the oldest cupy that we take.
_LEAST, _LEAST_OF_13, _OLDEST_CUDA = (7, 0), (7, 5), 12
#: Modules of errors that cupy raises.
_CUPY = ("cupy", "cupy_backends")
_LIBRARY = re.compile(r"lib(?:cu|nv)[\w-]+(?:\.so[\w.]*)?|CuPy failed to load|CUDA_PATH|DynamicLibNotFound")
_OUT_OF_MEMORY = re.compile(r"out of memory|ALLOC_FAILED|MemoryAllocation|OUT_OF_MEMORY", re.IGNORECASE)
_BUSY = re.compile(r"DevicesUnavailable|DEVICE_UNAVAILABLE|all CUDA-capable devices are busy", re.IGNORECASE)
#: What the driver answers when it is started: number -> (what is wrong, what to do).
_DRIVER_ERRORS = {
    100: ("the driver finds no GPU", "look at nvidia-smi; in a container: --gpus all"),
    101: ("the driver finds no such GPU", "look at nvidia-smi"),
    46: ("the GPU is busy", "another process has it to itself: nvidia-smi says which"),
    802: ("the GPUs are not ready", "their switches need a service: systemctl start nvidia-fabricmanager"),
    803: ("the driver and its libraries are of two versions", "restart the machine, or the container"),
    804: ("the driver is too old for the libraries in this container", "update the driver of the machine"),
}


@dataclasses.dataclass(frozen=True)
class Package:
    """The cupy that is installed. name : cupy-cuda13x; cuda : 13, None where its name does not tell."""

    name: str
    version: str
    cuda: int | None


def cupy_package() -> Package | None:
    """The installed cupy, by the names of packages alone; None where there is none."""
    for distribution in importlib.metadata.distributions():
        name = str(distribution.metadata["Name"] or "").lower()
        if found := re.fullmatch(r"cupy(?:-cuda(\d+)x)?", name):
            return Package(name, distribution.version, int(found[1]) if found[1] else None)
    return None


def open_device(config: ComputeConfig) -> Gpu | None:
    """The GPU for a run, None for the CPU. Device "auto" takes a GPU that can be used, and says nothing without one.

    GpuError (exit code 4) or MissingExtraError for device "cuda", with what is missing and the line that installs it.
    """
    if config.device == "cpu":
        return None
    if config.device == "auto" and not _may_have_one():
        return None
    try:
        gpu = device_gpu.open_gpu(limit=config.gpu_memory, tf32=config.tf32)
        _try(gpu)
    except Exception as error:
        why = why_not(read_driver(), cupy_package(), error)
        if why is None:
            raise
        if config.device == "auto":
            log.detail(f"no GPU: {why.what}")
            return None
        raise why from error
    log.detail(f"GPU: {gpu.name}, at most {gpu.limit / 1e9:.1f} GB for arrays")
    return gpu


@contextlib.contextmanager
def on_device(config: ComputeConfig) -> Iterator[Gpu | None]:
    """`with on_device(config) as gpu:` the GPU for a run or None; what fails on it is said in words."""
    gpu = open_device(config)
    if gpu is None:
        yield None
        return
    with gpu_errors():
        yield gpu


def on_device_named(name: Literal["auto", "cpu", "cuda"]) -> contextlib.AbstractContextManager[Gpu | None]:
    """`on_device` for an estimator's `device`. ValueError: neither "auto" nor "cpu" nor "cuda"."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device is {name!r}; it is 'auto', 'cpu' or 'cuda'")
    return on_device(ComputeConfig(name))


@contextlib.contextmanager
def gpu_errors() -> Iterator[None]:
    """Errors of a GPU that pass become GpuErrors, which say what to do; all others pass as they are."""
    try:
        yield
    except Exception as error:
        said = in_words(error)
        if said is None:
            raise
        raise said from error


def in_words(error: BaseException) -> GpuError | None:
    """An error of the GPU, or a ResourceError that was made of one, as a GpuError; None for any other."""
    if isinstance(error, ResourceError) and not isinstance(error, GpuError) and error.__cause__ is not None:
        return in_words(error.__cause__)
    text = _first_line(error)
    is_cupys = type(error).__module__.partition(".")[0] in _CUPY
    if _no_memory(error) or (is_cupys and _OUT_OF_MEMORY.search(text)):
        hint = (
            f"what takes less: fewer topics, components or communities; --gpu-memory SIZE, so that more is streamed "
            f"or another process keeps its share; {_ON_CPU}"
        )
        return GpuError(f"the memory of the GPU is not enough: {text}", hint=hint)
    if is_cupys:
        hint = f"try again; what nvidia-smi and the system's log (Xid) say may tell more; {_ON_CPU}"
        return GpuError(f"the GPU failed: {type(error).__name__}: {text}", hint=hint)
    if isinstance(error, (ImportError, RuntimeError, OSError)) and _LIBRARY.search(text):
        return _libraries(cupy_package(), text)
    return None


def why_not(
    driver: Driver | None, package: Package | None, error: BaseException
) -> GpuError | MissingExtraError | None:
    """Why a GPU could not be opened. error : what the attempt ended with; None where that is no trouble of a GPU's."""
    text = _first_line(error)
    is_cupys = type(error).__module__.partition(".")[0] in _CUPY
    if not is_cupys and not isinstance(error, (ImportError, RuntimeError, OSError, MemoryError)):
        return None
    return (
        _without(driver)
        or _unfit(driver, package)
        or _busy(driver, text)
        or in_words(error)
        or GpuError(f"the GPU cannot be used: {type(error).__name__}: {text}", hint=_ON_CPU)
    )


def missing(driver: Driver | None, package: Package | None) -> GpuError | MissingExtraError | None:
    """What can be known to be missing without a try; None where nothing is."""
    return _without(driver) or _unfit(driver, package)


def _without(driver: Driver | None) -> GpuError | None:
    """No driver, or no device."""
    if driver is None:
        hint = f"install one, or start the container with --gpus all; {_ON_CPU}"
        return GpuError("there is no NVIDIA driver: libcuda.so.1 is not found", hint=hint)
    number, name = driver.error
    if number or not driver.devices:
        what, hint = _DRIVER_ERRORS.get(number or 100, (f"the NVIDIA driver does not start ({name})", "nvidia-smi"))
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        if hidden is not None and number in (0, 100, 101):
            hint = f"CUDA_VISIBLE_DEVICES is {hidden!r}: set it to 0, or unset it"
        return GpuError(what, hint=f"{hint}; {_ON_CPU}")
    return None


def _unfit(driver: Driver | None, package: Package | None) -> GpuError | MissingExtraError | None:
    """No cupy, one for another CUDA than the driver or the device takes, or a device that is too old."""
    if driver is None or not driver.devices:
        return None
    device = driver.devices[0]
    capability = ".".join(map(str, device.capability))
    if device.capability < _LEAST:
        what = f"{device.name} is too old: its compute capability is {capability}, the least is 7.0"
        return GpuError(what, hint=_ON_CPU)
    if (0, 0) < driver.cuda < (_OLDEST_CUDA, 0):
        what = f"the NVIDIA driver {driver.version} is too old: it takes CUDA {driver.cuda_text}, the least is 12"
        return GpuError(what, hint=f"update it; {_ON_CPU}")
    takes = 13 if device.capability >= _LEAST_OF_13 and driver.cuda >= (13, 0) else 12
    if package is None:
        if takes == 13:
            return MissingExtraError("cupy", "gpu")
        return GpuError("cupy is not installed", hint=f"run: pip install 'cupy-cuda{takes}x[ctk]'")
    if package.cuda is not None and package.cuda > takes:
        if driver.cuda < (13, 0):
            what = f"{package.name} needs a driver for CUDA {package.cuda}, and this one ({driver.version}) takes CUDA "
            what += driver.cuda_text
        else:
            what = f"{package.name} has no code for {device.name}, whose compute capability is {capability}"
        hint = f"run: pip uninstall {package.name} && pip install 'cupy-cuda{takes}x[ctk]'"
        return GpuError(what, hint=hint)
    return None


def _busy(driver: Driver | None, text: str) -> GpuError | None:
    if not _BUSY.search(text):
        return None
    mode = driver.devices[0].mode if driver is not None and driver.devices else ""
    hint = f"another process has it to itself ({mode or 'nvidia-smi says which'})"
    if mode == "prohibited":
        hint = "its mode forbids computing: nvidia-smi -c DEFAULT allows it"
    return GpuError("the GPU is busy", hint=f"{hint}; {_ON_CPU}")


def _libraries(package: Package | None, text: str) -> GpuError:
    name = package.name if package is not None and package.cuda is not None else "cupy-cuda13x"
    return GpuError(f"libraries of CUDA are missing: {text}", hint=f"run: pip install '{name}[ctk]'; {_ON_CPU}")


def _no_memory(error: BaseException) -> bool:
    """Whether a MemoryError is of the GPU's memory: those say something, those of Python and numpy are of the host."""
    if not isinstance(error, MemoryError):
        return False
    module = type(error).__module__.partition(".")[0]
    return module in _CUPY or (type(error) is MemoryError and bool(error.args) and str(error) != "std::bad_alloc")


def _first_line(error: BaseException) -> str:
    lines = [line.strip(" =") for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)


def _may_have_one() -> bool:
    """Whether it is worth importing cupy: there is a driver with a device, and a cupy."""
    package = cupy_package()
    return package is not None and missing(read_driver(), package) is None


def _try(gpu: Gpu) -> None:
    """One sum and one product: what compiles kernels and what multiplies must be there, before the work begins."""
    ones = gpu.zeros((2, 2), np.float32) + np.float32(1)
    out = gpu.empty((2, 2), np.float32)
    strides = (2, 1, 4)
    gpu.gemm(ones, ones, out, device_gpu.gemm_call(2, 2, 2, strides, strides, strides, 1))
    if not np.array_equal(gpu.to_host(out), np.full((2, 2), 2, np.float32)):
        raise RuntimeError("1 times 1 and 1 times 1 are not 2 on it")
