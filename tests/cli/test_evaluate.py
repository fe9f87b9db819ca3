"""`tdtool evaluate --truth`: what a person reads, and which arguments fit which file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.store.samples import write_topics
from tests.store.samples_communities import write_communities

TRUTH = "=now()\t\x1b[1mAnn\tBea\tCy\nBea\tCy\tDora\tÜnal\tnobody\n"


@pytest.fixture
def files(run: Run, tmp_path: Path) -> Run:
    """The command line in a folder with a result (r.h5), a topic model (t.h5) and a truth."""
    write_communities(tmp_path / "r.h5")
    write_topics(tmp_path / "t.h5")
    (tmp_path / "truth.txt").write_text(TRUTH)
    return run


def test_one_node_is_no_nodes(files: Run, tmp_path: Path) -> None:
    (tmp_path / "truth.txt").write_text("Bea\n")
    assert "against 1 known (a community a line), on 1 node.\n" in files("evaluate", "r.h5", "--truth", "truth.txt").out


def test_what_a_person_reads(files: Run) -> None:
    ran = files("evaluate", "r.h5", "--truth", "truth.txt")
    assert (ran.code, ran.err) == (0, "")
    assert re.search(r"^0 +4 +0 +4  1\.000  yes$", ran.out, re.MULTILINE)
    assert "2 found communities against 2 known (a community a line), on 6 nodes." in ran.out
    values = dict(re.findall(r"^([A-Za-z].*?) +(-|\d\.\d{3})  \S", ran.out, re.MULTILINE))
    assert values == {
        **dict.fromkeys(["ONMI (max)", "ONMI (LFK)", "F1", "omega", "recovery ratio"], "1.000"),
        "membership error": "0.042",
        "recovery error": "0.000",
    }
    assert "Note: 1 nodes of the truth are not in the graph and left out: nobody" in ran.out
    assert "Note: the truth covers 6 of 7 nodes; the others are left out (--all-nodes)" in ran.out
    assert ran.out.endswith("2 communities read, 2 used, 0 skipped\n  1 nodes that the graph does not have\n")


def test_options_reach_the_scores(files: Run) -> None:
    plain = json.loads(files("evaluate", "r.h5", "--truth", "truth.txt", "--all-nodes", "--json").out)
    assert (plain["nodes"], plain["n_nodes"]) == ("all", 7)
    Path("pairs.txt").write_text("Bea Cy\nCy Dora\nDora Bea\n")
    table, lines = (
        json.loads(files("evaluate", "r.h5", "--truth", "pairs.txt", "--json", *more).out)
        for more in ((), ("--truth-format", "lines", "--omega"))
    )
    assert table["truth"] == "a table of nodes and communities"
    assert [row["name"] for row in table["communities"]] == ["Cy", "Dora", "Bea"]
    assert [row["size"] for row in lines["communities"]] == [2, 2, 2]
    assert lines["scores"]["omega"] is not None


def test_long_truths_are_cut_short_for_a_person(files: Run) -> None:
    Path("many.json").write_text(json.dumps({f"c{i}": ["Bea", "Cy"] for i in range(23)}))
    assert "\nand 3 more" in files("evaluate", "r.h5", "--truth", "many.json").out
    assert len(json.loads(files("evaluate", "r.h5", "--truth", "many.json", "--json").out)["communities"]) == 23


WRONG = {
    "no truth": (["r.h5"], "r.h5: communities are scored against known ones"),
    "a corpus for communities": (["r.h5", "truth.txt"], "r.h5: communities are scored against known ones"),
    "both": (["r.h5", "truth.txt", "--truth", "truth.txt"], "CORPUS and --truth exclude each other"),
    "a truth for topics": (["t.h5", "--truth", "truth.txt"], "t.h5: --truth is for communities"),
    "nothing for topics": (["t.h5"], "t.h5: nothing to score it on"),
    "an option of a corpus": (["r.h5", "--truth", "truth.txt", "--id-column", "a"], "--id-column is for a CORPUS"),
    "a seed": (["r.h5", "--truth", "truth.txt", "--seed", "1"], "--seed is for a CORPUS"),
    "an option of a truth": (["t.h5", "corpus", "--all-nodes"], "--all-nodes is for communities (--truth)"),
    "a format there is none of": (["r.h5", "--truth", "truth.txt", "--truth-format", "xml"], "'xml'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_wrong_usage(files: Run, case: str) -> None:
    arguments, message = WRONG[case]
    ran = files("evaluate", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


BAD: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "bad: it is empty"),
    "binary": (bytes(range(256)), "bad: it is a binary file, not text"),
    "of another graph": ("x y z\n", "none of its 3 nodes is in the graph (x, y, z)"),
    "one column": ("Bea\nCy\n", "bad:1: every line has one name only"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_truths_are_bad_input(files: Run, case: str) -> None:
    content, message = BAD[case]
    Path("bad").write_bytes(content.encode() if isinstance(content, str) else content)
    ran = files("evaluate", "r.h5", "--truth", "bad")
    assert (ran.code, ran.out) == (3, "")
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_no_result_file(files: Run) -> None:
    ran = files("evaluate", "nothing.h5", "--truth", "truth.txt")
    assert ran.code == 3
    assert "nothing.h5: there is no such file" in ran.err


def test_settings_for_a_corpus_do_not_get_in_the_way(files: Run) -> None:
    Path("tdtool.toml").write_text('[tdtool]\nseed = 3\n[evaluate]\nid-column = "name"\nall-nodes = true\n')
    ran = files("evaluate", "r.h5", "--truth", "truth.txt", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["nodes"] == "all"
