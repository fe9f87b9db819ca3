"""What the user hears while work goes on: notes, warnings and progress, all on stderr.

Quiet until the command line calls `configure`: a library import prints nothing and needs no rich.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

logger = logging.getLogger("tdtool")
_progress: Progress | None = None


class Task(Protocol):
    """A bar on the screen, or nothing when nobody looks."""

    def advance(self, amount: float = 1) -> None: ...
    def total(self, total: float) -> None: ...


class _Silent:
    def advance(self, amount: float = 1) -> None:
        """Nobody looks."""

    def total(self, total: float) -> None:
        """Nobody looks."""


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, amount: float = 1) -> None:
        self._progress.advance(self._task, amount)

    def total(self, total: float) -> None:
        self._progress.update(self._task, total=total)


def note(message: str) -> None:
    """Say something worth knowing (shown unless -q)."""
    logger.info(message)


def detail(message: str) -> None:
    """Say something only -v shows."""
    logger.debug(message)


def warn(message: str) -> None:
    """Say something the user should act on (shown even with -q)."""
    logger.warning(message)


@contextlib.contextmanager
def task(description: str, total: float | None = None) -> Iterator[Task]:
    """Progress of one stage: `with log.task("reading", total=n) as bar: bar.advance(1)`."""
    if _progress is None:
        yield _Silent()
        return
    identifier = _progress.add_task(description, total=total)
    try:
        yield _Bar(_progress, identifier)
    finally:
        _progress.remove_task(identifier)


@contextlib.contextmanager
def configured(verbosity: int = 0) -> Iterator[None]:
    """Send notes to stderr for the life of one command. verbosity : -1 warnings only, 0 notes, 1 details.

    Bars appear only on a terminal; rich obeys NO_COLOR by itself.
    """
    global _progress
    from rich.console import Console
    from rich.logging import RichHandler
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    handler = RichHandler(console=console, show_time=False, show_path=False, show_level=False, markup=False)
    handler.setFormatter(_Plain())
    logger.addHandler(handler)
    logger.setLevel({-1: logging.WARNING, 0: logging.INFO}.get(verbosity, logging.DEBUG))
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    try:
        if console.is_terminal and verbosity >= 0:
            with Progress(*columns, console=console, transient=True) as progress:
                _progress = progress
                yield
        else:
            yield
    finally:
        _progress = None
        logger.removeHandler(handler)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        return prefix + super().format(record)
