"""The whitened third moment of a graph: 3-stars, a centre with three leaves."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from tdtool.kernels.arrays import like, to_host
from tdtool.kernels.modes import multi_mode_dot
from tdtool.moments.packed_triples import tensor_apply

Matrix = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class ThreeStar:
    """sum_u w_u x_u (x) x_u (x) x_u, corrected for a Dirichlet prior of sum alpha0; formed only where it is kept.

    points : (n, k) x_u with sum w x x' = I after the correction of the second moment; weights : (n,) w, sum 1, both on
    the host or both on a GPU; tensor : the sum itself, (k, k, k), where it is known, so that nothing is done with each
    of many points.
    For tau = 0 and alpha0 = 0 it is T_abc = sum_x d_x^-2 A_xa A_xb A_xc (repeated leaves included) with each leaf
    projected on the whitened eigenvectors. Source: Anandkumar, Ge, Hsu, Kakade 2014, JMLR 15, section 3.
    """

    points: Matrix
    weights: Matrix
    alpha0: float
    second: Matrix
    first: Matrix
    tensor: Matrix | None = None

    @classmethod
    def of(cls, points: Matrix, weights: Matrix, *, alpha0: float = 0.0, tensor: Matrix | None = None) -> ThreeStar:
        """points : (n, k) with sum w x x' = I; weights : (n,). alpha0 > 0 whitens the corrected second moment.

        tensor : (k, k, k), `weighted_cubes` of these.
        """
        first, second = to_host(weights @ points), np.eye(points.shape[1])
        if alpha0 > 0:
            # M2 = I - alpha0 / (alpha0 + 1) m m', which is small along m but stays positive: |m| <= 1.
            corrected = second - alpha0 / (alpha0 + 1) * np.outer(first, first)
            values, vectors = scipy.linalg.eigh(corrected)
            root = (vectors / np.sqrt(np.maximum(values, np.finfo(float).eps))) @ vectors.T
            points, first, second = points @ like(root, points), root @ first, root @ root
            tensor = None if tensor is None else multi_mode_dot(tensor, [root] * 3)
        return cls(points, weights, alpha0, second, first, tensor)

    def apply(self, directions: Matrix) -> Matrix:
        """G_j = T(I, u_j, u_j) for the columns u_j of directions (k, k)."""
        raw = self._raw(directions) if self.tensor is None else tensor_apply(self.tensor)(directions)
        if not self.alpha0:
            return raw
        alpha0 = self.alpha0
        turned, along = self.second @ directions, self.first @ directions
        pairs = 2 * turned * along + np.outer(self.first, np.sum(directions * turned, axis=0))
        single = np.outer(self.first, along**2)
        return raw - alpha0 / (alpha0 + 2) * pairs + 2 * alpha0**2 / ((alpha0 + 1) * (alpha0 + 2)) * single

    def _raw(self, directions: Matrix) -> Matrix:
        """Without the correction."""
        values = self.points @ like(directions, self.points)
        values *= values
        return to_host(self.points.T @ (self.weights[:, None] * values))
