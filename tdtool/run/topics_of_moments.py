"""`tdtool topics` of a file of moments: the spectral step alone, without the documents."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from tdtool import log
from tdtool.config import TopicsConfig, as_json
from tdtool.data.ledger import Ledger
from tdtool.data.provenance import record_provenance
from tdtool.decompose.power import PowerFit, random_orthogonal
from tdtool.errors import InputError, UsageError
from tdtool.kernels.device_gpu import Gpu
from tdtool.kernels.hashing import HashFamily
from tdtool.kernels.symmetric_sketch import SymmetricSketch
from tdtool.models.coherence import diversity
from tdtool.models.topic_model import recover_topics
from tdtool.moments.packed_triples import tensor_apply
from tdtool.moments.pairs import FirstMoment
from tdtool.moments.sketched_triples import word_start
from tdtool.moments.whitening import Whitening
from tdtool.run.fit import TURNED, TopicFit, power_iteration, sketched_power_iteration, stream
from tdtool.run.machine import available_cores
from tdtool.run.moments import ledger_of, number_of
from tdtool.run.outputs import check_outputs
from tdtool.run.threads import limited
from tdtool.run.topics import TopicsResult, write_model
from tdtool.store import hdf5, schema
from tdtool.store.content import check_content
from tdtool.store.exports import export_all, is_documents

_UNKNOWN = ("npmi", "umass", "cv")
_NOTE = "moments hold no documents: the topics are not polished, have no scores, and are those of no document"


@dataclasses.dataclass(frozen=True)
class StoredMoments:
    """What a file of moments holds. third : (k, k, k), or a sketch of it; frequency, count : (V,) of the words."""

    path: Path
    first: FirstMoment
    whitening: Whitening
    third: NDArray[np.float64] | SymmetricSketch
    alpha0: float
    vocabulary: list[str]
    frequency: NDArray[np.int64]
    count: NDArray[np.int64]
    n_documents: int
    ledger: Ledger
    attributes: dict[str, Any]

    @property
    def rank(self) -> int:
        """k, the topics that they can tell apart."""
        return self.whitening.whitening.shape[1]

    @property
    def form(self) -> str:
        """ "dense" or "sketch"."""
        return "sketch" if isinstance(self.third, SymmetricSketch) else "dense"

    @property
    def seed(self) -> int:
        """That the moments were made with."""
        seed = self.attributes.get("seed")
        return seed if isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 else 0


def read_moments(path: Path) -> StoredMoments:
    """The moments in a file of `tdtool ingest --moments`. InputError when it is another file, or damaged."""
    with hdf5.open(path) as reader:
        reader.require(schema.MOMENTS.name)
        for finding in check_content(reader):
            raise InputError(f"{finding.where} {finding.what}", path=path, hint="run: tdtool verify")
        if not reader.shape("first/whitened")[0]:
            raise InputError("its moments tell no topics apart", path=path, hint="collect them from more documents")
        length = number_of(reader, "length", least=1)
        used = int(number_of(reader, "n_documents_used", least=1))
        arrays = (reader.get(f"second/{name}") for name in ("whitening", "unwhitening", "eigenvalue"))
        return StoredMoments(
            path=path,
            first=FirstMoment(reader.get("first/moment"), reader.get("first/pair"), length, used),
            whitening=Whitening(*arrays),
            third=_third(reader),
            alpha0=number_of(reader, "alpha0", least=np.finfo(float).tiny),
            vocabulary=reader.get("vocabulary/term"),
            frequency=reader.get("vocabulary/document_frequency"),
            count=reader.get("vocabulary/count"),
            n_documents=int(number_of(reader, "n_documents", least=used)),
            ledger=ledger_of(reader),
            attributes=reader.attributes,
        )


def topics_of_moments(
    source: Path,
    output: Path,
    *,
    n_topics: int | None = None,
    seed: int | None = None,
    workers: int | None = None,
    force: bool = False,
    exports: tuple[str, ...] = (),
    gpu: Gpu | None = None,
) -> TopicsResult:
    """Find topics from the moments in `source` and write them to `output` (and to `exports`, format by suffix).

    n_topics : None for as many as the moments can tell apart; seed : of the start, None for that of the moments. They
    are the topics of `fit_topics` without a polish, but for rounding. UsageError: more topics than that, or an export
    of documents.
    """
    started = time.perf_counter()
    check_outputs([source], output, exports, force=force)
    for export in exports:
        if is_documents(Path(export)):
            raise UsageError("moments hold no documents to export", path=export, hint="export the topics' words")
    stored = read_moments(source)
    k = n_topics or stored.rank
    if k > stored.rank:
        hint = f"ask for at most {stored.rank}, or collect moments of more: tdtool ingest --moments -k {k}"
        raise UsageError(f"-k is {k}, and the moments tell {stored.rank} topics apart", path=source, hint=hint)
    log.note(_NOTE)
    seed = stored.seed if seed is None else seed
    with limited(workers), scipy.fft.set_workers(workers or available_cores()):
        fit = _fit(stored, k, seed, gpu)
    _write(output, stored, fit, seed, gpu, force)
    export_all(output, exports, force=force)
    return TopicsResult(
        path=output,
        fit=fit,
        vocabulary=stored.vocabulary,
        n_documents=stored.n_documents,
        selection=None,
        ledger=stored.ledger,
        seconds=time.perf_counter() - started,
    )


def _fit(stored: StoredMoments, k: int, seed: int, gpu: Gpu | None) -> TopicFit:
    started = time.perf_counter()
    whitening = stored.whitening.first(k)
    with log.task("tensor power"):
        power = _power(stored, k, seed, gpu)
    model = recover_topics(
        whitening, power, stored.first, alpha0=stored.alpha0, polish_follows=False, gpu=gpu
    ).ordered()
    return TopicFit(
        model=model,
        scores={"diversity": diversity(model.word_topic)},
        topic_scores={name: np.full(k, np.nan) for name in _UNKNOWN},
        sweeps=len(power.changes),
        stopped=power.stopped,
        form=stored.form,
        passes=0,
        history=(),
        seconds={"decomposition": time.perf_counter() - started},
    )


def _power(stored: StoredMoments, k: int, seed: int, gpu: Gpu | None) -> PowerFit:
    """The power iteration for the leading k directions, as of a fit without polish."""
    if not isinstance(stored.third, SymmetricSketch):
        return _exact_power(np.ascontiguousarray(stored.third[:k, :k, :k]), random_orthogonal(k, stream(seed, 1)), gpu)
    start = np.zeros((stored.rank, k))  # turned among themselves, columns stay within the leading k coordinates
    start[:k] = word_start(stored.whitening.unwhitening[:, :k], stored.first.moment1)
    fit = sketched_power_iteration(stored.third, start, gpu)
    return dataclasses.replace(fit, vectors=fit.vectors[:k])


def _exact_power(tensor: NDArray[np.float64], start: NDArray[np.float64], gpu: Gpu | None) -> PowerFit:
    """Of a (k, k, k) tensor, which lies on the GPU where there is one with the memory."""
    if gpu is not None:
        try:
            return power_iteration(tensor_apply(gpu.to_device(tensor)), start, TURNED, gpu)
        except MemoryError:
            log.detail("the third moment does not fit on the GPU")
    return power_iteration(tensor_apply(tensor), start, TURNED, gpu)


def _write(output: Path, stored: StoredMoments, fit: TopicFit, seed: int, gpu: Gpu | None, force: bool) -> None:
    k, attributes = fit.model.n_topics, stored.attributes
    config = TopicsConfig(k, alpha0=stored.alpha0, m3="sketch" if stored.form == "sketch" else "dense", polish=0)
    kept = attributes.get("config")
    with hdf5.create(output, schema.TOPICS, force=force) as writer:
        write_model(writer, fit)
        writer.put("vocabulary/term", stored.vocabulary)
        writer.put("vocabulary/document_frequency", stored.frequency)
        writer.put("vocabulary/count", stored.count)
        writer.put("documents/id", [])
        writer.put("documents/topic", np.zeros((0, k), np.float32))
        writer.put("documents/held_out", np.zeros(0, np.uint8))
        writer.put("documents/length", np.zeros(0, np.int64))
        writer.attribute("scores", fit.scores)
        writer.attribute("tokens", attributes.get("tokens", {}))
        writer.attribute("moments", {"path": stored.path.name, "content_digest": attributes.get("content_digest", "")})
        record_provenance(
            writer,
            config={
                **(kept if isinstance(kept, dict) else {}),
                "topics": as_json(dataclasses.replace(config, seed=seed)),
            },
            seed=seed,
            ledger=stored.ledger,
            source=attributes.get("source", {}),
            seconds=fit.seconds,
            gpu=gpu,
        )


def _third(reader: hdf5.Reader) -> NDArray[np.float64] | SymmetricSketch:
    if "third/tensor" in reader:
        return np.asarray(reader.get("third/tensor"), np.float64)
    sketch = reader.get("third/sketch").astype(np.float64)
    places, signs = reader.get("third/hash").astype(np.int32), reader.get("third/sign").astype(np.int8)
    family = HashFamily(places, signs, sketch.shape[1])
    return SymmetricSketch(family, np.asarray(scipy.fft.rfft(sketch, axis=-1)), reader.get("third/pairs"))
