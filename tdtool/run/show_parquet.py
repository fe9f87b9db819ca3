"""What is in a store of Parquet files, as the arrays of the HDF5 file with the same content."""

from __future__ import annotations

from typing import Any, NamedTuple

from tdtool.data.corpus_parquet import ParquetCorpus
from tdtool.data.documents_parquet import ParquetDocuments
from tdtool.data.graph_parquet_store import ParquetGraph
from tdtool.data.parquet_folder import manifest_kind
from tdtool.store.schema import CORPUS, DOCUMENTS, GRAPH, FileSchema, base_axis

#: Types of the arrays that are not 64-bit integers.
_TYPES = {
    "counts/indices": "int32",
    "counts/data": "int32",
    "graph/neighbours": "int32",
    "graph/weights": "float32",
    "nodes/side": "uint8",
    "documents/topic": "float32",
}


_ABOUT = {
    CORPUS.name: "Documents as word counts, in Parquet files, one a partition.",
    GRAPH.name: "A graph as neighbours of each node, in Parquet files, one a partition.",
    DOCUMENTS.name: "The topics of documents, in Parquet files, one a partition.",
}


class StoreContent(NamedTuple):
    """arrays : path, dims, shape, dtype, about and unit of each; words : of a corpus."""

    schema: FileSchema
    arrays: list[dict[str, Any]]
    attributes: dict[str, Any]
    words: list[str]

    @property
    def about(self) -> str:
        """What the store is."""
        return _ABOUT[self.schema.name]


def look_into(place: str) -> StoreContent:
    """Read the manifest of a store, and its words. InputError when it is damaged."""
    kind = manifest_kind(place)
    if kind == GRAPH.name:
        graph = ParquetGraph.open(place)
        sizes = {"node": graph.n_nodes, "entry": graph.n_entries, "partition": graph.n_partitions}
        absent = {"graph/weights"} if not graph.weighted else set()
        absent |= {"nodes/side"} if graph.n_left is None else set()
        return StoreContent(GRAPH, _arrays(GRAPH, sizes, absent), graph.attributes, [])
    if kind == DOCUMENTS.name:
        documents = ParquetDocuments.open(place)
        sizes = {"document": documents.n_documents, "topic": documents.n_topics}
        return StoreContent(DOCUMENTS, _arrays(DOCUMENTS, sizes, {"documents/length"}), documents.attributes, [])
    corpus = ParquetCorpus.open(place)
    sizes = {
        "document": corpus.n_documents,
        "entry": corpus.n_entries,
        "term": corpus.n_terms,
        "partition": corpus.n_partitions,
    }
    return StoreContent(CORPUS, _arrays(CORPUS, sizes, set()), corpus.attributes, corpus.vocabulary)


def _arrays(schema: FileSchema, sizes: dict[str, int], absent: set[str]) -> list[dict[str, Any]]:
    return [
        {
            "path": spec.path,
            "dims": spec.dims,
            "shape": tuple(sizes[base] + longer for base, longer in map(base_axis, spec.dims)),
            "dtype": "text" if spec.kind == "S" else _TYPES.get(spec.path, "int64"),
            "about": spec.about,
            "unit": spec.unit,
        }
        for spec in schema.arrays
        if spec.path not in absent
    ]
