"""What components say to a person: their size, and the places along each mode where they are strongest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.ranking import largest

Labels = Sequence[Sequence[str] | None]
_CORE_SHOWN = 10
_SMOOTH, _SMOOTH_SIZE, _LEAST_PEAK = 0.2, 16, 0.1


def cp_components(
    weights: NDArray[Any],
    factors: Sequence[NDArray[Any]],
    names: Sequence[str],
    labels: Labels,
    squares: float,
    n_top: int,
) -> list[dict[str, Any]]:
    """component, weight, share, modes [{mode, top [(label, value)]}] of each component.

    weights : (R,); factors : N arrays (I_n, R), unit columns; names, labels : of the modes; squares : the tensor's sum
    of squares, of which the component's own is the share; n_top : entries of the largest magnitude, of each mode.
    """
    return [
        {
            "component": r,
            "weight": float(weight),
            "share": float(weight) ** 2 / squares if squares > 0 else 0.0,
            "modes": [
                {"mode": name, "top": top_entries(factor[:, r], texts, n_top)}
                for name, factor, texts in zip(names, factors, labels, strict=True)
            ],
        }
        for r, weight in enumerate(weights)
    ]


def tucker_modes(
    core: NDArray[Any],
    factors: Sequence[NDArray[Any]],
    names: Sequence[str],
    labels: Labels,
    squares: float,
    n_top: int,
) -> list[dict[str, Any]]:
    """mode, size, components [{component, share, top}] of each mode. core : (J_0, ...), the rest as above."""
    modes = []
    for mode, (name, factor, texts) in enumerate(zip(names, factors, labels, strict=True)):
        others = tuple(axis for axis in range(core.ndim) if axis != mode)
        sums = np.asarray(np.sum(np.abs(core) ** 2, axis=others, dtype=np.float64))
        components = [
            {"component": j, "share": share, "top": top_entries(factor[:, j], texts, n_top)}
            for j, share in enumerate((sums / (squares or 1.0)).tolist())
        ]
        modes.append({"mode": name, "size": factor.shape[0], "components": components})
    return modes


def core_entries(core: NDArray[Any], squares: float) -> list[dict[str, Any]]:
    """components (one a mode), value, share of the largest entries of a core, largest first."""
    flat = core.reshape(-1)
    places = largest(np.abs(flat), min(_CORE_SHOWN, flat.size))
    return [
        {
            "components": [int(i) for i in np.unravel_index(place, core.shape)],
            "value": plain_number(flat[place]),
            "share": float(abs(flat[place])) ** 2 / (squares or 1.0),
        }
        for place in places.tolist()
    ]


def top_entries(column: NDArray[Any], labels: Sequence[str] | None, n: int) -> list[tuple[str, Any]]:
    """(label, value) of the n largest magnitudes of (I,) `column`; "[7]" is place 7 of a mode without labels.

    Of a smooth column without labels, a spectrum say, only the peaks: their neighbours tell nothing new.
    """
    sizes = np.abs(column)
    if labels is None and _is_smooth(column):
        sizes = np.where(_peaks(sizes) & (sizes > _LEAST_PEAK * sizes.max()), sizes, 0)
    places = [i for i in largest(sizes, n).tolist() if sizes[i] > 0]
    return [(f"[{i}]" if labels is None else labels[i], plain_number(column[i])) for i in places]


def _is_smooth(column: NDArray[Any]) -> bool:
    """Whether neighbours are alike: the ratio of von Neumann 1941, which is 2 for independent values, is near 0."""
    if column.size < _SMOOTH_SIZE:
        return False
    spread = float(np.sum(np.abs(column - column.mean()) ** 2))
    return float(np.sum(np.abs(np.diff(column)) ** 2)) < _SMOOTH * spread


def _peaks(sizes: NDArray[Any]) -> NDArray[np.bool_]:
    """Places that are larger than the one before and not smaller than the next."""
    around = np.concatenate([[-1], sizes, [-1]])
    return (sizes > around[:-2]) & (sizes >= around[2:])


def plain_number(value: Any) -> float | list[float]:
    """A number for JSON: a complex one as [real, imaginary]."""
    return [float(value.real), float(value.imag)] if np.iscomplexobj(value) else float(value)


def squares_of(norm: float, n_cells: int, n_missing: int) -> float:
    """Sum of squares of a tensor, those of missing values taken for as large as the others."""
    return norm**2 * n_cells / (n_cells - n_missing) if math.isfinite(norm) else math.nan
