"""Symmetric tensors: is one symmetric, its few directions, and its best sum of powers near a start (Gauss-Newton).

A tensor of a GPU stays there and is multiplied there; vectors, and what is made of them, are on the host.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from tdtool.kernels.arrays import as_array, as_owned, to_host
from tdtool.kernels.device_gpu import owner
from tdtool.kernels.khatri_rao import khatri_rao
from tdtool.kernels.modes import gram, multi_mode_dot, unfold
from tdtool.kernels.mttkrp import mttkrp
from tdtool.kernels.mttkrp_gpu import squared_residual_on_gpu

Array = NDArray[np.float64]

_BLOCK = 1 << 18  # entries looked at together: they stay in the cache
_GRAM_SIZE = 128  # up to this size the Gram matrix is cheaper than passes over the tensor
_MORE_DIRECTIONS = 10
_ROUNDING = 1e-15  # no relative error is smaller but by luck
_SETTLED = 1e-5  # directions rest when a pass adds less than this to the squared norm they hold


def is_symmetric(tensor: Array, rtol: float = 1e-8) -> bool:
    """Whether no permutation of the modes changes an entry by more than rtol times the largest magnitude.

    tensor : order N >= 2, real. Neighbouring modes are exchanged one pair at a time (such exchanges generate all
    permutations), slab by slab: no copy of the tensor is made. Entries that are not finite make it False.
    """
    if tensor.ndim < 2 or len(set(tensor.shape)) > 1:
        return False
    bound = rtol * _largest(tensor)
    if not math.isfinite(bound):
        return False
    for i, slab in enumerate(tensor):
        if i + 1 < len(tensor) and np.abs(tensor[i, i + 1 :] - tensor[i + 1 :, i]).max() > bound:
            return False
        for mode in range(tensor.ndim - 2):
            if np.abs(slab - slab.swapaxes(mode, mode + 1)).max() > bound:
                return False
    return True


def _largest(tensor: Array) -> float:
    """The largest magnitude, NaN when there is one."""
    return float(np.max([max(float(slab.max()), -float(slab.min())) for slab in tensor])) if tensor.size else 0.0


def require_symmetric(tensor: Array, rank: int) -> Array:
    """The tensor as an array, checked: real, order 3 or more, all modes of one size, finite, symmetric, 1 <= rank.

    Raises ValueError saying what is wrong and what to use instead.
    """
    tensor = as_array(tensor)
    if tensor.dtype.kind not in "fiu":
        raise ValueError(f"the tensor holds {tensor.dtype}; symmetric powers need real numbers")
    if tensor.dtype != np.float32:
        tensor = tensor.astype(np.float64, copy=False)
    if tensor.ndim < 3:
        raise ValueError(f"the tensor has order {tensor.ndim}; powers are unique from order 3 on")
    if len(set(tensor.shape)) > 1:
        raise ValueError(
            f"a tensor of shape {tensor.shape} is not symmetric: use cp, which has a factor for every mode"
        )
    if tensor.size == 0:
        raise ValueError("the tensor is empty")
    if not is_symmetric(tensor, 1e-4 if tensor.dtype == np.float32 else 1e-8):
        if not math.isfinite(_largest(tensor)):
            raise ValueError("the tensor holds NaN or infinite values; cp takes missing values")
        raise ValueError("the tensor is not symmetric: use cp, which has a factor for every mode")
    if rank < 1:
        raise ValueError(f"rank is {rank}; it must be at least 1")
    return tensor


def power_map(tensor: Array, vectors: Array) -> Array:
    """T(I, u, ..., u) for every column u of (I, B) `vectors`; returns (I, B) float64."""
    return np.asarray(mttkrp(tensor, [vectors.astype(tensor.dtype, copy=False)] * tensor.ndim, 0), np.float64)


def residual_norm(tensor: Array, weights: Array, vectors: Array) -> float:
    """norm(T - sum_r weights[r] u_r (x) ... (x) u_r), entry by entry in blocks: right down to rounding error.

    weights : (R,); vectors : (I, R).
    """
    gpu = owner(tensor)
    if gpu is not None:
        factors = [as_owned(factor, tensor.dtype, tensor) for factor in (vectors * weights, vectors)]
        return math.sqrt(squared_residual_on_gpu(gpu, tensor, [factors[0], *factors[1:] * (tensor.ndim - 1)]))
    rest = khatri_rao([vectors] * (tensor.ndim - 1)).T
    rows = max(1, _BLOCK // rest.shape[1])
    total = 0.0
    for begin in range(0, vectors.shape[0], rows):
        block = (
            tensor[begin : begin + rows].reshape(-1, rest.shape[1]) - (vectors[begin : begin + rows] * weights) @ rest
        )
        total += float(np.vdot(block, block))
    return math.sqrt(total)


def best_weights(tensor: Array, vectors: Array) -> Array:
    """(R,) weights of the powers of the columns of (I, R) `vectors`, by least squares."""
    products = (vectors.T @ vectors) ** tensor.ndim
    targets = np.sum(vectors * power_map(tensor, vectors), axis=0)
    return np.asarray(np.linalg.lstsq(products, targets, rcond=1e-12)[0], np.float64)


def leading_directions(tensor: Array, rank: int, rng: np.random.Generator, *, max_iters: int = 10) -> Array:
    """Orthonormal (I, rank) columns Q for which T(Q, ..., Q) keeps most of the tensor: one Tucker factor for all modes.

    Starts from the Gram matrix, or in large tensors from T(I, g, ..., g) for random g, and then takes the leading
    directions of T(I, Q, ..., Q) until they hold no more (HOOI; De Lathauwer, De Moor, Vandewalle 2000, one factor).
    """
    size, wide = tensor.shape[0], min(tensor.shape[0], rank + _MORE_DIRECTIONS)
    if rank >= size:
        return np.eye(size)
    if size <= max(_GRAM_SIZE, 4 * wide):
        basis, held = _leading(np.asarray(gram(tensor, 0), np.float64), rank, wide)
    else:
        seen = power_map(tensor, rng.standard_normal((size, 2 * wide)))
        basis, held = _leading(seen @ seen.T, rank, wide)
        held = 0.0  # of the sketch, not of the tensor
    for _ in range(max_iters):
        part = unfold(
            multi_mode_dot(tensor, [None, *[basis.astype(tensor.dtype)] * (tensor.ndim - 1)], transpose=True), 0
        )
        before, (basis, held) = held, _leading(np.asarray(to_host(part @ part.T), np.float64), rank, wide)
        if held - before <= _SETTLED * held:
            break
    return basis[:, :rank]


def _leading(square: Array, rank: int, wide: int) -> tuple[Array, float]:
    """The `wide` leading eigenvectors of a Gram matrix, largest first, and the sum of the first `rank` eigenvalues."""
    size = square.shape[0]
    values, vectors = scipy.linalg.eigh(square, subset_by_index=[size - wide, size - 1], check_finite=False)
    return np.ascontiguousarray(vectors[:, ::-1]), float(values[::-1][:rank].sum())


@dataclasses.dataclass(frozen=True)
class PowersFit:
    """T ~ sum_r signs[r] vectors[:, r] (x) ... (x) vectors[:, r]. vectors : (I, R) of any length; signs : (R,) +-1.

    errors : norm of the residual over that of T, at the start and after each step; stopped : "tol" | "max_iters".
    """

    signs: Array
    vectors: Array
    errors: tuple[float, ...]
    stopped: str


def refine(tensor: Array, weights: Array, vectors: Array, *, max_iters: int = 100, tol: float = 1e-10) -> PowersFit:
    """The sum of powers nearest to a symmetric tensor, from a start nearby: damped Gauss-Newton on all vectors at once.

    weights : (R,) of any sign; vectors : (I, R) of length 1. An odd order takes a sign of a weight into its vector; in
    an even order the signs stay as they are. tol : stop when the squared relative error shrinks by less than this,
    relatively. The normal equations are solved by conjugate gradients from products of R x R matrices.

    Source: Levenberg-Marquardt with the damping of Nielsen 1999, "Damping parameter in Marquardt's method"; structure
    of the normal equations as in Sorber, Van Barel, De Lathauwer 2013, for equal factors.
    """
    order = tensor.ndim
    signs = np.where(weights < 0, -1.0, 1.0)
    vectors = vectors * np.abs(weights) ** (1 / order)
    if order % 2:
        vectors, signs = vectors * signs, np.ones_like(signs)
    size = math.sqrt(max(float(np.vdot(tensor, tensor)), np.finfo(float).tiny))
    damping, growth, stopped = 1e-3, 2.0, "max_iters"
    errors = [residual_norm(tensor, signs, vectors) / size]
    if errors[0] < _ROUNDING:
        return PowersFit(signs, vectors, tuple(errors), "tol")
    gradient = _gradient(tensor, signs, vectors)
    for _ in range(max_iters):
        step = _newton_step(gradient, signs, vectors, order, damping)
        error = residual_norm(tensor, signs, vectors + step) / size
        if error >= errors[-1]:
            damping, growth = damping * growth, growth * 2
            if damping > 1e8:
                stopped = "tol"
                break
            continue
        damping, growth = max(damping / 5, 1e-12), 2.0
        vectors = vectors + step
        errors.append(error)
        if errors[-2] ** 2 - error**2 <= tol * errors[-2] ** 2 or error < _ROUNDING:
            stopped = "tol"
            break
        gradient = _gradient(tensor, signs, vectors)
    return PowersFit(signs, vectors, tuple(errors), stopped)


def _gradient(tensor: Array, signs: Array, vectors: Array) -> Array:
    """Half the squared residual by the vectors, over the order."""
    model = vectors @ ((vectors.T @ vectors) ** (tensor.ndim - 1) * signs[:, None])
    return (model - power_map(tensor, vectors)) * signs


def _newton_step(gradient: Array, signs: Array, vectors: Array, order: int, damping: float) -> Array:
    """Solve (J'J / order + damping * scale) step = -gradient by preconditioned conjugate gradients."""
    cosines = vectors.T @ vectors
    both = np.outer(signs, signs)
    outer, inner = cosines ** (order - 1) * both, (order - 1) * cosines ** (order - 2) * both
    shift = damping * float(np.mean(np.diag(cosines) ** (order - 1)))
    values, turn = np.linalg.eigh(outer)
    scale = 1 / (np.maximum(values, 0) + shift + 1e-12 * max(float(values[-1]), 1e-300))

    def normal(x: Array) -> Array:
        return x @ outer + vectors @ ((x.T @ vectors) * inner) + shift * x

    def precondition(x: Array) -> Array:
        return ((x @ turn) * scale) @ turn.T

    step, rest = np.zeros_like(gradient), -gradient
    direction = ahead = precondition(rest)
    slope = goal = float(np.vdot(rest, ahead))
    for _ in range(min(200, 2 * gradient.size)):
        if slope <= 1e-12 * goal or slope <= 0:
            break
        image = normal(direction)
        length = slope / float(np.vdot(direction, image))
        step, rest = step + length * direction, rest - length * image
        ahead = precondition(rest)
        before, slope = slope, float(np.vdot(rest, ahead))
        direction = ahead + slope / before * direction
    return step
