"""Spark's messages, as it wrote them, become words that help."""

from __future__ import annotations

import pytest

from tdtool.errors import ClusterError, ResourceError, TdtoolError, UsageError
from tdtool.jobs import failures
from tdtool.jobs.failures import TaskError, job_error, start_error

protocol = pytest.importorskip("py4j.protocol", reason="needs pyspark: pip install 'tdtool[spark]'")

ABORTED = "An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.\n: "
STAGE = (
    "org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed 4 times, "
    "most recent failure: Lost task 0.3 in stage 0.0 (TID 5) (127.0.0.1 executor 1): "
)
PYTHON = (
    "org.apache.spark.api.python.PythonException: [PYTHON_EXCEPTION] An exception was thrown from the Python worker: "
    "Traceback (most recent call last):\n"
    '  File "/a/worker.py", line 3, in main\n'
    "    process()\n"
    "{error}\n"
    "\n"
    "\tat org.apache.spark.api.python.BasePythonRunner.handlePythonException(PythonRunner.scala:572)\n"
    "Driver stacktrace:\n"
    "\tat org.apache.spark.scheduler.DAGScheduler.abortStage(DAGScheduler.scala:29)\n"
    "Caused by: java.io.EOFException\n"
)
WORKER = "org.apache.spark.SparkException: \nError from python worker:\n  "
LOST = "ExecutorLostFailure (executor 1 exited caused by one of the running tasks) Reason: "


def alive(seconds: float) -> str | None:
    return None


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (PYTHON.format(error="ValueError: sizes 3 and 5"), TaskError, "counting: ValueError: sizes 3 and 5"),
        (PYTHON.format(error="MemoryError"), ResourceError, "a Python process of the executors ran out of memory"),
        (
            PYTHON.format(error="numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8 GiB\nMemoryError"),
            ResourceError,
            "a Python process of the executors ran out of memory",
        ),
        (
            PYTHON.format(error="ModuleNotFoundError: No module named 'tdtool'"),
            ClusterError,
            "the executors' Python has no module tdtool\n  `tdtool submit` sends it along",
        ),
        (
            WORKER
            + 'Traceback (most recent call last):\n    File "/a/b.py"\n  SyntaxError: bad syntax\nPYTHONPATH was:\n',
            ClusterError,
            "the executors' Python cannot run tdtool: SyntaxError: bad syntax\n  PYSPARK_PYTHON",
        ),
        (
            WORKER + "/a/python3: Error while finding module specification for 'x' (No module named 'tdtool')\n",
            ClusterError,
            "the executors' Python has no module tdtool\n",
        ),
        (
            PYTHON.format(error="Exception: Python in worker has different version: 3.9 than that in driver: 3.11"),
            ClusterError,
            "the executors' Python is 3.9, not that of this process\n  PYSPARK_PYTHON",
        ),
        (
            PYTHON.format(error="OSError: [Errno 28] No space left on device"),
            ResourceError,
            "the disk that Spark writes to is full",
        ),
        (
            "java.lang.OutOfMemoryError: Java heap space\n\tat java.base/java.util.Arrays",
            ResourceError,
            "--executor-mem",
        ),
        (
            LOST + "Command exited with code 52\nDriver stacktrace:",
            ResourceError,
            "the executors ran out of memory",
        ),
        (
            LOST + "Container killed by YARN for exceeding physical memory limits. 2.1 GB of 2 GB used",
            ResourceError,
            "spark.executor.memoryOverhead",
        ),
        (
            "ExecutorLostFailure (executor 1 exited unrelated to the running tasks) Reason: Worker Decommissioned",
            ClusterError,
            "executors were lost, again and again",
        ),
        (
            'java.io.IOException: Cannot run program "./environment/bin/python": error=2, No such file or directory',
            ClusterError,
            "the executors have no program ./environment/bin/python",
        ),
        (
            "java.io.InvalidClassException: org.apache.spark.rdd.RDD; local class incompatible: serialVersionUID = 1",
            ClusterError,
            "the cluster runs another version of Spark than pyspark here",
        ),
        (
            "java.lang.Odd: \nCaused by: java.io.OddException: gone wrong\n\tat a.b(c)",
            ClusterError,
            "counting: gone wrong",
        ),
    ],
)
def test_what_a_job_says(text: str, kind: type[Exception], said: str) -> None:
    error = job_error(protocol.Py4JError(ABORTED + STAGE + text), "counting", alive)
    assert type(error) is kind
    assert str(error).startswith("counting: ")
    assert said in str(error)


def test_other_errors_are_not_sparks() -> None:
    error = ValueError("OutOfMemoryError")
    assert job_error(error, "counting", alive) is error


@pytest.mark.parametrize(
    ("printed", "kind", "said"),
    [
        ("", ClusterError, "has ended: somebody killed it"),
        ('WARNING: Using incubator modules\nSetting default log level to "WARN"', ClusterError, "somebody killed it"),
        (
            "java.lang.OutOfMemoryError: Java heap space",
            ResourceError,
            "Java process ran out of memory\n  --spark-conf",
        ),
        (
            "# A fatal error has been detected\n\tat a.b(c)",
            ClusterError,
            "has ended: # A fatal error has been detected",
        ),
    ],
)
def test_a_java_process_that_is_gone(printed: str, kind: type[TdtoolError], said: str) -> None:
    waited: list[float] = []

    def gone(seconds: float) -> str:
        waited.append(seconds)
        return printed

    for error in (protocol.Py4JNetworkError("Answer from Java side is empty"), ConnectionRefusedError(), EOFError()):
        found = job_error(error, "counting", gone)
        assert type(found) is kind
        assert said in str(found)
    assert min(waited) > 1, "it takes a while from the last error to the end"


def test_a_job_that_failed_is_not_waited_for() -> None:
    waited: list[float] = []
    job_error(protocol.Py4JError(ABORTED + STAGE + PYTHON.format(error="ValueError")), "counting", waited.append)  # type: ignore[func-returns-value,arg-type]
    assert waited == [0]


def test_a_start_that_failed() -> None:
    wrong = protocol.Py4JError(
        ABORTED + "java.lang.IllegalArgumentException: Executor memory 1 must be at least 2.\n\tat a.b(c)"
    )
    refused = start_error(wrong, "local[2]", "")
    assert type(refused) is UsageError
    assert str(refused) == "Spark refuses a setting: Executor memory 1 must be at least 2."
    ended = protocol.Py4JError(
        ABORTED + "java.lang.IllegalStateException: Cannot call methods on a stopped SparkContext."
    )
    assert str(start_error(ended, "spark://a:1", "")).startswith("spark://a:1: the cluster has ended our application")
    other = start_error(ended, "spark://a:1", "java.io.InvalidClassException: org.apache.spark.rpc.RpcEndpointRef")
    assert "another version of Spark" in str(other)
    odd = start_error(OSError("odd"), "spark://a:1", "")
    assert str(odd) == "spark://a:1: Spark did not start: odd"


def test_routine_is_no_reason() -> None:
    routine = "25/11/22 10:00:00 WARN Utils: a\nUsing Spark's default log4j profile\n"
    said = f"{routine}Error: bad\n\tat a.b(c)\nmore\n\nand\nrest"
    assert failures.words_of(said) == "Error: bad; more; and"
