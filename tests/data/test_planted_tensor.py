"""Planted tensors and tables: what they claim about themselves holds, and they come out the same every time."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from tdtool.data.planted import planted_sales, planted_students, planted_symmetric, planted_tensor
from tests.data.tensor_reading import read


def model(weights: np.ndarray, factors: tuple[np.ndarray, ...]) -> np.ndarray:
    """The CP model from its definition, component by component."""
    total = np.zeros([len(factor) for factor in factors])
    for component, weight in enumerate(weights):
        outer = np.array(weight)
        for factor in factors:
            outer = np.multiply.outer(outer, factor[:, component])
        total += outer
    return total


@pytest.mark.parametrize("shape", [(7, 5), (2, 3, 5), (5, 2, 7, 3), (2, 3, 2, 3, 2, 3, 2, 5)])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_planted_tensor_is_its_model(shape: tuple[int, ...], nonnegative: bool) -> None:
    planted = planted_tensor(shape, 4, 0.0, np.random.default_rng(3), nonnegative=nonnegative)
    np.testing.assert_allclose(planted.tensor, model(planted.weights, planted.factors), atol=1e-14)
    assert planted.tensor.shape == shape
    assert planted.weights.tolist() == pytest.approx([2, 5 / 3, 4 / 3, 1])
    for factor in planted.factors:
        np.testing.assert_allclose(np.linalg.norm(factor, axis=0), 1)
        assert (factor >= 0).all() == nonnegative
    noisy = planted_tensor(shape, 4, 0.3, np.random.default_rng(3), nonnegative=nonnegative)
    np.testing.assert_array_equal(noisy.factors[0], planted.factors[0])
    error = np.linalg.norm(noisy.tensor - planted.tensor) / np.linalg.norm(planted.tensor)
    assert error == pytest.approx(0.3)


def test_planted_symmetric_is_its_model_with_symmetric_noise(rng: np.random.Generator) -> None:
    exact = planted_symmetric(11, 3, 0.0, np.random.default_rng(5))
    np.testing.assert_allclose(exact.tensor, model(exact.weights, exact.factors), atol=1e-14)
    assert exact.factors[0] is exact.factors[2]
    gram = exact.factors[0].T @ exact.factors[0]
    np.testing.assert_allclose(np.diag(gram), 1)
    assert abs(gram[0, 1]) > 1e-3  # not orthogonal
    noisy = planted_symmetric(11, 3, 0.2, np.random.default_rng(5))
    for order in itertools.permutations(range(3)):
        np.testing.assert_allclose(noisy.tensor, noisy.tensor.transpose(order), rtol=0, atol=1e-15)
    error = noisy.tensor - exact.tensor
    assert noisy.noise == pytest.approx(np.linalg.norm(error) / np.linalg.norm(exact.tensor), rel=1e-12)
    large = planted_symmetric(40, 3, 0.1, rng)
    assert large.noise == pytest.approx(0.1, rel=0.05)
    spread = [(large.tensor - model(large.weights, large.factors))[place].std() for place in (3, 20, 39)]
    assert max(spread) < 1.2 * min(spread)


@pytest.mark.parametrize(
    ("shape", "rank", "noise"), [((5,), 2, 0.1), ((2, 0), 2, 0.1), ((2, 3), 0, 0.1), ((2, 3), 1, -1)]
)
def test_planted_refuses(shape: tuple[int, ...], rank: int, noise: float, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"are needed|must be at least"):
        planted_tensor(shape, rank, noise, rng)


def test_sample_tensor_is_its_truth(sample_data: Path) -> None:
    tensor = read(sample_data / "tensor.npz")
    truth = json.loads((sample_data / "tensor.truth.json").read_text())
    assert isinstance(tensor.values, np.ndarray)
    assert tensor.missing is not None
    assert tensor.shape == (12, 30, 52)
    assert list(tensor.mode_names) == truth["modes"] == ["shop", "product", "week"]
    assert list(tensor.labels) == truth["labels"]
    assert int(tensor.missing.sum()) == truth["missing"]
    assert tensor.missing[7, :, 17:19].all()
    known = tensor.values[~tensor.missing]
    assert known.min() >= 0
    exact = model(np.array(truth["weights"]), tuple(map(np.array, truth["factors"])))[~tensor.missing]
    large = exact > 5 * truth["noise"]  # small ones are cut at 0
    rest = known - exact
    assert rest[large].std() == pytest.approx(truth["noise"], rel=0.05)
    assert abs(rest[large].mean()) < 0.1 * truth["noise"]
    weeks = np.array(truth["factors"][2]).argmax(axis=0) + 1
    for component, week in zip(truth["components"], weeks, strict=True):
        assert abs(week - {"summer": 29, "winter": 3, "school": 35, "festive": 51}[component]) <= 2
    assert (sample_data / "tensor.npz").stat().st_size < 300_000


def test_sample_students_correlate_as_their_truth_says(sample_data: Path) -> None:
    truth = json.loads((sample_data / "students.truth.json").read_text())
    with (sample_data / "students.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["student", *truth["loadings"]]
    assert [row[0] for row in rows[:2]] == ["s001", "s002"]
    marks = np.array([[float(cell) if cell else np.nan for cell in row[1:]] for row in rows])
    assert marks.shape == (200, 16)
    assert int(np.isnan(marks).sum()) == truth["missing"] > 0
    assert np.nanmin(marks) >= 0
    assert np.nanmax(marks) <= 100
    loadings, correlation = np.array(list(truth["loadings"].values())), np.array(truth["correlation"])
    expected = loadings @ correlation @ loadings.T
    assert np.diag(expected).max() < 1
    np.fill_diagonal(expected, 1)
    found = np.ma.corrcoef(np.ma.masked_invalid(marks), rowvar=False).filled(np.nan)
    assert np.sqrt(((found - expected) ** 2).mean()) < 0.1
    for test, loading in truth["loadings"].items():
        subject, form = test.split("_")
        assert loading == pytest.approx(np.multiply(truth["subjects"][subject], truth["forms"][form]))


def test_samples_are_others_for_another_seed(tmp_path: Path, sample_data: Path) -> None:
    for seed, same in ((0, True), (1, False)):
        planted_sales(tmp_path, np.random.default_rng(seed))
        planted_students(tmp_path, np.random.default_rng(seed))
        for name in ("tensor.npz", "tensor.truth.json", "students.csv"):
            assert ((tmp_path / name).read_bytes() == (sample_data / name).read_bytes()) == same, (seed, name)
