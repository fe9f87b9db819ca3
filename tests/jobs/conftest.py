"""Spark for tests, started when a test first asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.jobs.one_spark import CLUSTER, LOCAL, ONE, OneSpark

if TYPE_CHECKING:
    from pyspark import SparkContext


@pytest.fixture(scope="session")
def spark() -> Iterator[OneSpark]:
    """spark(SparkConfig(...)) -> the context; spark.stop() before a test starts one itself."""
    pytest.importorskip("pyspark", reason="needs pyspark: pip install 'tdtool[spark]'")
    yield ONE
    ONE.stop()


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
