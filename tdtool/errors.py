"""The one error tree: each class is a kind of trouble, and carries the exit code the command line answers with."""

from __future__ import annotations


class TdtoolError(Exception):
    """A problem the user can fix; the message says what, where and what to do.

    what : one sentence, no full stop; path, line : where, when it is a file; hint : what to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, path: object = None, line: int | None = None, hint: str | None = None) -> None:
        self.what, self.path, self.line, self.hint = what, path, line, hint
        super().__init__(what)

    def __str__(self) -> str:
        where = "" if self.path is None else f"{self.path}{'' if self.line is None else f':{self.line}'}: "
        return where + self.what + (f"\n  {self.hint}" if self.hint else "")


class UsageError(TdtoolError):
    """The options contradict each other or ask for what cannot be (exit code 2)."""

    exit_code = 2


class InputError(TdtoolError):
    """The input data cannot be used as it is (exit code 3)."""

    exit_code = 3


class ResourceError(TdtoolError):
    """Memory, disk or an accelerator is not enough (exit code 4)."""

    exit_code = 4


class GpuError(ResourceError):
    """The GPU that was asked for cannot be used, has too little memory, or has failed (exit code 4)."""


class MissingExtraError(TdtoolError):
    """An optional package was asked for and is not installed; the hint is the pip command (exit code 1)."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed", hint=f"run: pip install 'tdtool[{extra}]'")


class ClusterError(TdtoolError):
    """The cluster cannot be reached or used, or has failed (exit code 1)."""


class TerminatedError(BaseException):
    """SIGTERM arrived (exit code 143): raised in the main thread, so that every `with` block cleans up.

    Like KeyboardInterrupt it is no Exception: nobody who handles errors may take it for one.
    """

    exit_code = 143
