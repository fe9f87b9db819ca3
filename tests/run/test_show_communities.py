"""What a file of communities says, and how it is said to a person."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.errors import InputError
from tdtool.models.cover import Cover
from tdtool.report import communities as report
from tdtool.run.community_facts import CommunityFacts
from tdtool.run.show import describe
from tests.store.samples_communities import communities_content, write_communities, write_graph

NAMES = ["ann", "bob", "cy", "dora", "emil"]


def facts(**changes: Any) -> CommunityFacts:
    """Five nodes: 0, 1, 2 in the first community, 2, 3 in the second, 4 in none; 2 is mostly in the second."""
    known: dict[str, Any] = {
        "cover": Cover(
            np.array([0, 1, 2, 4, 5, 5]), np.array([0, 0, 0, 1, 1], np.int32), np.array([1, 1, 0.25, 0.75, 1.0]), 2
        ),
        "strengths": np.array([0.5, 0.9, 0.2, 0.4, 0.3]),
        "degrees": np.array([2.0, 3, 4, 1, 0]),
        "density": np.array([0.75, 1.0]),
        "conductance": np.array([0.25, 0.5]),
        "lambdas": np.array([3.0, 1.5]),
        "stability": None,
        "link_probability": np.array([[0.9, 0.05], [0.05, 0.8]]),
        "name": NAMES.__getitem__,
    }
    return CommunityFacts(**{**known, **changes})


def test_strongest_members_come_first_with_their_share() -> None:
    first, second = facts().communities(2)
    assert (first["community"], first["size"], first["share"]) == (0, 3, 0.6)
    assert [(m["node"], m["share"], m["strength"]) for m in first["members"]] == [("bob", 1.0, 0.9), ("ann", 1.0, 0.5)]
    assert [(m["node"], m["share"]) for m in second["members"]] == [("cy", 0.75), ("dora", 1.0)]
    assert (second["density"], second["conductance"], second["lambda"]) == (1.0, 0.5, 1.5)
    assert "stability" not in first
    assert "left_size" not in first
    assert [row["community"] for row in facts().communities(2, most=1)] == [0]


def test_both_kinds_of_a_bipartite_graph_are_counted() -> None:
    assert [row["left_size"] for row in facts(n_left=3).communities(1)] == [3, 1]
    assert [row["left_size"] for row in facts(n_left=0).communities(1)] == [0, 0]


def test_bridges_ties_and_counts() -> None:
    assert facts().bridges() == [{"node": "cy", "degree": 4.0, "communities": [(1, 0.75), (0, 0.25)]}]
    assert facts().bridges(0) == []
    assert facts().ties() == [{"communities": [0, 1], "probability": 0.05}]
    assert facts(link_probability=np.eye(2)).ties() == [], "no link across"
    assert facts(link_probability=None).ties() == []
    assert facts().counts() == {"n_nodes": 5, "n_communities": 2, "n_several": 1, "n_none": 1}


def test_file_says_what_was_written(tmp_path: Path) -> None:
    found = describe(write_communities(tmp_path / "c.h5"), n_words=1)
    communities = found.communities
    assert [row["members"][0]["node"] for row in communities["communities"]] == ["=now()", "Dora"]
    assert [row["stability"] for row in communities["communities"]] == [1.0, 0.5]
    assert [row["left_size"] for row in communities["communities"]] == [3, 1]
    assert [row["node"] for row in communities["bridges"]] == ["Cy", "Bea"], "an even share ties more"
    assert communities["ties"] == [{"communities": [0, 1], "probability": 0.1}]
    assert (communities["n_edges"], communities["n_components"], communities["largest_component"]) == (7, 2, 6)
    assert [row["n_asked"] for row in found.selection] == [2, 3, 5]
    assert found.facts["communities"] == 2
    assert found.facts["edges"] == 7
    assert found.as_dict()["communities"]["n_none"] == 1
    assert len(describe(tmp_path / "c.h5", n_topics=1).communities["communities"]) == 1


def test_other_files_have_no_communities(tmp_path: Path) -> None:
    found = describe(write_graph(tmp_path / "g.h5"))
    assert found.communities == {}
    assert (found.facts["nodes"], found.facts["edges"]) == (7, 7)


def test_impossible_memberships_are_no_traceback(tmp_path: Path) -> None:
    content = communities_content(optional=False)
    content["membership/community"] = np.array([0, 0, 0, 9, 0, 1, 1, 1], np.int32)
    with pytest.raises(InputError, match="names communities outside the 2"):
        describe(write_communities(tmp_path / "c.h5", content))


def test_result_without_communities(tmp_path: Path) -> None:
    content = communities_content(optional=False)
    none = {"membership/indptr": np.zeros(8, np.int64), "membership/community": np.zeros(0, np.int32)}
    none |= {f"membership/{name}": np.zeros(0) for name in ("weight", "strength")}
    none |= {"communities/size": np.zeros(0, np.int64)}
    none |= {f"communities/{name}": np.zeros(0) for name in ("lambda", "conductance", "density")}
    found = describe(write_communities(tmp_path / "c.h5", {**content, **none})).communities
    assert (found["n_communities"], found["n_none"], found["communities"], found["bridges"]) == (0, 7, [], [])


# ---- as a person reads it


def printed(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The lines that were printed, cut at two spaces."""
    return [[cell for cell in line.split("  ") if cell] for line in capsys.readouterr().out.splitlines()]


def test_table_of_communities(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_communities(facts().communities(2), 2)
    head, first, second = printed(capsys)
    assert [cell.strip() for cell in head] == [
        *("community", "size", "share", "density", "conductance", "strongest members")
    ]
    assert [cell.strip() for cell in first] == ["0", "3", "60.0%", "0.750", "0.250", "bob, ann and 1 more"]
    assert second[-1].strip() == "cy (75%), dora"


def test_table_of_very_many_communities_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_communities(facts().communities(2, 1), 20_000)
    assert capsys.readouterr().out.splitlines()[-1].strip() == "and 19,999 more communities"
    report.print_communities([{**facts().communities(2)[0], "share": 0.0001}], 2)
    assert "  <0.1%  " in capsys.readouterr().out
    report.print_communities(facts().communities(2, 1), 2)
    assert capsys.readouterr().out.splitlines()[-1].strip() == "and 1 more community"


def test_table_of_bipartite_and_stable_communities(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_communities(facts(n_left=3, stability=np.array([1.0, math.nan])).communities(1), 2)
    head, first, second = printed(capsys)
    assert head[5].strip() == "stability"
    assert [first[1].strip(), first[5].strip()] == ["3 + 0", "1.000"]
    assert [second[1].strip(), second[5].strip()] == ["1 + 1", "-"]


def test_table_of_bridges(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_bridges(facts().bridges(), 3)
    lines = printed(capsys)
    assert [cell.strip() for cell in lines[1]] == ["cy", "4", "1 (75%), 0 (25%)"]
    assert lines[2] == ["and 2 more"]


def test_table_of_trials_has_the_best_and_the_taken(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"n_asked": k, "n_found": k, "gain": 9.0 * k, "cost": 2.0, "objective": 1e4 * k} for k in range(2, 20)]
    report.print_trials(rows, 0)
    lines = printed(capsys)
    assert [line[0].strip() for line in lines[1:]] == [str(k) for k in (2, *range(10, 20))]
    assert [cell.strip() for cell in lines[1]] == ["2", "2", "18", "2", "20,000", "taken"]
    assert report.trials_text(18) == "The best 10 of 18 tried; gain, cost and objective are in bits."
    assert report.trials_text(10) == ""
    report.print_trials([{**rows[0], "objective": math.nan}], None)
    assert printed(capsys)[1][-1].strip() == "-"


def test_sentences() -> None:
    counts = {"n_nodes": 5, "n_communities": 2, "n_several": 1, "n_none": 0}
    assert report.counts_text(counts, 1) == "2 communities among 5 nodes and 1 edge; 1 node in several."
    counts |= {"n_communities": 1, "n_several": 0, "n_none": 1234}
    assert report.counts_text(counts, 9) == "1 community among 5 nodes and 9 edges; 1,234 in none."
    assert report.counts_text({**counts, "n_communities": 0}, 1) == "No communities among 5 nodes and 1 edge."
    assert report.components_text(1, 5, 5) == ""
    text = report.components_text(1234, 4000, 5000)
    assert text == "1,234 connected components; the largest has 4,000 nodes (80.0%)."


def test_scores_in_words() -> None:
    scores = {"modularity": 0.5, "mean_conductance": 0.25, "covered_edges": 0.8, "bits": 1234.0}
    further = {"auc": 0.9, "auc_degrees": 0.7, "held_out_edges": 40, "stability": 0.95, "stability_found": [3, 4]}
    assert report.scores_text({**scores, **further}).splitlines() == [
        "80.0% of the edges lie inside a community. Overlapping modularity 0.500. Mean conductance 0.250.",
        "The communities shorten the description of the edges by 1,234 bits.",
        "AUC 0.900 (degrees alone 0.700) for 40 edges that a second fit had not seen.",
        "Stability 0.950: mean ONMI of all pairs of runs; 2 further runs, with 3, 4 communities.",
    ]
    assert report.scores_text({}) == ""
    assert "may be chance" in report.scores_text({"bits": -3.0})
    assert "1 further run, with 3" in report.scores_text({"stability": 1.0, "stability_found": [3]})
