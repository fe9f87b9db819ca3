"""Rows that lie far from each other: the pivots that LAPACK finds."""

from __future__ import annotations

import numpy as np
import pytest

from tdtool.decompose.power import leading_rows
from tdtool.decompose.spread_rows import leading_rows_on_gpu
from tests.emulated_gpu import EmulatedGpu


@pytest.mark.parametrize(("n", "k"), [(1, 1), (7, 7), (200, 1), (200, 9), (50, 20)])
def test_as_pivoted_qr(rng: np.random.Generator, n: int, k: int) -> None:
    gpu = EmulatedGpu()
    points, weights = rng.standard_normal((n, k)), rng.random(n)
    found = leading_rows_on_gpu(gpu, gpu.to_device(points), gpu.to_device(weights))
    np.testing.assert_allclose(found, leading_rows(points, weights), atol=1e-9)


def test_rows_that_are_all_alike() -> None:
    """Any start will do, but it is orthogonal."""
    gpu = EmulatedGpu()
    found = leading_rows_on_gpu(gpu, gpu.to_device(np.ones((9, 3))), gpu.to_device(np.ones(9)))
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-12)
