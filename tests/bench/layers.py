"""Tensor layers side by side: contraction and regression by tdtool and TensorLy-Torch, the same weights and inputs."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import sys
from typing import Any

from tests.bench.children import run_child, shared_caps
from tests.bench.layers_peers import Task
from tests.bench.measure import hardware, version_of
from tests.bench.results import Result, Row

QUALITIES = {
    "mflop": ("Mflop forward", ",.1f"),
    "times_flops": ("x our flops", ",.1f"),
    "error": ("max rel. error", ".1e"),
    "backward_mflop": ("Mflop backward", ",.1f"),
}
#: name, kind, activation, ranks, outputs (0: a contraction), rank of the outputs (0: none), images.
CASES = (
    ("TCL VGG 384,5,5", "tcl", (512, 7, 7), (384, 5, 5), 0, 0, 64),
    ("TCL AlexNet 168,5,5", "tcl", (256, 6, 6), (168, 5, 5), 0, 0, 64),
    ("TCL small VGG 64,3,3", "tcl", (128, 4, 4), (64, 3, 3), 0, 0, 128),
    ("TCL 512x4x4 64,3,3", "tcl", (512, 4, 4), (64, 3, 3), 0, 0, 128),
    ("TRL VGG 48,3,3", "trl", (512, 7, 7), (48, 3, 3), 1000, 0, 64),
    ("TRL VGG 128,5,5,200", "trl", (512, 7, 7), (128, 5, 5), 1000, 200, 64),
    ("TRL AlexNet 48,3,3", "trl", (256, 6, 6), (48, 3, 3), 1000, 0, 64),
    ("TRL ResNet-50 48,3,3", "trl", (2048, 7, 7), (48, 3, 3), 1000, 0, 64),
    ("TRL ResNet-50 200,1,1,200", "trl", (2048, 7, 7), (200, 1, 1), 1000, 200, 64),
    ("TRL small VGG 48,3,3", "trl", (128, 4, 4), (48, 3, 3), 10, 0, 128),
    ("TRL 512x4x4 48,3,3", "trl", (512, 4, 4), (48, 3, 3), 10, 0, 128),
)
SYSTEMS = {"tcl": ("tdtool", "tltorch"), "trl": ("tdtool", "tltorch", "tltorch project_input")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--cap", type=float, default=30.0, help="seconds that each may take (default 30)")
    parser.add_argument("--repeats", type=int, default=20, help="timed passes, of which the median counts (default 20)")
    parser.add_argument("--full", action="store_true", help="the whole cap for every layer")


def run(options: argparse.Namespace) -> Result:
    """Every layer by every system."""
    about = [
        "seconds: forward and backward pass, gradients of weights and inputs, fp32; median, each in a fresh process",
        "flops: matrix products as torch.utils.flop_counter counts them, forward and backward",
        "error: largest difference from the definition in float64 (numpy), over the largest output",
        "tltorch: its layers as they are, without biases (its TCL with one raises)",
        "where a TRL has no rank of the outputs, tltorch has the identity there, as it needs one",
        "project_input: an argument of tltorch's function that its layer never gives",
    ]
    result = Result("layers", options.threads, hardware(), about)
    tasks = [
        (name, Task(system, kind, shape, ranks, n_outputs, rank_out, batch, options.repeats, options.seed))
        for name, kind, shape, ranks, n_outputs, rank_out, batch in CASES
        for system in SYSTEMS[kind]
    ]
    caps = shared_caps([str(place) for place in range(len(tasks))], options.cap, options.full)
    for (place, cap), (name, task) in zip(caps, tasks, strict=True):
        result.rows.append(_measured(name, task, options.threads, cap))
        print(f"{int(place) + 1} of {len(tasks)}: {name}, {task.system}", file=sys.stderr)
    ours = {row.case: row.quality.get("mflop") for row in result.rows if row.system == "tdtool"}
    for row in result.rows:
        mine, theirs = ours[row.case], row.quality.get("mflop")
        if row.system != "tdtool" and mine and theirs is not None:
            row.quality["times_flops"] = theirs / mine
    return result


def _measured(name: str, task: Task, threads: int, cap: float) -> Row:
    package = task.system.split()[0]
    row = Row(task.system, version_of("tensorly-torch" if package == "tltorch" else package), name)
    if importlib.util.find_spec(package) is None:
        row.note = "not installed: pip install 'tdtool[bench]'"
        return row
    found: dict[str, Any] = {}
    row.note = run_child(
        "tests.bench.layers_peers", dataclasses.asdict(task), threads=threads, cap=cap, receive=found.update
    )
    row.quality = found.get("quality", {})
    if "seconds" in found:
        row.seconds, row.cpu_seconds, row.peak_rss_mb = found["seconds"], found["cpu_seconds"], found["peak_rss_mb"]
    return row
