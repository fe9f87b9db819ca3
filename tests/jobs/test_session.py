"""Spark as we start it: closed to others, quiet, small, and gone afterwards."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import stat
import sys
import tempfile
import threading
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tdtool import log
from tdtool.config import SparkConfig
from tdtool.errors import ClusterError, InputError, MissingExtraError, ResourceError, UsageError
from tdtool.jobs.failures import TaskError
from tdtool.jobs.progress import carried, run_job
from tdtool.jobs.session import spark_context
from tests.jobs.one_spark import CLUSTER, LOCAL
from tests.jobs.processes import command_line, descendants, is_loopback, listeners

if TYPE_CHECKING:
    from pyspark import SparkContext

    from tests.jobs.one_spark import OneSpark


@pytest.fixture(scope="module", params=[LOCAL, CLUSTER], ids=lambda config: config.master)
def config(request: pytest.FixtureRequest) -> SparkConfig:
    """Threads of one JVM, and executors of their own. Of the module, so that each context is started once."""
    return request.param


@pytest.fixture
def context(spark: OneSpark, config: SparkConfig) -> SparkContext:
    """A context of each kind."""
    return spark(config)


def facts_of_task(number: int) -> dict[str, Any]:
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones(number + 1)
    return {
        "number": number,
        "pid": os.getpid(),
        "python": sys.executable,
        "threads": {library["num_threads"] for library in threadpool_info()},
        "folder": str(Path(__file__).parents[2]),
    }


def refuse(number: int) -> int:
    raise InputError(f"line {number} is bad", path="a.txt", line=number, hint="mend it")


def refuse_later(numbers: Any) -> Any:
    yield from ()
    for number in numbers:
        refuse(number)


def divide(number: int) -> float:
    return 1 / (number - number)


def exhaust(number: int) -> int:
    raise MemoryError


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(place: str, number: int) -> int:
    """Kills its process, unless the file is there already."""
    path = Path(place) / str(number)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


# ---- what tasks find


@pytest.mark.spark
def test_tasks_run_this_python_with_one_thread(context: SparkContext) -> None:
    facts = run_job(context, "asking", lambda: context.parallelize(range(5), 5).map(facts_of_task).collect())
    assert [fact["number"] for fact in facts] == list(range(5))
    assert {fact["python"] for fact in facts} == {sys.executable}
    assert all(fact["threads"] == {1} for fact in facts)
    assert os.getpid() not in {fact["pid"] for fact in facts}
    assert len({fact["pid"] for fact in facts}) == 2


@pytest.mark.spark
def test_nobody_else_can_reach_it(context: SparkContext) -> None:
    """Every port that a process of the tree listens on is one of loopback, while a job runs."""
    found: list[dict[str, set[int]]] = []

    def look() -> int:
        partitions = context.parallelize(range(6), 6).map(lambda number: (number % 2, number)).groupByKey(3)
        total = partitions.count()
        found.append(listeners(descendants(os.getpid())))
        return total

    assert run_job(context, "shuffling", look) == 2
    assert found[0], "Spark's driver listens somewhere"
    assert [address for address in found[0] if not is_loopback(address)] == []


@pytest.mark.spark
def test_secret_is_not_on_a_command_line(context: SparkContext) -> None:
    conf = context.getConf()
    secret = conf.get("spark.authenticate.secret")
    assert secret is not None
    assert len(secret) == 64
    assert conf.get("spark.authenticate") == conf.get("spark.network.crypto.enabled") == "true"
    lines = [command_line(pid) for pid in descendants(os.getpid())]
    assert sum("org.apache.spark" in line for line in lines) >= 1
    assert not any(secret in line for line in lines)


@pytest.mark.spark
def test_scratch_is_ours_alone(context: SparkContext) -> None:
    folder = Path(str(context.getConf().get("spark.local.dir")))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folder.parent == Path(tempfile.gettempdir())
    assert sum(file.stat().st_size for file in folder.glob("java.log")) < 10_000, "Java has little to say"


@pytest.mark.spark
def test_all_is_as_before_afterwards(no_spark: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = dict(os.environ), signal.getsignal(signal.SIGINT), descendants(os.getpid())
    with spark_context(SparkConfig("local[1]"), about="first") as context:
        assert context.appName == "first"
        assert signal.getsignal(signal.SIGINT) is before[1]
        assert list(tmp_path.iterdir()) != []
        assert len(descendants(os.getpid())) > len(before[2])
    assert (dict(os.environ), signal.getsignal(signal.SIGINT), descendants(os.getpid())) == before
    assert list(tmp_path.iterdir()) == []


# ---- jobs


@pytest.mark.spark
def test_our_errors_come_back_as_they_were_raised(context: SparkContext) -> None:
    for action in (
        lambda: context.parallelize([7], 1).map(carried(refuse)).collect(),
        lambda: context.parallelize([7], 1).mapPartitions(carried(refuse_later)).collect(),
    ):
        with pytest.raises(InputError) as caught:
            run_job(context, "reading", action)
        assert str(caught.value) == "a.txt:7: line 7 is bad\n  mend it"
        assert (caught.value.line, caught.value.exit_code) == (7, 3)


@pytest.mark.spark
def test_other_errors_of_tasks_are_bugs_with_their_words(context: SparkContext) -> None:
    with pytest.raises(TaskError, match=r"^dividing: ZeroDivisionError: division by zero$"):
        run_job(context, "dividing", lambda: context.parallelize([7], 1).map(carried(divide)).collect())
    with pytest.raises(ResourceError, match=r"^filling: a Python process of the executors ran out of memory"):
        run_job(context, "filling", lambda: context.parallelize([7], 1).map(carried(exhaust)).collect())
    with pytest.raises(ClusterError, match=r"^dying: a Python process of the executors crashed, again and again"):
        run_job(context, "dying", lambda: context.parallelize([7], 1).map(die).collect())


@pytest.mark.spark
def test_a_python_process_may_die(context: SparkContext, tmp_path: Path) -> None:
    place = str(tmp_path)
    numbers = context.parallelize(range(3), 3)
    assert run_job(context, "dying", lambda: numbers.map(lambda i: die_once(place, i)).collect()) == [0, 1, 4]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.spark
def test_progress_counts_tasks(spark_local: SparkContext, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, float]] = []

    class Bar:
        def advance(self, amount: float = 1) -> None:
            seen.append(("done", amount))

        def total(self, total: float) -> None:
            seen.append(("of", total))

    monkeypatch.setattr(log, "task", lambda about: contextlib.nullcontext(Bar()))
    numbers = spark_local.parallelize(range(7), 7)
    assert run_job(spark_local, "sleeping", lambda: numbers.map(lambda _: time.sleep(0.5)).count()) == 7
    assert max(number for kind, number in seen if kind == "of") == 7
    assert 1 <= sum(number for kind, number in seen if kind == "done") <= 7


@pytest.mark.spark
def test_interrupted_job_is_cancelled(spark_local: SparkContext) -> None:
    """And the context works on."""
    numbers = spark_local.parallelize(range(3), 3)
    started = time.monotonic()
    threading.Timer(1.0, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        run_job(spark_local, "sleeping", lambda: numbers.map(lambda _: time.sleep(60)).count())
    assert run_job(spark_local, "counting", numbers.count) == 3
    assert spark_local.statusTracker().getActiveJobsIds() == []
    assert time.monotonic() - started < 30


@pytest.mark.spark
def test_errors_of_the_driver_are_left_alone(spark_local: SparkContext) -> None:
    def action() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_job(spark_local, "nothing", action)


@pytest.mark.study
@pytest.mark.spark
def test_executor_without_memory(spark: OneSpark) -> None:
    context = spark(SparkConfig("local-cluster[1,1,512]", (("spark.task.maxFailures", "1"),)))
    numbers = context.parallelize(range(1), 1)
    with pytest.raises(ResourceError, match="the executors ran out of memory") as caught:
        run_job(context, "growing", lambda: numbers.map(lambda _: bytes(600_000_000)).collect())
    assert caught.value.hint is not None
    assert "--executor-memory" in caught.value.hint
    assert "spark.executor.memory" in caught.value.hint


@pytest.mark.spark
def test_results_beyond_the_limit(spark: OneSpark) -> None:
    context = spark(SparkConfig("local[2]", (("spark.driver.maxResultSize", "2m"),)))
    with pytest.raises(ResourceError, match=r"more than spark\.driver\.maxResultSize allows"):
        run_job(context, "collecting", lambda: context.parallelize([3], 1).map(lambda _: bytes(3_000_000)).collect())


@pytest.mark.spark
def test_java_process_may_be_killed(no_spark: None) -> None:
    def kill(context: SparkContext) -> None:
        pids = descendants(os.getpid())
        (java,) = [pid for pid in pids if "org.apache.spark.deploy.SparkSubmit" in command_line(pid)]
        os.kill(java, signal.SIGKILL)
        context.parallelize(range(3), 3).count()

    before = descendants(os.getpid())
    with (
        spark_context(SparkConfig("local[1]")) as context,
        pytest.raises(ClusterError, match="counting: Spark's Java process has ended: somebody killed it"),
    ):
        run_job(context, "counting", lambda: kill(context))
    assert descendants(os.getpid()) == before


# ---- what is refused


def test_without_pyspark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    said = r"pyspark is not installed\n  run: pip install 'tdtool\[spark\]'"
    with pytest.raises(MissingExtraError, match=said), spark_context(SparkConfig("local[1]")):
        pass


def test_other_master_than_spark_submits(monkeypatch: pytest.MonkeyPatch) -> None:
    pyspark = pytest.importorskip("pyspark", reason="needs pyspark: pip install 'tdtool[spark]'")
    conf = types.SimpleNamespace(contains=lambda name: name == "spark.master", get=lambda name: "yarn")
    gateway = types.SimpleNamespace(jvm=types.SimpleNamespace(SparkConf=lambda defaults: conf))
    monkeypatch.setattr(pyspark.SparkContext, "_gateway", gateway)
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    said = r"--master is local\[2\], but spark-submit was given yarn\n  leave --master out"
    with pytest.raises(UsageError, match=said), spark_context(SparkConfig("local[2]")):
        pass


def test_without_master(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    with pytest.raises(UsageError, match="no Spark master was given"), spark_context(SparkConfig(None)):
        pass
