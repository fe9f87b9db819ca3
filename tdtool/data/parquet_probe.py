"""Read every byte of a store of Parquet files and say what is wrong with it, in a process of its own:
python -m tdtool.data.parquet_probe PLACE"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tdtool.data.corpus_parquet import CorpusDigest, ParquetCorpus
from tdtool.data.documents_parquet import ParquetDocuments
from tdtool.data.graph_parquet_store import ParquetGraph
from tdtool.data.parquet_folder import manifest_kind
from tdtool.data.readers import places
from tdtool.errors import InputError
from tdtool.store.content import Finding
from tdtool.store.probe import Probe, limit_memory, probe
from tdtool.store.schema import CORPUS, DOCUMENTS, GRAPH

_WHOLE = "the content digest is not that of the partitions"


def probe_store(place: str) -> Probe:
    """Hold every file of a store against its digest and the manifest, and the values against what they must be."""
    kind = manifest_kind(place)
    check, schema = {
        GRAPH.name: (_check_graph, GRAPH),
        DOCUMENTS.name: (_check_documents, DOCUMENTS),
    }.get(kind or "", (_check_corpus, CORPUS))
    try:
        findings, digest, n_arrays = check(place)
    except InputError as error:
        return Probe("", "", 0, [_finding(error)])
    return Probe(schema.name, digest, n_arrays, findings)


def _check_corpus(place: str) -> tuple[list[Finding], str, int]:
    stored = ParquetCorpus.open(place, check=False)
    running, digest = CorpusDigest(stored.n_documents, stored.n_entries), str(stored.attributes.get("content_digest"))

    def read(index: int) -> None:
        running.add(*stored.part(index))

    findings = list(_faults(read, stored.n_partitions))
    found = running.finish(stored.words, stored.starts, [part.digest for part in stored.parts])
    if not findings and found != digest:
        findings.append(Finding("file", _WHOLE))
    return findings, digest, len(CORPUS.arrays)


def _check_graph(place: str) -> tuple[list[Finding], str, int]:
    """A graph is looked at as an HDF5 file, for an edge has two ends, far from each other."""
    stored = ParquetGraph.open(place, check=False)
    digest = str(stored.attributes.get("content_digest"))
    findings = list(_faults(stored.part, stored.n_partitions))
    if findings:
        return findings, digest, 0
    with tempfile.TemporaryDirectory(prefix="tdtool-") as scratch:
        path = Path(scratch) / "graph.h5"
        stored.to_hdf5(path, check=False)
        found = probe(path)
    if not found.findings and found.content_digest != digest:
        return [Finding("file", _WHOLE)], digest, found.n_arrays
    return found.findings, digest, found.n_arrays


def _check_documents(place: str) -> tuple[list[Finding], str, int]:
    stored = ParquetDocuments.open(place, check=False)
    return list(_faults(stored.part, len(stored.parts))), str(stored.attributes.get("content_digest")), 2


def _faults(read: Callable[[int], Any], n_partitions: int) -> Iterator[Finding]:
    for index in range(n_partitions):
        try:
            read(index)
        except InputError as error:
            yield _finding(error)


def _finding(error: InputError) -> Finding:
    return Finding(places.name_of(str(error.path)), error.what)


if __name__ == "__main__":
    limit_memory()
    print(json.dumps(dataclasses.asdict(probe_store(sys.argv[1]))))
