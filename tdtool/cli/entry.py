"""From the shell and back: signals, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import ClassVar, NoReturn, Self

import click

from tdtool.cli.group import ReaderGoneError, cli
from tdtool.cli.options import Session
from tdtool.errors import ResourceError, TdtoolError, TerminatedError

_INTERRUPTED, _TERMINATED = 130, 143
_FULL = (errno.ENOSPC, errno.EDQUOT)
_MOMENT = 0.05
_SMALLER = "fewer topics or components, a smaller --max-vocabulary or a lower --memory take less"
_ELSEWHERE = "free some space, or choose another place by -o and TMPDIR"


def main() -> NoReturn:
    """The command `tdtool`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """One command line, from arguments to exit code; every message is printed."""
    session = Session()
    _let_any_text_out()
    with _Signals() as signals:
        try:
            result = cli.main(list(arguments), prog_name="tdtool", standalone_mode=False, obj=session)
            sys.stdout.flush()
        except BaseException as error:
            signals.rest()
            if session.debug and not isinstance(
                error, (SystemExit, ReaderGoneError, BrokenPipeError, click.ClickException)
            ):
                import traceback

                traceback.print_exc()
            return _answer(error, session)
    return result if isinstance(result, int) else 0


def _answer(error: BaseException, session: Session) -> int:
    """Say what happened, on stderr; returns the exit code."""
    error = _unwrapped(error)
    if isinstance(error, click.ClickException):
        error.show(sys.stderr)
        return error.exit_code
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return _say("Interrupted.", _INTERRUPTED)
    if isinstance(error, TerminatedError):
        return _say("Terminated.", _TERMINATED)
    if isinstance(error, TdtoolError):
        return _say(f"Error: {error}", error.exit_code)
    if isinstance(error, MemoryError):
        return _say(f"Error: not enough memory\n  {_SMALLER}", ResourceError.exit_code)
    if isinstance(error, (ReaderGoneError, BrokenPipeError)):
        return _leave_the_pipe()
    if isinstance(error, OSError) and error.errno in _FULL:
        return _say(
            f"Error: {error.filename or 'scratch files'}: the disk is full\n  {_ELSEWHERE}", ResourceError.exit_code
        )
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, OSError):
        return _say(f"Error: {error.filename or 'the system says'}: {error.strerror or error}", 1)
    again = "" if session.debug else "\n  this is a bug in tdtool; run again with --debug and report what it prints"
    return _say(f"Error: {type(error).__name__}: {' '.join(str(error).split())}{again}", 1)


def _unwrapped(error: BaseException) -> BaseException:
    """A signal that arrives while a compiled function is called comes out of it as SystemError, perhaps nested."""
    cause: BaseException | None = error
    while isinstance(cause, SystemError):
        cause = cause.__cause__
    return cause if isinstance(cause, (KeyboardInterrupt, TerminatedError)) else error


def _say(message: str, code: int) -> int:
    from tdtool.log import printable

    click.echo(printable(message, keep="\n"), err=True)
    return code


def _leave_the_pipe() -> int:
    """What is left of the output goes nowhere, quietly."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _let_any_text_out() -> None:
    """Words of any script reach a terminal of any encoding, as escapes where it has no letter for them."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


class _Signals:
    """While a command runs SIGTERM ends it as Ctrl-C does, through every `with` block; a second signal does at once.

    An exception that arrives inside a callback (of a weak reference, of a C library) is lost there. So it is raised
    again every moment, until it is seen on its way up: then the blocks it passes may clean up undisturbed.
    """

    _raised: ClassVar = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: TerminatedError}
    _codes: ClassVar = {signal.SIGINT: _INTERRUPTED, signal.SIGTERM: _TERMINATED}

    def __enter__(self) -> Self:
        self._first: signal.Signals | None = None
        self._hook, sys.unraisablehook = sys.unraisablehook, self._report_lost
        self._before = {number: signal.signal(number, self._handle) for number in self._codes}
        self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._raise)
        return self

    def rest(self) -> None:
        """The command is over: nothing is raised any more."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def __exit__(self, *_: object) -> None:
        self.rest()
        sys.unraisablehook = self._hook
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._first is not None:
            os._exit(self._codes[self._first])
        self._first = signal.Signals(number)
        signal.setitimer(signal.ITIMER_REAL, _MOMENT, _MOMENT)
        self._raise()

    def _raise(self, *_: object) -> None:
        """Raise the first signal's exception, unless it is being handled right now."""
        if self._first is not None and not isinstance(sys.exc_info()[1], self._raised[self._first]):
            raise self._raised[self._first]

    def _report_lost(self, lost: sys.UnraisableHookArgs) -> None:
        """Say what a callback could not raise; a signal's exception is raised again anyway."""
        if not isinstance(lost.exc_value, tuple(self._raised.values())):
            self._hook(lost)
