"""Documents read by the executors of a cluster into a store."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tdtool.config import IngestConfig, SparkConfig
from tdtool.data.corpus import Corpus
from tdtool.data.ledger import Ledger
from tdtool.data.parquet_folder import check_place
from tdtool.run.corpora import source_bytes
from tdtool.run.engines import check_spark
from tdtool.run.stores import is_parquet_name
from tdtool.store.hdf5 import check_output

if TYPE_CHECKING:
    from tdtool.data.corpus_parquet import ParquetCorpus


@dataclasses.dataclass(frozen=True)
class StoredCorpus:
    """What is to be said of a corpus that was stored. description : the format that was found, in words."""

    description: str
    n_documents: int
    n_terms: int
    n_tokens: int
    ledger: Ledger

    @classmethod
    def of(cls, corpus: Corpus | ParquetCorpus) -> StoredCorpus:
        """From the store, opened."""
        counts = corpus.counts if isinstance(corpus, Corpus) else corpus.words.count
        return cls(
            str(corpus.attributes.get("source", {}).get("description", "")),
            corpus.n_documents,
            corpus.n_terms,
            int(np.sum(counts, dtype=np.int64)),
            corpus.ledger,
        )


def store_by_executors(
    source: str, output: str, config: IngestConfig, spark: SparkConfig, *, force: bool = False
) -> StoredCorpus:
    """Read documents on a cluster into a store, the same that is written without one."""
    check_spark()
    from tdtool.jobs.corpus_output import write_corpus
    from tdtool.jobs.ingest import ingest_text
    from tdtool.jobs.session import spark_context

    if is_parquet_name(output):
        check_place(output, force)
    else:
        check_output(Path(output), force)
    with (
        spark_context(spark, data_bytes=source_bytes(source)) as context,
        ingest_text(context, source, config) as corpus,
    ):
        n_tokens = write_corpus(context, corpus, output, corpus.attributes, force=force)
        description = str(corpus.attributes["source"]["description"])
        return StoredCorpus(description, corpus.n_documents, corpus.n_terms, n_tokens, corpus.ledger)
