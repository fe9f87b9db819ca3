"""What Spark is told: the settings of a run, from what the user said and from the size of the data. No JVM in here."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import tdtool
from tdtool.config import SparkConfig
from tdtool.errors import UsageError

_MEBIBYTE = 1 << 20
_LEAST_HEAP, _MOST_HEAP = 512, 768  # MiB: with what a JVM needs besides, the driver's stays near 1 GB
_LEAST_EXECUTOR = 450  # MiB, says Spark
_LOCAL = re.compile(r"local(?:\[(\*|[1-9]\d*)(?:,([1-9]\d*))?\])?")
_LOCAL_CLUSTER = re.compile(r"local-cluster\[([1-9]\d*),([1-9]\d*),([1-9]\d*)\]")
_STANDALONE = re.compile(r"spark://[\w.\-\[\]:]+:\d+(,[\w.\-\[\]:]+:\d+)*")
_KUBERNETES = re.compile(r"k8s://(https?://)?[\w.\-\[\]:]+(/.*)?")
_ATTEMPTS = 4  # of a task before a run fails, as on a cluster; Spark's own local mode has one
_SECRET = re.compile(r"secret|password|token|access[.]?key|credential", re.IGNORECASE)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_PASSED_ON = ("OPENBLAS_CORETYPE", "NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT", "NUMBA_CPU_NAME", "TDTOOL_VECTOR_BYTES")
_DAEMON = "tdtool.jobs.python_daemon"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_YARN_PORT = 8032
_SOCKET_NAME = 48  # "/.", a UUID and ".sock": a path to a socket has at most 107 bytes
_URL_HINT = "write local[N], local-cluster[WORKERS,CORES,MB], spark://HOST:PORT, yarn or k8s://HOST:PORT"


def check_master(master: str) -> str:
    """The master's URL without blanks, or UsageError."""
    url = re.sub(r"\s+", "", master)
    if url == "yarn" or any(kind.fullmatch(url) for kind in (_LOCAL, _LOCAL_CLUSTER, _STANDALONE, _KUBERNETES)):
        return url
    raise UsageError(f"--master {master!r} is no master that Spark knows", hint=_URL_HINT)


def check_memory(config: SparkConfig) -> None:
    """UsageError for an executor's memory that Spark will not have."""
    asked = (config.executor_memory or 0) // _MEBIBYTE
    cluster = _LOCAL_CLUSTER.fullmatch(config.master or "")
    have = int(cluster[3]) if cluster else None
    least = asked or have
    if least and least < _LEAST_EXECUTOR:
        raise UsageError(f"{least} MiB are not enough for an executor: {_LEAST_EXECUTOR} are the least")
    if have and asked > have:
        raise UsageError(f"--executor-memory is {asked} MiB, and each worker of --master has {have}")


def is_ours(master: str) -> bool:
    """Whether Spark runs on this machine alone, started and ended by us."""
    return master.startswith("local")


def addresses(master: str) -> list[tuple[str, int]]:
    """(host, port) of each master that can be tried before Spark does; none for local ones and YARN."""
    scheme, _, rest = master.partition("://")
    if scheme not in ("spark", "k8s"):
        return []
    default = 80 if rest.startswith("http://") else 443
    places = re.sub(r"^https?://", "", rest).partition("/")[0].split(",")
    found = []
    for place in places:
        host, colon, port = place.rpartition(":")
        known = (host, int(port)) if colon and port.isdigit() else (place, default)
        found.append((known[0].strip("[]"), known[1]))
    return found


def yarn_addresses(get: Callable[[str], str | None]) -> list[tuple[str, int]]:
    """(host, port) of YARN's resource managers, from its configuration."""
    identifiers = [name.strip() for name in (get("yarn.resourcemanager.ha.rm-ids") or "").split(",") if name.strip()]
    found = []
    for suffix in [f".{name}" for name in identifiers] or [""]:
        address = get(f"yarn.resourcemanager.address{suffix}") or get(f"yarn.resourcemanager.hostname{suffix}") or ""
        host, _, port = address.partition(":")
        if host:
            found.append((host, int(port) if port.isdigit() else _YARN_PORT))
    return found


def own_settings(master: str, config: SparkConfig, data_bytes: int, scratch: Path) -> dict[str, str]:
    """Settings of a Spark that we start on this machine: on loopback alone, authenticated, quiet, small.

    The secret is not among them: they may be seen in the list of processes.
    """
    check_memory(config)
    heap = (config.driver_memory or 0) // _MEBIBYTE or min(_MOST_HEAP, _LEAST_HEAP + 2 * data_bytes // _MEBIBYTE)
    java = f"-XX:+UseSerialGC -XX:-UsePerfData -Djava.io.tmpdir={scratch}"
    settings = {
        "spark.master": _with_attempts(master),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.authenticate": "true",
        "spark.network.crypto.enabled": "true",
        "spark.local.dir": str(scratch),
        "spark.driver.memory": f"{heap}m",
        "spark.driver.maxResultSize": f"{heap * 3 // 4}m",
        "spark.driver.extraJavaOptions": java,
        "spark.executor.extraJavaOptions": java,
        "spark.python.daemon.module": _DAEMON,
        **executor_environment(os.environ, code_folder()),
    }
    cluster = _LOCAL_CLUSTER.fullmatch(master)
    if cluster:
        settings["spark.executor.memory"] = f"{(config.executor_memory or 0) // _MEBIBYTE or int(cluster[3])}m"
    if len(os.fsencode(scratch)) + _SOCKET_NAME < 108:
        # A task over such a socket costs half of what it costs over TCP.
        settings["spark.python.unix.domain.socket.enabled"] = "true"
        settings["spark.python.unix.domain.socket.dir"] = str(scratch)
    return settings | _joined(settings, dict(config.settings))


def cluster_settings(config: SparkConfig) -> dict[str, str]:
    """Settings for a cluster of somebody else's: what the user said, and the environment of the Python workers."""
    check_memory(config)
    settings = executor_environment(os.environ, code_folder())
    settings |= {"spark.ui.showConsoleProgress": "false", "spark.python.daemon.module": _DAEMON}
    if config.master:
        settings["spark.master"] = check_master(config.master)
        places = addresses(settings["spark.master"])
        if places and all(host in _LOOPBACK for host, _ in places):  # so are the executors: nobody else need reach us
            settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    if config.executor_memory:
        settings["spark.executor.memory"] = f"{config.executor_memory // _MEBIBYTE}m"
    if config.driver_memory:
        settings["spark.driver.memory"] = f"{config.driver_memory // _MEBIBYTE}m"
    return settings | dict(config.settings)


def submitted_settings(config: SparkConfig) -> dict[str, str]:
    """What is added to the settings of spark-submit."""
    settings = executor_environment(os.environ, None)
    if config.executor_memory:
        settings["spark.executor.memory"] = f"{config.executor_memory // _MEBIBYTE}m"
    return settings | dict(config.settings)


def seconds(text: str) -> float:
    """A time as Spark writes it: 45s, 2min, 500ms; a bare number is milliseconds there."""
    found = re.fullmatch(r"(\d+)\s*(ms|s|m|min|h)?", text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no time", hint="write 45s or 2min")
    return int(found[1]) * {"ms": 0.001, None: 0.001, "s": 1, "m": 60, "min": 60, "h": 3600}[found[2]]


def executor_environment(environment: Mapping[str, str], code: str | None) -> dict[str, str]:
    """One thread of linear algebra in each Python worker, the kernels of this machine, and the code that runs here."""
    values = dict.fromkeys(_THREADS, "1")
    values |= {name: environment[name] for name in _PASSED_ON if name in environment}
    if code:
        before = environment.get("PYTHONPATH")
        values["PYTHONPATH"] = code + (os.pathsep + before if before else "")
    return {f"spark.executorEnv.{name}": value for name, value in values.items()}


def code_folder() -> str | None:
    """The folder tdtool is imported from, unless every Python of this installation finds it by itself."""
    folder = Path(tdtool.__file__).parents[1]
    return None if folder.name in ("site-packages", "dist-packages") else str(folder)


def may_be_seen(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings that may stand on a command line, where every user of the machine can read them."""
    return {name: value for name, value in settings.items() if not _SECRET.search(name)}


def python_of_executors(config: SparkConfig) -> str:
    """The Python program that tasks run in."""
    said = dict(config.settings)
    for name in ("spark.pyspark.python", "spark.executorEnv.PYSPARK_PYTHON"):
        if name in said:
            return said[name]
    if "PYSPARK_PYTHON" in os.environ and not (config.master and is_ours(config.master)):
        return os.environ["PYSPARK_PYTHON"]
    archive = said.get("spark.archives", "").partition("#")[2].partition(",")[0]
    return f"./{archive}/bin/python" if archive else sys.executable


def _with_attempts(master: str) -> str:
    """local[n] as local[n,4]: a task that fails is tried again, as on a cluster."""
    local = _LOCAL.fullmatch(master)
    return f"local[{local[1] or 1},{local[2] or _ATTEMPTS}]" if local else master


def _joined(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """The user's settings; options for Java come after ours, which they may contradict."""
    options = ("spark.driver.extraJavaOptions", "spark.executor.extraJavaOptions")
    return {name: f"{ours[name]} {value}" if name in options else value for name, value in theirs.items()}
