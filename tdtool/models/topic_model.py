"""A topic model: what the moments determine, and what the polish refines."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.power import PowerFit
from tdtool.kernels.arrays import namespace
from tdtool.kernels.device_gpu import Gpu
from tdtool.moments.pairs import FirstMoment
from tdtool.moments.whitening import Whitening

#: Share of the corpus-wide word frequencies mixed into each spectral topic, and of the uniform distribution in them: no
#: word is impossible.
_BACKGROUND, _UNIFORM = 0.001, 0.01
#: Before a polish the background is much more: documents that start undecided settle on better topics. Undecided
#: between many topics is too undecided, so it falls with their number: at most the first, one half at the second.
_MOST_BACKGROUND, _HALF_BACKGROUND_TOPICS = 0.9, 300
#: Before a polish documents also mix more topics than the moments assume, alpha times the first, at most the second
#: over the number of topics: the polish learns alpha, and topics that were shared end up more coherent and diverse.
_MORE_MIXED, _MORE_MIXED_TOPICS = 8.0, 400.0
_SMALLEST_ALPHA = 1e-3
#: Topics that are brought to the simplex at a time: it takes several times their memory.
_COLUMNS_AT_ONCE = 16


@dataclasses.dataclass(frozen=True)
class TopicModel:
    """T topics over V words.

    word_topic : (V, T) float32, column t is the distribution of topic t (a word's row is one run of memory);
    alpha : (T,) float64, Dirichlet parameters of a document's topics; weights : (T,) float64, spectral weights lambda;
    totals : (T,) float64, expected words of each topic in the corpus fitted, 0 before the first pass of the polish.
    """

    word_topic: NDArray[np.float32]
    alpha: NDArray[np.float64]
    weights: NDArray[np.float64]
    totals: NDArray[np.float64]

    @property
    def n_topics(self) -> int:
        """T."""
        return self.alpha.size

    @property
    def topic_word(self) -> NDArray[np.float32]:
        """(T, V) float32, a copy; rows sum to 1."""
        return np.ascontiguousarray(self.word_topic.T)

    def ordered(self) -> TopicModel:
        """The same model, largest topic first (by words, before the polish by weight in the prior)."""
        size = self.totals if self.totals.any() else self.alpha
        order = np.argsort(-size, kind="stable")
        word_topic = np.ascontiguousarray(self.word_topic[:, order])
        return TopicModel(word_topic, self.alpha[order], self.weights[order], self.totals[order])


def recover_topics(
    whitening: Whitening,
    fit: PowerFit,
    first: FirstMoment,
    *,
    alpha0: float,
    polish_follows: bool,
    gpu: Gpu | None = None,
) -> TopicModel:
    """Unwhiten the directions found: topic_i ~ B u_i, alpha_i from lambda_i.

    Source: Anandkumar et al. 2014, theorem 4.3: alpha_i = 4 alpha0 (alpha0 + 1) / ((alpha0 + 2)^2 lambda_i^2), scaled
    to their known sum alpha0. Estimated topics are brought back to the simplex by the nearest point in it.
    gpu : where that is done, if its memory is enough.
    """
    undecided = min(_MOST_BACKGROUND, _HALF_BACKGROUND_TOPICS / (_HALF_BACKGROUND_TOPICS + fit.weights.size))
    share = undecided if polish_follows else _BACKGROUND
    background = (1 - _UNIFORM) * first.moment1 + _UNIFORM / first.moment1.size
    alpha = 4 * alpha0 * (alpha0 + 1) / ((alpha0 + 2) ** 2 * np.maximum(fit.weights, 1e-6) ** 2)
    more = min(_MORE_MIXED, max(1.0, _MORE_MIXED_TOPICS / alpha.size)) if polish_follows else 1.0
    alpha = np.maximum(alpha * (alpha0 * more / alpha.sum()), _SMALLEST_ALPHA)
    word_topic = _recovered(whitening.unwhitening, fit.vectors, background, share, gpu)
    return TopicModel(word_topic, alpha, fit.weights, np.zeros(alpha.size))


def _recovered(
    unwhitening: NDArray[np.float64],
    vectors: NDArray[np.float64],
    background: NDArray[np.float64],
    share: float,
    gpu: Gpu | None,
) -> NDArray[np.float32]:
    """(V, T) topics: B u_i on the simplex, with a share of the background (V,)."""
    if gpu is not None:
        try:
            there, turned, everywhere = (gpu.to_device(array) for array in (unwhitening, vectors, background))
            return gpu.to_host(_on_simplex(there, turned, everywhere, share))
        except MemoryError:
            gpu.free_unused()
    return np.asarray(_on_simplex(unwhitening, vectors, background, share))


def _on_simplex(unwhitening: Any, vectors: Any, background: Any, share: float) -> Any:
    columns = unwhitening @ vectors
    xp = namespace(columns)
    columns *= xp.where(columns.sum(axis=0) < 0, -1.0, 1.0)
    columns /= xp.maximum(columns.sum(axis=0), 1e-12)
    topics = (1 - share) * project_to_simplex(columns) + share * background[:, None]
    return (topics / topics.sum(axis=0)).astype(np.float32)


def no_topics(n_terms: int) -> TopicModel:
    """The model of a corpus whose moments determine no topic; pad_topics fills it."""
    return TopicModel(np.zeros((n_terms, 0), np.float32), np.zeros(0), np.zeros(0), np.zeros(0))


def project_to_simplex(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest probability vector to each column, in the Euclidean norm. columns, returns : (V, T), also on a GPU.

    Source: Duchi, Shalev-Shwartz, Singer, Chandra 2008, figure 1.
    """
    xp = namespace(columns)
    projected = xp.empty_like(columns)
    rank = xp.arange(1, columns.shape[0] + 1)[:, None]
    for first in range(0, columns.shape[1], _COLUMNS_AT_ONCE):
        some = columns[:, first : first + _COLUMNS_AT_ONCE]
        falling = -xp.sort(-some, axis=0)
        excess = xp.cumsum(falling, axis=0) - 1.0
        support = xp.sum(falling * rank > excess, axis=0)
        threshold = excess[support - 1, xp.arange(some.shape[1])] / support
        projected[:, first : first + _COLUMNS_AT_ONCE] = xp.maximum(some - threshold, 0.0)
    return projected


def pad_topics(model: TopicModel, n_topics: int, moment1: NDArray[np.float64], rng: np.random.Generator) -> TopicModel:
    """Fill up to n_topics with perturbed copies of the word frequencies, where the moments determine fewer topics."""
    missing = n_topics - model.n_topics
    if missing <= 0:
        return model
    noise = rng.gamma(1.0, 1.0, (moment1.size, missing)) * (moment1[:, None] + 1e-6)
    word_topic = np.hstack([model.word_topic, (noise / noise.sum(axis=0)).astype(np.float32)])
    alpha = np.append(model.alpha, np.full(missing, model.alpha.mean() if model.n_topics else 1.0 / n_topics))
    zeros = np.zeros(missing)
    return TopicModel(word_topic, alpha, np.append(model.weights, zeros), np.append(model.totals, zeros))
