"""Signals while a net is trained: the step is finished and the run saved before anything ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any, Self

from tdtool.errors import TerminatedError

WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_ECHO = 0.5  # seconds: terminals, launchers and clusters send the same signal more than once


class Interruption:
    """While the block runs, SIGTERM, SIGINT and SIGUSR1 only set `number`; the loop looks at it after each step.

    SIGUSR1 is what clusters send some time before they end a job. A second signal, later than an echo of the first,
    ends the process at once: the last checkpoint is whole. Handlers of before are put back at the end of the block.
    Outside the main thread nothing is watched: Python hands no signals to other threads.
    """

    def __init__(self) -> None:
        self.number = 0
        self._at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in WATCHED}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # None: a handler that was not installed from Python, which Python cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.number:
            self.number, self._at = number, now
        elif now - self._at > _ECHO:
            os._exit(exit_code(self.number))


def exit_code(number: int) -> int:
    """130 for SIGINT, else 143: SIGUSR1 is the cluster's warning that SIGTERM will come."""
    return 130 if number == signal.SIGINT else 143


def error_of(number: int) -> BaseException:
    """What is raised for a signal once everything is saved."""
    return KeyboardInterrupt() if number == signal.SIGINT else TerminatedError()
