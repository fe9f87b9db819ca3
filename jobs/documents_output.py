"""The topics of all documents, written by the executors as a directory of Parquet files; the driver never sees them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tdtool.data.corpus import CorpusFacts, Rows
from tdtool.data.documents_parquet import write_documents_manifest, write_documents_part
from tdtool.data.parquet_manifest import new_store
from tdtool.jobs.corpus import SparkCorpus
from tdtool.jobs.progress import carried, run_job
from tdtool.models.inference import document_topic

if TYPE_CHECKING:
    from pyspark import Broadcast

    from tdtool.data.parquet_parts import PartFacts


def write_documents(
    corpus: CorpusFacts,
    output: Path,
    word_topic: NDArray[np.float32],
    alpha: NDArray[np.float32],
    attributes: dict[str, Any],
    *,
    held_out: NDArray[np.int64] | None = None,
    force: bool = False,
) -> None:
    """Infer and write every document's topics; parts are named after their content, so a task may run twice.

    word_topic : (V, T), alpha : (T,) of the model; attributes : how it came about, as JSON values; held_out : indices
    of the documents that the fit did not see, ascending, None where nobody asks.
    """
    if not isinstance(corpus, SparkCorpus):
        raise TypeError(f"executors do not have the documents of a {type(corpus).__name__}")
    sent = corpus.context.broadcast((word_topic, alpha, held_out))
    try:
        with new_store(str(output), force=force) as place:
            write = carried(functools.partial(_written, place, sent))
            parts = run_job(corpus.context, "documents", corpus.named().map(write).collect)
            write_documents_manifest(place, parts, alpha.size, attributes, held_out=held_out is not None)
    finally:
        sent.destroy()


def _written(place: str, sent: Broadcast[Any], partition: tuple[int, Rows, list[str]]) -> PartFacts:
    index, rows, ids = partition
    word_topic, alpha, held_out = sent.value
    kept_out = None
    if held_out is not None:
        kept_out = np.isin(np.arange(rows.start, rows.start + rows.n_documents), held_out)
    return write_documents_part(place, index, ids, document_topic(rows, word_topic, alpha), kept_out)
