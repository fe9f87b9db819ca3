"""Ctrl-C and SIGTERM wait while HDF5 writes: an exception in the middle of its work would crash the process later."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_WAITING = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Signals that arrive in the block are handled right after it (they only ever arrive in the main thread)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: handler for number in _WAITING if callable(handler := signal.getsignal(number))}
    shield = _Shield(before)
    try:
        for number in before:
            signal.signal(number, shield)
        yield
    finally:
        shield.up = False
        for number, handler in before.items():
            signal.signal(number, handler)
    shield.pass_on()


class _Shield:
    def __init__(self, before: dict[signal.Signals, Callable[[int, FrameType | None], Any]]) -> None:
        self.up = True
        self._before, self._arrived = before, list[tuple[int, FrameType | None]]()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._arrived.append((number, frame))
        if not self.up:
            self.pass_on()

    def pass_on(self) -> None:
        """Handle what has arrived."""
        while self._arrived:
            number, frame = self._arrived.pop(0)
            self._before[signal.Signals(number)](number, frame)
