"""`tdtool ingest` of graphs: from a file of any format to a graph file, and what the command line makes of options."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from tdtool.cli import entry
from tdtool.config import GraphConfig
from tdtool.data.graph import read_graph
from tdtool.data.graph_store import open_graph
from tdtool.errors import InputError
from tdtool.run.ingest import ingest_graph, kind_of
from tdtool.store.verify import verify

TABLE = "who,whom,much\nann,bob,2\nbob,cy,0.5\nbob,bob,1\ncy,dora,0\n"


def test_a_graph_is_stored(tmp_path: Path) -> None:
    (tmp_path / "links.csv").write_text(TABLE)
    output = tmp_path / "links.h5"
    config = GraphConfig(columns="who,whom", weight="much")
    result = ingest_graph(str(tmp_path / "links.csv"), output, config)
    assert (result.n_nodes, result.n_edges, result.n_isolated, result.weighted, result.n_left) == (4, 2, 1, True, None)
    assert (result.ledger.rows_in, result.ledger.rows_used) == (4, 3)
    stored, direct = open_graph(output), read_graph(str(tmp_path / "links.csv"), config, memory=1 << 28)
    assert stored.names() == direct.names() == ["ann", "bob", "cy", "dora"]
    assert np.array_equal(stored.adjacency().toarray(), direct.adjacency().toarray())
    assert stored.source["path"] == "links.csv"
    assert verify(output) == []
    assert json.loads(json.dumps(result.as_dict()))["path"] == str(output)


def test_nothing_is_left_of_a_graph_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("a,b,weight\nx,y,-1\n")
    with pytest.raises(InputError, match="negative"):
        ingest_graph(str(tmp_path / "bad.csv"), tmp_path / "bad.h5", GraphConfig())
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.edges", "graph"),
        ("X.GraphML.gz", "graph"),
        ("x.gml.zst", "graph"),
        ("x.metis", "graph"),
        ("x.edgelist.xz", "graph"),
        ("x.csv", "corpus"),
        ("x.mtx", "corpus"),
        ("edges.txt.gz", "corpus"),
        ("x.npz", "corpus"),
        ("-", "corpus"),
    ],
)
def test_what_a_name_says(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_a_directory_is_a_corpus_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.edges").mkdir()
    assert kind_of(str(tmp_path / "x.edges")) == "corpus"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a table of links and a graph."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "links.csv").write_text(TABLE)
    nx.write_graphml(nx.path_graph(3), tmp_path / "path.graphml")
    return tmp_path


def test_command(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["ingest", "path.graphml", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["n_nodes"], told["n_edges"]) == ("path.graph.h5", 3, 2)
    assert open_graph(here / "path.graph.h5").names() == ["0", "1", "2"]
    assert entry.run(["ingest", "links.csv", "--as", "graph", "--columns", "who,whom", "--weight", "none"]) == 0
    out = capsys.readouterr().out
    assert "4 edges read, 4 used, 0 skipped\n  1 loops left out" in out
    assert out.splitlines()[-1] == "links.graph.h5"
    assert open_graph(here / "links.graph.h5").weights is None


def test_bipartite_and_format(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pairs").write_text("a\tb\nc\tb\n")
    assert entry.run(["ingest", "pairs", "--as", "graph", "--format", "edges", "--bipartite", "-o", "p.h5"]) == 0
    assert open_graph(here / "p.h5").n_left == 2
    assert capsys.readouterr().out.splitlines()[-1] == "p.h5"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["links.csv", "--weight", "much"], "--weight is for graphs, and a corpus is made of this source"),
        (["links.csv", "--bipartite"], "--bipartite is for graphs"),
        (["path.graphml", "--ngrams", "2"], "--ngrams is for documents, and a graph is made of this source"),
        (["links.csv", "--as", "graph", "--column", "who"], "--column is for documents"),
        (["path.graphml", "--key", "A"], "it is for the formats npz"),
        (["links.csv", "--as", "graph", "--format", "lines"], "there is no format 'lines'"),
    ],
)
def test_options_of_the_other_kind(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    before = sorted(here.iterdir())
    assert entry.run(["ingest", *words]) == 2
    assert message in capsys.readouterr().err
    assert sorted(here.iterdir()) == before
