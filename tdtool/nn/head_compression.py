"""Weights in fewer numbers: Tucker along some of their modes, in the metric of the features that they meet; ridge."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from tdtool.decompose.tucker_subspaces import leading_vectors
from tdtool.kernels.modes import gram, mode_dot

Array = NDArray[Any]

#: Sweeps of HOOI after the start by truncation; more change nothing that training would not.
_SWEEPS = 2
#: Shares of the mean diagonal that are added to it, so that directions no feature has are not free.
_METRIC_FLOOR, _RIDGE = 1e-3, 1e-3


def compressed(weight: Array, ranks: dict[int, int], metrics: dict[int, Array]) -> tuple[Array, dict[int, Array]]:
    """weight ~ core x_n factor_n over the modes of `ranks`: (core, {mode: factor (I_n, R_n), orthonormal columns}).

    weight : (I_0, ..., I_{N-1}); metrics : mode -> lower triangular L (I_n, I_n): the error is measured in L^T x_n
    weight. Tucker decomposition by truncation and HOOI, where modes without a rank stay as they are. Ranks that the
    other modes do not support are filled up with other directions, for which the core is zero.
    """
    for mode, lower in metrics.items():
        weight = mode_dot(weight, lower, mode, transpose=True)
    bases: dict[int, Array] = {}
    core = weight
    for mode in sorted(ranks, key=lambda mode: ranks[mode] / weight.shape[mode]):
        bases[mode] = _leading(core, mode, ranks[mode])
        core = mode_dot(core, bases[mode], mode, transpose=True)
    for _ in range(_SWEEPS if len(ranks) > 1 else 0):
        for mode in ranks:
            bases[mode] = _leading(_projected(weight, bases, mode), mode, ranks[mode])
    core = _projected(weight, bases, None)
    for mode, lower in metrics.items():
        inside = bases.get(mode, np.eye(len(lower)))
        back: Array = scipy.linalg.solve_triangular(lower, inside, lower=True, trans="T")
        if mode in bases:
            bases[mode], back = scipy.linalg.qr(back, mode="economic")
        core = mode_dot(core, back.astype(core.dtype, copy=False), mode)
    return core, {mode: bases[mode].astype(core.dtype, copy=False) for mode in sorted(bases)}


def moments(features: Array, mode: int) -> Array:
    """The metric of one mode of activations: lower triangular L with L L^T = their covariance along that mode.

    features : (B, ...), less their mean; returns (I_mode, I_mode). Together the modes' metrics stand for the full one
    as if it were their Kronecker product.
    """
    second = gram(features, mode).astype(np.float64) / max(features.size // features.shape[mode], 1)
    level = np.trace(second) / len(second) or 1.0
    second[np.diag_indices_from(second)] += _METRIC_FLOOR * level
    return np.linalg.cholesky(second / level).astype(features.dtype)


def ridge(inputs: Array, outputs: Array, guess: Array) -> tuple[Array, Array]:
    """The linear map from inputs (B, R) to outputs (B, K) with the least squares error, drawn to `guess` (R, K) where
    the inputs say little: (R, K) and the offsets (K,), both float64."""
    x, y = inputs.astype(np.float64), outputs.astype(np.float64)
    centre, offset = x.mean(axis=0), y.mean(axis=0)
    x, y = x - centre, y - offset
    normal = x.T @ x
    normal[np.diag_indices_from(normal)] += _RIDGE * max(np.trace(normal) / len(normal), np.finfo(np.float64).tiny)
    weight = guess + scipy.linalg.solve(normal, x.T @ (y - x @ guess), assume_a="pos")
    return weight, offset - centre @ weight


def _projected(weight: Array, bases: dict[int, Array], but: int | None) -> Array:
    """weight x_n basis_n^T over all modes that have one, but one; the largest reduction first."""
    order = sorted(bases, key=lambda mode: bases[mode].shape[1] / bases[mode].shape[0])
    for mode in order:
        if mode != but:
            weight = mode_dot(weight, bases[mode], mode, transpose=True)
    return weight


def _leading(tensor: Array, mode: int, rank: int) -> Array:
    """(I_mode, rank) orthonormal columns: the leading singular vectors, and others where there are not so many."""
    size = tensor.shape[mode]
    found = leading_vectors(tensor, mode, min(rank, tensor.size // size))
    if found.shape[1] == rank:
        return found
    others = np.random.default_rng(0).standard_normal((size, rank - found.shape[1]))
    others -= found @ (found.T @ others)
    others -= found @ (found.T @ others)
    return np.concatenate([found, np.linalg.qr(others)[0].astype(found.dtype)], axis=1)
