"""Several processes on this machine, started and watched by torch's own elastic agent."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousParameters
from torch.distributed.elastic.rendezvous.api import RendezvousError
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

import tdtool
from tdtool import log
from tdtool.config import DeviceConfig
from tdtool.errors import ClusterError, TdtoolError, TerminatedError
from tdtool.train.fault import ENDED, Fault, first_fault
from tdtool.train.rank_process import DESERTED, INTERRUPTED, SIGNALLED, TERMINATED
from tdtool.train.world import LOOPBACK

_PROCESS = "tdtool.train.rank_process"
_NAME = "tdtool"  # of the meeting; all launchers of a run give the same
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_ECHO_SECONDS = 0.5  # terminals and clusters send the same signal more than once
_MEETING_SECONDS = 600
_LOOK_SECONDS, _GRACE_SECONDS = 5, 20  # how often other launchers are looked at, and how long after them we may end


def launch(
    run: Path, config: DeviceConfig, *, verbosity: int | None = None, module: str = "tdtool.train.worker"
) -> int:
    """Do `module.work(run)` in config.gpus processes of this machine, and wait for them; returns 0: all is done.

    verbosity : of rank 0, see log.configured; None: as this process speaks. The other processes are silent. SIGTERM,
    SIGINT and SIGUSR1 go on to the processes, which save; a second one ends them at once. None outlives this process.

    When one process fails or dies the others are ended, within 31 seconds, and all start again, at most
    config.max_restarts times. Raises what was raised there of our own errors, TerminatedError or KeyboardInterrupt
    after a signal, and ClusterError that names the process otherwise.
    """
    speaks = _verbosity() if verbosity is None else verbosity
    with tempfile.TemporaryDirectory(prefix="tdtool-") as scratch, _quiet_agent(), _environment(config):
        arguments = (*_flags(), "-m", _PROCESS, str(run), str(os.getpid()), str(speaks), module)
        try:
            agent = _Agent(config, arguments, Path(scratch))
            with agent.forwarding_signals(), agent.at_the_meeting():
                result = agent.run()
        except RendezvousError as error:
            raise _not_met(config, error) from error
    if result is None or result.is_failed():
        raise agent.fault.error(config) if agent.fault is not None else ClusterError("the processes did not start")
    return 0


class _Agent(LocalElasticAgent):
    """Torch's agent, which besides says why it starts all again, passes signals on and looks at other launchers."""

    def __init__(self, config: DeviceConfig, arguments: tuple[str, ...], scratch: Path) -> None:
        self.fault: Fault | None = None
        self._signal, self._signal_at = 0, 0.0
        self._looked, self._closed_since = time.monotonic(), 0.0
        self._config = config
        spec = WorkerSpec(
            role=_NAME,
            local_world_size=config.gpus,
            entrypoint=sys.executable,
            args=arguments,
            rdzv_handler=get_rendezvous_handler(_meeting(config, scratch)),
            max_restarts=config.max_restarts,
            monitor_interval=0.1,
            local_addr=LOOPBACK if config.nodes == 1 else None,
        )
        super().__init__(spec, DefaultLogsSpecs(log_dir=str(scratch / "reports")), exit_barrier_timeout=60)

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        started: dict[int, Any] = super()._start_workers(worker_group)
        if self._signal:
            self._send(self._signal, started.values())
        return started

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result = super()._monitor_workers(worker_group)
        if result.state == WorkerState.FAILED:
            self.fault = self._named(result.failures)
            if self.fault.final or self._signal:
                self._remaining_restarts = 0
            elif self._remaining_restarts > 0:
                count = f"{self._config.max_restarts - self._remaining_restarts + 1} of {self._config.max_restarts}"
                log.warn(f"{self.fault}; all start again from the last checkpoint (restart {count})")
        elif result.state == WorkerState.HEALTHY and self._config.nodes > 1 and self._others_have_ended(worker_group):
            self.fault = None
            self._remaining_restarts = 0
            raise ClusterError("the processes of another machine have ended", hint="see what is said there")
        return result

    def _named(self, failures: dict[int, ProcessFailure]) -> Fault:
        """The first fault; once we have passed a signal on, that is it, whether processes watched for it already."""
        fault = first_fault(failures)
        if self._signal and (fault.kind in (SIGNALLED, ENDED, DESERTED) or fault.exit_code == -self._signal):
            code = INTERRUPTED if self._signal == signal.SIGINT else TERMINATED
            return dataclasses.replace(fault, kind=SIGNALLED, exit_code=code)
        return fault

    def _others_have_ended(self, worker_group: WorkerGroup) -> bool:
        """Whether another launcher has closed the meeting some time ago, and ours are still at work."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return False
        self._looked = now
        if not worker_group.spec.rdzv_handler.is_closed():
            return False
        self._closed_since = self._closed_since or now
        return now - self._closed_since > _GRACE_SECONDS

    @contextlib.contextmanager
    def at_the_meeting(self) -> Iterator[None]:
        """When it ends, other launchers learn that nobody is here any more."""
        try:
            yield
        finally:
            self._worker_group.spec.rdzv_handler.shutdown()

    @contextlib.contextmanager
    def forwarding_signals(self) -> Iterator[None]:
        """While it is open signals go to the processes. Python hands signals to the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._forward) for number in _FORWARDED}
        before[signal.SIGQUIT] = signal.getsignal(signal.SIGQUIT)  # the agent must take one: see _environment
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _forward(self, number: int, frame: FrameType | None) -> None:
        processes = [worker.id for worker in self._worker_group.workers]
        if not self._signal:
            self._signal, self._signal_at = number, time.monotonic()
            self._send(number, processes)
        elif time.monotonic() - self._signal_at > _ECHO_SECONDS:
            self._send(signal.SIGKILL, processes)
            raise KeyboardInterrupt if self._signal == signal.SIGINT else TerminatedError

    def _send(self, number: int, processes: Any) -> None:
        for process in processes:
            with contextlib.suppress(ProcessLookupError, TypeError):  # it has ended; or has no number yet
                os.kill(process, number)


def _meeting(config: DeviceConfig, scratch: Path) -> RendezvousParameters:
    """Where launchers meet: a file where there is one only, which so listens to nobody."""
    file = {"store_type": "file"} if config.nodes == 1 else {}
    return RendezvousParameters(
        backend="c10d",
        endpoint=str(scratch / "meeting") if config.nodes == 1 else config.rendezvous,
        run_id=_NAME,
        min_nodes=config.nodes,
        max_nodes=config.nodes,
        local_addr=LOOPBACK if config.nodes == 1 else None,
        join_timeout=_MEETING_SECONDS,
        **file,
    )


def _not_met(config: DeviceConfig, error: RendezvousError) -> TdtoolError:
    what = f"{config.nodes} machines did not meet at {config.rendezvous} ({type(error).__name__})"
    hint = f"run the same command on each of them within {_MEETING_SECONDS // 60} minutes, and let the port through"
    return ClusterError(what, hint=hint)


@contextlib.contextmanager
def _environment(config: DeviceConfig) -> Iterator[None]:
    """What processes find in their environment beside what the agent puts there; ours is put back."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = max(1, (config.threads or cores) // config.gpus)
    ours = {
        "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGQUIT",  # not those that we forward; it cannot be none
        # Rank 0 keeps the store: the agent's would listen on all interfaces, and outlive processes that start again.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(share)),
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _quiet_agent() -> Iterator[None]:
    """The agent's own account of failures is ours to give."""
    loggers = [
        logging.getLogger(name) for name in sorted(logging.root.manager.loggerDict) if "torch.distributed" in name
    ]
    before = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in before:
            logger.setLevel(level)


def _verbosity() -> int:
    """How much this process says, as log.configured counts it."""
    level = log.logger.getEffectiveLevel()
    return -1 if level >= logging.WARNING else 0 if level >= logging.INFO else 1


def _flags() -> tuple[str, ...]:
    """-P: a torch.py in the user's directory is not taken for torch; but where tdtool itself is found only there."""
    return () if Path(tdtool.__file__).parents[1] == Path.cwd() else ("-P",)
