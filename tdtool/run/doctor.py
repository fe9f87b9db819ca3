"""What there is to know about this machine and this installation."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdtool import __version__
from tdtool.config import ComputeConfig
from tdtool.errors import ClusterError, TdtoolError
from tdtool.run.bench_machine import measure, measure_gpu
from tdtool.run.device import cupy_package, gpu_errors, open_device
from tdtool.run.driver import Device, read_driver
from tdtool.run.machine import available_cores, available_memory, total_memory

if TYPE_CHECKING:
    from tdtool.kernels.device_gpu import Gpu

_GIB = 1 << 30
_PERSONAL = ("dev", "all")


def examine(*, bench: bool = False) -> dict[str, dict[str, Any]]:
    """Facts by title: system, threads, packages, extras, Spark, GPU, and with `bench` what the machine can do."""
    gpu, about_gpu = _gpu()
    report = {
        "System": _system(),
        "Threads": _threads(),
        "Packages": {name: _version(name) or "missing" for name in _requirements("")},
        "Optional extras": _extras(),
        "Spark": _spark(),
        "GPU": about_gpu,
    }
    if not bench:
        return report
    measured = measure()
    if gpu is not None:
        with gpu_errors():
            measured |= measure_gpu(gpu)
    return {**report, "Measured": measured}


def _system() -> dict[str, Any]:
    scratch = Path(tempfile.gettempdir())
    disk = shutil.disk_usage(scratch)
    free = available_memory()
    return {
        "tdtool": __version__,
        "Python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "CPU": _cpu(),
        "cores": f"{available_cores()} of {os.cpu_count()}",
        "memory": f"{total_memory() / _GIB:.1f} GiB" + ("" if free is None else f", {free / _GIB:.1f} GiB free"),
        "scratch": f"{scratch}, {disk.free / _GIB:.1f} GiB free of {disk.total / _GIB:.1f} (TMPDIR moves it)",
    }


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _threads() -> dict[str, Any]:
    import numpy  # noqa: F401 -- its BLAS is what is asked about
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_info

    facts: dict[str, Any] = {}
    for pool in threadpool_info():
        kind = f"{pool['internal_api']} {pool.get('version') or ''}".strip()
        facts[f"{Path(pool['filepath']).name}"] = (
            f"{kind}, {pool.get('architecture', '?')}, {pool['num_threads']} threads"
        )
    return facts | _set("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def _extras() -> dict[str, Any]:
    """Each extra: the versions that are there, or the line that installs it."""
    found: dict[str, Any] = {}
    for extra in importlib.metadata.metadata("tdtool").get_all("Provides-Extra") or []:
        if extra in _PERSONAL:
            continue
        versions = {name: _version(name) for name in _requirements(extra)}
        present = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        complete = bool(versions) and all(versions.values())
        found[extra] = (
            present if complete else f"pip install 'tdtool[{extra}]'" + (f"  (has {present})" if present else "")
        )
    return found


def _spark() -> dict[str, Any]:
    """What --master would use: the Java, or why there is none."""
    from tdtool.jobs.java import find_java

    try:
        java = str(find_java())
    except ClusterError as error:
        java = error.what
    return {"pyspark": _version("pyspark") or "missing", "Java": java, **_set("SPARK_HOME", "JAVA_HOME")}


def _gpu() -> tuple[Gpu | None, dict[str, Any]]:
    """The GPU, and what is known of it: what --device cuda would use, or why there is none and what to do."""
    driver, package = read_driver(), cupy_package()
    facts: dict[str, Any] = {}
    if driver is not None:
        facts["driver"] = f"{driver.version or 'of unknown version'}, runs CUDA up to {driver.cuda_text}"
        facts |= {f"device {number}": _device(device) for number, device in enumerate(driver.devices)}
    facts["cupy"] = "missing" if package is None else f"{package.version} ({package.name})"
    facts["CUDA libraries"] = ", ".join(_cuda_wheels()) or "none as packages"
    facts |= _set("CUDA_PATH", "CUDA_VISIBLE_DEVICES")
    try:
        gpu = open_device(ComputeConfig("cuda"))
    except TdtoolError as error:
        return None, {"--device cuda": f"none: {error.what}", **({"help": error.hint} if error.hint else {}), **facts}
    name = "" if gpu is None else f"{gpu.name}, {gpu.limit / _GIB:.1f} of {gpu.memory / _GIB:.1f} GiB free"
    return gpu, {"--device cuda": name, **facts}


def _device(device: Device) -> str:
    mode = f", {device.mode}" if device.mode else ""
    major, minor = device.capability
    return f"{device.name}, {device.memory / _GIB:.1f} GiB, compute capability {major}.{minor}{mode}"


def _cuda_wheels() -> list[str]:
    """Libraries of CUDA that pip has installed, with their versions."""
    found = {str(each.metadata["Name"] or "").lower(): each.version for each in importlib.metadata.distributions()}
    return [f"{name.removeprefix('nvidia-')} {found[name]}" for name in sorted(found) if name.startswith("nvidia-cu")]


def _set(*names: str) -> dict[str, str]:
    """Variables of the environment that are set."""
    return {name: os.environ[name] for name in names if name in os.environ}


def _requirements(extra: str) -> list[str]:
    """Names of the packages of an extra, or of the base installation for ""."""
    names = []
    for requirement in importlib.metadata.requires("tdtool") or []:
        asked = re.search(r"""extra\s*==\s*['"]([\w.-]+)['"]""", requirement)
        name = re.match(r"[\w.-]+", requirement)
        if name and (asked.group(1) if asked else "") == extra:
            names.append(name.group())
    return names


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
