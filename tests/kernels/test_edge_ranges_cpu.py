"""Rows of a range of nodes: against the rows of the whole graph, to the bit, and against dictionaries."""

from __future__ import annotations

import collections
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdtool.kernels.edge_ranges_cpu import NODE_SHIFT, range_rows
from tdtool.kernels.edge_rows_cpu import rows_by_head, symmetric_rows

N_NODES = 7
WEIGHTS = st.sampled_from([0.1, 0.2, 0.3, 1.0, 1e16, 1e-300])
ENDS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), WEIGHTS), max_size=25)


def entries_of(edges: list[tuple[int, int]], weights: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Both directions of every edge, in order; equal ones as they come."""
    out = [(tail << NODE_SHIFT) + (head << 1) for tail, head in edges]
    back = [(head << NODE_SHIFT) + (tail << 1) + 1 for tail, head in edges]
    order = np.argsort(np.array(out + back, np.int64), kind="stable")
    return np.array(out + back, np.int64)[order], np.array(weights + weights)[order]


@given(ENDS, st.booleans(), st.lists(st.integers(1, 6), max_size=4))
def test_ranges_are_parts_of_the_whole(found: list[tuple[int, int, float]], weighted: bool, cuts: list[int]) -> None:
    linking = [(tail, head, weight) for tail, head, weight in found if tail != head]
    edges, weights = [(tail, head) for tail, head, _ in linking], [weight for _, _, weight in linking]
    ends = np.array(edges, np.int32).reshape(-1, 2)
    values = np.array(weights) if weighted else None
    whole = symmetric_rows(rows_by_head(ends[:, 0].copy(), ends[:, 1].copy(), values, N_NODES))
    entries, entry_weights = entries_of(edges, weights)
    bounds = sorted({0, *cuts, N_NODES})
    parts = []
    for first, last in itertools.pairwise(bounds):
        here = (entries >> NODE_SHIFT >= first) & (entries >> NODE_SHIFT < last)
        parts.append(range_rows(entries[here], entry_weights[here] if weighted else None, first, last))
    assert np.concatenate([part.lengths for part in parts]).tolist() == np.diff(whole.indptr).tolist()
    np.testing.assert_array_equal(np.concatenate([part.neighbours for part in parts]), whole.neighbours)
    n_out, n_both, n_same = (sum(part[place] for part in parts) for place in (3, 4, 5))
    assert n_out == len(edges) - whole.n_repeated == len(set(edges))
    assert n_both == whole.n_both
    assert (weighted and 0 < n_both == n_same and 2 * n_both == n_out) == whole.halved
    if whole.weights is not None:
        totals = np.concatenate([part.totals for part in parts])
        stored = (0.5 * totals if whole.halved else totals).astype(np.float32)
        assert stored.tobytes() == whole.weights.tobytes()


def test_sums_do_not_depend_on_the_order(rng: np.random.Generator) -> None:
    edges = [(3, 5)] * 9 + [(5, 3)] * 4 + [(3, 4)]
    weights = rng.random(14).tolist()
    seen = collections.Counter[bytes]()
    for _ in range(5):
        order = rng.permutation(14)
        entries, values = entries_of([edges[e] for e in order], [weights[e] for e in order])
        rows = range_rows(entries, values, 3, 6)
        assert rows.lengths.tolist() == [2, 1, 1]
        assert rows.totals == pytest.approx([weights[13], sum(weights[:13]), weights[13], sum(weights[:13])])
        seen[rows.totals.tobytes()] += 1
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("entries", "weights", "match"),
    [
        ([(5 << 32) + 2], None, "not among 2"),
        ([(1 << 32) + 2], None, "not among 2"),
        ([(3 << 32) + 2, (2 << 32) + 8], None, "not in order"),
        ([(3 << 32) + 2], [1.0, 2.0], "differ in length"),
    ],
)
def test_what_is_refused(entries: list[int], weights: list[float] | None, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        range_rows(np.array(entries, np.int64), None if weights is None else np.array(weights), 2, 5)
