"""Core consistency of a CP model (CORCONDIA): does the data's own core look like the one that CP supposes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.results import CPFit
from tdtool.kernels.arrays import to_host
from tdtool.kernels.device_gpu import owner
from tdtool.kernels.modes import multi_mode_dot
from tdtool.kernels.sparse_tensor import SparseTensor

Array = NDArray[Any]
Floats = NDArray[np.float64]

_LARGEST_CORE = 1 << 25  # entries: 256 MB
_BLOCK = 1 << 22  # entries of a sparse tensor's working memory: 32 MB


def core_consistency(tensor: Array | SparseTensor, fit: CPFit, *, mask: NDArray[np.bool_] | None = None) -> float:
    """How superdiagonal the best core for the fit's factors is: 100 is perfect, below 50 doubtful, below 0 wrong.

    100 (1 - sum (G - S)^2 / R), S the superdiagonal core of ones and G the least-squares core, tensor x_n pinv(A_n);
    weights are spread evenly over the modes' factors A_n. G comes from N small products, never from the Kronecker
    product of the factors, and for a sparse tensor from its entries alone.
    mask : (I_0, ..., I_{N-1}) bool, true where a value is missing: the model stands in there.

    Raises ValueError: another shape than the fit's, a core of more than 2^25 entries (R to the power N).

    Sources: Bro and Kiers 2003, "A new efficient method for determining the number of components in PARAFAC models",
    eq. 5; Papalexakis and Faloutsos 2015, "Fast efficient and scalable core consistency diagnostic for the PARAFAC
    decomposition for big sparse tensors".
    """
    sizes = tuple(factor.shape[0] for factor in fit.factors)
    if tuple(tensor.shape) != sizes:
        raise ValueError(f"the tensor has shape {tuple(tensor.shape)}, the fit {sizes}")
    rank, order = fit.rank, len(sizes)
    if rank**order > _LARGEST_CORE:
        raise ValueError(
            f"the core of {rank} components in {order} modes has {rank**order:,} entries; take a lower rank"
        )
    if rank == 0:
        return 100.0
    inverses = [np.linalg.pinv(factor * fit.weights ** (1 / order), rcond=1e-10) for factor in fit.factors]
    if isinstance(tensor, SparseTensor):
        core = _sparse_core(tensor, inverses)
    else:
        filled = tensor if mask is None else np.where(mask, fit.to_dense(), tensor)
        if owner(tensor) is not None:  # of one precision, or the tensor would be copied
            inverses = [inverse.astype(tensor.dtype, copy=False) for inverse in inverses]
        core = np.array(to_host(multi_mode_dot(filled, inverses)), np.float64)
    core[(np.arange(rank),) * order] -= 1.0
    return 100.0 * (1.0 - float(np.vdot(core, core)) / rank)


def _sparse_core(tensor: SparseTensor, inverses: Sequence[Array]) -> Floats:
    """tensor x_n inverses[n], (R, ..., R), from the entries in blocks."""
    rank = inverses[0].shape[0]
    core = np.zeros((rank, rank ** (tensor.order - 1)))
    rows = max(1, _BLOCK // core.shape[1])
    for begin in range(0, tensor.nnz, rows):
        picked = slice(begin, begin + rows)
        parts = [inverse.T[place[picked]] for inverse, place in zip(inverses, tensor.coordinates, strict=True)]
        rest = parts[1]
        for part in parts[2:]:
            rest = (rest[:, :, None] * part[:, None, :]).reshape(rest.shape[0], -1)
        core += (parts[0] * tensor.values[picked, None]).T @ rest
    return core.reshape((rank,) * tensor.order)
