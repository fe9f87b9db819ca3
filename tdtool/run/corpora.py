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
from tdtool.data.parquet_folder import manifest_kind
from tdtool.data.readers import places
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


def is_parquet(source: str) -> bool:
    """Whether `source` is a directory of Parquet files, such as documents or a graph are ingested into."""
    if source == "-":
        return False
    named = places.name_of(source).lower().endswith(".parquet") and places.is_directory(source)
    return named or manifest_kind(source) is not None


def source_bytes(source: str) -> int:
    """Bytes that lie behind a source, for what is made ready for it; 0 where that is not known."""
    if source == "-":
        return 0
    if places.is_directory(source):
        return sum(found.size for found in places.walk(source) if found.kind == "file")
    return places.size(source) or 0


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
        path = Path(scratch) / "corpus.h5"
        if is_parquet(source):
            from tdtool.data.corpus_parquet import ParquetCorpus

            log.detail(f"copying {source} into {scratch}")
            corpus = ParquetCorpus.open(source).to_hdf5(path)
            yield corpus if vocabulary is None else corpus.seen_through(vocabulary)
            return
        log.detail(f"ingesting into {scratch}")
        yield ingest(source, path, config, workers=workers, fixed_vocabulary=vocabulary)
