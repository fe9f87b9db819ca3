"""Each system runs alone in a fresh process, which says on its standard output what it has done so far."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from tests.bench.measure import thread_environment

#: Starting, reading the data and warming up may take this long before the clock of the cap starts.
_SET_UP_SECONDS = 300.0
#: All systems of a default run share this; with --full each has its whole cap.
SHARED_SECONDS = 560.0


def run_child(
    module: str, task: dict[str, Any], *, threads: int, cap: float, receive: Callable[[dict[str, Any]], None]
) -> str:
    """Run `python -m module TASK` and hand each of its messages to `receive`.

    The process has `cap` seconds from the moment it says it starts; then it is killed with its children.
    Returns "" when it ended well, otherwise a few words about what happened.
    """
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(task)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=thread_environment(threads),
            start_new_session=True,
        )
        with _killed_at_the_end(process):
            in_time = _listen(process, cap, receive)
        if process.returncode == 0:
            return ""
        if not in_time:
            return f"stopped at the cap of {cap:.0f} s"
        errors.seek(0)
        lines = [line.strip() for line in errors if line.strip()]
        return f"failed: {lines[-1] if lines else f'exit code {process.returncode}'}"


def shared_caps(systems: list[str], cap: float, full: bool) -> Iterator[tuple[str, float]]:
    """Each system with the seconds it may take; what one does not use is left to those after it."""
    started = time.monotonic()
    for place, system in enumerate(systems):
        left = SHARED_SECONDS - (time.monotonic() - started)
        yield system, cap if full else max(min(cap, left / (len(systems) - place)), 1.0)


@contextlib.contextmanager
def reports() -> Iterator[Callable[..., None]]:
    """In the child: `with reports() as report: report(started=True)` sends one message to run_child.

    Whatever else is printed goes to standard error meanwhile.
    """
    channel: TextIO = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def report(**message: Any) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    try:
        yield report
    finally:
        channel.close()


def _listen(process: subprocess.Popen[str], cap: float, receive: Callable[[dict[str, Any]], None]) -> bool:
    """Read messages until the process ends; False when its time was up first."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(_SET_UP_SECONDS, stop)
    timer.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            message = json.loads(line)
            if message.get("started"):
                timer.cancel()
                timer = threading.Timer(cap, stop)
                timer.start()
            else:
                receive(message)
        process.wait()
    finally:
        timer.cancel()
    return not late.is_set()


@contextlib.contextmanager
def _killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[None]:
    """No child and no grandchild survives the block, however it ends."""
    try:
        yield
    finally:
        _kill(process)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
