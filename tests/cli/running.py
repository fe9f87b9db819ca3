"""Commands run as a user runs them: in a process of their own, or, where speed matters, in this one."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


def environment(**extra: str) -> dict[str, str]:
    """The environment without what would change a command's defaults."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TDTOOL_", "COVERAGE", "COV_"))}
    return {**kept, "PYTHONPATH": str(ROOT), **extra}


def tdtool(
    *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None, stdin: str | None = None
) -> Ran:
    """`tdtool ARGUMENTS` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tdtool", *map(str, arguments)],
        cwd=cwd,
        env=environment(**(env or {})),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
