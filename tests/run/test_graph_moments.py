"""A graph as moments: the communities that come from them are those of the edges, unpolished."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.config import CommunitiesConfig, GraphConfig, MomentsConfig
from tdtool.errors import InputError, UsageError
from tdtool.run.communities import CommunitiesResult, find_communities
from tdtool.run.communities_of_moments import find_communities_of_moments
from tdtool.run.evaluate_communities import evaluate_communities
from tdtool.run.graph_moments import GraphMomentsResult, ingest_graph_moments
from tdtool.run.moments import moments_kind
from tdtool.run.show import describe, export
from tdtool.store import hdf5
from tdtool.store.verify import verify
from tests.store.samples_moments import graph_moments_content, write_graph_moments, write_moments

GROUPS = (9, 11, 13, 15)


def edges(*, bipartite: bool = False) -> list[tuple[str, str]]:
    """Four groups of 9, 11, 13 and 15 nodes; a path of 5 and a pair, which are components of their own."""
    rng = np.random.default_rng(3)
    group = np.repeat(range(len(GROUPS)), GROUPS)
    inside, across = (0.7, 0.02)
    pairs = itertools.combinations(range(len(group)), 2)
    found = [(f"a{u}", f"a{v}") for u, v in pairs if rng.random() < (inside if group[u] == group[v] else across)]
    if bipartite:
        return [(u, f"b{v}") for u, v in found] + [("p1", "q1"), ("p2", "q1"), ("p2", "q2"), ("p3", "q2")]
    return [*found, *itertools.pairwise(["p1", "p2", "p3", "p4", "p5"]), ("x", "y")]


def saved(folder: Path, *, weighted: bool = False, bipartite: bool = False) -> str:
    """An edge list."""
    rng = np.random.default_rng(5)
    lines = [f"{a} {b}" + (f" {rng.integers(2, 9)}" if weighted else "") for a, b in edges(bipartite=bipartite)]
    path = folder / "g.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def collect(source: str, output: Path, rank: int = 5, **settings: Any) -> GraphMomentsResult:
    graph, workers = GraphConfig(bipartite=settings.pop("bipartite", False)), settings.pop("workers", 1)
    return ingest_graph_moments(source, output, graph=graph, moments=MomentsConfig(rank, **settings), workers=workers)


def fitted(source: str, output: Path, k: int = 5, *, bipartite: bool = False, **settings: Any) -> CommunitiesResult:
    config = CommunitiesConfig(k, polish=0, **settings)
    return find_communities(source, output, graph=GraphConfig(bipartite=bipartite), communities=config, workers=1)


def digest(path: Path) -> str:
    with hdf5.open(path) as reader:
        return str(reader.attributes["content_digest"])


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> GraphMomentsResult:
    """Moments for five communities of the graph of four groups and a path, in a file that no test changes."""
    folder = tmp_path_factory.mktemp("moments")
    return collect(saved(folder), folder / "g.moments.h5")


# ---- what is found


@pytest.mark.parametrize("kind", [{}, {"weighted": True}, {"bipartite": True}])
@pytest.mark.parametrize("alpha0", [0.0, 0.4])
@pytest.mark.parametrize("dense", [True, False])
def test_communities_are_those_of_the_edges(
    tmp_path: Path, kind: dict[str, bool], alpha0: float, dense: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not dense:
        monkeypatch.setattr("tdtool.run.graph_moments.LARGEST_TENSOR", 2)
    source, bipartite = saved(tmp_path, **kind), kind.get("bipartite", False)
    direct = fitted(source, tmp_path / "d.h5", alpha0=alpha0, bipartite=bipartite)
    collected = collect(source, tmp_path / "m.h5", bipartite=bipartite)
    found = find_communities_of_moments(collected.path, tmp_path / "c.h5", alpha0=alpha0)
    ours, theirs = found.fit, direct.fit
    assert ours.cover.n_communities == 5
    for a, b in ((ours.cover, theirs.cover), (ours.mixture, theirs.mixture)):
        np.testing.assert_array_equal(a.indptr, b.indptr)
        np.testing.assert_array_equal(a.communities, b.communities)
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-5)
    np.testing.assert_allclose(ours.strengths, theirs.strengths, rtol=1e-5)
    np.testing.assert_allclose(ours.lambdas, theirs.lambdas, rtol=1e-5)
    np.testing.assert_allclose(ours.propensity, theirs.propensity, rtol=1e-6)
    np.testing.assert_allclose(ours.embedding, theirs.embedding, rtol=1e-5)
    assert (ours.background, ours.reason, ours.mode) == (theirs.background, theirs.reason, theirs.mode)
    assert ours.warnings == tuple(text for text in theirs.warnings if "hardly" not in text)
    assert np.isnan(ours.bits)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_fewer_communities_than_were_collected(moments: GraphMomentsResult, tmp_path: Path, k: int) -> None:
    """The path of five is one of them."""
    direct = fitted(saved(tmp_path), tmp_path / "d.h5", k)
    found = find_communities_of_moments(moments.path, tmp_path / "c.h5", n_communities=k)
    np.testing.assert_array_equal(found.fit.cover.communities, direct.fit.cover.communities)
    np.testing.assert_allclose(found.fit.cover.weights, direct.fit.cover.weights, rtol=1e-5)
    assert found.fit.reason == direct.fit.reason


def test_graph_of_one_small_component(tmp_path: Path) -> None:
    path = tmp_path / "triangle.txt"
    path.write_text("a b\nb c\na c\n")
    collected = collect(str(path), tmp_path / "m.h5", 100)
    found = find_communities_of_moments(collected.path, tmp_path / "c.h5")
    assert collected.rank == 3
    assert found.fit.cover.sizes.tolist() == [3]


def test_only_small_components(tmp_path: Path) -> None:
    path = tmp_path / "paths.txt"
    path.write_text("a b\nb c\nd e\ne f\nf g\n")
    collected = collect(str(path), tmp_path / "m.h5", 7)
    assert collected.rank == 2
    assert verify(collected.path) == []
    found = find_communities_of_moments(collected.path, tmp_path / "c.h5")
    assert found.fit.cover.sizes.tolist() == [4, 3]
    assert verify(found.path) == []


# ---- the files


def test_any_workers_give_the_same_moments(moments: GraphMomentsResult, tmp_path: Path) -> None:
    source = saved(tmp_path)
    assert {digest(collect(source, tmp_path / f"{n}.h5", workers=n).path) for n in (2, 3)} == {digest(moments.path)}


def test_the_file_says_how_it_was_made(moments: GraphMomentsResult) -> None:
    assert verify(moments.path) == []
    assert moments_kind(str(moments.path)) == "tdtool.graph_moments"
    facts = describe(moments.path).facts
    assert (facts["nodes"], facts["edges"], facts["directions"]) == (55, moments.n_edges, 5)
    assert describe(moments.path).attributes["config"]["moments"]["tau"] == 0.01


def test_tau_is_that_of_the_moments(tmp_path: Path) -> None:
    source = saved(tmp_path)
    direct = fitted(source, tmp_path / "d.h5", tau=0.7)
    found = find_communities_of_moments(collect(source, tmp_path / "m.h5", tau=0.7).path, tmp_path / "c.h5")
    other = fitted(source, tmp_path / "e.h5")
    np.testing.assert_allclose(found.fit.embedding, direct.fit.embedding, rtol=1e-5)
    assert np.nanmax(np.abs(found.fit.embedding - other.fit.embedding)) > 0.01


def test_large_coordinates_are_kept_in_single_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdtool.run.graph_moments._LARGE_BYTES", 100)
    source = saved(tmp_path)
    collected = collect(source, tmp_path / "m.h5")
    with hdf5.open(collected.path) as reader:
        assert reader.get("embedding/point").dtype == np.float32
    found = find_communities_of_moments(collected.path, tmp_path / "c.h5")
    direct = fitted(source, tmp_path / "d.h5")
    np.testing.assert_allclose(found.fit.cover.weights, direct.fit.cover.weights, rtol=1e-4)


def test_result_serves_as_any_other(moments: GraphMomentsResult, tmp_path: Path) -> None:
    exports = [str(tmp_path / name) for name in ("c.csv", "c.json", "c.communities.tsv", "c.mixture.csv", "c.npz")]
    found = find_communities_of_moments(moments.path, tmp_path / "c.h5", exports=exports)
    assert verify(found.path) == []
    assert all(Path(path).stat().st_size for path in exports)
    described = describe(found.path)
    assert described.communities["n_edges"] == described.facts["edges"] == moments.n_edges
    assert all(np.isnan(row["density"]) for row in described.communities["communities"])
    assert described.attributes["moments"]["content_digest"] == digest(moments.path)
    truth = tmp_path / "truth.txt"
    starts = np.cumsum([0, *GROUPS])
    truth.write_text("".join(" ".join(f"a{u}" for u in range(a, b)) + "\n" for a, b in itertools.pairwise(starts)))
    assert evaluate_communities(found.path, str(truth)).scores["onmi_max"] > 0.8
    with pytest.raises(UsageError, match="this result has none"):
        export(found.path, [tmp_path / "c.gexf"])


# ---- what cannot be


def test_more_than_the_moments_tell(moments: GraphMomentsResult, tmp_path: Path) -> None:
    assert find_communities_of_moments(moments.path, tmp_path / "six.h5", n_communities=6).fit.cover.n_communities
    with pytest.raises(UsageError, match="tell 6 communities apart"):
        find_communities_of_moments(moments.path, tmp_path / "c.h5", n_communities=7)
    assert not (tmp_path / "c.h5").exists()


def test_the_graph_cannot_be_exported(moments: GraphMomentsResult, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this result has none"):
        find_communities_of_moments(moments.path, tmp_path / "c.h5", exports=[str(tmp_path / "c.graphml")])


def test_graph_without_edges(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("a b\nc d\n")
    with pytest.raises(InputError, match="pairs only"):
        collect(str(path), tmp_path / "m.h5")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"rank": 0}, "rank is '0'"),
        ({"mean_weight": -1.0}, "mean_weight"),
        ({"n_edges": [3]}, "n_edges"),
        ({"ledger": {}}, "ledger"),
    ],
)
def test_attributes_that_cannot_be(tmp_path: Path, attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_communities_of_moments(write_graph_moments(tmp_path / "m.h5", **attributes), tmp_path / "c.h5")


def test_coordinates_of_other_components(tmp_path: Path) -> None:
    """The nodes that are fitted follow from components; coordinates of others would be laid on the wrong nodes."""
    content = graph_moments_content()
    content["nodes/component"] = np.array([0, 0, 0, 0, 1, 1, 1])
    with pytest.raises(InputError, match="its coordinates are not those of its large components"):
        find_communities_of_moments(write_graph_moments(tmp_path / "m.h5", content), tmp_path / "c.h5")


def test_other_files_are_no_moments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tdtool\.moments file"):
        find_communities_of_moments(write_moments(tmp_path / "m.h5"), tmp_path / "c.h5")
