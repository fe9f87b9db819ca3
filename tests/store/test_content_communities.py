"""Values of a result or a graph that cannot be are found; good ones are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdtool.store import content as content_module
from tdtool.store import hdf5
from tdtool.store.content import check_content
from tdtool.store.verify import verify
from tests.store.samples_communities import communities_content, graph_content, write_communities, write_graph


def findings(path: Path) -> set[str]:
    """The arrays in which something is wrong."""
    with hdf5.open(path) as reader:
        return {finding.where for finding in check_content(reader)}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("optional", [False, True])
def test_good_results(tmp_path: Path, weighted: bool, optional: bool) -> None:
    path = write_communities(tmp_path / "c.h5", communities_content(optional=optional, weighted=weighted))
    assert verify(path) == []


@pytest.mark.parametrize("block", [1, 2, 3, 1 << 22])
def test_good_graphs_in_blocks_of_any_size(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_module, "_BLOCK", block)
    assert findings(write_graph(tmp_path / "g.h5", graph_content(weighted=True))) == set()
    assert findings(write_communities(tmp_path / "c.h5")) == set()


def _set(path: str, place: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content[path] = np.array(content[path])
        content[path][place] = value

    return change


GRAPH = {
    "a node that is not there": ("graph/neighbours", 1, 7),
    "its own neighbour": ("graph/neighbours", 1, 0),
    "out of order": ("graph/neighbours", slice(0, 2), [2, 1]),
    "from one end only": ("graph/neighbours", 1, 5),
    "no climb": ("graph/indptr", 2, 1),
    "weight 0": ("graph/weights", 3, 0.0),
    "weight that is no number": ("graph/weights", 3, np.nan),
}
RESULT = {
    "a community that is not there": ("membership/community", 3, 2),
    "a node twice in one": ("membership/community", 3, 0),
    "no climb": ("membership/indptr", 3, 1),
    "shares beyond 1": ("membership/weight", 2, 0.9),
    "share below 0": ("membership/weight", slice(2, 4), [1.25, -0.25]),
    "another size": ("communities/size", 1, 3),
    "links that differ by direction": ("communities/link_probability", (0, 1), 0.5),
    "not finite": ("communities/density", 0, np.inf),
}


@pytest.mark.parametrize("block", [3, 1 << 22])
@pytest.mark.parametrize("case", GRAPH)
def test_bad_graph(tmp_path: Path, case: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_module, "_BLOCK", block)
    name, place, value = GRAPH[case]
    content = graph_content(weighted=True)
    _set(name, place, value)(content)
    assert findings(write_graph(tmp_path / "g.h5", content)) == {name}


@pytest.mark.parametrize("case", RESULT)
def test_bad_result(tmp_path: Path, case: str) -> None:
    name, place, value = RESULT[case]
    content = communities_content()
    _set(name, place, value)(content)
    assert findings(write_communities(tmp_path / "c.h5", content)) == {name}


def test_partitions_follow_each_other(tmp_path: Path) -> None:
    content = graph_content()
    content["partitions/start"] = np.array([0, 3, 6])
    assert findings(write_graph(tmp_path / "g.h5", content)) == {"partitions/start"}
