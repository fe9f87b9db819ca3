"""The benchmark of communities: its cases, its evaluator, what it sums up, and each peer on three cliques."""

from __future__ import annotations

import argparse
import gzip
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import coo_array, csgraph

from tdtool.data.graph import Graph
from tdtool.data.planted_graph import planted_mmsb
from tdtool.models.cover import Cover
from tests.bench import bigclam, communities
from tests.bench.community_cases import Case, linked_case, load_case, members, planted_case, read_cover, write_cover
from tests.bench.community_peers import PREPARE, Detector, Links, Task, main
from tests.bench.community_scores import agreement, growth, means, quality
from tests.bench.results import Row

#: Cliques of different sizes, linked in a row.
SIZES = (6, 7, 9)
SETS = [range(6), range(6, 13), range(13, 22)]


def cliques() -> NDArray[np.int64]:
    labels = np.repeat(np.arange(len(SIZES)), SIZES)
    tails, heads = np.nonzero(np.triu(labels[:, None] == labels, 1))
    return np.concatenate([np.column_stack((tails, heads)), [[0, 6], [7, 13]]])


def case(name: str = "cliques") -> Case:
    return linked_case(name, cliques(), Cover.from_sets(SETS, 22))


def task(system: str, folder: Path, **settings: Any) -> Task:
    return Task(system, **case().write(folder), covers=str(folder), n_communities=3, seed=3, threads=1, **settings)


def detected(task: Task) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    main(task, lambda **message: messages.append(message))
    assert messages[0] == {"started": True}
    return messages[1:]


def test_a_case_holds_the_nodes_of_the_edge_list() -> None:
    found = linked_case("x", np.array([[1, 4], [4, 6]]), Cover.from_sets([[0, 2], [1, 2, 6], [4]], 8))
    assert found.edges.tolist() == [[0, 1], [1, 2]]
    assert [part.tolist() for part in found.truth.sets()] == [[0, 2], [1]]
    assert found.covered.tolist() == [0, 1, 2]


def test_a_case_is_read_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    write_gzip(tmp_path / "tiny", "0 1\n1 2\n2 0\n2 4\n", "0 1 2\n3 4\n")
    found = load_case("tiny", str(tmp_path), 0)
    assert found.n_nodes == 4
    assert [part.tolist() for part in found.truth.sets()] == [[0, 1, 2], [3]]


def write_gzip(folder: Path, edges: str, sets: str) -> None:
    for name, text in (("edges.txt.gz", edges), ("communities.txt.gz", sets)):
        with gzip.open(folder / name, "wt") as lines:
            lines.write(text)


def test_planted_members_are_the_large_shares_and_the_error_is_of_all() -> None:
    cover = Cover.from_dense([[0.95, 0.05, 0.0], [0.5, 0.3, 0.2], [0.04, 0.05, 0.91]])
    assert members(cover).n_memberships.tolist() == [1, 3, 1]
    thin = Cover.from_dense([[3.0] + [2.0] * 20])
    assert members(thin).communities.tolist() == [0]
    planted = planted_mmsb(80, 3, mean_degree=12, alpha0=1.0, rng=np.random.default_rng(1))
    graph = planted_case("planted", planted)
    assert graph.memberships is not None
    scores = quality(graph.memberships, graph)
    assert scores["error"] == pytest.approx(0, abs=1e-12)
    assert scores["onmi"] == scores["f1"] == 1
    assert quality(graph.truth, graph)["error"] > 0.001


def test_scores_are_over_the_nodes_that_the_truth_knows() -> None:
    some = linked_case("some", cliques(), Cover.from_sets(SETS[:2], 22))
    exact, rest = Cover.from_sets(SETS[:2], 22), Cover.from_sets([*SETS[:2], [14, 21]], 22)
    assert {quality(exact, some)[key] for key in ("onmi", "lfk", "f1", "omega", "onmi_all", "f1_all")} == {1.0}
    scores = quality(rest, some)
    assert scores["onmi"] == scores["f1"] == scores["omega"] == 1
    assert scores["k"] == 3
    assert scores["onmi_all"] < 1
    assert scores["f1_all"] == pytest.approx((1 + 2 / 3) / 2)


def test_agreement_tells_equal_covers_from_equal_bits(tmp_path: Path) -> None:
    first = Cover.from_labels([0, 0, 1, 1, 1])
    renumbered = Cover.from_labels([1, 1, 0, 0, 0])
    write_cover(str(tmp_path / "c.npz"), first)
    assert agreement(read_cover(str(tmp_path / "c.npz")), first) == (1.0, True)
    assert agreement(renumbered, first) == (1.0, False)
    assert agreement(Cover.from_labels([0, 1, 0, 1, 1]), first)[0] < 0.5


def row(system: str, name: str, onmi: float | None = None, cpu: float = 1.0) -> Row:
    scores = {} if onmi is None else {"onmi": onmi, "f1": 0.5}
    return Row(system, "1", name, cpu, cpu, 10.0, scores)


def test_means_compare_with_peers_that_finished() -> None:
    rows = [row("tdtool", "a", 0.6, 8.0), row("tdtool given k", "a", 0.4, 2.0), row("weak", "a", 0.2)]
    rows += [row("slow", "a", 0.9), row("tdtool, one thread", "a", 0.1), row("tdtool", "b", 0.4, 2.0)]
    rows += [row("tdtool given k", "b", 0.2, 3.0), row("weak", "b", 0.2), row("slow", "b"), row("weak", "c", 0.9)]
    found = {mean.system: mean for mean in means(rows, "graphs", ["a", "b"])}
    assert found.keys() == {"tdtool", "tdtool given k", "weak", "slow"}
    assert found["tdtool"].case == "mean of 2 graphs"
    assert found["tdtool"].quality["onmi"] == pytest.approx(0.5)
    assert found["tdtool"].note == "ONMI 2.50 x weak; F1 1.00 x weak; CPU 2 x tdtool given k"
    assert found["weak"].seconds == 2.0
    assert found["slow"].note == "1 of 2; tdtool there: ONMI 0.600"
    assert means(rows, "graphs", ["a"]) == []


def test_growth_is_the_slope_of_the_logarithms() -> None:
    rows = [Row("tdtool", "1", f"mmsb m={m}", cpu_seconds=s) for m, s in (("1e5", 2.0), ("1e6", 20.0 * 10**0.1))]
    assert "power 1.10, 1e+05 to 1e+06 edges" in growth(rows)[0].note
    assert growth(rows[:1]) == []


def test_what_does_not_fit_a_system_is_not_started() -> None:
    assert communities._too_large("leiden", case()) == ""
    wide = Case("wide", cliques(), Cover.from_labels(np.arange(5_001)))
    assert communities._too_large("mmsb@k", wide) == "not started: more than 5,000 nodes"
    many = Case("many", cliques(), Cover.from_labels(np.arange(10_001)))
    assert communities._too_large("spectral@k", many) == "not started: 10,001 communities of 10,001 nodes"


def test_fast_systems_go_first_and_share_what_they_have() -> None:
    jobs = [communities.Job(system, name) for name in "ab" for system in ("tdtool", "mmsb@k", "infomap")]
    shares = list(communities._capped(jobs, argparse.Namespace(cap=1000.0, full=False)))
    assert [job.system for job, _ in shares] == ["infomap"] * 2 + ["tdtool"] * 2 + ["mmsb@k"] * 2
    assert [round(cap, -1) for _, cap in shares] == [190, 190, 280, 280, 560, 560]
    assert {cap for _, cap in communities._capped(jobs, argparse.Namespace(cap=7.0, full=True))} == {7.0}


def by_parts(links: Links) -> Detector:
    """The connected parts when nodes that share fewer than four neighbours are no longer linked."""

    def detect(seed: int) -> Any:
        half = coo_array((np.ones(len(links.edges)), links.edges.T), shape=(links.n_nodes, links.n_nodes))
        adjacency = (half + half.T).tocsr()
        return csgraph.connected_components((adjacency @ adjacency >= 4).multiply(adjacency))[1]

    return detect, Cover.from_labels


@pytest.mark.parametrize("shuffle", ["", "nodes", "edges"])
def test_what_was_shuffled_comes_back_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shuffle: str) -> None:
    monkeypatch.setitem(PREPARE, "parts", by_parts)
    runs = detected(task("parts", tmp_path, n_runs=2, shuffle=shuffle))
    assert len({run["cover"] for run in runs}) == 2
    assert sorted(part.tolist() for part in read_cover(runs[1]["cover"]).sets()) == [list(part) for part in SETS]


@pytest.mark.parametrize(
    ("system", "module"),
    [
        ("tdtool given k", "tdtool"),
        ("tdtool EM from truth", "tdtool"),
        ("bigclam@k", "tdtool"),
        ("mmsb@k", "tdtool"),
        ("leiden", "igraph"),
        ("louvain", "igraph"),
        ("infomap", "infomap"),
        ("plm", "networkit"),
        ("spectral@k", "sklearn"),
    ],
)
def test_a_system_finds_three_cliques(tmp_path: Path, system: str, module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install 'tdtool[bench]'")
    (run,) = detected(task(system, tmp_path))
    assert quality(read_cover(run["cover"]), case())["onmi"] == pytest.approx(1)
    assert run["peak_rss_mb"] > 10


@pytest.mark.parametrize(("system", "module"), [("plp", "networkit"), ("karateclub@k", "karateclub")])
def test_a_system_gives_every_node_a_community(tmp_path: Path, system: str, module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install 'tdtool[bench]'")
    (run,) = detected(task(system, tmp_path))
    assert read_cover(run["cover"]).n_memberships.tolist() == [1] * 22


def test_bigclam_climbs_its_likelihood() -> None:
    graph = Graph.from_edges(cliques())
    rng = np.random.default_rng(5)
    strengths = rng.random((22, 3))
    node, step = 6, 1e-6
    near = graph.neighbours[graph.indptr[node] : graph.indptr[node + 1]]
    far = np.setdiff1d(np.arange(22), [*near, node])

    def value(row: NDArray[np.float64]) -> float:
        return float(np.log(1 - np.exp(-strengths[near] @ row - 0.1)).sum() - (strengths[far] @ row).sum())

    gradient, rest = np.empty(3), strengths[far].sum(axis=0)
    assert bigclam._slope(near, strengths, node, rest, 0.1, gradient) == pytest.approx(value(strengths[node]))
    assert bigclam._value(near, strengths, np.ones(3), rest, 0.1) == pytest.approx(value(np.ones(3)))
    slopes = [(value(strengths[node] + e) - value(strengths[node] - e)) / 2 / step for e in np.eye(3) * step]
    assert gradient == pytest.approx(slopes, rel=1e-6)
    totals = strengths.sum(axis=0)
    climbed = [bigclam._sweep(graph.indptr, graph.neighbours, rng.permutation(22), strengths, totals, 0.1)]
    climbed += [bigclam._sweep(graph.indptr, graph.neighbours, rng.permutation(22), strengths, totals, 0.1)]
    assert climbed[1] > climbed[0]
    assert totals == pytest.approx(strengths.sum(axis=0))


def test_a_run_has_a_row_for_every_system_and_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    edges = "".join(f"{tail} {head}\n" for tail, head in cliques())
    write_gzip(tmp_path / "tiny", edges, "".join(" ".join(map(str, part)) + "\n" for part in SETS))
    parser = argparse.ArgumentParser()
    communities.add_arguments(parser)
    options = parser.parse_args(["--data", str(tmp_path), "--graphs", "tiny", "--peers", "none"])
    options.threads, options.seed = 1, 0
    result = communities.run(options)
    assert [(found.system, found.case, found.note) for found in result.rows] == [
        ("tdtool", "tiny", ""),
        ("tdtool given k", "tiny", ""),
    ]
    assert result.rows[1].quality["k"] == 3
    assert any("tiny: 22 nodes, 74 edges, 3 known" in line for line in result.about)


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    options = argparse.Namespace(graphs="nothing", data=str(tmp_path), full=False)
    with pytest.raises(SystemExit, match="no graph with communities"):
        communities._graphs(options)
    with pytest.raises(SystemExit, match="no peer is called x"):
        communities._peers("leiden,x")
