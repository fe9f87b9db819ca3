"""Whatever the user points at becomes a corpus; a corpus becomes an engine's."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tdtool import log
from tdtool.config import IngestConfig
from tdtool.data.corpus import Corpus
from tdtool.data.ingest import ingest
from tdtool.kernels.backend import compiled_before

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def announce_compilation() -> None:
    """Say why the very first run is slow."""
    if not compiled_before():
        log.note("first run: compiling the kernels for this machine, once (10 to 20 s in all)")


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
    announce_compilation()
    if is_store(source):
        corpus = Corpus.open(source)
        yield corpus if vocabulary is None else corpus.seen_through(vocabulary)
        return
    with tempfile.TemporaryDirectory(prefix="tdtool-") as scratch:
        log.detail(f"ingesting into {scratch}")
        yield ingest(source, Path(scratch) / "corpus.h5", config, workers=workers, fixed_vocabulary=vocabulary)
