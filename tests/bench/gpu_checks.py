"""The tests of all GPU kernels, on the GPU that is here in place of the emulated one."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.kernels import device_gpu
from tdtool.kernels.device_gpu import Gpu
from tests import emulated_gpu
from tests.bench.gpu_work import OURS, Found, Work, timed

_TESTS = Path(__file__).parents[1]
#: Tests of the emulator, of compiling, and of what is said without a GPU are no tests of a GPU.
_LEFT_OUT = ("test_emulated_gpu.py", "test_compile_gpu.py", "test_doctor_gpu.py", "test_device.py")
_MARKERS = "shared_data slow study gpu spark"


class RealGpu(Gpu):
    """A GPU that stands where tests expect the emulated one. reverse : means nothing here; fail_at : as there."""

    def __init__(
        self, *, limit: int | None = None, tf32: bool = False, reverse: bool = False, fail_at: int | None = None
    ) -> None:
        super().__init__(limit=limit, tf32=tf32)
        self.launches: list[str] = []
        self._fail_at, self._allocations = fail_at, 0

    def to_device(self, array: Any) -> Any:
        self._allocate()
        return super().to_device(array)

    def empty(self, shape: Any, dtype: Any) -> Any:
        self._allocate()
        return super().empty(shape, dtype)

    def zeros(self, shape: Any, dtype: Any) -> Any:
        self._allocate()
        return super().zeros(shape, dtype)

    def launch(self, file: str, kernel: str, grid: Any, block: Any, *arguments: Any, shared: int = 0) -> None:
        self.launches.append(kernel)
        super().launch(file, kernel, grid, block, *arguments, shared=shared)

    def _allocate(self) -> None:
        self._allocations += 1
        if self._allocations == self._fail_at:
            raise MemoryError("the GPU has no memory left, for this test")


class Recorder:
    """A plugin of pytest: one line for each file of tests, and the fixture that tests have from conftest.py."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, int]] = {}
        self.seconds: dict[str, float] = {}
        self.failures: dict[str, list[str]] = {}

    @pytest.fixture
    def rng(self) -> np.random.Generator:
        """As in tests/conftest.py, which a machine without hypothesis cannot load."""
        return np.random.default_rng(20_250_101)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Count each test once, with what went wrong."""
        file, name = Path(report.location[0]).name, report.location[2]
        self.seconds[file] = self.seconds.get(file, 0.0) + report.duration
        if report.when == "call" or report.outcome != "passed":
            counts = self.counts.setdefault(file, {"passed": 0, "failed": 0, "skipped": 0})
            counts[report.outcome] += 1
            if report.failed:
                last = str(report.longrepr).strip().splitlines()[-1] if report.longrepr else ""
                self.failures.setdefault(file, []).append(f"{name}: {last}")

    def pytest_collectreport(self, report: Any) -> None:
        """A file that cannot be read at all."""
        if report.failed:
            file = Path(report.nodeid).name
            self.counts.setdefault(file, {"passed": 0, "failed": 0, "skipped": 0})["failed"] += 1
            self.failures.setdefault(file, []).append(str(report.longrepr).strip().splitlines()[-1])


def checks(gpu: Gpu, work: Work) -> Iterator[Found]:
    """Compile every kernel, timed; then a row for each file of tests."""
    for source in sorted(Path(device_gpu.__file__).resolve().parent.glob("*.cu")):
        yield _compiled(gpu, source.name)
    recorder = Recorder()
    _run([str(path) for path in files()], recorder)
    for file in sorted(recorder.counts):
        counts = recorder.counts[file]
        found = Found(OURS, file, recorder.seconds.get(file), {name: float(n) for name, n in counts.items()})
        found.note = "; ".join(recorder.failures.get(file, []))[:1000]
        yield found


def files() -> list[Path]:
    """The files of tests that use an emulated GPU, and those that want a real one."""
    marks = "emulated_gpu", "pytest.mark.gpu"
    found = [
        path for path in sorted(_TESTS.rglob("test_*.py")) if any(mark in path.read_text("utf-8") for mark in marks)
    ]
    return [path for path in found if path.name not in _LEFT_OUT and path.parent.name != "bench"]


def _compiled(gpu: Gpu, file: str) -> Found:
    """Seconds of the first compilation of a file on this machine (cupy keeps it for later processes)."""
    try:
        seconds, _ = timed(lambda: compile_file(gpu, file), gpu.synchronize)
    except Exception as error:
        return Found(OURS, f"compiling {file}", note=f"failed: {type(error).__name__}: {error}"[:1000])
    return Found(OURS, f"compiling {file}", seconds)


def compile_file(gpu: Gpu, file: str) -> None:
    """Compile a file as `Gpu.launch` does."""
    gpu.xp.RawModule(code=device_gpu.kernel_source(file), options=("-std=c++17",)).compile()


def _run(paths: list[str], recorder: Recorder) -> None:
    """pytest in this process, with what a bare machine may lack left out."""
    names = {"EmulatedGpu": RealGpu, "needs_compiler": pytest.mark.skipif(False, reason="")}
    before = {name: getattr(emulated_gpu, name) for name in names}
    for name, value in names.items():
        setattr(emulated_gpu, name, value)
    try:
        with tempfile.TemporaryDirectory() as folder:
            settings = Path(folder) / "pytest.ini"
            markers = "\n".join(f"    {name}: -" for name in _MARKERS.split())
            settings.write_text(f"[pytest]\nmarkers =\n{markers}\n")
            arguments = ["-q", "-c", str(settings), "--rootdir", str(_TESTS.parent), "--import-mode=importlib"]
            arguments += ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly"]
            if importlib.util.find_spec("hypothesis") is None:
                arguments.append("--noconftest")
            pytest.main([*arguments, *paths], plugins=[recorder])
    finally:
        for name, value in before.items():
            setattr(emulated_gpu, name, value)
