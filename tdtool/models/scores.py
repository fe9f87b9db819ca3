"""How good is a topic model: perplexity of unseen words, coherence, diversity, and what to warn about."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.data.corpus import MapReduce
from tdtool.models.coherence import coherence, diversity
from tdtool.models.inference import completion_step
from tdtool.models.topic_model import TopicModel

#: Two topics are called duplicates when their distributions differ by less than this total variation.
_SAME = 0.1
#: A topic is called empty with less than this share of an average topic's words.
_EMPTY = 0.01


def completion_perplexity(
    map_reduce: MapReduce,
    word_topic: NDArray[np.float32],
    alpha: NDArray[np.floating],
    documents: NDArray[np.int64],
    seed: int,
) -> tuple[float, float]:
    """(perplexity, words scored): exp(-log likelihood per word) of half of each document's words given the other half.

    Source: document completion, Wallach, Murray, Salakhutdinov, Mimno 2009, section 5. documents : ascending indices.
    A document's score depends on (seed, its index) and the model alone, not on which others are scored.
    """
    arguments = (documents, seed, word_topic, alpha.astype(np.float32))
    ((total, words),) = map_reduce(completion_step, *arguments, about="perplexity")
    return (float(np.exp(-total / words)) if words > 0 else float(word_topic.shape[0])), float(words)


def duplicate_topics(word_topic: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Pairs of topics closer than 0.1 in total variation.

    Their Bhattacharyya coefficient is at least one minus that distance: one matrix product finds the candidates.
    """
    roots = np.sqrt(word_topic)
    near = np.triu(roots.T @ roots >= 1 - _SAME - 1e-5, 1)
    pairs = ((int(a), int(b)) for a, b in np.argwhere(near))
    return [(a, b) for a, b in pairs if np.abs(word_topic[:, a] - word_topic[:, b]).sum() / 2 < _SAME]


def topic_warnings(model: TopicModel, sizes: NDArray[np.float64]) -> list[str]:
    """What a person should know before trusting the topics. sizes : (T,) shares of the words."""
    warnings = [
        f"topics {a} and {b} are nearly the same; fewer topics may do (-k)"
        for a, b in duplicate_topics(model.word_topic)
    ]
    empty = np.flatnonzero(sizes < _EMPTY / model.n_topics)
    if empty.size:
        listed = ", ".join(map(str, empty[:10])) + (" ..." if empty.size > 10 else "")
        warnings.append(
            f"{empty.size} of {model.n_topics} topics are nearly empty ({listed}); fewer topics may do (-k)"
        )
    return warnings


def score_model(
    map_reduce: MapReduce,
    model: TopicModel,
    *,
    held_out: NDArray[np.int64],
    seed: int,
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
    """(scores of the model, scores of each topic). Perplexity is left out when nothing was held out."""
    scores: dict[str, float] = {}
    if held_out.size:
        perplexity, words = completion_perplexity(map_reduce, model.word_topic, model.alpha, held_out, seed)
        scores |= {"perplexity": perplexity, "held_out_documents": int(held_out.size), "words_scored": int(words)}
    found = coherence(map_reduce, model.word_topic, held_out)
    by_topic = {"npmi": found.npmi, "umass": found.umass, "cv": found.cv}
    scores |= {name: float(values.mean()) for name, values in by_topic.items()}
    scores["diversity"] = diversity(model.word_topic)
    return scores, by_topic
