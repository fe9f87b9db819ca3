"""From a graph in a file to communities in a file, and every way in which that cannot be."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from tdtool.config import CommunitiesConfig, GraphConfig
from tdtool.data.graph import Graph
from tdtool.data.planted_graph import planted_mmsb
from tdtool.errors import InputError, ResourceError, TdtoolError, UsageError
from tdtool.kernels import threads
from tdtool.models.cover import Cover
from tdtool.models.cover_scores import membership_error, onmi_max
from tdtool.models.graph_parts import find_components
from tdtool.run import communities as run_module
from tdtool.run import community_fit
from tdtool.run.communities import CommunitiesResult, find_communities, plan_communities
from tdtool.run.evaluate_communities import evaluate_communities
from tdtool.run.graphs import check_graph, isolated_text, shape_warnings
from tdtool.run.outputs import check_outputs
from tdtool.store import hdf5
from tdtool.store.verify import verify
from tests.store.samples import names

GROUPS = (range(9), range(9, 20), range(20, 33))


def planted(seed: int = 3, inside: float = 0.8, across: float = 0.02) -> list[tuple[int, int]]:
    """Edges of three groups of 9, 11 and 13 nodes."""
    rng = np.random.default_rng(seed)
    group = np.repeat([0, 1, 2], [len(g) for g in GROUPS])
    pairs = itertools.combinations(range(len(group)), 2)
    return [(a, b) for a, b in pairs if rng.random() < (inside if group[a] == group[b] else across)]


def saved(folder: Path, edges: list[Any], name: str = "g.txt") -> str:
    """An edge list."""
    path = folder / name
    path.write_text("".join(" ".join(map(str, edge)) + "\n" for edge in edges), encoding="utf-8")
    return str(path)


def run(source: str, folder: Path, name: str = "out.h5", **settings: Any) -> CommunitiesResult:
    """Find communities with CommunitiesConfig(**settings)."""
    return find_communities(source, folder / name, communities=CommunitiesConfig(**settings), workers=1)


def digest(path: Path) -> str:
    """Of the content of a result."""
    with hdf5.open(path) as reader:
        return str(reader.attributes["content_digest"])


def watch_fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Graph, CommunitiesConfig]]:
    """The graph and the settings of every fit from now on."""
    seen: list[tuple[Graph, CommunitiesConfig]] = []
    real = community_fit.fit_communities

    def watched(graph: Graph, config: CommunitiesConfig, **callbacks: Any) -> Any:
        seen.append((graph, config))
        return real(graph, config, **callbacks)

    monkeypatch.setattr(community_fit, "fit_communities", watched)
    return seen


TRUTH = Cover.from_sets(GROUPS, 33)


@pytest.mark.parametrize("k", [3, None])
def test_planted_communities_are_found_and_stored(tmp_path: Path, k: int | None) -> None:
    edges = planted()
    result = run(saved(tmp_path, edges), tmp_path, n_communities=k)
    assert onmi_max(result.fit.cover, TRUTH) > 0.95
    assert [row["size"] for row in result.facts.communities(1)] == [13, 11, 9]
    assert verify(result.path) == []
    with hdf5.open(result.path) as reader:
        assert reader.schema.name == "tdtool.communities"
        assert reader.get("nodes/name") == [str(i) for i in range(33)]
        np.testing.assert_array_equal(reader.get("membership/indptr"), result.fit.cover.indptr)
        np.testing.assert_array_equal(reader.get("membership/weight"), result.fit.cover.weights)
        np.testing.assert_array_equal(reader.get("membership/strength"), result.fit.strengths)
        np.testing.assert_array_equal(reader.get("communities/density"), result.found.density)
        assert reader.get("graph/neighbours").size == 2 * len(edges)
        np.testing.assert_array_equal(reader.get("nodes/degree"), np.diff(reader.get("graph/indptr")))
        assert ("selection/n_asked" in reader) == bool(result.selection())
        assert reader.attributes["config"]["communities"]["n_communities"] == k
        assert reader.attributes["scores"] == result.scores
        assert reader.attributes["reason"] == result.fit.reason
        assert (reader.attributes["seed"], reader.attributes["source"]["path"]) == (0, "g.txt")


def test_scores_are_those_of_the_memberships(tmp_path: Path) -> None:
    edges = planted()
    result = run(saved(tmp_path, edges), tmp_path, n_communities=3)
    group = np.repeat([0, 1, 2], [9, 11, 13])
    inside = sum(group[a] == group[b] for a, b in edges)
    assert result.scores["covered_edges"] == pytest.approx(inside / len(edges), abs=0.02)
    first = result.facts.communities(3)[0]
    n_first = sum(group[a] == group[b] == 2 for a, b in edges)
    assert first["density"] == pytest.approx(n_first / (13 * 12 / 2))
    assert result.scores["mean_conductance"] == pytest.approx(result.found.conductance.mean())
    assert not {"auc", "stability"} & set(result.scores)
    assert result.found.link_probability is not None
    assert result.found.link_probability.diagonal().min() > 0.6


def test_result_is_plain_json(tmp_path: Path) -> None:
    result = run(saved(tmp_path, planted()), tmp_path, max_communities=5)
    said = json.loads(json.dumps(result.as_dict(n_top=2)))
    assert (said["n_nodes"], said["n_communities"], said["n_components"]) == (33, 3, 1)
    assert [len(row["members"]) for row in said["communities"]] == [2, 2, 2]
    assert said["selection"][said["chosen"]]["n_found"] == 3
    assert said["reason"]
    assert set(said["seconds"]) == {"read", "fit", "total"}
    assert said["ledger"]["rows_used"] == result.n_edges


def test_held_out_edges_are_predicted_by_a_second_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = saved(tmp_path, planted(across=0.01))
    plain = run(source, tmp_path, "plain.h5", n_communities=3)
    seen = watch_fits(monkeypatch)
    result = run(source, tmp_path, n_communities=3, holdout=0.2)
    assert result.scores["auc"] > 0.9
    assert result.scores["auc_degrees"] < 0.8
    assert result.scores["held_out_edges"] == round(0.2 * result.n_edges)
    assert [graph.n_edges for graph, _ in seen] == [result.n_edges, result.n_edges - result.scores["held_out_edges"]]
    assert digest(plain.path) == digest(result.path), "the result comes from all edges"


def test_second_fit_has_as_many_communities_as_were_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch_fits(monkeypatch)
    result = run(saved(tmp_path, planted()), tmp_path, max_communities=6, holdout=0.1)
    assert [config.n_communities for _, config in seen] == [None, 3]
    assert result.selection()[result.fit.chosen or 0]["n_asked"] == 3


def test_tree_has_no_edges_to_hold_out(tmp_path: Path) -> None:
    result = run(saved(tmp_path, [(0, i) for i in range(1, 12)]), tmp_path, holdout=0.2)
    assert "auc" not in result.scores
    assert any("no edge could be held out" in warning for warning in result.warnings)


def test_further_runs_on_reordered_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch_fits(monkeypatch)
    result = run(saved(tmp_path, planted()), tmp_path, n_communities=3, stability=2, seed=5)
    assert result.scores["stability"] > 0.95
    assert result.scores["stability_found"] == [3, 3]
    assert result.found.stability is not None
    assert result.found.stability.min() > 0.9
    with hdf5.open(result.path) as reader:
        np.testing.assert_array_equal(reader.get("communities/stability"), result.found.stability)
    assert [config.seed for _, config in seen] == [5, 6, 7]
    first, second, third = (graph for graph, _ in seen)
    assert not np.array_equal(first.neighbours, second.neighbours)
    assert not np.array_equal(second.neighbours, third.neighbours)


@pytest.mark.parametrize("n_left", [None, 2])
def test_relabelled_graph_has_the_same_edges(n_left: int | None) -> None:
    edges, weights = np.array([[0, 2], [0, 4], [1, 3], [1, 2]]), np.array([1.0, 2.0, 3.0, 0.5])
    graph = Graph.from_edges(edges, weights=weights, n_nodes=6, n_left=n_left)
    place = community_fit._shuffled(graph, np.random.default_rng(4))
    assert sorted(place.tolist()) == list(range(6))
    if n_left is not None:
        assert sorted(place[:2].tolist()) == [0, 1]
    moved = community_fit.relabelled(graph, place).adjacency().toarray()
    np.testing.assert_array_equal(moved[np.ix_(place, place)], graph.adjacency().toarray())


def test_same_seed_same_content_in_any_order_and_with_any_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "GRAIN", 1)
    edges = planted(inside=0.6, across=0.1)
    source = saved(tmp_path, edges)
    shuffled = [edges[i][::-1] for i in np.random.default_rng(0).permutation(len(edges))]
    other = saved(tmp_path, shuffled, "other.txt")
    found = set()
    for i, (path, workers) in enumerate([(source, 1), (source, 3), (other, 2)]):
        config = CommunitiesConfig(seed=4)
        found.add(digest(find_communities(path, tmp_path / f"{i}.h5", communities=config, workers=workers).path))
    assert len(found) == 1


def test_blas_has_one_thread_while_communities_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = run_module.find_and_score

    def watched(*arguments: Any) -> Any:
        seen.append(
            ([info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"], threads.current())
        )
        return real(*arguments)

    monkeypatch.setattr(run_module, "find_and_score", watched)
    find_communities(saved(tmp_path, planted()), tmp_path / "x.h5", communities=CommunitiesConfig(3), workers=2)
    ((blas, workers),) = seen
    assert set(blas) == {1}
    assert workers == 2


def test_bipartite_graph_keeps_its_sides(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    reader, book = np.repeat([0, 1, 2], [8, 9, 11]), np.repeat([0, 1, 2], [7, 5, 6])
    chance = np.where(reader[:, None] == book, 0.9, 0.03)
    edges = [(f"r{a:02}", f"b{b:02}") for a, b in np.argwhere(rng.random(chance.shape) < chance)]
    config = CommunitiesConfig(3, overlap=False)
    result = find_communities(
        saved(tmp_path, edges), tmp_path / "o.h5", graph=GraphConfig(bipartite=True), communities=config, workers=1
    )
    assert [(row["left_size"], row["size"]) for row in result.facts.communities(1)] == [(11, 17), (8, 15), (9, 14)]
    assert result.fit.cover.n_memberships.tolist() == [1] * 46
    with hdf5.open(result.path) as opened:
        assert opened.get("nodes/side").tolist() == [0] * 28 + [1] * 18


# ---- graphs that are hard


def test_isolated_nodes_are_in_no_community(tmp_path: Path) -> None:
    path = tmp_path / "g.gml"
    nodes = "".join(f'node [ id {i} label "n{i:02}" ]\n' for i in range(35))
    edges = "".join(f"edge [ source {a} target {b} ]\n" for a, b in planted())
    path.write_text(f"graph [\n{nodes}{edges}]\n")
    result = run(str(path), tmp_path, n_communities=3)
    assert result.n_isolated == 2
    assert result.facts.counts()["n_none"] == 2
    assert result.components.sizes.tolist() == [33, 1, 1]
    assert verify(result.path) == []


def test_thousands_of_components(tmp_path: Path) -> None:
    edges = [(4 * i + a, 4 * i + b) for i in range(1500) for a, b in itertools.combinations(range(4), 2)]
    result = run(saved(tmp_path, edges), tmp_path)
    assert result.components.sizes.size == 1500
    assert result.facts.counts()["n_communities"] == 1500
    assert len(result.warnings) <= 3
    assert verify(result.path) == []


def test_complete_graph_is_not_divided(tmp_path: Path) -> None:
    result = run(saved(tmp_path, list(itertools.combinations(range(12), 2))), tmp_path)
    assert result.facts.counts()["n_communities"] <= 1
    assert any("every node is linked to every other" in warning for warning in result.warnings)


def test_star_is_no_more_than_one_community(tmp_path: Path) -> None:
    result = run(saved(tmp_path, [("hub", f"leaf{i}") for i in range(20)]), tmp_path)
    assert result.facts.counts()["n_communities"] <= 1
    assert any("star around hub" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("edges", "n_nodes", "warning"),
    [
        ([(0, 1), (1, 2), (3, 4)], 5, "few edges: 1.2 a node"),
        ([(0, 1), (0, 2), (0, 3)], 5, "star around 0"),
        ([(0, 1), (0, 2), (1, 2)], 4, "every node is linked"),
        ([(0, 1)], 2, "few edges"),
        ([(0, 1), (1, 2), (2, 3)], 4, "few edges: 1.5 a node"),
        ([(0, 1), (0, 2), (1, 2), (2, 3), (1, 3)], 4, ""),
    ],
)
def test_what_a_graph_is_like(edges: list[tuple[int, int]], n_nodes: int, warning: str) -> None:
    found = shape_warnings(Graph.from_edges(np.array(edges), n_nodes=n_nodes))
    assert len(found) == bool(warning)
    assert warning in "".join(found)


def test_isolated_nodes_are_named() -> None:
    graph = Graph.from_edges(np.array([[1, 2]]), ids=["ann", "bob", "cy", "dora", "emil", "fay"], n_nodes=6)
    assert isolated_text(graph).startswith("4 nodes have no edges and are in no community (first: ann, dora, emil)")
    single = Graph.from_edges(np.array([[1, 2]]), ids=["ann", "bob", "cy"], n_nodes=3)
    assert isolated_text(single).startswith("1 node has no edges and is")
    assert isolated_text(Graph.from_edges(np.array([[0, 1]]))) == ""


@pytest.mark.parametrize(("n_nodes", "message"), [(1, "a single node and no edges"), (3, "3 nodes and no edges")])
def test_graph_that_was_made_without_edges(n_nodes: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_graph(Graph.from_edges(np.zeros((0, 2), np.int64), n_nodes=n_nodes), CommunitiesConfig(), "g.gml")


def test_components_are_numbered_by_size() -> None:
    found = find_components(Graph.from_edges(np.array([[1, 2], [3, 4], [4, 5], [6, 7]]), n_nodes=8))
    assert found.sizes.tolist() == [3, 2, 2, 1]
    assert found.labels.tolist() == [3, 1, 1, 0, 0, 0, 2, 2]


# ---- what cannot be

USAGE: dict[str, tuple[dict[str, Any], str]] = {
    "k 0": ({"n_communities": 0}, "-k is 0; it must be at least 1"),
    "max 0": ({"max_communities": 0}, "--max-communities is 0"),
    "both": ({"n_communities": 3, "max_communities": 5}, "--max-communities is for -k auto"),
    "mode": ({"mode": "fast"}, "no mode 'fast'"),
    "alpha0": ({"alpha0": -0.5}, "--alpha0 is -0.5"),
    "tau": ({"tau": float("nan")}, "--tau is nan; it must be at least 0, and finite"),
    "polish": ({"polish": -1}, "--polish is -1"),
    "stability": ({"stability": -1}, "--stability is -1"),
    "holdout": ({"holdout": 0.7}, "--holdout is 0.7"),
}
INPUT: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "k above n": (planted(), {"n_communities": 34}, "-k is 34, and the graph has 33 nodes"),
    "pairs": ([(0, 1), (2, 3)], {}, "2 edges link nodes in pairs only"),
    "a pair": ([(0, 1)], {}, "its only edge links two nodes"),
    "one node": ([(5, 5)], {}, "no edges"),
    "loops only": ([(5, 5), (6, 6)], {}, "no edges"),
    "empty": ([], {}, "empty"),
    "one column": ([("a",), ("b",)], {}, "one column"),
    "negative weight": ([("a", "b", 1.5), ("b", "c", -2)], {}, "negative"),
    "k above what can be divided": ([(0, 1), (0, 2), (1, 2), (3, 4), (4, 5), (3, 5)], {"n_communities": 5}, "5 commun"),
}


@pytest.mark.parametrize("case", USAGE)
def test_contradicting_settings(tmp_path: Path, case: str) -> None:
    settings, message = USAGE[case]
    with pytest.raises(UsageError, match=message):
        run(saved(tmp_path, planted()), tmp_path, **settings)
    assert names(tmp_path) == ["g.txt"]


@pytest.mark.parametrize("case", INPUT)
def test_graph_without_such_communities(tmp_path: Path, case: str) -> None:
    edges, settings, message = INPUT[case]
    with pytest.raises(InputError, match=message) as caught:
        run(saved(tmp_path, edges), tmp_path, **settings)
    assert "g.txt" in str(caught.value)
    assert names(tmp_path) == ["g.txt"]


def test_graded_shares_are_stored_exported_and_scored(tmp_path: Path) -> None:
    """Shares of the file, of NAME.mixture.csv and of the fit are the same; the membership error is theirs."""
    mixed = planted_mmsb(150, 3, mean_degree=20, alpha0=1.5, rng=np.random.default_rng(4))
    output, table = tmp_path / "o.h5", tmp_path / "o.mixture.csv"
    source, known = saved(tmp_path, mixed.edges.tolist()), Cover.from_sets(mixed.sets(least=0.3), 150)
    result = find_communities(source, output, communities=CommunitiesConfig(3), workers=1, exports=[str(table)])
    mixture, cover = result.fit.mixture, result.fit.cover
    assert mixture is not None
    assert mixture.weights.size > cover.weights.size
    with hdf5.open(output) as reader:
        np.testing.assert_array_equal(reader.get("mixture/indptr"), mixture.indptr)
        np.testing.assert_array_equal(reader.get("mixture/community"), mixture.communities)
        np.testing.assert_allclose(reader.get("mixture/share"), mixture.weights, rtol=1e-6)
    rows = np.loadtxt(table, delimiter=",", skiprows=1, converters=lambda cell: float(cell.strip('"')))
    np.testing.assert_array_equal(rows[:, 0], mixture.entry_nodes())
    np.testing.assert_array_equal(rows[:, 1], mixture.communities)
    np.testing.assert_allclose(rows[:, 2], mixture.weights, rtol=1e-4)
    truth = tmp_path / "truth.txt"
    truth.write_text("\n".join(" ".join(map(str, members)) for members in known.sets()))
    scores = evaluate_communities(output, str(truth)).scores
    assert scores["membership_error"] == pytest.approx(membership_error(mixture, known), abs=1e-6)
    assert scores["onmi_max"] == pytest.approx(onmi_max(cover, known))
    hard = run(source, tmp_path, "hard.h5", n_communities=3, overlap=False)
    assert hard.fit.mixture is None
    assert verify(output) == []


def test_output_and_exports_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "out.h5").write_text("mine")
    with pytest.raises(TdtoolError, match="--force"):
        run("nowhere.txt", tmp_path)
    with pytest.raises(UsageError, match="suffix"):
        find_communities("nowhere.txt", tmp_path / "new.h5", exports=["x.docx"])
    assert (tmp_path / "out.h5").read_text() == "mine"


@pytest.mark.parametrize("suffix", ["tsv", "csv", "json", "parquet", "npz", "graphml", "gexf"])
def test_exports_are_written(tmp_path: Path, suffix: str) -> None:
    export = tmp_path / f"m.{suffix}"
    source = saved(tmp_path, planted())
    find_communities(source, tmp_path / "o.h5", communities=CommunitiesConfig(3), workers=1, exports=[str(export)])
    assert export.stat().st_size > 200


def test_memory_is_refused_before_the_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = saved(tmp_path, planted())
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "_limit", lambda _: 1000)
        patched.setattr(run_module, "load_graph", lambda *_, **__: Graph.from_edges(np.array(planted())))
        with pytest.raises(ResourceError, match="--mode sparse"):
            run(source, tmp_path)

        with pytest.raises(ResourceError, match=r"in sparse mode needs .*\n +take a part of the graph; or allow more"):
            run(source, tmp_path, mode="sparse")

    def short(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(run_module, "find_and_score", short)
    with pytest.raises(ResourceError, match="not enough memory for the communities"):
        run(source, tmp_path)
    assert names(tmp_path) == ["g.txt"]


def test_no_file_of_a_run_takes_the_place_of_another(tmp_path: Path) -> None:
    source = saved(tmp_path, planted())
    text = Path(source).read_text()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.csv").symlink_to(source)
    same = tmp_path / "folder" / ".." / "g.txt"
    for output, exports, message in (
        (same, [], "the result would take the place of what is read"),
        (tmp_path / "new.h5", [str(tmp_path / "link.csv")], "an export would take the place of what is read"),
        (tmp_path / "new.csv", [str(tmp_path / "new.csv")], "an export would take the place of the result"),
        (tmp_path / "new.h5", ["a.csv", "./a.csv"], "an export would take the place of an export"),
    ):
        with pytest.raises(UsageError, match=message):
            find_communities(source, output, exports=exports, force=True)
    assert Path(source).read_text() == text
    assert names(tmp_path) == ["folder", "g.txt", "link.csv"]
    check_outputs(["-"], tmp_path / "-", ["a.csv", "a.tsv"], force=False)


def test_interruption_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = saved(tmp_path, planted())

    def stopped(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "_write_attributes", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path, n_communities=3)
    assert names(tmp_path) == ["g.txt"]


def test_plan_says_what_a_run_would_take(tmp_path: Path) -> None:
    source = saved(tmp_path, planted())
    plan = plan_communities(source, communities=CommunitiesConfig(holdout=0.1, stability=2))
    assert (plan.n_nodes, plan.n_edges, plan.fits) == (33, len(planted()), 4)
    assert plan.communities[0] == 2
    assert plan.communities[-1] <= 33
    assert plan.memory_bytes > plan.held_bytes > plan.graph_bytes > 0
    given = plan_communities(source, communities=CommunitiesConfig(5))
    assert given.communities == (5,)
    assert 0 < given.seconds < plan.seconds
    assert json.loads(json.dumps(given.as_dict()))["mode"] == "dense"
    sparse = plan_communities(source, communities=CommunitiesConfig(mode="sparse"))
    assert (sparse.mode, sparse.communities) == ("sparse", ())
    assert names(tmp_path) == ["g.txt"]
