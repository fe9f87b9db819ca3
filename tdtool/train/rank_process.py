"""One of several processes that train together: `python -m tdtool.train.rank_process RUN PARENT VERBOSITY MODULE`.

`launch` starts them. What goes wrong in one is written where torch's elastic agent looks for it, so that the launcher
can raise it again; nothing of it is printed here. Torch is imported with MODULE: a launcher that is gone is noticed
while that takes its seconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tdtool import errors, log
from tdtool.errors import TdtoolError, TerminatedError

#: What a report says of the error beside its text: one of ours, a signal, another process that went away, a bug.
OURS, SIGNALLED, DESERTED, BUG = "ours", "signalled", "deserted", "bug"
REPORT = "tdtool"
INTERRUPTED, TERMINATED = 130, 143
_WATCH_SECONDS = 0.5
#: The launcher ends all when the first has ended: one that lost another gives that the time to say what was wrong.
_CULPRIT_SECONDS = 3
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h
_NETWORK = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "socket", "store", "timed out")


def serve(work: Callable[[Path], object], run: Path) -> int:
    """Do the work of one process; returns its exit code, and leaves a report for the launcher where that is not 0."""
    try:
        work(run)
    except KeyboardInterrupt as error:
        return _report(error, SIGNALLED, INTERRUPTED)
    except TerminatedError as error:
        return _report(error, SIGNALLED, TERMINATED)
    except TdtoolError as error:
        return _report(error, OURS, error.exit_code)
    except Exception as error:  # whatever it is, the launcher names it
        if not _is_of_the_network(error):
            return _report(error, BUG, 1)
        time.sleep(_CULPRIT_SECONDS)
        return _report(error, DESERTED, 1)
    return 0


def error_again(report: dict[str, Any]) -> TdtoolError:
    """The error of ours that a report tells of."""
    kind = getattr(errors, str(report.get("class")), TdtoolError)
    again: TdtoolError = kind.__new__(kind)
    TdtoolError.__init__(again, report["what"], path=report["path"], line=report["line"], hint=report["hint"])
    return again


def _report(error: BaseException, kind: str, exit_code: int) -> int:
    """Write torch's kind of error file, with what we want to know besides; whole or not at all."""
    place = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if place is None:
        traceback.print_exception(error)
        return exit_code
    ours = {name: getattr(error, name, None) for name in ("what", "line", "hint")}
    path = getattr(error, "path", None)
    about = {"kind": kind, "class": type(error).__name__, **ours, "path": None if path is None else str(path)}
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    extra = {"py_callstack": "".join(traceback.format_exception(error)), "timestamp": str(int(time.time()))}
    part = Path(place + ".part")
    part.write_text(json.dumps({"message": {"message": text, "extraInfo": extra}, REPORT: about}), encoding="utf-8")
    part.replace(place)
    return exit_code


def _is_of_the_network(error: Exception) -> bool:
    """Whether it tells that another process has gone, not what is wrong in this one."""
    text = str(error).lower()
    kinds = {kind.__name__ for kind in type(error).__mro__}  # torch is not imported for the name of an error
    return "DistError" in kinds or ("RuntimeError" in kinds and any(word in text for word in _NETWORK))


def _end_with_parent(parent: int) -> None:
    """When the launcher is gone, however it went, this process ends at once: a new one may use the run already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(TERMINATED)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(TERMINATED)


@contextlib.contextmanager
def _speaking(verbosity: int) -> Iterator[None]:
    """Notes and progress of rank 0; the others would say the same again."""
    if os.environ["RANK"] == "0":
        with log.configured(verbosity):
            yield
        return
    warnings.simplefilter("ignore")
    log.logger.addHandler(logging.NullHandler())
    yield


def main(arguments: list[str]) -> int:
    """Work on RUN as `module.work(RUN)` does it, for the launcher with the process id PARENT; returns the exit code."""
    run, parent, verbosity, module = arguments
    _end_with_parent(int(parent))
    faulthandler.enable()
    with _speaking(int(verbosity)):
        return serve(lambda run: importlib.import_module(module).work(run), Path(run))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
