"""`tdtool infer`: the topics of new documents."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from tdtool.config import IngestConfig, SourceConfig, SparkConfig, as_json
from tdtool.data.ledger import Ledger
from tdtool.data.provenance import record_provenance
from tdtool.engine import Engine
from tdtool.kernels.device_gpu import Gpu
from tdtool.models.inference import documents_step
from tdtool.run.document_exports import export_documents
from tdtool.run.engines import open_engine
from tdtool.run.fit import gpu_of
from tdtool.run.models import StoredModel, read_model
from tdtool.run.outputs import check_outputs
from tdtool.run.topics import write_ids
from tdtool.store import hdf5, schema


@dataclasses.dataclass(frozen=True)
class InferenceResult:
    """How many documents got their topics, and where they are."""

    path: Path | str
    n_documents: int
    n_topics: int
    words: int
    ledger: Ledger
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


def infer_documents(
    model: Path,
    corpus: str,
    output: Path,
    *,
    source: SourceConfig,
    workers: int | None = None,
    memory: int | None = None,
    spark: SparkConfig | None = None,
    force: bool = False,
    exports: tuple[str, ...] = (),
    gpu: Gpu | None = None,
) -> InferenceResult:
    """Find the topics of every document of `corpus` with a stored model; a document's answer depends on it alone.

    spark : the cluster that does the work, None for threads of this process; gpu : what does the work of this process.
    """
    started = time.perf_counter()
    check_outputs([model, corpus], output, exports, force=force)
    stored = read_model(model)
    config = IngestConfig(source=source, tokens=stored.tokens)
    with open_engine(
        corpus, config, workers=workers, memory=memory, spark=spark, vocabulary=stored.vocabulary, gpu=gpu
    ) as engine:
        documents = engine.corpus
        words = _write(output, engine, stored, corpus, config, force)
        export_documents(engine, output, exports, stored.word_topic, stored.alpha, spark=spark, force=force)
        seconds = time.perf_counter() - started
        return InferenceResult(output, documents.n_documents, stored.alpha.size, words, documents.ledger, seconds)


def _write(output: Path, engine: Engine, model: StoredModel, source: str, config: IngestConfig, force: bool) -> int:
    """Stream the documents' topics into a file; returns how many known words they have."""
    corpus, words = engine.corpus, 0
    with hdf5.create(output, schema.DOCUMENTS, force=force) as writer:
        write_ids(writer, corpus)
        shares = writer.stream("documents/topic", (corpus.n_documents, model.alpha.size), np.float32)
        lengths = writer.stream("documents/length", (corpus.n_documents,), np.int64)
        arguments = (model.word_topic, model.alpha)
        for index, (topics, length) in engine.map(documents_step, *arguments, about="documents"):
            shares.write(int(corpus.starts[index]), topics)
            lengths.write(int(corpus.starts[index]), length)
            words += int(length.sum())
        writer.attribute("model", {"path": str(model.path), "content_digest": model.digest})
        read = corpus.attributes.get("source", {"path": source})
        record_provenance(
            writer,
            config=as_json(config),
            seed=0,
            ledger=corpus.ledger,
            source=read,
            seconds={},
            gpu=gpu_of(engine),
        )
    return words
