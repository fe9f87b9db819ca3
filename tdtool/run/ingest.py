"""From a source to a corpus file."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from tdtool.config import IngestConfig
from tdtool.data.ingest import ingest
from tdtool.data.ledger import Ledger
from tdtool.run.corpora import announce_compilation
from tdtool.run.machine import available_cores


@dataclasses.dataclass(frozen=True)
class IngestResult:
    """What was read. description : the format that was found, in words."""

    path: Path
    description: str
    n_documents: int
    n_terms: int
    n_tokens: int
    ledger: Ledger
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


def ingest_corpus(
    source: str, output: Path, config: IngestConfig, *, workers: int | None = None, force: bool = False
) -> IngestResult:
    """Read documents into a corpus file. workers : threads, None for the cores this process may use."""
    start = time.perf_counter()
    announce_compilation()
    corpus = ingest(source, output, config, workers=workers or available_cores(), force=force)
    return IngestResult(
        path=output,
        description=str(corpus.attributes.get("source", {}).get("description", "")),
        n_documents=corpus.n_documents,
        n_terms=corpus.n_terms,
        n_tokens=int(np.sum(corpus.counts, dtype=np.int64)),
        ledger=corpus.ledger,
        seconds=time.perf_counter() - start,
    )
