"""The orthonormal factor by Newton's method is that of the singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest

from tdtool.decompose.polar_gpu import polar_on_gpu
from tdtool.decompose.power import polar
from tests.emulated_gpu import EmulatedGpu


@pytest.mark.parametrize("k", [1, 2, 7, 40])
@pytest.mark.parametrize("condition", [1.0, 1e3, 1e8])
def test_the_nearest_orthonormal_columns(k: int, condition: float) -> None:
    gpu, rng = EmulatedGpu(), np.random.default_rng(k)
    left, right = (np.linalg.qr(rng.standard_normal((k, k)))[0] for _ in range(2))
    matrix = 1e-4 * (left * np.geomspace(1, 1 / condition, k)) @ right
    found = polar_on_gpu(gpu, matrix, smallest=1)
    assert gpu._allocations == 1
    np.testing.assert_allclose(found, left @ right, atol=1e-14 * max(condition, 10))
    np.testing.assert_allclose(found.T @ found, np.eye(k), atol=1e-10)


def test_matrices_that_newton_cannot_do_are_decomposed_here() -> None:
    rng = np.random.default_rng(0)
    singular = np.outer(rng.standard_normal(5), rng.standard_normal(5))
    zero = np.zeros((5, 5))
    for matrix in (singular, zero):
        found = polar_on_gpu(EmulatedGpu(), matrix, smallest=1)
        np.testing.assert_allclose(found.T @ found, np.eye(5), atol=1e-10)
    matrix = rng.standard_normal((5, 5))
    for gpu, smallest in ((EmulatedGpu(fail_at=1), 1), (EmulatedGpu(), 6)):
        assert np.array_equal(polar_on_gpu(gpu, matrix, smallest=smallest), polar(matrix))
