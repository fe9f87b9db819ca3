"""The command line of moments: what is asked for, and what cannot be asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import Ran
from tests.store.samples_moments import write_graph_moments, write_moments

Run = Callable[..., Ran]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Two triangles with an edge between them."""
    path = tmp_path / "six.edges"
    path.write_text("a b\nb c\na c\nc d\nd e\ne f\nd f\n")
    return path


def test_from_documents_to_topics(run: Run, sample_data: Path, tmp_path: Path) -> None:
    made = run("ingest", sample_data / "corpus", "--moments", "-k", 8)
    assert made.code == 0, made.err
    assert made.out.splitlines()[-1] == "corpus.moments.h5"
    assert "topics at most  8" in made.out
    found = run("topics", "corpus.moments.h5")
    assert found.code == 0, found.err
    assert "moments hold no documents" in found.err
    lines = found.out.splitlines()
    assert lines[-1] == "corpus.topics.h5"
    assert [line.split()[2] for line in lines[1:9]] == ["-"] * 8  # no coherence without documents
    assert "Diversity 1.000." in found.out
    shown = run("show", "corpus.topics.h5")
    assert "documents       0" in shown.out
    assert "nan" not in shown.out + found.out


def test_as_json_for_a_program(run: Run, sample_data: Path, graph: Path) -> None:
    made = json.loads(run("ingest", sample_data / "corpus", "--moments", "-k", 5, "-q", "--json").out)
    assert (made["n_documents"], made["rank"], made["form"]) == (300, 5, "dense")
    found = json.loads(run("topics", made["path"], "-k", 3, "-q", "--json", "--seed", 4).out)
    assert (found["n_topics"], found["topics"][0]["npmi"]) == (3, None)
    made = json.loads(run("ingest", graph, "--moments", "-k", 2, "-q", "--json").out)
    assert (made["n_nodes"], made["n_edges"], made["rank"]) == (6, 7, 2)
    found = json.loads(run("communities", made["path"], "-q", "--json").out)
    assert [row["size"] for row in found["communities"]] == [3, 3]
    assert (found["n_edges"], found["communities"][0]["density"]) == (7, None)


def test_from_edges_to_communities(run: Run, graph: Path) -> None:
    assert run("ingest", graph, "--moments", "-k", 2).out.splitlines()[-1] == "six.moments.h5"
    found = run("communities", "six.moments.h5", "--polish", 0, "--alpha0", 0.1)
    assert "moments hold no edges" in found.err
    assert found.out.splitlines()[-1] == "six.communities.h5"
    assert "2 communities among 6 nodes and 7 edges." in found.out
    shown = run("show", "six.communities.h5")
    assert shown.code == 0
    assert "nan" not in shown.out + found.out
    assert run("verify", "six.communities.h5", "six.moments.h5").code == 0


OF_A_CORPUS = {
    ("-k", "auto"): "-k auto compares models",
    ("-k", "4"): "-k is 4, and the moments tell 3 topics apart",
    ("--polish", "5"): "--polish looks at the documents",
    ("--polish", "auto"): "--polish looks at the documents",
    ("--export", "x.documents.csv"): "moments hold no documents to export",
    ("--held-out", "0.2"): "--held-out does not apply",
    ("--m3", "dense"): "--m3 does not apply",
    ("--alpha0", "0.5"): "--alpha0 does not apply",
    ("--column", "2"): "--column does not apply",
    ("--min-df", "2"): "--min-df does not apply",
    ("--dry-run",): "--dry-run does not apply",
}
OF_A_GRAPH = {
    ("-k", "auto"): "-k auto compares models",
    ("-k", "3"): "-k is 3, and the moments tell 2 communities apart",
    ("--polish", "12"): "--polish looks at the edges",
    ("--export", "x.graphml"): "this result has none",
    ("--tau", "0.2"): "--tau does not apply",
    ("--mode", "sparse"): "--mode does not apply",
    ("--holdout", "0.1"): "--holdout does not apply",
    ("--stability", "2"): "--stability does not apply",
    ("--split",): "--split does not apply",
    ("--no-overlap",): "--no-overlap does not apply",
    ("--bipartite",): "--bipartite does not apply",
    ("--dry-run",): "--dry-run does not apply",
}


@pytest.mark.parametrize("options", OF_A_CORPUS)
def test_topics_of_moments_cannot_be_asked_for(run: Run, tmp_path: Path, options: tuple[str, ...]) -> None:
    ran = run("topics", write_moments(tmp_path / "m.h5"), *options, "-o", tmp_path / "t.h5")
    assert (ran.code, ran.out) == (2, "")
    assert OF_A_CORPUS[options] in ran.err
    assert not (tmp_path / "t.h5").exists()


@pytest.mark.parametrize("options", OF_A_GRAPH)
def test_communities_of_moments_cannot_be_asked_for(run: Run, tmp_path: Path, options: tuple[str, ...]) -> None:
    ran = run("communities", write_graph_moments(tmp_path / "m.h5"), *options, "-o", tmp_path / "c.h5")
    assert (ran.code, ran.out) == (2, "")
    assert OF_A_GRAPH[options] in ran.err
    assert not (tmp_path / "c.h5").exists()


@pytest.mark.parametrize("environment", [{"TDTOOL_TOPICS_POLISH": "5"}, {"TDTOOL_TOPICS_N_TOPICS": "auto"}])
def test_defaults_for_all_runs_do_not_stand_in_the_way(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "tdtool.toml").write_text("[topics]\nheld-out = 0.2\n")
    assert run("topics", write_moments(tmp_path / "m.h5"), "-o", "t.h5").code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-k", 8), "-k is for --moments"),
        (("--seed", 3), "--seed is for --moments"),
        (("--moments", "--tau", 0.1), "--tau is for moments of graphs"),
        (("--moments", "-o", "m.parquet"), "written as one HDF5 file"),
        (("--moments", "--m3", "implicit"), "'implicit' is not one of"),
    ],
)
def test_moments_of_documents_cannot_be_asked_for(
    run: Run, sample_data: Path, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    ran = run("ingest", sample_data / "corpus", *options)
    assert ran.code == 2
    assert message in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--alpha0", "--held-out", "--hash-length", "--sketches"])
def test_moments_of_edges_cannot_be_asked_for(run: Run, graph: Path, option: str) -> None:
    ran = run("ingest", graph, "--moments", option, 0.5 if option in ("--alpha0", "--held-out") else 2)
    assert ran.code == 2
    assert f"{option} is for moments of documents" in ran.err


def test_files_that_exist_stay(run: Run, graph: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.h5"
    kept.write_text("mine")
    assert run("ingest", graph, "--moments", "-o", kept).code == 2
    assert kept.read_text() == "mine"
    assert run("ingest", graph, "--moments", "-o", kept, "--force").code == 0
    assert run("communities", kept, "-o", kept, "--force").code == 2
