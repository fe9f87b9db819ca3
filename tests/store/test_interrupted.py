"""Whatever ends a run, a result file is whole or not there."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tdtool.store import hdf5
from tests.store.samples import names, topics_content, write_topics

ROOT = Path(__file__).parents[2]
SLOW_WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from tdtool.store import hdf5, schema
with hdf5.create(Path(sys.argv[1]), schema.TOPICS, force=True) as writer:
    stream = writer.stream("documents/topic", (1 << 22, 8), np.float32)
    for start in range(0, 1 << 22, 1 << 12):
        stream.write(start, np.random.rand(1 << 12, 8))
        if start == 1 << 19:
            print("half way", flush=True)
"""
SIGNAL_INSIDE = """
import signal, sys
from pathlib import Path
from tdtool.store.sink import Sink
from tests.store.samples import topics_content, write_topics
name, waiting = sys.argv[2], [signal.SIGINT]
method = getattr(Sink, name)
def interrupted(*arguments):
    if waiting:
        signal.raise_signal(waiting.pop())
    return method(*arguments)
setattr(Sink, name, interrupted)
try:
    write_topics(Path(sys.argv[1]), topics_content(), force=True)
except KeyboardInterrupt:
    print("in peace")
"""
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from tdtool.errors import ResourceError
from tests.store.samples import topics_content, write_topics
n = int(sys.argv[2])
content = topics_content() | {
    "documents/topic": np.random.rand(n, 3), "documents/id": ["x"] * n,
    "documents/length": np.zeros(n, int), "documents/held_out": np.zeros(n, np.uint8),
}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    write_topics(Path(sys.argv[1]), content, force=True)
except ResourceError as error:
    print(error)
"""


def _start(code: str, path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_kill_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_topics(tmp_path / "m.h5")
    before = path.read_bytes()
    with _start(SLOW_WRITER, path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half way\n"
        child.kill()
    assert path.read_bytes() == before
    assert (tmp_path / "m.h5.part").stat().st_size > 0, "it was killed while it wrote"
    write_topics(path, topics_content(1), force=True)
    assert names(tmp_path) == ["m.h5"], "the next run takes the place of what was left"


@pytest.mark.parametrize("delay", [0.0, 0.013, 0.031, 0.057, 0.11, 0.17])
def test_interrupt_leaves_no_half_file_and_no_crash(tmp_path: Path, delay: float) -> None:
    with _start(SLOW_WRITER, tmp_path / "m.h5") as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(delay)
        child.send_signal(signal.SIGINT)
        errors = child.communicate()[1]
    assert child.returncode in (-signal.SIGINT, 130), errors
    assert "KeyboardInterrupt" in errors
    assert names(tmp_path) == []


@pytest.mark.parametrize("method", ["seek", "tell", "write", "truncate"])
def test_signal_waits_until_hdf5_is_done(tmp_path: Path, method: str) -> None:
    """It arrives while HDF5 calls back; an exception there would crash the process at its end."""
    path = write_topics(tmp_path / "m.h5")
    before = path.read_bytes()
    with _start(SIGNAL_INSIDE, path, method) as child:
        assert child.communicate() == ("in peace\n", "")
    assert child.returncode == 0
    assert path.read_bytes() == before
    assert names(tmp_path) == ["m.h5"]


@pytest.mark.parametrize("n_documents", ["20000", "500000"])
def test_full_disk_leaves_the_old_file_and_no_crash(tmp_path: Path, n_documents: str) -> None:
    """Few documents: HDF5 only writes when it closes; many: while they come."""
    path = write_topics(tmp_path / "m.h5")
    before = path.read_bytes()
    with _start(FULL_DISK, path, n_documents) as child:
        output, errors = child.communicate()
    assert (child.returncode, errors) == (0, "")
    assert "the disk is full" in output
    assert path.read_bytes() == before
    assert names(tmp_path) == ["m.h5"]
    with hdf5.open(path) as reader:
        assert reader.schema.name == "tdtool.topics"
