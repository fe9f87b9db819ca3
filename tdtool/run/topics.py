"""`tdtool topics`: from a source to a file of topics."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool import log
from tdtool.config import IngestConfig, SparkConfig, TopicsConfig, as_json
from tdtool.data.corpus import CorpusFacts
from tdtool.data.ledger import Ledger
from tdtool.data.provenance import record_provenance
from tdtool.engine import Engine
from tdtool.errors import InputError, UsageError
from tdtool.kernels.device_gpu import Gpu
from tdtool.models.coherence import top_words
from tdtool.models.inference import documents_step
from tdtool.models.topic_model import TopicModel
from tdtool.moments.pairs import vocabulary_step
from tdtool.run.choose import Candidate, candidate_sizes, choose_n_topics
from tdtool.run.document_exports import export_documents
from tdtool.run.engines import open_engine
from tdtool.run.fit import TopicFit, TopicFitter, document_sets, gpu_of
from tdtool.run.outputs import check_outputs
from tdtool.store import hdf5, schema


@dataclasses.dataclass(frozen=True)
class TopicsResult:
    """What a run found and where it is. vocabulary : V words; selection : the table of `-k auto`, else None."""

    path: Path | str
    fit: TopicFit
    vocabulary: list[str]
    n_documents: int
    selection: list[dict[str, Any]] | None
    ledger: Ledger
    seconds: float

    @property
    def n_topics(self) -> int:
        """T."""
        return self.fit.model.n_topics

    @property
    def scores(self) -> dict[str, float]:
        """Scores of the whole model."""
        return self.fit.scores

    @property
    def sizes(self) -> NDArray[np.float64]:
        """(T,) share of the corpus's words."""
        return self.fit.sizes

    @property
    def coherence(self) -> NDArray[np.float64]:
        """(T,) NPMI of each topic."""
        return self.fit.topic_scores["npmi"]

    @property
    def warnings(self) -> list[str]:
        """What to know before trusting the topics."""
        return self.fit.warnings()

    def top_words(self, n: int) -> list[list[tuple[str, float]]]:
        """The n most probable (word, probability) of each topic."""
        word_topic = self.fit.model.word_topic
        words = top_words(word_topic, n)
        return [[(self.vocabulary[w], float(word_topic[w, t])) for w in row] for t, row in enumerate(words)]

    def as_dict(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        topics = zip(self.sizes, self.fit.model.alpha, self.coherence, self.top_words(10), strict=True)
        return {
            "path": str(self.path),
            "n_topics": self.n_topics,
            "n_documents": self.n_documents,
            "n_terms": len(self.vocabulary),
            "scores": self.scores,
            "topics": [
                {"topic": t, "size": float(size), "alpha": float(alpha), "npmi": float(npmi), "words": words}
                for t, (size, alpha, npmi, words) in enumerate(topics)
            ],
            "selection": self.selection,
            "warnings": self.warnings,
            "ledger": self.ledger.as_dict(),
            "seconds": {**self.fit.seconds, "total": self.seconds},
            "third_moment": self.fit.form,
            "sweeps": self.fit.sweeps,
            "passes": self.fit.passes,
        }


def fit_topics(
    source: str,
    output: Path,
    *,
    ingest: IngestConfig,
    topics: TopicsConfig,
    workers: int | None = None,
    memory: int | None = None,
    spark: SparkConfig | None = None,
    force: bool = False,
    exports: tuple[str, ...] = (),
    gpu: Gpu | None = None,
) -> TopicsResult:
    """Find the topics of `source` and write them to `output` (and to `exports`, format by suffix).

    spark : the cluster that does the work, None for threads of this process; the result is the same to the bit.
    gpu : what does the work of this process, None for threads; the result is the same but for rounding.
    """
    started = time.perf_counter()
    check_outputs([source], output, exports, force=force)
    with open_engine(source, ingest, workers=workers, memory=memory, spark=spark, gpu=gpu) as engine:
        corpus = engine.corpus
        _check_size(corpus, topics, source)
        fitter = TopicFitter(engine, topics)
        fit, table = _choose(fitter, corpus, topics, source)
        engine.drop("whitened", "triple_scale", "expected")
        _write(output, engine, fit, table, ingest, topics, source, force)
        _export(output, engine, fit.model, topics, exports, spark=spark, force=force)
        return TopicsResult(
            path=output,
            fit=fit,
            vocabulary=corpus.vocabulary,
            n_documents=corpus.n_documents,
            selection=[dataclasses.asdict(row) for row in table] or None,
            ledger=corpus.ledger,
            seconds=time.perf_counter() - started,
        )


def _export(
    output: Path,
    engine: Engine,
    model: TopicModel,
    config: TopicsConfig,
    exports: tuple[str, ...],
    *,
    spark: SparkConfig | None,
    force: bool,
) -> None:
    held_out = document_sets(engine.corpus.n_documents, config).held_out
    alpha = model.alpha.astype(np.float32)
    export_documents(engine, output, exports, model.word_topic, alpha, held_out=held_out, spark=spark, force=force)


def _check_size(corpus: CorpusFacts, config: TopicsConfig, source: str) -> None:
    wanted = 1 if config.n_topics is None else config.n_topics
    if wanted < 1:
        raise UsageError(f"-k is {wanted}; a topic model needs at least 1")
    most = min(corpus.n_documents, corpus.n_terms)
    if wanted > most:
        have = f"{corpus.n_documents:,} documents and {corpus.n_terms:,} words"
        what = f"{wanted} topics were asked for; {have} allow {most}"
        raise InputError(what, path=source, hint="ask for fewer topics (-k), or give more documents")


def _choose(
    fitter: TopicFitter, corpus: CorpusFacts, config: TopicsConfig, source: str
) -> tuple[TopicFit, list[Candidate]]:
    """Fit the number of topics asked for, or the best of the grid."""
    if config.n_topics is None:
        sizes = candidate_sizes(corpus.n_documents)
        most = need_some(fitter.prepare(max(sizes)), source)
        sizes = [size for size in sizes if size <= most] or [most]
        fit, table = choose_n_topics(fitter, sizes)
        log.note(f"-k auto chose {fit.model.n_topics} topics")
        return fit, table
    most = need_some(fitter.prepare(config.n_topics), source)
    if most < config.n_topics:
        while (fewer := fitter.prepare(most)) < most:  # a smaller range is found more exactly
            most = fewer
        what = f"{config.n_topics} topics were asked for; the words' co-occurrences tell only {most} apart"
        raise InputError(what, path=source, hint=f"ask for at most {most} (-k {most}), or give more documents")
    return fitter.fit(config.n_topics), []


def need_some(n_topics: int, source: str) -> int:
    """As many topics as moments can tell apart. InputError when there are none."""
    if n_topics == 0:
        what = "no document has the 3 words in the vocabulary that a third moment needs"
        raise InputError(what, path=source, hint="keep more words (--min-df 1 --max-df 1.0), or give longer documents")
    return n_topics


def _write(
    output: Path,
    engine: Engine,
    fit: TopicFit,
    table: list[Candidate],
    ingest: IngestConfig,
    topics: TopicsConfig,
    source: str,
    force: bool,
) -> None:
    corpus = engine.corpus
    with hdf5.create(output, schema.TOPICS, force=force) as writer:
        write_model(writer, fit)
        write_vocabulary(writer, engine)
        _write_documents(writer, engine, fit, topics)
        for name in ("n_topics", "perplexity", "npmi", "diversity") if table else ():
            column = [getattr(row, name) for row in table]
            if None not in column:
                writer.put(f"selection/{name}", np.array(column))
        if fit.history:
            writer.put("history/perplexity", np.array(fit.history))
        writer.attribute("scores", fit.scores)
        writer.attribute("tokens", corpus.attributes.get("config", as_json(ingest)).get("tokens", {}))
        config = {"ingest": as_json(ingest), "topics": as_json(topics)}
        read = corpus.attributes.get("source", {"path": source})
        record_provenance(
            writer,
            config=config,
            seed=topics.seed,
            ledger=corpus.ledger,
            source=read,
            seconds=fit.seconds,
            gpu=gpu_of(engine),
        )


def write_model(writer: hdf5.Writer, fit: TopicFit) -> None:
    """The topics, with what is known of each."""
    writer.put("topics/topic_word", fit.model.topic_word)
    writer.put("topics/alpha", fit.model.alpha)
    writer.put("topics/weight", fit.model.weights)
    writer.put("topics/size", fit.sizes)
    for name, values in fit.topic_scores.items():
        writer.put(f"topics/{name}", values)


def write_vocabulary(writer: hdf5.Writer, engine: Engine) -> None:
    """The words, with what they count in this corpus."""
    writer.put("vocabulary/term", engine.corpus.vocabulary)
    frequency, count = engine.map_reduce(vocabulary_step, engine.corpus.n_terms, about="vocabulary")
    writer.put("vocabulary/document_frequency", frequency)
    writer.put("vocabulary/count", count)


def write_ids(writer: hdf5.Writer, corpus: CorpusFacts) -> None:
    """The documents' names, without holding all of them."""
    names = writer.stream("documents/id", (corpus.n_documents,), str)
    for start, block in corpus.id_blocks():
        names.write(start, block)


def _write_documents(writer: hdf5.Writer, engine: Engine, fit: TopicFit, config: TopicsConfig) -> None:
    """Every document's topics, those held out too, a partition at a time."""
    corpus, model = engine.corpus, fit.model
    held_out = np.zeros(corpus.n_documents, np.uint8)
    held_out[document_sets(corpus.n_documents, config).held_out] = 1
    write_ids(writer, corpus)
    writer.put("documents/held_out", held_out)
    shares = writer.stream("documents/topic", (corpus.n_documents, model.n_topics), np.float32)
    lengths = writer.stream("documents/length", (corpus.n_documents,), np.int64)
    alpha = model.alpha.astype(np.float32)
    for index, (topics, length) in engine.map(documents_step, model.word_topic, alpha, about="documents"):
        start = int(corpus.starts[index])
        shares.write(start, topics)
        lengths.write(start, length)
