"""Sketched and exact decompositions in a process of its own: `python -m tests.bench.sketch_peers TASK`.

Timed is the fitting call, on data in memory. The exact moments of a corpus are collected once for all hash lengths.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from tests.bench.children import reports
from tests.bench.measure import Stopwatch, peak_rss_mb

Array = NDArray[np.float64]
Report = Callable[..., None]
#: A planted component counts as found from this cosine.
_FOUND = 0.99
_STATE_BYTES = 4 << 30


@dataclasses.dataclass(frozen=True)
class Task:
    """What to fit. system : "tensor" | "topics" | "tomotopy"; size : n of an n x n x n tensor; rank : of it, or topics;
    lengths : hash lengths L; n_sketches : B; corpus : path of a corpus file; iterations : of Gibbs sampling."""

    system: str
    size: int
    rank: int
    noise: float
    lengths: list[int]
    n_sketches: int
    corpus: str
    iterations: int
    held_out: float
    max_held_out: int
    seed: int
    threads: int


def fit_tensor(task: Task, report: Report) -> None:
    """One planted symmetric tensor: power iterations on all of it, in its compressed core, and sketches."""
    from tdtool.decompose.results import CPFit
    from tdtool.decompose.sketched import sketched_cp_als, sketched_power
    from tdtool.decompose.tensor_power import symmetric_cp, tensor_power

    def measured(system: str, length: int, fit: Callable[[], CPFit]) -> None:
        with Stopwatch() as watch:
            fitted = fit()
        cosines = np.abs(vectors.T @ fitted.factors[0]).max(axis=1)
        found = {"residual": fitted.relative_error / floor, "matched": float(np.mean(cosines > _FOUND))}
        report(system=system, length=length, seconds=watch.seconds, cpu_seconds=watch.cpu_seconds, quality=found)

    def rng() -> np.random.Generator:
        return np.random.default_rng(task.seed)

    power = {"n_restarts": 10, "max_iters": 30}
    warm = _planted(20, 2, 0.1, rng())[0]
    sketches: dict[str, Any] = {"n_sketches": task.n_sketches, "n_restarts": 2}
    symmetric_cp(warm, 2, rng=rng())
    tensor_power(warm, 2, rng=rng(), **power)
    sketched_power(warm, 2, hash_length=256, rng=rng())
    sketched_cp_als(warm, 2, hash_length=256, max_iters=2, rng=rng())
    tensor, vectors = _planted(task.size, task.rank, task.noise, rng())
    floor = task.noise / math.hypot(1, task.noise)
    report(started=True)
    measured("exact", 0, lambda: tensor_power(tensor, task.rank, rng=rng(), **power))
    measured("compressed", 0, lambda: symmetric_cp(tensor, task.rank, rng=rng()))
    for length in task.lengths:
        fits = {
            "sketched power": lambda length=length: sketched_power(
                tensor, task.rank, hash_length=length, n_sketches=task.n_sketches, rng=rng(), **power
            ),
            "sketched ALS": lambda length=length: sketched_cp_als(
                tensor, task.rank, hash_length=length, rng=rng(), **sketches
            ),
        }
        for system, fit in fits.items():
            measured(system, length, fit)


def _planted(size: int, rank: int, noise: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Symmetric (n, n, n) of orthonormal components, weights 2 to 1, and noise of that share of its norm; and these."""
    vectors = np.linalg.qr(rng.standard_normal((size, rank)))[0]
    tensor = ((vectors * np.linspace(2, 1, rank)) @ _rows_squared(vectors).T).reshape((size,) * 3)
    scale = noise * np.linalg.norm(tensor) / size**1.5
    for i in range(size):  # each i <= j <= k draws once; the other orders are copies
        block = rng.standard_normal((size - i, size - i)) * scale
        block = np.triu(block) + np.triu(block, 1).T
        tensor[i, i:, i:] += block
        tensor[i:, i, i:] = tensor[i, i:, i:]
        tensor[i:, i:, i] = tensor[i, i:, i:]
    return tensor, vectors


def _rows_squared(vectors: Array) -> Array:
    return np.asarray((vectors[:, None, :] * vectors[None, :, :]).reshape(-1, vectors.shape[1]))


def fit_topics(task: Task, report: Report) -> None:
    """Pure spectral topics: with the exact third moment, then with a sketch of each length."""
    from tdtool.config import TopicsConfig
    from tdtool.data.corpus import Corpus
    from tdtool.data.planted import planted_lda
    from tdtool.engine import LocalEngine
    from tdtool.run.fit import TopicFitter

    split: dict[str, Any] = {"held_out": task.held_out, "max_held_out": task.max_held_out, "seed": task.seed}
    exact = TopicsConfig(polish=0, m3="implicit", **split)  # of no given number of topics: the moments serve all fits
    forms = [("exact", 0, exact)]
    for length in task.lengths:
        config = dataclasses.replace(exact, m3="sketch", hash_length=length, sketches=task.n_sketches)
        forms.append(("sketch", length, config))

    def fit(corpus: Corpus, n_topics: int, wanted: list[tuple[str, int, TopicsConfig]], say: Report | None) -> None:
        with LocalEngine(corpus, workers=task.threads, memory=_STATE_BYTES) as engine:
            fitter = TopicFitter(engine, exact)
            n_topics = fitter.prepare(n_topics)
            for system, length, config in wanted:
                fitter.config = config
                fitted = fitter.fit(n_topics)
                if say is not None:
                    seconds = fitted.seconds["moments"] + fitted.seconds["decomposition"]
                    found = {"log_likelihood": -math.log(fitted.scores["perplexity"]), "npmi": fitted.scores["npmi"]}
                    found["decomposition"] = fitted.seconds["decomposition"]
                    say(system=system, length=length, seconds=seconds, cpu_seconds=None, quality=found)

    small = planted_lda(200, 100, 3, alpha0=1, mean_length=30, rng=np.random.default_rng(0)).document_term
    fit(Corpus.from_csr(small), 3, [forms[0], forms[-1]], None)
    corpus = Corpus.open(task.corpus, check=False)
    report(started=True)
    fit(corpus, task.rank, forms, report)


def fit_tomotopy(task: Task, report: Report) -> None:
    """Collapsed Gibbs sampling on the same documents, alpha learned every 10 iterations, scored by our evaluator."""
    import tomotopy

    from tdtool.data.corpus import Corpus
    from tdtool.engine import LocalEngine
    from tdtool.models.held_out import held_out_documents
    from tdtool.models.scores import completion_perplexity

    corpus = Corpus.open(task.corpus, check=False)
    held_out = held_out_documents(corpus.n_documents, task.held_out, task.max_held_out, task.seed)
    counts = corpus.matrix()
    names = [str(term) for term in range(corpus.n_terms)]
    model = tomotopy.LDAModel(k=task.rank, seed=task.seed)
    for document in np.setdiff1d(np.arange(corpus.n_documents), held_out):
        part = slice(counts.indptr[document], counts.indptr[document + 1])
        model.add_doc([names[term] for term in np.repeat(counts.indices[part], counts.data[part])])
    report(started=True)
    with Stopwatch() as watch:
        model.train(task.iterations, workers=task.threads)
    terms = np.array([int(name) for name in model.used_vocabs])
    sizes = np.asarray(model.get_count_by_topics(), np.float64)
    word_topic = np.tile(model.eta / (sizes + corpus.n_terms * model.eta), (corpus.n_terms, 1))
    for topic in range(task.rank):
        word_topic[terms, topic] = model.get_topic_word_dist(topic)
    word_topic = np.ascontiguousarray(word_topic / word_topic.sum(axis=0), np.float32)
    with LocalEngine(corpus, workers=task.threads, memory=_STATE_BYTES) as engine:
        perplexity, _ = completion_perplexity(engine.map_reduce, word_topic, model.alpha, held_out, task.seed)
    found = {"log_likelihood": -math.log(perplexity)}
    report(system="tomotopy", length=0, seconds=watch.seconds, cpu_seconds=watch.cpu_seconds, quality=found)


FITS = {"tensor": fit_tensor, "topics": fit_topics, "tomotopy": fit_tomotopy}


def main(task: Task, report: Report) -> None:
    """Fit, and say after each fit how long it took, how good it is and what the process has held so far."""

    def say(**message: Any) -> None:
        report(**message) if message.get("started") else report(**message, peak_rss_mb=peak_rss_mb())

    with scipy.fft.set_workers(task.threads):
        FITS[task.system](task, say)


if __name__ == "__main__":
    with reports() as send:
        main(Task(**json.loads(sys.argv[1])), send)
