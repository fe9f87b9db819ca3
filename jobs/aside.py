"""Work in a thread of its own, while the main thread waits and hears signals.

An exception that a signal raises in the middle of an exchange with Spark's Java process would leave half of an answer
in the connection of that thread, and the next question would get it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tdtool import log

_QUIET_SECONDS = 5  # before the user is told what we wait for


class Aside:
    """A function under way. result, error : what it has returned or raised."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: Exception | None = None
        self._function, self._done = function, threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self.result = self._function()
        except Exception as error:
            self.error = error  # for the thread that waits
        finally:
            self._done.set()

    def wait(self, seconds: float, about: str | None = None) -> bool:
        """Whether it is done by then. about : what to say when that takes long."""
        if about is not None and seconds > _QUIET_SECONDS and not self._done.wait(_QUIET_SECONDS):
            log.note(about)
            seconds -= _QUIET_SECONDS
        return self._done.wait(seconds)
