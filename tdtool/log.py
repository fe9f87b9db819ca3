"""What the user hears while work goes on: notes, warnings and progress, all on stderr.

Quiet until the command line calls `configure`: a library import prints nothing and needs no rich.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
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
    identifier = _progress.add_task(printable(description), total=total)
    _progress.start()
    try:
        yield _Bar(_progress, identifier)
    finally:
        _progress.remove_task(identifier)
        if not _progress.task_ids:
            _progress.stop()  # what is printed between stages has the terminal to itself


@contextlib.contextmanager
def configured(verbosity: int = 0) -> Iterator[None]:
    """Send notes to stderr for the life of one command. verbosity : -1 warnings only, 0 notes, 1 details.

    Bars appear only on a terminal (rich, which obeys NO_COLOR by itself); otherwise notes are plain lines.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    level = {-1: logging.WARNING, 0: logging.INFO}.get(verbosity, logging.DEBUG)
    with contextlib.ExitStack() as stack:
        if sys.stderr.isatty():
            handler = _TerminalHandler(stack.enter_context(_bars(shown=verbosity >= 0)))
        handler.setFormatter(_Plain())
        before = logger.level
        logger.setLevel(level)
        logger.addHandler(handler)
        stack.callback(logger.setLevel, before)
        stack.callback(logger.removeHandler, handler)
        yield


@contextlib.contextmanager
def _bars(shown: bool) -> Iterator[Console]:
    global _progress
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    _progress = progress = Progress(
        *columns, console=console, transient=True, disable=not shown, redirect_stdout=False, redirect_stderr=False
    )
    try:
        yield console
    finally:
        _progress = None
        progress.stop()


class _TerminalHandler(logging.Handler):
    """Prints above the bars. Neither markup nor control characters of a message mean anything."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(self.format(record), markup=False, highlight=False, emoji=False, soft_wrap=True)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        return printable(prefix + super().format(record), keep="\n")


def printable(text: str, keep: str = "") -> str:
    """Text from files and corpora as it may go to a terminal: control, direction and lone surrogate characters escaped.

    keep : control characters that stay ("\\n" for text of several lines).
    """
    if text.isprintable():
        return text
    return "".join(c if c in keep or not _is_control(c) else c.encode("unicode_escape").decode() for c in text)


def _is_control(character: str) -> bool:
    """Control and line separators, surrogates, and what steers the text around it; but not the joiners scripts need."""
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in "\u00ad\u200c\u200d"
