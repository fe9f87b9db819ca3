"""Leading left singular vectors of the unfoldings of a tensor.

A tensor of a GPU is multiplied there, and tall matrices are made orthonormal there; vectors, and what is of the size of
a mode squared, are on the host.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from tdtool.kernels.arrays import like, namespace, to_host
from tdtool.kernels.device_gpu import owner
from tdtool.kernels.modes import gram, unfold

Array = NDArray[Any]

#: Rows of an unfolding's transpose that the exact route works on at a time.
_BLOCK_ROWS = 1 << 14
#: Orthogonal iteration instead of eigenvectors from this ratio of size to rank on, and for no more steps than this.
_WORTH_ITERATING, _MOST_STEPS = 3, 6


def leading_vectors(tensor: Array, mode: int, rank: int, *, resolve: bool = True) -> Array:
    """tensor : (I_0, ..., I_{N-1}) -> (I_mode, rank) orthonormal columns, of the tensor's dtype.

    The eigenvectors of a Gram matrix: that of the rows, or of the columns where there are fewer. A Gram has the square
    of the condition: where the last vector wanted lies below what it can tell, QR and SVD take over, if `resolve`.
    """
    size = tensor.shape[mode]
    rest = tensor.size // size
    if rest < rank:
        raise ValueError(f"mode {mode} has {rest} columns; they span no {rank} directions")
    if rest < size:
        vectors, resolved = _from_columns(unfold(tensor, mode), rank)
    else:
        energies, vectors = eigen(row_gram(tensor, mode), rank)
        resolved = _is_resolved(energies, tensor.dtype)
    if resolve and not resolved:
        vectors = singular_pairs(tensor, mode)[1][:, :rank]
    return vectors.astype(tensor.dtype, copy=False)


def improved_vectors(tensor: Array, mode: int, old: Array, enough: float) -> Array:
    """leading_vectors from a good guess: (I_mode, J) orthonormal columns that hold at least the energy of `old`.

    Steps of orthogonal iteration until one adds less than `enough` to the squared norm of the projection; where that
    takes long, the eigenvectors after all. Source: Golub and Van Loan 2013, "Matrix computations", section 8.2.4.
    """
    matrix = unfold(tensor, mode)
    rank = old.shape[1]
    if matrix.shape[0] < _WORTH_ITERATING * rank or matrix.shape[1] < rank:
        return leading_vectors(tensor, mode, rank)
    vectors, energy = like(old, matrix), -np.inf
    for _ in range(_MOST_STEPS):
        image = matrix.conj().T @ vectors
        held = float(np.vdot(image, image).real)
        gained, energy = held - energy, held
        if gained <= enough:
            return to_host(vectors)
        vectors = orthonormal(matrix @ orthonormal(image))
    return leading_vectors(tensor, mode, rank)


def orthonormal(matrix: Array) -> Array:
    """(M, K) orthonormal columns that span those of (M, K) `matrix`, where it lies; M >= K."""
    if owner(matrix) is not None:
        return namespace(matrix).linalg.qr(matrix)[0]
    return np.asarray(scipy.linalg.qr(matrix, mode="economic", check_finite=False)[0])


def row_gram(tensor: Array, mode: int) -> Array:
    """unfold(tensor, mode) times its own conjugate transpose, (I_mode, I_mode)."""
    if tensor.dtype.kind == "c" and owner(tensor) is None:
        matrix = unfold(tensor, mode)
        return np.asarray(matrix @ matrix.conj().T)
    return np.asarray(gram(tensor, mode))


def eigen(matrix: Array, rank: int) -> tuple[NDArray[np.float64], Array]:
    """The `rank` largest eigenvalues, descending, and eigenvectors of a Hermitian matrix; in double precision."""
    size = matrix.shape[0]
    matrix = matrix.astype(np.complex128 if np.iscomplexobj(matrix) else np.float64, copy=False)
    values, vectors = scipy.linalg.eigh(matrix, subset_by_index=(size - rank, size - 1), check_finite=False)
    return values[::-1], vectors[:, ::-1]


def singular_pairs(tensor: Array, mode: int) -> tuple[NDArray[np.float64], Array]:
    """Singular values (K,) descending and left vectors (I_mode, K) of an unfolding, K = min(I_mode, rest).

    To full precision: the triangular factor of its transpose is built block by block, then decomposed.
    """
    xp, rows = namespace(tensor), np.moveaxis(tensor, mode, -1)
    size = tensor.shape[mode]
    kind = np.complex128 if tensor.dtype.kind == "c" else np.float64
    triangle: Array = xp.zeros((0, size), kind)
    if rows.ndim == 1:
        rows = rows[None]
    step = max(1, _BLOCK_ROWS * rows.shape[0] * size // max(rows.size, 1))
    for start in range(0, rows.shape[0], step):
        block = rows[start : start + step].reshape(-1, size).astype(kind, copy=False)
        triangle = _triangle(xp.vstack([triangle, block]))[:size]
    left, values, _ = scipy.linalg.svd(to_host(triangle).T, full_matrices=False, check_finite=False)
    return values, left


def _triangle(matrix: Array) -> Array:
    """The triangular factor of a QR decomposition, where the matrix lies."""
    if owner(matrix) is not None:
        return namespace(matrix).linalg.qr(matrix, mode="r")
    return np.asarray(scipy.linalg.qr(matrix, mode="r", check_finite=False)[0])


def _from_columns(matrix: Array, rank: int) -> tuple[Array, bool]:
    """Vectors of a tall (I, K) matrix from the Gram of its columns, and whether that Gram could tell them."""
    energies, right = eigen(to_host(matrix.conj().T @ matrix), rank)
    vectors = orthonormal(to_host(matrix @ like(right, matrix)))
    return vectors, _is_resolved(energies, matrix.dtype)


def _is_resolved(energies: NDArray[np.float64], dtype: np.dtype[Any]) -> bool:
    return bool(energies[-1] > 1e4 * np.finfo(dtype).eps * energies[0])
