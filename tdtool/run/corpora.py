"""Whatever the user points at becomes a corpus; a corpus becomes an engine's."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tdtool import log
from tdtool.config import IngestConfig
from tdtool.data.corpus import Corpus
from tdtool.data.ingest import ingest

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def physical_memory() -> int:
    """Bytes of RAM in the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def default_memory() -> int:
    """Half of the RAM: what a run may hold of what grows with the documents before it goes to scratch files."""
    return physical_memory() // 2


def is_store(source: str) -> bool:
    """Whether `source` is an HDF5 file, and so a corpus that was ingested before."""
    path = Path(source)
    if source == "-" or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_HDF5_SIGNATURE)) == _HDF5_SIGNATURE


@contextlib.contextmanager
def corpus_of(
    source: str, config: IngestConfig, *, workers: int, vocabulary: list[str] | None = None
) -> Iterator[Corpus]:
    """The corpus behind a source: opened when it was ingested before, else ingested into a scratch file for now.

    vocabulary : the only words to know (those of a model), or None to build it from the text.
    """
    if is_store(source):
        corpus = Corpus.open(source)
        yield corpus if vocabulary is None else corpus.seen_through(vocabulary)
        return
    with tempfile.TemporaryDirectory(prefix="tdtool-") as scratch:
        log.detail(f"ingesting into {scratch}")
        yield ingest(source, Path(scratch) / "corpus.h5", config, workers=workers, fixed_vocabulary=vocabulary)
