"""Triangles, against all threes of nodes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tdtool.kernels import threads
from tdtool.kernels.triangles_cpu import count_triangles
from tests import oracles_communities as oracles


def count(adjacency: np.ndarray) -> int:
    stored = sp.csr_array(adjacency)
    return count_triangles(stored.indptr.astype(np.int64), stored.indices.astype(np.int32))


def random_graph(n_nodes: int, share: float, seed: int) -> np.ndarray:
    upper = np.triu(np.random.default_rng(seed).random((n_nodes, n_nodes)) < share, 1)
    return (upper | upper.T).astype(float)


@settings(max_examples=30)
@given(st.integers(0, 11), st.sampled_from([0.1, 0.4, 0.8, 1.0]), st.integers(0, 2**32 - 1))
def test_every_triangle_once(n_nodes: int, share: float, seed: int) -> None:
    adjacency = random_graph(n_nodes, share, seed)
    assert count(adjacency) == oracles.triangles(adjacency)


def test_closed_forms() -> None:
    assert count(np.ones((7, 7)) - np.eye(7)) == 35
    wheel = np.zeros((9, 9))
    for node in range(1, 9):
        wheel[0, node] = wheel[node, 0] = 1
        wheel[node, node % 8 + 1] = wheel[node % 8 + 1, node] = 1
    assert count(wheel) == 8
    sides = np.zeros((7, 7))
    for left, right in itertools.product(range(3), range(3, 7)):
        sides[left, right] = sides[right, left] = 1
    assert count(sides) == 0


def test_blocks_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    adjacency = random_graph(23, 0.4, 5)
    expected = oracles.triangles(adjacency)
    monkeypatch.setattr(threads, "GRAIN", 256)
    assert count(adjacency) == expected > 50
    with threads.using(2):
        assert count(adjacency) == expected
