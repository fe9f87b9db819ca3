"""One part of the GPU benchmark in a process of its own: `python -m tests.bench.gpu_part TASK`."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tdtool.config import ComputeConfig
from tdtool.errors import TdtoolError
from tdtool.run.device import open_device
from tests.bench.children import reports
from tests.bench.gpu_work import QUICK, Part, Sizes, Work
from tests.bench.measure import peak_rss_mb, version_of

#: Module and function of each, in the order in which they run. A package that is missing costs its own parts only.
PARTS = {
    "rates": ("gpu_contract", "rates"),
    "checks": ("gpu_checks", "checks"),
    "kernels": ("gpu_kernels", "kernels"),
    "tensors": ("gpu_tensors", "tensors"),
    "sketch": ("gpu_tensors", "sketches"),
    "topics": ("gpu_models", "topics"),
    "polish": ("gpu_models", "polish"),
    "communities": ("gpu_models", "communities"),
    "contract": ("gpu_contract", "contraction"),
}
_PACKAGES = {"torch": "torch", "tensorly": "tensorly", "cupy": "cupy-cuda13x", "cuTENSOR": "cutensor-cu13"}


def part(name: str) -> Part:
    """The function of a part."""
    module, function = PARTS[name]
    found: Part = getattr(importlib.import_module(f"tests.bench.{module}"), function)
    return found


def probe() -> dict[str, str]:
    """The GPU by name, or what is wrong and what to do about it."""
    try:
        gpu = open_device(ComputeConfig("cuda"))
    except TdtoolError as error:
        return {"error": error.what, "hint": error.hint or ""}
    return {"name": "" if gpu is None else f"{gpu.name}, {gpu.memory / 2**30:.0f} GiB"}


def main(task: dict[str, Any], report: Callable[..., None]) -> None:
    """Open the GPU, run the part, and send each figure as it comes."""
    if task["part"] == "probe":
        report(**probe())
        return
    gpu = open_device(ComputeConfig("cuda"))
    work = Work(
        sizes=QUICK if task["quick"] else Sizes(),
        data=Path(task["data"]),
        folder=Path(task["folder"]),
        threads=task["threads"],
        seed=task["seed"],
    )
    work_on = part(task["part"])
    report(started=True)
    for found in work_on(gpu, work):
        package = _PACKAGES.get(found.system, "tdtool")
        report(**{**dataclasses.asdict(found), "version": version_of(package), "peak_rss_mb": peak_rss_mb()})


if __name__ == "__main__":
    with reports() as send:
        main(json.loads(sys.argv[1]), send)
