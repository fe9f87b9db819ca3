"""The process on each executor that Spark's Python workers are forked from, with all that steps need imported before.

A worker that is started anew, as after a failed task, has its modules at once and shares their memory with the others.
Spark runs it by name: spark.python.daemon.module.
"""

from __future__ import annotations

import gc

from pyspark import daemon

from tdtool.data import tokeniser  # noqa: F401
from tdtool.jobs import engine, ingest  # noqa: F401
from tdtool.models import scores  # noqa: F401
from tdtool.moments import sketched_triples  # noqa: F401

if __name__ == "__main__":
    gc.freeze()  # what is imported stays: nobody needs to look through it, and pages stay shared
    daemon.manager()
