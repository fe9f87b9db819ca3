"""`tdtool evaluate`: a stored model scored on other documents."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from tdtool.config import IngestConfig, SourceConfig, SparkConfig
from tdtool.data.ledger import Ledger
from tdtool.models.coherence import coherence, diversity
from tdtool.models.scores import completion_perplexity
from tdtool.run.engines import open_engine
from tdtool.run.models import read_model


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores of a model on a corpus: perplexity of half of each document's words, coherence of the topics there."""

    scores: dict[str, float]
    n_documents: int
    ledger: Ledger

    def as_dict(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return dataclasses.asdict(self)


def evaluate_topics(
    model: Path,
    corpus: str,
    *,
    source: SourceConfig,
    workers: int | None = None,
    memory: int | None = None,
    spark: SparkConfig | None = None,
    seed: int = 0,
) -> Evaluation:
    """Score the model on every document of `corpus`; words that the model does not know are left out and counted."""
    stored = read_model(model)
    config = IngestConfig(source=source, tokens=stored.tokens)
    with open_engine(
        corpus, config, workers=workers, memory=memory, spark=spark, vocabulary=stored.vocabulary
    ) as engine:
        documents = engine.corpus
        everyone = np.arange(documents.n_documents)
        perplexity, words = completion_perplexity(engine.map_reduce, stored.word_topic, stored.alpha, everyone, seed)
        found = coherence(engine.map_reduce, stored.word_topic, everyone[:0])
        scores = {"perplexity": perplexity, "words_scored": int(words), "held_out_documents": documents.n_documents}
        scores |= {name: float(values.mean()) for name, values in dataclasses.asdict(found).items()}
        scores["diversity"] = diversity(stored.word_topic)
        return Evaluation(scores, documents.n_documents, documents.ledger)
