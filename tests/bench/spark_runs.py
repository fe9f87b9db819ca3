"""Whole commands of tdtool, timed with all the processes that they start, and what Spark itself counted."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tdtool.store import hdf5
from tests.bench.measure import thread_environment
from tests.bench.process_tree import MemoryWatch


@dataclasses.dataclass(frozen=True)
class Run:
    """One command. seconds : wall clock from start to end; driver_mb, executor_mb : peaks (of the largest executor).

    failed : "" when it went well, else what it said last.
    """

    seconds: float
    driver_mb: float
    executor_mb: float
    failed: str


@dataclasses.dataclass(frozen=True)
class Counted:
    """What Spark counted. task_seconds : of all tasks; shuffle_bytes : written; result_bytes : to the driver."""

    task_seconds: float
    shuffle_bytes: int
    result_bytes: int
    jobs: int


def run_command(arguments: list[str], *, threads: int, cap: float) -> Run:
    """Run `tdtool ARGUMENTS` alone; it is ended with all its processes after `cap` seconds."""
    command = [sys.executable, "-m", "tdtool", *arguments]
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=thread_environment(threads),
        start_new_session=True,
    )
    with MemoryWatch(process.pid) as watch:
        try:
            _, said = process.communicate(timeout=cap)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return Run(time.monotonic() - started, watch.driver_mb, watch.executor_mb, f"stopped at {cap:.0f} s")
    lines = [line for line in said.splitlines() if line.strip()]
    failed = (lines[-1] if lines else f"exit {process.returncode}") if process.returncode else ""
    return Run(time.monotonic() - started, watch.driver_mb, watch.executor_mb, failed)


def digest_of(path: Path) -> str:
    """The digest of a result's content."""
    with hdf5.open(path) as reader:
        return str(reader.attributes["content_digest"])


def scores_of(path: Path) -> dict[str, float]:
    """The scores that a topics file holds."""
    with hdf5.open(path) as reader:
        return dict(reader.attributes["scores"])


def event_log(folder: Path) -> list[str]:
    """Options that make Spark write down what it does."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"enabled": "true", "dir": folder.resolve().as_uri(), "compress": "false", "rolling.enabled": "false"}
    return [word for name, value in settings.items() for word in ("--spark-conf", f"spark.eventLog.{name}={value}")]


def counted(folder: Path) -> Counted:
    """What the event log in a folder says."""
    run_time, shuffled, results, jobs = 0, 0, 0, 0
    for event in _events(folder):
        jobs += event["Event"] == "SparkListenerJobEnd"
        metrics = event.get("Task Metrics") if event["Event"] == "SparkListenerTaskEnd" else None
        if metrics:
            run_time += metrics["Executor Run Time"]
            results += metrics["Result Size"]
            shuffled += metrics["Shuffle Write Metrics"]["Shuffle Bytes Written"]
    return Counted(run_time / 1000, shuffled, results, jobs)


def _events(folder: Path) -> Iterator[dict]:  # type: ignore[type-arg]
    for path in folder.iterdir():
        with path.open() as lines:
            yield from map(json.loads, lines)
