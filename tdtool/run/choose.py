"""`-k auto`: how many topics."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tdtool import log
from tdtool.run.fit import TopicFit, TopicFitter

#: The search ends when this many sizes in a row were no better than the best.
_PATIENCE = 2


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One row of the table of `-k auto`. perplexity : None when nothing was held out."""

    n_topics: int
    perplexity: float | None
    npmi: float
    diversity: float


def candidate_sizes(n_documents: int) -> list[int]:
    """The grid of `-k auto`: 5 to min(200, D / 10), each about 1.6 times the one before."""
    largest, sizes = max(2, min(200, n_documents // 10)), []
    size = 5.0
    while round(size) <= largest:
        sizes.append(round(size))
        size *= 1.6
    return sizes or [largest]


def choose_n_topics(fitter: TopicFitter, sizes: Sequence[int]) -> tuple[TopicFit, list[Candidate]]:
    """Fit each size in turn; take the fewest topics whose NPMI is within one standard error of the highest.

    NPMI climbs to a plateau and wanders there: its maximum is an accident, its edge is not. The standard error is that
    of the mean over the topics of the best fit (the rule of Breiman, Friedman, Olshen, Stone 1984, section 3.4.3).
    Perplexity cannot choose: on real text it falls with the number of topics without end.
    """
    fits: list[TopicFit] = []
    best = 0
    for size in sizes:
        fits.append(fitter.fit(size))
        npmi = fits[-1].scores["npmi"]
        log.detail(f"{size} topics: NPMI {npmi:.3f}, diversity {fits[-1].scores['diversity']:.2f}")
        if npmi > fits[best].scores["npmi"]:
            best = len(fits) - 1
        if len(fits) - 1 - best == _PATIENCE:
            break
    if not fits:
        raise ValueError("no sizes to choose from")
    enough = fits[best].scores["npmi"] - _standard_error(fits[best])
    taken = next(fit for fit in fits if fit.scores["npmi"] >= enough)
    return taken, [_row(fit, size) for fit, size in zip(fits, sizes, strict=False)]


def _standard_error(fit: TopicFit) -> float:
    values = fit.topic_scores["npmi"]
    return float(np.std(values) / np.sqrt(values.size))


def _row(fit: TopicFit, size: int) -> Candidate:
    return Candidate(size, fit.scores.get("perplexity"), fit.scores["npmi"], fit.scores["diversity"])
