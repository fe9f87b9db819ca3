"""One SparkContext at a time in a process of tests: Spark allows no second one, and each takes seconds to start."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tdtool.config import SparkConfig

if TYPE_CHECKING:
    from pyspark import SparkContext

LOCAL = SparkConfig("local[2]")
CLUSTER = SparkConfig("local-cluster[2,1,1024]")


class OneSpark:
    """Hands out a context for a configuration: the running one when it has the same, else a new one in its place."""

    def __init__(self) -> None:
        self._running: tuple[SparkConfig, SparkContext] | None = None
        self._stack = contextlib.ExitStack()

    def __call__(self, config: SparkConfig) -> SparkContext:
        from tdtool.jobs.session import last_words, spark_context

        if self._running is not None and last_words(self._running[1], 0) is not None:
            self.stop()  # its Java process is gone
        if self._running is None or self._running[0] != config:
            self.stop()
            self._running = (config, self._stack.enter_context(spark_context(config, about="tests")))
        return self._running[1]

    def stop(self) -> None:
        """End the running context, if there is one: a test that starts its own needs that."""
        self._running = None
        self._stack.close()


#: The one of this process.
ONE = OneSpark()
