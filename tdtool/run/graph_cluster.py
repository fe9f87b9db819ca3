"""The cluster of a run that looks at a graph: started when something is worth sending to it, ended with the run."""

from __future__ import annotations

import contextlib
import dataclasses
from types import TracebackType
from typing import Any, Self

from tdtool.config import SparkConfig
from tdtool.data.graph import Graph
from tdtool.run.engines import check_spark

#: Bytes of a node's row of results that the driver's Java process must have room for, roughly.
_NODE_BYTES = 256


class GraphCluster:
    """Spark for one run, or none at all: `spark` is None. Starts nothing before it is asked for a context."""

    def __init__(self, spark: SparkConfig | None) -> None:
        self.spark = spark
        self._stack = contextlib.ExitStack()
        self._context: Any = None

    def __enter__(self) -> Self:
        if self.spark is not None:
            check_spark()
            from tdtool.jobs.spark_settings import check_master

            if self.spark.master is not None:
                check_master(self.spark.master)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._context = None
        return self._stack.__exit__(kind, error, trace)

    def context(self, data_bytes: int) -> Any:
        """The SparkContext, started when there is none yet. data_bytes : of the data, for the driver's memory."""
        from tdtool.jobs.session import spark_context

        if self.spark is None:
            raise ValueError("this run has no cluster")
        if self._context is None:
            self._context = self._stack.enter_context(spark_context(self.spark, data_bytes=data_bytes))
        return self._context

    def carried(self, graph: Graph) -> Graph:
        """The graph, with passes over its edges on the executors if there are any; see jobs.graph.SparkEdges."""
        if self.spark is None:
            return graph
        from tdtool.jobs.graph import SparkEdges

        n_bytes = graph.neighbours.nbytes + _NODE_BYTES * graph.n_nodes
        return dataclasses.replace(graph, engine=self._stack.enter_context(SparkEdges(self.context(n_bytes))))
