"""Verify one file or store, for a person."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tdtool.data.readers import places
from tdtool.run.corpora import is_parquet, source_bytes
from tdtool.store.verify import Finding, probed, verify_fully

_PARQUET_PROBE = "tdtool.data.parquet_probe"


@dataclasses.dataclass(frozen=True)
class Verification:
    """findings : what is wrong, empty when the file is as it was written."""

    path: Path | str
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


def verify_file(path: Path | str) -> Verification:
    """Read every byte of a file or store, in a process of its own. InputError when there is none."""
    place = str(path)
    if is_parquet(place):
        probe = probed(_PARQUET_PROBE, places.absolute(place), source_bytes(place))
    else:
        probe = verify_fully(Path(path))
    return Verification(path, probe.schema, probe.content_digest, probe.n_arrays, probe.findings)
