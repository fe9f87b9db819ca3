"""The engine that a run uses: threads of this process, or the executors of a Spark cluster."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tdtool.config import IngestConfig, SparkConfig
from tdtool.data.corpus import Corpus
from tdtool.engine import Engine, LocalEngine
from tdtool.engine_gpu import GpuEngine
from tdtool.errors import MissingExtraError
from tdtool.kernels.device_gpu import Gpu
from tdtool.run.corpora import corpus_of, is_parquet, is_store, source_bytes
from tdtool.run.gpu_steps import GPU_STEPS
from tdtool.run.machine import available_cores, default_memory


@contextlib.contextmanager
def open_engine(
    source: str,
    ingest: IngestConfig,
    *,
    workers: int | None = None,
    memory: int | None = None,
    spark: SparkConfig | None = None,
    vocabulary: list[str] | None = None,
    gpu: Gpu | None = None,
) -> Iterator[Engine]:
    """An engine over the documents of `source`: a store, or anything that can be ingested, which is done first.

    workers : threads, None for the cores this process may use; memory : bytes of documents' state before it goes to
    disk; spark : the cluster, None for this process; vocabulary : the only words to know (those of a model); gpu : what
    does the steps that it can, None for threads alone; a cluster takes none.
    """
    workers = workers or available_cores()
    if spark is None:
        with (
            corpus_of(source, ingest, workers=workers, vocabulary=vocabulary) as corpus,
            local_engine(corpus, workers=workers, memory=memory, gpu=gpu) as engine,
        ):
            yield engine
        return
    check_spark()
    from tdtool.jobs.engine import SparkEngine
    from tdtool.jobs.session import spark_context

    with (
        spark_context(spark, data_bytes=source_bytes(source)) as context,
        spark_corpus(context, source, ingest, vocabulary=vocabulary) as found,
        SparkEngine(found, workers=workers) as on_spark,
    ):
        yield on_spark


def local_engine(
    corpus: Corpus, *, workers: int, memory: int | None = None, gpu: Gpu | None = None
) -> LocalEngine | GpuEngine:
    """Threads of this process over documents at hand, and a GPU for the steps that it can do. See `open_engine`."""
    local = LocalEngine(corpus, workers=workers, memory=memory or default_memory())
    return local if gpu is None else GpuEngine(local, gpu, GPU_STEPS)


def check_spark() -> None:
    """MissingExtraError where pyspark is not installed."""
    if importlib.util.find_spec("pyspark") is None:
        raise MissingExtraError("pyspark", "spark")


@contextlib.contextmanager
def spark_corpus(
    context: Any, source: str, ingest: IngestConfig, *, vocabulary: list[str] | None = None
) -> Iterator[Any]:
    """The corpus behind a source, a jobs.corpus.SparkCorpus: read from a store, or ingested and held by executors."""
    from tdtool.jobs.corpus import SparkCorpus
    from tdtool.jobs.ingest import ingest_text

    if is_parquet(source):
        corpus = SparkCorpus.from_parquet(context, source)
    elif is_store(source):
        corpus = SparkCorpus.from_hdf5(context, Path(source))
    else:
        with ingest_text(context, source, ingest, fixed_vocabulary=vocabulary) as ingested:
            yield ingested
        return
    yield corpus if vocabulary is None else corpus.seen_through(vocabulary)
