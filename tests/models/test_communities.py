"""Communities of planted graphs are found; what must not matter does not; graphs without any do no harm."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tdtool.config import CommunitiesConfig
from tdtool.data.graph import Graph
from tdtool.data.planted_graph import PlantedGraph, planted_disjoint, planted_lfr, planted_mmsb
from tdtool.kernels import threads
from tdtool.models.communities import CommunityFit, fit_communities
from tdtool.models.cover import Cover
from tdtool.models.cover_scores import membership_error, onmi_max
from tdtool.models.graph_parts import UnsuitedError
from tdtool.models.overlap_em import dense_em, fit_propensity, graded
from tdtool.models.spectral_memberships import nearly_pure, spectral_memberships
from tdtool.moments.graph_embedding import GraphEmbedding
from tdtool.run.community_fit import relabelled
from tests import oracles_communities as oracles
from tests.small_graphs import as_matrix, cliques, graph_of, truth_of

Array = NDArray[Any]
AUTO = CommunitiesConfig()


def given(k: int, **others: Any) -> CommunitiesConfig:
    return CommunitiesConfig(n_communities=k, **others)


def blocks(seed: int = 1, sizes: tuple[int, ...] = (30, 40, 55, 70)) -> PlantedGraph:
    return planted_disjoint(sizes, mean_degree=14, mixing=0.1, spread=0.3, rng=np.random.default_rng(seed))


def overlapping(seed: int, n_overlapping: int = 40) -> PlantedGraph:
    shape = {"mean_degree": 18, "max_degree": 36, "mixing": 0.05, "sizes": (25, 60)}
    return planted_lfr(400, **shape, n_overlapping=n_overlapping, rng=np.random.default_rng(seed))


@pytest.fixture(autouse=True, scope="module")
def one_thread_of_blas() -> Iterator[None]:
    """As where the command runs."""
    with threadpool_limits(1, user_api="blas"):
        yield


def same_sets(found: Cover, truth: Cover) -> None:
    assert sorted(map(tuple, found.sets())) == sorted(map(tuple, truth.sets()))


def main_sets(cover: Cover) -> Cover:
    """Every node in the community of its largest share alone."""
    rows = itertools.pairwise(cover.indptr.tolist())
    return Cover.from_labels([cover.communities[a:b][cover.weights[a:b].argmax()] if b > a else -1 for a, b in rows])


def found_exactly(cover: Cover, truth: Cover) -> None:
    """Every node is mostly where it was planted; one in ten may have a second, weaker membership as well."""
    same_sets(main_sets(cover), truth)
    assert np.count_nonzero(cover.n_memberships > 1) <= cover.n_nodes / 10


def everything(fit: CommunityFit) -> dict[str, Any]:
    """All of a fit, as what can be compared to the bit."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.dtype, value.shape, value.tobytes()
        if isinstance(value, Cover):
            return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return value

    return {field.name: plain(getattr(fit, field.name)) for field in dataclasses.fields(fit)}


# ---- planted graphs


@pytest.mark.parametrize("config", [AUTO, given(4), given(4, overlap=False), given(4, alpha0=0.2)])
@pytest.mark.parametrize("seed", [1, 2])
def test_disjoint_blocks_exactly(config: CommunitiesConfig, seed: int) -> None:
    planted = blocks(seed)
    fit = fit_communities(graph_of(planted), config)
    found_exactly(fit.cover, truth_of(planted))
    assert fit.cover.n_communities == 4
    assert fit.bits > 500
    assert (fit.mode, fit.warnings) == ("dense", ())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_overlapping_communities(seed: int) -> None:
    """An LFR graph: a tenth of the nodes are in two communities. Nobody says how many there are."""
    planted = overlapping(seed)
    fit = fit_communities(graph_of(planted), AUTO)
    assert onmi_max(fit.cover, truth_of(planted)) > 0.95
    assert fit.cover.n_communities == planted.memberships.shape[1] == fit.trials[fit.chosen or 0].n_asked


@pytest.mark.parametrize(("n_nodes", "k", "alpha0"), [(600, 4, 0.3), (1000, 5, 0.5)])
def test_mixed_memberships_are_as_good_as_from_the_truth(n_nodes: int, k: int, alpha0: float) -> None:
    """The error of graded memberships is at most a tenth above that of EM which starts at the truth."""
    planted = planted_mmsb(n_nodes, k, mean_degree=30, alpha0=alpha0, rng=np.random.default_rng(3))
    graph, truth = graph_of(planted), truth_of(planted)
    fit = fit_communities(graph, given(k))
    assert fit.mixture is not None
    start = planted.memberships.toarray().astype(np.float32)
    strengths, background = dense_em(graph, start, fit_propensity(graph), n_iters=AUTO.polish)
    bound = membership_error(Cover.from_dense(as_matrix(graded(graph, strengths, background))), truth)
    assert membership_error(fit.mixture, truth) <= 1.1 * bound < 0.11
    embedding = GraphEmbedding(graph)
    spectral, _ = spectral_memberships(embedding.points(k), embedding.node_weights)
    strengths, background = dense_em(graph, nearly_pure(spectral), fit_propensity(graph), n_iters=AUTO.polish)
    mixture = Cover.from_dense(as_matrix(graded(graph, strengths, background)))
    assert membership_error(fit.mixture, mixture) < 1e-3 < membership_error(fit.mixture, fit.cover)
    assert fit_communities(graph, AUTO).cover.n_communities == k


def bipartite() -> tuple[Graph, Array]:
    """60 nodes and 45 others in three blocks of uneven sizes, and the block of each node."""
    rng = np.random.default_rng(8)
    block = np.concatenate([np.repeat([0, 1, 2], [12, 20, 28]), np.repeat([0, 1, 2], [16, 9, 20])])
    linked = rng.random((60, 45)) < np.where(np.equal.outer(block[:60], block[60:]), 0.45, 0.03)
    return Graph.from_edges(np.argwhere(linked) + np.array([0, 60]), n_nodes=105, n_left=60), block


@pytest.mark.parametrize("config", [AUTO, given(3)])
def test_both_sides_of_a_bipartite_graph_together(config: CommunitiesConfig) -> None:
    graph, block = bipartite()
    fit = fit_communities(graph, config)
    found_exactly(fit.cover, Cover.from_labels(block))
    assert fit.cover.n_communities == 3
    strengths = fit.cover.to_csr().toarray()
    strengths[strengths > 0] = fit.strengths
    np.testing.assert_allclose(fit.lambdas, strengths[:60].sum(axis=0) * strengths[60:].sum(axis=0), rtol=1e-9)


@pytest.mark.shared_data
def test_a_sparse_graph_is_searched_again_at_a_low_price(shared_data: Path) -> None:
    """LFR of mean degree 4.5: at the full price two communities of a few hubs pay, and leave most nodes out."""
    folder = shared_data / "graphs" / "lfr_n1000_mu0.3"
    with gzip.open(folder / "edges.txt.gz", "rt") as lines:
        edges = np.loadtxt(lines, dtype=np.int64, ndmin=2)
    with gzip.open(folder / "communities.txt.gz", "rt") as lines:
        truth = Cover.from_sets([np.array(line.split(), np.int64) for line in lines], 1000)
    fit = fit_communities(Graph.from_edges(edges, n_nodes=1000), AUTO)
    assert fit.reason.startswith("weak")
    assert (np.diff(fit.cover.indptr) > 0).mean() > 0.95
    assert onmi_max(fit.cover, truth) > 0.12


# ---- what must not matter


@pytest.fixture(scope="module")
def weighted() -> Graph:
    """An overlapping graph whose edges weigh 1, 2, 3 or 4."""
    planted = overlapping(5)
    return graph_of(planted, np.random.default_rng(5).integers(1, 5, len(planted.edges)))


def edges_of(graph: Graph) -> tuple[Array, Array]:
    matrix = graph.adjacency().toarray()
    edges = np.argwhere(np.triu(matrix))
    return edges, matrix[tuple(edges.T)]


@pytest.mark.parametrize("config", [AUTO, given(10, split=True)])
def test_the_order_of_the_edges(weighted: Graph, config: CommunitiesConfig) -> None:
    """To the last bit, whichever end comes first."""
    edges, weights = edges_of(weighted)
    order = np.random.default_rng(0).permutation(len(edges))
    turned = np.where(order[:, None] % 3 == 0, edges[order][:, ::-1], edges[order])
    other = Graph.from_edges(turned, weights=weights[order], n_nodes=weighted.n_nodes)
    assert everything(fit_communities(other, config)) == everything(fit_communities(weighted, config))


def test_the_number_of_threads(weighted: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit, on a graph that is cut in blocks, and not cut."""
    whole = everything(fit_communities(weighted, AUTO))
    monkeypatch.setattr(threads, "GRAIN", 2**14)
    one = everything(fit_communities(weighted, AUTO))
    with threads.using(2):
        two = everything(fit_communities(weighted, AUTO))
    assert one == two == whole


@pytest.mark.parametrize("kind", ["overlapping", "weighted", "blocks", "bipartite"])
def test_the_numbers_of_the_nodes(kind: str, weighted: Graph) -> None:
    """Relabelled, the same number of communities, and the same ones but for a few nodes."""
    graph = {"overlapping": graph_of(overlapping(1)), "weighted": weighted, "blocks": graph_of(blocks())}.get(kind)
    graph = bipartite()[0] if graph is None else graph
    rng = np.random.default_rng(4)
    place = rng.permutation(graph.n_nodes)
    if graph.n_left is not None:
        place = np.concatenate([rng.permutation(graph.n_left), graph.n_left + rng.permutation(45)])
    fit, other = fit_communities(graph, AUTO), fit_communities(relabelled(graph, place), AUTO)
    assert other.cover.n_communities == fit.cover.n_communities > 2
    assert onmi_max(other.cover.restricted(place), fit.cover) >= 0.99


def test_the_unit_of_the_weights(weighted: Graph) -> None:
    edges, weights = edges_of(weighted)
    other = fit_communities(Graph.from_edges(edges, weights=1000 * weights, n_nodes=weighted.n_nodes), AUTO)
    fit = fit_communities(weighted, AUTO)
    same_sets(other.cover, fit.cover)
    np.testing.assert_allclose(other.cover.weights, fit.cover.weights, rtol=1e-3)
    np.testing.assert_allclose(other.lambdas, fit.lambdas, rtol=1e-3)
    assert other.bits == pytest.approx(fit.bits, rel=1e-4)


def test_equal_weights_are_no_weights() -> None:
    planted = overlapping(2)
    fit = fit_communities(graph_of(planted), AUTO)
    other = fit_communities(graph_of(planted, np.full(len(planted.edges), 2.5)), AUTO)
    assert everything(other) == everything(fit)


def test_weights_tell_communities() -> None:
    """A graph of equal links everywhere; inside the two halves they weigh ten times as much."""
    rng = np.random.default_rng(6)
    edges = np.argwhere(np.triu(rng.random((60, 60)) < 0.4, 1))
    inside = (edges[:, 0] < 25) == (edges[:, 1] < 25)
    fit = fit_communities(Graph.from_edges(edges, weights=np.where(inside, 10.0, 1.0), n_nodes=60), given(2))
    labels = np.array([min(places, default=-1) for places in np.split(fit.cover.communities, fit.cover.indptr[1:-1])])
    assert max(np.mean((labels == 0) == (np.arange(60) >= 25)), np.mean((labels == 1) == (np.arange(60) >= 25))) > 0.95


# ---- what a fit says


def test_a_fit_is_whole(weighted: Graph) -> None:
    fit = fit_communities(weighted, AUTO)
    cover, n_nodes = fit.cover, weighted.n_nodes
    strengths = np.zeros((n_nodes, cover.n_communities))
    strengths[cover.entry_nodes(), cover.communities] = fit.strengths
    sums = strengths.sum(axis=1)
    np.testing.assert_allclose(cover.weights, fit.strengths / sums[cover.entry_nodes()], rtol=1e-9)
    np.testing.assert_allclose(fit.lambdas, oracles.inside_links(strengths).sum(axis=0) / 2, rtol=1e-9)
    assert np.all(np.diff(cover.sizes) <= 0)
    assert cover.sizes.min() >= 3
    ties = [s.min() for s in cover.sets()]
    assert all(a < b for (a, x), (b, y) in itertools.pairwise(zip(ties, cover.sizes, strict=True)) if x == y)
    assert fit.chosen is not None
    chosen = fit.trials[fit.chosen]
    assert [trial.n_asked for trial in fit.trials] == sorted({trial.n_asked for trial in fit.trials})
    assert chosen.objective == max(trial.objective for trial in fit.trials)
    assert fit.embedding is not None
    assert fit.eigenvalues is not None
    assert (fit.embedding.shape, fit.eigenvalues.shape) == ((n_nodes, chosen.n_asked), (chosen.n_asked,))
    weights = (weighted.degrees + 0.01 * weighted.mean_degree) / weighted.degrees.sum() / 1.01
    np.testing.assert_allclose(fit.embedding.T @ (weights[:, None] * fit.embedding), np.eye(chosen.n_asked), atol=1e-4)
    assert fit.mixture is not None
    assert fit.mixture.n_communities == cover.n_communities
    assert fit.mixture.weights.min() > 0.0099
    agree = main_sets(fit.mixture).communities == main_sets(cover).communities
    assert agree.mean() > 0.97


def test_bits_are_what_the_communities_save(weighted: Graph) -> None:
    """Likelihood of all pairs with and without them, in the unit of the mean weight, less what it takes to say them."""
    fit = fit_communities(weighted, AUTO)
    adjacency = weighted.adjacency().toarray() / weighted.weights.mean()
    strengths = np.zeros((weighted.n_nodes, fit.cover.n_communities))
    strengths[fit.cover.entry_nodes(), fit.cover.communities] = fit.strengths
    rates = fit.background * np.outer(fit.propensity, fit.propensity) + strengths @ strengths.T
    plain = np.outer(fit.propensity, fit.propensity)
    upper = np.triu_indices(weighted.n_nodes, 1)
    gain = 0.0
    for sign, rate in ((1, rates[upper]), (-1, plain[upper])):
        links = adjacency[upper]
        gain += sign * np.sum(np.where(links > 0, links * np.log(-np.expm1(-rate)), -rate)) / np.log(2)
    choice = fit.cover.n_communities / 2 * np.log2(weighted.n_edges)
    assert fit.bits < gain - choice
    assert gain - fit.bits < 3 * len(fit.strengths) * np.log2(fit.cover.n_communities) + choice


def test_every_trial_is_told() -> None:
    told = []
    fit = fit_communities(graph_of(blocks()), AUTO, on_trial=told.append)
    assert sorted(told, key=lambda trial: trial.n_asked) == list(fit.trials)
    assert len(told) > 5
    assert fit_communities(graph_of(blocks()), given(4)).trials == ()


def test_the_largest_number_that_is_tried() -> None:
    fit = fit_communities(graph_of(blocks()), CommunitiesConfig(max_communities=3))
    assert [trial.n_asked for trial in fit.trials] == [2, 3]
    assert fit.cover.n_communities <= 3
    alone = fit_communities(graph_of(blocks()), CommunitiesConfig(max_communities=1))
    assert alone.cover.n_communities == 1


# ---- options


def test_nodes_of_few_links_are_in_the_mixture() -> None:
    """Where all graded shares of a node fade, it is as in the cover."""
    planted = planted_mmsb(500, 5, mean_degree=8, alpha0=0.3, rng=np.random.default_rng(0))
    fit = fit_communities(graph_of(planted), given(5))
    assert fit.mixture is not None
    np.testing.assert_array_equal(fit.mixture.n_memberships > 0, fit.cover.n_memberships > 0)


def test_four_parts() -> None:
    planted = blocks(2)
    fit = fit_communities(graph_of(planted), given(4, split=True))
    found_exactly(fit.cover, truth_of(planted))
    assert fit.embedding is None
    same_sets(fit_communities(graph_of(planted), CommunitiesConfig(split=True)).cover, fit.cover)
    other = fit_communities(graph_of(planted), given(4, split=True, seed=1))
    assert everything(other) != everything(fit)


def test_without_polish_the_spectral_memberships() -> None:
    planted = blocks()
    fit = fit_communities(graph_of(planted), given(4, polish=0))
    same_sets(fit.cover, truth_of(planted))
    assert fit.mixture is not None
    assert membership_error(fit.mixture, truth_of(planted)) < 0.1


def test_without_overlap_every_node_in_one() -> None:
    planted = overlapping(1)
    fit = fit_communities(graph_of(planted), CommunitiesConfig(overlap=False))
    assert np.diff(fit.cover.indptr).tolist() == [1] * 400
    assert fit.mixture is None
    truth = planted.memberships.toarray()
    labels = Cover.from_labels(fit.cover.communities)
    assert onmi_max(labels, Cover.from_dense(truth)) > 0.85
    assert fit_communities(graph_of(planted), AUTO).cover.n_memberships.max() == 2


def test_one_community_is_all_nodes() -> None:
    fit = fit_communities(graph_of(blocks()), given(1))
    assert fit.cover.sizes.tolist() == [195]
    assert fit.reason == "one community was asked for"


# ---- components


@pytest.fixture(scope="module")
def apart() -> tuple[Graph, Array]:
    """Two planted graphs of two blocks each, a square, a triangle, a pair, and three nodes without edges."""
    one, two = blocks(3, (40, 60)), blocks(4, (30, 50))
    rest = np.array([(180, 181), (181, 182), (182, 183), (183, 180), (184, 185), (185, 186), (186, 184), (187, 188)])
    labels = np.repeat([0, 1, 2, 3, 4, 5, -1], [40, 60, 30, 50, 4, 3, 5])
    edges = np.concatenate([one.edges, two.edges + 100, rest])
    place = np.random.default_rng(1).permutation(192)
    moved = np.empty_like(labels)
    moved[place] = labels
    return Graph.from_edges(place[edges], n_nodes=192), moved


@pytest.mark.parametrize("config", [AUTO, given(6)])
def test_components(apart: tuple[Graph, Array], config: CommunitiesConfig) -> None:
    """The large ones are divided, the small ones are communities, what is smaller is in none; -k counts them all."""
    graph, labels = apart
    fit = fit_communities(graph, config)
    found_exactly(fit.cover, Cover.from_labels(labels))
    assert fit.cover.n_communities == 6
    assert fit.cover.sizes[4:].tolist() == [4, 3]
    assert fit.warnings == (
        "nodes with edges that are in no community of at least 3: 2",
        "components too small to be divided, each a community: 2",
    )
    assert fit.embedding is not None
    outside = np.isin(labels, [4, 5, -1])
    np.testing.assert_array_equal(np.isnan(fit.embedding).all(axis=1), outside)
    assert fit.mixture is not None
    same_sets(fit.mixture.restricted(outside), fit.cover.restricted(outside))
    np.testing.assert_array_equal(np.flatnonzero(np.diff(fit.mixture.indptr) == 0), np.flatnonzero(labels == -1))


def test_fewer_than_there_are_components() -> None:
    fit = fit_communities(cliques(12, 15, 3, 4), given(2))
    assert fit.cover.sizes.tolist() == [27, 4, 3]


def test_a_thousand_triangles() -> None:
    fit = fit_communities(cliques(*[3] * 1000), AUTO)
    assert fit.cover.sizes.tolist() == [3] * 1000
    assert fit.reason == "every component of at least three nodes is a community"
    np.testing.assert_array_equal(fit.cover.communities, np.repeat(np.arange(1000), 3))


# ---- graphs without communities


def path(n_nodes: int) -> Graph:
    places = np.arange(n_nodes - 1)
    return Graph.from_edges(np.column_stack((places, places + 1)))


def star(n_nodes: int) -> Graph:
    return Graph.from_edges(np.column_stack((np.zeros(n_nodes - 1, int), np.arange(1, n_nodes))))


def random_graph(n_nodes: int, mean_degree: float) -> Graph:
    upper = np.triu(np.random.default_rng(5).random((n_nodes, n_nodes)) < mean_degree / (n_nodes - 1), 1)
    return Graph.from_edges(np.argwhere(upper), n_nodes=n_nodes)


SHAPELESS = {
    "star": star(12),
    "larger star": star(61),
    "complete": cliques(12),
    "larger complete": cliques(40),
    "path": path(31),
    "larger path": path(201),
    "edge": path(2),
    "two edges": path(3),
    "triangle": cliques(3),
    "four": cliques(4),
    "random": random_graph(120, 9),
    "sparse random": random_graph(400, 3),
}
OPTIONS: list[dict[str, Any]] = [{}, {"polish": 0}, {"overlap": False}, {"alpha0": 1.0}, {"tau": 0.3}, {"split": True}]


@pytest.mark.parametrize("name", list(SHAPELESS))
def test_a_graph_without_communities(name: str) -> None:
    """One community or a warning, and few bits saved, whatever was asked for; or a word why it cannot be done."""
    graph = SHAPELESS[name]
    for options, k in itertools.product(OPTIONS, (None, 2)):
        config = CommunitiesConfig(n_communities=k, **options)
        if (config.split or name == "edge") and _refused(graph, config):
            continue
        fit = fit_communities(graph, config)
        assert np.isfinite(fit.strengths).all()
        assert np.isfinite(fit.lambdas).all()
        assert fit.cover.n_communities < 2 or fit.warnings
        assert -np.inf < fit.bits < 0.1 * graph.n_edges + 5


def _refused(graph: Graph, config: CommunitiesConfig) -> bool:
    try:
        fit_communities(graph, config)
    except UnsuitedError:
        return True
    return False


@pytest.mark.parametrize("seed", range(4))
def test_what_faded_to_nothing_is_no_membership(seed: int) -> None:
    """EM on a long path takes some memberships down to 1e-100 links and further."""
    fit = fit_communities(path(150), given(2, split=True, seed=seed))
    assert fit.strengths.min() > 1e-8
    np.testing.assert_allclose(np.bincount(fit.cover.entry_nodes(), fit.cover.weights)[fit.cover.entry_nodes()], 1)


@pytest.mark.parametrize("graph", [star(12), star(201), cliques(4), cliques(12), cliques(200)])
def test_no_community_stands_out(graph: Graph) -> None:
    fit = fit_communities(graph, AUTO)
    assert fit.cover.sizes.tolist() == [graph.n_nodes]
    assert fit.reason.startswith("no communities stand out")
    assert fit.chosen is None
    np.testing.assert_array_equal(fit.cover.weights, 1)


def test_what_is_said_of_small_and_of_random_graphs() -> None:
    assert fit_communities(path(2), AUTO).cover.n_communities == 0
    assert fit_communities(cliques(3), AUTO).cover.sizes.tolist() == [3]
    assert fit_communities(cliques(3, 3), AUTO).cover.sizes.tolist() == [3, 3]
    assert "hardly stand out" in fit_communities(SHAPELESS["random"], AUTO).warnings[0]


# ---- what cannot be done


@pytest.mark.parametrize(
    ("graph", "config", "message"),
    [
        (Graph.from_edges(np.zeros((0, 2), np.int64), n_nodes=5), AUTO, "the graph has no edges"),
        (cliques(5), given(6), "6 communities were asked for, of 5 nodes"),
        (cliques(11, 3), given(13), "13 communities were asked for; 1 small components are one each"),
        (cliques(30), given(4, split=True), "--split finds at most 3 communities among 30 nodes in four parts"),
        (star(40), given(2, split=True), "hardly linked"),
        (cliques(30), CommunitiesConfig(mode="sparse"), "label propagation finds no communities"),
    ],
)
def test_what_cannot_be_done_is_said(graph: Graph, config: CommunitiesConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        fit_communities(graph, config)
    assert isinstance(caught.value, UnsuitedError)
