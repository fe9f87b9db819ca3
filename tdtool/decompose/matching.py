"""Which components of two CP models are the same: the order and the signs of components mean nothing by themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from tdtool.decompose.results import CPFit, unit_columns

Array = NDArray[Any]
Floats = NDArray[np.float64]


def congruence(factors_a: Sequence[Array], factors_b: Sequence[Array]) -> Floats:
    """Tucker's congruence of every component of one model with every one of another, (R_a, R_b) between -1 and 1.

    factors : N arrays (I_n, R_a) and N arrays (I_n, R_b). The product over modes of the cosines of the columns; a
    column of zeros has cosine 0. Source: Tucker 1951; Lorenzo-Seva and ten Berge 2006, "Tucker's congruence coefficient
    as a meaningful index of factor similarity" (0.95 and more: equal; 0.85 to 0.94: similar).
    """
    if len(factors_a) != len(factors_b) or not factors_a:
        raise ValueError(f"{len(factors_a)} and {len(factors_b)} factors; both models need one for each mode")
    product = np.ones((factors_a[0].shape[1], factors_b[0].shape[1]))
    for mode, (a, b) in enumerate(zip(factors_a, factors_b, strict=True)):
        if a.shape[0] != b.shape[0]:
            raise ValueError(f"mode {mode} has size {a.shape[0]} in one model and {b.shape[0]} in the other")
        product *= unit_columns(np.asarray(a, np.float64))[0].T @ unit_columns(np.asarray(b, np.float64))[0]
    return np.clip(product, -1.0, 1.0)


def factor_match_score(a: CPFit, b: CPFit, *, weights: bool = True) -> tuple[float, NDArray[np.int64]]:
    """How well two models agree, 0 to 1, and (R_a,) the component of `b` that belongs to each of `a` (-1: none).

    The mean over matched components of their congruence (0 where it is negative) times 1 - |w_a - w_b| / max(w_a, w_b),
    which `weights=False` leaves out, for the assignment that makes it largest.
    Source: Acar, Dunlavy, Kolda 2011, "A scalable optimization approach for fitting canonical tensor decompositions".
    """
    scores = np.maximum(congruence(a.factors, b.factors), 0.0)
    if weights:
        larger = np.maximum(a.weights[:, None], b.weights[None, :])
        apart = np.abs(a.weights[:, None] - b.weights[None, :])
        scores = scores * (1 - apart / np.where(larger > 0, larger, 1.0))
    rows, columns = linear_sum_assignment(scores, maximize=True)
    matches = np.full(a.rank, -1, np.int64)
    matches[rows] = columns
    return float(scores[rows, columns].mean()) if rows.size else 0.0, matches


def align(fit: CPFit, to: CPFit) -> CPFit:
    """`fit` with its components in the order of those of `to` that they match, and their columns' signs alike.

    The model stays the same. Components without a partner come last; weights need not descend any more.
    """
    _, matches = factor_match_score(to, fit)
    order = [int(match) for match in matches if match >= 0]
    order += [r for r in range(fit.rank) if r not in order]
    partners = np.flatnonzero(matches >= 0)
    factors = [factor[:, order].copy() for factor in fit.factors]
    flips = np.ones(fit.rank)
    for mode, factor in enumerate(factors[:-1]):
        cosines = np.einsum("ir,ir->r", factor[:, : partners.size], to.factors[mode][:, partners])
        signs = np.where(cosines < 0, -1.0, 1.0)
        factor[:, : partners.size] *= signs
        flips[: partners.size] *= signs
    factors[-1] *= flips
    return dataclasses.replace(fit, weights=fit.weights[order], factors=tuple(factors))
