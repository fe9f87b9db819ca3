"""Is a CP model the only one that fits, and is it a healthy one: Kruskal's condition, degenerate components."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.results import unit_columns

Array = NDArray[np.float64]

#: All subsets of columns are looked at up to this rank (4,095 of them); beyond, the k-rank is bounded from below.
EXACT_RANK = 12
#: Unit columns whose smallest singular value is below this count as dependent.
DEPENDENT = 1e-6
#: Two components cancel each other below this cosine (Krijnen, Dijkstra and Stegeman 2008 take -0.85 to -0.9) ...
OPPOSED = -0.85
#: ... and are one and the same above this.
DOUBLED = 0.98
#: Weights diverge when their sum exceeds the norm of the model by this factor times sqrt(R).
DIVERGING = 5.0


@dataclasses.dataclass(frozen=True)
class KruskalReport:
    """k_ranks : of every mode, the largest k such that any k columns of its factor are independent.

    exact : false when a k-rank is only bounded from below. needed : what the k-ranks must add up to, 2R + N - 1.
    unique : Kruskal's condition holds, so the components are unique; false proves nothing unless `text` says so.
    text : the verdict for a person.
    """

    k_ranks: tuple[int, ...]
    exact: bool
    needed: int
    unique: bool
    text: str


def kruskal(factors: Sequence[Array]) -> KruskalReport:
    """Kruskal's sufficient condition for a unique CP model: the k-ranks of N modes add up to 2R + N - 1 or more.

    factors : N arrays (I_n, R) float. Columns count as dependent when the smallest singular value of the unit columns
    is below 1e-6. Raises ValueError for factors without a common rank, or with values that are not finite.

    Sources: Kruskal 1977; Sidiropoulos and Bro 2000, "On the uniqueness of multilinear decomposition of N-way arrays",
    theorem 1; what proves the contrary: Liu and Sidiropoulos 2001, "Cramer-Rao lower bounds for low-rank decomposition
    of multidimensional arrays" (Khatri-Rao products of full rank are necessary), ten Berge and Sidiropoulos 2002 (for
    order 3 and R = 2, 3 Kruskal's condition is necessary).
    """
    columns = [unit_columns(factor)[0] for factor in _checked(factors)]
    order, rank = len(columns), columns[0].shape[1]
    found = [k_rank(column) for column in columns]
    k_ranks, exact = tuple(k for k, _ in found), all(is_exact for _, is_exact in found)
    needed = 2 * rank + order - 1
    alone = rank == 1 and min(k_ranks) == 1
    unique = alone or (rank > 1 and order > 2 and sum(k_ranks) >= needed)
    sums = f"k-ranks {' + '.join(map(str, k_ranks))} = {sum(k_ranks)}{'' if exact else ' or more'}, {needed} needed"
    if alone:
        text = "unique up to scale: one component always is"
    elif unique:
        text = f"unique up to order and scale by Kruskal's condition ({sums})"
    elif contrary := _why_not_unique(columns, k_ranks):
        text = f"not unique: {contrary} ({sums} by Kruskal's condition)"
    else:
        text = f"Kruskal's condition does not hold ({sums}); the components may be unique all the same"
    return KruskalReport(k_ranks, exact, needed, unique, text)


def k_rank(factor: Array) -> tuple[int, bool]:
    """(k, exact): the largest k such that any k of the columns of (I, R) `factor` are independent, or a lower bound.

    Exact up to R = 12, and where the rank, a doubled column, few subsets or the bound settle it; else k >= 1/mu, mu the
    largest cosine between two columns (Donoho and Elad 2003: a dependent set has more than 1/mu columns).
    """
    (checked,) = _checked([factor])
    columns = unit_columns(checked)[0]
    n_columns = columns.shape[1]
    if n_columns == 0 or not columns.any(axis=0).all():
        return 0, True
    small: Array = np.asarray(np.linalg.qr(columns, mode="r"))
    rank = int(np.sum(np.linalg.svd(small, compute_uv=False) > DEPENDENT))
    if rank == n_columns:
        return rank, True
    if rank < 2 or _some_dependent(small, 2):
        return 1, True
    few = 2 * rank <= n_columns and math.comb(n_columns, rank) <= 2**EXACT_RANK
    if n_columns > EXACT_RANK and not few:
        largest = np.abs(np.triu(columns.T @ columns, 1)).max()
        bound = min(rank, max(2, math.ceil(1 / largest - 1e-9)))
        return bound, bound == rank
    low, high = 2, rank  # any `low` columns are independent, some `high + 1` are not
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (low, middle - 1) if _some_dependent(small, middle) else (middle, high)
    return low, True


def degeneracy(weights: Array, factors: Sequence[Array]) -> tuple[str, ...]:
    """Warnings for a person about components that cancel, double or diverge; none when the model is healthy.

    weights : (R,) float, of any sign; factors : N arrays (I_n, R) float. Components are counted from 0. The cosine of
    two components is the product over the modes of the cosines of their columns, with the signs of their weights.

    Source: Krijnen, Dijkstra and Stegeman 2008, "On the non-existence of optimal solutions and the occurrence of
    'degeneracy' in the CANDECOMP/PARAFAC model".
    """
    arrays = _checked(factors)
    signed = np.array(weights, np.float64)
    cosines = np.ones((signed.size, signed.size))
    for array in arrays:
        columns, lengths = unit_columns(array)
        signed = signed * lengths
        cosines *= columns.T @ columns
    cosines *= np.sign(np.outer(signed, signed))
    sizes = np.abs(signed)
    norm = math.sqrt(max(float(sizes @ cosines @ sizes), 0.0))
    warnings = [_pair_warning(r, s, cosines[r, s], sizes, norm) for r, s in _unhealthy_pairs(cosines)]
    if sizes.sum() > DIVERGING * math.sqrt(sizes.size) * norm:
        warnings.append(
            f"the weights diverge: they add up to {sizes.sum():.3g} in a model of norm {norm:.3g}; "
            "a best model of this rank may not exist: take a lower rank or non-negative factors"
        )
    return (*warnings, *(f"component {r} is empty: take a lower rank" for r in np.flatnonzero(sizes == 0)))


def _unhealthy_pairs(cosines: Array) -> list[tuple[int, int]]:
    rows, columns = np.nonzero(np.triu((cosines < OPPOSED) | (cosines > DOUBLED), 1))
    return [(int(r), int(s)) for r, s in zip(rows, columns, strict=True)]


def _pair_warning(r: int, s: int, cosine: float, sizes: Array, norm: float) -> str:
    if cosine > 0:
        return f"components {r} and {s} are nearly the same (cosine {cosine:.3f}): take a lower rank"
    return (
        f"components {r} and {s} nearly cancel (cosine {cosine:.3f}): their weights {sizes[r]:.3g} and {sizes[s]:.3g} "
        f"mean little in a model of norm {norm:.3g}; take a lower rank or non-negative factors"
    )


def _why_not_unique(columns: list[Array], k_ranks: tuple[int, ...]) -> str:
    """What proves that other components fit as well, or nothing."""
    order, rank = len(columns), columns[0].shape[1]
    if rank == 0 or min(k_ranks) == 0:
        return "a component is empty"
    if order <= 2:
        return "the factors of a matrix can be turned"
    cosines = [np.abs(column.T @ column) for column in columns]
    parallel = np.sum([cosine > 1 - DEPENDENT**2 / 2 for cosine in cosines], axis=0)
    pairs = np.argwhere(np.triu(parallel >= order - 2, 1))
    if pairs.size:
        return f"components {pairs[0, 0]} and {pairs[0, 1]} differ in two modes at most, where they can be turned"
    for mode in range(order):
        product = np.prod([column.T @ column for n, column in enumerate(columns) if n != mode], axis=0)
        if np.linalg.eigvalsh(product)[0] < DEPENDENT**2:
            return f"the components are dependent without mode {mode}"
    return f"for rank {rank} and order 3 the condition is also necessary" if order == 3 and rank <= 3 else ""


def _some_dependent(columns: Array, size: int) -> bool:
    """Whether some `size` of the unit columns (I, R) are dependent."""
    if size == 2:  # the smallest singular value of two unit columns is sqrt(1 - |cosine|)
        first, second = np.nonzero(np.triu(np.abs(columns.T @ columns) > 1 - 1e-9, 1))
        subsets = np.stack([first, second], axis=1)
    else:
        subsets = np.array(list(itertools.combinations(range(columns.shape[1]), size)))
    for begin in range(0, len(subsets), 256):
        batch = columns[:, subsets[begin : begin + 256]].transpose(1, 0, 2)
        if np.linalg.svd(batch, compute_uv=False)[:, -1].min() < DEPENDENT:
            return True
    return False


def _checked(factors: Sequence[Array]) -> list[Array]:
    """The factors in float64, or ValueError."""
    arrays = [np.asarray(factor) for factor in factors]
    if not arrays or any(array.ndim != 2 for array in arrays):
        raise ValueError("want one matrix (size of the mode, rank) for each mode")
    if len({array.shape[1] for array in arrays}) > 1:
        raise ValueError(f"factors have {[array.shape[1] for array in arrays]} columns; they need the same rank")
    if any(array.dtype.kind not in "fiu" or not np.isfinite(array).all() for array in arrays):
        raise ValueError("factors must be real and finite")
    return [array.astype(np.float64, copy=False) for array in arrays]
