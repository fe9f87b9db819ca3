"""The largest eigenpairs of a symmetric matrix by thick-restart block Lanczos, with numpy or on a GPU.

Wu and Simon 2000, "Thick-restart Lanczos method for large symmetric eigenvalue problems". Blocks of some vectors make
products with the basis matrix products, and each read of a sparse row serves them all; and an eigenvalue that occurs
several times, as in a graph of several components, is found as often. All is orthogonal to the whole basis, and the
projected matrix is what the projections say, so that nothing depends on a recurrence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from tdtool.kernels.device_gpu import Gpu

Matrix = NDArray[np.float64]
#: An array of numpy's, or of the GPU.
Array = Any
_MOST_RESTARTS = 300
#: Of what a product loses by rounding, below which a direction holds nothing but that.
_NOISE = 50
#: Directions are made orthogonal to the basis again while they had such a share of one of its vectors: what is left of
#: those that were nearly in its span is rounding.
_CANCELLED, _MOST_PROJECTIONS = 0.03, 5
#: From so many rows on, the projected matrix is solved on the GPU.
_LARGE = 512


def largest_eigenpairs(
    multiply: Callable[[Array], Array],
    start: NDArray[Any],
    k: int,
    *,
    tol: float,
    gpu: Gpu | None = None,
    block: int = 8,
    size: int | None = None,
) -> tuple[Matrix, Array]:
    """(k,) float64 largest algebraic eigenvalues, descending, and vectors (n, k) of `start`'s dtype.

    multiply : (n, b) -> (n, b), the symmetric matrix times it, of the GPU where there is one, as the vectors are;
    start : (n,) float, not zero; tol : residuals, of the eigenvalues; block : vectors at a time; size : of the basis,
    by k when not given. The same bits from run to run: further starts are drawn from a seed. LinAlgError: no
    convergence, or values that are not finite.
    """
    space = _Space(multiply, start, k, gpu=gpu, block=block, size=size)
    for _ in range(_MOST_RESTARTS):
        space.extend()
        values, turn, residuals = space.pairs()
        converged = residuals <= tol * np.maximum(np.finfo(start.dtype).eps ** (2 / 3), np.abs(values))
        if converged[:k].all():
            return values[:k].copy(), space.turned(turn[:, :k]).T
        space.restart(values, turn, int(converged[:k].sum()))
    raise np.linalg.LinAlgError(f"{k:,} eigenvectors have not converged")


class _Space:
    """A basis, its vectors in rows, and what the matrix is on it."""

    def __init__(
        self,
        multiply: Callable[[Array], Array],
        start: NDArray[Any],
        k: int,
        *,
        gpu: Gpu | None,
        block: int,
        size: int | None,
    ) -> None:
        n = len(start)
        self._multiply, self._gpu, self._k, self._block = multiply, gpu, k, min(block, n)
        self._xp: Any = np if gpu is None else gpu.xp
        self._rng = np.random.default_rng(0)
        self._size = min(size or max(2 * k + 4 * block, k + 96), n)
        self._eps = float(np.finfo(start.dtype).eps)
        rows = min(self._size + 2 * self._block, n)
        self._basis: Array = self._xp.empty((rows, n), start.dtype)
        self._matrix = np.zeros((rows, rows))  # its lower triangle
        self._coupling = np.zeros((0, 0))
        self._norm = 0.0
        first = np.vstack([start, self._rng.standard_normal((self._block - 1, n))]).astype(start.dtype)
        self._done, self._next = 0, 0
        self._append(self._there(first), 1.0)

    def extend(self) -> None:
        """Multiply the last vectors by the matrix, until the basis is full or the whole space."""
        while self._done < self._next and self._done < self._size:
            done, known = self._done, self._next
            basis = self._basis[:known]
            image = self._xp.ascontiguousarray(self._multiply(self._xp.ascontiguousarray(basis[done:].T)).T)
            along = image @ basis.T  # (block, known)
            image -= along @ basis
            along = self._here(along)
            self._norm = max(self._norm, float(np.abs(along).max(initial=0)))
            self._done = known
            self._matrix[done:known, :known] = along
            self._append(image, self._norm)

    def pairs(self) -> tuple[Matrix, Matrix, Matrix]:
        """Ritz values (m,) descending, their vectors (m, m) in the basis, and the norms of their residuals (m,)."""
        m = self._done
        values, turn = self._eigh(self._matrix[:m, :m])
        values, turn = values[::-1], turn[:, ::-1]
        last = turn[m - len(self._coupling) :] if len(self._coupling) else np.zeros((0, m))
        return values, turn, np.linalg.norm(self._coupling.T @ last, axis=0)

    def turned(self, turn: Matrix) -> Array:
        """(columns of turn, n) combinations of the basis."""
        return self._there(np.ascontiguousarray(turn.T).astype(self._basis.dtype)) @ self._basis[: self._done]

    def restart(self, values: Matrix, turn: Matrix, n_converged: int) -> None:
        """Keep the leading pairs, and the vectors that come next."""
        m, n_next = self._done, self._next - self._done
        keep = min(self._k + max(min(n_converged, (m - self._k) // 2), self._block), m - self._block)
        kept = self.turned(turn[:, :keep])
        waiting = self._basis[m : m + n_next].copy()
        self._basis[:keep] = kept
        self._basis[keep : keep + n_next] = waiting
        self._matrix[...] = 0
        self._matrix[np.arange(keep), np.arange(keep)] = values[:keep]
        self._done, self._next = keep, keep + n_next

    def _append(self, vectors: Array, norm: float) -> None:
        """Add an orthonormal basis of vectors (c, n), which are nearly orthogonal to the others, as the next ones.

        What holds rounding alone is replaced by a drawn direction. `_coupling` (c, c') says what they are made of.
        """
        xp, known, n = self._xp, self._next, self._basis.shape[1]
        n_new = min(self._block, n - known)
        values, left = self._eigh(self._here(self._gram(vectors)))
        if not np.isfinite(values).all():
            raise np.linalg.LinAlgError("products with the matrix are not finite")
        sizes = np.sqrt(np.maximum(values[::-1], 0))
        left = left[:, ::-1]
        n_real = int((sizes > _NOISE * self._eps * max(norm, np.finfo(float).tiny)).sum())
        n_real = min(n_real, n_new)
        mixed = (left[:, :n_real] / sizes[:n_real]).T
        added = [self._there(mixed.astype(self._basis.dtype)) @ vectors] if n_real else []
        if n_new > n_real:
            drawn = self._rng.standard_normal((n_new - n_real, n)) / np.sqrt(n)
            added.append(self._there(drawn.astype(self._basis.dtype)))
        coupling = np.zeros((len(vectors), n_new))
        coupling[:, :n_real] = left[:, :n_real] * sizes[:n_real]
        self._coupling = coupling
        if not n_new:
            return
        rows = xp.concatenate(added)
        for _ in range(_MOST_PROJECTIONS):
            along = rows @ self._basis[:known].T
            rows -= along @ self._basis[:known]
            shares = self._here(along)
            rows = self._whitened(self._whitened(rows))
            if np.abs(shares).max(initial=0) < _CANCELLED:
                break
        self._basis[known : known + n_new] = rows
        self._next = known + n_new

    def _whitened(self, rows: Array) -> Array:
        """The rows (c, n), made orthonormal by as little as can be."""
        values, vectors = self._eigh(self._here(self._gram(rows)))
        root = (vectors / np.sqrt(np.maximum(values, self._eps**2))) @ vectors.T
        return self._there(root.astype(rows.dtype)) @ rows

    def _gram(self, rows: Array) -> Array:
        exact = rows.astype(np.float64)
        return exact @ exact.T

    def _eigh(self, matrix: Matrix) -> tuple[Matrix, Matrix]:
        if self._gpu is not None and len(matrix) >= _LARGE:
            values, vectors = self._xp.linalg.eigh(self._gpu.to_device(matrix))
            return self._gpu.to_host(values), self._gpu.to_host(vectors)
        if not np.isfinite(matrix).all():
            raise np.linalg.LinAlgError("products with the matrix are not finite")
        values, vectors = scipy.linalg.eigh(matrix, check_finite=False)
        return values, vectors

    def _there(self, array: NDArray[Any]) -> Array:
        return array if self._gpu is None else self._gpu.to_device(array)

    def _here(self, array: Array) -> Matrix:
        host = array if self._gpu is None else self._gpu.to_host(array)
        return np.array(host, np.float64)
