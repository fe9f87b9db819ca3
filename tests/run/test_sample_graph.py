"""The sample graph from end to end: what is found is what it was, word for word, and is nearly what was planted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tdtool.run.communities import find_communities
from tdtool.run.evaluate_communities import evaluate_communities

ROOT = Path(__file__).parents[2]
SAMPLE, GOLDEN = ROOT / "sample_data", ROOT / "tests" / "golden" / "friends.txt"


def found_in(folder: Path) -> tuple[Path, str]:
    """The result, and its communities: a line each, the largest first, members by name."""
    output = folder / "friends.h5"
    result = find_communities(str(SAMPLE / "graph.edges"), output, workers=2)
    names = [result.facts.name(node) for node in range(result.fit.cover.n_nodes)]
    lines = ["\t".join(sorted(names[node] for node in members)) for members in result.fit.cover.sets()]
    return output, "\n".join(lines) + "\n"


def test_golden_communities(tmp_path: Path) -> None:
    """UPDATE_GOLDEN=1 writes the file anew, after a change of the method that is meant."""
    output, text = found_in(tmp_path)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
    scores = evaluate_communities(output, str(SAMPLE / "graph.truth.txt")).scores
    assert scores["onmi_max"] == pytest.approx(0.988, abs=0.02)
    assert scores["recovery_ratio"] == 1.0
    assert scores["membership_error"] is not None
    assert scores["membership_error"] < 0.04
