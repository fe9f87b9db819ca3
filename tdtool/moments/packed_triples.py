"""The whitened third moment as a k x k x k tensor: formed once, kept, and decomposed wherever there is no corpus.

With the notation of triples.py. A partition adds up the entries a <= b <= c alone, k (k + 1) (k + 2) / 6 of them: a
sixth of the arithmetic, of the memory and of what travels from an executor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.data.corpus import MapReduce, Partials, Rows, State
from tdtool.data.steps import step
from tdtool.moments.triples import Apply, ThirdMoment

_ROWS_AT_ONCE = 4096


def whitened_tensor(map_reduce: MapReduce, moment: ThirdMoment) -> NDArray[np.float64]:
    """M3w, (k, k, k), with the terms in alpha0; one pass over what the engine keeps. Nested in k, as the moment is."""
    (packed,) = map_reduce(packed_step, moment, about="third moment tensor")
    tensor = unpacked(packed, moment.n_topics)
    alpha0, mean = moment.alpha0, moment.mean
    tensor -= alpha0**2 / ((alpha0 + 1) * (alpha0 + 2)) * np.multiply.outer(np.multiply.outer(mean, mean), mean)
    along, twice = np.arange(moment.n_topics), alpha0 / (alpha0 + 2) * mean[:, None]
    tensor[:, along, along] -= twice
    tensor[along, :, along] -= twice.T
    tensor[along, along, :] -= twice.T
    return tensor


@step(reads=("whitened", "triple_scale"), rows=False)
def packed_step(rows: Rows, state: State, moment: ThirdMoment) -> tuple[Partials, State]:
    """Partial float64, `packed`: the documents' and the words' terms of M3w."""
    k = moment.n_topics
    total = np.zeros(k * (k + 1) * (k + 2) // 6)
    whitened, scale = state["whitened"][:, :k], state["triple_scale"] / np.float32(moment.length)
    for part in _parts(0, whitened.shape[0]):
        _add_cubes(total, whitened[part], scale[part])
    words = moment.words(rows.index)
    for part in _parts(words.start, words.stop):
        _add_words(total, moment.whitening[part], moment.z[part], moment.n[part])
    return (total,), {}


def weighted_cubes(rows: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """sum_r scale_r y_r^(x)3, (k, k, k). rows : (n, k) y; scale : (n,)."""
    k = rows.shape[1]
    total = np.zeros(k * (k + 1) * (k + 2) // 6)
    for part in _parts(0, rows.shape[0]):
        _add_cubes(total, rows[part], scale[part])
    return unpacked(total, k)


def unpacked(packed: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """The symmetric (k, k, k) of its entries a <= b <= c, which come with a ascending, then b, then c."""
    tensor = np.empty((k, k, k))
    for first, place in _slabs(k):
        rows, columns = np.triu_indices(k - first)
        values = packed[place]
        for b, c in ((rows + first, columns + first), (columns + first, rows + first)):
            tensor[first, b, c] = values
            tensor[b, first, c] = values
            tensor[b, c, first] = values
    return tensor


def tensor_apply(tensor: NDArray[np.float64]) -> Apply:
    """directions (k, r) with columns u_j -> G (k, r), column j = T(I, u_j, u_j), of a symmetric (k, k, k)."""
    k = tensor.shape[0]
    unfolded = np.ascontiguousarray(tensor).reshape(k * k, k)

    def apply(directions: NDArray[np.float64]) -> NDArray[np.float64]:
        once = (unfolded @ directions).reshape(k, k, directions.shape[1])
        return np.einsum("abj,bj->aj", once, directions)

    return apply


def _slabs(k: int) -> list[tuple[int, slice]]:
    """(a, where the entries a <= b <= c lie) for each a."""
    sizes = [(k - first) * (k - first + 1) // 2 for first in range(k)]
    ends = np.cumsum(sizes).tolist()
    return [(first, slice(end - size, end)) for first, (size, end) in enumerate(zip(sizes, ends, strict=True))]


def _parts(first: int, last: int) -> Iterator[slice]:
    """first ... last, some thousands at a time."""
    return (slice(start, min(start + _ROWS_AT_ONCE, last)) for start in range(first, last, _ROWS_AT_ONCE))


def _add_cubes(total: NDArray[np.float64], rows: NDArray[Any], scale: NDArray[Any]) -> None:
    """Add sum_d scale_d y_d^(x)3. rows : (n, k); scale : (n,)."""
    for first, place in _slabs(rows.shape[1]):
        later = rows[:, first:]
        slab = later.T @ (later * (scale * rows[:, first])[:, None])
        total[place] += slab[np.triu_indices(later.shape[1])]


def _add_words(
    total: NDArray[np.float64], v: NDArray[np.float32], z: NDArray[np.float32], n: NDArray[np.float32]
) -> None:
    """Add sum_i 2 n_i v_i^(x)3 - sym3(v_i (x) v_i (x) z_i). v, z : (words, k); n : (words,)."""
    for first, place in _slabs(v.shape[1]):
        later = v[:, first:]
        mixed = v[:, first, None] * z[:, first:]
        twice = (2 * n * v[:, first] - z[:, first])[:, None] * later
        slab = later.T @ (twice - mixed) - mixed.T @ later
        total[place] += slab[np.triu_indices(later.shape[1])]
