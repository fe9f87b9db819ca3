"""Sketches against the dense sketch matrix, and their laws: no bias, and variance ||T||^2 / L."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from numpy.typing import NDArray

from tdtool.kernels import sketch as module
from tdtool.kernels.hashing import HashFamily
from tdtool.kernels.sketch import TensorSketch, count_sketch, draw_hashes, kruskal_sketch, spectra, tensor_sketch
from tdtool.kernels.sparse_tensor import SparseTensor
from tdtool.kernels.symmetric_sketch import symmetric_hashes, symmetric_kruskal_sketch, symmetric_sketch
from tests import oracles_sketch

Array = NDArray[np.float64]
SHAPES = [(7,), (5, 3), (2, 3, 5), (2, 3, 4, 5)]
LENGTHS = [16, 11, 1]
N_HASHES, RANK = 3, 2


def made(shape: tuple[int, ...], length: int, rng: np.random.Generator) -> tuple[Array, tuple[HashFamily, ...]]:
    return rng.standard_normal(shape), draw_hashes(shape, length, N_HASHES, rng=rng)


def factors_of(shape: tuple[int, ...], rng: np.random.Generator) -> list[Array]:
    return [rng.standard_normal((size, RANK)) for size in shape]


def kruskal(weights: Array, factors: list[Array]) -> Array:
    """sum_r w_r a_r (x) b_r (x) ..."""
    columns = zip(*(factor.T for factor in factors), strict=True)
    return np.asarray(
        sum(w * functools.reduce(np.multiply.outer, vectors) for w, vectors in zip(weights, columns, strict=True))
    )


def places(spectrum: NDArray[np.complex128], length: int) -> Array:
    return np.asarray(np.fft.irfft(spectrum, length, axis=-1))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_count_sketch_is_its_matrix(length: int, dtype: type, rng: np.random.Generator) -> None:
    matrix, (family, _) = made((7, RANK), length, rng)
    found = count_sketch(matrix.astype(dtype), family)
    assert (found.dtype, found.shape) == (dtype, (N_HASHES, RANK, length))
    for repeat in range(N_HASHES):
        expected = oracles_sketch.count_sketch(matrix, family, repeat)
        np.testing.assert_allclose(found[repeat], expected, atol=10 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("length", LENGTHS)
def test_sketches_of_dense_and_sparse_tensors_are_their_matrix(
    shape: tuple[int, ...], length: int, rng: np.random.Generator
) -> None:
    tensor, hashes = made(shape, length, rng)
    expected = [oracles_sketch.tensor_sketch(tensor, hashes, repeat) for repeat in range(N_HASHES)]
    sparse = SparseTensor.from_coo(np.indices(shape).reshape(len(shape), -1), tensor.ravel(), shape)
    for given in (tensor, np.asfortranarray(tensor), tensor[::-1, ...][::-1, ...], sparse):
        found = tensor_sketch(given, hashes)
        assert found.shape == shape
        np.testing.assert_allclose(places(found.spectrum, length), expected, atol=1e-12)


def test_a_sparse_tensor_is_sketched_some_entries_at_a_time(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    tensor, hashes = made((5, 3, 7), 16, rng)
    sparse = SparseTensor.from_coo(np.indices(tensor.shape).reshape(3, -1), tensor.ravel(), tensor.shape)
    whole = tensor_sketch(sparse, hashes)
    monkeypatch.setattr(module, "_ENTRIES", 10)
    np.testing.assert_allclose(tensor_sketch(sparse, hashes).spectrum, whole.spectrum, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_a_kruskal_sketch_is_the_sketch_of_the_tensor(
    shape: tuple[int, ...], block_bytes: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", block_bytes)  # one column at a time, or all
    weights, factors = rng.standard_normal(RANK), factors_of(shape, rng)
    hashes = draw_hashes(shape, 16, N_HASHES, rng=rng)
    expected = tensor_sketch(kruskal(weights, factors), hashes)
    np.testing.assert_allclose(kruskal_sketch(weights, factors, hashes).spectrum, expected.spectrum, atol=1e-12)


def test_sketches_are_linear(rng: np.random.Generator) -> None:
    one, hashes = made((2, 3, 5), 16, rng)
    two = rng.standard_normal(one.shape)
    added, taken = tensor_sketch(one + two, hashes), tensor_sketch(one - two, hashes)
    parts = tensor_sketch(one, hashes), tensor_sketch(two, hashes)
    np.testing.assert_allclose((parts[0] + parts[1]).spectrum, added.spectrum, atol=1e-12)
    np.testing.assert_allclose((parts[0] - parts[1]).spectrum, taken.spectrum, atol=1e-12)


@pytest.mark.parametrize("n_hashes", [1, 2, 3])
@pytest.mark.parametrize("length", [16, 11])
@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_contractions_are_read_off_as_defined(
    n_hashes: int, length: int, block_bytes: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """Inner products of sketches in each repeat, then the median; a free mode is an inner product with e_i."""
    monkeypatch.setattr(module, "_BLOCK_BYTES", block_bytes)
    shape = (2, 3, 5)
    tensor, factors = rng.standard_normal(shape), factors_of(shape, rng)
    hashes = draw_hashes(shape, length, n_hashes, rng=rng)
    sketch = tensor_sketch(tensor, hashes)

    sketched = [oracles_sketch.tensor_sketch(tensor, hashes, repeat) for repeat in range(n_hashes)]

    def estimate(vectors: tuple[Array, ...]) -> float:
        one = functools.reduce(np.multiply.outer, vectors)
        return float(np.median([s @ oracles_sketch.tensor_sketch(one, hashes, r) for r, s in enumerate(sketched)]))

    expected = [estimate(tuple(f[:, r] for f in factors)) for r in range(RANK)]
    np.testing.assert_allclose(sketch.inner(factors), expected, atol=1e-12)
    for mode, size in enumerate(shape):
        found = sketch.mttkrp(factors, mode)
        columns = [[f[:, r] for f in factors] for r in range(RANK)]
        for i, row in enumerate(np.eye(size)):
            at = [estimate((*c[:mode], row, *c[mode + 1 :])) for c in columns]
            np.testing.assert_allclose(found[i], at, atol=1e-12)


def test_single_precision_factors_give_single_precision_answers(rng: np.random.Generator) -> None:
    tensor, hashes = made((2, 3, 5), 16, rng)
    factors = factors_of(tensor.shape, rng)
    sketch = tensor_sketch(tensor, hashes)
    small = sketch.mttkrp([f.astype(np.float32) for f in factors], 1)
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, sketch.mttkrp(factors, 1), atol=1e-5)
    assert tensor_sketch(tensor.astype(np.float32), hashes).spectrum.dtype == np.complex64


def test_a_long_sketch_is_exact_where_nothing_collides(rng: np.random.Generator) -> None:
    """Buckets 0, 1, 2, ...; 0, 5, 10, ...; 0, 25, ... are places of an array: every estimate is the true value."""
    shape = (5, 5, 5)
    tensor, factors = rng.standard_normal(shape), factors_of(shape, rng)
    hashes = tuple(
        HashFamily((np.arange(5) * step)[None].astype(np.int32), np.array([[1, -1, 1, 1, -1]], np.int8), 125)
        for step in (1, 5, 25)
    )
    sketch = tensor_sketch(tensor, hashes)
    np.testing.assert_allclose(sketch.inner(factors), np.einsum("ijk,ir,jr,kr->r", tensor, *factors), atol=1e-12)
    np.testing.assert_allclose(
        sketch.mttkrp(factors, 1), np.einsum("ijk,ir,kr->jr", tensor, factors[0], factors[2]), atol=1e-12
    )
    assert sketch.norm() == pytest.approx(np.linalg.norm(tensor), rel=1e-12)


# ---- one function for all modes


def test_a_symmetric_sketch_is_its_matrix(rng: np.random.Generator) -> None:
    tensor = oracles_sketch.symmetrised(rng.standard_normal((5, 5, 5)))
    for length in LENGTHS:
        family = symmetric_hashes(5, length, N_HASHES, rng=rng)
        sketch = symmetric_sketch(tensor, family)
        expected = [oracles_sketch.distinct_sketch(tensor, family, repeat) for repeat in range(N_HASHES)]
        np.testing.assert_allclose(places(sketch.spectrum, length), expected, atol=1e-12)
        np.testing.assert_array_equal(sketch.pairs, np.einsum("ijj->ij", tensor))


@pytest.mark.parametrize("block_bytes", [1, 1 << 20])
def test_a_symmetric_kruskal_sketch_is_the_sketch_of_the_tensor(
    block_bytes: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """The elementary symmetric function (p1^3 - 3 p1 p2 + 2 p3) / 6, against all entries one by one."""
    monkeypatch.setattr(module, "_BLOCK_BYTES", block_bytes)
    weights, vectors = np.array([2.0, -0.5, 1.0]), rng.standard_normal((5, 3))
    family = symmetric_hashes(5, 11, N_HASHES, rng=rng)
    one, two = (
        symmetric_kruskal_sketch(weights, vectors, family),
        symmetric_sketch(kruskal(weights, [vectors] * 3), family),
    )
    np.testing.assert_allclose(one.spectrum, two.spectrum, atol=1e-12)
    np.testing.assert_allclose(one.pairs, two.pairs, atol=1e-12)
    for taken in ((one - two), (one + two) - (two + one)):
        assert np.abs(taken.spectrum).max() < 1e-11
        assert np.abs(taken.pairs).max() < 1e-11


@pytest.mark.parametrize("n_hashes", [1, 2, 3])
def test_symmetric_contractions_are_read_off_as_defined(n_hashes: int, rng: np.random.Generator) -> None:
    """Entries i < j < k by inner products of sketches, the others exactly."""
    n, length = 5, 16
    tensor = oracles_sketch.symmetrised(rng.standard_normal((n, n, n)))
    family = symmetric_hashes(n, length, n_hashes, rng=rng)
    directions = rng.standard_normal((n, RANK))
    sketch = symmetric_sketch(tensor, family)
    distinct = np.array([[[len({i, j, k}) == 3 for k in range(n)] for j in range(n)] for i in range(n)])
    rest = np.where(distinct, 0, tensor)

    sketched = [oracles_sketch.distinct_sketch(tensor, family, r) for r in range(n_hashes)]

    def estimate(one: Array, exact: float) -> float:
        found = [s @ oracles_sketch.tensor_sketch(one, (family,) * 3, r) for r, s in enumerate(sketched)]
        return float(np.median(found)) + exact

    for r, u in enumerate(directions.T):
        cube = functools.reduce(np.multiply.outer, [u, u, u])
        value = estimate(cube, np.einsum("ijk,i,j,k->", rest, u, u, u))
        assert sketch.values(directions)[r] == pytest.approx(value, abs=1e-12)
        for i, row in enumerate(np.eye(n)):
            exact = np.einsum("jk,j,k->", rest[i], u, u)
            one = functools.reduce(np.multiply.outer, [row, u, u])
            assert sketch.along(directions)[i, r] == pytest.approx(estimate(one, exact), abs=1e-12)
    weights, model = sketch.projected(directions)
    np.testing.assert_allclose(weights, sketch.values(directions), atol=1e-12)
    expected = symmetric_kruskal_sketch(weights, directions, family)
    np.testing.assert_allclose(model.spectrum, expected.spectrum, atol=1e-12)
    np.testing.assert_allclose(model.pairs, expected.pairs, atol=1e-12)


# ---- the laws


def test_no_bias_and_the_variance_law(rng: np.random.Generator) -> None:
    """Over draws of the hashes: means within 4.5 standard errors, variances ||T||^2 / L or a third of it."""
    n, length, draws = 6, 32, 400
    tensor = oracles_sketch.symmetrised(rng.standard_normal((n, n, n)))
    u = rng.standard_normal((n, 1))
    u /= np.linalg.norm(u)
    exact = np.einsum("ijk,j,k->i", tensor, u[:, 0], u[:, 0])
    own, one, values, inner = (np.empty((draws, m)) for m in (n, n, 1, 1))
    for draw in range(draws):
        sketch: TensorSketch = tensor_sketch(tensor, draw_hashes(tensor.shape, length, 1, rng=rng))
        symmetric = symmetric_sketch(tensor, symmetric_hashes(n, length, 1, rng=rng))
        own[draw], inner[draw] = sketch.mttkrp([u] * 3, 0)[:, 0], sketch.inner([u] * 3)
        one[draw], values[draw] = symmetric.along(u)[:, 0], symmetric.values(u)
    for found, truth in ((own, exact), (one, exact), (values, exact @ u[:, 0]), (inner, exact @ u[:, 0])):
        errors = (found.mean(axis=0) - truth) / (found.std(axis=0) / np.sqrt(draws))
        assert np.abs(errors).max() < 4.5
    hashed = [tensor[i, j, k] for i in range(n) for j in range(n) for k in range(n) if len({i, j, k}) == 3]
    assert own.var(axis=0).mean() * length == pytest.approx(np.sum(tensor**2), rel=0.35)
    assert inner.var() * length == pytest.approx(np.sum(tensor**2), rel=0.35)
    assert one.var(axis=0).mean() * length < np.sum(np.square(hashed)) / 3 * 1.35  # of the entries that are hashed
    assert one.var(axis=0).mean() < own.var(axis=0).mean() / 2


def test_real_signs_with_exact_pairs_do_as_well_as_complex_signs(rng: np.random.Generator) -> None:
    """Equal numbers stored: L complex places, and 2 L real ones."""
    n, length, draws = 5, 16, 200
    tensor = oracles_sketch.symmetrised(rng.standard_normal((n, n, n)))
    u = rng.standard_normal(n)
    u /= np.linalg.norm(u)
    exact = np.einsum("ijk,i,j,k->", tensor, u, u, u)
    of_complex, of_real = np.empty(draws), np.empty(draws)
    for draw in range(draws):
        buckets, signs = rng.integers(0, length, n), oracles_sketch.complex_signs(n, rng)
        of_complex[draw] = oracles_sketch.complex_estimate(tensor, (u, u, u), buckets, signs, length)
        family = symmetric_hashes(n, 2 * length, 1, rng=rng)
        of_real[draw] = symmetric_sketch(tensor, family).values(u[:, None])[0]
    for found in (of_complex, of_real):
        assert abs(found.mean() - exact) < 4.5 * found.std() / np.sqrt(draws)
    assert of_real.var() < 1.2 * of_complex.var()


def test_longer_sketches_and_more_of_them_say_more(rng: np.random.Generator) -> None:
    tensor = rng.standard_normal((5, 6, 7))
    factors = factors_of(tensor.shape, rng)
    exact = np.einsum("ijk,jr,kr->ir", tensor, factors[1], factors[2])

    def error(length: int, n_hashes: int) -> float:
        draws = [tensor_sketch(tensor, draw_hashes(tensor.shape, length, n_hashes, rng=rng)) for _ in range(40)]
        return float(np.mean([np.sum((draw.mttkrp(factors, 0) - exact) ** 2) for draw in draws]))

    first = error(16, 1)
    assert error(64, 1) < first / 2.5
    assert error(16, 7) < first / 2.5


def test_norms_are_kept_on_average(rng: np.random.Generator) -> None:
    tensor = oracles_sketch.symmetrised(rng.standard_normal((6, 6, 6)))
    symmetric = [symmetric_sketch(tensor, symmetric_hashes(6, 64, 3, rng=rng)).norm() for _ in range(40)]
    general = [tensor_sketch(tensor, draw_hashes(tensor.shape, 64, 3, rng=rng)).norm() for _ in range(40)]
    assert np.mean(symmetric) == pytest.approx(np.linalg.norm(tensor), rel=0.06)
    assert np.mean(general) == pytest.approx(np.linalg.norm(tensor), rel=0.06)


# ---- what cannot be


def test_mismatches_are_told(rng: np.random.Generator) -> None:
    tensor, hashes = made((2, 3, 5), 16, rng)
    sketch, factors = tensor_sketch(tensor, hashes), factors_of(tensor.shape, rng)
    with pytest.raises(ValueError, match="of shape"):
        count_sketch(tensor[0], hashes[0])
    with pytest.raises(ValueError, match=r"\[2, 3, 5\] do not match"):
        tensor_sketch(tensor.transpose(2, 0, 1), hashes)
    with pytest.raises(ValueError, match="real numbers"):
        tensor_sketch(tensor.astype(complex), hashes)
    with pytest.raises(ValueError, match="real numbers"):
        tensor_sketch(np.float64(3), ())
    for bad in (factors[:2], [*factors[:2], factors[2][:4]], [*factors[:2], factors[2][:, :1]], [*factors[:2], tensor]):
        with pytest.raises(ValueError, match="do not match a sketch"):
            sketch.inner(bad)
    with pytest.raises(ValueError, match="order 3 and size 5"):
        symmetric_sketch(tensor, symmetric_hashes(5, 8, 1, rng=rng))


def test_spectra_are_transforms(rng: np.random.Generator) -> None:
    matrix, (family, _) = made((7, RANK), 11, rng)
    np.testing.assert_allclose(places(spectra(matrix, family), 11), count_sketch(matrix, family), atol=1e-12)
