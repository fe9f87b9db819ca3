"""A readable planted table: marks of 200 students in eight subjects, written and oral, from three abilities."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdtool.data.planted_sales import bell

FACTORS = ("verbal", "maths", "memory")
#: How much each ability counts in each subject.
LOADINGS = {
    "math": (0.0, 0.85, 0.0),
    "physics": (0.0, 0.8, 0.0),
    "chemistry": (0.0, 0.6, 0.3),
    "literature": (0.85, 0.0, 0.0),
    "french": (0.8, 0.0, 0.0),
    "history": (0.35, 0.0, 0.55),
    "geography": (0.0, 0.0, 0.8),
    "biology": (0.0, 0.0, 0.75),
}
#: How much each ability counts in a written and in an oral test.
FORMS = {"written": (0.9, 1.1, 1.0), "oral": (1.1, 0.8, 0.95)}
CORRELATION = ((1.0, 0.3, 0.4), (0.3, 1.0, 0.25), (0.4, 0.25, 1.0))
N_STUDENTS = 200
_MEAN, _SPREAD, _LOWEST, _HIGHEST = 60.0, 14.0, 0.0, 100.0
_ABSENT = 0.015


def planted_students(directory: Path, rng: np.random.Generator) -> None:
    """Write directory/students.csv and the truth beside it, students.truth.json: the same bytes for the same seed.

    A mark is 60 + 14 (loadings . abilities + own part), from 0 to 100; abilities and own part are nearly normal, and
    every test has variance 1 before it is scaled. Some cells are empty. The truth holds the loading of each test on
    each ability and the abilities' correlations. Only rng.random() is drawn from, and only + - * / and sqrt are used.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tests = {f"{subject}_{form}": _loadings(subject, form) for subject in LOADINGS for form in FORMS}
    abilities = _correlated(bell((N_STUDENTS, len(FACTORS)), rng))
    columns = []
    for loadings in tests.values():
        mark = math.sqrt(1.0 - _communality(loadings)) * bell((N_STUDENTS,), rng)
        for number, loading in enumerate(loadings):
            mark += loading * abilities[:, number]
        columns.append(np.clip(_MEAN + _SPREAD * mark, _LOWEST, _HIGHEST))
    absent = rng.random((N_STUDENTS, len(columns))) < _ABSENT
    lines = [",".join(["student", *tests])]
    for row in range(N_STUDENTS):
        cells = ["" if absent[row, test] else f"{column[row]:.1f}" for test, column in enumerate(columns)]
        lines.append(",".join([f"s{row + 1:03d}", *cells]))
    (directory / "students.csv").write_bytes(("\n".join(lines) + "\n").encode("ascii"))
    truth = {
        "factors": list(FACTORS),
        "loadings": {test: [round(loading, 4) for loading in loadings] for test, loadings in tests.items()},
        "subjects": {subject: list(loadings) for subject, loadings in LOADINGS.items()},
        "forms": {form: list(weights) for form, weights in FORMS.items()},
        "correlation": [list(row) for row in CORRELATION],
        "missing": int(absent.sum()),
    }
    (directory / "students.truth.json").write_bytes((json.dumps(truth, indent=1) + "\n").encode("ascii"))


def _loadings(subject: str, form: str) -> tuple[float, ...]:
    return tuple(loading * weight for loading, weight in zip(LOADINGS[subject], FORMS[form], strict=True))


def _communality(loadings: tuple[float, ...]) -> float:
    """The part of a test's variance that the abilities explain."""
    pairs = [(a, b) for a in range(len(FACTORS)) for b in range(len(FACTORS))]
    return sum(loadings[a] * loadings[b] * CORRELATION[a][b] for a, b in pairs)


def _correlated(independent: NDArray[np.float64]) -> NDArray[np.float64]:
    """Independent columns (n, 3) mixed so that they correlate as CORRELATION says (its Cholesky factor by hand)."""
    n_factors = len(FACTORS)
    lower = np.zeros((n_factors, n_factors))
    for row in range(n_factors):
        for column in range(row + 1):
            rest = CORRELATION[row][column] - sum(lower[row, k] * lower[column, k] for k in range(column))
            lower[row, column] = math.sqrt(rest) if row == column else rest / lower[column, column]
    mixed = np.zeros_like(independent)
    for row in range(n_factors):
        for column in range(row + 1):
            mixed[:, row] += lower[row, column] * independent[:, column]
    return mixed
