"""The Khatri-Rao product: the matrix that MTTKRP multiplies an unfolding with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.arrays import as_array

Array = NDArray[Any]


def khatri_rao(matrices: Sequence[Array]) -> Array:
    """Column-wise Kronecker product of (I, R), (J, R), ... -> (I J ..., R), the first matrix's rows slowest.

    Row i*J + j of the product of two is left[i] * right[j]. float32, float64 or complex; other numbers become float64.
    Matrices of the host, or all of a GPU, where the product is then.
    ValueError: no matrix, one that is not a matrix, or different numbers of columns.

    Source: Kolda and Bader 2009, "Tensor decompositions and applications", section 2.6.
    """
    if len(matrices) == 0:
        raise ValueError("khatri_rao needs at least one matrix")
    arrays = [_matrix(position, matrix) for position, matrix in enumerate(matrices)]
    columns = [array.shape[1] for array in arrays]
    if len(set(columns)) > 1:
        raise ValueError(f"the matrices have {columns} columns; a Khatri-Rao product needs the same rank in all")
    product = arrays[-1]
    for array in arrays[-2::-1]:
        product = (array[:, None, :] * product[None, :, :]).reshape(-1, columns[0])
    return product if len(arrays) > 1 else product.copy()


def _matrix(position: int, matrix: Array) -> Array:
    array = as_array(matrix)
    if array.ndim != 2:
        raise ValueError(f"matrix {position} of the product has shape {array.shape}; it needs (size, rank)")
    return array if array.dtype.kind in "fc" else array.astype(np.float64)
