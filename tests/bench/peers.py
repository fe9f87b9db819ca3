"""Fits one topic model in a process of its own: `python -m tests.bench.peers TASK`, started by tests.bench.topics.

Timed is the fitting call alone, on data that already has the system's own input form.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tests.bench.children import reports
from tests.bench.measure import Stopwatch, peak_rss_mb

#: What tdtool may hold of its documents' state before it spills to disk.
_STATE_BYTES = 4 << 30


@dataclasses.dataclass(frozen=True)
class Task:
    """What to fit. train : path of the (D, V) counts as scipy .npz; fits : folder for the fitted topics.

    checkpoints, eta : for tomotopy, iterations to look at and topic-word prior.
    """

    system: str
    train: str
    fits: str
    n_topics: int
    seed: int
    threads: int
    checkpoints: list[int]
    eta: float

    def counts(self) -> sparse.csr_array:
        """(D, V) int32."""
        return sparse.csr_array(sparse.load_npz(self.train))


class Reporter:
    """Sends what a system has fitted so far to the process that measures."""

    def __init__(self, task: Task, send: Callable[..., None]) -> None:
        self._task, self._send, self._n_fits = task, send, 0

    def start(self) -> None:
        """Fitting begins: the clock of the cap runs from here."""
        self._send(started=True)

    def fitted(self, system: str, topic_word: NDArray[Any], alpha: NDArray[Any], watch: Stopwatch) -> None:
        """topic_word : (T, V), rows are made to sum to 1; alpha : (T,); watch : time that was needed up to here."""
        peak = peak_rss_mb()
        path = f"{self._task.fits}/{self._task.system}-{self._n_fits}.npz"
        self._n_fits += 1
        topic_word = np.asarray(topic_word, np.float64)
        topic_word /= topic_word.sum(axis=1, keepdims=True)
        np.savez(path, topic_word=topic_word, alpha=np.asarray(alpha, np.float64))
        self._send(system=system, fit=path, seconds=watch.seconds, cpu_seconds=watch.cpu_seconds, peak_rss_mb=peak)


def fit_tdtool(task: Task, reporter: Reporter) -> None:
    """The default settings."""
    _fit_spectral(task, reporter)


def fit_tdtool_spectral(task: Task, reporter: Reporter) -> None:
    """The same without the polish."""
    _fit_spectral(task, reporter, polish=0)


def _fit_spectral(task: Task, reporter: Reporter, **settings: Any) -> None:
    """One fit, after a small one that compiles the kernels or loads them from numba's cache."""
    from tdtool.config import TopicsConfig
    from tdtool.data.corpus import Corpus
    from tdtool.data.planted import planted_lda
    from tdtool.engine import LocalEngine
    from tdtool.models.topic_model import TopicModel
    from tdtool.run.fit import TopicFitter

    def fit(corpus: Corpus, n_topics: int) -> TopicModel:
        config = TopicsConfig(held_out=0, seed=task.seed, **settings)
        with LocalEngine(corpus, workers=task.threads, memory=_STATE_BYTES) as engine:
            fitter = TopicFitter(engine, config)
            return fitter.fit(fitter.prepare(n_topics), score=False).model

    small = planted_lda(200, 100, 3, alpha0=1, mean_length=30, rng=np.random.default_rng(0)).document_term
    fit(Corpus.from_csr(small), 3)
    corpus = Corpus.from_csr(task.counts())
    reporter.start()
    with Stopwatch() as watch:
        model = fit(corpus, task.n_topics)
    reporter.fitted(task.system, model.topic_word, model.alpha, watch)


def fit_tomotopy(task: Task, reporter: Reporter) -> None:
    """Collapsed Gibbs sampling, one run with a look at each checkpoint; alpha is learned every 10 iterations."""
    import tomotopy

    counts = task.counts()
    n_terms = counts.shape[1]
    names = [str(term) for term in range(n_terms)]
    model = tomotopy.LDAModel(k=task.n_topics, eta=task.eta, seed=task.seed)
    for start, end in zip(counts.indptr[:-1], counts.indptr[1:], strict=True):
        tokens = np.repeat(counts.indices[start:end], counts.data[start:end])
        model.add_doc([names[term] for term in tokens])
    watch = Stopwatch()
    reporter.start()
    for iterations in task.checkpoints:
        with watch:
            model.train(iterations - model.global_step, workers=task.threads)
        terms = np.array([int(name) for name in model.used_vocabs])
        sizes = np.asarray(model.get_count_by_topics(), np.float64)
        topic_word = np.tile(
            model.eta / (sizes + n_terms * model.eta), (n_terms, 1)
        ).T  # words of held-out documents only
        for topic in range(task.n_topics):
            topic_word[topic, terms] = model.get_topic_word_dist(topic)
        reporter.fitted(f"tomotopy {iterations}", topic_word, model.alpha, watch)


def fit_sklearn(task: Task, reporter: Reporter) -> None:
    """Online variational Bayes in batches of 20, ten passes. One process: starting jobs for 20 documents costs more."""
    from sklearn.decomposition import LatentDirichletAllocation

    counts = task.counts().astype(np.float64)
    model = LatentDirichletAllocation(
        task.n_topics, learning_method="online", batch_size=20, max_iter=10, random_state=task.seed
    )
    reporter.start()
    with Stopwatch() as watch:
        model.fit(counts)
    reporter.fitted("scikit-learn", model.components_, np.full(task.n_topics, model.doc_topic_prior_), watch)


def fit_gensim(task: Task, reporter: Reporter) -> None:
    """LdaMulticore, ten passes over worker processes; it cannot learn alpha (alpha="auto" raises), so asymmetric."""
    from gensim.models import LdaMulticore

    counts = task.counts()
    documents = [
        list(zip(counts.indices[start:end].tolist(), counts.data[start:end].tolist(), strict=True))
        for start, end in zip(counts.indptr[:-1], counts.indptr[1:], strict=True)
    ]
    names = {term: str(term) for term in range(counts.shape[1])}
    reporter.start()
    with Stopwatch() as watch:
        model = LdaMulticore(
            documents,
            num_topics=task.n_topics,
            id2word=names,
            workers=task.threads,
            passes=10,
            alpha="asymmetric",
            eval_every=0,
            random_state=task.seed,
        )
    reporter.fitted("gensim", model.get_topics(), model.alpha, watch)


FITS = {
    "tdtool": fit_tdtool,
    "tdtool spectral": fit_tdtool_spectral,
    "tomotopy": fit_tomotopy,
    "scikit-learn": fit_sklearn,
    "gensim": fit_gensim,
}

if __name__ == "__main__":
    with reports() as send:
        work = Task(**json.loads(sys.argv[1]))
        FITS[work.system](work, Reporter(work, send))
