"""Comparisons of covers: against slow twins, closed forms, published properties and what must not change them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from tdtool.models import cover_overlaps, cover_scores, omega_index
from tdtool.models.cover import Cover
from tdtool.models.cover_scores import (
    average_f1,
    best_f1,
    matched_communities,
    membership_error,
    onmi_lfk,
    onmi_max,
    recovery,
)
from tests import oracles_cover as oracles

Score = Callable[[Cover, Cover], float]
SCORES: dict[str, Score] = {
    "onmi_max": onmi_max,
    "onmi_lfk": onmi_lfk,
    "omega_index": cover_scores.omega_index,
    "average_f1": average_f1,
    "membership_error": membership_error,
    "recovery ratio": lambda found, truth: recovery(found, truth).ratio,
    "recovery error": lambda found, truth: recovery(found, truth).error,
}
ERRORS = ("membership_error", "recovery error")


def some_sets(rng: np.random.Generator, n: int, most: int) -> list[set[int]]:
    """One to `most` communities of some of n nodes, small and large, none empty."""
    shares = rng.choice([0.1, 0.4, 0.7, 0.95], int(rng.integers(1, most + 1)))
    return [{*np.flatnonzero(rng.random(n) < share).tolist(), int(rng.integers(n))} for share in shares]


def two_covers(most: int = 5, least_nodes: int = 2) -> st.SearchStrategy[tuple[list[set[int]], list[set[int]], int]]:
    """Two covers of the same n nodes, and n."""

    def draw(seed: int, n: int) -> tuple[list[set[int]], list[set[int]], int]:
        rng = np.random.default_rng(seed)
        return some_sets(rng, n, most), some_sets(rng, n, most), n

    return st.builds(draw, st.integers(0, 2**32 - 1), st.integers(least_nodes, 11))


def not_whole(sets: list[set[int]], n: int) -> list[set[int]]:
    """The same without node 0 in communities of all nodes, which tell nothing."""
    return [some if len(some) < n else some - {0} for some in sets]


def of(sets: list[set[int]], n: int) -> Cover:
    return Cover.from_sets(sets, n)


# ---- against the slow twins


@given(two_covers())
def test_onmi_is_that_of_the_formulas(case: tuple[list[set[int]], list[set[int]], int]) -> None:
    found, truth, n = case
    found, truth = not_whole(found, n), not_whole(truth, n)
    assert onmi_max(of(found, n), of(truth, n)) == pytest.approx(oracles.onmi_max(found, truth, n), abs=1e-12)
    assert onmi_lfk(of(found, n), of(truth, n)) == pytest.approx(oracles.onmi_lfk(found, truth, n), abs=1e-12)


@given(two_covers())
def test_omega_is_that_of_the_formula(case: tuple[list[set[int]], list[set[int]], int]) -> None:
    found, truth, n = case
    ours = cover_scores.omega_index(of(found, n), of(truth, n))
    try:
        assert ours == pytest.approx(oracles.omega(found, truth, n), abs=1e-12)
    except ZeroDivisionError:
        assert ours == 1


@given(two_covers())
def test_f1_is_that_of_the_formula(case: tuple[list[set[int]], list[set[int]], int]) -> None:
    found, truth, n = case
    assert average_f1(of(found, n), of(truth, n)) == pytest.approx(oracles.average_f1(found, truth), rel=1e-12)
    scores, partner = best_f1(of(found, n), of(truth, n))
    for y, score, best in zip(truth, scores, partner, strict=True):
        everyone = [oracles.f1(x, y) for x in found]
        assert score == pytest.approx(max(everyone), rel=1e-12)
        assert best == (everyone.index(max(everyone)) if score else -1)


@given(two_covers(most=3), st.integers(0, 2**32 - 1))
def test_membership_error_is_that_of_the_best_matching(
    case: tuple[list[set[int]], list[set[int]], int], seed: int
) -> None:
    found, truth, n = case
    rng = np.random.default_rng(seed)
    ours, theirs = (
        Cover.from_dense(of(sets, n).to_csr().toarray() * rng.uniform(0.1, 1, (n, len(sets))))
        for sets in (found, truth)
    )
    expected = oracles.membership_error(ours.to_csr().toarray(), theirs.to_csr().toarray())
    assert membership_error(ours, theirs) == pytest.approx(expected, abs=1e-12)


@given(two_covers(least_nodes=3), st.sampled_from([0.01, 0.2, 0.7]))
def test_recovery_is_that_of_the_test(case: tuple[list[set[int]], list[set[int]], int], threshold: float) -> None:
    found, truth, n = case
    found, truth = not_whole(found, n), not_whole(truth, n)
    ours = recovery(of(found, n), of(truth, n), threshold=threshold)
    ratio, error = oracles.recovery(found, truth, n, threshold)
    assert (ours.ratio, ours.error) == (pytest.approx(ratio), pytest.approx(error))
    assert ours.recovered.mean() == pytest.approx(ratio)
    assert sorted(set(ours.truth.tolist())) == np.flatnonzero(ours.recovered).tolist()


# ---- what is known of them


def blocks(n_blocks: int, size: int, n: int) -> Cover:
    """Communities of `size` nodes in a row."""
    return Cover.from_sets([range(start * size, (start + 1) * size) for start in range(n_blocks)], n)


@pytest.mark.parametrize("k", [2, 5, 7])
def test_one_community_of_many(k: int) -> None:
    """The case for which McDaid et al. made their version: LFK gives more than a half for one community of k."""
    truth, found = blocks(k, 10, 100), blocks(1, 10, 100)
    assert onmi_max(found, truth) == pytest.approx(1 / k)
    assert onmi_lfk(found, truth) == pytest.approx((1 + 1 / k) / 2)
    assert average_f1(found, truth) == pytest.approx((1 + 1 / k) / 2)
    assert recovery(found, truth).ratio == pytest.approx(1 / k)
    assert membership_error(found, truth) == pytest.approx((k - 1) / 10)


def test_a_complement_is_no_match() -> None:
    """It says all of the community; the condition of LFK (B.14) keeps it from counting."""
    truth, complement = Cover.from_sets([range(5)], 20), Cover.from_sets([range(5, 20)], 20)
    assert onmi_max(complement, truth) == pytest.approx(0, abs=1e-12)
    assert onmi_lfk(complement, truth) == pytest.approx(0, abs=1e-12)


def test_a_large_community_may_tell_of_a_small_one_that_it_does_not_touch() -> None:
    found, truth = [set(range(70))], [{99}]
    ours = onmi_max(of(found, 100), of(truth, 100))
    assert ours == pytest.approx(oracles.onmi_max(found, truth, 100), abs=1e-12)
    assert ours > 0.005, "h(neither) > h(both) + h(one) though no node is shared"


#: Values of NetworKit 11.3 (1 - OverlappingNMIDistance, MAX).
ELSEWHERE = [
    ([range(6), range(4, 13)], [range(5), range(5, 11), range(9, 15)], 17, 0.40409376545829245),
    ([range(3), range(3, 10), range(8, 12)], [range(12)], 12, 0.0),
    ([range(7), range(30, 41)], [range(1, 9), range(25, 40), range(5, 35)], 43, 0.276042348838621),
    ([range(0, 20, 2), range(1, 20, 2)], [range(11), range(9, 20)], 23, 0.03322120054750666),
]


@pytest.mark.parametrize(("found", "truth", "n", "value"), ELSEWHERE)
def test_onmi_of_another_program(found: list[range], truth: list[range], n: int, value: float) -> None:
    assert onmi_max(Cover.from_sets(found, n), Cover.from_sets(truth, n)) == pytest.approx(value, abs=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_omega_without_overlap_is_the_adjusted_rand_index(seed: int, n: int) -> None:
    a, b = np.random.default_rng(seed).integers(0, 4, (2, n))
    expected = adjusted_rand_score(a, b)
    assert cover_scores.omega_index(Cover.from_labels(a), Cover.from_labels(b)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in SCORES if name != "recovery error"])
@settings(max_examples=30)
@given(case=two_covers())
def test_equal_covers(name: str, case: tuple[list[set[int]], list[set[int]], int]) -> None:
    cover = of(case[0], case[2])
    assert SCORES[name](cover, cover) == pytest.approx(0 if name in ERRORS else 1, abs=1e-12)


def test_every_related_pair_adds_to_the_error() -> None:
    """Two halves of a community are both related to it; each differs from it on 6 of 40 nodes."""
    found, truth = Cover.from_sets([range(6), range(6, 12)], 40), Cover.from_sets([range(12)], 40)
    ours = recovery(found, truth)
    assert (ours.ratio, ours.error) == (1, pytest.approx(2 * 6 / 40))
    assert ours.found.tolist() == [0, 1]
    assert recovery(truth, truth).error == 0


@pytest.mark.parametrize("name", ["onmi_max", "onmi_lfk", "omega_index"])
def test_independent_covers_score_about_nothing(name: str, rng: np.random.Generator) -> None:
    found, truth = (Cover.from_dense(rng.random((3000, 6)), threshold=0.7) for _ in range(2))
    assert abs(SCORES[name](found, truth)) < 0.005


def test_independent_communities_are_recovered_by_chance_alone(rng: np.random.Generator) -> None:
    found, truth = (Cover.from_dense(rng.random((500, 30)), threshold=0.8) for _ in range(2))
    pairs = recovery(found, truth, threshold=0.05)
    assert 0.01 < pairs.p_values.size / 900 < 0.04, "half of 0.05: only positive correlations count"


@pytest.mark.parametrize("name", SCORES)
@settings(max_examples=30)
@given(case=two_covers(), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_nodes_and_communities_means_nothing(
    name: str, case: tuple[list[set[int]], list[set[int]], int], seed: int
) -> None:
    found, truth, n = case
    rng = np.random.default_rng(seed)
    nodes = rng.permutation(n).tolist()
    shuffled = [
        [{nodes[node] for node in cover[place]} for place in rng.permutation(len(cover)).tolist()]
        for cover in (found, truth)
    ]
    value = SCORES[name](of(found, n), of(truth, n))
    assert SCORES[name](of(shuffled[0], n), of(shuffled[1], n)) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in SCORES if not name.startswith("recovery")])
@settings(max_examples=30)
@given(case=two_covers())
def test_both_ways_are_the_same(name: str, case: tuple[list[set[int]], list[set[int]], int]) -> None:
    found, truth = of(case[0], case[2]), of(case[1], case[2])
    assert SCORES[name](found, truth) == pytest.approx(SCORES[name](truth, found), abs=1e-12)


@pytest.mark.parametrize("name", SCORES)
def test_communities_without_members_do_not_count(name: str, rng: np.random.Generator) -> None:
    found, truth = (Cover.from_dense(rng.random((13, k)), threshold=0.6) for k in (3, 5))
    padded = [Cover.from_sets([[], *cover.sets(), []], 13) for cover in (found, truth)]
    plain = [Cover.from_sets(cover.sets(), 13) for cover in (found, truth)]
    assert SCORES[name](*padded) == pytest.approx(SCORES[name](*plain), rel=1e-12)


# ---- the ends of the scale


WHOLE, NOTHING, SOME = Cover.from_sets([range(7)], 7), Cover.from_sets([], 7), Cover.from_sets([[0, 1], [2, 3, 4]], 7)


@pytest.mark.parametrize("name", [name for name in SCORES if name not in ERRORS])
def test_nothing_found(name: str) -> None:
    assert SCORES[name](NOTHING, SOME) == (pytest.approx(0) if name != "omega_index" else 0)
    assert SCORES[name](NOTHING, NOTHING) == 1


def test_nothing_found_is_wholly_wrong_where_something_is() -> None:
    assert membership_error(NOTHING, SOME) == pytest.approx(5 / 7)
    assert membership_error(SOME, NOTHING) == pytest.approx(5 / 7)
    assert membership_error(NOTHING, NOTHING) == 0
    assert matched_communities(NOTHING, SOME).tolist() == []
    assert matched_communities(SOME, NOTHING).tolist() == [-1, -1]
    assert matched_communities(SOME, Cover.from_sets([[3, 4, 5], [1], [6]], 7)).tolist() == [1, 0]
    assert recovery(SOME, NOTHING).error == 0


def test_a_community_of_all_nodes_tells_nothing() -> None:
    assert onmi_max(WHOLE, SOME) == onmi_lfk(WHOLE, SOME) == 0
    assert onmi_max(WHOLE, WHOLE) == onmi_lfk(WHOLE, WHOLE) == recovery(WHOLE, WHOLE).ratio == 1
    both = Cover.from_sets([*SOME.sets(), range(7)], 7)
    assert onmi_lfk(both, SOME) == pytest.approx(1 - 1 / 6)
    assert recovery(WHOLE, SOME).ratio == 0


def test_tiny_graphs() -> None:
    for n in (0, 1):
        cover = Cover.from_sets([range(n)], n)
        assert [score(cover, cover) for score in SCORES.values()] == [1, 1, 1, 1, 0, 1, 0]
    assert recovery(Cover.from_sets([[0]], 2), Cover.from_sets([[0], [1]], 2)).ratio == 0.5


def test_covers_of_different_nodes_are_refused() -> None:
    for score in SCORES.values():
        with pytest.raises(ValueError, match="7 and 5 nodes"):
            score(SOME, Cover.from_sets([[0]], 5))


# ---- in pieces


@pytest.mark.parametrize("most", [1, 17, 300])
def test_blocks_change_nothing(most: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    found, truth = (Cover.from_dense(rng.random((41, k)), threshold=0.5) for k in (3, 5))
    whole = membership_error(found, truth), cover_scores.omega_index(found, truth)
    monkeypatch.setattr(cover_overlaps, "_BLOCK", most)
    monkeypatch.setattr(omega_index, "_BLOCK", most)
    assert membership_error(found, truth) == pytest.approx(whole[0], rel=1e-12)
    assert cover_scores.omega_index(found, truth) == whole[1]


@given(st.lists(st.integers(0, 9), max_size=20), st.integers(1, 30))
def test_blocks_hold_every_place_once_and_not_too_much(work: list[int], most: int) -> None:
    ranges = list(cover_overlaps.work_blocks(np.array(work, np.int64), most))
    assert [place for start, stop in ranges for place in range(start, stop)] == list(range(len(work)))
    assert all(sum(work[start:stop]) <= most or stop - start == 1 for start, stop in ranges)


def test_overlaps_of_the_swapped_covers() -> None:
    pairs = cover_overlaps.overlaps(SOME, Cover.from_sets([[1, 2, 3]], 7))
    assert (pairs.found.tolist(), pairs.truth.tolist(), pairs.shared.tolist()) == ([0, 1], [0, 0], [1, 2])
    assert (pairs.swapped().found.tolist(), pairs.swapped().truth.tolist()) == ([0, 0], [0, 1])
    assert pairs.swapped().truth_sizes.tolist() == [2, 3]


def test_many_communities_are_matched_as_few_are(rng: np.random.Generator) -> None:
    """700 communities of 2,000 nodes, planted and shuffled: the sparse matching finds the order again."""
    labels, order = rng.integers(0, 700, 2000), rng.permutation(700)
    truth, found = Cover.from_labels(labels), Cover.from_labels(order[labels])
    noisy = np.where(rng.random(2000) < 0.1, rng.integers(0, 700, 2000), order[labels])
    present = np.intersect1d(np.unique(order[labels]), np.arange(found.n_communities))
    assert membership_error(found, truth) == 0
    assert matched_communities(found, truth)[present].tolist() == np.argsort(order)[present].tolist()
    assert membership_error(Cover.from_labels(noisy), truth) == pytest.approx(np.mean(noisy != order[labels]), abs=0.02)
