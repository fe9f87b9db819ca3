"""Every kernel for GPUs compiles for the architectures we name: without a warning, and without spilled registers."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tdtool.kernels import device_gpu

_FOLDER = Path(device_gpu.__file__).resolve().parent
SOURCES = sorted(path.name for path in _FOLDER.glob("*.cu"))
#: Ampere (A100), and Hopper (H100, H200).
ARCHITECTURES = ("sm_80", "sm_90")
_SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


SPILLING = """
__global__ void __launch_bounds__(1024, 2) f(float* a, int n) {
    float v[64];
#pragma unroll
    for (int i = 0; i < 64; i++) v[i] = a[i * 32 + threadIdx.x];
    for (int k = 0; k < n; k++) {
#pragma unroll
        for (int i = 0; i < 64; i++) v[i] = v[i] * v[(i * 7 + 3) % 64] + a[k];
    }
#pragma unroll
    for (int i = 0; i < 64; i++) a[i * 32 + threadIdx.x] = v[i];
}
"""


def find_nvcc() -> str | None:
    """The compiler in the path, in CUDA_PATH, or in the wheel nvidia-cuda-nvcc; None where there is none."""
    found = shutil.which("nvcc")
    if found is None and "CUDA_PATH" in os.environ:
        found = shutil.which("nvcc", path=f"{os.environ['CUDA_PATH']}/bin")
    wheels = importlib.util.find_spec("nvidia")
    for folder in (wheels.submodule_search_locations or []) if wheels is not None and found is None else []:
        found = found or next(map(str, sorted(Path(folder).glob("*/bin/nvcc"))), None)
    return found


NVCC = find_nvcc()
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="needs nvcc: a CUDA toolkit, or pip install nvidia-cuda-nvcc")


def compiled(text: str, architecture: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The source as `Gpu.launch` hands it to NVRTC: one text, headers put in, C++ 17, compiled to machine code."""
    assert NVCC is not None
    source = folder / "source.cu"
    source.write_text(text, encoding="utf-8")
    command = [NVCC, f"-arch={architecture}", "-cubin", "--std=c++17", "-Xptxas", "-v,-warn-spills", "-o"]
    return subprocess.run(
        [*command, str(folder / "out.cubin"), str(source)], capture_output=True, text=True, check=False
    )


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What is wrong with a compilation: lines of errors, warnings and spills."""
    lines = (done.stdout + done.stderr).splitlines()
    wrong = [line for line in lines if re.search(r"\b(error|warning)\b", line, re.IGNORECASE)]
    for line in lines:
        found = _SPILLS.search(line)
        if found is not None and (int(found[2]) or int(found[3])):
            wrong.append(line.strip())
    return wrong if wrong or done.returncode == 0 else [f"exit code {done.returncode}", *lines]


def test_there_are_kernels_and_no_header_is_missing() -> None:
    for name in SOURCES:
        text = device_gpu.kernel_source(name)
        assert not re.search(r'^\s*#\s*include\s+"', text, re.MULTILINE), f"{name}: a header of ours is not put in"
        assert not re.search(r"^\s*#\s*include\s+<", text, re.MULTILINE), f"{name}: NVRTC has no system headers"
        assert 'extern "C" __global__' in text, f"{name}: no kernel that a launch can find"


def test_every_file_has_its_module() -> None:
    for name in SOURCES:
        assert (_FOLDER / f"{name.removesuffix('.cu')}_gpu.py").exists(), f"{name} is launched from {name[:-3]}_gpu.py"


@needs_nvcc
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", SOURCES)
def test_compiles_without_warnings_or_spills(name: str, architecture: str, tmp_path: Path) -> None:
    assert complaints(compiled(device_gpu.kernel_source(name), architecture, tmp_path)) == []


@needs_nvcc
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("__global__ void f(int* a) { a[0] = 1 }", "error"),
        ("__global__ void f(int* a) { int unused; a[0] = 1; }", "warning"),
        (SPILLING, "spill"),
    ],
)
def test_the_check_sees_what_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    assert any(said in line for line in complaints(compiled(text, "sm_90", tmp_path)))
