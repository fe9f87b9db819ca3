"""A corpus as a directory of Parquet files: NAME.corpus.parquet/ has a file for each partition, the words, and
corpus.json, which comes last and makes it a store. Many machines can write and read it at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tdtool import log
from tdtool.data.corpus import Corpus, Rows
from tdtool.data.ledger import Ledger
from tdtool.data.parquet_folder import PartFacts, damaged, read_file, write_file
from tdtool.data.parquet_manifest import (
    OWN_ATTRIBUTES,
    Manifest,
    check_files,
    check_written,
    get_manifest,
    ledger_of,
    put_manifest,
)
from tdtool.data.parquet_parts import check_sizes, fault_in, in_order, read_part, write_part
from tdtool.data.parquet_table import MOST_FILE_BYTES, decoded, encoded
from tdtool.errors import InputError
from tdtool.store import hdf5
from tdtool.store.digest import RunningDigest, array_digest, as_bytes, bytes_digest, content_digest
from tdtool.store.schema import CORPUS

__all__ = ["ParquetCorpus", "PartFacts", "read_part", "write_corpus_parquet", "write_manifest", "write_part"]

_NUMBERS = ("document_frequency", "count")
_FIELDS: list[Any] = [pa.field("term", pa.string()), *(pa.field(name, pa.int64()) for name in _NUMBERS)]
_VOCABULARY = pa.schema(_FIELDS)


@dataclasses.dataclass(frozen=True)
class Terms:
    """The words of a corpus. document_frequency, count : (V,) int64."""

    terms: list[str]
    document_frequency: NDArray[np.int64]
    count: NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class ParquetCorpus:
    """A store that was opened: its partitions stay where they are. place : path or URI of the directory."""

    place: str
    parts: tuple[PartFacts, ...]
    starts: NDArray[np.int64]
    words: Terms
    ledger: Ledger
    attributes: dict[str, Any]

    @classmethod
    def open(cls, place: str | Path, *, check: bool = True) -> ParquetCorpus:
        """Open a store. check : look whether every partition is there. What is in them is checked when they are read.

        InputError when it is no store, is incomplete or damaged.
        """
        place = str(place)
        manifest = get_manifest(place, CORPUS.name)
        words = _read_words(place, manifest)
        for part in manifest.parts:
            check_sizes(place, part, len(words.terms))
        if check:
            check_files(place, manifest)
        ledger = ledger_of(manifest.attributes, place, CORPUS.name)
        return cls(place, manifest.parts, manifest.starts, words, ledger, manifest.attributes)

    @property
    def vocabulary(self) -> list[str]:
        """V words."""
        return self.words.terms

    @property
    def n_documents(self) -> int:
        """D."""
        return int(self.starts[-1])

    @property
    def n_terms(self) -> int:
        """V."""
        return len(self.words.terms)

    @property
    def n_entries(self) -> int:
        """Stored counts."""
        return sum(part.n_entries for part in self.parts)

    @property
    def n_partitions(self) -> int:
        """P."""
        return len(self.parts)

    def part(self, index: int) -> tuple[Rows, list[str]]:
        """Partition `index`, and its documents' names. InputError, with the file, when it is damaged."""
        return read_part(self.place, self.parts[index], self.n_terms)

    def rows(self, index: int) -> Rows:
        """Partition `index`."""
        return self.part(index)[0]

    def id_blocks(self) -> Iterator[tuple[int, list[str]]]:
        """(first document, names) of all documents, a partition at a time."""
        for rows, ids in in_order(self.part, self.n_partitions):
            yield rows.start, ids

    def to_hdf5(self, path: str | Path, *, force: bool = False) -> Corpus:
        """Write the same corpus as an HDF5 file and open it, in memory of a few partitions. The content is the same."""
        with hdf5.create(Path(path), CORPUS, force=force) as writer:
            _copy_parts(self, writer)
            writer.put("partitions/start", self.starts)
            writer.put("partitions/digest", [part.digest for part in self.parts])
            for name, values in _word_arrays(self.words).items():
                writer.put(name, values)
            for name, value in self.attributes.items():
                if name not in OWN_ATTRIBUTES:
                    writer.attribute(name, value)
        return Corpus.open(path, check=False)


def write_manifest(
    place: str,
    parts: Sequence[PartFacts],
    vocabulary: list[str],
    document_frequency: NDArray[np.int64],
    count: NDArray[np.int64],
    attributes: dict[str, Any],
) -> str:
    """Make partitions that were written a store, with its words; returns the content digest, that of an HDF5 store.

    parts : of all partitions, in any order; attributes : ledger (as_dict), config, source, argv, as JSON values.
    Each partition is read once more for the digest, one after the other.
    """
    ordered = tuple(sorted(parts, key=lambda part: part.index))
    check_written(place, ordered)
    words = Terms([as_bytes(term).decode() for term in vocabulary], document_frequency, count)
    digest = CorpusDigest(sum(part.n_rows for part in ordered), sum(part.n_entries for part in ordered))
    with log.task("checking", total=len(ordered)) as bar:
        for rows, ids in in_order(lambda index: read_part(place, ordered[index], len(vocabulary)), len(ordered)):
            digest.add(rows, ids)
            bar.advance()
    return _finish(place, ordered, words, attributes, digest)


def write_corpus_parquet(corpus: Corpus, place: str, words: Terms, attributes: dict[str, Any]) -> str:
    """Write a corpus as a store; returns the content digest."""
    digest = CorpusDigest(corpus.n_documents, corpus.n_entries)
    names = _take(corpus.id_blocks())
    parts = []
    for index in range(corpus.n_partitions):
        rows = corpus.rows(index)
        _check_rows(corpus, rows)
        ids = [next(names) for _ in range(rows.n_documents)]
        parts.append(write_part(place, index, rows, ids))
        digest.add(rows, ids)
    return _finish(place, tuple(parts), words, attributes, digest)


class CorpusDigest:
    """The content digest of a corpus whose partitions come one after the other: that of its HDF5 store."""

    def __init__(self, n_documents: int, n_entries: int) -> None:
        self._position = 0
        self._running = {
            "counts/indptr": RunningDigest("counts/indptr", np.dtype(np.int64), (n_documents + 1,)),
            "counts/indices": RunningDigest("counts/indices", np.dtype(np.int32), (n_entries,)),
            "counts/data": RunningDigest("counts/data", np.dtype(np.int32), (n_entries,)),
            "documents/id": RunningDigest("documents/id", str, (n_documents,)),
        }
        self._running["counts/indptr"].update(np.zeros(1, np.int64))

    def add(self, rows: Rows, ids: list[str]) -> None:
        """The next partition."""
        self._running["counts/indptr"].update(rows.indptr[1:] + self._position)
        self._running["counts/indices"].update(rows.indices.astype(np.int32, copy=False))
        self._running["counts/data"].update(rows.counts.astype(np.int32, copy=False))
        self._running["documents/id"].update(ids)
        self._position += rows.indices.size

    def finish(self, words: Terms, starts: NDArray[np.int64], digests: list[str]) -> str:
        """The digest, when every partition has come."""
        found = {path: running.hexdigest() for path, running in self._running.items()}
        arrays = {**_word_arrays(words), "partitions/start": starts, "partitions/digest": digests}
        found |= {path: array_digest(path, values) for path, values in arrays.items()}
        return content_digest(CORPUS.name, CORPUS.version, found)


def _finish(
    place: str, parts: tuple[PartFacts, ...], words: Terms, attributes: dict[str, Any], digest: CorpusDigest
) -> str:
    file = _write_words(place, words)
    starts = np.array([0, *(part.start + part.n_rows for part in parts)], np.int64)
    whole = digest.finish(words, starts, [part.digest for part in parts])
    kept = {name: value for name, value in attributes.items() if name not in OWN_ATTRIBUTES}
    sizes = {"terms": len(words.terms), "documents": int(starts[-1])}
    about = {**kept, "content_digest": whole}
    put_manifest(place, Manifest(CORPUS, parts, {"vocabulary": file}, sizes, about))
    return whole


def _word_arrays(words: Terms) -> dict[str, Any]:
    return {
        "vocabulary/term": words.terms,
        "vocabulary/document_frequency": words.document_frequency,
        "vocabulary/count": words.count,
    }


def _words_file(words: Terms) -> str:
    digests = (array_digest(path, values) for path, values in _word_arrays(words).items())
    return f"vocabulary-{bytes_digest(digest.encode() for digest in digests)}.parquet"


def _write_words(place: str, words: Terms) -> str:
    columns = [pa.array(words.terms, pa.string()), pa.array(words.document_frequency), pa.array(words.count)]
    file = _words_file(words)
    write_file(place, file, encoded(_VOCABULARY, columns))
    return file


def _read_words(place: str, manifest: Manifest) -> Terms:
    file, n_terms = manifest.files["vocabulary"], manifest.sizes.get("terms", 0)
    data = read_file(place, file, MOST_FILE_BYTES)
    table = decoded(data, _VOCABULARY, place, file, n_rows=n_terms, n_values=n_terms)
    numbers = [table.column(name).to_numpy() for name in _NUMBERS]
    terms: list[Any] = table.column("term").to_pylist()
    words = Terms(terms, *numbers)
    if file != _words_file(words):
        raise damaged(place, file, "its values are not those that were written (digest)")
    return words


def _copy_parts(corpus: ParquetCorpus, writer: hdf5.Writer) -> None:
    n_documents, n_entries = corpus.n_documents, corpus.n_entries
    indptr = writer.stream("counts/indptr", (n_documents + 1,), np.int64)
    indices = writer.stream("counts/indices", (n_entries,), np.int32)
    counts = writer.stream("counts/data", (n_entries,), np.int32)
    names = writer.stream("documents/id", (n_documents,), str)
    indptr.write(0, np.zeros(1, np.int64))
    position = 0
    for rows, ids in in_order(corpus.part, corpus.n_partitions):
        indptr.write(rows.start + 1, rows.indptr[1:] + position)
        indices.write(position, rows.indices)
        counts.write(position, rows.counts)
        names.write(rows.start, ids)
        position += rows.indices.size


def _check_rows(corpus: Corpus, rows: Rows) -> None:
    """InputError where a corpus from anybody's file has what a store must not have."""
    fault = fault_in(rows.indptr, rows.indices, corpus.n_terms, "terms")
    if rows.counts.size and not 0 < int(rows.counts.max()) < 1 << 31:
        fault = "has counts that are too large"
    if fault is not None:
        raise InputError(f"partition {rows.index} {fault}", path=corpus.path, hint="run: tdtool verify")


def _take(blocks: Iterator[tuple[int, list[str]]]) -> Iterator[str]:
    for _, names in blocks:
        yield from names
