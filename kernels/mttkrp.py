"""The matricised tensor times Khatri-Rao product (MTTKRP), the work of every CP sweep, for dense and sparse tensors.

Letters: N order, I_n size of mode n, R rank.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence, Sequence
from typing import Any

from numpy.typing import NDArray

from tdtool.kernels.mttkrp_dense import dense_mttkrp
from tdtool.kernels.mttkrp_tree import split_mode, tree_sweep
from tdtool.kernels.operands import checked_factors, checked_mode, floating
from tdtool.kernels.sparse_tensor import SparseTensor, sparse_mttkrp

Array = NDArray[Any]


def mttkrp(tensor: Array | SparseTensor, factors: Sequence[Array], mode: int) -> Array:
    """unfold(tensor, mode) @ khatri_rao(the other factors in order): (I_n, R).

    factors : N arrays (I_n, R); of factors[mode] only the shape and the type count. A dense tensor may have any strides
    and is not copied; the workspace is bounded. As many threads share the work as `threads.using` allows; the result
    does not depend on them. Of a tensor of a GPU the product is made there, in the tensor's precision, and comes back
    to the host; the factors may lie on either.
    ValueError: sizes that do not match, no such mode.

    Source: Bader and Kolda 2007, "Efficient MATLAB computations with sparse and factored tensors", section 5.
    """
    if isinstance(tensor, SparseTensor):
        return sparse_mttkrp(tensor, factors, mode)
    tensor = floating(tensor)
    return dense_mttkrp(tensor, checked_factors(tensor.shape, factors), checked_mode(mode, tensor.ndim))


def mttkrp_sweep(
    tensor: Array | SparseTensor,
    factors: MutableSequence[Array],
    update: Callable[[int, Array], Array],
) -> None:
    """factors[mode] = update(mode, mttkrp(tensor, factors, mode)) for mode 0, 1, ..., N - 1.

    factors : N arrays (I_n, R), changed in place; each update sees what the updates before it have made. A dense tensor
    is read twice, whatever its order, where the partial products fit in half its size. ValueError: sizes that do not
    match.

    Source: Phan, Tichavsky, Cichocki 2013, "Fast alternating LS algorithms for high order CANDECOMP/PARAFAC tensor
    factorizations", section III.
    """
    if not isinstance(tensor, SparseTensor):
        tensor = floating(tensor)
        rank = checked_factors(tensor.shape, factors)[0].shape[1] if tensor.ndim else 0
        split = split_mode(tensor, rank)
        if split is not None:
            tree_sweep(tensor, factors, update, split)
            return
    for mode in range(len(tensor.shape)):
        factors[mode] = update(mode, mttkrp(tensor, factors, mode))
