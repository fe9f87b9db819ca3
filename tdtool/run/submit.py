"""A command on a cluster: the spark-submit that runs it there, and what has to go along."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import tdtool
from tdtool.config import SparkConfig
from tdtool.errors import MissingExtraError, TerminatedError, UsageError
from tdtool.run import archive
from tdtool.run.archive import Command

_PLACE = "environment"  # the folder that executors find the archive's content in
_UPLOADS, _IMAGE = "spark.kubernetes.file.upload.path", "spark.kubernetes.container.image"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_MEBIBYTE = 1 << 20
_PATIENCE = 30  # seconds from a signal to the end of what got it
_SETTINGS_FILE = "tdtool.toml"


@dataclasses.dataclass(frozen=True)
class SubmitConfig:
    """Where a command runs, and what its Python is there."""

    spark: SparkConfig  # with a master
    deploy_mode: Literal["client", "cluster"] = "client"
    environment: str | None = None  # an archive, made where it is missing; a URI is taken to be there
    python: str | None = None  # instead: a Python that all machines have, with the packages that tdtool needs


@dataclasses.dataclass(frozen=True)
class Submission:
    """What is to be run, as lists of words."""

    spark_submit: Command
    sent: str | None = None  # the archive or zip that goes along; None: nothing does
    make: tuple[Command, ...] = ()  # what makes it; empty when it is there

    def text(self) -> str:
        """Lines for a shell, which run as pasted."""
        lines = [shlex.join(step) for step in self.make]
        return "\n".join([*lines, _folded(self.spark_submit)])

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return {
            "sent": self.sent,
            "make": [list(step) for step in self.make],
            "spark_submit": list(self.spark_submit),
        }


@dataclasses.dataclass(frozen=True)
class Places:
    """What a command line reads and writes. output : None where the command writes no file, "" where none was named."""

    sources: tuple[str, ...] = ()
    output: str | None = None
    exports: tuple[str, ...] = ()


def plan_submission(command: str, arguments: Sequence[str], places: Places, config: SubmitConfig) -> Submission:
    """The spark-submit for `tdtool COMMAND ARGUMENTS`; UsageError for what cannot work."""
    from tdtool.jobs.spark_settings import check_master

    check_master(str(config.spark.master))
    _check_cluster(config)
    _check_places(places, config)
    sent = _sent(config)
    words = (*_options(command, config), *_python_options(sent, config), _main_file(sent, config), command, *arguments)
    if sent is None or _URI.match(sent) or Path(sent).exists():
        return Submission(words, sent)
    return Submission(words, sent, archive.steps(Path(sent), Path(sent + ".build")))


def submit(submission: Submission) -> int:
    """Make what goes along if it is missing, run spark-submit, and return its exit code."""
    if submission.sent is not None and submission.make:
        archive.make(Path(submission.sent))
    from tdtool.jobs.java import find_java

    with tempfile.TemporaryDirectory(prefix="tdtool-submit-") as scratch:
        java = find_java().variables(Path(scratch))
        environment = {name: value for name, value in {**os.environ, **java}.items() if value is not None}
        return _run(submission.spark_submit, environment)


def _run(words: Command, environment: Mapping[str, str]) -> int:
    # A group of its own: a signal then reaches Java and Python once, from here.
    child = subprocess.Popen(words, env=environment, process_group=0)  # noqa: S603 -- made above, and no shell
    try:
        code = child.wait()
    except (KeyboardInterrupt, TerminatedError) as stopped:
        _stop(child, signal.SIGINT if isinstance(stopped, KeyboardInterrupt) else signal.SIGTERM)
        raise
    return code if code >= 0 else 128 - code


def _stop(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    os.killpg(child.pid, number)
    try:
        child.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


# ---- the words of spark-submit


def _options(command: str, config: SubmitConfig) -> list[str]:
    spark = config.spark
    words = ["--master", str(spark.master), "--deploy-mode", config.deploy_mode, "--name", f"tdtool {command}"]
    for option, size in (("--driver-memory", spark.driver_memory), ("--executor-memory", spark.executor_memory)):
        words += [option, f"{size // _MEBIBYTE}m"] if size else []
    if config.deploy_mode == "cluster":
        # The driver starts in an empty folder with an environment of its own.
        words += ["--files", _SETTINGS_FILE] if Path(_SETTINGS_FILE).is_file() else []
        place = "spark.yarn.appMasterEnv" if spark.master == "yarn" else "spark.kubernetes.driverEnv"
        ours = sorted((name, value) for name, value in os.environ.items() if name.startswith("TDTOOL_"))
        words += _settings((f"{place}.{name}", value) for name, value in ours if not name.startswith("TDTOOL_SUBMIT_"))
    return [_spark_submit(), *words, *_settings(spark.settings)]


def _settings(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [word for name, value in pairs for word in ("--conf", f"{name}={value}")]


def _python_options(sent: str | None, config: SubmitConfig) -> list[str]:
    """Which Python runs the tasks and the driver, and what it is sent."""
    python = config.python or sys.executable
    settings = []
    if sent and not config.python:
        python = f"./{_PLACE}/bin/python"
        settings.append(("spark.archives", f"{sent}#{_PLACE}"))
    settings.append(("spark.pyspark.python", python))
    if config.deploy_mode == "client":
        settings.append(("spark.pyspark.driver.python", sys.executable))
    theirs = dict(config.spark.settings)
    words = ["--py-files", sent] if sent and config.python else []
    return words + _settings((name, value) for name, value in settings if name not in theirs)


def _sent(config: SubmitConfig) -> str | None:
    """What goes along: the archive; tdtool alone, where --python has the rest; nothing to this machine, or an image."""
    master = str(config.spark.master)
    if master.startswith("local") or (config.python and config.deploy_mode == "cluster" and not _uploads(config)):
        return None
    return str(archive.default_zip()) if config.python else config.environment or str(archive.default_archive())


def _uploads(config: SubmitConfig) -> bool:
    """Whether files of this machine reach the driver: Kubernetes has no place for them of its own."""
    return not str(config.spark.master).startswith("k8s://") or _UPLOADS in dict(config.spark.settings)


def _main_file(sent: str | None, config: SubmitConfig) -> str:
    """tdtool/__main__.py: of this installation, or that of an image which nothing is sent to."""
    if sent is None and config.python and config.deploy_mode == "cluster":
        library = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        return f"local://{PurePosixPath(config.python).parents[1] / library / 'tdtool' / '__main__.py'}"
    return str(Path(tdtool.__file__).parent / "__main__.py")


def _spark_submit() -> str:
    """The program: of SPARK_HOME, in the path, or of an installed pyspark."""
    if home := os.environ.get("SPARK_HOME"):
        return f"{home}/bin/spark-submit"
    if shutil.which("spark-submit"):
        return "spark-submit"
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise MissingExtraError("pyspark", "spark")
    return str(Path(found.origin).with_name("bin") / "spark-submit")


def _folded(words: Command) -> str:
    """One option a line; what is run comes last, on a line of its own."""
    program, *rest = words
    lines = [shlex.quote(program)]
    while rest and rest[0].startswith("--"):
        lines.append(shlex.join(rest[:2]))
        rest = rest[2:]
    return " \\\n  ".join([*lines, shlex.join(rest)])


# ---- what cannot work


def _check_cluster(config: SubmitConfig) -> None:
    master, settings = str(config.spark.master), dict(config.spark.settings)
    if config.python and config.environment:
        raise UsageError(
            "--environment and --python are two ways to the same end",
            hint="--environment sends an archive; --python names a program that all machines have",
        )
    if config.environment and ("#" in config.environment or not config.environment.endswith(archive.SUFFIX)):
        raise UsageError(
            f"this is no {archive.SUFFIX} that Spark can unpack", path=config.environment, hint="name it e.tar.gz"
        )
    if config.deploy_mode == "cluster" and master != "yarn" and not master.startswith("k8s://"):
        raise UsageError(
            f"--deploy-mode cluster: with {master} Spark starts Python drivers on this machine only",
            hint="leave --deploy-mode out; YARN and Kubernetes have it",
        )
    if not master.startswith("k8s://"):
        return
    if _IMAGE not in settings:
        raise UsageError("Kubernetes needs an image with Spark in it", hint=f"--spark-conf {_IMAGE}=REGISTRY/NAME:TAG")
    if config.deploy_mode == "cluster" and not config.python and not _uploads(config):
        raise UsageError(
            "Kubernetes gets files from a place that its pods can read",
            hint=f"--spark-conf {_UPLOADS}=s3a://BUCKET/FOLDER, or --python PATH of an image that has tdtool in it",
        )


def _check_places(places: Places, config: SubmitConfig) -> None:
    if "-" in places.sources:
        raise UsageError("standard input cannot be read by executors", hint="save it to a file")
    if config.deploy_mode == "client":
        return
    if places.output == "":
        raise UsageError(
            "--deploy-mode cluster: the result would stay on a machine of the cluster and be lost",
            hint="say where it goes with -o s3://BUCKET/NAME, or use --deploy-mode client",
        )
    for path in filter(None, (places.output, *places.exports)):
        if not _URI.match(path):
            raise UsageError(
                "--deploy-mode cluster: this would be written on a machine of the cluster and be lost",
                path=path,
                hint="write to a URI, such as s3://BUCKET/NAME, or use --deploy-mode client",
            )
