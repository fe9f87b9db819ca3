"""Spark for tests: one context at a time in a process, started when a test first asks for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

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
        from tdtool.jobs.session import spark_context

        if self._running is None or self._running[0] != config:
            self.stop()
            self._running = (config, self._stack.enter_context(spark_context(config, about="tests")))
        return self._running[1]

    def stop(self) -> None:
        """End the running context, if there is one: a test that starts its own needs that."""
        self._running = None
        self._stack.close()


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneSpark]:
    """spark(SparkConfig(...)) -> the context; spark.stop() before a test starts one itself."""
    pytest.importorskip("pyspark", reason="needs pyspark: pip install 'tdtool[spark]'")
    one = OneSpark()
    yield one
    one.stop()


@pytest.fixture
def spark_local(spark: OneSpark) -> SparkContext:
    """Two threads in one JVM."""
    return spark(LOCAL)


@pytest.fixture
def spark_cluster(spark: OneSpark) -> SparkContext:
    """Two executors, processes of their own, with one core each."""
    return spark(CLUSTER)


@pytest.fixture
def no_spark(spark: OneSpark) -> None:
    """No context runs: the test starts processes or contexts of its own."""
    spark.stop()
