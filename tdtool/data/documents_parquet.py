"""The topics of documents as a directory of Parquet files, which many machines can write at a time:
NAME.documents.parquet/ has a file for each partition (id, topic_0, topic_1, ..., held_out) and documents.json, which
comes last and says that all is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tdtool.data.parquet_folder import PartFacts, damaged, is_there, part_file, read_file, write_file
from tdtool.data.parquet_manifest import (
    OWN_ATTRIBUTES,
    Manifest,
    check_files,
    check_written,
    get_manifest,
    put_manifest,
)
from tdtool.data.parquet_table import MOST_FILE_BYTES, decoded, encoded
from tdtool.store.digest import array_digest, as_bytes, bytes_digest, content_digest
from tdtool.store.schema import DOCUMENTS


@dataclasses.dataclass(frozen=True)
class ParquetDocuments:
    """A directory that was opened. place : path or URI; held_out : whether it says which documents were kept out."""

    place: str
    parts: tuple[PartFacts, ...]
    n_topics: int
    held_out: bool
    attributes: dict[str, Any]

    @classmethod
    def open(cls, place: str | Path, *, check: bool = True) -> ParquetDocuments:
        """Open a directory. check : look whether every partition is there. InputError when it is none, or damaged."""
        place = str(place)
        manifest = get_manifest(place, DOCUMENTS.name)
        if check:
            check_files(place, manifest)
        sizes = manifest.sizes
        return cls(place, manifest.parts, sizes.get("topics", 0), bool(sizes.get("held_out", 0)), manifest.attributes)

    @property
    def n_documents(self) -> int:
        """D."""
        return sum(part.n_rows for part in self.parts)

    def part(self, index: int) -> tuple[list[str], NDArray[np.float32], NDArray[np.bool_] | None]:
        """Names, topics (D_p, T), whether held out (D_p,) of a partition. InputError, with the file, if damaged."""
        return _read_part(self.place, self.parts[index], self.n_topics, self.held_out)


def write_documents_part(
    place: str,
    index: int,
    ids: list[str],
    document_topic: NDArray[np.float32],
    held_out: NDArray[Any] | None = None,
) -> PartFacts:
    """Write one partition; nothing is done when it is there already.

    ids : D_p names; document_topic : (D_p, T) float32; held_out : (D_p,) 1 where the document was kept out of the fit.
    """
    names = [as_bytes(name).decode() for name in ids]
    topics = np.ascontiguousarray(document_topic, np.float32)
    kept_out = None if held_out is None else np.asarray(held_out).astype(np.bool_)
    digest = _digest(names, topics, kept_out)
    facts = PartFacts(index, 0, topics.shape[0], topics.size, digest, part_file(index, digest))
    if not is_there(place, facts, lambda: _read_part(place, facts, topics.shape[1], kept_out is not None)):
        columns = [pa.array(names, pa.string()), *(pa.array(column) for column in np.ascontiguousarray(topics.T))]
        columns += [] if kept_out is None else [pa.array(kept_out)]
        write_file(place, facts.file, encoded(_schema(topics.shape[1], kept_out is not None), columns))
    return facts


def write_documents_manifest(
    place: str, parts: Sequence[PartFacts], n_topics: int, attributes: dict[str, Any], *, held_out: bool
) -> str:
    """Say, in a block of `new_store`, that all partitions were written; returns the content digest.

    parts : of all partitions, in any order; attributes : how the topics were found, as JSON values; held_out : whether
    the partitions say which documents were.
    """
    check_written(place, parts)
    ordered, start = [], 0
    for part in sorted(parts, key=lambda part: part.index):
        ordered.append(dataclasses.replace(part, start=start))
        start += part.n_rows
    digest = content_digest(DOCUMENTS.name, DOCUMENTS.version, {f"{part.index:09d}": part.digest for part in ordered})
    about = {name: value for name, value in attributes.items() if name not in OWN_ATTRIBUTES}
    sizes = {"topics": n_topics, "held_out": int(held_out), "documents": start}
    put_manifest(place, Manifest(DOCUMENTS, tuple(ordered), {}, sizes, {**about, "content_digest": digest}))
    return digest


def _schema(n_topics: int, held_out: bool) -> pa.Schema:
    fields: list[Any] = [pa.field("id", pa.string())]
    fields += [pa.field(f"topic_{topic}", pa.float32()) for topic in range(n_topics)]
    return pa.schema([*fields, pa.field("held_out", pa.bool_())] if held_out else fields)


def _digest(ids: list[str], topics: NDArray[np.float32], held_out: NDArray[np.bool_] | None) -> str:
    digests = [array_digest("documents/id", ids), array_digest("documents/topic", topics)]
    digests += [] if held_out is None else [array_digest("documents/held_out", held_out.astype(np.uint8))]
    return bytes_digest(digest.encode() for digest in digests)


def _read_part(
    place: str, facts: PartFacts, n_topics: int, with_held_out: bool
) -> tuple[list[str], NDArray[np.float32], NDArray[np.bool_] | None]:
    data = read_file(place, facts.file, MOST_FILE_BYTES)
    schema = _schema(n_topics, with_held_out)
    table = decoded(data, schema, place, facts.file, n_rows=facts.n_rows, n_values=facts.n_rows)
    ids: list[Any] = table.column("id").to_pylist()
    topics = np.empty((facts.n_rows, n_topics), np.float32)
    for topic in range(n_topics):
        topics[:, topic] = table.column(f"topic_{topic}").to_numpy()
    held_out = np.asarray(table.column("held_out").to_pylist(), np.bool_) if with_held_out else None
    if not facts.digest == _digest(ids, topics, held_out) or facts.file != part_file(facts.index, facts.digest):
        raise damaged(place, facts.file, "its values are not those that were written (digest)")
    return ids, topics, held_out
