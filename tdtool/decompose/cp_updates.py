"""One mode's factor from its MTTKRP and the Gram matrices of the others, by least squares.

Letters: I size of the mode, R rank.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]

#: Normal equations of a worse reciprocal condition than this are damped, by this much of their scale.
_SINGULAR, _DAMPING = 1e-13, 1e-11


def least_squares(product: Array, gram: Floats, old: Array) -> Floats:
    """The factor A (I, R) that minimises the error: A gram = product.

    product : (I, R) MTTKRP; gram : (R, R) Hadamard product of the other modes' Grams; old : (I, R) the factor so far.
    A singular gram is damped towards `old`, so that the error cannot grow.
    """
    scale = np.sqrt(np.diag(gram))
    scale = np.where(scale > 0, scale, 1.0)
    scaled = gram / np.outer(scale, scale)
    right = (product / scale).T
    upper, failed = scipy.linalg.lapack.dpotrf(scaled)
    if failed == 0 and scipy.linalg.lapack.dpocon(upper, np.abs(scaled).sum(axis=0).max())[0] > _SINGULAR:
        return np.asarray(scipy.linalg.lapack.dpotrs(upper, right)[0].T / scale)
    values, vectors = scipy.linalg.eigh(scaled + _DAMPING * np.eye(scale.size), check_finite=False)
    right = right + _DAMPING * (old * scale).T
    solved = vectors @ ((vectors.T @ right) / np.maximum(values, 0.5 * _DAMPING)[:, None])
    return np.asarray(solved.T / scale)


def is_singular(gram: Floats) -> bool:
    """Whether `least_squares` damps the equations of this (R, R) gram."""
    scale = np.sqrt(np.diag(gram))
    if not (scale > 0).all():
        return True
    values = scipy.linalg.eigvalsh(gram / np.outer(scale, scale), check_finite=False)
    return bool(values[0] <= _SINGULAR * values[-1])


def hadamard(grams: Sequence[Floats], skip: int | None = None) -> Floats:
    """The elementwise product of the (R, R) Grams of all modes but `skip`."""
    kept = [gram for mode, gram in enumerate(grams) if mode != skip]
    return functools.reduce(np.multiply, kept, np.ones_like(grams[0]))


def grams_of(factors: Sequence[Array]) -> list[Floats]:
    """factor.T @ factor of each mode, (R, R) in double precision."""
    wide = [np.asarray(factor, np.float64) for factor in factors]
    return [factor.T @ factor for factor in wide]


def balance(factors: Sequence[Array]) -> list[Array]:
    """The same model with columns of equal length in all modes: nothing overflows however long the sweeps go on."""
    lengths = [np.sqrt(np.einsum("ir,ir->r", factor, factor, dtype=np.float64)) for factor in factors]
    logs = [np.log(np.where(length > 0, length, 1.0)) for length in lengths]
    mean = np.mean(logs, axis=0)
    return [
        (factor * np.exp(mean - log)).astype(factor.dtype, copy=False)
        for factor, log in zip(factors, logs, strict=True)
    ]
