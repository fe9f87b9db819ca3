"""CP decompositions that read a tensor once, into sketches, and see no more of it than those.

Source: Wang, Tung, Smola, Anandkumar 2015, "Fast and guaranteed tensor decomposition via sketching", algorithms 1, 3.
Beyond it, products with the tensor T are read off as those with the model, which are exact, plus those with the sketch
of T - model: the noise of the sketch is then in proportion to what the model leaves over, and vanishes with it.

The sketches, and transforms of factors, of a tensor of a GPU are made and kept there, the factors on the host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.decompose.cp_start import random_start
from tdtool.decompose.cp_sweeps import squared_residual
from tdtool.decompose.cp_updates import grams_of, hadamard, least_squares
from tdtool.decompose.results import CPFit, cp_fit, unit_columns
from tdtool.decompose.symmetric import require_symmetric, residual_norm
from tdtool.kernels.arrays import like
from tdtool.kernels.device_gpu import Gpu
from tdtool.kernels.modes import norm
from tdtool.kernels.sketch import TensorSketch, draw_hashes, kruskal_sketch, spectra, tensor_sketch
from tdtool.kernels.sparse_tensor import SparseTensor, sparse_inner
from tdtool.kernels.symmetric_sketch import (
    SymmetricSketch,
    symmetric_hashes,
    symmetric_kruskal_sketch,
    symmetric_sketch,
)

Matrix = NDArray[np.float64]
#: An error this many times the best so far is no wobble: the sketch is too short for the model.
_DIVERGED = 2.0
#: A true error beyond this many times the estimated one shows that the model has fitted the hashes.
_OVERFIT, _ROUNDING = 1.25, 1e-6
#: Sweeps over all components together, after they were found one by one, and the gain that ends them.
_JOINT_SWEEPS, _JOINT_GAIN = 20, 1e-6
#: Turns (1 - |cosine|) that end the search among many starts, and the iteration of the best.
_SETTLED_ROUGHLY, _SETTLED = 1e-3, 1e-6
#: Transforms of factors are kept from step to step up to this size.
_KEPT_BYTES = 1 << 28
#: Seconds on one thread of: an operation of a matrix product; L log2 L-th of a transform; an entry hashed once.
_FLOP_SECONDS, _FFT_SECONDS, _ENTRY_SECONDS = 2.5e-11, 5e-10, 1.2e-9
_EXPECTED_SWEEPS = 20


def sketched_cp_als(
    tensor: NDArray[Any] | SparseTensor,
    rank: int,
    *,
    hash_length: int = 1 << 12,
    n_sketches: int = 10,
    max_iters: int = 100,
    tol: float = 1e-6,
    n_restarts: int = 3,
    gpu: Gpu | None = None,
    rng: np.random.Generator,
) -> CPFit:
    """CP by alternating least squares on sketches. tensor : order 2 or more, dense real (any strides) or sparse.

    gpu : where a sparse tensor is sketched; a dense one is where it lies.

    hash_length : L; n_sketches : B, repeats of which the median is taken; tol : stop when the estimated relative error
    changes by less. errors : estimates from the sketch after each sweep, then the true relative error of the result,
    for which the tensor is read once more; restart_errors : estimates. stopped "diverged": the error grew, the best
    model is returned. ValueError: order below 2, a rank below 1, values that are not finite or not real.
    """
    size = _checked_norm(tensor, rank)
    hashes = draw_hashes(tensor.shape, hash_length, n_sketches, rng=rng)
    sketch = tensor_sketch(tensor, hashes, gpu=gpu)
    runs = []
    for _ in range(max(n_restarts, 1)):
        start = [unit_columns(factor)[0] for factor in random_start(tensor.shape, rank, rng)]
        runs.append(_als(sketch, start, size, max_iters, tol))
    reached = [min(errors, default=1.0) for _, errors, _ in runs]
    factors, errors, stopped = runs[int(np.argmin(reached))]
    error = _true_error(tensor, factors, size)
    return cp_fit(
        np.ones(rank),
        factors,
        [*errors, error],
        stopped,
        n_restarts=len(runs),
        restart_errors=reached,
        warnings=_warnings(min(reached), error),
    )


def sketched_power(
    tensor: NDArray[Any],
    rank: int,
    *,
    hash_length: int = 1 << 12,
    n_sketches: int = 10,
    n_restarts: int = 10,
    max_iters: int = 30,
    rng: np.random.Generator,
) -> CPFit:
    """CP of a symmetric tensor (n, n, n), real: components one by one by power iterations and deflation, then together.

    n_restarts : starts for each component, of which the one with the largest T(u, u, u) goes on; max_iters : iterations
    of each start. errors : estimates from the sketch after each component and each joint sweep, then the true relative
    error of the result. ValueError: order other than 3, not symmetric, a rank below 1, values that are not finite.
    """
    tensor = require_symmetric(tensor, rank)
    if tensor.ndim != 3:
        raise ValueError(f"the tensor has order {tensor.ndim}; symmetric sketches are for order 3: use method power")
    size = norm(tensor) or 1.0
    family = symmetric_hashes(tensor.shape[0], hash_length, n_sketches, rng=rng)
    sketch = symmetric_sketch(tensor, family)
    weights, vectors = np.zeros(0), np.zeros((tensor.shape[0], 0))
    left, errors = sketch, []
    for _ in range(rank):
        weight, vector = _strongest(left, n_restarts, max_iters, rng)
        weights, vectors = np.append(weights, weight), np.column_stack([vectors, vector])
        left = _left_over(sketch, weights, vectors)
        errors.append(left.norm() / size)
    weights, vectors, joint, stopped = _jointly(sketch, weights, vectors, size)
    estimated, error = min([*errors, *joint]), residual_norm(tensor, weights, vectors) / size
    errors += [*joint, error]
    return cp_fit(weights, [vectors] * 3, errors, stopped, n_restarts=n_restarts, warnings=_warnings(estimated, error))


def cheaper_exact(shape: Sequence[int], rank: int, hash_length: int, n_sketches: int) -> bool:
    """Whether a dense tensor is decomposed in less time exactly than by sketched ALS, by operations (sizes only).

    Exact is ALS on the tensor, or in the core of its Tucker decomposition, whichever costs less.
    """
    order, entries = len(shape), math.prod(shape)
    sweeps = _EXPECTED_SWEEPS * 4 * entries * rank
    compression = 2 * entries * max(shape, default=1)
    transforms = _EXPECTED_SWEEPS * 3 * order * rank * n_sketches
    transform = hash_length * math.log2(max(hash_length, 2)) * _FFT_SECONDS
    sketched = entries * n_sketches * _ENTRY_SECONDS + transforms * transform
    return min(sweeps, compression) * _FLOP_SECONDS < sketched


def _warnings(estimated: float, error: float) -> tuple[str, ...]:
    """What to say when the model fits the sketch and not the tensor."""
    if error <= min(_OVERFIT * estimated + _ROUNDING, 1.0):
        return ()
    what = f"the sketch put the relative error at {estimated:.3g}, on the tensor it is {error:.3g}"
    return (f"{what}: the hash length is too short for this rank",)


def _checked_norm(tensor: NDArray[Any] | SparseTensor, rank: int) -> float:
    """The norm, 1 for a tensor of zeros."""
    if len(tensor.shape) < 2:
        raise ValueError(f"the tensor has order {len(tensor.shape)}; a CP decomposition needs at least 2")
    if rank < 1:
        raise ValueError(f"rank is {rank}; it must be at least 1")
    if not isinstance(tensor, SparseTensor) and tensor.dtype.kind != "f":
        raise ValueError(f"the tensor holds {tensor.dtype}; sketches need real floating-point numbers")
    size = norm(tensor)
    if not math.isfinite(size):
        raise ValueError("the tensor holds NaN or infinite values; method cp takes missing values, sketches do not")
    return size or 1.0


def _als(
    sketch: TensorSketch, start: list[Matrix], size: float, max_iters: int, tol: float
) -> tuple[list[Matrix], list[float], str]:
    """Sweeps from a start of unit columns; the best factors, the estimated error after each sweep, why it stopped."""
    model = _Model(sketch, [np.zeros_like(start[0]), *start[1:]])
    best, errors, left = list(model.factors), list[float](), sketch
    for _ in range(max_iters):
        for mode in range(len(start)):
            model.improve(left, mode)
            left = sketch - model.sketch()
        errors.append(left.norm() / size)
        if errors[-1] == min(errors):
            best = list(model.factors)
        if not errors[-1] <= _DIVERGED * min(errors):
            return best, errors, "diverged"
        if len(errors) > 1 and abs(errors[-1] - errors[-2]) < tol:
            return best, errors, "tol"
    return best, errors, "max_iters"


class _Model:
    """Factors of a CP model, and the transforms of their columns as long as these are small, where the sketch is."""

    def __init__(self, sketch: TensorSketch, factors: list[Matrix]) -> None:
        self.factors, self._hashes, self._place = factors, sketch.hashes, sketch.spectrum
        nbytes = len(factors) * factors[0].shape[1] * sketch.spectrum.size * 16
        pairs = zip(factors, sketch.hashes, strict=True)
        small = nbytes <= _KEPT_BYTES
        self._kept = [spectra(like(factor, self._place), family) for factor, family in pairs] if small else None

    def sketch(self) -> TensorSketch:
        ones, factors = np.ones(self.factors[0].shape[1]), self.factors
        if self._kept is None:
            factors = [like(factor, self._place) for factor in factors]
        return kruskal_sketch(ones, factors, self._hashes, kept=self._kept)

    def improve(self, left: TensorSketch, mode: int) -> None:
        """Fit the factor of a mode to the others, from the sketch of what the model leaves over.

        Its columns' lengths go to the next mode, so that all Grams are those of unit columns.
        """
        factors, following = self.factors, (mode + 1) % len(self.factors)
        product = left.mttkrp(factors, mode, kept=self._kept)
        change = least_squares(product, hadamard(grams_of(factors), mode), np.zeros_like(product))
        factors[mode], lengths = unit_columns(factors[mode] + change)
        factors[following] = factors[following] * lengths
        if self._kept is not None:
            self._kept[mode] = spectra(like(factors[mode], self._place), self._hashes[mode])
            self._kept[following] *= like(lengths[:, None], self._place)


def _true_error(tensor: NDArray[Any] | SparseTensor, factors: Sequence[Matrix], size: float) -> float:
    if not isinstance(tensor, SparseTensor):
        return math.sqrt(squared_residual(tensor, factors)) / size
    ones = np.ones(factors[0].shape[1])
    square = size**2 - 2 * sparse_inner(tensor, ones, factors) + float(ones @ hadamard(grams_of(factors)) @ ones)
    return math.sqrt(max(square, 0.0)) / size


def _strongest(
    sketch: SymmetricSketch, n_restarts: int, max_iters: int, rng: np.random.Generator
) -> tuple[float, Matrix]:
    """The largest of several maxima of T(u, u, u), and its u (n, 1), by power iterations.

    Starts are random sums of the columns of T_ijj, which lie in the span of the components.
    """
    noise = rng.standard_normal((sketch.family.size, max(n_restarts, 1)))
    vectors = sketch.repeated_along(noise)
    vectors = unit_columns(np.where(np.any(vectors, axis=0), vectors, noise))[0]
    vectors = _iterated(sketch, vectors, max_iters, _SETTLED_ROUGHLY)
    best = int(np.argmax(sketch.values(vectors)))
    vector = _iterated(sketch, vectors[:, [best]], max_iters, _SETTLED)
    return float(sketch.values(vector)[0]), vector


def _iterated(sketch: SymmetricSketch, vectors: Matrix, max_iters: int, tol: float) -> Matrix:
    """u <- T(I, u, u) for unit columns u (n, R), in single precision, until half of them turn by less than tol."""
    for _ in range(max_iters):
        turned = unit_columns(sketch.along(vectors.astype(np.float32)).astype(np.float64))[0]
        turns = 1 - np.abs(np.sum(turned * vectors, axis=0))
        vectors = turned
        if np.median(turns) < tol:
            break
    return vectors


def _left_over(sketch: SymmetricSketch, weights: Matrix, vectors: Matrix) -> SymmetricSketch:
    """The sketch less that of the model; weights : (R,), vectors : (n, R) of the host."""
    return sketch - symmetric_kruskal_sketch(weights, like(vectors, sketch.spectrum), sketch.family)


def _jointly(
    sketch: SymmetricSketch, weights: Matrix, vectors: Matrix, size: float
) -> tuple[Matrix, Matrix, list[float], str]:
    """Least-squares sweeps over all components; the best model, the errors, and why it stopped.

    weights : (R,); vectors : (n, R). One mode's factor is fitted to the others, and then stands for all three.
    """
    left = _left_over(sketch, weights, vectors)
    best, errors = (weights, vectors), [left.norm() / size]
    for _ in range(_JOINT_SWEEPS):
        scaled = vectors * weights
        scaled = scaled + least_squares(left.along(vectors), (vectors.T @ vectors) ** 2, np.zeros_like(vectors))
        vectors, weights = unit_columns(scaled)
        left = _left_over(sketch, weights, vectors)
        errors.append(left.norm() / size)
        if errors[-1] >= min(errors[:-1]) - _JOINT_GAIN:
            break
        best = weights, vectors
    return *best, errors[1:], "max_iters" if len(errors) > _JOINT_SWEEPS else "tol"
