"""A corpus on executors becomes a store: Parquet parts that they write themselves, or one HDF5 file on the driver."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdtool.data.corpus import Rows
from tdtool.data.corpus_parquet import write_manifest, write_part
from tdtool.data.corpus_writer import partition_digest
from tdtool.data.parquet_manifest import new_store
from tdtool.jobs.corpus import in_waves
from tdtool.jobs.progress import carried, run_job
from tdtool.kernels.count_cpu import add_frequencies
from tdtool.store import hdf5
from tdtool.store.schema import CORPUS

if TYPE_CHECKING:
    from pyspark import SparkContext

    from tdtool.data.parquet_parts import PartFacts
    from tdtool.jobs.corpus import SparkCorpus

_PARQUET = ".parquet"


def write_corpus(
    context: SparkContext, corpus: SparkCorpus, output: str, attributes: dict[str, Any], *, force: bool = False
) -> int:
    """Write a corpus whose counts are whole numbers: a directory of Parquet files where `output`, a path or URI, ends
    with .parquet, else an HDF5 file. The content is that of the same corpus written on one machine. Returns how many
    words all documents have together.

    attributes : argv, config, source ..., as JSON values; the ledger is that of the corpus.
    """
    about = {**attributes, "ledger": corpus.ledger.as_dict()}
    frequency, count = word_totals(context, corpus)
    if not output.rstrip("/").lower().endswith(_PARQUET):
        _write_file(context, corpus, Path(output), (frequency, count), about, force=force)
        return int(count.sum())
    with new_store(output, force=force) as place:
        # Parts are named after what they hold: a task that runs twice writes the same file.
        write = carried(functools.partial(_written, place))
        parts: list[PartFacts] = run_job(context, "writing", corpus.named().map(write).collect)
        write_manifest(output, parts, corpus.vocabulary, frequency, count, about)
    return int(count.sum())


def word_totals(context: SparkContext, corpus: SparkCorpus) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Documents with each word, and its uses: (V,) int64 each."""
    add = carried(functools.partial(_totals, corpus.n_terms))
    # Partial sums of 16 bytes a word, two rounds of them on the executors; whole numbers add up the same in any order.
    frequency, count = run_job(context, "words", lambda: corpus.rows.mapPartitions(add).treeReduce(np.add))
    return frequency, count


def _totals(n_terms: int, elements: Iterable[tuple[int, Rows]]) -> Iterator[NDArray[np.int64]]:
    totals = np.zeros((2, n_terms), np.int64)
    for _, rows in elements:
        add_frequencies(rows.indices, rows.counts, totals[0], totals[1])
    yield totals


def _written(place: str, partition: tuple[int, Rows, list[str]]) -> PartFacts:
    return write_part(place, *partition)


def _write_file(
    context: SparkContext,
    corpus: SparkCorpus,
    output: Path,
    totals: tuple[NDArray[np.int64], NDArray[np.int64]],
    attributes: dict[str, Any],
    *,
    force: bool,
) -> None:
    """One HDF5 file, in memory of the document lengths and of one task's partitions."""
    sizes: list[NDArray[np.int32]] = run_job(context, "document lengths", corpus.rows.map(carried(_sizes)).collect)
    indptr = np.concatenate([[0], *sizes]).astype(np.int64)
    np.cumsum(indptr, out=indptr)
    with hdf5.create(output, CORPUS, force=force) as writer:
        writer.put("counts/indptr", indptr)
        writer.put("partitions/start", corpus.starts)
        writer.put("partitions/digest", _copy_counts(corpus, writer))
        writer.put("vocabulary/term", corpus.vocabulary)
        writer.put("vocabulary/document_frequency", totals[0])
        writer.put("vocabulary/count", totals[1])
        names = writer.stream("documents/id", (corpus.n_documents,), str)
        for index, ids in in_waves(corpus.ids, "writing names", 1):
            names.write(int(corpus.starts[index]), ids)
        for name, value in attributes.items():
            writer.attribute(name, value)


def _sizes(element: tuple[int, Rows]) -> NDArray[np.int32]:
    return np.diff(element[1].indptr).astype(np.int32)


def _copy_counts(corpus: SparkCorpus, writer: hdf5.Writer) -> list[str]:
    """Stream the entries through the driver; returns the digest of each partition."""
    indices = writer.stream("counts/indices", (corpus.n_entries,), np.int32)
    counts = writer.stream("counts/data", (corpus.n_entries,), np.int32)
    digests, position = [], 0
    for _, rows in in_waves(corpus.rows, "writing", 1):
        indices.write(position, rows.indices)
        counts.write(position, rows.counts)
        digests.append(partition_digest(rows.indptr, rows.indices, rows.counts))
        position += rows.indices.size
    return digests
