"""Ctrl-C and SIGTERM end a command quietly, with their exit codes and without half a file."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cli.running import ROOT, environment
from tests.store.samples import names

PREPARE = """
import sys, time, types, weakref
from pathlib import Path
from tdtool.cli import entry
from tests.store.samples import topics_content, write_topics
"""
WRITE_FOR_EVER = """
def work(*_, **__):
    print("ready", flush=True)
    while True:
        write_topics(Path("m.h5"), topics_content(), force=True)
"""
LOSE_THE_FIRST = """
class Lossy:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(30)
def work(*_, **__):
    Lossy()
    time.sleep(30)
    print("never", flush=True)
"""
STUBBORN = """
def work(*_, **__):
    try:
        print("ready", flush=True)
        time.sleep(30)
    finally:
        print("still busy", flush=True)
        time.sleep(30)
"""
WRAP = """
from tdtool.errors import TerminatedError
def work(*_, **__):
    inner = SystemError("another function returned a result with an exception set")
    inner.__cause__ = {signal}()
    raise SystemError("a function returned a result with an exception set") from inner
"""
RUN = """
module = types.ModuleType("tdtool.run.evaluate")
module.evaluate_topics = work
sys.modules["tdtool.run.evaluate"] = module
sys.exit(entry.run(["evaluate", "m", "c"]))
"""
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
RAISED = {signal.SIGINT: "KeyboardInterrupt", signal.SIGTERM: "TerminatedError"}
SAID = {signal.SIGINT: "Interrupted.", signal.SIGTERM: "Terminated."}


def _start(work: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PREPARE + work + RUN]
    child = subprocess.Popen(
        command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n", child.communicate()[1]
    return child


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("delay", [0.0, 0.05, 0.11, 0.23])
def test_signal_leaves_no_half_file(tmp_path: Path, number: signal.Signals, delay: float) -> None:
    with _start(WRITE_FOR_EVER, tmp_path) as child:
        time.sleep(delay)
        child.send_signal(number)
        errors = child.communicate()[1]
    assert (child.returncode, errors.strip()) == (CODES[number], SAID[number])
    assert names(tmp_path) in ([], ["m.h5"])


@pytest.mark.parametrize("number", CODES)
def test_signal_that_the_interpreter_loses_comes_again(tmp_path: Path, number: signal.Signals) -> None:
    """An exception in a finaliser goes nowhere; the command must end all the same, and say nothing of it."""
    start = time.monotonic()
    with _start(LOSE_THE_FIRST, tmp_path) as child:
        child.send_signal(number)
        output, errors = child.communicate()
    assert (child.returncode, errors.strip(), output) == (CODES[number], SAID[number], "")
    assert time.monotonic() - start < 20


def test_second_signal_ends_at_once(tmp_path: Path) -> None:
    start = time.monotonic()
    with _start(STUBBORN, tmp_path) as child:
        child.send_signal(signal.SIGTERM)
        assert child.stdout is not None
        assert child.stdout.readline() == "still busy\n"
        child.send_signal(signal.SIGINT)
        child.communicate()
    assert child.returncode == 143, "the first one counts"
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("number", CODES)
def test_real_command_is_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    words = np.random.default_rng(0).integers(2000, size=(60_000, 12)).tolist()
    (tmp_path / "docs.txt").write_text("".join(" ".join(f"w{word}x" for word in row) + "\n" for row in words))
    command = [sys.executable, "-m", "tdtool", "topics", "docs.txt", "-k", "20", "--polish", "1000"]
    child = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stderr is not None
        child.stderr.readline()  # it has begun to read
        time.sleep(1.5)
        child.send_signal(number)
        output, errors = child.communicate()
    assert (child.returncode, output) == (CODES[number], ""), errors
    assert errors.strip().endswith(SAID[number])
    assert names(tmp_path) == ["docs.txt"], "no half file and no scratch"
    assert ROOT.is_dir()


@pytest.mark.parametrize("number", CODES)
def test_signal_that_a_compiled_function_wraps_is_still_one(tmp_path: Path, number: signal.Signals) -> None:
    """A signal that arrives while numba calls a kernel comes out as SystemError from SystemError from the signal."""
    ran = subprocess.run(
        [sys.executable, "-c", PREPARE + WRAP.format(signal=RAISED[number]) + RUN],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr.strip()) == (CODES[number], SAID[number])
