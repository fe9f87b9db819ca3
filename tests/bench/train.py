"""Training side by side: the same net on the same pixels by tdtool and by loops of others; and reading images alone."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.bench.children import run_child, shared_caps
from tests.bench.loader import rows as loader_rows
from tests.bench.measure import hardware, version_of
from tests.bench.results import Result, Row
from tests.bench.train_peers import SYSTEMS, Task

QUALITIES = {"images_per_second": ("images/s", ",.0f"), "over_plain": ("x plain loop", ".3f")}
_PACKAGE = {"tdtool": "tdtool", "lightning": "lightning"}
_PLAIN = "torch, plain loop"
_CLASSES, _SIDE, _IMAGES = 10, 32, 20_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--data", help="images to train on (default: 20,000 of 32 x 32 pixels of noise)")
    parser.add_argument("--model", default="vgg11_bn")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precisions", default="fp32,bf16")
    parser.add_argument(
        "--warm", type=int, default=50, help="steps that are not timed; tdtool records every 50 (default 50)"
    )
    parser.add_argument("--steps", type=int, default=150, help="steps that are timed (default 150)")
    parser.add_argument("--repeats", type=int, default=3, help="the median counts (default 3)")
    parser.add_argument("--cap", type=float, default=120.0, help="seconds that each may take (default 120)")
    parser.add_argument("--full", action="store_true", help="the whole cap for every system")
    parser.add_argument("--parts", default="loop,loader")


def run(options: argparse.Namespace) -> Result:
    """Every part that was asked for."""
    timed = f"{options.steps} steps after {options.warm} others, median of {options.repeats} runs in turn"
    about = [
        f"net: {options.model}, width {options.width}; batches of {options.batch}; shift and flip; SGD",
        f"seconds: {timed}, each in a process of its own",
        "tdtool: the command itself, between two records of its journal",
    ]
    result = Result("train", options.threads, hardware(), about)
    with tempfile.TemporaryDirectory(prefix="tdtool-bench-") as folder:
        store = _store(options, Path(folder))
        if "loop" in options.parts:
            for precision in options.precisions.split(","):
                result.rows += _loop_rows(options, store, precision)
        if "loader" in options.parts:
            result.rows += loader_rows(store, threads=options.threads)
    return result


def _store(options: argparse.Namespace, folder: Path) -> Path:
    """A store of pixels."""
    from tdtool.run.ingest_images import images_of

    source = options.data
    if source is None:
        rng = np.random.default_rng(options.seed)
        source = str(folder / "noise.npz")
        pixels = rng.integers(0, 256, (_IMAGES, _SIDE, _SIDE, 3), dtype=np.uint8)
        np.savez(source, images=pixels, labels=rng.integers(0, _CLASSES, _IMAGES))
    return Path(images_of(source, folder / "images.h5").path)


def _loop_rows(options: argparse.Namespace, store: Path, precision: str) -> list[Row]:
    """Each system several times, in turn: what the machine does meanwhile hits all of them alike."""
    case = f"{options.model} {precision}"
    rows = {name: Row(name, version_of(_PACKAGE.get(name, "torch")), case) for name in SYSTEMS}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SYSTEMS}
    turns = [f"{name}/{turn}" for turn in range(options.repeats) for name in SYSTEMS]
    for turn, cap in shared_caps(turns, options.cap, options.full):
        name = turn.partition("/")[0]
        if importlib.util.find_spec(_PACKAGE.get(name, "torch")) is None:
            rows[name].note = "not installed: pip install 'tdtool[train,bench]'"
            continue
        print(f"{case}, {turn}: at most {cap:.0f} s", file=sys.stderr)
        task = Task(
            name,
            str(store),
            options.model,
            options.width,
            options.batch,
            precision,
            options.warm,
            options.steps,
            options.threads,
            options.seed,
        )
        note = run_child(
            "tests.bench.train_peers",
            dataclasses.asdict(task),
            threads=options.threads,
            cap=cap,
            receive=found[name].append,
        )
        rows[name].note = note or rows[name].note
    for name, row in rows.items():
        _fill(row, found[name], found[_PLAIN])
    return list(rows.values())


def _fill(row: Row, turns: list[dict[str, float]], plain: list[dict[str, float]]) -> None:
    if not turns:
        return
    row.seconds, row.peak_rss_mb = (
        float(np.median([turn[key] for turn in turns])) for key in ("seconds", "peak_rss_mb")
    )
    if turns[0]["cpu_seconds"] is not None:
        row.cpu_seconds = float(np.median([turn["cpu_seconds"] for turn in turns]))
    rates = [turn["quality"]["images_per_second"] for turn in turns]  # type: ignore[index]
    row.quality = {"images_per_second": float(np.median(rates))}
    if plain:
        theirs = [turn["quality"]["images_per_second"] for turn in plain]  # type: ignore[index]
        row.quality["over_plain"] = float(np.median(rates) / np.median(theirs))
