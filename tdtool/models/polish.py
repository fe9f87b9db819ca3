"""The polish: a few passes of variational inference over the documents, from the topics that the moments gave."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from tdtool.data.corpus import MapReduce, Partials, Rows, State
from tdtool.data.steps import step
from tdtool.kernels import topic_cpu
from tdtool.kernels.arrays import namespace, to_host
from tdtool.models.topic_model import TopicModel

#: Smoothing of topics: this much of every word is added to each topic's expected counts.
ETA = 0.05
#: Share of its own counts that a document does not see when it looks at the topics. All of them (1) is best for rare
#: words and diverse topics, none (0) for text that repeats itself; 0.75 was within 0.6 % of the best perplexity on all
#: corpora tried.
_OWN_SHARE = 0.75
#: Fixed-point updates of a document in a pass. Few are better: documents and topics then settle together.
SWEEPS = 5
SETTLED = np.float32(1e-2)
#: Documents from which alpha is learned, and Minka's updates in a pass.
ALPHA_SAMPLE = 2000
_ALPHA_UPDATES = 3


@dataclasses.dataclass(frozen=True)
class DocumentSets:
    """Document indices, ascending int64: held_out never fitted; tuning left out of the polish, to decide when to stop.

    alpha_sample : where alpha is learned; disjoint from both.
    """

    held_out: NDArray[np.int64]
    tuning: NDArray[np.int64]
    alpha_sample: NDArray[np.int64]

    @property
    def left_out(self) -> NDArray[np.int64]:
        """What the polish does not see."""
        return np.union1d(self.held_out, self.tuning)


def active_documents(rows: Rows, left_out: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(D_p,) bool: the documents of this partition that are not left out."""
    active = np.ones(rows.n_documents, np.bool_)
    first, last = np.searchsorted(left_out, [rows.start, rows.start + rows.n_documents])
    active[left_out[first:last] - rows.start] = False
    return active


@step(reads=("expected",), keeps=("expected",))
def polish_step(
    rows: Rows,
    state: State,
    left_out: NDArray[np.int64],
    word_topic: NDArray[np.float32],
    alpha: NDArray[np.float32],
    own: NDArray[np.float32],
    sample: NDArray[np.int64],
) -> tuple[Partials, State]:
    """Partials: (V, T) float32 of expected counts of words by topic, and (n, T) float32 those of the documents of
    `sample` (ascending indices), 0 where they are in other partitions. Keeps "expected" (D_p, T), documents by topic.
    """
    expected = state.get("expected")
    if expected is None:
        expected = np.full((rows.n_documents, alpha.size), -1, np.float32)
    stats = np.zeros_like(word_topic)
    active = active_documents(rows, left_out)
    arguments = (rows.indptr, rows.indices, rows.counts, active, word_topic, alpha, expected)
    topic_cpu.document_step(*arguments, SWEEPS, SETTLED, own, stats)
    sampled = np.zeros((sample.size, alpha.size), np.float32)
    first, last = np.searchsorted(sample, [rows.start, rows.start + rows.n_documents])
    sampled[first:last] = expected[sample[first:last] - rows.start]
    return (stats, sampled), {"expected": expected}


def polish(
    map_reduce: MapReduce,
    model: TopicModel,
    documents: DocumentSets,
    *,
    passes: int,
    keep_going: Callable[[TopicModel], bool] = lambda model: True,
) -> TopicModel:
    """Refine topics and alpha for at most `passes` passes; keep_going is asked after each.

    map_reduce may leave its sums on a GPU: then word_topic stays there too, from pass to pass, and in the result.
    """
    own = np.empty((0, model.n_topics), np.float32)
    for index in range(passes):
        alpha = model.alpha.astype(np.float32)
        about = f"polish {index + 1}/{passes}"
        arguments = (documents.left_out, model.word_topic, alpha, own, documents.alpha_sample)
        stats, sampled = map_reduce(polish_step, *arguments, about=about)
        model, own = _topics_of(stats, model)
        model = dataclasses.replace(model, alpha=_learn_alpha(to_host(sampled), model.alpha))
        if not keep_going(model):
            break
    return model


def _topics_of(stats: NDArray[np.float32], model: TopicModel) -> tuple[TopicModel, NDArray[np.float32]]:
    """Topics from expected counts (V, T), and what document_step needs to take a document's own counts out."""
    totals = stats.sum(axis=0, dtype=np.float64)
    mass = totals + ETA * stats.shape[0]
    stats += np.float32(ETA)
    stats /= mass.astype(np.float32)
    own = namespace(stats).stack([ETA / mass, _OWN_SHARE / mass]).astype(np.float32)
    return dataclasses.replace(model, word_topic=stats, totals=to_host(totals)), own


def _learn_alpha(expected: NDArray[np.float32], alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minka's fixed point for a Dirichlet-multinomial (Minka 2000, "Estimating a Dirichlet distribution", eq. 55).

    expected : (n, T) expected counts of a sample of documents; alpha : (T,).
    """
    counts = np.maximum(expected.astype(np.float64), 0.0)
    if counts.shape[0] == 0:
        return alpha
    lengths = counts.sum(axis=1)
    for _ in range(_ALPHA_UPDATES):
        gain = np.sum(digamma(counts + alpha) - digamma(alpha), axis=0)
        cost = np.sum(digamma(lengths + alpha.sum()) - digamma(alpha.sum()))
        alpha = np.clip(alpha * gain / max(cost, 1e-12), 1e-4, 1e3)
    return alpha
