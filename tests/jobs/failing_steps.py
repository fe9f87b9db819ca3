"""Steps that fail the first time that they are tried, for tests of what a cluster does then."""

from __future__ import annotations

from typing import Any

from tdtool.data.corpus import Partials, Rows, State
from tdtool.data.steps import needs_of
from tdtool.engine import Step
from tdtool.jobs.engine import SparkEngine, Task


class FailingOnce:
    """A step that fails on the first attempt of every task, after it has changed what it was given."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self.needs = needs_of(step)
        self.__name__ = step.__name__

    def __call__(self, rows: Rows, state: State, *parameters: Any) -> tuple[Partials, State]:
        from pyspark import TaskContext

        found = self._step(rows, state, *parameters)
        context = TaskContext.get()
        if context is not None and context.attemptNumber() == 0:
            for array in state.values():
                array[...] = 0
            raise OSError("the disk is on fire")
        return found


class FailingEngine(SparkEngine):
    """Every step fails once in every task."""

    def _task(self, step: Step, parameters: tuple[Any, ...], needs: Any) -> Task:
        return super()._task(FailingOnce(step), parameters, needs)
