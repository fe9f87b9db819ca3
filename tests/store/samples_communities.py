"""Small files of communities and of graphs, sizes all different, written by the store itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tdtool.store import hdf5, schema

N_NODES, N_COMMUNITIES, N_DIMENSIONS = 7, 2, 3
NODES = ["=now()", "\x1b[1mAnn", "Bea", "Cy", "Dora", "Ünal", "二"]
EDGES = [(0, 1, 1.0), (0, 2, 2.0), (1, 2, 0.5), (2, 3, 1.0), (3, 4, 3.0), (3, 5, 1.5), (4, 5, 1.0)]


def graph_arrays(*, weighted: bool = False) -> dict[str, Any]:
    """graph/indptr, neighbours and weights of two triangles that share an edge's ends; node 6 has no edge."""
    ends = sorted([(a, b, w) for a, b, w in EDGES] + [(b, a, w) for a, b, w in EDGES])
    counts = np.bincount([a for a, _, _ in ends], minlength=N_NODES)
    arrays: dict[str, Any] = {
        "graph/indptr": np.concatenate([[0], np.cumsum(counts)]),
        "graph/neighbours": np.array([b for _, b, _ in ends], np.int32),
    }
    return {**arrays, "graph/weights": np.array([w for _, _, w in ends], np.float32)} if weighted else arrays


def communities_content(*, optional: bool = True, weighted: bool = False) -> dict[str, Any]:
    """Arrays of a result by path: nodes 0 to 3 and 2 to 5, node 6 in none; node 2 a fourth and three fourths."""
    content: dict[str, Any] = {
        "membership/indptr": np.array([0, 1, 2, 4, 6, 7, 8, 8]),
        "membership/community": np.array([0, 0, 0, 1, 0, 1, 1, 1], np.int32),
        "membership/weight": np.array([1, 1, 0.75, 0.25, 0.5, 0.5, 1, 1]),
        "membership/strength": np.array([0.9, 0.8, 0.7, 0.2, 0.3, 0.6, 1.1, 0.5]),
        "communities/size": np.array([4, 4]),
        "communities/lambda": np.array([3.5, 2.5]),
        "communities/conductance": np.array([0.2, 0.25]),
        "communities/density": np.array([0.6, 0.75]),
        "nodes/name": NODES,
        "nodes/degree": np.array([2.0, 2, 3, 3, 2, 2, 0]),
        "nodes/propensity": np.array([0.5, 0.5, 1, 1, 0.5, 0.25, 0]),
        "nodes/component": np.array([0, 0, 0, 0, 0, 0, 1]),
        **graph_arrays(weighted=weighted),
    }
    if not optional:
        return content
    rng = np.random.default_rng(2)
    return {
        **content,
        "communities/stability": np.array([1.0, 0.5]),
        "communities/link_probability": np.array([[0.9, 0.1], [0.1, 0.8]]),
        "nodes/side": np.array([0, 0, 0, 1, 1, 1, 1], np.uint8),
        "embedding/vectors": rng.normal(size=(N_NODES, N_DIMENSIONS)).astype(np.float32),
        "embedding/eigenvalue": np.array([1.0, 0.75, 0.5]),
        "selection/n_asked": np.array([2, 3, 5]),
        "selection/n_found": np.array([2, 2, 4]),
        "selection/gain": np.array([20.0, 21.0, 25.0]),
        "selection/cost": np.array([5.0, 8.0, 19.0]),
        "selection/objective": np.array([15.0, 13.0, 6.0]),
    }


def write_communities(path: Path, content: dict[str, Any] | None = None) -> Path:
    """A result of `tdtool communities`."""
    with hdf5.create(path, schema.COMMUNITIES) as writer:
        for name, values in (content or communities_content()).items():
            writer.put(name, values)
        writer.attribute("graph", "edge list, 7 nodes and 7 edges")
        writer.attribute("reason", "2 communities shorten the description most")
        writer.attribute("scores", {"modularity": 0.25, "coverage": 6 / 7, "bits": 15.0})
        writer.attribute("warnings", ["few edges"])
        writer.attribute("background", 0.5)
        writer.attribute("mode", "dense")
        writer.attribute("seed", 3)
        writer.attribute("ledger", {"rows_in": 8, "rows_used": 7, "skips": {}, "counters": {"loops left out": 1}})
    return path


def graph_content(*, weighted: bool = False) -> dict[str, Any]:
    """Arrays of a graph store by path."""
    return {
        **graph_arrays(weighted=weighted),
        "nodes/name": NODES,
        "partitions/start": np.array([0, 3, 7]),
        "partitions/digest": np.array(["a" * 32, "b" * 32], "S32"),
    }


def write_graph(path: Path, content: dict[str, Any] | None = None) -> Path:
    """A graph store."""
    with hdf5.create(path, schema.GRAPH) as writer:
        for name, values in (content or graph_content()).items():
            writer.put(name, values)
    return path
