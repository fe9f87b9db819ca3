"""--device and its kin: what reaches the work, what is refused, and what is said where there is no GPU."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from tdtool.errors import InputError
from tdtool.kernels import device_gpu
from tdtool.run import device
from tests.cli.conftest import Run
from tests.emulated_gpu import EmulatedGpu, gpu

__all__ = ["gpu"]

#: Command -> (the function that works, the arguments).
WORK = {
    "topics": ("topics.fit_topics", ("words.txt",)),
    "communities": ("communities.find_communities", ("edges.txt",)),
    "decompose": ("decompose.decompose", ("tensor.npy",)),
    "infer": ("infer.infer_documents", ("model.h5", "words.txt")),
}


@pytest.fixture(params=WORK)
def command(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    """A command with its arguments."""
    for name in WORK[request.param][1]:
        (tmp_path / name).write_text("a b\n")
    return (request.param, *WORK[request.param][1])


@pytest.fixture
def given(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The GPUs that the work was called with; it ends at once."""
    seen: list[Any] = []

    def work(*_: Any, gpu: Any, **__: Any) -> Any:
        seen.append(gpu)
        raise InputError("the work has been called")

    module, name = WORK[command[0]][0].split(".")
    monkeypatch.setattr(importlib.import_module(f"tdtool.run.{module}"), name, work)
    return seen


def test_cuda_reaches_the_work(
    command: tuple[str, ...], given: list[Any], gpu: EmulatedGpu, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(*command, "--device", "cuda").code == 3
    monkeypatch.setenv("TDTOOL_DEVICE", "cuda")
    assert run(*command).code == 3
    assert run(*command, "--device", "cpu").code == 3
    assert given == [gpu, gpu, None]


def test_limits_reach_the_gpu(
    command: tuple[str, ...], given: list[Any], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_gpu, "_open", lambda **asked: EmulatedGpu(**asked))
    run(*command, "--device", "cuda", "--gpu-memory", "3G", "--tf32")
    assert (given[0].limit, given[0].tf32) == (3 << 30, True)


def test_without_a_gpu_auto_is_the_cpu_and_cuda_an_error(
    command: tuple[str, ...], given: list[Any], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> Any:
        raise RuntimeError("no GPU here")

    monkeypatch.setattr(device_gpu, "_open", fail)
    monkeypatch.setattr(device, "read_driver", lambda: None)
    assert run(*command).code == 3
    ran = run(*command, "--device", "cuda")
    assert ran.code == 4
    assert ran.err.startswith("Error: there is no NVIDIA driver: libcuda.so.1 is not found\n  install one")
    assert ran.err.rstrip().endswith("without a GPU: --device cpu")
    assert given == [None]


def test_no_memory_on_the_gpu_is_four(
    command: tuple[str, ...], gpu: EmulatedGpu, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: Any, **__: Any) -> Any:
        raise MemoryError("the emulated GPU has no memory left")

    module, name = WORK[command[0]][0].split(".")
    monkeypatch.setattr(importlib.import_module(f"tdtool.run.{module}"), name, work)
    ran = run(*command, "--device", "cuda")
    assert ran.code == 4
    assert (
        "Error: the memory of the GPU is not enough: the emulated GPU has no memory left\n  what takes less" in ran.err
    )


@pytest.mark.parametrize("option", [("--gpu-memory", "2G"), ("--tf32",)])
def test_options_of_a_gpu_without_one_are_refused(command: tuple[str, ...], option: tuple[str, ...], run: Run) -> None:
    ran = run(*command, "--device", "cpu", *option)
    assert ran.code == 2
    assert f"Error: {option[0]} is for a GPU, and --device cpu uses none" in ran.err


@pytest.mark.parametrize("name", ["topics", "communities", "infer"])
def test_a_gpu_and_a_cluster_contradict_each_other(name: str, run: Run, tmp_path: Path) -> None:
    arguments = WORK[name][1]
    for each in arguments:
        (tmp_path / each).write_text("a b\n")
    ran = run(name, *arguments, "--device", "cuda", "--master", "local[2]")
    assert ran.code == 2
    assert "Error: --device cuda is for this machine, and --master sends the work to others" in ran.err
    ran = run(name, *arguments, "--tf32", "--master", "local[2]")
    assert ran.code == 2
    assert "Error: --tf32 is for a GPU, and --master uses none" in ran.err
