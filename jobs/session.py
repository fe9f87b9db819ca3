"""Spark for the life of one command: started from a SparkConfig, watched, and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdtool import log
from tdtool.config import SparkConfig
from tdtool.errors import ClusterError, MissingExtraError, UsageError
from tdtool.jobs import failures, spark_settings
from tdtool.jobs.aside import Aside
from tdtool.jobs.gateway import Jvm, java_process, variables
from tdtool.jobs.java import find_java

if TYPE_CHECKING:
    from pyspark import SparkContext

_SET_BY_SPARK = ("SPARK_AUTH_SOCKET_TIMEOUT", "SPARK_BUFFER_SIZE")
_MOMENT = 0.1
_CONNECT_SECONDS = 8  # that a master may take to accept a connection
_STOP_SECONDS = 20
#: Seconds that a master may take to take us in, and then to give us an executor; a queue of YARN's may take long.
_PATIENCE = {"spark": 45, "k8s": 300, "yarn": 600}
_OWN_PATIENCE = 120
_PATIENCE_SETTING = "spark.scheduler.maxRegisteredResourcesWaitingTime"

_jvms: weakref.WeakKeyDictionary[SparkContext, Jvm] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def spark_context(config: SparkConfig, *, data_bytes: int = 0, about: str = "tdtool") -> Iterator[SparkContext]:
    """A SparkContext, ended with the block. data_bytes : of the data, for the driver's memory; about : for the cluster.

    Objects are not batched: each element of an RDD is one message, so that RDDs can be zipped at no cost.
    """
    try:
        import pyspark  # noqa: F401
    except ImportError:
        raise MissingExtraError("pyspark", "spark") from None
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        with _submitted(config) as context:
            yield context
        return
    if config.master is None:
        raise UsageError("no Spark master was given", hint="add --master, or start with spark-submit")
    # The JVM may still be writing its last when it is removed.
    with tempfile.TemporaryDirectory(prefix="tdtool-spark-", ignore_cleanup_errors=True) as scratch:
        if spark_settings.is_ours(spark_settings.check_master(config.master)):
            with _own(config, data_bytes, about, Path(scratch)) as context:
                yield context
        else:
            with _clusters(config, about, Path(scratch)) as context:
                yield context


def last_words(context: SparkContext, seconds: float) -> str | None:
    """What Spark's Java process printed last, when it is gone after so many seconds; None when it is still there."""
    jvm = _jvms.get(context)
    return jvm.last_words() if jvm is not None and jvm.ended(seconds) else None


@contextlib.contextmanager
def _own(config: SparkConfig, data_bytes: int, about: str, scratch: Path) -> Iterator[SparkContext]:
    """Spark on this machine alone."""
    master = spark_settings.check_master(config.master or "")
    settings = {"spark.app.name": about, **spark_settings.own_settings(master, config, data_bytes, scratch)}
    environment: dict[str, str | None] = {
        **find_java().variables(scratch),
        "PYSPARK_PYTHON": spark_settings.python_of_executors(config),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_HOSTNAME": None,  # would lead away from loopback
        "SPARK_LOCAL_DIRS": None,  # would lead away from our folder
        "SPARK_HOME": str(_linked(_home(None), scratch / "spark")),
    }
    with (
        variables(environment, also=_SET_BY_SPARK),
        java_process(settings, scratch / "spark", scratch) as (jvm, gateway),
    ):
        # After the start, and thus not on a command line.
        settings.setdefault("spark.authenticate.secret", secrets.token_hex(32))
        with _context(gateway, settings, _OWN_PATIENCE, jvm) as context:
            yield context


@contextlib.contextmanager
def _clusters(config: SparkConfig, about: str, scratch: Path) -> Iterator[SparkContext]:
    """A cluster of somebody else's."""
    master = spark_settings.check_master(config.master or "")
    _check_reachable(master, spark_settings.addresses(master))
    if master == "yarn" and not {"HADOOP_CONF_DIR", "YARN_CONF_DIR"} & set(os.environ):
        hint = "set HADOOP_CONF_DIR to the folder of yarn-site.xml"
        raise ClusterError("--master yarn needs to know where YARN is", hint=hint)
    settings = {"spark.app.name": about, **spark_settings.cluster_settings(config)}
    home = _home(os.environ.get("SPARK_HOME"))
    environment = {
        **find_java().variables(scratch),
        "PYSPARK_PYTHON": spark_settings.python_of_executors(config),
        "SPARK_HOME": str(home),
    }
    patience = _PATIENCE[master.partition(":")[0]]
    with variables(environment, also=_SET_BY_SPARK), java_process(settings, home, scratch) as (jvm, gateway):
        if master == "yarn":
            _check_yarn(gateway)
        with _context(gateway, settings, patience, jvm) as context:
            _wait_for_executors(context, patience)
            yield context


@contextlib.contextmanager
def _submitted(config: SparkConfig) -> Iterator[SparkContext]:
    """Under spark-submit: its Java process is there, with the settings that it was given."""
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway

    gateway = SparkContext._gateway or launch_gateway()
    master = SparkConf(_jvm=gateway.jvm).get("spark.master")
    if config.master is not None and config.master != master:
        raise UsageError(f"--master is {config.master}, but spark-submit was given {master}", hint="leave --master out")
    with (
        variables({}, also=_SET_BY_SPARK),
        _context(gateway, spark_settings.submitted_settings(config), _PATIENCE["yarn"], None) as context,
    ):
        yield context


def _home(said: str | None) -> Path:
    """Spark's folder: the one the user set, when it has the version of this pyspark, else pyspark's own."""
    import pyspark

    own = Path(pyspark.__file__).parent
    if said is None and (own / "jars").is_dir():
        return own
    home = Path(said or os.environ.get("SPARK_HOME") or own)
    versions = {jar.stem.rpartition("-")[2] for jar in home.glob("jars/spark-core_*.jar")}
    if not versions:
        raise ClusterError(f"{home} (SPARK_HOME) holds no Spark", hint="unset SPARK_HOME to use the one of pyspark")
    if pyspark.__version__ not in versions:
        raise failures.other_version(f"SPARK_HOME ({home}) is Spark {', '.join(versions)}")
    return home


def _linked(home: Path, place: Path) -> Path:
    """Spark's folder as links in a folder of ours: executors write into a folder in it."""
    place.mkdir()
    for entry in home.iterdir():
        if entry.name != "work":
            (place / entry.name).symlink_to(entry)
    return place


def _check_reachable(master: str, addresses: list[tuple[str, int]]) -> None:
    """One of the master's addresses must accept a connection: Spark itself would try for minutes."""
    tried = []
    for host, port in addresses:
        try:
            socket.create_connection((host, port), _CONNECT_SECONDS).close()
        except OSError as error:
            tried.append(f"{host}:{port} ({error.strerror or error})")
        else:
            return
    if tried:
        raise ClusterError(f"nobody answers at {', '.join(tried)}", hint=f"is {master} the master, and is it running?")


def _check_yarn(gateway: Any) -> None:
    """As YARN's own client would find its resource manager."""
    configuration = gateway.jvm.org.apache.hadoop.yarn.conf.YarnConfiguration()
    _check_reachable("yarn", spark_settings.yarn_addresses(configuration.get))


@contextlib.contextmanager
def _context(gateway: Any, settings: Mapping[str, str], patience: float, jvm: Jvm | None) -> Iterator[SparkContext]:
    """The context in a process that is there. patience : seconds."""
    from pyspark import SparkConf, SparkContext

    conf = SparkConf(_jvm=gateway.jvm)
    for name, value in settings.items():
        conf.set(name, value)
    where = str(conf.get("spark.master"))
    started: list[SparkContext] = []
    # Aside also because Spark takes the handler of SIGINT when it starts in the main thread.
    start = Aside(lambda: started.append(SparkContext(conf=conf, gateway=gateway, batchSize=1)))
    try:
        if not start.wait(patience, f"waiting for {where}"):
            raise ClusterError(f"{where} did not answer within {patience:.0f} s", hint="is it a Spark master?")
        if start.error is not None:
            raise failures.start_error(start.error, where, "" if jvm is None else jvm.last_words())
        context = started[0]
        if jvm is not None:
            _jvms[context] = jvm
        yield context
    finally:
        for context in started:
            _stop(context, jvm)
        SparkContext._active_spark_context = None


def _stop(context: SparkContext, jvm: Jvm | None) -> None:
    """End the application; what does not end in time ends with its process."""
    if jvm is not None and jvm.ended():
        context._jsc = None
    stop = Aside(context.stop)
    if not stop.wait(_STOP_SECONDS, "waiting for Spark to end") or stop.error is not None:
        log.detail(f"Spark did not end by itself: {stop.error or 'it takes too long'}")


def _wait_for_executors(context: SparkContext, patience: float) -> None:
    """An application may be accepted, and wait for ever for somebody to run it."""
    conf = context.getConf()
    if conf.get("spark.dynamicAllocation.enabled") == "true":
        return
    patience = spark_settings.seconds(conf.get(_PATIENCE_SETTING) or f"{patience:.0f}s")
    ready = threading.Event()

    def watch() -> None:
        tracker = context.statusTracker()
        until = time.monotonic() + patience
        while len(tracker.getExecutorInfos()) < 2 and time.monotonic() < until:  # the driver counts as one
            time.sleep(_MOMENT)
        if time.monotonic() < until:
            ready.set()

    watching = Aside(watch)
    watching.wait(patience + _CONNECT_SECONDS, f"waiting for resources of {context.master}")
    if not ready.is_set():
        raise failures.no_executors(context.master, conf, patience) from watching.error
