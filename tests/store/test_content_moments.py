"""Moments that cannot be are found; good ones are not, nor what cannot be known of a result that was made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.store import hdf5
from tdtool.store.content import check_content
from tdtool.store.verify import verify
from tests.store.samples import topics_content, write_topics
from tests.store.samples_communities import communities_content, write_communities
from tests.store.samples_moments import (
    graph_moments_content,
    moments_content,
    symmetric,
    write_graph_moments,
    write_moments,
)

CORPUS = {
    "below 0": ("first/moment", 3, -0.01),
    "not 1 in all": ("first/moment", 3, 0.5),
    "no eigenvalue for a direction": ("second/eigenvalue", 2, -1.0),
    "ascending": ("second/eigenvalue", 4, 0.5),
    "another way back": ("second/unwhitening", (2, 1), 9.0),
    "swapped with the first index": ("third/tensor", (0, 2, 1), 5.0),
    "not finite": ("third/word", 4, np.nan),
}
SKETCH = {
    "a place beyond": ("third/hash", (1, 2), 8),
    "a place before": ("third/hash", (0, 0), -1),
    "no sign": ("third/sign", (1, 0), 0),
}
GRAPH = {
    "more than 1 in all": ("embedding/weight", 0, 0.9),
    "weight that is no number": ("embedding/weight", 0, np.nan),
    "known where it is not": ("embedding/point", 6, 0.0),
    "not known where it is": ("embedding/point", (2, 1), np.nan),
    "infinite": ("embedding/point", (2, 1), np.inf),
    "eigenvalue that is no number": ("embedding/eigenvalue", 0, np.nan),
    "ascending": ("embedding/eigenvalue", 1, 2.0),
    "below 0": ("nodes/degree", 0, -1.0),
    "not finite": ("nodes/propensity", 0, np.nan),
    "a component too many": ("nodes/component", 6, 7),
    "not symmetric": ("third/tensor", (0, 1, 1), 5.0),
    "sides mixed": ("nodes/side", 0, 1),
}


def findings(path: Path) -> set[str]:
    with hdf5.open(path) as reader:
        return {finding.where for finding in check_content(reader)}


def changed(content: dict[str, Any], path: str, place: Any, value: Any) -> dict[str, Any]:
    content[path] = np.array(content[path])
    content[path][place] = value
    return content


@pytest.mark.parametrize("sketch", [False, True])
def test_good_moments(tmp_path: Path, sketch: bool) -> None:
    assert verify(write_moments(tmp_path / "m.h5", moments_content(sketch=sketch))) == []
    assert verify(write_graph_moments(tmp_path / "g.h5")) == []


@pytest.mark.parametrize("case", CORPUS)
def test_bad_moments(tmp_path: Path, case: str) -> None:
    path = write_moments(tmp_path / "m.h5", changed(moments_content(), *CORPUS[case]))
    assert findings(path) == {CORPUS[case][0]}


@pytest.mark.parametrize("case", SKETCH)
def test_bad_sketch(tmp_path: Path, case: str) -> None:
    path = write_moments(tmp_path / "m.h5", changed(moments_content(sketch=True), *SKETCH[case]))
    assert findings(path) == {SKETCH[case][0]}


@pytest.mark.parametrize("case", GRAPH)
def test_bad_graph_moments(tmp_path: Path, case: str) -> None:
    path = write_graph_moments(tmp_path / "m.h5", changed(graph_moments_content(), *GRAPH[case]))
    assert GRAPH[case][0] in findings(path) <= {GRAPH[case][0], "embedding/point"}


@pytest.mark.parametrize("missing", ["third/pairs", "third/hash", "third/sign", "third/sketch"])
def test_half_a_sketch(tmp_path: Path, missing: str) -> None:
    content = moments_content(sketch=True)
    del content[missing]
    assert findings(write_moments(tmp_path / "m.h5", content)) == {"third"}


def test_neither_or_both_forms(tmp_path: Path) -> None:
    both = {**moments_content(sketch=True), "third/tensor": symmetric(3, 1)}
    assert findings(write_moments(tmp_path / "b.h5", both)) == {"third"}
    neither = {name: values for name, values in moments_content().items() if name != "third/tensor"}
    assert findings(write_moments(tmp_path / "n.h5", neither)) == {"third"}


def test_only_moments_leave_coherence_unknown(tmp_path: Path) -> None:
    """NaN is nothing wrong where there were no documents."""
    content = changed(topics_content(), "topics/npmi", 1, np.nan)
    assert findings(write_topics(tmp_path / "t.h5", content)) == {"topics/npmi"}
    content |= {f"documents/{name}": content[f"documents/{name}"][:0] for name in ("id", "topic", "held_out", "length")}
    assert findings(write_topics(tmp_path / "m.h5", content)) == set()
    assert findings(write_topics(tmp_path / "a.h5", changed(content, "topics/alpha", 0, np.nan))) == {"topics/alpha"}


def test_only_moments_leave_densities_unknown(tmp_path: Path) -> None:
    content = changed(communities_content(), "communities/density", 1, np.nan)
    assert findings(write_communities(tmp_path / "c.h5", content)) == {"communities/density"}
    without = {name: values for name, values in content.items() if not name.startswith("graph/")}
    assert findings(write_communities(tmp_path / "m.h5", without)) == set()
    half = {**without, "graph/indptr": content["graph/indptr"]}
    assert "graph/indptr" in findings(write_communities(tmp_path / "h.h5", half))
