"""Loops of the sketches: scatter into buckets, gather from them. numba on the CPU.

One repeat at a time: bucket (n,) int32 below L, sign (n,) int8; out (L,) float, added to.
"""

from __future__ import annotations

import numpy as np

from tdtool.kernels.backend import jit, jit_sums


@jit
def count_sketch(vectors, bucket, sign, out):  # type: ignore[no-untyped-def]
    """Add the count sketch of every row of vectors (R, n) to the rows of out (R, L)."""
    for r in range(vectors.shape[0]):
        row, target = vectors[r], out[r]
        for i in range(row.size):
            target[bucket[i]] += sign[i] * row[i]


@jit
def sketch_slab(matrix, shift, bucket0, sign0, bucket1, sign1, out):  # type: ignore[no-untyped-def]
    """Add matrix (M, K) to out (L,): entry (j, k), with sign0[j] sign1[k], at shift + bucket0[j] + bucket1[k]."""
    length = out.size
    for j in range(matrix.shape[0]):
        start, row = shift + bucket0[j], matrix[j]
        if start >= length:
            start -= length
        for k in range(row.size):
            place = start + bucket1[k]
            if place >= length:
                place -= length
            out[place] += sign0[j] * (sign1[k] * row[k])


@jit
def sketch_entries(places, values, out):  # type: ignore[no-untyped-def]
    """out[places[e]] += values[e]. places : (nnz,) int below 3 L, taken modulo L; values : (nnz,)."""
    length = out.size
    for e in range(places.size):
        place = places[e]
        while place >= length:
            place -= length
        out[place] += values[e]


@jit
def sketch_distinct(tensor, bucket, sign, out):  # type: ignore[no-untyped-def]
    """Add the entries i < j < k of tensor (n, n, n), with sign_i sign_j sign_k, at bucket_i + bucket_j + bucket_k."""
    length = out.size
    for i in range(tensor.shape[0]):
        for j in range(i + 1, tensor.shape[0]):
            start, row = bucket[i] + bucket[j], tensor[i, j]
            if start >= length:
                start -= length
            both = sign[i] * sign[j]
            for k in range(j + 1, row.size):
                place = start + bucket[k]
                if place >= length:
                    place -= length
                out[place] += both * (sign[k] * row[k])


@jit
def sketch_pairs(matrix, bucket, sign, out):  # type: ignore[no-untyped-def]
    """Add matrix (n, n): entry (i, j), which stands for (i, j, j) of a tensor, with sign_i at h_i + 2 h_j modulo L."""
    length = out.size
    for i in range(matrix.shape[0]):
        row = matrix[i]
        for j in range(row.size):
            place = bucket[i] + 2 * bucket[j]
            while place >= length:
                place -= length
            out[place] += sign[i] * row[j]


@jit
def gather_median(sketches, buckets, signs, out):  # type: ignore[no-untyped-def]
    """out[r, i] = median over b of signs[b, i] sketches[b, r, buckets[b, i]].

    sketches : (B, R, L); buckets : (B, n); signs : (B, n); out : (R, n). An even number of repeats: mean of the two.
    """
    n_hashes = sketches.shape[0]
    found = np.empty(n_hashes, sketches.dtype)
    for r in range(out.shape[0]):
        for i in range(out.shape[1]):
            for b in range(n_hashes):
                value, place = signs[b, i] * sketches[b, r, buckets[b, i]], b
                while place > 0 and found[place - 1] > value:
                    found[place] = found[place - 1]
                    place -= 1
                found[place] = value
            middle = n_hashes // 2
            if n_hashes % 2:
                out[r, i] = found[middle]
            else:
                out[r, i] = (found[middle - 1] + found[middle]) / 2


#: Places of a spectrum that are treated together: their sums stay in the nearest cache.
_CHUNK = 1024


@jit_sums
def add_products(twice, once, weights, out):  # type: ignore[no-untyped-def]
    """out[b] += sum_r weights[r] twice[b, r]^2 once[b, r].

    twice, once : (B, R, F) complex, may be one array; weights : (R,) of their precision; out : (B, F) complex128.
    """
    for b in range(out.shape[0]):
        for start in range(0, out.shape[1], _CHUNK):
            stop = min(start + _CHUNK, out.shape[1])
            for r in range(twice.shape[1]):
                two, one, total = twice[b, r, start:stop], once[b, r, start:stop], out[b, start:stop]
                weight = weights[r]
                for f in range(total.size):
                    a, c = two[f].real, two[f].imag
                    real, imaginary = a * a - c * c, 2 * a * c
                    d, e = one[f].real, one[f].imag
                    total[f] += complex(weight * (real * d - imaginary * e), weight * (real * e + imaginary * d))


@jit_sums
def cube_products(spectrum, columns, weight, out):  # type: ignore[no-untyped-def]
    """out[b, r] = real part of sum_f weight[f] spectrum[b, f] conj(columns[b, r, f])^3.

    spectrum : (B, F) complex; columns : (B, R, F) complex; weight : (F,) float; out : (B, R) float64.
    """
    for b in range(columns.shape[0]):
        for r in range(columns.shape[1]):
            total = 0.0
            for f in range(columns.shape[2]):
                a, c = columns[b, r, f].real, columns[b, r, f].imag
                real, imaginary = a * (a * a - 3 * c * c), c * (3 * a * a - c * c)
                total += weight[f] * (spectrum[b, f].real * real + spectrum[b, f].imag * imaginary)
            out[b, r] = total


@jit_sums
def correlate_squares(spectrum, columns):  # type: ignore[no-untyped-def]
    """columns[b, r] = spectrum[b] conj(columns[b, r])^2, in place. spectrum : (B, F), columns : (B, R, F), complex."""
    for b in range(columns.shape[0]):
        for r in range(columns.shape[1]):
            for f in range(columns.shape[2]):
                a, c = columns[b, r, f].real, columns[b, r, f].imag
                real, imaginary = a * a - c * c, -2 * a * c
                d, e = spectrum[b, f].real, spectrum[b, f].imag
                columns[b, r, f] = complex(d * real - e * imaginary, d * imaginary + e * real)
