"""Who is held out is a matter of hashing: exact, nested, disjoint, and the same in any order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from tdtool.models.held_out import document_keys, held_out_documents, mix64, sample_documents
from tests import oracles

seeds = st.integers(0, 2**63 - 1)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5))
def test_mix64(values: list[int]) -> None:
    assert mix64(np.array(values, np.uint64)).tolist() == [oracles.mix64(value) for value in values]


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=8), seeds)
def test_document_keys_depend_on_seed_and_index_alone(documents: list[int], seed: int) -> None:
    keys = document_keys(np.array(documents, np.int64), seed)
    assert keys.tolist() == [oracles.document_key(d, seed) for d in documents]


@given(st.integers(0, 300), st.floats(0, 1), st.integers(0, 60), seeds)
def test_held_out_documents_are_those_of_the_smallest_keys(n: int, share: float, cap: int, seed: int) -> None:
    found = held_out_documents(n, share, cap, seed)
    wanted = min(int(n * share), cap)
    by_key = sorted(range(n), key=lambda d: oracles.document_key(d, seed))
    assert found.tolist() == sorted(by_key[:wanted])
    assert found.dtype == np.int64


@given(st.integers(20, 300), seeds)
def test_a_smaller_cap_holds_out_some_of_the_same(n: int, seed: int) -> None:
    large, small = held_out_documents(n, 0.5, 10, seed), held_out_documents(n, 0.5, 4, seed)
    assert (large.size, small.size) == (10, 4)
    assert set(small) < set(large)


def test_every_document_is_held_out_equally_often() -> None:
    often = np.zeros(40)
    for seed in range(1500):
        often[held_out_documents(40, 0.25, 100, seed)] += 1
    # Fixed sums make the counts a little more even than chi-square's.
    assert chisquare(often).pvalue > 1e-3
    assert often.std() > 5


@given(st.integers(0, 200), st.integers(0, 250), seeds, st.floats(0, 1))
def test_sample_documents_keeps_clear_of_the_others(n: int, wanted: int, seed: int, share: float) -> None:
    without = held_out_documents(n, share, 100, seed)
    found = sample_documents(n, wanted, seed, without)
    assert found.size == min(wanted, n - without.size)
    assert np.all(np.diff(found) > 0)
    assert not np.intersect1d(found, without).size
    assert np.all((found >= 0) & (found < n))


def test_sample_documents_is_another_draw() -> None:
    held_out = held_out_documents(1000, 0.1, 1000, 3)
    sample = sample_documents(1000, 100, 3, np.zeros(0, np.int64))
    assert np.intersect1d(held_out, sample).size < 30
    assert not np.array_equal(sample, sample_documents(1000, 100, 4, np.zeros(0, np.int64)))


@pytest.mark.parametrize("seed", [0, 1, 2**31])
def test_the_split_is_pinned(seed: int) -> None:
    """Scores of different versions are comparable only if the same documents are held out."""
    expected = {0: [5, 7, 11, 12, 19], 1: [2, 4, 8, 12, 19], 2**31: [1, 2, 4, 8, 18]}
    assert held_out_documents(20, 0.25, 100, seed).tolist() == expected[seed]
