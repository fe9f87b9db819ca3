"""Verify a file that may come from anybody: HDF5 reads it in a process of its own, with limits on time and memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tdtool.errors import InputError
from tdtool.store.content import Finding
from tdtool.store.probe import Probe

_PROBE = "tdtool.store.probe"
_SECONDS, _BYTES_A_SECOND = 60, 10 << 20

__all__ = ["Finding", "Probe", "probed", "verify", "verify_fully"]


def verify(path: Path) -> list[Finding]:
    """Everything wrong with a file; [] when it is as it was written. InputError when there is no file to read."""
    return verify_fully(path).findings


def verify_fully(path: Path) -> Probe:
    """The findings, and what kind of file it is."""
    path = Path(path)
    if not path.is_file():
        raise InputError("there is no such file" if not path.exists() else "not a plain file", path=path)
    if not os.access(path, os.R_OK):
        raise InputError("no permission to read it", path=path)
    return probed(_PROBE, str(path.absolute()), path.stat().st_size)


def probed(module: str, place: str, n_bytes: int) -> Probe:
    """What a module of ours finds out about a file or directory of `n_bytes`, in a process of its own."""
    limit = _SECONDS + n_bytes / _BYTES_A_SECOND
    try:
        done = subprocess.run(  # noqa: S603 -- our own module, and the place is one argument
            [sys.executable, "-P", "-m", module, place],
            capture_output=True,
            timeout=limit,
            env=_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _unreadable(f"reading it did not end within {limit:.0f} s")
    if done.returncode != 0:
        library = "HDF5" if module == _PROBE else "Parquet"
        return _unreadable(_how_it_ended(done.returncode, done.stderr.decode("utf-8", "replace"), library))
    values = json.loads(done.stdout)
    return Probe(**{**values, "findings": [Finding(*finding) for finding in values["findings"]]})


def _unreadable(what: str) -> Probe:
    return Probe("", "", 0, [Finding("file", what)])


def _how_it_ended(code: int, errors: str, library: str) -> str:
    if code < 0:
        return f"reading it crashed the {library} library ({signal.Signals(-code).name})"
    last = errors.strip().rpartition("\n")[2]
    return f"reading it failed ({last[:200]})" if last else "reading it failed"


def _environment() -> dict[str, str]:
    """The child imports this very package, and starts no threads."""
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
