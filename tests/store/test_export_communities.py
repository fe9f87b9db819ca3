"""Communities in other formats say what their file says; graphs are read back by networkx and by scipy."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.sparse import load_npz

from tdtool.errors import InputError, UsageError
from tdtool.store.export_graph_xml import escaped
from tdtool.store.exports import check_export, export_all
from tests.store.samples import write_cp
from tests.store.samples_communities import (
    EDGES,
    N_COMMUNITIES,
    N_NODES,
    NODES,
    communities_content,
    graph_arrays,
    write_communities,
)

SUFFIXES = ("csv", "tsv", "json", "parquet", "npz", "graphml", "gexf")
SAFE = ["'=now()", *NODES[1:]]
MAIN = {0: 0, 1: 0, 2: 0, 3: 0, 4: 1, 5: 1}
SEVERAL = {0: "0", 1: "0", 2: "0;1", 3: "0;1", 4: "1", 5: "1"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every export of a result with everything in it (x), and of a weighted one with nothing optional (w)."""
    folder = tmp_path_factory.mktemp("exports")
    write_communities(folder / "x.h5")
    write_communities(folder / "w.h5", communities_content(optional=False, weighted=True))
    for name in "xw":
        paths = [folder / f"{name}.{suffix}" for suffix in SUFFIXES]
        export_all(folder / f"{name}.h5", [*paths, folder / f"{name}.communities.csv"])
    return folder


def table(path: Path) -> list[dict[str, str]]:
    """Rows of a .csv or .tsv."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


def expected_memberships() -> list[tuple[str, int, float, float]]:
    content = communities_content()
    nodes = np.repeat(NODES, np.diff(content["membership/indptr"])).tolist()
    columns = [content[f"membership/{name}"].tolist() for name in ("community", "weight", "strength")]
    return list(zip(nodes, *columns, strict=True))


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_memberships_as_a_table(exported: Path, suffix: str) -> None:
    rows = table(exported / f"x.{suffix}")
    assert list(rows[0]) == ["node", "community", "weight", "strength"]
    found = [(row["node"], int(row["community"]), float(row["weight"]), float(row["strength"])) for row in rows]
    safe = dict(zip(NODES, SAFE, strict=True))
    assert found == [(safe[node], *rest) for node, *rest in expected_memberships()]
    assert NODES[6] not in {row["node"] for row in rows}, "it is in no community"


def test_parquet_keeps_names_and_bits(exported: Path) -> None:
    columns = pq.read_table(exported / "x.parquet").to_pydict()
    assert list(zip(*columns.values(), strict=True)) == expected_memberships()


def test_npz_is_a_matrix_of_scipy(exported: Path) -> None:
    content, matrix = communities_content(), load_npz(exported / "x.npz")
    assert matrix.shape == (N_NODES, N_COMMUNITIES)
    np.testing.assert_array_equal(matrix.toarray()[2:4], [[0.75, 0.25], [0.5, 0.5]])
    np.testing.assert_array_equal(matrix.indptr, content["membership/indptr"])
    with np.load(exported / "x.npz", allow_pickle=False) as arrays:
        assert arrays["node"].tolist() == NODES
        for name in ("size", "conductance", "density", "lambda", "stability", "link_probability"):
            np.testing.assert_array_equal(arrays[name], content[f"communities/{name}"], strict=True)
        np.testing.assert_array_equal(arrays["strength"], content["membership/strength"], strict=True)
        np.testing.assert_array_equal(arrays["degree"], content["nodes/degree"], strict=True)
        np.testing.assert_array_equal(arrays["side"], content["nodes/side"], strict=True)
    with np.load(exported / "w.npz", allow_pickle=False) as arrays:
        assert not {"stability", "link_probability", "side"} & set(arrays)


def test_communities_as_a_table(exported: Path) -> None:
    rows, content = table(exported / "x.communities.csv"), communities_content()
    assert list(rows[0]) == ["community", "size", "conductance", "density", "lambda", "stability", "strongest"]
    assert [row["community"] for row in rows] == ["0", "1"]
    assert [int(row["size"]) for row in rows] == [4, 4]
    for name in ("conductance", "density", "lambda", "stability"):
        assert [float(row[name]) for row in rows] == content[f"communities/{name}"].tolist()
    assert rows[0]["strongest"] == f"'{NODES[0]}; {NODES[1]}; {NODES[2]}; {NODES[3]}"
    assert rows[1]["strongest"] == f"{NODES[4]}; {NODES[3]}; {NODES[5]}; {NODES[2]}"
    assert "stability" not in table(exported / "w.communities.csv")[0]


def test_json_holds_everything(exported: Path) -> None:
    whole = json.loads((exported / "x.json").read_text(encoding="utf-8"))
    assert whole["scores"]["modularity"] == 0.25
    assert (whole["n_nodes"], whole["n_edges"], whole["n_in_several"], whole["n_in_none"]) == (7, 7, 2, 1)
    assert whole["graph"] == "edge list, 7 nodes and 7 edges"
    assert whole["selection"][1] == {"n_asked": 3, "n_found": 2, "gain": 21.0, "cost": 8.0, "objective": 13.0}
    first, second = whole["communities"]
    assert (first["community"], second["community"]) == (0, 1)
    assert second["conductance"] == 0.25
    assert second["stability"] == 0.5
    found = [(member["node"], member["weight"], member["strength"]) for member in second["members"]]
    assert found == [(NODES[4], 1, 1.1), (NODES[3], 0.5, 0.6), (NODES[5], 1, 0.5), (NODES[2], 0.25, 0.2)]
    other = json.loads((exported / "w.json").read_text(encoding="utf-8"))
    assert other["selection"] == []
    assert "stability" not in other["communities"][0]


def test_what_is_not_known_is_null(tmp_path: Path) -> None:
    content = communities_content()
    content["selection/objective"] = np.array([15.0, np.nan, -np.inf])
    export_all(write_communities(tmp_path / "x.h5", content), [tmp_path / "x.json"])
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert [row["objective"] for row in json.loads(text, parse_constant=pytest.fail)["selection"]] == [15.0, None, None]


def read_graph(path: Path) -> nx.Graph:
    """By networkx, nodes as their numbers."""
    graph = nx.read_graphml(path) if path.suffix == ".graphml" else nx.read_gexf(path, version="1.3")
    return nx.relabel_nodes(graph, {name: int(str(name).removeprefix("n")) for name in graph})


@pytest.mark.parametrize("suffix", ["graphml", "gexf"])
def test_networkx_reads_the_graph(exported: Path, suffix: str) -> None:
    graph = read_graph(exported / f"w.{suffix}")
    assert not graph.is_directed()
    assert {(min(u, v), max(u, v)): data["weight"] for u, v, data in graph.edges(data=True)} == {
        (u, v): weight for u, v, weight in EDGES
    }
    assert nx.get_node_attributes(graph, "label") == dict(enumerate(["=now()", "[1mAnn", *NODES[2:]]))
    assert nx.get_node_attributes(graph, "community") == MAIN
    assert nx.get_node_attributes(graph, "communities") == SEVERAL
    assert nx.get_node_attributes(graph, "weight") == {0: 1, 1: 1, 2: 0.75, 3: 0.5, 4: 1, 5: 1}
    assert nx.get_node_attributes(graph, "n_communities") == dict(enumerate([1, 1, 2, 2, 1, 1, 0]))
    assert nx.get_node_attributes(graph, "degree") == dict(enumerate([2.0, 2, 3, 3, 2, 2, 0]))
    plain = read_graph(exported / f"x.{suffix}")
    assert sorted((min(e), max(e)) for e in plain.edges()) == [(u, v) for u, v, _ in EDGES]
    assert not any("weight" in data for _, _, data in plain.edges(data=True))
    assert nx.get_node_attributes(plain, "side") == dict(enumerate(communities_content()["nodes/side"].tolist()))


def test_texts_that_xml_does_not_take(tmp_path: Path) -> None:
    names = ["<a & b>", "q\"u'o", "tab\tline\nreturn\r", "\x00\x08\x1f\ufffe", "]]>", "same", "same"]
    shown = [*names[:3], "\u2400", *names[4:]]
    content = {**communities_content(), "nodes/name": names}
    write_communities(tmp_path / "x.h5", content)
    export_all(tmp_path / "x.h5", [tmp_path / "x.graphml", tmp_path / "x.gexf"])
    for suffix in ("graphml", "gexf"):
        graph = read_graph(tmp_path / f"x.{suffix}")
        assert [graph.nodes[node]["label"] for node in range(N_NODES)] == shown
    assert escaped("a\ud800b\x7f\U0001f600") == "ab\x7f\U0001f600"


def test_nobody_in_any_community(tmp_path: Path) -> None:
    content = {
        **communities_content(optional=False),
        "membership/indptr": np.zeros(N_NODES + 1, np.int64),
        **{f"membership/{name}": np.zeros(0) for name in ("weight", "strength")},
        "membership/community": np.zeros(0, np.int32),
        "communities/size": np.zeros(0, np.int64),
        **{f"communities/{name}": np.zeros(0) for name in ("lambda", "conductance", "density")},
    }
    write_communities(tmp_path / "x.h5", content)
    export_all(tmp_path / "x.h5", [tmp_path / f"x.{suffix}" for suffix in (*SUFFIXES, "communities.tsv")])
    assert table(tmp_path / "x.tsv") == table(tmp_path / "x.communities.tsv") == []
    assert json.loads((tmp_path / "x.json").read_text())["communities"] == []
    assert load_npz(tmp_path / "x.npz").shape == (N_NODES, 0)
    for suffix in ("graphml", "gexf"):
        graph = read_graph(tmp_path / f"x.{suffix}")
        assert graph.number_of_edges() == len(EDGES)
        assert not nx.get_node_attributes(graph, "community")


@pytest.mark.parametrize(
    ("path", "values", "suffix"),
    [
        ("membership/community", np.array([0, 0, 0, 1, 0, 1, 2, 1], np.int32), "csv"),
        ("membership/indptr", np.array([0, 1, 2, 9, 6, 7, 8, 8]), "json"),
        ("graph/neighbours", graph_arrays()["graph/neighbours"] + 2, "graphml"),
        ("graph/indptr", graph_arrays()["graph/indptr"][::-1].copy(), "gexf"),
    ],
)
def test_files_that_point_outside_themselves(tmp_path: Path, path: str, values: Any, suffix: str) -> None:
    write_communities(tmp_path / "x.h5", {**communities_content(), path: values})
    with pytest.raises(InputError, match=rf"{path}(.|\n)*tdtool verify"):
        export_all(tmp_path / "x.h5", [tmp_path / f"x.{suffix}"])
    assert [found.name for found in tmp_path.iterdir()] == ["x.h5"]


def test_graph_formats_are_for_graphs(tmp_path: Path) -> None:
    for name in ("x.graphml", "x.GEXF"):
        check_export(tmp_path / name, force=False, graph=True)
        with pytest.raises(UsageError, match="this result has none"):
            check_export(tmp_path / name, force=False)
        with pytest.raises(UsageError, match="this result has none"):
            export_all(write_cp(tmp_path / f"{name}.h5"), [tmp_path / name])
    with pytest.raises(UsageError, match=r"'.xlsx'.*\n.*\.gexf"):
        check_export(tmp_path / "x.xlsx", force=False, graph=True)


def test_bytes_are_the_same_every_time(exported: Path, tmp_path: Path) -> None:
    write_communities(tmp_path / "x.h5")
    paths = [path.name for path in exported.glob("x.*") if path.suffix != ".h5"]
    export_all(tmp_path / "x.h5", [tmp_path / name for name in paths])
    assert len(paths) == 8
    for name in paths:
        assert (tmp_path / name).read_bytes() == (exported / name).read_bytes(), name


def test_edges_are_streamed(tmp_path: Path) -> None:
    """The memory that drawing takes hardly grows with the edges; the program reads them from arrays of its own."""
    code = """
import sys
from pathlib import Path
import numpy as np
from tdtool.store.export_graph_xml import DrawnGraph, write_gexf, write_graphml
def peak(): return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
def write(n):
    step = 1 << 14
    blocks = lambda: ((np.arange(a, a + step), np.arange(a, a + step) + 1, None) for a in range(0, n, step))
    graph = DrawnGraph({}, lambda: ([[f"name {i}" for i in range(a, a + step)], []] for a in range(0, n, step)), blocks,
                       weighted=False)
    write_graphml(Path(sys.argv[1]) / "x.graphml", graph)
    write_gexf(Path(sys.argv[1]) / "x.gexf", graph)
write(1 << 15)
before = peak()
write(1 << 17)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True)
    assert (tmp_path / "x.graphml").stat().st_size > 10_000_000
    assert int(done.stdout) < 5_000, "kilobytes more than for a quarter of the graph"
