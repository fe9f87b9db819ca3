"""Everything on a GPU from one command: kernels compiled, checked against the CPU, and timed beside it and peers.

Each part runs in a process of its own, so that one that fails or hangs costs its own figures only; what was found is
written after every part. Without a GPU that can be used it says why, and ends with exit code 4.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tdtool.errors import GpuError
from tdtool.run.device import cupy_package
from tdtool.run.driver import read_driver
from tests.bench.children import run_child
from tests.bench.contract import _groups_of
from tests.bench.gpu_part import PARTS
from tests.bench.gpu_work import ON_CPU, OURS
from tests.bench.measure import hardware
from tests.bench.results import Result, Row

QUALITIES = {
    "tflops": ("TF/s", ".2f"),
    "gb": ("GB/s", ",.0f"),
    "of_matmul": ("of matmul", ".2f"),
    "speedup": ("x CPU", ".1f"),
    "error": ("error", ".0e"),
    "same": ("same bits", ".0f"),
    "cold": ("cold s", ".2f"),
    "upload": ("upload s", ".3f"),
    "residual": ("residual", ".4f"),
    "matched": ("matched", ".2f"),
    "perplexity": ("perplexity", ".1f"),
    "npmi": ("NPMI", ".3f"),
    "onmi": ("ONMI to GPU", ".3f"),
    "k": ("k", ".0f"),
    "floor": ("floor s", ".4f"),
    "of_floor": ("floor/s", ".2f"),
    "passed": ("passed", ".0f"),
    "failed": ("failed", ".0f"),
    "skipped": ("skipped", ".0f"),
}
_RESULTS = Path(__file__).parent / "results"
#: A part is not begun with less than this left.
_LEAST_SECONDS = 5.0
_PROBE_SECONDS = 120.0
#: What a child says of itself before it starts counts, too.
_STARTING_SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    data = Path(__file__).parents[2].parent / "shared" / "data"
    parser.add_argument("--parts", default=",".join(PARTS), help="comma between (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="smaller sizes: a few minutes in all")
    parser.add_argument("--cap", type=float, default=3000.0, help="seconds for all parts together (default 3000)")
    parser.add_argument("--data", default=str(data), help="folder with text/ and graphs/ (default %(default)s)")
    parser.add_argument("--results", default=str(_RESULTS), help="folder of the results (default %(default)s)")
    parser.add_argument("--folder", help="keep corpora that are made here, for another run (default: a scratch folder)")


def run(options: argparse.Namespace) -> Result:
    """Run the parts that were asked for, one after the other. GpuError without a GPU, SystemExit for a wrong part."""
    wanted = [name.strip() for name in options.parts.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        raise SystemExit(f"no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    result = Result("gpu", options.threads, f"{_described(options)}; {hardware()}", _about(options))
    stem = Path(options.results) / f"gpu-{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}"
    end = time.monotonic() + options.cap
    with contextlib.ExitStack() as stack:
        folder = options.folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="tdtool-bench-"))
        for name in wanted:
            left = end - time.monotonic() - _STARTING_SECONDS
            if left < _LEAST_SECONDS:
                result.rows.append(Row(OURS, "", name, note="not run: the cap was reached"))
                continue
            print(f"{name}: at most {left:.0f} s", file=sys.stderr)
            result.rows += _part(name, folder, left, options)
            set_ratios(result.rows)
            write(result, stem)
    print(f"written: {stem}.json, {stem}.txt", file=sys.stderr)
    return result


def _described(options: argparse.Namespace) -> str:
    """The GPU in one line. GpuError where there is none. Asked in another process: some GPUs serve one at a time."""
    said: dict[str, str] = {}
    task = {"part": "probe", "threads": options.threads}
    ending = run_child("tests.bench.gpu_part", task, threads=options.threads, cap=_PROBE_SECONDS, receive=said.update)
    if ending or said.get("error"):
        raise GpuError(f"this benchmark needs a GPU: {said.get('error') or ending}", hint=said.get("hint") or None)
    driver, package = read_driver(), cupy_package()
    told = f"driver {driver.version}, CUDA {driver.cuda_text}" if driver is not None else "driver unknown"
    return ", ".join([said["name"], told, *([f"{package.name} {package.version}"] if package is not None else [])])


def _about(options: argparse.Namespace) -> list[str]:
    return [
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC; parts {options.parts}{', quick' * options.quick}",
        "seconds: a warm call until the GPU has finished it, data where it is worked on; cold s: the first call",
        f"{OURS}: ours on the GPU; {ON_CPU}: ours on {options.threads} threads of this machine, in the same process",
        "same bits: 1 where the cold and the warm result are equal to the bit; x CPU: seconds on the CPU over these",
        "contract: cases of Shi et al. 2016, each against numpy.einsum in double precision, cold and warm; of matmul:",
        "  its rate over one (n, n) (n, n^2) product of cuBLAS; peers return an array in the order of the case, too",
        "topics: seconds of moments, decomposition and polish, the corpus read before; defaults of tdtool topics",
        "polish: seconds of a pass; floor: bytes that any pass must move once (gpu_models.pass_bytes) over copy speed",
        "communities: seconds of the fit, the graph read before; checks: tests of the kernels, run on this GPU",
        "kernels: single steps against the CPU: error over the largest entry, allowed are 1e-5 (fp32), 1e-11 (fp64)",
    ]


def _part(name: str, folder: str, cap: float, options: argparse.Namespace) -> list[Row]:
    """The rows of one part, as far as it came."""
    rows: list[Row] = []

    def receive(message: dict[str, Any]) -> None:
        row = Row(message["system"], message["version"], message["case"], message["seconds"], note=message["note"])
        row.peak_rss_mb, row.quality = message["peak_rss_mb"], message["quality"]
        print(f"  {row.system}, {row.case}: {row.seconds} s {row.quality} {row.note}", file=sys.stderr)
        rows.append(row)

    task = {"part": name, "folder": folder, "data": options.data, "quick": options.quick}
    task |= {"threads": options.threads, "seed": options.seed}
    ending = run_child("tests.bench.gpu_part", task, threads=options.threads, cap=cap, receive=receive)
    return [*rows, Row(OURS, "", name, note=ending)] if ending else rows


def set_ratios(rows: list[Row]) -> None:
    """Note in rows of ours how they stand beside the CPU and beside the yardstick, and in a row for each class of
    contractions the geometric means."""
    on_cpu = {row.case: row.seconds for row in rows if row.system == ON_CPU and row.seconds}
    yardstick = {row.case.partition(" ")[2]: row.seconds for row in rows if row.system == "matmul" and row.seconds}
    for row in rows:
        if row.system == OURS and row.seconds and row.case in on_cpu:
            row.quality["speedup"] = (on_cpu[row.case] or 0.0) / row.seconds
        size = row.case.partition(" ")[2]
        if row.seconds and size in yardstick and row.system != "matmul":
            row.quality["of_matmul"] = (yardstick[size] or 0.0) / row.seconds


def class_means(rows: list[Row]) -> list[Row]:
    """Contractions: geometric means of the seconds of each system over the cases of each class and size."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        for group in _groups_of(row.case) if " n=" in row.case and row.case[0].isdigit() else []:
            if row.seconds:
                groups.setdefault((group, row.system), []).append(row)
    made = []
    for (group, system), members in groups.items():
        mean = Row(system, members[0].version, group, _mean([row.seconds or 1.0 for row in members]))
        shares = [row.quality["of_matmul"] for row in members if "of_matmul" in row.quality]
        if shares:
            mean.quality["of_matmul"] = _mean(shares)
        made.append(mean)
    return made


def _mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def write(result: Result, stem: Path) -> None:
    """STEM.json with every figure, and STEM.txt with the table that is printed, contractions by class."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".json").write_text(json.dumps(result.as_json(), indent=1, allow_nan=False) + "\n")
    single = [row for row in result.rows if not (row.case[:1].isdigit() and " n=" in row.case) or row.note]
    shown = Result(result.bench, result.threads, result.hardware, result.about, [*single, *class_means(result.rows)])
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        shown.print_table(QUALITIES)
    stem.with_suffix(".txt").write_text(text.getvalue())
