"""The Java process behind a SparkContext: started, listened to, and ended with us."""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tdtool import log
from tdtool.errors import ClusterError, ResourceError, TdtoolError
from tdtool.jobs.aside import Aside
from tdtool.jobs.failures import words_of
from tdtool.jobs.spark_settings import may_be_seen

_MOMENT = 0.05
_START_SECONDS = 120  # a JVM takes 2; one on a machine that swaps takes long, and Ctrl-C ends the wait
_END_SECONDS = 15
_LAST_BYTES = 20_000
_STDERR = 2


class Jvm:
    """One Java process. It ends when its standard input does, so with this process too, however that ends."""

    def __init__(self, process: subprocess.Popen[bytes], printed: Path) -> None:
        self.process, self._printed = process, printed

    def last_words(self) -> str:
        """What it printed last; empty where that went to the terminal."""
        with self._printed.open("rb") as file:
            file.seek(max(0, self._printed.stat().st_size - _LAST_BYTES))
            return file.read().decode(errors="replace").strip()

    def ended(self, seconds: float = 0) -> bool:
        """Whether it is gone, after at most so many seconds."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> None:
        """Let it end, and end it where it does not."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        if not self.ended(_END_SECONDS):
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def java_process(settings: Mapping[str, str], home: Path, scratch: Path) -> Iterator[tuple[Jvm, Any]]:
    """(the process, the gateway to it). home : Spark's folder; scratch : a folder of ours.

    What it prints goes to a file, or to stderr when the user wants details. Settings that are secret are not passed:
    command lines can be read by every user of the machine.
    """
    printed, answer = scratch / "java.log", scratch / "gateway"
    command = [str(home / "bin" / "spark-submit")]
    for name, value in may_be_seen(settings).items():
        command += ["--conf", f"{name}={value}"]
    environment = {**os.environ, "SPARK_CONNECT_MODE": "0", "_PYSPARK_DRIVER_CONN_INFO_PATH": str(answer)}
    with printed.open("wb") as file:
        output = _STDERR if log.logger.isEnabledFor(logging.DEBUG) else file
        # In a session of its own, for Ctrl-C in a terminal must reach us alone.
        process = subprocess.Popen(  # noqa: S603 -- Spark's own program
            [*command, "pyspark-shell"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    jvm = Jvm(process, printed)
    try:
        port, secret = _answered(jvm, answer)
        gateway = _connected(port, secret)
        try:
            yield jvm, gateway
        finally:
            _disconnect(gateway)
    finally:
        jvm.end()


def _answered(jvm: Jvm, answer: Path) -> tuple[int, str]:
    """Port and secret of the gateway, from the file that the process writes and renames."""
    until = time.monotonic() + _START_SECONDS
    while not answer.exists():
        if jvm.ended(_MOMENT):
            raise not_started(jvm.last_words())
        if time.monotonic() > until:
            raise ClusterError(f"Spark's Java process did not answer within {_START_SECONDS} s")
    content = answer.read_bytes()
    answer.unlink()
    port, length = struct.unpack(">ii", content[:8])
    return port, content[8 : 8 + length].decode()


def not_started(said: str) -> TdtoolError:
    """Why there is no JVM, from what it printed."""
    words = words_of(said) or "it said nothing"
    if "insufficient memory" in said or "Could not reserve enough space" in said:
        return ResourceError(f"not enough memory for Spark's Java process: {words}", hint="free some")
    return ClusterError(f"Spark's Java process did not start: {words}")


def _connected(port: int, secret: str) -> Any:
    """pyspark connects to a process that is there when these variables are set."""
    from pyspark.java_gateway import launch_gateway

    with variables({"PYSPARK_GATEWAY_PORT": str(port), "PYSPARK_GATEWAY_SECRET": secret}):
        return launch_gateway()


def _disconnect(gateway: Any) -> None:
    from pyspark import SparkContext

    SparkContext._gateway = SparkContext._jvm = None
    Aside(gateway.shutdown).wait(_END_SECONDS)


@contextlib.contextmanager
def variables(values: Mapping[str, str | None], also: tuple[str, ...] = ()) -> Iterator[None]:
    """Variables of the environment for a while; None: not set. also : others that are as before afterwards."""
    before = {name: os.environ.get(name) for name in (*values, *also)}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
