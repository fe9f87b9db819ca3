"""Tucker decomposition of dense tensors: HOSVD, ST-HOSVD and alternating least squares (HOOI).

A tensor of a GPU is decomposed there; what is found is on the host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.results import TuckerFit, signs_of_largest
from tdtool.decompose.tucker_start import start, truncate
from tdtool.decompose.tucker_subspaces import eigen, leading_vectors, row_gram, singular_pairs
from tdtool.decompose.tucker_sweeps import error_of, project, refine
from tdtool.kernels.arrays import as_array, to_host
from tdtool.kernels.modes import norm

Array = NDArray[Any]


def hosvd(tensor: Array, ranks: Sequence[int]) -> TuckerFit:
    """Each mode's factor from the whole tensor, then one projection (De Lathauwer, De Moor, Vandewalle 2000, "HOSVD").

    tensor : (I_0, ..., I_{N-1}) float or complex; ranks : N, each 1 ... I_n. ValueError: sizes that cannot be.
    """
    tensor, ranks, length = check_tucker(tensor, ranks)
    factors = [leading_vectors(tensor, mode, rank) for mode, rank in enumerate(ranks)]
    core = project(tensor, factors)
    return _fit(core, factors, [error_of(tensor, core, factors, length)], "one pass")


def st_hosvd(tensor: Array, ranks: Sequence[int]) -> TuckerFit:
    """Mode by mode on what the modes before have left, the cheapest order first.

    tensor : (I_0, ..., I_{N-1}) float or complex; ranks : N, each 1 ... I_n. The squared error is at most the sum of
    the modes' tail energies. Source: Vannieuwenhoven, Vandebril, Meerbergen 2012, "A new truncation strategy for the
    higher-order singular value decomposition", algorithm 1.
    """
    tensor, ranks, length = check_tucker(tensor, ranks)
    core, factors = truncate(tensor, ranks)
    return _fit(core, factors, [error_of(tensor, core, factors, length)], "one pass")


def tucker_als(
    tensor: Array,
    ranks: Sequence[int],
    *,
    max_iters: int = 50,
    tol: float = 1e-8,
    rng: np.random.Generator | None = None,
) -> TuckerFit:
    """The best factors of some modes in turn, the others held (HOOI), until the relative error stays.

    tensor : (I_0, ..., I_{N-1}) float or complex; ranks : N, each 1 ... I_n. tol : a sweep that changes the relative
    error by less ends the iteration. rng : for the start, which draws random directions where the modes are much larger
    than the ranks; without one, equal tensors give equal results. A sweep projects the tensor on one mode and settles
    all other modes in what is left; two modes take turns in that. errors[0] is that of the start.
    ValueError: sizes that cannot be, or values that are not finite.

    Source: De Lathauwer, De Moor, Vandewalle 2000, "On the best rank-1 and rank-(R1, ..., RN) approximation", alg. 4.2.
    """
    tensor, ranks, length = check_tucker(tensor, ranks)
    core, factors, turns = start(tensor, ranks, np.random.default_rng(0) if rng is None else rng)
    errors = [error_of(tensor, core, factors, length)]
    return _fit(*refine(tensor, core, factors, turns, errors, length, max_iters=max_iters, tol=tol))


def choose_ranks(tensor: Array, max_error: float) -> tuple[int, ...]:
    """The smallest ranks whose discarded singular values promise a relative error of at most `max_error`.

    Each mode may lose max_error^2 / N of the squared norm; ST-HOSVD and HOOI then stay below max_error.
    """
    tensor, _ = _checked(tensor)
    if not 0 <= max_error <= 1:
        raise ValueError(f"max_error is {max_error}; a relative error lies between 0 and 1")
    exact = max_error**2 < 1e6 * np.finfo(tensor.dtype).eps
    ranks = []
    for mode, size in enumerate(tensor.shape):
        if exact:
            energies = singular_pairs(tensor, mode)[0] ** 2
        else:
            energies = np.maximum(eigen(row_gram(tensor, mode), size)[0], 0.0)
        tails = np.cumsum(energies[::-1])[::-1]
        allowed = max(max_error**2 / tensor.ndim, 1e-30) * tails[0]
        ranks.append(max(1, int(np.count_nonzero(tails > allowed))))
    return tuple(min(rank, math.prod(ranks) // rank) if tensor.ndim > 1 else 1 for rank in ranks)


def check_tucker(tensor: Array, ranks: Sequence[int]) -> tuple[Array, tuple[int, ...], float]:
    """The tensor as floating point, the ranks as a tuple, the norm; ValueError where they do not go together."""
    tensor, length = _checked(tensor)
    ranks = tuple(int(rank) for rank in ranks)
    if len(ranks) != tensor.ndim:
        raise ValueError(f"{len(ranks)} ranks for a tensor of {tensor.ndim} modes; give one for each mode")
    for mode, (rank, size) in enumerate(zip(ranks, tensor.shape, strict=True)):
        others = math.prod(ranks) // rank if rank > 0 else 0
        if not 1 <= rank <= size:
            raise ValueError(f"rank {rank} of mode {mode} is not between 1 and its size {size}; shape {tensor.shape}")
        if rank > others:
            raise ValueError(f"rank {rank} of mode {mode} is above the product of the other ranks, {others}")
    return tensor, ranks, length


def _checked(tensor: Array) -> tuple[Array, float]:
    """The tensor as floating point, and its norm."""
    tensor = as_array(tensor)
    if tensor.ndim == 0 or tensor.size == 0:
        raise ValueError(f"a tensor of shape {tensor.shape} holds nothing to decompose")
    if tensor.dtype.kind not in "fc":
        tensor = tensor.astype(np.float64)
    length = norm(tensor)
    if not math.isfinite(length):
        raise ValueError("the tensor holds NaN or infinite values; Tucker needs all values")
    return tensor, length


def _fit(core: Array, factors: Sequence[Array], errors: Sequence[float], stopped: str) -> TuckerFit:
    """The sign convention, and a core of its own memory, on the host."""
    core = to_host(core)
    signs = [signs_of_largest(factor) for factor in factors]
    fixed = tuple(np.ascontiguousarray(factor / sign) for factor, sign in zip(factors, signs, strict=True))
    for mode, sign in enumerate(signs):
        core = core * sign.reshape([-1 if axis == mode else 1 for axis in range(core.ndim)])
    return TuckerFit(np.ascontiguousarray(core), fixed, tuple(errors), stopped)
