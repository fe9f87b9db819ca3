"""Planted graphs: the edges follow the model that is claimed, and they come out the same every time."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from tdtool.data.planted import PlantedGraph, planted_disjoint, planted_friends, planted_lfr, planted_mmsb
from tdtool.data.planted_places import overlapping_places
from tdtool.data.planted_wiring import match_stubs, poisson_pairs, power_law, power_law_mean, simple_edges

Draw = Callable[[np.random.Generator], PlantedGraph]

DRAWS: dict[str, Draw] = {
    "mmsb": lambda rng: planted_mmsb(300, 3, mean_degree=12, alpha0=0.4, rng=rng),
    "mmsb, dense": lambda rng: planted_mmsb(60, 2, mean_degree=None, alpha0=0.5, within=0.9, between=0.3, rng=rng),
    "disjoint": lambda rng: planted_disjoint([50, 30, 70], mean_degree=9, mixing=0.25, spread=0.5, rng=rng),
    "lfr": lambda rng: planted_lfr(
        300, mean_degree=10, max_degree=25, mixing=0.3, sizes=(15, 50), n_overlapping=40, rng=rng
    ),
}


def degrees(planted: PlantedGraph) -> np.ndarray:
    return np.bincount(planted.edges.ravel(), minlength=planted.n_nodes)


def together(planted: PlantedGraph) -> np.ndarray:
    """Of each edge, in how many communities both ends are."""
    member = planted.memberships.toarray() > 0
    return (member[planted.edges[:, 0]] & member[planted.edges[:, 1]]).sum(axis=1)


@pytest.mark.parametrize("name", DRAWS)
def test_edges_are_simple_and_the_same_for_the_same_seed(name: str) -> None:
    first, again, other = (DRAWS[name](np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first.edges.tobytes() == again.edges.tobytes()
    assert np.array_equal(first.memberships.toarray(), again.memberships.toarray())
    assert first.edges.tobytes() != other.edges.tobytes()
    assert first.edges.dtype == np.int64
    assert (first.edges[:, 0] < first.edges[:, 1]).all()
    assert first.edges.min() >= 0
    assert first.edges.max() < first.n_nodes
    pairs = list(map(tuple, first.edges.tolist()))
    assert pairs == sorted(set(pairs))
    np.testing.assert_allclose(first.memberships.sum(axis=1), 1)
    assert first.memberships.shape[0] == first.n_nodes


def test_sets_are_the_columns_of_the_memberships() -> None:
    shares = sparse.csr_array([[0.9, 0.1, 0.0], [0.0, 1.0, 0.0], [0.4, 0.6, 0.0], [0.0, 0.3, 0.7]])
    planted = PlantedGraph(np.zeros((0, 2), np.int64), shares, 4)
    assert [members.tolist() for members in planted.sets()] == [[0, 2], [0, 1, 2, 3], [3]]
    assert [members.tolist() for members in planted.sets(0.35)] == [[0, 2], [1, 2], [3]]


def test_poisson_pairs_have_the_means_of_their_rates(rng: np.random.Generator) -> None:
    weights = sparse.csr_array([[1.0, 0.0], [0.5, 2.0], [0.0, 3.0], [0.7, 0.2], [0.0, 0.0]])
    rates = np.array([[0.3, 0.1], [0.1, 0.5]])
    counts = np.zeros((5, 5))
    n_draws = 4000
    for _ in range(n_draws):
        tails, heads = poisson_pairs(weights, rates, rng)
        np.add.at(counts, (np.minimum(tails, heads), np.maximum(tails, heads)), 1)
    expected = np.triu(weights @ rates @ weights.T.toarray(), 1)
    assert counts[expected == 0].sum() == 0
    # five standard deviations of a Poisson mean
    assert (np.abs(counts / n_draws - expected) <= 5 * np.sqrt(expected / n_draws)).all()


@pytest.mark.parametrize("alpha0", [0.0, 0.3, 2.0])
def test_mmsb_memberships_are_dirichlet(alpha0: float, rng: np.random.Generator) -> None:
    shares = planted_mmsb(20_000, 5, mean_degree=1, alpha0=alpha0, rng=rng).memberships.toarray()
    np.testing.assert_allclose(shares.mean(axis=0), 0.2, atol=0.012)
    # E pi_a^2 = (1 / k) (alpha0 / k + 1) / (alpha0 + 1)
    assert (shares**2).mean() == pytest.approx(0.2 * (alpha0 / 5 + 1) / (alpha0 + 1), rel=0.02)


def test_mmsb_edges_are_independent_with_the_probabilities_of_the_model() -> None:
    """Dense blocks, where a Poisson number of links is far from one edge or none; memberships fixed by the seed."""
    n_draws, n_nodes = 1500, 7
    memberships, counts, numbers = None, np.zeros((n_nodes, n_nodes)), []
    for draw in range(n_draws):
        rng = _SameMemberships(draw)
        planted = planted_mmsb(n_nodes, 3, mean_degree=None, alpha0=1.5, within=0.95, between=0.2, rng=rng)
        memberships = planted.memberships.toarray()
        counts[tuple(planted.edges.T)] += 1
        numbers.append(len(planted.edges))
    assert memberships is not None
    link = np.full((3, 3), 0.2) + 0.75 * np.eye(3)
    expected = np.triu(memberships @ link @ memberships.T, 1)
    deviation = np.sqrt(expected * (1 - expected) / n_draws)
    assert (np.abs(counts / n_draws - expected) <= 4.5 * deviation).all()
    assert expected.max() > 0.7
    assert np.var(numbers) == pytest.approx((expected * (1 - expected)).sum(), rel=0.15)


class _SameMemberships(np.random.Generator):
    """Draws the same Dirichlet memberships whatever its seed."""

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))

    def dirichlet(self, *arguments: object, **named: object) -> np.ndarray:  # type: ignore[override]
        return np.random.default_rng(11).dirichlet(*arguments, **named)  # type: ignore[arg-type]


def test_mmsb_has_the_mean_degree_and_the_block_densities(rng: np.random.Generator) -> None:
    planted = planted_mmsb(3000, 4, mean_degree=30, alpha0=0.0, between=0.1, rng=rng)
    assert planted.link_probability is not None
    assert degrees(planted).mean() == pytest.approx(30, abs=5 * math.sqrt(2 * 30 / 3000))
    np.testing.assert_allclose(planted.link_probability[0] / planted.link_probability[0, 0], [1, 0.1, 0.1, 0.1])
    labels = planted.memberships.indices
    found = np.zeros((4, 4))
    np.add.at(found, (labels[planted.edges[:, 0]], labels[planted.edges[:, 1]]), 1)
    sizes = np.bincount(labels, minlength=4)
    pairs = np.outer(sizes, sizes) - np.diag(sizes * (sizes + 1) / 2)
    for a, b in itertools.combinations_with_replacement(range(4), 2):
        number, of = (found[a, a], pairs[a, a]) if a == b else (found[a, b] + found[b, a], pairs[a, b])
        expected = planted.link_probability[a, b] * of
        assert abs(number - expected) < 4 * math.sqrt(expected), (a, b)


def test_mmsb_expects_the_mean_degree_exactly(rng: np.random.Generator) -> None:
    planted = planted_mmsb(12, 3, mean_degree=4, alpha0=0.7, between=0.2, rng=rng)
    assert planted.link_probability is not None
    probability = planted.memberships @ planted.link_probability @ planted.memberships.T.toarray()
    assert np.triu(probability, 1).sum() == pytest.approx(12 * 4 / 2)


def test_mmsb_is_drawn_in_time_of_its_edges(rng: np.random.Generator) -> None:
    planted = planted_mmsb(200_000, 7, mean_degree=3, alpha0=0.2, rng=rng)  # 2e10 pairs
    assert len(planted.edges) == pytest.approx(300_000, rel=0.01)


@pytest.mark.parametrize(
    "settings",
    [
        {"n_nodes": 1},
        {"n_communities": 0},
        {"alpha0": -0.1},
        {"within": 0.0},
        {"between": -0.1},
        {"mean_degree": 60.0},
        {"mean_degree": None},
    ],
)
def test_mmsb_refuses(settings: dict[str, float], rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"are needed|would have probability"):
        planted_mmsb(**({"n_nodes": 70, "n_communities": 3, "mean_degree": 5, "alpha0": 0.0} | settings), rng=rng)  # type: ignore[arg-type]


def test_disjoint_blocks_have_their_mixing_and_their_degrees(rng: np.random.Generator) -> None:
    planted = planted_disjoint([700, 1100, 500], mean_degree=20, mixing=0.3, spread=0.6, rng=rng)
    assert [members.size for members in planted.sets()] == [700, 1100, 500]
    assert degrees(planted).mean() == pytest.approx(20, rel=0.05)
    assert (together(planted) == 0).mean() == pytest.approx(0.3, abs=0.02)
    flat = planted_disjoint([700, 1100, 500], mean_degree=20, mixing=0.3, rng=rng)
    assert degrees(planted)[:700].std() > 2 * degrees(flat)[:700].std()
    assert (together(planted_disjoint([90, 40], mean_degree=7, mixing=0.0, rng=rng)) == 1).all()
    with pytest.raises(ValueError, match="at least 2 nodes"):
        planted_disjoint([5, 1], mean_degree=2, mixing=0.1, rng=rng)


@pytest.mark.parametrize(("n_overlapping", "each", "mixing"), [(0, 2, 0.2), (150, 2, 0.1), (90, 3, 0.4)])
def test_lfr_is_what_was_asked(n_overlapping: int, each: int, mixing: float, rng: np.random.Generator) -> None:
    planted = planted_lfr(
        1000,
        mean_degree=16,
        max_degree=45,
        mixing=mixing,
        sizes=(25, 80),
        n_overlapping=n_overlapping,
        memberships_each=each,
        rng=rng,
    )
    found = degrees(planted)
    assert found.mean() == pytest.approx(16, rel=0.05)
    assert found.max() <= 45
    assert (together(planted) == 0).mean() == pytest.approx(mixing, abs=0.02)
    per_node = np.diff(planted.memberships.indptr)
    assert np.bincount(per_node, minlength=4)[[1, each]].tolist() == [1000 - n_overlapping, n_overlapping]
    np.testing.assert_allclose(planted.memberships.data, np.repeat(1 / per_node, per_node))
    sizes = [members.size for members in planted.sets()]
    assert min(sizes) >= 25
    assert max(sizes) <= 80
    assert sum(sizes) == 1000 + n_overlapping * (each - 1)


def test_lfr_mixes_at_every_node_and_shares_equally(rng: np.random.Generator) -> None:
    planted = planted_lfr(800, mean_degree=20, max_degree=40, mixing=0.25, sizes=(40, 90), n_overlapping=200, rng=rng)
    member = planted.memberships.toarray() > 0
    adjacency = np.zeros((800, 800))
    adjacency[tuple(planted.edges.T)] = adjacency[tuple(planted.edges.T[::-1])] = 1
    inside = (adjacency * (member.astype(float) @ member.T > 0)).sum(axis=1)
    rest = inside - 0.75 * degrees(planted)
    assert np.abs(rest).max() <= 3  # a degree is rounded, and a group whose sum is odd loses one
    into = (adjacency @ member)[member.sum(axis=1) == 2]
    own = member[member.sum(axis=1) == 2]
    first, second = into[own].reshape(-1, 2).T
    assert np.abs(first - second).mean() < 2.5
    assert first.mean() == pytest.approx(second.mean(), rel=0.1)


def test_lfr_degrees_follow_the_power_law(rng: np.random.Generator) -> None:
    planted = planted_lfr(
        4000, mean_degree=10, max_degree=100, mixing=0.5, sizes=(80, 300), degree_exponent=2.5, rng=rng
    )
    found = degrees(planted)
    # of the density x^-2.5 a share (10^-1.5 - 100^-1.5) / (20^-1.5 - 100^-1.5) of what is above 10 is above 20
    tail = (20.5**-1.5 - 100**-1.5) / (10.5**-1.5 - 100**-1.5)
    assert (found > 20).sum() / (found > 10).sum() == pytest.approx(tail, abs=0.05)


@pytest.mark.parametrize(
    "settings",
    [
        {"mean_degree": 0.5},
        {"max_degree": 100},
        {"max_degree": 5},
        {"mixing": 1.1},
        {"sizes": (1, 20)},
        {"sizes": (30, 20)},
        {"sizes": (5, 7)},
        {"n_overlapping": 101},
        {"n_overlapping": 100, "memberships_each": 50},
        {"sizes": (70, 80)},
    ],
)
def test_lfr_refuses(settings: dict[str, object], rng: np.random.Generator) -> None:
    asked = {"mean_degree": 8, "max_degree": 20, "mixing": 0.1, "sizes": (20, 40)} | settings
    with pytest.raises(ValueError, match=r"fit|are needed|must have|cannot hold|too few|places together"):
        planted_lfr(100, **asked, rng=rng)  # type: ignore[arg-type]


def test_match_stubs_keeps_degrees_of_nearly_complete_groups(rng: np.random.Generator) -> None:
    nodes = np.array([0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8])
    groups = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    wanted = np.array([5, 4, 5, 4, 4, 4, 2, 1, 1, 2, 3, 3])
    for _ in range(20):
        tails, heads = match_stubs(nodes, wanted, groups, 9, None, rng)
        assert len(simple_edges(tails, heads, 9)) == 19
        found = np.bincount(np.concatenate((tails, heads)), minlength=9)
        assert found.tolist() == np.bincount(nodes, wanted).tolist()


def test_match_stubs_fills_a_group_that_lacks_few_edges(rng: np.random.Generator) -> None:
    wanted = np.array([14, 13, 13, 13, 13, 12, 13, 13, 14, 14, 14, 14, 14, 14, 14])
    for _ in range(10):
        tails, heads = match_stubs(np.arange(15), wanted, np.zeros(15, np.int64), 15, None, rng)
        assert np.bincount(np.concatenate((tails, heads))).tolist() == wanted.tolist()


def test_match_stubs_leaves_out_what_cannot_be(rng: np.random.Generator) -> None:
    one = np.zeros(3, np.int64)
    tails, heads = match_stubs(np.arange(3), np.array([2, 2, 8]), one, 3, None, rng)
    assert {frozenset(edge) for edge in zip(tails.tolist(), heads.tolist(), strict=True)} <= {
        frozenset({0, 1}),
        frozenset({0, 2}),
        frozenset({1, 2}),
    }
    assert len(tails) == len(simple_edges(tails, heads, 3)) >= 1
    places = np.array([[0, 1], [1, -1], [2, -1], [3, -1]])
    for _ in range(20):
        tails, heads = match_stubs(np.arange(4), np.array([2, 2, 2, 2]), np.zeros(4, np.int64), 4, places, rng)
        assert simple_edges(tails, heads, 4).tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]


def test_places_are_different_and_large_enough(rng: np.random.Generator) -> None:
    wanted, needs = np.array([1, 3, 2, 1, 1, 2] * 20), np.arange(120) % 13
    places = overlapping_places(wanted, needs, (7, 19), 1.0, rng)
    sizes = np.bincount(places[places >= 0])
    assert sizes.sum() == 200
    assert sizes.min() >= 7
    assert sizes.max() <= 19
    for row, number, need in zip(places.tolist(), wanted.tolist(), needs.tolist(), strict=True):
        mine = [place for place in row if place >= 0]
        assert len(set(mine)) == len(mine) == number
        assert min(sizes[mine]) > need


@pytest.mark.parametrize("exponent", [1.0, 2.0, 2.7])
def test_power_law_has_its_mean(exponent: float, rng: np.random.Generator) -> None:
    drawn = power_law(200_000, exponent, 3.0, 40.0, rng)
    assert drawn.min() >= 3
    assert drawn.max() <= 40
    assert drawn.mean() == pytest.approx(power_law_mean(exponent, 3.0, 40.0), rel=0.01)
    grid = np.linspace(3, 40, 200_001)
    density = grid**-exponent
    assert power_law_mean(exponent, 3.0, 40.0) == pytest.approx((density * grid).sum() / density.sum(), rel=1e-3)


def read_edges(folder: Path) -> dict[tuple[str, str], float]:
    lines = (folder / "graph.edges").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return {(first, second): float(hours) for first, second, hours in rows}


def test_sample_graph_is_its_truth(sample_data: Path) -> None:
    truth = json.loads((sample_data / "graph.truth.json").read_text(encoding="utf-8"))
    edges = read_edges(sample_data)
    assert list(edges) == sorted({(min(pair), max(pair)) for pair in edges})
    assert {name for pair in edges for name in pair} == set(truth["people"])
    assert 120 <= len(truth["people"]) <= 200
    assert [len(people) for people in truth["communities"].values()] == [34, 29, 25, 23, 21, 19, 16, 6]
    for name, groups in truth["people"].items():
        assert groups == [group for group, people in truth["communities"].items() if name in people]
    assert [sum(len(groups) == n for groups in truth["people"].values()) for n in (1, 2, 3)] == [116, 24, 3]
    assert all(hours * 2 == int(hours * 2) and 0.5 <= hours <= 12 for hours in edges.values())
    shared = [len(set(truth["people"][a]) & set(truth["people"][b])) for a, b in edges]
    assert 0.05 < np.mean([number == 0 for number in shared]) < 0.15
    for group, people in truth["communities"].items():
        inside = sum(a in people and b in people for a, b in edges)
        n_pairs = len(people) * (len(people) - 1) / 2
        assert inside / n_pairs == pytest.approx(truth["chances"][group], abs=0.13)
    team = set(truth["communities"]["quiz team"])
    assert all((a in team) == (b in team) for a, b in edges)


def test_truth_of_the_sample_graph_as_lines(sample_data: Path) -> None:
    truth = json.loads((sample_data / "graph.truth.json").read_text(encoding="utf-8"))
    lines = (sample_data / "graph.truth.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split("\t") for line in lines if not line.startswith("#")] == list(truth["communities"].values())
    assert [line[2:] for line in lines[1:] if line.startswith("#")] == list(truth["communities"])


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4])
def test_nobody_of_the_sample_graph_is_alone(seed: int, tmp_path: Path, sample_data: Path) -> None:
    planted_friends(tmp_path, np.random.default_rng(seed))
    truth = json.loads((tmp_path / "graph.truth.json").read_text(encoding="utf-8"))
    edges = read_edges(tmp_path)
    assert len(truth["people"]) == 143
    for name, groups in truth["people"].items():
        friends = {a if b == name else b for a, b in edges if name in (a, b)}
        assert all(friends & set(truth["communities"][group]) for group in groups)
    for name in ("graph.edges", "graph.truth.txt", "graph.truth.json"):
        assert ((tmp_path / name).read_bytes() == (sample_data / name).read_bytes()) == (seed == 0)
