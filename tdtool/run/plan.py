"""`tdtool topics --dry-run`: what a run would take. The source is read; nothing is fitted and nothing is written."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import numpy as np

from tdtool.config import IngestConfig, TopicsConfig
from tdtool.moments.sketched_triples import sketch_size
from tdtool.run.choose import candidate_sizes
from tdtool.run.corpora import corpus_of, is_store
from tdtool.run.machine import available_cores, default_memory

# Seconds of one core, measured in November 2026 on a 2.6 GHz core with AVX-512 and rounded up.
_ENTRY_SECONDS, _ENTRY_TOPIC_SECONDS = 8e-8, 6e-10  # an entry, and a topic of an entry, in a pass of the polish
_MOMENT_SECONDS = 4e-9  # an entry, a direction of the range finder
_SWEEP_SECONDS = 8e-11  # a document or word, a pair of topics, a sweep
_START_SECONDS, _SWEEPS, _AUTO_PASSES, _DOCUMENT_PASSES, _OVERSAMPLING = 2.0, 15, 15, 2, 20
_BASE_BYTES = 250 << 20
_STATE_BYTES, _DOCUMENT_BYTES, _TERM_BYTES = 8, 200, 60
_TRANSFORM_SECONDS, _SKETCH_COPIES = 2.5e-10, 6  # one of the L log2 L places of a transform; sketches held at once


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes that are exact, and costs that are estimates. topics : the numbers that would be tried."""

    documents: int
    vocabulary: int
    tokens: int
    topics: list[int]
    memory_bytes: int
    scratch_bytes: int
    seconds: float
    ledger: str

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return dataclasses.asdict(self)


def plan_topics(
    source: str,
    *,
    ingest: IngestConfig,
    topics: TopicsConfig,
    workers: int | None = None,
    memory: int | None = None,
) -> Plan:
    """Read `source` and say what `fit_topics` with the same arguments would take."""
    started = time.perf_counter()
    workers = workers or available_cores()
    with corpus_of(source, ingest, workers=workers) as corpus:
        sizes = [topics.n_topics] if topics.n_topics else candidate_sizes(corpus.n_documents)
        read = time.perf_counter() - started
        passes = _AUTO_PASSES if topics.polish == "auto" else topics.polish
        fit = _fit_seconds(corpus.n_documents, corpus.n_terms, corpus.n_entries, sizes, passes, workers)
        state = corpus.n_documents * max(sizes) * _STATE_BYTES
        held = _held_bytes(corpus.n_documents, corpus.n_terms, max(sizes))
        if topics.m3 == "sketch":
            state //= 2  # the whitened documents are not kept
            sketches = [sketch_size(size, topics.hash_length, topics.sketches) for size in sizes]
            held += _SKETCH_COPIES * 8 * max(length * repeats for length, repeats in sketches) * workers
            fit += _sketch_seconds(corpus.n_documents + 2 * corpus.n_terms, sketches) / workers
        kept = min(state, memory or default_memory())
        ingested = 0 if is_store(source) else corpus.n_entries * 8 + corpus.n_documents * _DOCUMENT_BYTES
        return Plan(
            documents=corpus.n_documents,
            vocabulary=corpus.n_terms,
            tokens=int(np.sum(corpus.counts, dtype=np.int64)),
            topics=sizes,
            memory_bytes=held + kept,
            scratch_bytes=ingested + state - kept,
            seconds=read + fit,
            ledger=str(corpus.ledger),
        )


def _fit_seconds(n_documents: int, n_terms: int, n_entries: int, sizes: list[int], passes: int, workers: int) -> float:
    moments = _MOMENT_SECONDS * n_entries * (max(sizes) + _OVERSAMPLING)
    pass_seconds = sum(_ENTRY_SECONDS + _ENTRY_TOPIC_SECONDS * size for size in sizes)
    polish = n_entries * (passes + _DOCUMENT_PASSES) * pass_seconds
    sweeps = _SWEEP_SECONDS * (n_documents + n_terms) * _SWEEPS * sum(k * k for k in sizes)
    return _START_SECONDS + (moments + polish + sweeps) / workers


def _sketch_seconds(n_vectors: int, sketches: list[tuple[int, int]]) -> float:
    places = sum(length * max(math.log2(length), 1) * repeats for length, repeats in sketches)
    return _TRANSFORM_SECONDS * n_vectors * places


def _held_bytes(n_documents: int, n_terms: int, n_topics: int) -> int:
    directions = n_topics + _OVERSAMPLING
    words = n_terms * (16 * directions + 24 * n_topics + _TERM_BYTES)
    return _BASE_BYTES + words + n_documents * _DOCUMENT_BYTES
