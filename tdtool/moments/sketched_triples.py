"""The whitened third moment as a sketch: its size depends on the number of topics alone, and no rows are kept.

With the notation of triples.py, M3w is a sum of outer products of vectors in k dimensions, so its sketch is a sum of
products of Fourier transforms: y_d^(x)3 of each document, and v_i (x) v_i (x) (2 n_i v_i - 3 z_i), symmetrised, of each
word. Entries with an index twice are kept exactly, as k x k products; the term I (x) m has no others.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from tdtool.data.corpus import MapReduce, Partials, Rows, State
from tdtool.kernels import sketch_cpu, sparse_cpu
from tdtool.kernels.hashing import HashFamily
from tdtool.kernels.sketch import column_blocks, spectra
from tdtool.kernels.symmetric_sketch import SymmetricSketch, from_cubes, symmetric_kruskal_sketch
from tdtool.moments.pairs import lengths_in_moments
from tdtool.moments.triples import ThirdMoment

_ROWS_AT_ONCE = 512
#: Words that a start is chosen from, the most frequent ones.
_START_WORDS, _START_WORDS_A_TOPIC = 1 << 14, 16
#: log2 of the hash lengths that are chosen.
_SHORTEST, _LONGEST = 10, 17
#: Operations that a matrix product does while a transform treats one of its L log2 L places; sweeps to expect.
_TRANSFORM_OPERATIONS, _EXPECTED_SWEEPS = 10.0, 10


def third_moment_sketch(
    map_reduce: MapReduce, moment: ThirdMoment, held_out: NDArray[np.int64], family: HashFamily
) -> SymmetricSketch:
    """Sketch of M3w (k, k, k), one pass over the corpus. family : 6-wise independent, for k indices."""
    cubes, pairs = map_reduce(sketch_step, moment, held_out, family, about="third moment sketch")
    alpha0, mean = moment.alpha0, moment.mean
    thrice = np.array([-(alpha0**2) / ((alpha0 + 1) * (alpha0 + 2))])
    sketch = from_cubes(family, cubes, pairs) + symmetric_kruskal_sketch(thrice, mean[:, None], family)
    identity = mean[:, None] + 2 * np.diag(mean)  # the entries (i, j, j) of sym3(I (x) m)
    return dataclasses.replace(sketch, pairs=sketch.pairs - alpha0 / (alpha0 + 2) * identity)


def sketch_step(
    rows: Rows, state: State, moment: ThirdMoment, held_out: NDArray[np.int64], family: HashFamily
) -> tuple[Partials, State]:
    """Partials, of the terms in documents and words: (B, L // 2 + 1) complex128, and T_ijj (k, k) float64."""
    k = moment.n_topics
    cubes = np.zeros((family.n_hashes, family.hash_length // 2 + 1), np.complex128)
    pairs = np.zeros((k, k))
    for whitened, scale in _documents(rows, moment, held_out):
        for block in column_blocks(scale.size, family, 2):
            once = spectra(whitened[block].T, family)
            sketch_cpu.add_products(once, once, scale[block], cubes)
        pairs += (scale[:, None] * whitened).T @ (whitened * whitened)
    words = moment.words(rows.index)
    ones = np.ones(_ROWS_AT_ONCE, np.float32)
    for start in range(words.start, words.stop, _ROWS_AT_ONCE):
        part = slice(start, min(start + _ROWS_AT_ONCE, words.stop))
        v, z, n = moment.whitening[part], moment.z[part], moment.n[part]
        once = 2 * n[:, None] * v - z
        pairs += once.T @ (v * v) - 2 * v.T @ (v * z)
        once -= 2 * z
        for block in column_blocks(v.shape[0], family, 3):
            sketch_cpu.add_products(spectra(v[block].T, family), spectra(once[block].T, family), ones, cubes)
    return (cubes, pairs), {}


def word_start(unwhitening: NDArray[np.float64], moment1: NDArray[np.float64]) -> NDArray[np.float64]:
    """A (k, k) orthogonal start: near the whitened profiles of k words that are as different as can be.

    A word of one topic alone has that topic's direction as its row of the unwhitening (V, k), scaled by its frequency
    in moment1 (V,); pivoted QR finds such words (Arora et al. 2013, "A practical algorithm for topic modeling with
    provable guarantees", section 4). A sketch is too coarse to find the directions from a random start.
    """
    k = unwhitening.shape[1]
    words = np.argsort(-moment1, kind="stable")[: max(_START_WORDS, _START_WORDS_A_TOPIC * k)]
    words = words[moment1[words] > 0]
    profiles = (unwhitening[words] / np.sqrt(moment1[words])[:, None]).astype(np.float32)
    _, _, pivots = scipy.linalg.qr(profiles.T, mode="economic", pivoting=True, check_finite=False)
    left, _, right = scipy.linalg.svd(profiles[pivots[:k]].T.astype(np.float64), check_finite=False)
    return np.asarray(left @ right)


def sketch_size(n_topics: int, hash_length: int | None, n_sketches: int | None) -> tuple[int, int]:
    """Hash length L and repeats B, chosen where they are None: one sketch, the shortest power of two above 3 k^2.

    Measured on 20 newsgroups and AP (k = 50, 100): from 3 k^2 on, topics are within 4 % of the perplexity of the exact
    moment's. At most 2^17: a sketch of many topics may be shorter (of 1000 topics 2^15 did), and longer ones take long.
    """
    chosen = 1 << min(max(math.ceil(math.log2(max(3 * n_topics**2, 1))), _SHORTEST), _LONGEST)
    return hash_length or chosen, n_sketches or 1


def sketch_operations(moment: ThirdMoment, hash_length: int, n_sketches: int) -> float:
    """Floating-point operations of the sketch and of a power iteration on it, in those of a matrix product."""
    transforms = moment.n_documents + 2 * moment.n.size + _EXPECTED_SWEEPS * 3 * moment.n_topics
    once = hash_length * math.log2(max(hash_length, 2)) * _TRANSFORM_OPERATIONS
    return float(transforms * n_sketches * once) + 2.0 * (moment.n_documents + 3 * moment.n.size) * moment.n_topics**2


def _documents(
    rows: Rows, moment: ThirdMoment, held_out: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """y_d (n, k) and s_d (n,) of a few hundred documents at a time, float32."""
    lengths = lengths_in_moments(rows, held_out)
    scale = np.divide(1 / moment.length, (lengths - 1) * (lengths - 2), out=np.zeros_like(lengths), where=lengths > 0)
    for start in range(0, rows.n_documents, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, rows.n_documents)
        begin, end = rows.indptr[start], rows.indptr[stop]
        whitened = np.empty((stop - start, moment.n_topics), np.float32)
        indptr = rows.indptr[start : stop + 1] - begin
        sparse_cpu.csr_dot(indptr, rows.indices[begin:end], rows.counts[begin:end], moment.whitening, whitened)
        used = scale[start:stop] > 0
        yield whitened[used], scale[start:stop][used].astype(np.float32)
