"""Tucker decomposition side by side: planted tensors with noise, the same stopping rule, each system in a process."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import sys

from tests.bench.children import run_child, shared_caps
from tests.bench.decompose_peers import Task
from tests.bench.measure import hardware, version_of
from tests.bench.results import Result, Row

QUALITIES = {"residual": ("residual", ".5f"), "fit": ("fit", ".4f")}
SYSTEMS = ("tdtool", "pyttb", "tensorly", "tensorly randomised")
#: Size and rank of all modes; the last only with --full.
CASES = ((60, 10), (120, 10), (240, 15), (400, 20))
_NOISE, _TOL, _MAX_ITERS = 0.4, 1e-6, 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--cap", type=float, default=60.0, help="seconds a fit may take (default 60)")
    parser.add_argument("--full", action="store_true", help="n = 400 too, and its whole cap for every fit")


def run(options: argparse.Namespace) -> Result:
    """Fit every case by every system."""
    tasks = [
        Task(system, "tucker", f"planted {size}", rank, _NOISE, _TOL, _MAX_ITERS, options.seed, "")
        for size, rank in (CASES if options.full else CASES[:-1])
        for system in SYSTEMS
    ]
    about = [
        f"tensors: n x n x n of multilinear rank r, with noise of {_NOISE} times the signal's norm",
        f"stop: a sweep changes the relative error by less than {_TOL:g}, or {_MAX_ITERS} sweeps, for all systems",
        "starts: tdtool its own; pyttb random; tensorly by SVD; 'randomised': tensorly with svd='randomized_svd'",
        "residual: norm(X - Xhat) / norm(X), one evaluator; seconds: the fitting call, each in a fresh process",
    ]
    result = Result("tucker", options.threads, hardware(), about)
    result.rows = measured(tasks, options)
    return result


def measured(tasks: list[Task], options: argparse.Namespace) -> list[Row]:
    """One row for each task; one that cannot be done says why."""
    rows = []
    for place, cap in shared_caps([str(place) for place in range(len(tasks))], options.cap, options.full):
        task = tasks[int(place)]
        package = task.system.split()[0]
        case = f"{task.case.partition('.')[0]} r={task.rank}"
        row = Row(task.system, version_of(package), case)
        rows.append(row)
        if importlib.util.find_spec(package) is None:
            row.note = "not installed: pip install 'tdtool[bench]'"
            continue
        print(f"{case}, {task.system}: at most {cap:.0f} s", file=sys.stderr)
        found: dict[str, float] = {}
        row.note = run_child(
            "tests.bench.decompose_peers",
            dataclasses.asdict(task),
            threads=options.threads,
            cap=cap,
            receive=found.update,
        )
        if found:
            row.seconds, row.cpu_seconds, row.peak_rss_mb = (
                found["seconds"],
                found["cpu_seconds"],
                found["peak_rss_mb"],
            )
            row.quality = found["quality"]  # type: ignore[assignment]
    return rows
