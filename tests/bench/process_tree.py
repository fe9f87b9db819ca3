"""The processes that a command starts: which they are, what memory they took at most, and a way to end one of them."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from pathlib import Path

_EXECUTOR, _WORKER = "CoarseGrainedExecutorBackend", "deploy.worker.Worker"
_DAEMON = "python_daemon"
_LOOK_EVERY, _LASTING = 0.1, 5


@dataclasses.dataclass(frozen=True)
class Process:
    """One process. command : its arguments, blanks between; peak_mb : the most memory it has held."""

    pid: int
    parent: int
    command: str
    peak_mb: float


def processes() -> dict[int, Process]:
    """All processes of this machine that can be seen, by number."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, StopIteration, ValueError):
                found[int(folder.name)] = _process(folder)
    return found


def descendants(root: int) -> list[Process]:
    """The process and everything below it."""
    everyone = processes()
    below, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        if pid in everyone:
            below.append(everyone[pid])
        waiting += [process.pid for process in everyone.values() if process.parent == pid]
    return below


def executors(root: int) -> list[Process]:
    """The JVMs of executors below a process."""
    return [process for process in descendants(root) if _EXECUTOR in process.command]


def python_workers(root: int) -> list[Process]:
    """Python processes that run tasks: children of the daemons, which only start them."""
    found = descendants(root)
    daemons = {process.pid for process in found if _DAEMON in process.command}
    return [process for process in found if process.parent in daemons]


def standalone_workers(root: int) -> list[Process]:
    """The JVMs of a standalone cluster's workers below a process."""
    return [process for process in descendants(root) if _WORKER in process.command]


class MemoryWatch:
    """Peaks of a process tree while it runs: `with MemoryWatch(pid) as watch: ...; watch.driver_mb, watch.executor_mb`.

    A peak is the sum of what each process took at most, an upper bound of what they took at one time; pages that they
    share are counted for each.
    """

    def __init__(self, root: int) -> None:
        self._root, self._stop = root, threading.Event()
        self._peaks: dict[int, tuple[int, float]] = {}
        self._seen: dict[int, int] = {}
        self._commands: dict[int, str] = {}
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def driver_mb(self) -> float:
        """Of the command and its JVM, without executors that are processes of their own."""
        return sum(peak for owner, peak in self._lasting() if owner == 0)

    @property
    def executor_mb(self) -> float:
        """Of the largest executor: its JVM and its Python workers; 0 where there is none."""
        owners = {owner for owner, _ in self._lasting()} - {0}
        return max((sum(p for o, p in self._lasting() if o == owner) for owner in owners), default=0.0)

    def _lasting(self) -> list[tuple[int, float]]:
        """(owner, peak) of processes that lived for a while: at first a process has the memory of its parent."""
        return [found for pid, found in self._peaks.items() if self._seen[pid] >= _LASTING]

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_EVERY):
            found = descendants(self._root)
            owners = {process.pid: process.pid for process in found if _EXECUTOR in process.command}
            for process in found:  # parents come first
                self._seen[process.pid] = self._seen.get(process.pid, 0) + 1
                owner = owners.setdefault(process.pid, owners.get(process.parent, 0))
                known, before = self._peaks.get(process.pid, (0, 0.0))
                # One that is ending has neither a command nor memory any more: what was known of it stays. One that
                # has become another program had its parent's memory before.
                if process.command and process.command != self._commands.get(process.pid):
                    before, self._commands[process.pid] = 0.0, process.command
                owners[process.pid] = known or owner
                self._peaks[process.pid] = (known or owner, max(before, process.peak_mb))


def _process(folder: Path) -> Process:
    lines = (folder / "status").read_text().splitlines()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    peak = int(facts.get("VmHWM", "0 kB").split()[0]) * 1024 / 1e6
    return Process(int(folder.name), int(facts["PPid"]), command, peak)
