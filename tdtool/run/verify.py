"""Verify one file, for a person."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tdtool.store.verify import Finding, verify_fully


@dataclasses.dataclass(frozen=True)
class Verification:
    """findings : what is wrong, empty when the file is as it was written."""

    path: Path
    schema: str
    content_digest: str
    n_arrays: int
    findings: list[Finding]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**dataclasses.asdict(self), "findings": [f._asdict() for f in self.findings], "ok": self.ok}


def verify_file(path: Path) -> Verification:
    """Read every byte of a file, in a process of its own. InputError when there is no such file."""
    probe = verify_fully(path)
    return Verification(path, probe.schema, probe.content_digest, probe.n_arrays, probe.findings)
