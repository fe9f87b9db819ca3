"""Do a topic's top words belong together? Coherence from co-occurrence in the documents, and diversity."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from tdtool.data.corpus import MapReduce, Partials, Rows, State
from tdtool.kernels import coherence_cpu
from tdtool.kernels.ranking import largest
from tdtool.models.polish import active_documents

TOP_WORDS = 10
DIVERSITY_WORDS = 25
_EPSILON = 1e-12


@dataclasses.dataclass(frozen=True)
class Coherence:
    """One number a topic, each (T,) float64, from the top 10 words in whole training documents; none is ever NaN.

    npmi : mean normalised pointwise mutual information of pairs (Bouma 2009); umass : mean log conditional probability
    (Mimno et al. 2011, eq. 1, per pair); cv : C_v of Roeder, Both, Hinneburg 2015 with documents as windows.
    """

    npmi: NDArray[np.float64]
    umass: NDArray[np.float64]
    cv: NDArray[np.float64]


def top_words(word_topic: NDArray[np.float32], n: int) -> NDArray[np.int64]:
    """The n most probable words of each topic, most probable first, ties by word id. word_topic : (V, T) -> (T, n)."""
    return np.array([largest(topic, n) for topic in np.ascontiguousarray(word_topic.T)])


def diversity(word_topic: NDArray[np.float32], n: int = DIVERSITY_WORDS) -> float:
    """Share of different words among the top n of all topics (Dieng, Ruiz, Blei 2020)."""
    words = top_words(word_topic, n)
    return float(np.unique(words).size / words.size)


def together_step(
    rows: Rows,
    state: State,
    held_out: NDArray[np.int64],
    slots_start: NDArray[np.int64],
    slots: NDArray[np.int64],
    n_topics: int,
    n_top: int,
) -> tuple[Partials, State]:
    """Partials: (T, n, n) int64 joint document counts of top words, and (1,) the number of documents."""
    together = np.zeros((n_topics, n_top, n_top), np.int64)
    active = active_documents(rows, held_out)
    coherence_cpu.count_together(rows.indptr, rows.indices, active, slots_start, slots, n_top, together)
    return (together, np.array([active.sum()])), {}


def coherence(
    map_reduce: MapReduce, word_topic: NDArray[np.float32], held_out: NDArray[np.int64], n_top: int = TOP_WORDS
) -> Coherence:
    """Coherence of each topic from the documents that are not held out, one pass."""
    words = top_words(word_topic, n_top)
    n_topics, n_top = words.shape
    order = np.argsort(words, axis=None, kind="stable")
    starts = np.searchsorted(words.ravel()[order], np.arange(word_topic.shape[0] + 1)).astype(np.int64)
    together, (documents,) = map_reduce(
        together_step, held_out, starts, order.astype(np.int64), n_topics, n_top, about="coherence"
    )
    return measures(together, max(int(documents), 1))


def measures(together: NDArray[np.int64], n_documents: int) -> Coherence:
    """The three measures from joint document counts (T, n, n), of which i <= j are read."""
    n_top = together.shape[1]
    upper = np.triu_indices(n_top, 1)
    full = together + np.transpose(np.triu(together, 1), (0, 2, 1))
    joint = full / n_documents
    single = np.maximum(np.einsum("tii->ti", joint), 1.0 / (2 * n_documents))
    npmi = np.log((joint + _EPSILON) / (single[:, :, None] * single[:, None, :]))
    npmi = np.clip(npmi / np.maximum(-np.log(joint + _EPSILON), _EPSILON), -1.0, 1.0)
    if n_top < 2:
        return Coherence(*(np.zeros(together.shape[0]) for _ in range(3)))
    counts = np.maximum(np.einsum("tii->ti", full), 1)
    conditional = np.log((full + 1.0) / counts[:, :, None])  # row i: the more probable word conditions
    sums = npmi.sum(axis=1, keepdims=True)
    norms = np.linalg.norm(npmi, axis=2) * np.linalg.norm(sums, axis=2)
    cosine = np.einsum("tij,tkj->ti", npmi, sums) / np.maximum(norms, _EPSILON)
    rows, columns = upper
    return Coherence(npmi[:, rows, columns].mean(1), conditional[:, rows, columns].mean(1), cosine.mean(1))
