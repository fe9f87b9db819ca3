"""The orthonormal factor of a square matrix on a GPU, where a singular value decomposition is slow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.power import polar
from tdtool.kernels.device_gpu import Gpu

#: Smaller matrices are quicker decomposed in this process.
_SMALLEST = 128
_MOST_STEPS, _SETTLED = 30, 1e-9


def polar_on_gpu(gpu: Gpu, matrix: NDArray[np.float64], *, smallest: int = _SMALLEST) -> NDArray[np.float64]:
    """The nearest matrix with orthonormal columns, (k, k), by Newton's method: X <- (g X + X^-T / g) / 2.

    Nine steps or so of 2 k^3 operations each, whatever the condition. Singular matrices, small ones, and those that
    there is no memory for are decomposed in this process.
    Source: Higham 1986, "Computing the polar decomposition - with applications"; g of the Frobenius norms is his (3.9).
    """
    if matrix.shape[0] >= smallest:
        try:
            found = _newton(gpu, matrix)
        except (MemoryError, np.linalg.LinAlgError):
            found = None
        if found is not None:
            return found
    return polar(matrix)


def _newton(gpu: Gpu, matrix: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """None where it has not come to orthonormal columns."""
    xp, here = gpu.xp, gpu.to_device(matrix)
    for _ in range(_MOST_STEPS):
        turned = xp.linalg.inv(here).T
        scale = xp.sqrt(xp.linalg.norm(turned) / xp.linalg.norm(here))
        there = (scale * here + turned / scale) / 2
        change = float(gpu.to_host(xp.linalg.norm(there - here)))
        here = there
        if not change > _SETTLED * matrix.shape[0] ** 0.5:  # a step after this one would change nothing: it squares
            break
    rest = float(gpu.to_host(xp.abs(here.T @ here - xp.eye(matrix.shape[0])).max()))
    return gpu.to_host(here) if rest < 1e-10 else None
