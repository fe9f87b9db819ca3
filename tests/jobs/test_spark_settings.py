"""What Spark is told, without Spark."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tdtool.config import SparkConfig
from tdtool.errors import UsageError
from tdtool.jobs import spark_settings

SCRATCH = Path("/tmp/scratch")  # noqa: S108 -- a name, never opened
GIB = 1 << 30


def own(master: str = "local[3]", data_bytes: int = 0, scratch: Path = SCRATCH, **values: object) -> dict[str, str]:
    config = SparkConfig(master, **values)  # type: ignore[arg-type]
    return spark_settings.own_settings(master, config, data_bytes, scratch)


@pytest.mark.parametrize(
    "master",
    [
        "local",
        "local[2]",
        "local[*]",
        "local[2,7]",
        "local-cluster[2,1,1024]",
        "spark://host:7077",
        "spark://a.b:7077,c-d:7078",
        "spark://[::1]:7077",
        "yarn",
        "k8s://https://host:6443",
        "k8s://host",
    ],
)
def test_masters_that_spark_knows(master: str) -> None:
    assert spark_settings.check_master(f" {master} ") == master


@pytest.mark.parametrize(
    "master",
    [
        "",
        "lokal",
        "local[0]",
        "local[two]",
        "local-cluster[2,1]",
        "spark://host",
        "spark:/host:1",
        "mesos://a:1",
        "YARN",
    ],
)
def test_other_masters_are_wrong_usage(master: str) -> None:
    with pytest.raises(UsageError, match="is no master that Spark knows\n  write local"):
        spark_settings.check_master(master)


@pytest.mark.parametrize(
    ("master", "said"),
    [
        ("local-cluster[2,1,400]", "400 MiB are not enough for an executor: 450 are the least"),
        ("local-cluster[2,1,1024]", "--executor-memory is 2048 MiB, and each worker of --master has 1024"),
    ],
)
def test_memory_that_cannot_be(master: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        own(master, executor_memory=2 * GIB if "1024" in master else None)


def test_executor_memory_below_the_least() -> None:
    for master in ("local-cluster[2,1,1024]", "spark://host:7077"):
        with pytest.raises(UsageError, match="100 MiB are not enough for an executor"):
            spark_settings.check_memory(SparkConfig(master, executor_memory=100 << 20))


def test_addresses_to_try() -> None:
    assert spark_settings.addresses("spark://a:1,[::1]:23") == [("a", 1), ("::1", 23)]
    assert spark_settings.addresses("k8s://https://host:6443/path") == [("host", 6443)]
    assert spark_settings.addresses("k8s://http://host") == [("host", 80)]
    assert spark_settings.addresses("k8s://host") == [("host", 443)]
    assert spark_settings.addresses("yarn") == spark_settings.addresses("local[2]") == []


def test_addresses_of_yarn() -> None:
    def addresses(**values: str) -> list[tuple[str, int]]:
        named = {f"yarn.resourcemanager.{name.replace('__', '.').replace('_', '-')}": v for name, v in values.items()}
        return spark_settings.yarn_addresses(named.get)

    assert addresses(address="rm:8050", hostname="rm") == [("rm", 8050)]
    assert addresses(hostname="rm") == [("rm", 8032)]
    assert addresses(ha__rm_ids="a, b", address__a="x:1", hostname__b="y") == [("x", 1), ("y", 8032)]
    assert addresses() == []


def test_what_we_start_is_closed_and_quiet() -> None:
    settings = own()
    assert settings["spark.driver.host"] == settings["spark.driver.bindAddress"] == "127.0.0.1"
    assert settings["spark.ui.enabled"] == settings["spark.ui.showConsoleProgress"] == "false"
    assert settings["spark.authenticate"] == settings["spark.network.crypto.enabled"] == "true"
    assert settings["spark.local.dir"] == str(SCRATCH)
    assert "spark.authenticate.secret" not in settings


def test_tasks_are_tried_again() -> None:
    assert own("local")["spark.master"] == "local[1,4]"
    assert own("local[*]")["spark.master"] == "local[*,4]"
    assert own("local[3,2]")["spark.master"] == "local[3,2]"
    assert own("local-cluster[2,1,1024]")["spark.master"] == "local-cluster[2,1,1024]"


def test_memory_of_the_driver_follows_the_data() -> None:
    heaps = [int(own(data_bytes=size)["spark.driver.memory"][:-1]) for size in (0, 50 << 20, 100 << 20, 9 * GIB)]
    assert heaps == [512, 612, 712, 768]
    assert own(driver_memory=3 * GIB)["spark.driver.memory"] == "3072m"
    assert own(driver_memory=3 * GIB)["spark.driver.maxResultSize"] == "2304m"


def test_executors_of_local_cluster_have_what_the_workers_have() -> None:
    assert own("local-cluster[2,1,700]")["spark.executor.memory"] == "700m"
    assert own("local-cluster[2,1,1024]", executor_memory=GIB // 2)["spark.executor.memory"] == "512m"
    assert "spark.executor.memory" not in own()


def test_the_users_settings_win() -> None:
    theirs = (("spark.ui.enabled", "true"), ("spark.speculation", "true"), ("spark.driver.extraJavaOptions", "-Dx=y"))
    settings = own(settings=theirs)
    assert (settings["spark.ui.enabled"], settings["spark.speculation"]) == ("true", "true")
    assert settings["spark.driver.extraJavaOptions"] == f"{own()['spark.driver.extraJavaOptions']} -Dx=y"


def test_sockets_need_a_short_path() -> None:
    assert own()["spark.python.unix.domain.socket.enabled"] == "true"
    assert "spark.python.unix.domain.socket.enabled" not in own(scratch=Path("/" + "x" * 60))


def test_clusters_get_what_the_user_said() -> None:
    config = SparkConfig("spark://a:1", (("spark.executor.cores", "4"),), executor_memory=2 * GIB)
    settings = spark_settings.cluster_settings(config)
    assert {name: value for name, value in settings.items() if "executorEnv" not in name} == {
        "spark.master": "spark://a:1",
        "spark.executor.memory": "2048m",
        "spark.executor.cores": "4",
        "spark.ui.showConsoleProgress": "false",
        "spark.python.daemon.module": "tdtool.jobs.python_daemon",
    }
    submitted = spark_settings.submitted_settings(SparkConfig(None, (("spark.executor.cores", "4"),)))
    assert {name: value for name, value in submitted.items() if "executorEnv" not in name} == {
        "spark.executor.cores": "4"
    }


def test_cluster_on_this_machine_is_talked_to_on_loopback() -> None:
    def host(master: str, *settings: tuple[str, str]) -> str | None:
        return spark_settings.cluster_settings(SparkConfig(master, settings)).get("spark.driver.host")

    assert host("spark://127.0.0.1:7077,localhost:7078") == "127.0.0.1"
    assert host("spark://localhost:7077,other:7077") is host("yarn") is host("k8s://https://host") is None
    assert host("spark://localhost:7077", ("spark.driver.host", "10.0.0.1")) == "10.0.0.1"


def test_environment_of_the_executors() -> None:
    given = {"OPENBLAS_CORETYPE": "Haswell", "NUMBA_CACHE_DIR": "/c", "PYTHONPATH": "/old", "HOME": "/root"}
    assert spark_settings.executor_environment(given, "/code") == {
        "spark.executorEnv.OMP_NUM_THREADS": "1",
        "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
        "spark.executorEnv.MKL_NUM_THREADS": "1",
        "spark.executorEnv.NUMBA_NUM_THREADS": "1",
        "spark.executorEnv.OPENBLAS_CORETYPE": "Haswell",
        "spark.executorEnv.NUMBA_CACHE_DIR": "/c",
        "spark.executorEnv.PYTHONPATH": "/code:/old",
    }
    assert "spark.executorEnv.PYTHONPATH" not in spark_settings.executor_environment(given, None)


def test_secrets_stay_off_command_lines() -> None:
    names = ["spark.authenticate.secret", "spark.hadoop.fs.s3a.secret.key", "spark.ssl.keyPassword", "spark.a.TOKEN"]
    names += ["spark.hadoop.fs.s3a.access.key"]
    assert spark_settings.may_be_seen({**dict.fromkeys(names, "x"), "spark.master": "yarn"}) == {"spark.master": "yarn"}


def test_python_of_the_executors(monkeypatch: pytest.MonkeyPatch) -> None:
    def python(master: str, *settings: tuple[str, str]) -> str:
        return spark_settings.python_of_executors(SparkConfig(master, settings))

    monkeypatch.delenv("PYSPARK_PYTHON", raising=False)
    assert python("local[2]") == python("spark://a:1") == sys.executable
    assert python("yarn", ("spark.archives", "env.tar.gz#environment")) == "./environment/bin/python"
    assert python("yarn", ("spark.pyspark.python", "python3.12")) == "python3.12"
    monkeypatch.setenv("PYSPARK_PYTHON", "/opt/python")
    assert python("spark://a:1") == "/opt/python"
    assert python("local[2]") == sys.executable, "a Python of a cluster is none of this machine's"


@pytest.mark.parametrize(("text", "seconds"), [("45s", 45), ("2min", 120), ("500ms", 0.5), ("30000", 30), ("1h", 3600)])
def test_times_as_spark_writes_them(text: str, seconds: float) -> None:
    assert spark_settings.seconds(text) == seconds
    with pytest.raises(UsageError, match="is no time"):
        spark_settings.seconds(f"{text} or so")
