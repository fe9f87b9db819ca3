"""Every way to fail has its exit code and one clear message; a traceback is for --debug."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool import errors
from tests.cli.conftest import Run
from tests.cli.running import environment, tdtool
from tests.store.samples import names, write_corpus, write_topics


def _fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate_topics(*_: Any, **__: Any) -> None:
        raise error

    module = types.ModuleType("tdtool.run.evaluate")
    module.evaluate_topics = evaluate_topics  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tdtool.run.evaluate", module)


CASES: dict[str, tuple[BaseException, int, str]] = {
    "failed": (errors.TdtoolError("no luck", hint="try again"), 1, "Error: no luck\n  try again\n"),
    "usage": (errors.UsageError("both of them"), 2, "Error: both of them\n"),
    "input": (errors.InputError("not a number", path="a.csv", line=3), 3, "Error: a.csv:3: not a number\n"),
    "resource": (errors.ResourceError("too big"), 4, "Error: too big\n"),
    "extra": (errors.MissingExtraError("torch", "train"), 1, "pip install 'tdtool[train]'"),
    "memory": (MemoryError(), 4, "Error: not enough memory\n"),
    "numpy memory": (np._core._exceptions._ArrayMemoryError((9, 9), np.dtype("f8")), 4, "Error: not enough memory\n"),
    "disk": (OSError(errno.ENOSPC, "No space left", "/tmp/x"), 4, "Error: /tmp/x: the disk is full\n"),  # noqa: S108
    "permission": (PermissionError(errno.EACCES, "Permission denied", "x.txt"), 1, "Error: x.txt: Permission denied\n"),
    "interrupt": (KeyboardInterrupt(), 130, "Interrupted.\n"),
    "termination": (errors.TerminatedError(), 143, "Terminated.\n"),
    "bug": (ZeroDivisionError("division\nby zero"), 1, "Error: ZeroDivisionError: division by zero\n  this is a bug"),
}


@pytest.mark.parametrize("case", CASES)
def test_error_has_its_code_and_message(run: Run, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    error, code, message = CASES[case]
    _fail_with(error, monkeypatch)
    ran = run("evaluate", "m.h5", "corpus")
    assert ran.code == code
    assert ran.out == ""
    assert message in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("case", ["input", "bug"])
def test_debug_shows_where_it_came_from(run: Run, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    _fail_with(CASES[case][0], monkeypatch)
    ran = run("evaluate", "m.h5", "corpus", "--debug")
    assert ran.code == CASES[case][1]
    assert "Traceback" in ran.err
    assert "in evaluate_topics" in ran.err
    assert "run again with --debug" not in ran.err


def test_messages_cannot_steer_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(errors.InputError("bad\x1b[2J\u202eword\udcff", path="a\rb", hint="second line"), monkeypatch)
    ran = run("evaluate", "m.h5", "corpus")
    assert ran.err == "Error: a\\rb: bad\\x1b[2J\\u202eword\\udcff\n  second line\n"


USAGE = {
    "no such command": (["tpoics"], "No such command 'tpoics'"),
    "no command": ([], "Usage: tdtool"),
    "no source": (["topics"], "Missing argument 'SOURCE'"),
    "no such option": (["topics", "x", "--kk", "3"], "No such option"),
    "one topic": (["topics", "x", "-k", "1"], "1 is less than 2"),
    "no number": (["topics", "x", "-k", "many"], "'many' is neither a whole number nor auto"),
    "alpha0": (["topics", "x", "--alpha0", "0"], "'--alpha0'"),
    "m3": (["topics", "x", "--m3", "sketchy"], "'--m3'"),
    "held out": (["topics", "x", "--held-out", "0.9"], "'--held-out'"),
    "memory unit": (["topics", "x", "--memory", "3 bananas"], "is no size"),
    "memory tiny": (["topics", "x", "--memory", "12"], "less than a megabyte"),
    "lengths": (["topics", "x", "--min-length", "9", "--max-length", "3"], "--min-length is more than --max-length"),
    "output exists": (["topics", "x", "-o", "old.h5"], "old.h5: the output exists already\n  --force"),
    "output is directory": (["topics", "x", "-o", "."], "is a directory"),
    "output has no parent": (
        ["topics", "x", "-o", "none/m.h5"],
        "there is no directory none\n  make it: mkdir -p none",
    ),
    "export format": (["topics", "x", "--export", "x.xlsx"], "no format has the suffix '.xlsx'\n  known are .csv"),
    "export exists": (["show", "old.h5", "--export", "old.csv"], "old.csv: the output exists already"),
    "ingest as": (["ingest", "x", "--as", "pictures"], "'--as'"),
    "no file": (["verify"], "Missing argument 'FILE...'"),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage_is_two_before_any_work(run: Run, tmp_path: Path, case: str) -> None:
    arguments, message = USAGE[case]
    for name in ("old.h5", "old.csv"):
        (tmp_path / name).write_text("old")
    ran = run(*arguments)
    assert ran.code == 2
    assert message in ran.err
    assert ran.out == ""
    assert names(tmp_path) == ["old.csv", "old.h5"]
    assert (tmp_path / "old.h5").read_text() == "old"


BAD_INPUT = {
    "no such file": (["show", "none.h5"], "none.h5: there is no such file"),
    "no hdf5": (["show", "text.h5"], "text.h5: not an HDF5 file"),
    "not a model": (["show", "corpus.h5", "--export", "x.csv"], "a tdtool.corpus file, where"),
    "no corpus": (["topics", "nowhere"], "nowhere: there is no such file"),
    "verify": (["verify", "text.h5", "model.h5"], "1 of 2 files damaged"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_three(run: Run, tmp_path: Path, case: str) -> None:
    (tmp_path / "text.h5").write_text("hello")
    write_corpus(tmp_path / "corpus.h5")
    write_topics(tmp_path / "model.h5")
    arguments, message = BAD_INPUT[case]
    ran = run(*arguments)
    assert ran.code == 3
    assert message in ran.err
    assert names(tmp_path) == ["corpus.h5", "model.h5", "text.h5"]


def test_closed_pipe_is_quiet(tmp_path: Path) -> None:
    write_topics(tmp_path / "m.h5")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "tdtool", "show", str(tmp_path / "m.h5")]
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_any_terminal_can_show_any_word(tmp_path: Path) -> None:
    write_topics(tmp_path / "m.h5")
    ran = tdtool("show", tmp_path / "m.h5", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert ran.code == 0
    assert "w\\xf6rd" in ran.out
