"""Small files of moments, sizes all different, written by the store itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tdtool.store import hdf5, schema
from tests.store.samples import TERMS
from tests.store.samples_communities import N_NODES, NODES

RANK, LENGTH, REPEATS = 3, 8, 2
LEDGER = {"rows_in": 9, "rows_used": 7, "skips": {}, "counters": {}}


def symmetric(size: int, seed: int) -> np.ndarray:
    """A symmetric (size, size, size)."""
    vectors = np.random.default_rng(seed).standard_normal((size, size + 1))
    return np.einsum("ar,br,cr->abc", vectors, vectors, vectors)


def moments_content(seed: int = 0, *, sketch: bool = False) -> dict[str, Any]:
    """Arrays of the moments of a corpus by path."""
    rng = np.random.default_rng(seed)
    n_terms = len(TERMS)
    roots = np.array([0.5, 0.25, 0.125])
    basis = np.linalg.qr(rng.standard_normal((n_terms, RANK)))[0]
    first = rng.dirichlet(np.ones(n_terms))
    third: dict[str, Any] = {"third/tensor": symmetric(RANK, seed)}
    if sketch:
        third = {
            "third/sketch": rng.standard_normal((REPEATS, LENGTH)),
            "third/pairs": rng.standard_normal((RANK, RANK)),
            "third/hash": rng.integers(0, LENGTH, (REPEATS, RANK)).astype(np.int32),
            "third/sign": (1 - 2 * rng.integers(0, 2, (REPEATS, RANK))).astype(np.int8),
        }
    return {
        "first/moment": first,
        "first/pair": rng.random(n_terms),
        "first/whitened": first @ (basis / roots),
        "second/whitening": (basis / roots).astype(np.float32),
        "second/unwhitening": basis * roots,
        "second/eigenvalue": np.array([*roots**2, 0.001, -0.001]),
        **third,
        "third/word": rng.random(n_terms).astype(np.float32),
        "third/word_whitened": rng.standard_normal((n_terms, RANK)).astype(np.float32),
        "vocabulary/term": TERMS,
        "vocabulary/document_frequency": np.arange(n_terms, 0, -1),
        "vocabulary/count": np.arange(n_terms, 0, -1) * 2,
    }


def write_moments(path: Path, content: dict[str, Any] | None = None, **attributes: Any) -> Path:
    """The moments of a corpus. attributes : instead of those of a good file."""
    facts = {"n_documents": 9, "n_documents_used": 7, "length": 90.0, "alpha0": 1.0, "n_partitions": 2, "seed": 4}
    with hdf5.create(path, schema.MOMENTS) as writer:
        for name, values in (content or moments_content()).items():
            writer.put(name, values)
        for name, value in {**facts, "form": "dense", "ledger": LEDGER, **attributes}.items():
            writer.attribute(name, value)
    return path


def graph_moments_content(seed: int = 0) -> dict[str, Any]:
    """Arrays of the moments of a graph by path; node 6 is alone."""
    rng = np.random.default_rng(seed)
    weights = np.append(np.full(N_NODES - 1, 1 / (N_NODES - 1)), 0.0)
    points = np.full((N_NODES, 2), np.nan)
    points[:-1] = np.linalg.qr(rng.standard_normal((N_NODES - 1, 2)))[0] * np.sqrt(N_NODES - 1)
    return {
        "embedding/point": points,
        "embedding/weight": weights,
        "embedding/eigenvalue": np.array([1.0, 0.5]),
        "third/tensor": np.einsum("u,ua,ub,uc->abc", weights[:-1], points[:-1], points[:-1], points[:-1]),
        "nodes/name": NODES,
        "nodes/degree": np.array([2.0, 2, 3, 3, 2, 2, 0]),
        "nodes/propensity": np.array([0.5, 0.5, 1, 1, 0.5, 0.25, 0]),
        "nodes/component": np.array([0, 0, 0, 0, 0, 0, 1]),
        "nodes/side": np.array([0, 0, 0, 1, 1, 1, 1], np.uint8),
    }


def write_graph_moments(path: Path, content: dict[str, Any] | None = None, **attributes: Any) -> Path:
    """The moments of a graph. attributes : instead of those of a good file."""
    facts = {"graph": "edge list, 7 nodes", "n_edges": 7, "rank": 4, "mean_weight": 1.0, "warnings": ["few edges"]}
    with hdf5.create(path, schema.GRAPH_MOMENTS) as writer:
        for name, values in (content or graph_moments_content()).items():
            writer.put(name, values)
        for name, value in {**facts, "seed": 3, "ledger": LEDGER, **attributes}.items():
            writer.attribute(name, value)
    return path
