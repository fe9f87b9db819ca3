"""The README's cluster of a master and two workers, as a new user types it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.jobs.one_spark import OneSpark

pytestmark = [pytest.mark.spark, pytest.mark.study]
_PORT = "7077"
_SECONDS = 240


def recipe() -> str:
    """The lines between the README's marks."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    part = readme.split("<!-- run:standalone -->")[1].split("<!-- /run:standalone -->")[0]
    (block,) = re.findall(r"^```console\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
    return str(block)


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="module")
def ran(spark: OneSpark, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """What the recipe printed, and the folder with the sample data that it ran in. All that it started is ended."""
    spark.stop()
    folder = tmp_path_factory.mktemp("standalone")
    (folder / "sample_data").symlink_to(REPOSITORY / "sample_data")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TDTOOL_", "SPARK_"))}
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    shell = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", recipe().replace(_PORT, _free_port())],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    try:
        printed, _ = shell.communicate(timeout=_SECONDS)
        assert shell.returncode == 0, printed
        yield printed, folder
    finally:
        if _processes(folder):
            os.killpg(shell.pid, signal.SIGKILL)


def _processes(folder: Path) -> list[str]:
    """Command lines of all processes that work in a folder or name it."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            works_in = os.readlink(place / "cwd")  # noqa: PTH115 -- a process may have left its folder
        except OSError:
            continue  # it has ended, or is not ours
        if str(folder) in words or works_in.startswith(str(folder)):
            found.append(words)
    return found


def test_gives_the_same_file_as_this_machine_alone(ran: tuple[str, Path]) -> None:
    printed, folder = ran
    digests = re.findall(r"(here|there)\.topics\.h5: good \(tdtool\.topics, .*content ([0-9a-f]{32})\)", printed)
    assert [name for name, _ in digests] == ["here", "there"], printed
    assert digests[0][1] == digests[1][1], printed
    master = (folder / "cluster" / "master.log").read_text()
    assert len(re.findall("Registering worker", master)) == 2
    (application,) = re.findall(r"Registered app .* with ID (\S+)", master)
    assert f"Removing app {application}" in master, "the application ends with the run"
    assert {path.parts[-3] for path in (folder / "cluster").glob(f"*/{application}/*")} == {"one", "two"}


def test_keeps_its_secret(ran: tuple[str, Path]) -> None:
    printed, folder = ran
    secret = (folder / "cluster" / "spark-defaults.conf").read_text().split("secret ")[1].split()[0]
    assert len(secret) == 64
    told = [printed, *(path.read_text() for path in (folder / "cluster").glob("*.log"))]
    assert not [text for text in told if secret in text]
    assert not (folder / "cluster").stat().st_mode & 0o077
    log = (folder / "cluster" / "master.log").read_text()
    assert "StandaloneRestServer" not in log, "Spark's REST server asks nobody for the secret"


def test_nothing_stays_behind(ran: tuple[str, Path]) -> None:
    folder = ran[1]
    names = {path.name for path in folder.iterdir()} - {"sample_data", "cluster"}
    assert names == {"here.topics.h5", "there.topics.h5"}
    end = time.monotonic() + 20
    while left := _processes(folder):
        assert time.monotonic() < end, left
        time.sleep(0.1)
