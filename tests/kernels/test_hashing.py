"""Hash families: exact arithmetic modulo 2^61 - 1, even buckets, independent values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from tdtool.kernels.hashing import MAX_SIZE, PRIME, hash_family, polynomial
from tests import oracles_sketch

residues = st.integers(0, PRIME - 1)


@given(st.lists(residues, min_size=1, max_size=7), st.lists(st.integers(0, MAX_SIZE - 1), min_size=1, max_size=5))
def test_polynomials_are_exact(coefficients: list[int], indices: list[int]) -> None:
    found = polynomial(np.array(coefficients, np.uint64), np.array(indices, np.uint64))
    assert found.tolist() == [oracles_sketch.polynomial(coefficients, index) for index in indices]


@pytest.mark.parametrize("value", [0, 1, PRIME - 1, (1 << 32) - 1, 1 << 32, 1 << 60])
def test_polynomials_at_the_ends_of_their_range(value: int) -> None:
    ends = [0, 1, MAX_SIZE - 1]
    found = polynomial(np.array([value, value], np.uint64), np.array(ends, np.uint64))
    assert found.tolist() == [(value * index + value) % PRIME for index in ends]


@pytest.mark.parametrize("length", [8, 7, 1])
def test_buckets_and_signs_are_even(length: int, rng: np.random.Generator) -> None:
    family = hash_family(3000, length, 2, rng=rng)
    assert (family.n_hashes, family.size, family.hash_length) == (2, 3000, length)
    for buckets, signs in zip(family.buckets, family.signs, strict=True):
        counts = np.bincount(buckets * 2 + (signs > 0), minlength=2 * length)  # both at once: they are independent
        assert counts.size == 2 * length
        assert chisquare(counts).pvalue > 1e-3
    assert set(np.unique(family.signs)) == {-1, 1}


@pytest.mark.parametrize("independence", [2, 3])
def test_values_at_a_few_indices_are_independent(independence: int, rng: np.random.Generator) -> None:
    """All tuples of buckets and signs at so many indices come equally often."""
    indices = [0, 1, 4][:independence]
    family = hash_family(5, 2, 2000, independence=independence, rng=rng)
    codes = [family.buckets[:, i] * 2 + (family.signs[:, i] > 0) for i in indices]
    counts = np.bincount(np.ravel_multi_index(codes, (4,) * independence), minlength=4**independence)
    assert chisquare(counts).pvalue > 1e-3


def test_six_wise_signs_have_no_mean_product_where_straight_lines_collide(rng: np.random.Generator) -> None:
    """With a x + b, h(0) + h(3) = h(1) + h(2) for every draw; with 6-wise independence in one of L draws."""
    alike = {}
    for independence in (2, 6):
        h = hash_family(4, 64, 1000, independence=independence, rng=rng).buckets.astype(int)
        alike[independence] = np.mean((h[:, 0] + h[:, 3] - h[:, 1] - h[:, 2]) % 64 == 0)
    assert alike[2] > 0.1  # the rest goes round at the prime
    assert alike[6] < 0.05


def test_the_seed_decides() -> None:
    one, two, other = (hash_family(50, 16, 3, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.buckets, two.buckets)
    assert np.array_equal(one.signs, two.signs)
    assert not np.array_equal(one.buckets, other.buckets)
    pairs = itertools.combinations(range(3), 2)
    assert not any(np.array_equal(one.buckets[a], one.buckets[b]) for a, b in pairs)


@pytest.mark.parametrize(
    ("size", "length", "n_hashes", "independence", "what"),
    [
        (-1, 8, 1, 3, "-1 indices"),
        (MAX_SIZE, 8, 1, 3, "fewer than 2"),
        (5, 0, 1, 3, "hash length 0"),
        (5, MAX_SIZE, 1, 3, "hash length"),
        (5, 8, 0, 3, "0 sketches"),
        (5, 8, 1, 1, "1-wise"),
    ],
)
def test_impossible_families(size: int, length: int, n_hashes: int, independence: int, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        hash_family(size, length, n_hashes, independence=independence, rng=np.random.default_rng(0))
