"""Sketches of symmetric tensors of order 3: one hash function serves all modes ("colliding").

Only the entries i < j < k are hashed, with sign s(i) s(j) s(k) at place h(i) + h(j) + h(k) modulo L; those with an
index twice, T_ijj, are few, n^2, and kept as they are. That makes real signs unbiased: the complex ones that Wang,
Tung, Smola, Anandkumar 2015 draw are there because s(i)^2 = 1 would let T_iij and T_kkj meet without a sign. Numbers
stored are as many for equal variance, and real transforms take half the time.

An estimate of T(I, u, u) has variance ||T||^2 ||u||^4 / (3 L) an entry, a third of that with a function for every mode;
one of T(u, u, u) has the same, ||T||^2 ||u||^6 / L. With p1 the transform of the count sketch of u, the entries
i < j < k of u (x) u (x) u are the third elementary symmetric function (p1^3 - 3 p1 p2 + 2 p3) / 6; p1 p2 and p3 are of
the entries with an index twice and thrice, and are made from those, without transforms of columns.

Sketches of tensors of a GPU are made and kept there; answers that are vectors come back to the host, and what is asked
about may lie on either side.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from tdtool.kernels import sketch_cpu, sketch_gpu
from tdtool.kernels.arrays import like, namespace, to_host
from tdtool.kernels.device_gpu import Gpu, owner
from tdtool.kernels.hashing import HashFamily, hash_family
from tdtool.kernels.sketch import column_blocks, gather, parseval_weights, spectra, squared_norm

#: Products of three signs on either side must have independent factors.
_INDEPENDENCE = 6


@dataclasses.dataclass(frozen=True)
class SymmetricSketch:
    """Sketch of a symmetric tensor T (n, n, n).

    spectrum : (B, L // 2 + 1) complex, transform of the sketch of the entries i < j < k; pairs : (n, n), T_ijj.
    Linear in T: sketches made with the same hashes add up.
    """

    family: HashFamily
    spectrum: NDArray[Any]
    pairs: NDArray[Any]

    def __add__(self, other: SymmetricSketch) -> SymmetricSketch:
        """Of the sum of the tensors."""
        return SymmetricSketch(self.family, self.spectrum + other.spectrum, self.pairs + other.pairs)

    def __sub__(self, other: SymmetricSketch) -> SymmetricSketch:
        """Of the difference of the tensors."""
        return SymmetricSketch(self.family, self.spectrum - other.spectrum, self.pairs - other.pairs)

    def norm(self) -> float:
        """Estimate of the Frobenius norm: 6 equal entries for each one that is hashed, 3 for each of `pairs`."""
        distinct = 6 * squared_norm(self.spectrum, self.family.hash_length)
        pairs, diagonal = to_host((self.pairs**2).sum()), to_host((self.pairs.diagonal() ** 2).sum())
        return math.sqrt(distinct + 3 * pairs - 2 * diagonal)

    def to_device(self, gpu: Gpu) -> SymmetricSketch:
        """A copy on a GPU."""
        return SymmetricSketch(self.family, gpu.to_device(self.spectrum), gpu.to_device(self.pairs))

    def along(self, directions: NDArray[Any]) -> NDArray[Any]:
        """Estimates of T(I, u_r, u_r) for the columns of `directions` (n, R): (n, R), median over the repeats."""
        out, gpu = np.empty(directions.shape[::-1], directions.dtype), owner(self.spectrum)
        spectrum = self.spectrum.astype(np.result_type(directions.dtype, np.complex64))
        directions = like(directions, self.spectrum)
        for block in column_blocks(directions.shape[1], self.family, 3, gpu):
            columns = spectra(directions[:, block], self.family)
            if gpu is None:
                sketch_cpu.correlate_squares(spectrum, columns)
            else:
                columns = sketch_gpu.correlate(gpu, spectrum, [columns] * 2)
            gather(columns, self.family, out[block])
        diagonal = self.pairs.diagonal()[:, None]
        squares = directions * directions
        twice = self.pairs.T @ directions
        return out.T + to_host(2 * directions * twice + self.pairs @ squares - 2 * diagonal * squares)

    def repeated_along(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Sums of the columns T_ijj over j, with the weights `vectors` (n, R): (n, R) in the span of the components."""
        return to_host(self.pairs @ like(vectors, self.pairs))

    def values(self, directions: NDArray[Any]) -> NDArray[np.float64]:
        """Estimates of T(u_r, u_r, u_r) for the columns of `directions` (n, R): (R,), without an inverse transform."""
        directions = like(directions, self.spectrum)
        found = self._repeated(directions)
        for block in column_blocks(directions.shape[1], self.family, 2, owner(self.spectrum)):
            found[block] += self._distinct(spectra(directions[:, block], self.family))
        return found

    def projected(self, directions: NDArray[Any]) -> tuple[NDArray[np.float64], SymmetricSketch]:
        """Estimates w_r of T(u_r, u_r, u_r), (R,), and the sketch of sum_r w_r u_r (x) u_r (x) u_r, in one go."""
        directions = like(directions, self.spectrum)
        weights, total = self._repeated(directions), namespace(self.spectrum).zeros(self.spectrum.shape, np.complex128)
        for block in column_blocks(weights.size, self.family, 2, owner(self.spectrum)):
            columns = spectra(directions[:, block], self.family)
            weights[block] += self._distinct(columns)
            _add_cubes(columns, weights[block].astype(directions.dtype), total)
        pairs = (directions * like(weights, directions)) @ (directions * directions).T
        return weights, from_cubes(self.family, total, pairs)

    def _distinct(self, columns: NDArray[Any]) -> NDArray[np.float64]:
        """What the entries i < j < k give to T(u_r, u_r, u_r), median over the repeats: (R,). columns : spectra."""
        gpu = owner(columns)
        if gpu is not None:
            found = gpu.to_host(sketch_gpu.inner_products(gpu, self.spectrum, [columns] * 3, self.family.hash_length))
            return np.asarray(np.median(found, axis=0))
        found = np.empty(columns.shape[:2])
        sketch_cpu.cube_products(self.spectrum, columns, parseval_weights(self.family.hash_length), found)
        return np.asarray(np.median(found, axis=0))

    def _repeated(self, directions: NDArray[Any]) -> NDArray[np.float64]:
        """What the entries with an index twice or thrice give to T(u_r, u_r, u_r): (R,), exact."""
        diagonal = self.pairs.diagonal()[:, None]
        along = 3 * (self.pairs.T @ directions) - 2 * diagonal * directions
        return np.asarray(to_host((directions * directions * along).sum(axis=0)), np.float64)


def symmetric_hashes(size: int, hash_length: int, n_hashes: int, *, rng: np.random.Generator) -> HashFamily:
    """Hash functions that may serve all three modes: 6-wise independent."""
    return hash_family(size, hash_length, n_hashes, independence=_INDEPENDENCE, rng=rng)


def symmetric_sketch(tensor: NDArray[Any], family: HashFamily) -> SymmetricSketch:
    """Sketch of a dense symmetric tensor (n, n, n), float32 or float64, that is taken to be symmetric."""
    if tensor.shape != (family.size,) * 3 or tensor.dtype.kind != "f":
        raise ValueError(
            f"the hash functions are for order 3 and size {family.size}, real; not {tensor.dtype} {tensor.shape}"
        )
    gpu = owner(tensor)
    if gpu is not None:
        spectrum = sketch_gpu.transform(gpu, sketch_gpu.distinct_sketch(gpu, tensor, family))
        return SymmetricSketch(family, spectrum, gpu.xp.einsum("ijj->ij", tensor).copy())
    out = np.zeros((family.n_hashes, family.hash_length), tensor.dtype)
    for repeat in range(family.n_hashes):
        sketch_cpu.sketch_distinct(tensor, family.buckets[repeat], family.signs[repeat], out[repeat])
    return SymmetricSketch(family, np.asarray(fft.rfft(out, axis=-1)), np.einsum("ijj->ij", tensor).copy())


def symmetric_kruskal_sketch(weights: NDArray[Any], vectors: NDArray[Any], family: HashFamily) -> SymmetricSketch:
    """Sketch of sum_r weights_r u_r (x) u_r (x) u_r: weights (R,), vectors (n, R); one transform for each column.

    It is made where the vectors lie.
    """
    total = namespace(vectors).zeros((family.n_hashes, family.hash_length // 2 + 1), np.complex128)
    for block in column_blocks(weights.size, family, 2, owner(vectors)):
        _add_cubes(spectra(vectors[:, block], family), weights[block].astype(vectors.dtype), total)
    return from_cubes(family, total, (vectors * like(weights, vectors)) @ (vectors * vectors).T)


def _add_cubes(columns: NDArray[Any], weights: NDArray[Any], out: NDArray[Any]) -> None:
    """out (B, F) complex128 += sum_r weights_r columns_r^3; columns : (B, R, F) spectra; weights : (R,) of the host."""
    gpu = owner(columns)
    if gpu is None:
        sketch_cpu.add_products(columns, columns, weights, out)
    else:
        sketch_gpu.add_products(gpu, [columns] * 3, gpu.to_device(weights), out)


def from_cubes(family: HashFamily, cubes: NDArray[Any], pairs: NDArray[Any]) -> SymmetricSketch:
    """A sketch from the transform of all entries, as products of transforms of vectors give it, and the entries T_ijj.

    cubes : (B, L // 2 + 1) complex, sum of p1^3; pairs : (n, n), exact.
    """
    gpu = owner(pairs)
    if gpu is not None:
        twice = gpu.xp.where(gpu.xp.eye(family.size, dtype=bool), -pairs, -3 * pairs)
        repeated = sketch_gpu.transform(gpu, sketch_gpu.pairs_sketch(gpu, twice, family))
        return SymmetricSketch(family, (cubes + repeated) / 6, pairs)
    twice = -3 * pairs
    np.fill_diagonal(twice, -np.diagonal(pairs))
    repeated = np.zeros((family.n_hashes, family.hash_length), pairs.dtype)
    for repeat in range(family.n_hashes):
        sketch_cpu.sketch_pairs(twice, family.buckets[repeat], family.signs[repeat], repeated[repeat])
    return SymmetricSketch(family, (cubes + fft.rfft(repeated, axis=-1)) / 6, pairs)
