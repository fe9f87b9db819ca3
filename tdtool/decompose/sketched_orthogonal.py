"""Orthogonal power iteration on a sketch of a symmetric tensor, as far as the sketch can tell signal from noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.polar_gpu import polar_on_gpu
from tdtool.decompose.power import PowerFit, polar
from tdtool.kernels.device_gpu import owner
from tdtool.kernels.sketch import squared_norm
from tdtool.kernels.symmetric_sketch import SymmetricSketch

#: Corrections below this many standard deviations of the sketch's noise are not made, and others by so much smaller.
_DEVIATIONS = 5.0
#: The median of repeats deviates this much more than their mean.
_MEDIAN = math.sqrt(math.pi / 2)


def sketched_orthogonal_power(
    sketch: SymmetricSketch, start: NDArray[np.float64], *, max_iters: int = 30, tol: float = 1e-5
) -> PowerFit:
    """As `orthogonal_power`, the map T(I, u, u) read off a sketch of T. start : (k, k) orthonormal columns.

    Each sweep reads off what the model sum_j w_j u_j^(x)3 leaves over, in the directions of the u themselves, and
    turns them by what exceeds the noise: soft thresholding (Donoho 1995). Without it the k^2 numbers of U take up the
    noise of a sketch of fewer than 6 k^2 numbers, more with each sweep; with it, shorter sketches only stop earlier.
    A sketch on a GPU is read there.
    """
    vectors, changes, stopped = start, list[float](), "max_iters"
    for _ in range(max_iters):
        weights, left = _left_over(sketch, vectors)
        turned = _turned(sketch, vectors, np.diag(weights) + _beyond_noise(left, vectors))
        changes.append(float(np.sum(1 - np.abs(np.sum(turned * vectors, axis=0))) / max(vectors.shape[1], 1)))
        vectors = turned
        if changes[-1] < tol:
            stopped = "tol"
            break
    weights = sketch.values(vectors)
    vectors = vectors * np.where(weights < 0, -1.0, 1.0)
    order = np.argsort(-np.abs(weights), kind="stable")
    return PowerFit(vectors[:, order], np.abs(weights)[order], tuple(changes), stopped)


def _turned(sketch: SymmetricSketch, vectors: NDArray[np.float64], turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The orthonormal columns nearest to vectors turn; turn : (k, k)."""
    gpu = owner(sketch.spectrum)
    return polar(vectors @ turn) if gpu is None else vectors @ polar_on_gpu(gpu, turn)


def _left_over(sketch: SymmetricSketch, vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], SymmetricSketch]:
    weights, model = sketch.projected(vectors.astype(np.float32))
    return weights, sketch - model


def _beyond_noise(left: SymmetricSketch, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(k, k): U' left(I, u_j, u_j), off the diagonal, shrunk by the noise of the sketch."""
    family = left.family
    products = vectors.T @ left.along(vectors.astype(np.float32))
    deviation = math.sqrt(2 * squared_norm(left.spectrum, family.hash_length) / family.hash_length / family.n_hashes)
    deviation *= _MEDIAN if family.n_hashes > 2 else 1.0
    shrunk = np.sign(products) * np.maximum(np.abs(products) - _DEVIATIONS * deviation, 0)
    np.fill_diagonal(shrunk, 0)
    return np.asarray(shrunk, np.float64)
