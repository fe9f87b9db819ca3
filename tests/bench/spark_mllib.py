"""Fits MLlib's LDA in a process of its own: `python -m tests.bench.spark_mllib TASK`, started by tests.bench.spark.

Timed is the fitting call on a cached DataFrame of sparse vectors; the topics are scored by the evaluator of all others.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np
from scipy import sparse

from tests.bench.children import reports
from tests.bench.measure import Stopwatch, peak_rss_mb


def main(task: dict[str, Any]) -> None:
    """Fit once for each number of iterations. task : train, fits, method (online | em), iterations, n_topics, seed."""
    os.environ["PYSPARK_PYTHON"], os.environ["SPARK_LOCAL_IP"] = sys.executable, "127.0.0.1"
    from pyspark.ml.clustering import LDA
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master(f"local[{task['threads']}]")
        .config("spark.driver.memory", "10g")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.maxResultSize", "4g")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    counts = sparse.csr_array(sparse.load_npz(task["train"]))
    data = session.createDataFrame(_vectors(counts), ["features"]).repartition(4 * task["threads"]).cache()
    data.count()
    with reports() as report:
        report(started=True)
        for iterations in task["iterations"]:
            settings = {"k": task["n_topics"], "maxIter": iterations, "seed": task["seed"], "optimizer": task["method"]}
            if task["method"] == "online":
                settings["optimizeDocConcentration"] = True
            with Stopwatch() as watch:
                model = LDA(**settings).fit(data)
            topic_word = model.topicsMatrix().toArray().T
            alpha = np.array(model.estimatedDocConcentration().toArray())
            path = f"{task['fits']}/mllib-{task['method']}-{iterations}.npz"
            np.savez(path, topic_word=topic_word / topic_word.sum(axis=1, keepdims=True), alpha=alpha)
            report(
                system=f"MLlib {task['method']} {iterations}",
                fit=path,
                seconds=watch.seconds,
                cpu_seconds=None,
                peak_rss_mb=peak_rss_mb(),
            )
    session.stop()


def _vectors(counts: sparse.csr_array) -> list[tuple[Any]]:
    from pyspark.ml.linalg import Vectors

    width = counts.shape[1]
    bounds = zip(counts.indptr[:-1].tolist(), counts.indptr[1:].tolist(), strict=True)
    return [(Vectors.sparse(width, counts.indices[a:b].tolist(), counts.data[a:b].tolist()),) for a, b in bounds]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
