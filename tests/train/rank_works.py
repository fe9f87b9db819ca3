"""What processes of test_launch.py do: `work(RUN)` reads from RUN/what which trouble to make. Without torch: it starts
in a moment.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from tdtool import log
from tdtool.errors import InputError, MissingExtraError, TerminatedError

RANK = int(os.environ.get("RANK", "0"))
ATTEMPT = os.environ.get("TORCHELASTIC_RESTART_COUNT")


def work(run: Path) -> None:
    """Do what RUN/what says."""
    log.warn(f"rank {RANK} speaks")
    names = ("MASTER_ADDR", "WORLD_SIZE", "TORCHELASTIC_USE_AGENT_STORE")
    (run / f"started-{RANK}").write_text(" ".join([str(os.getpid()), *(os.environ[name] for name in names)]))
    globals()[(run / "what").read_text()](run)
    (run / f"done-{RANK}").write_text(str(ATTEMPT))


def nothing(run: Path) -> None:
    """All goes well."""


def input_error(run: Path) -> None:
    """Rank 1 finds bad data; the other one, which waits for it, notices first and ends with what a broken connection
    gives."""
    if RANK == 1:
        (run / "raised").touch()
        time.sleep(0.3)
        raise InputError("has no images", path="some.h5", line=7, hint="look there")
    _wait_for(run / "raised")
    raise RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:19090")


def missing_extra(run: Path) -> None:
    """An error whose class has a constructor of its own."""
    raise MissingExtraError("wandb", "tracking")


def bug(run: Path) -> None:
    """Rank 1 has an error that is not ours, and ends last."""
    if RANK == 0:
        _wait_for(run / "waits-1")
        os.kill(os.getpid(), signal.SIGTERM)
    _sleep_until_signalled()
    raise ZeroDivisionError("a bug")


def exit_code(run: Path) -> None:
    """Rank 1 leaves without a word."""
    if RANK == 1:
        os._exit(7)
    time.sleep(60)


def killed_once(run: Path) -> None:
    """Rank 1 is killed; the next time all goes well."""
    if RANK == 1 and ATTEMPT == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    if ATTEMPT == "0":
        time.sleep(60)


def saves(run: Path) -> None:
    """When told to end, rank 0 takes a while to save; rank 1 waits for it, as a world does at its end."""
    number = _sleep_until_signalled()
    if RANK == 0:
        time.sleep(1)
        (run / "saved").write_text(signal.Signals(number).name)
    _wait_for(run / "saved")
    raise KeyboardInterrupt if number == signal.SIGINT else TerminatedError


def stubborn(run: Path) -> None:
    """Does not end when told to."""
    while True:
        _sleep_until_signalled()


def trains(run: Path) -> None:
    """Really. Rank 1 is killed after the first epoch; the next time rank 0 is told to end in the second."""
    from tdtool.train.step import Updater
    from tdtool.train.worker import work

    update = Updater.update

    def troubled(self: Updater, parts: object, step: int, rate: float) -> None:
        if (RANK, ATTEMPT, step) == (1, "0", 7):
            os.kill(os.getpid(), signal.SIGKILL)
        if (RANK, ATTEMPT, step) == (0, "1", 8):
            os.kill(os.getpid(), signal.SIGTERM)
        update(self, parts, step, rate)

    Updater.update = troubled
    work(run)


def _sleep_until_signalled() -> int:
    got: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: got.append(number))
    Path(sys.argv[1], f"waits-{RANK}").touch()
    deadline = time.monotonic() + 60
    while not got:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return got[0]


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
