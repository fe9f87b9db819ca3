"""Results in the formats of other programs, whole or not at all, the same bytes every time.

Of topics, NAME.documents.SUFFIX holds the documents' topics (id, topic_0, topic_1, ...), any other name the topics'
words (topic, rank, term, probability). Topics count from 0, as in the result file. For tensors and tables see
`export_tables`, for communities `export_communities`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.errors import UsageError
from tdtool.kernels.ranking import largest
from tdtool.store import hdf5
from tdtool.store.atomic import check_output, replacing
from tdtool.store.export_communities import GRAPH_SUFFIXES, export_communities
from tdtool.store.export_formats import Held, Rows, Stored, write_json_records, write_npz, write_table
from tdtool.store.export_tables import EXPORTS

SUFFIXES = (".csv", ".tsv", ".json", ".parquet", ".npz")
_EXPORTS = {**EXPORTS, "tdtool.communities": export_communities}
_TOP_TERMS = 20
_PER_TOPIC = ("alpha", "weight", "size", "npmi", "umass", "cv")


def check_export(path: Path, force: bool, *, graph: bool = False) -> None:
    """UsageError, before any work is done, unless `path` names a format and can be written.

    graph : whether the result has a graph, which there are further formats for.
    """
    suffix, known = path.suffix.lower(), (*SUFFIXES, *GRAPH_SUFFIXES) if graph else SUFFIXES
    if suffix in GRAPH_SUFFIXES and not graph:
        raise UsageError(f"{suffix} holds graphs, and this result has none", path=path, hint=f"take {' '.join(known)}")
    if suffix not in known:
        raise UsageError(f"no format has the suffix {path.suffix!r}", path=path, hint=f"known are {' '.join(known)}")
    check_output(path, force)


def export_all(result: Path, outputs: Sequence[Path | str], *, force: bool = False) -> None:
    """Write a result file in other formats, one for each output, by its suffix."""
    if not outputs:
        return
    with hdf5.open(result) as reader:
        for output in outputs:
            export_reader(Path(output), reader, force=force)


def export_reader(path: Path, reader: hdf5.Reader, *, force: bool = False) -> None:
    """Write one export of an open result file; what it holds follows from the name of `path`."""
    reader.require("tdtool.topics", "tdtool.documents", *_EXPORTS)
    if reader.schema.name in _EXPORTS:
        check_export(path, force, graph="graph/neighbours" in reader)
        with replacing(path, force) as part:
            _EXPORTS[reader.schema.name](part, path, reader)
        return
    if reader.schema.name == "tdtool.documents" or is_documents(path):
        export_documents(path, Stored(reader, "documents/id"), Stored(reader, "documents/topic"), force=force)
        return
    export_topics(
        path,
        Stored(reader, "topics/topic_word"),
        reader.get("vocabulary/term"),
        per_topic={name: reader.get(f"topics/{name}") for name in _PER_TOPIC},
        scores=reader.attributes.get("scores", {}),
        force=force,
    )


def is_documents(path: Path) -> bool:
    """Whether a name asks for the documents' topics: run.documents.csv."""
    return path.stem.endswith(".documents")


def export_topics(
    path: Path,
    topic_word: NDArray | Stored,
    terms: Sequence[str],
    *,
    per_topic: Mapping[str, NDArray] | None = None,
    scores: Mapping[str, Any] | None = None,
    force: bool = False,
) -> None:
    """Write the topics; .json and .npz also hold what is known of each topic, .json the scores, .npz the whole matrix.

    topic_word : (T, V) float; terms : V; per_topic : name -> (T,) float.
    """
    check_export(path, force)
    matrix = _rows(topic_word)
    per_topic = per_topic or {}
    with replacing(path, force) as part:
        suffix = path.suffix.lower()
        if suffix == ".npz":
            write_npz(part, {"topic_word": matrix, "term": Held(terms), **{k: Held(v) for k, v in per_topic.items()}})
        elif suffix == ".json":
            head = {"scores": dict(scores or {})}
            write_json_records(part, head, "topics", _topic_records(matrix, terms, per_topic))
        else:
            columns = {"topic": "int32", "rank": "int32", "term": "string", "probability": "float32"}
            write_table(part, suffix, columns, _word_columns(matrix, terms))


def export_documents(
    path: Path, ids: Sequence[str] | Stored, document_topic: NDArray | Stored, *, force: bool = False
) -> None:
    """Write the documents' topics, a block of rows at a time. ids : D names; document_topic : (D, T) float."""
    check_export(path, force)
    names, matrix = _rows(ids), _rows(document_topic)
    with replacing(path, force) as part:
        suffix = path.suffix.lower()
        if suffix == ".npz":
            write_npz(part, {"id": names, "topic": matrix})
        elif suffix == ".json":
            write_json_records(part, {}, "documents", _document_records(names, matrix))
        else:
            columns = {"id": "string", **{f"topic_{topic}": "float32" for topic in range(matrix.shape[1])}}
            write_table(part, suffix, columns, _document_columns(names, matrix))


def _rows(values: NDArray | Sequence[str] | Stored) -> Rows:
    return values if isinstance(values, Stored) else Held(values)


def _word_columns(matrix: Rows, terms: Sequence[str]) -> Iterator[list[Any]]:
    for start, block in matrix.blocks():
        topics: list[int] = []
        ranks: list[int] = []
        words: list[str] = []
        probabilities: list[float] = []
        for topic, row in enumerate(block, start):
            top = largest(row, _TOP_TERMS)
            topics += [topic] * len(top)
            ranks += range(1, len(top) + 1)
            words += [terms[i] for i in top]
            probabilities += row[top].tolist()
        yield [topics, ranks, words, probabilities]


def _topic_records(matrix: Rows, terms: Sequence[str], per_topic: Mapping[str, NDArray]) -> Iterator[dict[str, Any]]:
    for start, block in matrix.blocks():
        for topic, row in enumerate(block, start):
            words = [{"term": terms[i], "probability": _short(row[i])} for i in largest(row, _TOP_TERMS)]
            yield {"topic": topic, **{name: _short(per_topic[name][topic]) for name in per_topic}, "words": words}


def _document_columns(ids: Rows, matrix: Rows) -> Iterator[list[Any]]:
    for start, block in matrix.blocks():
        yield [ids.rows(start, start + len(block)), *np.ascontiguousarray(block.T, np.float32)]


def _document_records(ids: Rows, matrix: Rows) -> Iterator[dict[str, Any]]:
    for start, block in matrix.blocks():
        for name, row in zip(ids.rows(start, start + len(block)), block, strict=True):
            yield {"id": name, "topics": [_short(value) for value in row]}


def _short(value: Any) -> float | None:
    """A number with the digits its type holds, and no more: 0.1 where float32 says 0.1; None: not known."""
    return float(str(value)) if math.isfinite(value) else None
