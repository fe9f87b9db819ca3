"""Runs a Spark job: with progress on the screen, an end when the user wants one, and its troubles as our own errors."""

from __future__ import annotations

import functools
import itertools
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from tdtool import errors, log
from tdtool.errors import TdtoolError
from tdtool.jobs.aside import Aside
from tdtool.jobs.failures import job_error
from tdtool.jobs.session import last_words

if TYPE_CHECKING:
    from pyspark import SparkContext, StatusTracker

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

    The action runs in a thread of its own, and signals are heard in this one: an interrupted job is cancelled. Errors
    come as our own: those of a task wrapped by `carried` as they were raised, a cluster's as ClusterError or
    ResourceError.
    """
    group = f"tdtool-{next(_numbers)}"

    def grouped() -> T:
        context.setJobGroup(group, about)
        return action()

    job = Aside(grouped)
    try:
        with log.task(about) as bar:
            _watch(job, context, group, bar)
    except BaseException:
        _cancel(job, context, group)
        raise
    if job.error is not None:
        ours = _error_in(str(job.error))
        raise ours or job_error(job.error, about, functools.partial(last_words, context)) from job.error
    return job.result


def _watch(job: Aside, context: SparkContext, group: str, bar: log.Task) -> None:
    """Return when the job is done, with progress on the bar until then."""
    if job.wait(_MOMENT):
        return
    tasks = _Tasks()
    counting = Aside(lambda: tasks.count(job, context.statusTracker(), group))
    shown = 0
    while not job.wait(_MOMENT):
        bar.total(tasks.known)
        bar.advance(tasks.completed - shown)
        shown = tasks.completed
    counting.wait(_MOMENT)
    if counting.error is not None:
        log.detail(f"no progress was to be seen: {counting.error}")


class _Tasks:
    """How many tasks a group of jobs has, and how many of them are done."""

    known, completed = 0, 0

    def count(self, job: Aside, tracker: StatusTracker, group: str) -> None:
        """Look again and again until the job is done."""
        while not job.wait(_MOMENT):
            jobs = [tracker.getJobInfo(number) for number in tracker.getJobIdsForGroup(group)]
            numbers = {stage for found in jobs if found is not None for stage in found.stageIds}
            stages = [stage for stage in map(tracker.getStageInfo, numbers) if stage is not None]
            self.known = sum(stage.numTasks for stage in stages)
            self.completed = sum(stage.numCompletedTasks for stage in stages)


def _cancel(job: Aside, context: SparkContext, group: str) -> None:
    """End a job that nobody waits for any more; by the same signal its Java process may be gone."""
    cancelling = Aside(lambda: context.cancelJobGroup(group))
    if not cancelling.wait(_CANCEL_SECONDS) or cancelling.error is not None:
        log.detail(f"not cancelled: {cancelling.error or 'Spark does not answer'}")
    job.wait(_CANCEL_SECONDS)
