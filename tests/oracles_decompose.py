"""Slow twins of the decompositions, from the formulas: unfoldings as matrices, least squares by lstsq, no shared work.

Letters: N order, I_n size of mode n, R rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def unfolding(tensor: Array, mode: int) -> Array:
    """(I_mode, product of the others), the last mode fastest."""
    return np.moveaxis(tensor, mode, 0).reshape(tensor.shape[mode], -1)


def outer_sum(weights: Array, factors: Sequence[Array]) -> Array:
    """The tensor of a CP model, one component after the other."""
    total = np.zeros(tuple(factor.shape[0] for factor in factors))
    for r, weight in enumerate(weights):
        term = np.array(weight)
        for factor in factors:
            term = np.multiply.outer(term, factor[:, r])
        total += term
    return total


def khatri_rao_columns(factors: Sequence[Array]) -> Array:
    """(product of sizes, R), column by column by np.kron."""
    columns = []
    for r in range(factors[0].shape[1]):
        column = np.ones(1)
        for factor in factors:
            column = np.kron(column, factor[:, r])
        columns.append(column)
    return np.stack(columns, axis=1)


def als_sweep(tensor: Array, factors: Sequence[Array], observed: Array | None = None) -> list[Array]:
    """One sweep of CP alternating least squares: each row of each factor by lstsq over its observed values."""
    new = list(factors)
    observed = np.ones(tensor.shape, bool) if observed is None else observed
    for mode in range(tensor.ndim):
        basis = khatri_rao_columns([factor for other, factor in enumerate(new) if other != mode])
        values, known = unfolding(tensor, mode), unfolding(observed, mode)
        rows = [np.linalg.lstsq(basis[k], v[k], rcond=None)[0] for v, k in zip(values, known, strict=True)]
        new[mode] = np.array(rows)
    return new


def hosvd_factors(tensor: Array, ranks: Sequence[int]) -> list[Array]:
    """Leading left singular vectors of each unfolding."""
    return [np.linalg.svd(unfolding(tensor, mode))[0][:, :rank] for mode, rank in enumerate(ranks)]


def along_all(tensor: Array, factors: Sequence[Array], skip: int | None = None) -> Array:
    """The tensor times the conjugate transpose of each factor, but that of `skip`."""
    for mode, factor in enumerate(factors):
        if mode != skip:
            tensor = np.moveaxis(np.tensordot(factor.conj().T, tensor, (1, mode)), 0, mode)
    return tensor


def hooi(tensor: Array, ranks: Sequence[int], sweeps: int) -> tuple[Array, list[Array]]:
    """Higher-order orthogonal iteration from the HOSVD: core and factors."""
    factors = hosvd_factors(tensor, ranks)
    for _ in range(sweeps):
        for mode, rank in enumerate(ranks):
            image = unfolding(along_all(tensor, factors, skip=mode), mode)
            factors[mode] = np.linalg.svd(image, full_matrices=False)[0][:, :rank]
    return along_all(tensor, factors), factors


def cp_gradient(tensor: Array, weights: Array, factors: Sequence[Array], mode: int) -> Array:
    """Gradient (I_mode, R) of half the squared error in the factor of `mode`, the weights in that factor."""
    basis = khatri_rao_columns([factor for other, factor in enumerate(factors) if other != mode])
    return (factors[mode] * weights @ basis.T - unfolding(tensor, mode)) @ basis
