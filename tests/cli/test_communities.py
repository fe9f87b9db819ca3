"""`tdtool communities` as a person types it."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Run
from tests.cli.running import environment
from tests.store.samples import names

SIZES = (9, 11, 13)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three circles of 9, 11 and 13 people; p00 is in the first two. In a folder of its own."""
    rng = np.random.default_rng(3)
    group = np.repeat([0, 1, 2], SIZES)
    chance = np.where(group[:, None] == group, 0.8, 0.02)
    chance[0, 9:20] = 0.8
    folder = tmp_path / "data"
    folder.mkdir()
    pairs = itertools.combinations(range(33), 2)
    lines = [f"p{a:02}\tp{b:02}\n" for a, b in pairs if rng.random() < chance[a, b]]
    with gzip.open(folder / "people.tsv.gz", "wt", encoding="utf-8") as file:
        file.writelines(["# who knows whom\n", *lines, "p01\tp01\n"])
    return folder / "people.tsv.gz"


def test_shortest_command_chooses_and_explains(run: Run, source: Path, tmp_path: Path) -> None:
    ran = run("communities", source)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].split() == ["tried", "found", "gain", "cost", "objective"]
    assert re.search(r"^ +3 +3 +[\d,]+ +\d+ +[\d,]+  taken$", ran.out, re.MULTILINE)
    assert re.search(r"^3 communities among 33 nodes and \d+ edges; \d+ nodes? in several\.$", ran.out, re.MULTILINE)
    assert re.search(r"^community  size  share  density  conductance  strongest members$", ran.out, re.MULTILINE)
    assert re.search(r"^ +0 +1[23] +\d\d\.\d% +0\.\d{3} +0\.\d{3}  (p\d\d( \(\d+%\))?, )+", ran.out, re.MULTILINE)
    assert re.search(r"^p00 +\d+  \d \(\d\d%\), \d \(\d\d%\)$", ran.out, re.MULTILINE)
    assert re.search(r"^\d\d\.\d% of the edges lie inside a community\. Overlapping modularity 0\.\d+\.", ran.out, re.M)
    assert re.search(r"^The communities shorten the description of the edges by [\d,]+ bits\.$", ran.out, re.MULTILINE)
    assert re.search(r"^ +1 loops left out$", ran.out, re.MULTILINE)
    assert lines[-1] == "people.communities.h5", "the path comes last"
    again = run("communities", source, "-k", "3", "-q")
    assert again.out.endswith("\npeople.communities-2.h5\n")
    assert again.err == ""
    assert names(tmp_path) == ["data", "people.communities-2.h5", "people.communities.h5"]
    assert run("verify", "people.communities.h5").code == 0


def test_show_tells_the_same_and_more(run: Run, source: Path, tmp_path: Path) -> None:
    first = run("communities", source, "-o", "c.h5", "--top", "2").out
    ran = run("show", "c.h5", "--top", "2", "--export", "m.tsv")
    assert ran.code == 0, ran.err
    table = first[first.index("3 communities among") : first.index("\n\nNodes between")]
    assert table in ran.out
    assert re.search(r"^communities  chance of a link\n\d - \d +0\.\d{4}$", ran.out, re.MULTILINE)
    assert re.search(r"^communities +3$", ran.out, re.MULTILINE)
    assert len((tmp_path / "m.tsv").read_text().splitlines()) > 33
    largest = run("show", "c.h5", "--topics", "1").out
    assert re.search(r"^ +and 2 more communities$", largest, re.MULTILINE)
    assert len(json.loads(run("show", "c.h5", "--json").out)["communities"]["communities"]) == 3
    refused = run("show", "c.h5", "--export", "m.docx")
    assert refused.code == 2


def test_json_is_everything_in_one_object(run: Run, source: Path) -> None:
    ran = run(
        "communities", source, "-k", "3", "--json", "--top", "2", "--holdout", "0.1", "--stability", "1", "--seed", "3"
    )
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert (result["path"], result["n_communities"], result["n_nodes"]) == ("people.communities.h5", 3, 33)
    assert [len(row["members"]) for row in result["communities"]] == [2, 2, 2]
    assert {"auc", "auc_degrees", "stability", "modularity", "bits"} <= set(result["scores"])
    assert "p00" in [row["node"] for row in result["bridges"]]
    assert result["ledger"]["counters"]["loops left out"] == 1


def test_settings_reach_the_fit(run: Run, source: Path) -> None:
    for arguments in (["--no-overlap"], ["--polish", "0"], ["--alpha0", "0.5", "--tau", "0.3"]):
        ran = run("communities", source, "-k", "3", "--json", "-o", "c.h5", "--force", *arguments)
        assert ran.code == 0, ran.err
        result = json.loads(ran.out)
        assert (result["n_several"] == 0) == (arguments == ["--no-overlap"]), arguments
    config = json.loads(run("show", "c.h5", "--json").out)["attributes"]["config"]
    assert (config["communities"]["alpha0"], config["communities"]["tau"]) == (0.5, 0.3)


def test_columns_weights_and_sides(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    reader, book = np.repeat([0, 1], [8, 9]), np.repeat([0, 1], [7, 5])
    chance = np.where(reader[:, None] == book, 0.9, 0.03)
    rows = [
        f"{i},r{a},b{b},{rng.integers(1, 3)}\n" for i, (a, b) in enumerate(np.argwhere(rng.random((17, 12)) < chance))
    ]
    (tmp_path / "loans.csv").write_text("".join(["id,who,what,times\n", *rows]))
    options = ["--columns", "who,what", "--weight", "times", "--bipartite", "-k", "2"]
    ran = run("communities", "loans.csv", *options)
    assert ran.code == 0, ran.err
    assert re.search(r"^ +0 +\d \+ \d +\d", ran.out, re.MULTILINE), "both kinds are counted"
    graph = json.loads(run("show", "loans.communities.h5", "--json").out)["attributes"]["config"]["graph"]
    assert (graph["columns"], graph["weight"], graph["bipartite"]) == ("who,what", "times", True)


def test_dry_run_predicts_and_writes_nothing(run: Run, source: Path, tmp_path: Path) -> None:
    ran = run("communities", source, "--dry-run")
    assert ran.code == 0, ran.err
    for line in (r"nodes +33", r"edges +\d\d\d", r"mode +dense", r"communities +2, 3, 4", r"time +about \d+ s"):
        assert re.search(f"^{line}", ran.out, re.MULTILINE), line
    plan = json.loads(run("communities", source, "-k", "5", "--dry-run", "--json").out)
    assert plan["communities"] == [5]
    assert plan["seconds"] > 0
    assert names(tmp_path) == ["data"]


USAGE = {
    "k 0": (["-k", "0"], "0 is less than 1"),
    "k in words": (["-k", "many"], "neither a whole number nor auto"),
    "two numbers": (["-k", "3", "--max-communities", "4"], "--max-communities is for -k auto"),
    "no such mode": (["--mode", "fast"], "'fast' is not one of"),
    "no such format": (["--format", "xlsx"], "xlsx"),
    "all edges held out": (["--holdout", "1"], "holdout"),
    "export": (["--export", "x.docx"], "no format has the suffix"),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage(run: Run, source: Path, tmp_path: Path, case: str) -> None:
    arguments, message = USAGE[case]
    ran = run("communities", source, *arguments)
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert names(tmp_path) == ["data"]


BAD = {
    "": "is empty",
    "a\nb\n": "one column",
    "a a\n": "no edges",
    "1 2\n3 4\n": "its 2 edges link nodes in pairs only",
    "a b 1\nb c -1\n": "negative",
    "a b 1\nb c nan\n": "nan",
    "1 2\n2 3 4 5 6\n": "bad.txt:2",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_graphs_are_told_what_is_wrong(run: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.txt").write_text(text)
    ran = run("communities", "bad.txt")
    assert (ran.code, ran.out) == (3, ""), ran.err
    assert BAD[text] in ran.err
    assert "bug" not in ran.err
    assert names(tmp_path) == ["bad.txt"]


def test_other_troubles_have_their_codes(run: Run, source: Path) -> None:
    above = run("communities", source, "-k", "34")
    assert above.code == 3
    assert "-k is 34, and the graph has 33 nodes" in above.err
    assert run("communities", "nowhere.txt").code == 3


def test_graphs_at_the_edge_of_sense_end_well(run: Run, tmp_path: Path) -> None:
    graphs = {
        "triangle": [(0, 1), (1, 2), (0, 2)],
        "path": [(i, i + 1) for i in range(9)],
        "star": [(0, i) for i in range(1, 30)],
        "complete": list(itertools.combinations(range(14), 2)),
        "many": [(3 * i + a, 3 * i + b) for i in range(2000) for a, b in ((0, 1), (1, 2), (0, 2))],
    }
    for name, edges in graphs.items():
        (tmp_path / f"{name}.txt").write_text("".join(f"{a} {b}\n" for a, b in edges))
        ran = run("communities", f"{name}.txt")
        assert ran.code == 0, (name, ran.err)
        assert ran.out.endswith(f"\n{name}.communities.h5\n")
        assert ran.out.count("\n") < 60, name
        assert run("show", f"{name}.communities.h5").code == 0
    assert "2,000 connected components" in run("communities", "many.txt").out


def test_names_keep_their_zeros_and_escape_what_steers(run: Run, tmp_path: Path) -> None:
    people = ["007", "07", "7", "=cmd()", "\x1b[31mred", "Ünal", "二"]
    pairs = itertools.combinations(people, 2)
    (tmp_path / "n.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    ran = run("communities", "n.tsv", "-k", "1", "--export", "m.csv")
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out
    assert all(name in ran.out for name in ("007", "07", "Ünal", "二"))


def test_very_long_names_are_cut_in_tables_only(run: Run, tmp_path: Path) -> None:
    people = [f"{letter * 3000}{i}" for i in range(5) for letter in "ab"]
    pairs = [(a, b) for a, b in itertools.combinations(people, 2) if a[0] == b[0]]
    (tmp_path / "n.txt").write_text("".join(f"{a} {b}\n" for a, b in [*pairs, (people[0], people[1])]))
    ran = run("communities", "n.txt", "-k", "2", "--export", "m.csv")
    assert ran.code == 0, ran.err
    assert "a" * 57 + "..." in ran.out
    assert max(map(len, ran.out.splitlines())) < 700
    assert all(name in (tmp_path / "m.csv").read_text() for name in people)
    shown = run("evaluate", "n.communities.h5", "--truth", "m.csv")
    assert "Note" not in shown.out


def test_the_graph_is_not_written_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "g.txt").write_text("1 2\n2 3\n1 3\n")
    for command in (["communities"], ["ingest", "--as", "graph"]):
        ran = run(*command, "g.txt", "-o", "g.txt", "--force")
        assert (ran.code, ran.out) == (2, "")
        assert "g.txt: the result would take the place of what is read\n  choose another name with -o" in ran.err
    assert (tmp_path / "g.txt").read_text() == "1 2\n2 3\n1 3\n"


def test_standard_input_and_settings(source: Path, tmp_path: Path) -> None:
    (tmp_path / "tdtool.toml").write_text("[communities]\ncommunities = 2\n")
    command = [sys.executable, "-m", "tdtool", "communities", "-", "--json", "--no-overlap"]
    with source.open("rb") as file:
        done = subprocess.run(
            command, stdin=file, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment()
        )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["path"], result["n_communities"]) == ("stdin.communities.h5", 2)


def test_interruption_leaves_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    edges = rng.integers(0, 20_000, (200_000, 2))
    (tmp_path / "big.txt").write_text("".join(f"{a} {b}\n" for a, b in edges.tolist()))
    command = [sys.executable, "-m", "tdtool", "communities", "big.txt", "--mode", "dense", "-v"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment()
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "finding communities" in line:
                break
        time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert out == ""
    assert names(tmp_path) == ["big.txt"]


@pytest.mark.shared_data
def test_real_graph_is_answered_readably(run: Run, shared_data: Path) -> None:
    ran = run("communities", shared_data / "graphs" / "facebook_ego" / "edges.txt.gz", "-k", "12")
    assert ran.code == 0, ran.err
    assert "among 4,039 nodes and 88,234 edges" in ran.out
    assert ran.out.count("\n") < 60
    assert max(map(len, ran.out.splitlines())) < 160
