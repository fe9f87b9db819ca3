"""Slow twins of the tensor kernels: the formulas of Kolda and Bader 2009, by numpy.einsum and index by index."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_LETTERS = "abcdefgh"


def unfolded(tensor: Array, mode: int) -> Array:
    """Entry (i_0, ..) to row i_mode and column sum_m i_m prod of the later sizes, both without `mode`."""
    others = [other for other in range(tensor.ndim) if other != mode]
    matrix = np.zeros((tensor.shape[mode], math.prod(tensor.shape[other] for other in others)), tensor.dtype)
    for place in itertools.product(*map(range, tensor.shape)):
        column = 0
        for other in others:
            column = column * tensor.shape[other] + place[other]
        matrix[place[mode], column] = tensor[place]
    return matrix


def mode_product(tensor: Array, matrix: Array, mode: int) -> Array:
    """tensor x_mode matrix, matrix (J, I)."""
    letters = _LETTERS[: tensor.ndim]
    result = letters.replace(letters[mode], "z")
    return np.einsum(f"{letters},z{letters[mode]}->{result}", tensor, matrix)


def mttkrp_oracle(tensor: Array, factors: Sequence[Array], mode: int) -> Array:
    """(I_mode, R): the tensor times every other factor, summed over all modes but this one and the rank."""
    letters = _LETTERS[: tensor.ndim]
    others = [other for other in range(tensor.ndim) if other != mode]
    terms = ",".join([letters, *(letters[other] + "z" for other in others)])
    if not others:
        return np.repeat(tensor[:, None], factors[0].shape[1], axis=1)
    return np.einsum(f"{terms}->{letters[mode]}z", tensor, *(factors[other] for other in others))


def sweep_oracle(tensor: Array, factors: Sequence[Array], update: Callable[[int, Array], Array]) -> list[Array]:
    """The factors after one sweep, by one MTTKRP for each mode."""
    current = list(factors)
    for mode in range(tensor.ndim):
        current[mode] = update(mode, mttkrp_oracle(tensor, current, mode))
    return current


def model(weights: Array, factors: Sequence[Array]) -> Array:
    """The dense CP model sum_r weights_r a_r o b_r o ..."""
    letters = _LETTERS[: len(factors)]
    terms = ",".join(["z", *(letter + "z" for letter in letters)])
    return np.einsum(f"{terms}->{letters}", weights, *factors)


def layouts(tensor: Array) -> dict[str, Array]:
    """Arrays equal to the tensor that lie in memory in as many ways."""
    order = tensor.ndim
    spread = np.zeros([2 * size + 1 for size in tensor.shape], tensor.dtype)
    every_other = spread[tuple(slice(1, 2 * size, 2) for size in tensor.shape)]
    every_other[...] = tensor
    cut = np.zeros([size + 1 for size in tensor.shape], tensor.dtype)[tuple(slice(0, size) for size in tensor.shape)]
    cut[...] = tensor
    backwards = (slice(None, None, -1),) * order
    rolled = [*range(1, order), 0] if order > 1 else [0]
    return {
        "C": tensor.copy(),
        "F": np.asfortranarray(tensor),
        "every other": every_other,
        "cut out": cut,
        "backwards": tensor[backwards].copy()[backwards],
        "rolled": tensor.transpose(rolled).copy().transpose(np.argsort(rolled)),
        "half backwards": np.asfortranarray(tensor[::-1])[::-1],
    }


def draw(rng: np.random.Generator, shape: Sequence[int], dtype: Any = np.float64) -> Array:
    """Normal numbers of a dtype; complex ones in both parts."""
    numbers = rng.standard_normal(tuple(shape))
    if np.dtype(dtype).kind == "c":
        numbers = numbers + 1j * rng.standard_normal(tuple(shape))
    return numbers.astype(dtype)
