"""Found communities scored against known ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.config import SourceConfig
from tdtool.errors import InputError
from tdtool.models import cover_scores
from tdtool.models.cover import Cover
from tdtool.run import evaluate_communities as run
from tdtool.run.evaluate_communities import EvaluationOfCommunities, evaluate_communities, model_kind, read_communities
from tests.store.samples import write_topics
from tests.store.samples_communities import communities_content, write_communities

NAMES = ["3", "8", "08", "Ann Lee", "Ben", "二", "Cy", "Dora", "Eve"]
FOUND = [[0, 1, 2, 3], [3, 4, 5], [6, 7]]
TRUTH = [["3", "8", "08"], ["Ann Lee", "Ben", "二", "Cy"]]


def result_file(path: Path, sets: Sequence[Sequence[int]] = FOUND, names: Sequence[str] = NAMES) -> Path:
    """A result in which these nodes are together; of the graph only the names matter here."""
    n = len(names)
    cover = Cover.from_sets(sets, n)
    content: dict[str, Any] = {
        **communities_content(optional=False),
        "membership/indptr": cover.indptr,
        "membership/community": cover.communities,
        "membership/weight": cover.weights,
        "membership/strength": np.ones(cover.weights.size),
        "nodes/name": list(names),
        "graph/indptr": np.zeros(n + 1, np.int64),
        "graph/neighbours": np.zeros(0, np.int32),
        **{f"communities/{name}": np.ones(len(sets)) for name in ("lambda", "conductance", "density")},
        **{f"nodes/{name}": np.ones(n) for name in ("degree", "propensity")},
        "communities/size": cover.sizes,
        "nodes/component": np.zeros(n, np.int64),
    }
    return write_communities(path, content)


@pytest.fixture
def found(tmp_path: Path) -> Path:
    return result_file(tmp_path / "found.communities.h5")


def truth_file(folder: Path, communities: Sequence[Sequence[str]] = TRUTH) -> str:
    (folder / "truth.txt").write_text("".join("\t".join(nodes) + "\n" for nodes in communities))
    return str(folder / "truth.txt")


def expected_scores(found: Cover, truth: Cover) -> dict[str, float]:
    related = cover_scores.recovery(found, truth)
    return {
        "onmi_max": cover_scores.onmi_max(found, truth),
        "onmi_lfk": cover_scores.onmi_lfk(found, truth),
        "average_f1": cover_scores.average_f1(found, truth),
        "omega": cover_scores.omega_index(found, truth),
        "membership_error": cover_scores.membership_error(found, truth),
        "recovery_ratio": related.ratio,
        "recovery_error": related.error,
    }


@pytest.mark.parametrize("all_nodes", [False, True])
def test_scores_are_those_of_the_covers(found: Path, tmp_path: Path, all_nodes: bool) -> None:
    result = evaluate_communities(found, truth_file(tmp_path), all_nodes=all_nodes)
    n = 9 if all_nodes else 7
    ours = Cover.from_sets([[0, 1, 2, 3], [3, 4, 5], [6, 7] if all_nodes else [6]], n)
    theirs = Cover.from_sets([[0, 1, 2], [3, 4, 5, 6]], n)
    assert result.scores == pytest.approx(expected_scores(ours, theirs))
    assert (result.nodes, result.n_nodes, result.n_graph_nodes) == ("all" if all_nodes else "covered", n, 9)
    assert (result.n_found, result.n_true, result.truth) == (3, 2, "a community a line")
    assert any("covers 7 of 9 nodes" in note for note in result.notes) != all_nodes


def test_every_known_community_has_its_row(found: Path, tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text(
        json.dumps({"few": ["Cy", "Eve"], "many": TRUTH[1][:3], "rest": ["Eve", "nobody"]})
    )
    result = evaluate_communities(found, str(tmp_path / "truth.json"), all_nodes=True)
    rows = [(row.name, row.size, row.found, row.found_size, row.f1) for row in result.communities]
    assert rows == [
        ("many", 3, 1, 3, 1),
        ("few", 2, 2, 2, pytest.approx(1 / 2)),
        ("rest", 1, -1, 0, 0),
    ]
    assert [row.recovered for row in result.communities] == [True, False, False]
    assert result.scores["recovery_ratio"] == pytest.approx(1 / 3)


def test_equal_communities(found: Path) -> None:
    result = evaluate_communities(found, str(found))
    assert result.scores == pytest.approx({name: float("error" not in name) for name in result.scores})
    assert result.n_nodes == 8, "Eve is in no community"


def test_nodes_that_the_graph_does_not_have_are_counted_and_named(found: Path, tmp_path: Path) -> None:
    strange = [f"x{i}" for i in range(7)]
    result = evaluate_communities(found, truth_file(tmp_path, [*TRUTH, strange, ["3", "y"]]))
    assert result.ledger.counters == {
        "nodes that the graph does not have": 8,
        "communities without a node of the graph": 1,
    }
    (note,) = (note for note in result.notes if "not in the graph" in note)
    assert note.startswith("8 nodes of the truth are not in the graph and left out: x0, x1, x2, x3, x4, ...")
    assert result.n_true == 3
    assert (result.ledger.rows_in, result.n_nodes) == (4, 7)


def test_names_are_compared_as_they_are_written(found: Path, tmp_path: Path) -> None:
    """08 is not 8."""
    result = evaluate_communities(found, truth_file(tmp_path, [["8", "3"], ["08", "Ben"]]))
    assert result.scores["membership_error"] == pytest.approx(1 / 4)


def test_no_node_of_the_graph_in_the_truth(found: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of its 2 nodes is in the graph") as caught:
        evaluate_communities(found, truth_file(tmp_path, [["1", "2"]]))
    assert "called 3, 8, 08" in str(caught.value)
    assert caught.value.exit_code == 3


def test_one_line(found: Path, tmp_path: Path) -> None:
    result = evaluate_communities(found, truth_file(tmp_path, TRUTH[:1]))
    assert any("holds all scored nodes" in note for note in result.notes)
    assert evaluate_communities(found, truth_file(tmp_path, TRUTH[:1]), all_nodes=True).scores["onmi_max"] > 0.1


def test_two_kinds_of_nodes_may_share_a_name(tmp_path: Path) -> None:
    path = result_file(tmp_path / "two.h5", [[0, 1], [2, 3]], ["a", "b", "a", "c"])
    result = evaluate_communities(path, truth_file(tmp_path, [["a", "b"], ["c"]]))
    assert any("first kind" in note for note in result.notes)
    assert result.scores["onmi_max"] == pytest.approx(1)


def test_omega_waits_to_be_asked_for_on_large_graphs(
    found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "OMEGA_NODES", 6)
    truth = truth_file(tmp_path)
    assert evaluate_communities(found, truth).scores["omega"] is None
    asked = evaluate_communities(found, truth, omega=True).scores["omega"]
    monkeypatch.setattr(run, "OMEGA_NODES", 7)
    assert evaluate_communities(found, truth).scores["omega"] == asked != None  # noqa: E711
    assert evaluate_communities(found, truth, omega=False).scores["omega"] is None


def test_the_result_speaks_json(found: Path, tmp_path: Path) -> None:
    result: EvaluationOfCommunities = evaluate_communities(found, truth_file(tmp_path))
    plain = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert plain["scores"] == result.scores
    assert plain["communities"][0]["name"] == "1"
    assert plain["ledger"]["rows_in"] == 2


def test_caps_of_the_source_hold(found: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="more than the 5 bytes"):
        evaluate_communities(found, truth_file(tmp_path), source=SourceConfig(max_bytes=5))


def test_kinds_of_files(found: Path, tmp_path: Path) -> None:
    assert model_kind(found) == "tdtool.communities"
    assert model_kind(write_topics(tmp_path / "t.h5")) == "tdtool.topics"
    assert model_kind(tmp_path / "nothing") is None
    assert model_kind(Path(truth_file(tmp_path))) is None


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tdtool\.communities is wanted"):
        read_communities(write_topics(tmp_path / "t.h5"))


@pytest.mark.parametrize(
    ("array", "values"),
    [
        ("membership/indptr", np.array([0, 1, 2, 4, 3, 7, 8, 8])),
        ("membership/community", np.array([0, 0, 0, 9, 0, 1, 1, 1], np.int32)),
        ("membership/weight", np.array([1, 1, np.nan, 0.25, 0.5, 0.5, 1, 1])),
        ("membership/weight", np.array([1, 1, -0.75, 0.25, 0.5, 0.5, 1, 1])),
    ],
)
def test_damage_is_told(tmp_path: Path, array: str, values: np.ndarray) -> None:
    path = write_communities(tmp_path / "a.h5", {**communities_content(), array: values})
    with pytest.raises(InputError, match="damaged"):
        evaluate_communities(path, truth_file(tmp_path, [["Bea", "Cy"]]))


@pytest.mark.shared_data
def test_scores_of_many_communities_take_seconds(shared_data: Path, tmp_path: Path) -> None:
    """com-DBLP: 13,477 known communities against 20,000 of neighbours in the file, 317,080 nodes."""
    n = 317_080
    path = result_file(tmp_path / "d.h5", [range(i, min(i + 16, n)) for i in range(0, n, 16)], list(map(str, range(n))))
    result = evaluate_communities(path, str(shared_data / "graphs" / "dblp" / "communities.txt.gz"))
    assert (result.n_true, result.n_nodes, result.scores["omega"]) == (13_477, 260_998, None)
    assert 0 < result.scores["onmi_max"] < 0.1
