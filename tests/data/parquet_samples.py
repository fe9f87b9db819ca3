"""Small corpora and graphs as stores of Parquet files, and ways to damage one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from tdtool.data.corpus import Corpus
from tdtool.data.corpus_parquet import ParquetCorpus, Terms, write_corpus_parquet
from tdtool.data.graph import Graph
from tdtool.data.graph_parquet_store import ParquetGraph, write_graph_parquet
from tdtool.data.ledger import Ledger
from tdtool.data.parquet_manifest import new_store

#: 7 documents over 5 words in 3 partitions; the fourth document is empty.
COUNTS = [[2, 0, 1, 0, 0], [0, 3, 0, 0, 1], [1, 1, 1, 1, 1], [0] * 5, [0, 0, 0, 4, 0], [9, 0, 0, 0, 2], [0, 1, 0, 0, 0]]
STARTS = [0, 2, 3, 7]
IDS = ["a", "", "ü/ß.txt", "=1+1", "a", "x\ty", "last"]
TERMS = ["der", "die", "das", "und", "é"]
ATTRIBUTES = {"config": {"seed": 3}, "source": {"path": "x", "description": "by hand"}, "argv": ["tdtool", "ingest"]}


def small_corpus() -> Corpus:
    """The corpus of this file, in memory."""
    import dataclasses

    corpus = Corpus.from_csr(sp.csr_array(np.array(COUNTS)), TERMS, IDS)
    return dataclasses.replace(corpus, starts=np.array(STARTS))


def words_of(corpus: Corpus) -> Terms:
    """The words with their numbers."""
    matrix = corpus.matrix().toarray()
    return Terms(corpus.vocabulary, (matrix > 0).sum(axis=0), matrix.sum(axis=0).astype(np.int64))


def write_corpus(place: Path | str, **attributes: Any) -> ParquetCorpus:
    """The corpus of this file as a store."""
    corpus = small_corpus()
    with new_store(str(place), force=True):
        about = {**ATTRIBUTES, "ledger": Ledger(7, 7).as_dict(), **attributes}
        write_corpus_parquet(corpus, str(place), words_of(corpus), about)
    return ParquetCorpus.open(place)


def small_graph(*, weighted: bool = True, n_left: int | None = None) -> Graph:
    """7 nodes by name, of which two have no edges; bipartite with `n_left`."""
    pairs = [[0, 1], [5, 1], [2, 3], [3, 0], [1, 3]] if n_left is None else [[0, 4], [1, 3], [2, 6], [0, 6]]
    weights = np.array([1.5, 0.25, 3, 2, 7])[: len(pairs)] if weighted else None
    names = ["01", "1", "Ünal", "=1+1", "a b", "b\tc", "二"]
    return Graph.from_edges(np.array(pairs), weights=weights, n_nodes=7, ids=names, n_left=n_left, description="hand")


def write_graph(place: Path | str, graph: Graph) -> ParquetGraph:
    """A graph as a store."""
    with new_store(str(place), force=True):
        write_graph_parquet(graph, str(place), {"seed": 3})
    return ParquetGraph.open(place)


def change_manifest(place: Path, name: str = "corpus.json", **values: Any) -> None:
    """Other values for some keys of a manifest."""
    file = place / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
