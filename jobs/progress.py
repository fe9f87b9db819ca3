"""Runs a Spark job: with progress on the screen, an end when the user wants one, and its troubles as our own errors."""

from __future__ import annotations

import functools
import itertools
import json
import re
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from tdtool import errors, log
from tdtool.errors import TdtoolError
from tdtool.jobs.failures import job_error
from tdtool.jobs.session import last_words

if TYPE_CHECKING:
    from pyspark import SparkContext

T = TypeVar("T")
P = ParamSpec("P")
_numbers = itertools.count()
_MOMENT = 0.2  # seconds between two looks at how far a job is
_CANCEL_SECONDS = 5
_CARRIED = re.compile(r"<tdtool error ([A-Za-z0-9+/=]+)>")


class CarriedError(Exception):
    """One of our errors on its way from a task to the driver, which sees nothing but its text."""


class _Carried(Generic[P, T]):
    """A function for tasks; a class of its own, so that it travels by its name."""

    def __init__(self, function: Callable[P, T]) -> None:
        self._function = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            result = self._function(*args, **kwargs)
        except TdtoolError as error:
            raise CarriedError(_text(error)) from error
        return _carried_items(result) if isinstance(result, Iterator) else result


def carried(function: Callable[P, T]) -> Callable[P, T]:
    """The function, for a task: a TdtoolError it raises, in its call or its iterator, reaches whoever runs the job."""
    return _Carried(function)


def _carried_items(items: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from items
    except TdtoolError as error:
        raise CarriedError(_text(error)) from error


def _text(error: TdtoolError) -> str:
    facts = {
        "kind": type(error).__name__,
        "what": error.what,
        "path": None if error.path is None else str(error.path),
        "line": error.line,
        "hint": error.hint,
    }
    return f"<tdtool error {b64encode(json.dumps(facts).encode()).decode()}>"


def _error_in(text: str) -> TdtoolError | None:
    """The error of ours that the text of Spark's holds."""
    found = _CARRIED.search(text)
    if found is None:
        return None
    facts = json.loads(b64decode(found[1]))
    kind: type[TdtoolError] = getattr(errors, facts.pop("kind"))
    error = kind.__new__(kind)  # not every class has the same parameters
    TdtoolError.__init__(error, facts.pop("what"), **facts)
    return error


def run_job(context: SparkContext, about: str, action: Callable[[], T]) -> T:
    """What the action returns; it starts Spark jobs (collect ...). about : what the user reads beside the progress.

    The action runs in a thread of its own, and signals are heard in this one. Errors come as our own: those of a task
    wrapped by `carried` as they were raised, a cluster's as ClusterError or ResourceError.
    """
    job = _Job(context, about, action)
    threading.Thread(target=job.run, daemon=True).start()
    try:
        with log.task(about) as bar:
            job.watch(bar)
    except BaseException:
        job.cancel()
        raise
    if job.failure is not None:
        error = _error_in(str(job.failure)) or job_error(job.failure, about, functools.partial(last_words, context))
        raise error from job.failure
    return cast(T, job.result)


class _Job:
    """An action under way, with a job group of its own."""

    def __init__(self, context: SparkContext, about: str, action: Callable[[], Any]) -> None:
        self._context, self._about, self._action = context, about, action
        self._group = f"tdtool-{next(_numbers)}"
        self._done = threading.Event()
        self._tasks = (0, 0)  # completed, all that are known
        self.result: Any = None
        self.failure: Exception | None = None

    def run(self) -> None:
        """The action; what it raises is kept for whoever watches."""
        try:
            self._context.setJobGroup(self._group, self._about)
            self.result = self._action()
        except Exception as error:
            self.failure = error
        finally:
            self._done.set()

    def watch(self, bar: log.Task) -> None:
        """Return when it is done, with progress on the bar until then."""
        if self._done.wait(_MOMENT):
            return
        threading.Thread(target=self._count, daemon=True).start()
        shown = 0
        while not self._done.wait(_MOMENT):
            completed, known = self._tasks
            bar.total(known)
            bar.advance(completed - shown)
            shown = completed

    def cancel(self) -> None:
        """End it, from another thread: a signal may have cut this one's talk with the JVM in the middle of a word."""
        cancelling = threading.Thread(target=self._cancel, daemon=True)
        cancelling.start()
        cancelling.join(_CANCEL_SECONDS)
        self._done.wait(_CANCEL_SECONDS)

    def _cancel(self) -> None:
        try:
            self._context.cancelJobGroup(self._group)
        except Exception as error:
            log.detail(f"{self._about}: not cancelled: {error}")

    def _count(self) -> None:
        """Look at how far the tasks are, until the job is done."""
        try:
            tracker = self._context.statusTracker()
            while not self._done.wait(_MOMENT):
                jobs = [tracker.getJobInfo(number) for number in tracker.getJobIdsForGroup(self._group)]
                numbers = {stage for job in jobs if job is not None for stage in job.stageIds}
                stages = [stage for stage in map(tracker.getStageInfo, numbers) if stage is not None]
                self._tasks = sum(s.numCompletedTasks for s in stages), sum(s.numTasks for s in stages)
        except Exception as error:
            log.detail(f"{self._about}: no progress to be seen: {error}")
