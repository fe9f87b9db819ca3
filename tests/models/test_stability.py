"""What comes back from run to run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tdtool.models.cover import Cover
from tdtool.models.cover_scores import onmi_max
from tdtool.models.stability import best_jaccard, stability
from tests import oracles_graph_scores as oracles

FIRST = [{0, 1, 2, 3}, {3, 4, 5}, {6, 7, 8, 9, 10}]
SECOND = [{6, 7, 8, 9, 10}, {0, 1, 2}, {3, 4, 11}, set()]
THIRD = [{0, 1, 2, 3, 4, 5}, {6, 7, 8}]


def cover(sets: list[set[int]]) -> Cover:
    return Cover.from_sets(sets, 12)


def test_best_jaccard_is_that_of_the_sets() -> None:
    for one, other in itertools.permutations([FIRST, SECOND, THIRD], 2):
        np.testing.assert_allclose(best_jaccard(cover(one), cover(other)), oracles.best_jaccard(one, other))


def test_means_over_runs_and_pairs_of_runs() -> None:
    runs = [cover(sets) for sets in (FIRST, SECOND, THIRD)]
    found = stability(runs)
    by_hand = [(3 / 4 + 4 / 6) / 2, (2 / 4 + 3 / 6) / 2, (1 + 3 / 5) / 2]
    np.testing.assert_allclose(found.jaccard, by_hand)
    pairs = [onmi_max(runs[0], runs[1]), onmi_max(runs[0], runs[2]), onmi_max(runs[1], runs[2])]
    assert found.onmi == pytest.approx(sum(pairs) / 3)
    assert 0 < found.onmi < 1


def test_the_same_again_is_stable() -> None:
    again = cover([FIRST[place] for place in (2, 0, 1)])
    found = stability([cover(FIRST), again, cover(FIRST)])
    assert found.onmi == pytest.approx(1)
    assert found.jaccard.tolist() == [1, 1, 1]


def test_without_members_or_without_communities() -> None:
    assert best_jaccard(cover(SECOND), cover([])).tolist() == [0, 0, 0, 0]
    assert best_jaccard(cover(SECOND), cover(SECOND)).tolist() == [1, 1, 1, 0]


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="there is 1"):
        stability([cover(FIRST)])
    with pytest.raises(ValueError, match="different numbers of nodes"):
        stability([cover(FIRST), Cover.from_labels([0, 1])])
