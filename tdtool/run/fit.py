"""Fit a topic model to a corpus: the order of the stages, on whatever engine reaches the data."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from tdtool import log
from tdtool.config import TopicsConfig
from tdtool.decompose.polar_gpu import polar_on_gpu
from tdtool.decompose.power import PowerFit, orthogonal_power, random_orthogonal
from tdtool.decompose.sketched_orthogonal import sketched_orthogonal_power
from tdtool.engine import Engine
from tdtool.engine_gpu import GpuEngine
from tdtool.kernels.arrays import to_host
from tdtool.kernels.device_gpu import Gpu
from tdtool.kernels.symmetric_sketch import SymmetricSketch, symmetric_hashes
from tdtool.models.held_out import held_out_documents, sample_documents
from tdtool.models.polish import ALPHA_SAMPLE, DocumentSets, polish
from tdtool.models.scores import completion_perplexity, score_model, topic_warnings
from tdtool.models.topic_model import TopicModel, no_topics, pad_topics, recover_topics
from tdtool.moments import pairs_gpu
from tdtool.moments.pairs import FirstMoment, first_moment, second_moment_apply
from tdtool.moments.sketched_triples import sketch_operations, sketch_size, third_moment_sketch, word_start
from tdtool.moments.triples import (
    Apply,
    ThirdMoment,
    choose_form,
    dense_apply,
    exact_operations,
    implicit_apply,
    third_moment,
)
from tdtool.moments.whitening import Whitening, range_finder

#: Sweeps of the power iteration at most, and the mean turn of the directions that ends it: the polish forgives the last
#: digits, a pure spectral model does not.
MAX_SWEEPS, TURNED, TURNED_ON_SKETCH, _TURNED_BEFORE_POLISH = 100, 1e-6, 1e-5, 1e-3
#: `polish="auto"`: share of the training documents it watches, how many passes at most, the gain that it asks for,
#: and for how many passes it waits for one.
_TUNING_SHARE, _MAX_TUNING, _MAX_PASSES, _LEAST_GAIN, _PATIENCE = 0.02, 1000, 40, 1e-3, 3


@dataclasses.dataclass(frozen=True)
class Moments:
    """Everything the decomposition needs, for up to k topics; nested, so that fewer topics cost no further pass."""

    first: FirstMoment
    whitening: Whitening
    third: ThirdMoment
    documents: DocumentSets


@dataclasses.dataclass(frozen=True)
class TopicFit:
    """A fitted model and how it came about.

    scores, topic_scores : numbers of the model, and (T,) arrays by name; sweeps : of the power iteration, and why it
    stopped; form : how M3 was used; passes : of the polish; history : perplexity on the tuning documents by pass
    (polish "auto" only); seconds : by stage.
    """

    model: TopicModel
    scores: dict[str, float]
    topic_scores: dict[str, NDArray[np.float64]]
    sweeps: int
    stopped: str
    form: str
    passes: int
    history: tuple[float, ...]
    seconds: dict[str, float]

    @property
    def sizes(self) -> NDArray[np.float64]:
        """(T,) share of the corpus's words in each topic; before a polish, its share of the prior."""
        size = self.model.totals if self.model.totals.any() else self.model.alpha
        return size / size.sum()

    def warnings(self) -> list[str]:
        """What a person should know before trusting the topics."""
        stopped = [] if self.stopped == "tol" else [f"the power iteration did not settle in {self.sweeps} sweeps"]
        return stopped + topic_warnings(self.model, self.sizes)


class TopicFitter:
    """One corpus, one set of moments; fits for any number of topics up to the number prepared."""

    def __init__(self, engine: Engine, config: TopicsConfig) -> None:
        self.engine, self.config = engine, config
        self.seconds: dict[str, float] = {}
        self._moments: Moments | None = None
        self._advised = False

    def prepare(self, n_topics: int) -> int:
        """Collect the moments for at most n_topics; returns how many topics they can tell apart."""
        with self._stage("moments"):
            self._moments = collect_moments(self.engine, self.config, n_topics)
        return self._moments.third.n_topics

    def fit(self, n_topics: int, *, score: bool = True) -> TopicFit:
        """Decompose, polish and score a model of n_topics; beyond what `prepare` returned, topics start from noise.

        With m3 "sketch" and a number of topics that is given, not chosen, the moments are forgotten once they are used:
        who asks for a sketch is short of memory, and the polish needs its own.
        """
        moments = self._moments
        if moments is None:
            raise ValueError("call prepare first")
        self.seconds = {"moments": self.seconds["moments"]}
        spectral, sweeps, stopped, form = self._decompose(moments, n_topics)
        documents = moments.documents
        if form == "sketch" and n_topics == self.config.n_topics:
            moments = self._moments = None
        with self._stage("polish"):
            model, passes, history = self._polish(documents, spectral)
        scores: dict[str, float] = {}
        topic_scores: dict[str, NDArray[np.float64]] = {}
        model = model.ordered()
        if score:
            with self._stage("scores"):
                scores, topic_scores = score_model(
                    self.engine.map_reduce, model, held_out=documents.held_out, seed=self.config.seed
                )
        return TopicFit(model, scores, topic_scores, sweeps, stopped, form, passes, tuple(history), dict(self.seconds))

    def _decompose(self, moments: Moments, n_topics: int) -> tuple[TopicModel, int, str, str]:
        found = min(n_topics, moments.third.n_topics)
        third, whitening = moments.third.first(found), moments.whitening.first(found)
        form = choose_form(third) if self.config.m3 == "auto" else self.config.m3
        log.detail(f"third moment: {form}, {n_topics} topics")
        with self._stage("decomposition"):
            tol = TURNED if self.config.polish == 0 else _TURNED_BEFORE_POLISH
            if form == "sketch":
                fit = self._sketched_power(moments, third, whitening)
            else:
                apply = (dense_apply if form == "dense" else implicit_apply)(self.engine.map_reduce, third)
                fit = power_iteration(apply, random_orthogonal(found, self._rng(1)), tol, gpu_of(self.engine))
        if found:
            model = recover_topics(
                whitening,
                fit,
                moments.first,
                alpha0=self.config.alpha0,
                polish_follows=self.config.polish != 0,
                gpu=gpu_of(self.engine),
            )
        else:
            model = no_topics(third.n.size)
        model = pad_topics(model, n_topics, moments.first.moment1, self._rng(2))
        return model, len(fit.changes), fit.stopped, form

    def _sketched_power(self, moments: Moments, third: ThirdMoment, whitening: Whitening) -> PowerFit:
        """The power iteration on a sketch of the third moment."""
        length, repeats = sketch_size(third.n_topics, self.config.hash_length, self.config.sketches)
        log.detail(f"third moment: {repeats} sketches of length {length:,} for {third.n_topics} topics")
        self._advise(sketch_operations(third, length, repeats) / max(min(exact_operations(third)), 1.0))
        family = symmetric_hashes(third.n_topics, length, repeats, rng=self._rng(3))
        sketch = third_moment_sketch(self.engine.map_reduce, third, moments.documents.left_out, family)
        start = word_start(whitening.unwhitening, moments.first.moment1)
        with scipy.fft.set_workers(self.engine.workers):
            return sketched_power_iteration(sketch, start, gpu_of(self.engine))

    def _advise(self, ratio: float) -> None:
        """Say once that an exact form is cheaper."""
        if ratio >= 1.1 and not self._advised:
            log.note(f"the exact third moment would be about {ratio:.1f} times cheaper than sketches: leave out --m3")
            self._advised = True

    def _polish(self, documents: DocumentSets, model: TopicModel) -> tuple[TopicModel, int, list[float]]:
        self.engine.drop("expected")
        watch = _Watch(self._tuning_perplexity(documents)) if self.config.polish == "auto" else None
        passes = _MAX_PASSES if self.config.polish == "auto" else int(self.config.polish)
        counted = _Counter(watch)
        engine = self.engine
        map_reduce = engine.map_reduce_there if isinstance(engine, GpuEngine) else engine.map_reduce
        model = polish(map_reduce, model, documents, passes=passes, keep_going=counted)
        if watch is not None and watch.best is not None:
            model = watch.best
        model = dataclasses.replace(model, word_topic=to_host(model.word_topic))
        return model, counted.passes, watch.history if watch else []

    def _tuning_perplexity(self, documents: DocumentSets) -> Callable[[TopicModel], float]:
        def measure(model: TopicModel) -> float:
            arguments = (model.word_topic, model.alpha, documents.tuning, self.config.seed)
            return completion_perplexity(self.engine.map_reduce, *arguments)[0]

        return measure

    def _rng(self, number: int) -> np.random.Generator:
        return stream(self.config.seed, number)

    def _stage(self, name: str) -> _Stage:
        return _Stage(self.seconds, name)


def collect_moments(engine: Engine, config: TopicsConfig, n_topics: int) -> Moments:
    """The moments for at most n_topics; the engine keeps the whitened documents, but for m3 "sketch"."""
    corpus = engine.corpus
    documents = document_sets(corpus.n_documents, config)
    left_out = documents.left_out  # the tuning documents too: topics that have seen them would flatter the start
    first = first_moment(engine.map_reduce, left_out, corpus.n_terms)
    whitening = _whiten(engine, config, n_topics, first, left_out)
    third = third_moment(
        engine.map_reduce,
        first,
        whitening,
        left_out,
        alpha0=config.alpha0,
        n_partitions=corpus.n_partitions,
        keep_rows=config.m3 != "sketch",
    )
    return Moments(first, whitening, third, documents)


def gpu_of(engine: Engine) -> Gpu | None:
    """The GPU that an engine works on."""
    return engine.gpu if isinstance(engine, GpuEngine) else None


def power_iteration(apply: Apply, start: NDArray[np.float64], tol: float, gpu: Gpu | None) -> PowerFit:
    """The directions of an exact third moment. start : (k, k) orthonormal; gpu : makes large ones orthonormal."""
    if gpu is None:
        return orthogonal_power(apply, start, max_iters=MAX_SWEEPS, tol=tol)
    on_gpu = functools.partial(polar_on_gpu, gpu)
    return orthogonal_power(apply, start, max_iters=MAX_SWEEPS, tol=tol, orthonormal=on_gpu)


def sketched_power_iteration(sketch: SymmetricSketch, start: NDArray[np.float64], gpu: Gpu | None) -> PowerFit:
    """The directions of a sketched third moment; gpu : where the sketch is read, if it has the memory."""
    if gpu is not None:
        try:
            return sketched_orthogonal_power(sketch.to_device(gpu), start, tol=TURNED_ON_SKETCH)
        except MemoryError:
            log.detail("the sketch does not fit on the GPU")
    return sketched_orthogonal_power(sketch, start, tol=TURNED_ON_SKETCH)


def _whiten(
    engine: Engine, config: TopicsConfig, n_topics: int, first: FirstMoment, left_out: NDArray[np.int64]
) -> Whitening:
    """The whitening for at most n_topics, its blocks on the GPU where there is one with the memory for them."""
    n_terms = engine.corpus.n_terms
    if isinstance(engine, GpuEngine):
        try:
            there = pairs_gpu.second_moment_apply(engine.gpu, engine.map_reduce_there, first, left_out, config.alpha0)
            return range_finder(there, n_terms, n_topics, rng=stream(config.seed, 0), gpu=engine.gpu)
        except MemoryError:
            log.detail("the range finder's blocks do not fit on the GPU")
        engine.evict()
    pairs = second_moment_apply(engine.map_reduce, first, left_out, config.alpha0)
    return range_finder(pairs, n_terms, n_topics, rng=stream(config.seed, 0))


def stream(seed: int, number: int) -> np.random.Generator:
    """Random numbers of one use: 0 the range finder, 1 the start of the power iteration, 2 padding, 3 the hashes."""
    return np.random.default_rng([seed, number])


def document_sets(n_documents: int, config: TopicsConfig) -> DocumentSets:
    """Who is held out, who decides when the polish stops, and who alpha is learned from."""
    held_out = held_out_documents(n_documents, config.held_out, config.max_held_out, config.seed)
    tuning = np.zeros(0, np.int64)
    if config.polish == "auto":
        wanted = min(max(int((n_documents - held_out.size) * _TUNING_SHARE), 100), _MAX_TUNING, n_documents // 10)
        tuning = sample_documents(n_documents, wanted, config.seed + 1, held_out)
    left_out = np.union1d(held_out, tuning)
    return DocumentSets(held_out, tuning, sample_documents(n_documents, ALPHA_SAMPLE, config.seed, left_out))


class _Watch:
    """Decides when a polish of open length has done its work: the tuning perplexity no longer falls."""

    def __init__(self, measure: Callable[[TopicModel], float]) -> None:
        self._measure = measure
        self.history: list[float] = []
        self.best: TopicModel | None = None
        self._since_best = 0

    def __call__(self, model: TopicModel) -> bool:
        value = self._measure(model)
        least = min(self.history, default=np.inf)
        self.history.append(value)
        self._since_best = 0 if value < least * (1 - _LEAST_GAIN) else self._since_best + 1
        if value < least:
            self.best = model
        return self._since_best < _PATIENCE


class _Counter:
    """Counts the passes on their way to the watch."""

    def __init__(self, watch: Callable[[TopicModel], bool] | None) -> None:
        self.passes = 0
        self._watch = watch

    def __call__(self, model: TopicModel) -> bool:
        self.passes += 1
        return True if self._watch is None else self._watch(model)


class _Stage:
    """Adds the wall time of a block to the account of the stages."""

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *exception: Any) -> None:
        self._seconds[self._name] = self._seconds.get(self._name, 0.0) + time.perf_counter() - self._start
