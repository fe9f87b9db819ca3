"""Processes of a Spark run are killed at random moments; the file that comes out must be the same to the bit."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.process_tree import Process, executors, python_workers, standalone_workers
from tests.bench.spark_runs import digest_of

#: Executors of a fault run, with one core and so much memory each.
_CLUSTER = "local-cluster[2,1,1024]"
#: A run that takes so many times as long as an undisturbed one, and this many seconds more, is stuck.
_STUCK, _GRACE = 4, 240.0
_LOOK_EVERY, _START_SECONDS = 0.05, 60.0
_VICTIMS: dict[str, Callable[[int], list[Process]]] = {
    "executor": executors,
    "python worker": python_workers,
    "worker": standalone_workers,
}


@dataclasses.dataclass(frozen=True)
class Fault:
    """One disturbed run. after : seconds to the kill; outcome : "same", "different" or what went wrong."""

    victim: str
    after: float
    seconds: float
    outcome: str


def campaign(store: Path, folder: Path, *, n_topics: int, runs: int, seed: int) -> Iterator[Fault]:
    """Kill one process in each of `runs` runs of `tdtool topics STORE`, at times that the seed draws.

    First one without a kill, with speculation. Of five runs two lose an executor, two a Python worker, and one a
    standalone cluster's Worker with its executor.
    """
    draw = random.Random(seed)
    expected = digest_of(_finished(topics_command(store, folder / "local.h5", n_topics, None)))
    yield _speculating(store, folder, n_topics, expected)
    victims = ["executor", "python worker", "worker", "executor", "python worker"]
    usual: dict[str, float] = {}
    for number in range(runs):
        victim = victims[number % len(victims)]
        with _master(victim) as (master, root):
            if victim not in usual:
                started = time.monotonic()
                _finished(topics_command(store, folder / f"undisturbed-{victim}.h5", n_topics, master))
                usual[victim] = time.monotonic() - started
            output = folder / f"{number}.h5"
            after = draw.uniform(0.15, 0.95) * usual[victim]
            command = topics_command(store, output, n_topics, master)
            yield _disturbed(command, output, victim, after, root, expected, _STUCK * usual[victim] + _GRACE)


def _speculating(store: Path, folder: Path, n_topics: int, expected: str) -> Fault:
    """Nothing dies, but Spark runs slow tasks twice, and calls tasks slow at once."""
    settings = {"": "true", ".interval": "20ms", ".quantile": "0.1", ".multiplier": "1.01", ".minTaskRuntime": "1ms"}
    command = topics_command(store, folder / "speculation.h5", n_topics, _CLUSTER)
    for name, value in settings.items():
        command[4:4] = ["--spark-conf", f"spark.speculation{name}={value}"]
    started = time.monotonic()
    output = _finished(command)
    outcome = "same" if digest_of(output) == expected else "different"
    return Fault("to speculation", 0.0, time.monotonic() - started, outcome)


def topics_command(store: Path, output: Path, n_topics: int, master: str | None) -> list[str]:
    """`tdtool topics` on an ingested corpus; the last argument but one of `-o` is where the result goes."""
    command = [sys.executable, "-m", "tdtool", "topics", str(store), "-k", str(n_topics), "-q", "--force"]
    return [*command, *(["--master", master] if master else []), "-o", str(output)]


def _finished(command: list[str]) -> Path:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Path(command[-1])


def _disturbed(
    command: list[str], output: Path, victim: str, after: float, root: int | None, expected: str, cap: float
) -> Fault:
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    killed = _kill(process, victim, after, root or process.pid)
    try:
        _, said = process.communicate(timeout=cap)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Fault(victim, after, time.monotonic() - started, "stuck")
    seconds = time.monotonic() - started
    if process.returncode:
        return Fault(victim, after, seconds, f"exit {process.returncode}: {said.strip().splitlines()[-1:]}")
    if not killed:
        return Fault(victim, after, seconds, "nothing was there to kill")
    return Fault(victim, after, seconds, "same" if digest_of(output) == expected else "different")


def _kill(process: subprocess.Popen[str], victim: str, after: float, root: int) -> bool:
    """Wait, then end one such process, if the run goes on so long. What is not there yet is waited for."""
    end = time.monotonic() + after
    while process.poll() is None:
        there = _VICTIMS[victim](root)
        if there and time.monotonic() >= end:
            with contextlib.suppress(ProcessLookupError):
                os.kill(there[0].pid, signal.SIGKILL)
                return True
        time.sleep(_LOOK_EVERY)
    return False


@contextlib.contextmanager
def _master(victim: str) -> Iterator[tuple[str, int | None]]:
    """(master URL, process whose descendants are looked at: None for the run's own)."""
    if victim != "worker":
        yield _CLUSTER, None
        return
    with standalone_cluster(workers=2) as url:
        yield url, os.getpid()


@contextlib.contextmanager
def standalone_cluster(workers: int, *, memory_mb: int = 1536) -> Iterator[str]:
    """A master and workers of one core each on this machine, authenticated; yields the master's URL.

    SPARK_CONF_DIR is set meanwhile, so that whoever starts Spark from this process has the secret.
    """
    import pyspark

    home = Path(pyspark.__file__).parent
    port = _free_port()
    url = f"spark://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="tdtool-bench-") as folder, contextlib.ExitStack() as stack:
        settings = Path(folder) / "spark-defaults.conf"
        settings.touch(mode=0o600)
        settings.write_text(f"spark.authenticate true\nspark.authenticate.secret {secrets.token_hex(16)}\n")
        environment = os.environ | {"SPARK_CONF_DIR": folder, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(home)}
        environment["SPARK_WORKER_DIR"] = f"{folder}/work"
        start = [str(home / "bin" / "spark-class")]
        master = ["org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", str(port)]
        worker = ["org.apache.spark.deploy.worker.Worker", url, "--cores", "1", "--memory", f"{memory_mb}m"]
        for arguments in (master, *[[*worker, "--host", "127.0.0.1"]] * workers):
            stack.enter_context(_server([*start, *arguments, "--webui-port", "0"], environment))
            _wait_for(port)
        stack.enter_context(_with_variable("SPARK_CONF_DIR", folder))
        yield url


@contextlib.contextmanager
def _server(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=environment, **quiet)  # type: ignore[call-overload]
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    """Until something listens there."""
    end = time.monotonic() + _START_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > end:
            raise TimeoutError(f"nothing listens on port {port}")
        time.sleep(_LOOK_EVERY)


@contextlib.contextmanager
def _with_variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
