"""Parallel analysis counts planted factors, and none where there are none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from tdtool.decompose.correlations import correlations
from tdtool.decompose.parallel_analysis import parallel_analysis, reduced
from tests import oracles_factors as oracles

#: Columns a factor, range of loadings, rows, correlation of the factors, and how many of 20 tables must be right.
PLANTED = [
    ((6,), (0.4, 0.6), 100, 0.0, 19),
    ((4, 5), (0.6, 0.8), 150, 0.3, 19),
    ((4, 5, 6), (0.5, 0.8), 300, 0.3, 19),
    ((6, 6, 6, 6), (0.4, 0.7), 300, 0.2, 18),
    ((5, 6, 7, 5, 6), (0.5, 0.7), 1000, 0.4, 19),
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Matrices here are small: threads would only wait for each other."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.mark.parametrize(("sizes", "loads", "n", "correlation", "least"), PLANTED)
def test_planted_factors_are_counted(
    sizes: tuple[int, ...], loads: tuple[float, float], n: int, correlation: float, least: int
) -> None:
    draw = np.random.default_rng(3)
    hits = 0
    for _ in range(20):
        values = oracles.planted_table(oracles.planted_loadings(sizes, *loads, draw), n, draw, correlation)[0]
        found = parallel_analysis(correlations(values).matrix, n, n_draws=40, rng=draw)
        hits += found.n_factors == len(sizes)
        assert abs(found.n_common - len(sizes)) <= 1
    assert hits >= least


def test_independent_columns_have_no_factor() -> None:
    draw = np.random.default_rng(4)
    kept = [
        parallel_analysis(correlations(draw.standard_normal((150, 11))).matrix, 150, n_draws=100, rng=draw).n_factors
        for _ in range(40)
    ]
    assert sum(kept) <= 6, "5 % is the rule"


def test_thresholds_are_percentiles_of_random_tables(rng: np.random.Generator) -> None:
    """The matrices drawn without tables have the eigenvalues of tables."""
    n, p = 60, 7
    found = parallel_analysis(np.eye(p), n, n_draws=4000, percentile=90, rng=rng)
    tables = [np.linalg.eigvalsh(np.corrcoef(rng.standard_normal((p, n))))[::-1] for _ in range(4000)]
    np.testing.assert_allclose(found.thresholds, np.percentile(tables, 90, axis=0), rtol=0.01)
    np.testing.assert_array_equal(found.eigenvalues, np.ones(p))
    assert found.n_factors == 0


def test_holes_raise_the_thresholds(rng: np.random.Generator) -> None:
    missing = rng.random((120, 6)) < 0.5
    whole = parallel_analysis(np.eye(6), 120, n_draws=100, rng=rng)
    holes = parallel_analysis(np.eye(6), 120, missing=missing, n_draws=100, rng=rng)
    none = parallel_analysis(np.eye(6), 120, missing=np.zeros((120, 6), bool), n_draws=100, rng=rng)
    assert holes.thresholds[0] > whole.thresholds[0] + 0.15
    assert abs(none.thresholds[0] - whole.thresholds[0]) < 0.05


def test_large_tables_with_holes_are_not_drawn(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = rng.random((150, 6)) < 0.3
    drawn = parallel_analysis(np.eye(6), 150, missing=missing, n_draws=300, rng=rng)
    monkeypatch.setattr("tdtool.decompose.parallel_analysis._MOST_CELLS", 0)
    monkeypatch.setattr("tdtool.decompose.parallel_analysis.correlations", None)
    stand_in = parallel_analysis(np.eye(6), 150, missing=missing, n_draws=300, rng=rng)
    np.testing.assert_allclose(stand_in.thresholds, drawn.thresholds, rtol=0.05)


def test_fewer_rows_than_columns(rng: np.random.Generator) -> None:
    values = np.outer(rng.standard_normal(8), np.ones(11)) + 0.3 * rng.standard_normal((8, 11))
    found = parallel_analysis(np.corrcoef(values.T), 8, n_draws=100, rng=rng)
    assert found.n_factors == 1
    assert np.all(found.thresholds[8:] < 1e-9)


def test_the_same_seed_gives_the_same_numbers(rng: np.random.Generator) -> None:
    matrix = correlations(rng.standard_normal((50, 5))).matrix
    one, two, other = (parallel_analysis(matrix, 50, rng=np.random.default_rng(seed)).thresholds for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert np.any(one != other)


def test_the_reduced_diagonal_is_what_the_other_columns_explain(rng: np.random.Generator) -> None:
    values = rng.standard_normal((80, 4)) @ rng.standard_normal((4, 4))
    matrix = np.corrcoef(values.T)
    diagonal = np.diag(reduced(matrix[None])[0])
    for column in range(4):
        others = np.column_stack([np.delete(values, column, axis=1), np.ones(80)])
        rest = values[:, column] - others @ np.linalg.lstsq(others, values[:, column], rcond=None)[0]
        assert diagonal[column] == pytest.approx(1 - rest.var() / values[:, column].var())
