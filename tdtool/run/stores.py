"""Stores of corpora and graphs: one HDF5 file, or a directory of Parquet files. Which of them a name is, what may be
written where, and from one to the other."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdtool import log
from tdtool.data.corpus import Corpus
from tdtool.data.graph import Graph
from tdtool.data.graph_store import open_graph
from tdtool.data.parquet_folder import check_place, manifest_kind
from tdtool.data.parquet_manifest import new_store
from tdtool.data.readers import places
from tdtool.errors import InputError, UsageError
from tdtool.run.corpora import is_parquet, is_store
from tdtool.run.outputs import check_outputs
from tdtool.store import hdf5

if TYPE_CHECKING:
    from tdtool.data.corpus_parquet import ParquetCorpus
    from tdtool.data.graph_parquet_store import ParquetGraph

_SUFFIX = ".parquet"
_KINDS = {"tdtool.corpus": "corpus", "tdtool.graph": "graph", "tdtool.images": "images"}


def store_kind(source: str) -> str | None:
    """What was ingested into `source` before: "corpus", "graph", "images", None where it is no such store."""
    if is_parquet(source):
        return _KINDS.get(manifest_kind(source) or "")
    if not is_store(source):
        return None
    try:
        with hdf5.open(Path(source)) as reader:
            return _KINDS.get(reader.schema.name)
    except InputError:
        return None  # whoever reads it says what is wrong with it


def is_parquet_name(output: str | Path) -> bool:
    """Whether a store of this name is a directory of Parquet files."""
    return str(output).rstrip("/").lower().endswith(_SUFFIX)


def check_store(source: str, output: str | Path, *, force: bool) -> None:
    """UsageError, before any work is done, unless a store can be made of `source` at `output`."""
    place = str(output)
    if not is_parquet_name(place):
        if places.local_path(place) is None:
            hint = "name a store of Parquet files, such as s3://BUCKET/NAME.corpus.parquet"
            raise UsageError("an HDF5 file is written on this machine only", path=place, hint=hint)
        check_outputs([source], Path(places.local_path(place) or place), (), force=force)
        return
    if source != "-" and places.absolute(source).rstrip("/") == places.absolute(place).rstrip("/"):
        raise UsageError("the result would take the place of what is read", path=place, hint="choose another name")
    check_place(place, force)


def corpus_to_parquet(path: Path, place: str, *, force: bool = False, check: bool = True) -> ParquetCorpus:
    """Write the corpus of an HDF5 file as a store of Parquet files. check : the file may come from anybody."""
    from tdtool.data.corpus_parquet import ParquetCorpus, Terms, write_corpus_parquet

    corpus = Corpus.open(path, check=check)
    with hdf5.open(path) as reader:
        terms, frequency = reader.get("vocabulary/term"), reader.get("vocabulary/document_frequency")
        words = Terms(terms, frequency, reader.get("vocabulary/count"))
    with new_store(place, force=force), log.task("writing"):
        write_corpus_parquet(corpus, place, words, corpus.attributes)
    return ParquetCorpus.open(place)


def graph_to_parquet(graph: Graph, place: str, attributes: dict[str, Any], *, force: bool = False) -> ParquetGraph:
    """Write a graph as a store of Parquet files. attributes : more to say of it."""
    from tdtool.data.graph_parquet_store import ParquetGraph, write_graph_parquet

    with new_store(place, force=force), log.task("writing"):
        write_graph_parquet(graph, place, attributes)
    return ParquetGraph.open(place)


def copy_corpus(source: str, output: str | Path, *, force: bool = False) -> Corpus | ParquetCorpus:
    """Write a store of a corpus once more, as an HDF5 file or as Parquet files, as the name says."""
    from tdtool.data.corpus_parquet import ParquetCorpus

    if not is_parquet(source):
        if is_parquet_name(output):
            return corpus_to_parquet(Path(source), str(output), force=force)
        raise UsageError("the source is a corpus file already", path=source, hint="copy it: cp; or name a .parquet")
    stored = ParquetCorpus.open(source)
    if is_parquet_name(output):
        raise UsageError("the source is a store of Parquet files already", path=source, hint="copy it, or name a .h5")
    return stored.to_hdf5(Path(output), force=force)


def copy_graph(source: str, output: str | Path, *, force: bool = False) -> Graph:
    """Write a store of a graph once more, as an HDF5 file or as Parquet files, as the name says."""
    from tdtool.data.graph_parquet_store import ParquetGraph

    if not is_parquet(source):
        if not is_parquet_name(output):
            raise UsageError("the source is a graph file already", path=source, hint="copy it: cp; or name a .parquet")
        graph = open_graph(source)
        with hdf5.open(Path(source)) as reader:
            attributes = reader.attributes
        graph_to_parquet(graph, str(output), attributes, force=force)
        return graph
    if is_parquet_name(output):
        raise UsageError("the source is a store of Parquet files already", path=source, hint="copy it, or name a .h5")
    return ParquetGraph.open(source).to_hdf5(Path(output), force=force)


def read_stored_graph(place: str) -> Graph:
    """The graph of a store of Parquet files, in a scratch file that is mapped into memory and goes with the graph."""
    from tdtool.data.graph_parquet_store import ParquetGraph

    with tempfile.TemporaryDirectory(prefix="tdtool-") as scratch:
        graph = ParquetGraph.open(place).to_hdf5(Path(scratch) / "graph.h5")
    return dataclasses.replace(graph, path=None)
