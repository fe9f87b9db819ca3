"""Symmetric CP: a symmetric tensor as a sum of weighted powers u (x) u (x) ... (x) u, by power iteration.

In an odd order a weight's sign can move into its vector, and all weights are positive. In an even order it cannot: a
negative weight is part of the answer, and ends, like every sign of a CPFit, in the last factor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from tdtool.decompose.identifiability import degeneracy
from tdtool.decompose.power import orthogonal_power, polar
from tdtool.decompose.results import CPFit, cp_fit
from tdtool.decompose.symmetric import (
    best_weights,
    leading_directions,
    power_map,
    refine,
    require_symmetric,
    residual_norm,
)
from tdtool.kernels.arrays import to_host
from tdtool.kernels.modes import multi_mode_dot, norm

Array = NDArray[np.float64]
Start = tuple[Array, Array]  # weights (R,), unit vectors (I, R)

METHODS = ("orthogonal", "robust")
_EXACT = 1e-12  # a relative error below this is rounding
_MEASURED = 1e-6  # below, a relative error is measured on the whole tensor: a difference of norms is too coarse
_REFINED = 2  # the best starts that are refined


def tensor_power(
    tensor: Array,
    rank: int,
    *,
    n_restarts: int = 10,
    max_iters: int = 100,
    tol: float = 1e-12,
    rng: np.random.Generator,
) -> CPFit:
    """Robust tensor power method: one component after the other, each the best of several random starts; deflation.

    tensor : (I, ..., I) of order 3 or more, real, symmetric. Exact for sums of powers of orthonormal vectors, stable
    against noise; for other vectors see `symmetric_cp`. All starts go through each pass over the tensor together.
    n_restarts, max_iters : L and N of the paper, for each component; tol : a start rests when its vector turned by less
    than this (1 - |cosine|). errors : the relative error after each component; rank may not exceed I.

    Raises ValueError: a tensor that is not symmetric, or holds NaN; rank below 1 or above I.

    Source: Anandkumar, Ge, Hsu, Kakade, Telgarsky 2014, "Tensor decompositions for learning latent variable models",
    algorithm 1. Even orders have no positive or negative side: the start with the largest |T(u, ..., u)| wins.
    """
    tensor = require_symmetric(tensor, rank)
    _require_few(tensor, rank)
    _require_counts(n_restarts, max_iters)
    weights, vectors, stopped = _deflate(
        lambda directions: power_map(tensor, directions),
        (tensor.shape[0], rank),
        tensor.ndim,
        n_restarts=n_restarts,
        max_iters=max_iters,
        tol=tol,
        rng=rng,
    )
    size = norm(tensor)
    errors = [_relative(residual_norm(tensor, weights[:r], vectors[:, :r]), size) for r in range(1, rank + 1)]
    stopped = "exact" if errors[-1] <= _EXACT else stopped
    return cp_fit(weights, [vectors] * tensor.ndim, errors, stopped, n_restarts=n_restarts)


def symmetric_cp(
    tensor: Array,
    rank: int,
    *,
    method: str = "orthogonal",
    compress: bool = True,
    n_restarts: int = 4,
    max_iters: int = 200,
    tol: float = 1e-10,
    rng: np.random.Generator,
) -> CPFit:
    """The best sum of `rank` symmetric powers; the vectors need not be orthogonal.

    tensor : (I, ..., I) of order 3 or more, real, symmetric; rank <= I. The tensor is compressed to its `rank` leading
    directions. Its core is whitened there: a first guess of the vectors by simultaneous diagonalisation of two random
    contractions (Leurgans, Ross, Abel 1993) gives a contraction that is positive definite, and with it a core whose
    components are orthonormal. Power iteration solves that one, and Gauss-Newton on the whole core takes off the noise
    that whitening let in. compress=False: power iteration and Gauss-Newton on the tensor as it is, for components that
    are nearly orthogonal.
    method : "orthogonal", all directions at once, or "robust", one by one with deflation. n_restarts : random
    contractions (without compression: random starts) that are tried. tol : Gauss-Newton stops when the squared error
    shrinks by less, relatively. errors : the relative errors of the best start as it is refined.

    Raises ValueError: a tensor that is not symmetric, or holds NaN; rank below 1 or above I; an unknown method.

    Source: whitening and power, Anandkumar et al. 2014, section 4; the weights are whitened to +-1, as good as equal.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; it is one of {', '.join(METHODS)}")
    tensor = require_symmetric(tensor, rank)
    _require_few(tensor, rank)
    _require_counts(n_restarts, max_iters)
    size = norm(tensor)
    basis = leading_directions(tensor, rank, rng) if compress else np.eye(tensor.shape[0])
    core = tensor
    if compress:
        small = multi_mode_dot(tensor, [basis.astype(tensor.dtype)] * tensor.ndim, transpose=True)
        core = to_host(small).astype(np.float64)
    starts = [_power_start(core, rank, method, rng) for _ in range(1 if compress else n_restarts)]
    if compress:
        starts += [_whitened_start(core, method, rng) for _ in range(n_restarts)]
    fits = [refine(core, *start, max_iters=max_iters, tol=tol) for start in _best(core, starts)]
    restarts = tuple(_with_lost(fit.errors[-1:], core, size)[0] for fit in fits)
    best = fits[int(np.argmin(restarts))]
    vectors = basis @ best.vectors
    errors = _with_lost(best.errors, core, size)
    if errors[-1] < _MEASURED:
        errors[-1] = _relative(residual_norm(tensor, best.signs, vectors), size)
    return cp_fit(
        best.signs,
        [vectors] * tensor.ndim,
        errors,
        "exact" if errors[-1] <= _EXACT else best.stopped,
        n_restarts=len(starts),
        restart_errors=restarts,
        warnings=degeneracy(best.signs, [vectors] * tensor.ndim),
    )


def _power_start(core: Array, rank: int, method: str, rng: np.random.Generator) -> Start:
    """Components of a core as if they were orthogonal."""
    if method == "robust":
        vectors = _robust(core, rank, rng)
    else:
        start = np.linalg.qr(rng.standard_normal((core.shape[0], rank)))[0]
        vectors = orthogonal_power(lambda u: power_map(core, u), start, max_iters=100, tol=1e-6).vectors
    return best_weights(core, vectors), vectors


def _whitened_start(core: Array, method: str, rng: np.random.Generator) -> Start:
    """Components of an (R, ..., R) core that are independent, not orthogonal."""
    vectors = _diagonalise(core, rng)
    weights = best_weights(core, vectors)
    root, inverse = _whitening(core, weights, vectors)
    white = multi_mode_dot(core, [inverse] * core.ndim)
    if method == "robust":
        turned = _robust(white, core.shape[0], rng)
    else:
        guess = polar(inverse @ (vectors * np.abs(weights) ** (1 / core.ndim)))
        turned = orthogonal_power(lambda u: power_map(white, u), guess, max_iters=100, tol=1e-9).vectors
    vectors = root @ turned
    vectors /= np.maximum(np.linalg.norm(vectors, axis=0), np.finfo(float).tiny)
    return best_weights(core, vectors), vectors


def _diagonalise(core: Array, rng: np.random.Generator) -> Array:
    """Unit vectors (R, R) that two random contractions of the core share: eigenvectors of one over the other.

    A pair of complex eigenvectors, which only noise can make, gives its real and imaginary parts.
    """
    size, rest = core.shape[0], core.shape[0] ** (core.ndim - 2)
    first, second = (core.reshape(size, size, rest) @ rng.standard_normal(rest) for _ in range(2))
    values, vectors = scipy.linalg.eig(first, second + np.finfo(float).eps * np.linalg.norm(second) * np.eye(size))
    real = np.where(values.imag < 0, vectors.imag, vectors.real)
    back = second @ real  # first x = value second x gives the dual basis; second turns it into the vectors
    lengths = np.linalg.norm(back, axis=0)
    return np.where(lengths > 0, back / np.where(lengths > 0, lengths, 1.0), real)


def _whitening(core: Array, weights: Array, vectors: Array) -> tuple[Array, Array]:
    """M^(1/2) and M^(-1/2) (R, R) of M = sum |w_r|^(2/N) b_r b_r', as a contraction of the core itself."""
    order, size = core.ndim, core.shape[0]
    dual = np.linalg.pinv(vectors).T
    floor = 1e-6 * np.abs(weights).max(initial=0.0) + 1e-300
    pull = np.sign(weights) * np.maximum(np.abs(weights), floor) ** (2 / order - 1)
    square = core.reshape(size, size, -1) @ np.sum(_powers(dual, order - 2) * pull, axis=1)
    values, turn = np.linalg.eigh((square + square.T) / 2)
    values = np.maximum(np.abs(values), 1e-8 * np.abs(values).max() + 1e-300)
    return (turn * np.sqrt(values)) @ turn.T, (turn / np.sqrt(values)) @ turn.T


def _powers(vectors: NDArray[Any], times: int) -> Array:
    """(I, R) -> (I ** times, R): column r is u_r (x) ... (x) u_r."""
    product = vectors
    for _ in range(times - 1):
        product = (product[:, None, :] * vectors[None, :, :]).reshape(-1, vectors.shape[1])
    return product


def _robust(core: Array, rank: int, rng: np.random.Generator) -> Array:
    """Vectors of the robust power method, orthogonal or not."""
    options = {"n_restarts": 10, "max_iters": 50}
    shape = (core.shape[0], rank)
    return _deflate(lambda u: power_map(core, u), shape, core.ndim, tol=1e-9, rng=rng, **options)[1]


def _deflate(
    apply: Callable[[Array], Array],
    shape: tuple[int, int],
    order: int,
    *,
    n_restarts: int,
    max_iters: int,
    tol: float,
    rng: np.random.Generator,
) -> tuple[Array, Array, str]:
    """Weights (R,), vectors (I, R) and why it stopped; apply : (I, B) -> (I, B), T(I, u, ..., u) of each column."""
    size, rank = shape
    weights, vectors, stopped = np.zeros(rank), np.zeros(shape), "tol"
    for r in range(rank):

        def rest(u: Array, r: int = r) -> Array:
            """The map of the tensor less the components that were found."""
            return apply(u) - vectors[:, :r] @ (weights[:r, None] * (vectors[:, :r].T @ u) ** (order - 1))

        starts = rng.standard_normal((size, n_restarts))
        tried, _ = _iterate(rest, starts, max_iters, tol)
        best = int(np.argmax(np.abs(np.sum(tried * rest(tried), axis=0))))
        found, rested = _iterate(rest, tried[:, best : best + 1], max_iters, tol)
        stopped = stopped if rested else "max_iters"
        vectors[:, r] = found[:, 0]
        weights[r] = float(found[:, 0] @ rest(found)[:, 0])
    return weights, vectors, stopped


def _iterate(apply: Callable[[Array], Array], starts: Array, max_iters: int, tol: float) -> tuple[Array, bool]:
    """u <- T(I, u, ..., u) / norm for all columns until all rest, or max_iters; a column that vanishes stays."""
    vectors = starts / np.linalg.norm(starts, axis=0)
    for _ in range(max_iters):
        image = apply(vectors)
        lengths = np.linalg.norm(image, axis=0)
        image = np.where(lengths > 0, image / np.where(lengths > 0, lengths, 1.0), vectors)
        turned = 1 - np.abs(np.sum(image * vectors, axis=0))
        vectors = image
        if turned.max() < tol:
            return vectors, True
    return vectors, False


def _best(core: Array, starts: list[Start]) -> list[Start]:
    """The starts with the smallest residuals, best first."""
    return sorted(starts, key=lambda start: residual_norm(core, *start))[:_REFINED]


def _with_lost(errors: tuple[float, ...], core: Array, size: float) -> list[float]:
    """Relative errors in the core as those of a tensor of norm `size`: what compression lost is added."""
    held = norm(core)
    lost = size**2 - held**2
    lost = lost if lost > 1e-14 * size**2 else 0.0  # less is rounding
    return [_relative(math.sqrt((error * held) ** 2 + lost), size) for error in errors]


def _relative(residual: float, size: float) -> float:
    return residual / size if size > 0 else 0.0


def _require_few(tensor: Array, rank: int) -> None:
    if rank > tensor.shape[0]:
        raise ValueError(f"rank {rank} is above the size {tensor.shape[0]} of the modes: use cp, or a rank up to that")


def _require_counts(n_restarts: int, max_iters: int) -> None:
    if n_restarts < 1 or max_iters < 1:
        raise ValueError(f"n_restarts is {n_restarts} and max_iters {max_iters}; both must be at least 1")
