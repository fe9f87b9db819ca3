"""Sketches of tensors: short signed hashes from which contractions with vectors are read off, without the tensor.

The tensor sketch (Pham and Pagh 2013; Wang, Tung, Smola, Anandkumar 2015, "Fast and guaranteed tensor decomposition via
sketching") sends entry (i, j, k) with sign s1(i) s2(j) s3(k) to place h1(i) + h2(j) + h3(k) modulo L. The sketch of an
outer product is the circular convolution of the count sketches of its vectors, so its Fourier transform is a product:
everything here is kept as that transform, rfft over the places, (B, L // 2 + 1) for B independent repeats, and every
answer is the median over the repeats. In each, the variance of T(u, v, w) is ||T||^2 ||u||^2 ||v||^2 ||w||^2 / L.

Memory is O(B L) beyond the answers: columns are treated in blocks. Fourier transforms run on as many threads as
`scipy.fft.set_workers` allows, and give the same bits on any.

Sketches of tensors of a GPU are made and kept there (sketch_gpu.py). Their answers come back to the host; what they
are asked about may lie on either side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from tdtool.kernels import sketch_cpu, sketch_gpu
from tdtool.kernels.arrays import like
from tdtool.kernels.device_gpu import Gpu, owner
from tdtool.kernels.hashing import HashFamily, hash_family
from tdtool.kernels.sparse_tensor import SparseTensor

#: Working memory of the spectra of a block of columns, and entries of a sparse tensor at once.
_BLOCK_BYTES, _ENTRIES = 1 << 25, 1 << 18


def count_sketch(matrix: NDArray[Any], family: HashFamily) -> NDArray[Any]:
    """Count sketches of the columns of `matrix` (n, R), float32 or float64: (B, R, L) of the same type.

    Source: Charikar, Chen, Farach-Colton 2002. Place t adds up signs[b, i] matrix[i] over buckets[b, i] = t.
    """
    if matrix.ndim != 2 or matrix.shape[0] != family.size:
        raise ValueError(f"the hash functions are for {family.size} rows; the matrix is of shape {matrix.shape}")
    gpu = owner(matrix)
    if gpu is not None:
        return sketch_gpu.count_sketch(gpu, matrix, family)
    vectors = np.ascontiguousarray(matrix.T)
    out = np.zeros((family.n_hashes, vectors.shape[0], family.hash_length), vectors.dtype)
    for repeat in range(family.n_hashes):
        sketch_cpu.count_sketch(vectors, family.buckets[repeat], family.signs[repeat], out[repeat])
    return out


def spectra(matrix: NDArray[Any], family: HashFamily) -> NDArray[Any]:
    """Fourier transforms of the count sketches of the columns of `matrix` (n, R): (B, R, L // 2 + 1) complex."""
    return _transform(count_sketch(matrix, family))


@dataclasses.dataclass(frozen=True)
class TensorSketch:
    """Sketch of a tensor of order N, each mode with hash functions of its own.

    hashes : N families of the same B and L; spectrum : (B, L // 2 + 1) complex.
    """

    hashes: tuple[HashFamily, ...]
    spectrum: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return tuple(family.size for family in self.hashes)

    def __add__(self, other: TensorSketch) -> TensorSketch:
        """Of the sum of the tensors; both must have been made with the same hashes."""
        return dataclasses.replace(self, spectrum=self.spectrum + other.spectrum)

    def __sub__(self, other: TensorSketch) -> TensorSketch:
        """Of the difference of the tensors; both must have been made with the same hashes."""
        return dataclasses.replace(self, spectrum=self.spectrum - other.spectrum)

    def norm(self) -> float:
        """Estimate of the Frobenius norm, good to about 1 / sqrt(L): sums of squares are kept on average."""
        return float(np.sqrt(squared_norm(self.spectrum, self.hashes[0].hash_length)))

    def inner(self, factors: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Estimates of T(a_r, b_r, ...) for the columns of N matrices (I_n, R): (R,)."""
        rank = self._check(factors, None)
        found, factors = np.empty(rank, np.float64), [like(factor, self.spectrum) for factor in factors]
        for block in column_blocks(rank, self.hashes[0], len(self.hashes) + 1, owner(self.spectrum)):
            columns = [_columns(factors, self.hashes, mode, block, None) for mode in range(len(factors))]
            found[block] = np.median(parseval(self.spectrum, columns, self.hashes[0].hash_length), axis=0)
        return found

    def mttkrp(
        self, factors: Sequence[NDArray[Any]], mode: int, *, kept: Sequence[NDArray[Any]] | None = None
    ) -> NDArray[Any]:
        """Estimate of the (I_mode, R) matrix of T(a_r, ..., I, ..., z_r), by the columns of the other factors.

        factors : N matrices (I_n, R), the one of `mode` is not read; kept : their `spectra`, where they are at hand.
        Source: Wang et al. 2015, equation (4).
        """
        rank = self._check(factors, mode)
        family = self.hashes[mode]
        others = [m for m in range(len(self.hashes)) if m != mode]
        out = np.empty((rank, family.size), np.result_type(np.float32, *(factors[m].dtype for m in others)))
        if kept is None:
            factors = [like(factor, self.spectrum) for factor in factors]
        for block in column_blocks(rank, family, len(others) + 2, owner(self.spectrum)):
            columns = [_columns(factors, self.hashes, m, block, kept) for m in others]
            read_off(self.spectrum, columns, family, out[block])
        return out.T

    def _check(self, factors: Sequence[NDArray[Any]], mode: int | None) -> int:
        read = [f for m, f in enumerate(factors) if m != mode]
        sizes = [h.size for m, h in enumerate(self.hashes) if m != mode]
        ranks = {f.shape[1] for f in read if f.ndim == 2}
        if len(factors) != len(self.hashes) or len(ranks) != 1 or [f.shape[0] for f in read] != sizes:
            shapes = [f.shape for f in factors]
            raise ValueError(f"factors of shapes {shapes} do not match a sketch of a tensor of shape {self.shape}")
        return int(ranks.pop())


def draw_hashes(
    shape: Sequence[int], hash_length: int, n_hashes: int, *, rng: np.random.Generator
) -> tuple[HashFamily, ...]:
    """Hash functions for every mode of a tensor of `shape`."""
    return tuple(hash_family(size, hash_length, n_hashes, rng=rng) for size in shape)


def tensor_sketch(
    tensor: NDArray[Any] | SparseTensor, hashes: Sequence[HashFamily], *, gpu: Gpu | None = None
) -> TensorSketch:
    """Sketch of a dense tensor (any strides, float32 or float64) or of a sparse one; nothing of its size is copied.

    gpu : where a sparse tensor is sketched; a dense one is where it lies.
    """
    hashes = tuple(hashes)
    if tensor.shape != tuple(family.size for family in hashes):
        raise ValueError(f"hash functions for {[f.size for f in hashes]} do not match a tensor of shape {tensor.shape}")
    if isinstance(tensor, SparseTensor):
        if gpu is None:
            return TensorSketch(hashes, _transform(_sparse(tensor, hashes)))
        return TensorSketch(
            hashes, _transform(sketch_gpu.entries_sketch(gpu, tensor.coordinates, tensor.values, hashes))
        )
    if tensor.ndim == 0 or tensor.dtype.kind != "f":
        raise ValueError(
            f"cannot sketch a tensor of order {tensor.ndim} and type {tensor.dtype}: it takes real numbers"
        )
    gpu = owner(tensor)
    if gpu is not None:
        return TensorSketch(hashes, _transform(sketch_gpu.dense_sketch(gpu, tensor, hashes)))
    return TensorSketch(hashes, _transform(_dense(tensor, hashes)))


def kruskal_sketch(
    weights: NDArray[Any],
    factors: Sequence[NDArray[Any]],
    hashes: Sequence[HashFamily],
    *,
    kept: Sequence[NDArray[Any]] | None = None,
) -> TensorSketch:
    """Sketch of sum_r weights_r a_r (x) b_r (x) ...: weights (R,), factors (I_n, R); one transform for each column.

    kept : the `spectra` of the factors, where they are at hand; the sketch is made where these, or the factors, lie.
    """
    hashes = tuple(hashes)
    first, gpu = hashes[0], owner((factors if kept is None else kept)[0])
    shape, kind = (first.n_hashes, first.hash_length // 2 + 1), np.result_type(factors[0].dtype, np.complex64)
    total = np.zeros(shape, kind) if gpu is None else gpu.zeros(shape, np.complex128)
    for block in column_blocks(weights.size, first, len(hashes) + 1, gpu):
        columns = [_columns(factors, hashes, mode, block, kept) for mode in range(len(hashes))]
        if gpu is not None:
            sketch_gpu.add_products(gpu, columns, like(weights[block], total), total)
            continue
        product = _product(columns)
        total += np.einsum("brf,r->bf", product, weights[block].astype(product.real.dtype))
    return TensorSketch(hashes, total.astype(kind, copy=False))


def _dense(tensor: NDArray[Any], hashes: tuple[HashFamily, ...]) -> NDArray[Any]:
    """(B, L): slabs of the first mode, each as a matrix of the middle modes by the last."""
    if tensor.ndim == 1:
        return count_sketch(tensor[:, None], hashes[0])[:, 0]
    first, last = hashes[0], hashes[-1]
    out = np.zeros((first.n_hashes, first.hash_length), tensor.dtype)
    middle = [_combined(hashes[1:-1], repeat) for repeat in range(first.n_hashes)]
    for i in range(tensor.shape[0]):
        slab = np.ascontiguousarray(tensor[i]).reshape(-1, tensor.shape[-1])
        for repeat, (bucket, sign) in enumerate(middle):
            signed = sign * first.signs[repeat, i]
            sketch_cpu.sketch_slab(
                slab,
                int(first.buckets[repeat, i]),
                bucket,
                signed,
                last.buckets[repeat],
                last.signs[repeat],
                out[repeat],
            )
    return out


def _combined(hashes: tuple[HashFamily, ...], repeat: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Buckets modulo L and signs of all index tuples of some modes, last fastest; of none: one tuple, at 0."""
    bucket, sign = np.zeros(1, np.int32), np.ones(1, np.int8)
    for family in hashes:
        bucket = ((bucket[:, None] + family.buckets[repeat]) % family.hash_length).astype(np.int32).reshape(-1)
        sign = (sign[:, None] * family.signs[repeat]).reshape(-1)
    return bucket, sign


def _sparse(tensor: SparseTensor, hashes: tuple[HashFamily, ...]) -> NDArray[Any]:
    """(B, L), some entries at a time."""
    first = hashes[0]
    out = np.zeros((first.n_hashes, first.hash_length))
    for start in range(0, tensor.values.size, _ENTRIES):
        part = slice(start, start + _ENTRIES)
        for repeat in range(first.n_hashes):
            places = np.zeros(tensor.values[part].size, np.int64)
            values = tensor.values[part].copy()
            for coordinate, family in zip(tensor.coordinates, hashes, strict=True):
                places += family.buckets[repeat][coordinate[part]]
                values *= family.signs[repeat][coordinate[part]]
            sketch_cpu.sketch_entries(places, values, out[repeat])
    return out


def _transform(sketch: NDArray[Any]) -> NDArray[Any]:
    """Along the last mode; the sketch is not needed any more."""
    gpu = owner(sketch)
    if gpu is not None:
        return sketch_gpu.transform(gpu, sketch)
    return np.asarray(fft.rfft(sketch, axis=-1, overwrite_x=True))


def column_blocks(n_columns: int, family: HashFamily, n_copies: int, gpu: Gpu | None = None) -> Iterator[slice]:
    """Columns whose spectra, `n_copies` of them in double precision, fit in the working memory; at least one."""
    bytes_a_column = 8 * n_copies * family.n_hashes * family.hash_length
    width = max(1, (_BLOCK_BYTES if gpu is None else sketch_gpu.block_bytes(gpu)) // bytes_a_column)
    for start in range(0, n_columns, width):
        yield slice(start, min(start + width, n_columns))


def _columns(
    factors: Sequence[NDArray[Any]],
    hashes: Sequence[HashFamily],
    mode: int,
    block: slice,
    kept: Sequence[NDArray[Any]] | None,
) -> NDArray[Any]:
    """Spectra (B, columns of the block, F) of some columns of one factor, not to be written to."""
    return spectra(factors[mode][:, block], hashes[mode]) if kept is None else kept[mode][:, block]


def _product(factors: list[NDArray[Any]]) -> NDArray[Any]:
    """The product of arrays, as a new one."""
    total = factors[0] * factors[1] if len(factors) > 1 else factors[0].copy()
    for other in factors[2:]:
        total *= other
    return total


def parseval(spectrum: NDArray[Any], factors: list[NDArray[Any]], hash_length: int) -> NDArray[Any]:
    """Inner products over the places, (B, R) of the host, of a sketch with a product of sketches of columns.

    spectrum : (B, F) transform; factors : one or more transforms (B, R, F).
    """
    gpu = owner(spectrum)
    if gpu is not None:
        return gpu.to_host(sketch_gpu.inner_products(gpu, spectrum, factors, hash_length))
    weighted, product = parseval_weights(hash_length) * spectrum, _product(factors)
    return np.asarray(np.einsum("bf,brf->br", weighted, product.conj()).real)


def parseval_weights(hash_length: int) -> NDArray[np.float64]:
    """(L // 2 + 1,): weights of an inner product over L real places, taken over the kept half of the transform."""
    weight = np.full(hash_length // 2 + 1, 2.0 / hash_length)
    weight[0] = 1.0 / hash_length
    if hash_length % 2 == 0:
        weight[-1] = 1.0 / hash_length
    return weight


def squared_norm(spectrum: NDArray[Any], hash_length: int) -> float:
    """Median over the repeats of the sum of squares over the places; spectrum : (B, L // 2 + 1)."""
    return float(np.median(parseval(spectrum, [spectrum[:, None]], hash_length)))


def read_off(spectrum: NDArray[Any], factors: list[NDArray[Any]], family: HashFamily, out: NDArray[Any]) -> None:
    """out (R, n) of the host = median of what the sketch holds for each index of the free mode.

    factors : transforms (B, R, F) of what fixes the other modes.
    """
    gpu = owner(spectrum)
    if gpu is not None:
        gather(sketch_gpu.correlate(gpu, spectrum, factors), family, out)
        return
    product = _product(factors)
    np.conjugate(product, out=product)
    product *= spectrum[:, None, :].astype(product.dtype, copy=False)
    gather(product, family, out)


def gather(columns: NDArray[Any], family: HashFamily, out: NDArray[Any]) -> None:
    """out (R, n) of the host: median over the repeats of the places of every index.

    columns : (B, R, F) transforms, overwritten.
    """
    gpu = owner(columns)
    if gpu is not None:
        out[...] = gpu.to_host(sketch_gpu.gather(gpu, columns, family))
        return
    sketches = fft.irfft(columns, family.hash_length, axis=-1, overwrite_x=True)
    sketch_cpu.gather_median(sketches, family.buckets, family.signs, out)
