"""Exports of a result: by this process, and the topics of documents by the executors where there are some."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdtool.config import SparkConfig
from tdtool.engine import Engine
from tdtool.store import hdf5
from tdtool.store.exports import export_all

#: On Spark it becomes a directory of such files, one for each partition.
_BY_EXECUTORS = ".documents.parquet"


def export_documents(
    engine: Engine,
    result: Path,
    exports: Sequence[str],
    word_topic: NDArray[np.float32],
    alpha: NDArray[np.float32],
    *,
    held_out: NDArray[np.int64] | None = None,
    spark: SparkConfig | None,
    force: bool,
) -> None:
    """Write `exports` of a result file. word_topic (V, T), alpha (T,) : of the model that the documents are seen by."""
    many = [name for name in exports if spark is not None and name.lower().endswith(_BY_EXECUTORS)]
    export_all(result, [name for name in exports if name not in many], force=force)
    if not many:
        return
    from tdtool.jobs.documents_output import write_documents

    with hdf5.open(result) as reader:
        attributes = dict(reader.attributes)
    for name in many:
        write_documents(engine.corpus, Path(name), word_topic, alpha, attributes, held_out=held_out, force=force)
