"""`tdtool ingest --moments`: a corpus as its moments, from which topics are found without its documents."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from tdtool import log
from tdtool.config import IngestConfig, MomentsConfig, SparkConfig, TopicsConfig, as_json
from tdtool.data.ledger import Ledger
from tdtool.data.provenance import record_provenance
from tdtool.engine import Engine
from tdtool.errors import InputError, UsageError
from tdtool.kernels.symmetric_sketch import SymmetricSketch, symmetric_hashes
from tdtool.moments.packed_triples import whitened_tensor
from tdtool.moments.sketched_triples import sketch_size, third_moment_sketch
from tdtool.run.corpora import is_store
from tdtool.run.engines import open_engine
from tdtool.run.fit import Moments, collect_moments, stream
from tdtool.run.outputs import check_outputs
from tdtool.run.topics import need_some, write_vocabulary
from tdtool.store import hdf5, schema

#: Directions up to which the third moment is kept as a tensor unless the user says, and those that it ever is for.
LARGEST_TENSOR, MOST_DIRECTIONS = 256, 512


@dataclasses.dataclass(frozen=True)
class MomentsResult:
    """Moments that were collected. rank : topics that they can tell apart; form : "dense" | "sketch"."""

    path: Path
    description: str
    n_documents: int
    n_terms: int
    rank: int
    form: str
    ledger: Ledger
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


def moments_kind(source: str) -> str | None:
    """The schema of a file of moments, "tdtool.moments" or "tdtool.graph_moments"; None for any other source."""
    if not is_store(source):
        return None
    with hdf5.open(Path(source)) as reader:
        name = reader.schema.name
    return name if name in (schema.MOMENTS.name, schema.GRAPH_MOMENTS.name) else None


def ingest_moments(
    source: str,
    output: Path,
    *,
    ingest: IngestConfig,
    moments: MomentsConfig,
    workers: int | None = None,
    memory: int | None = None,
    spark: SparkConfig | None = None,
    force: bool = False,
) -> MomentsResult:
    """Collect the moments of the documents in `source` and write them to `output`.

    They are those of `fit_topics` for as many topics, so that the same documents are left out and the same topics come
    from them. Arguments as there. UsageError: a tensor that is too large; InputError: too few words for any topic.
    """
    started = time.perf_counter()
    check_outputs([source], output, (), force=force)
    with open_engine(source, ingest, workers=workers, memory=memory, spark=spark) as engine:
        corpus = engine.corpus
        rank = min(moments.rank, corpus.n_documents, corpus.n_terms)
        form = _form(moments, rank)
        topics = _as_topics(moments, rank, form)
        found = collect_moments(engine, topics, rank)
        rank = need_some(found.third.n_topics, source)
        if rank < moments.rank:
            log.note(f"{moments.rank} topics were asked for; the words' co-occurrences tell only {rank} apart")
        third = _third(engine, found, moments) if form == "sketch" else whitened_tensor(engine.map_reduce, found.third)
        engine.drop("whitened", "triple_scale")
        with hdf5.create(output, schema.MOMENTS, force=force) as writer:
            _write(writer, engine, found, third)
            seconds = {"total": time.perf_counter() - started}
            writer.attribute("form", form)
            writer.attribute("tokens", corpus.attributes.get("config", as_json(ingest)).get("tokens", {}))
            config = {"ingest": as_json(ingest), "moments": as_json(moments)}
            read = corpus.attributes.get("source", {"path": source})
            record_provenance(
                writer, config=config, seed=moments.seed, ledger=corpus.ledger, source=read, seconds=seconds
            )
        return MomentsResult(
            path=output,
            description=str(read.get("description", "")),
            n_documents=corpus.n_documents,
            n_terms=corpus.n_terms,
            rank=rank,
            form=form,
            ledger=corpus.ledger,
            seconds=time.perf_counter() - started,
        )


def _form(config: MomentsConfig, rank: int) -> str:
    """ "dense" or "sketch"."""
    if config.m3 == "dense" and rank > MOST_DIRECTIONS:
        what = f"a third moment of {rank} x {rank} x {rank} takes {rank**3 * 8 / 1e9:.1f} GB"
        raise UsageError(what, hint=f"--m3 sketch keeps a sketch of it; -k {MOST_DIRECTIONS} is the most without")
    if config.m3 == "auto":
        return "dense" if rank <= LARGEST_TENSOR else "sketch"
    return config.m3


def _as_topics(config: MomentsConfig, rank: int, form: str) -> TopicsConfig:
    """The settings under which `tdtool topics` collects the same moments."""
    return TopicsConfig(
        rank,
        alpha0=config.alpha0,
        m3="sketch" if form == "sketch" else "dense",
        polish=0,
        held_out=config.held_out,
        max_held_out=config.max_held_out,
        seed=config.seed,
    )


def _third(engine: Engine, found: Moments, config: MomentsConfig) -> SymmetricSketch:
    rank = found.third.n_topics
    length, repeats = sketch_size(rank, config.hash_length, config.sketches)
    family = symmetric_hashes(rank, length, repeats, rng=stream(config.seed, 3))
    return third_moment_sketch(engine.map_reduce, found.third, found.documents.left_out, family)


def _write(writer: hdf5.Writer, engine: Engine, found: Moments, third: NDArray[np.float64] | SymmetricSketch) -> None:
    first, whitening, kept = found.first, found.whitening, found.third
    writer.put("first/moment", first.moment1)
    writer.put("first/pair", first.diagonal)
    writer.put("first/whitened", kept.mean)
    writer.put("second/whitening", whitening.whitening)
    writer.put("second/unwhitening", whitening.unwhitening)
    writer.put("second/eigenvalue", whitening.spectrum)
    if isinstance(third, SymmetricSketch):
        writer.put("third/sketch", np.asarray(scipy.fft.irfft(third.spectrum, third.family.hash_length, axis=-1)))
        writer.put("third/pairs", third.pairs)
        writer.put("third/hash", third.family.buckets)
        writer.put("third/sign", third.family.signs)
    else:
        writer.put("third/tensor", third)
    writer.put("third/word", kept.n)
    writer.put("third/word_whitened", kept.z)
    write_vocabulary(writer, engine)
    facts = {"n_documents": engine.corpus.n_documents, "n_documents_used": first.n_documents, "length": first.length}
    for name, value in {**facts, "alpha0": kept.alpha0, "n_partitions": kept.n_partitions}.items():
        writer.attribute(name, value)


def number_of(reader: hdf5.Reader, name: str, *, least: float) -> float:
    """A number among the attributes of a file. InputError when it is none, or less than `least`."""
    value = reader.attributes.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
        raise InputError(f"its {name} is {str(value)[:80]!r}", path=reader.path, hint="make the moments again")
    return value


def ledger_of(reader: hdf5.Reader) -> Ledger:
    """The ledger in a file. InputError when it is none."""
    try:
        return Ledger.from_dict(reader.attributes["ledger"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError("the ledger in it is damaged", path=reader.path) from error
