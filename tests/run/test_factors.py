"""From tables to factors: planted tables, the tests of 1939, columns, stacks, holes, and every kind of bad input."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tdtool.config import FactorsConfig
from tdtool.errors import InputError, TdtoolError, UsageError
from tdtool.run.factor_columns import select_names
from tdtool.run.factors import FactorsResult, fit_factors
from tdtool.store import hdf5
from tdtool.store.verify import verify
from tests import oracles_factors as oracles

NAMES = [f"v{i}" for i in range(1, 10)]


def write(path: Path, columns: dict[str, list[object] | np.ndarray]) -> Path:
    """A CSV of these columns; NaN is an empty cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow(["" if isinstance(cell, float) and np.isnan(cell) else cell for cell in row])
    return path


def run(path: Path | str, tmp_path: Path, exports: tuple[str, ...] = (), **config: object) -> FactorsResult:
    output = tmp_path / "result.h5"
    return fit_factors(str(path), output, config=FactorsConfig(**config), force=True, exports=exports)  # type: ignore[arg-type]


@pytest.fixture
def loadings(rng: np.random.Generator) -> np.ndarray:
    """9 columns of 2 factors."""
    return oracles.planted_loadings((4, 5), 0.6, 0.85, rng)


@pytest.fixture
def columns(loadings: np.ndarray, rng: np.random.Generator) -> dict[str, list[object] | np.ndarray]:
    """300 rows of them, on scales of their own."""
    values = oracles.planted_table(loadings, 300, rng, 0.3)[0] * rng.uniform(1, 50, 9) + 100
    return dict(zip(NAMES, values.round(4).T, strict=True))


def test_planted_factors_are_found_named_and_stored(
    tmp_path: Path, columns: dict[str, list[object] | np.ndarray], loadings: np.ndarray
) -> None:
    path = write(tmp_path / "t.csv", {"student": [f"s{i}" for i in range(300)], **columns})
    found = run(path, tmp_path)
    assert found.n_factors == 2
    assert found.columns == NAMES
    assert oracles.congruence(found.model.pattern, loadings).min() > 0.98
    assert {frozenset(found.columns[i] for i in group.own) for group in found.model.groups} == {
        frozenset(NAMES[:4]),
        frozenset(NAMES[4:]),
    }
    assert found.ids[:2] == ["s0", "s1"]
    assert found.model.statistics is not None
    assert (found.model.statistics.rmsea or 0) < 0.06
    assert found.ledger.rows_used == 300
    with hdf5.open(found.path) as reader:
        np.testing.assert_array_equal(reader.get("loadings/pattern"), found.model.pattern)
        np.testing.assert_array_equal(reader.get("scores/value"), found.model.scores)
        assert list(reader.get("variables/name")) == NAMES
        assert list(reader.get("scores/id"))[299] == "s299"
        np.testing.assert_allclose(reader.get("variables/mean"), [np.mean(columns[name]) for name in NAMES])
        assert reader.attributes["source"]["path"] == str(path)
        assert reader.attributes["method"] == "ml"
    assert verify(found.path) == []
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize("rotation", ["promax", "varimax", "oblimin", "none"])
def test_rotations_are_applied(tmp_path: Path, columns: dict[str, list[object] | np.ndarray], rotation: str) -> None:
    found = run(write(tmp_path / "t.csv", columns), tmp_path, rotation=rotation, n_factors=2)
    correlated = abs(found.model.correlation[0, 1]) > 0.05
    assert found.model.rotation == rotation
    assert correlated == (rotation in ("promax", "oblimin"))
    implied = found.model.pattern @ found.model.correlation @ found.model.pattern.T
    np.testing.assert_allclose(np.diag(implied), found.model.communality)


def test_holes_change_little_and_can_be_dropped(
    tmp_path: Path, columns: dict[str, list[object] | np.ndarray], loadings: np.ndarray, rng: np.random.Generator
) -> None:
    values = oracles.with_holes(np.column_stack(list(columns.values())), 0.05, rng)
    values[7] = np.nan
    path = write(tmp_path / "t.csv", dict(zip(NAMES, values.T, strict=True)))
    pairwise, dropped = run(path, tmp_path), run(path, tmp_path, missing="drop")
    complete = ~np.isnan(values).any(axis=1)
    for found, used in ((pairwise, 299), (dropped, complete.sum())):
        assert oracles.congruence(found.model.pattern, loadings).min() > 0.97
        assert (found.ledger.rows_used, found.ledger.rows_in) == (used, 300)
        assert np.isfinite(found.model.scores).all()
    assert pairwise.ledger.skips["no value in the columns chosen"].examples == [f"{path}:9"]
    assert any("cells are missing" in note for note in pairwise.notes)
    assert not any("cells are missing" in note for note in dropped.notes)
    assert len(dropped.ids) == complete.sum()
    assert dropped.ids == [str(i + 1) for i in np.flatnonzero(complete)]


def test_columns_that_measure_nothing_are_left_out_with_a_reason(
    tmp_path: Path, columns: dict[str, list[object] | np.ndarray], rng: np.random.Generator
) -> None:
    few = np.full(300, np.nan)
    few[:9] = range(9)
    more: dict[str, list[object] | np.ndarray] = {
        "subject": list(range(300, 0, -1)),
        "town": ["a", "b", "c"] * 100,
        "sex": rng.integers(0, 2, 300),
        "wave": [1] * 300,
        "rare": few,
        "twice": np.asarray(columns["v2"]) * 12 + rng.standard_normal(300) * 1e-3,
        "sum": np.asarray(columns["v1"]) - 3 * np.asarray(columns["v5"]),
    }
    found = run(write(tmp_path / "t.csv", {**columns, **more}), tmp_path)
    assert found.columns == NAMES
    assert found.left_out == {
        "town": "text ('a' in line 2)",
        "sex": "two values only: a group, no measurement",
        "wave": "constant",
        "rare": "only 9 values",
        "twice": "follows from v2",
        "sum": "follows from v1 and v5",
    }
    assert found.ids[0] == "300", "subject names the rows"


def test_items_of_two_values_are_columns_where_most_are_so(tmp_path: Path, rng: np.random.Generator) -> None:
    values = oracles.planted_table(np.full((6, 1), 0.8), 400, rng)[0] > 0
    found = run(write(tmp_path / "t.csv", dict(zip("abcdef", values.astype(int).T, strict=True))), tmp_path)
    assert (found.columns, found.n_factors) == (list("abcdef"), 1)
    assert found.model.rotation == "none"


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("b", "b"),
        ("b,t2", "b t2"),
        ("t*", "t1 t2 t10"),
        ("t1:t10", "t1 t2 x:y t10"),
        ("t10:t1", "t1 t2 x:y t10"),
        ("x:y , b", "b x:y"),
        ("t?,b", "b t1 t2"),
        ("[xt]*", "t1 t2 x:y t10"),
    ],
)
def test_columns_by_name_glob_and_range(wanted: str, names: str) -> None:
    assert select_names(["b", "t1", "t2", "x:y", "t10", "c"], wanted)[0] == names.split()


@pytest.mark.parametrize(
    ("config", "words", "code"),
    [
        ({"columns": "v1,v99"}, "there is no column 'v99'; did you mean v9", 2),
        ({"columns": "v1:vv9"}, "there is no column 'vv9'", 2),
        ({"columns": "z*"}, "there is no column 'z*'", 2),
        ({"columns": "v1,v2,town"}, "'town' cannot be used: text ('x' in line 2)", 3),
        ({"columns": "v1,v2,same"}, "'same' cannot be used: constant", 3),
        ({"columns": "v1,v2,stray"}, ":5: 'oops' in the column 'stray' is not a number", 3),
        ({"columns": "s*"}, ":5: 'oops' in the column 'stray' is not a number", 3),
        ({}, ":5: 'oops' in the column 'stray' is not a number", 3),
        ({"columns": "endless,v*"}, ":6: 'inf' in the column 'endless' is not finite", 3),
        ({"columns": "v1,v2"}, "2 columns measure something; a factor needs 3", 3),
        ({"columns": "town,v1:v3", "id_column": "town"}, "comes twice in the id column", 3),
        ({"columns": "v*", "id_column": "nobody"}, "there is no column 'nobody'", 2),
        ({"columns": "v*", "n_factors": 6}, "6 factors were asked for; 9 columns determine 5 at most", 3),
        ({"columns": "v*", "stack": "term"}, "--stack term: there is no such column", 2),
        ({"columns": "v*", "stack": "town"}, "no column has such names", 3),
        ({"columns": "v*", "stack": "suffix:_a"}, "takes two endings or more", 2),
        ({"columns": "v*", "stack": "suffix:_a,_b"}, "it needs 10, 2 and 2", 3),
    ],
)
def test_bad_columns(
    tmp_path: Path, columns: dict[str, list[object] | np.ndarray], config: dict[str, object], words: str, code: int
) -> None:
    stray = list(map(str, range(300)))
    stray[3] = "oops"
    endless = np.arange(300.0)
    endless[4] = np.inf
    more: dict[str, list[object] | np.ndarray] = {"town": ["x"] * 300, "same": [1] * 300, "stray": [*stray]}
    path = write(tmp_path / "t.csv", {**columns, **more, "endless": endless})
    with pytest.raises(TdtoolError) as caught:
        run(path, tmp_path, **config)
    assert words in str(caught.value)
    assert caught.value.exit_code == code
    assert not (tmp_path / "result.h5").exists()


@pytest.mark.parametrize(
    ("n", "p", "words"),
    [(9, 4, "9 rows are too few"), (12, 15, "12 rows are too few for 15 columns"), (40, 2, "needs 3")],
)
def test_tables_that_are_too_small(tmp_path: Path, n: int, p: int, words: str, rng: np.random.Generator) -> None:
    values = rng.standard_normal((n, p))
    path = write(tmp_path / "t.csv", {f"c{i}": column for i, column in enumerate(values.T)})
    with pytest.raises(InputError) as caught:
        run(path, tmp_path)
    assert words in str(caught.value) or (n == 9 and "only 9 values" in str(caught.value))


def test_noise_has_no_factors(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write(tmp_path / "t.csv", dict(zip("abcde", rng.standard_normal((5, 200)), strict=True)))
    with pytest.raises(InputError, match="no more in common than random numbers"):
        run(path, tmp_path)
    assert run(path, tmp_path, n_factors=1).n_factors == 1


def test_pairs_that_are_never_seen_together(tmp_path: Path, columns: dict[str, list[object] | np.ndarray]) -> None:
    halves = {**columns, "v1": np.asarray(columns["v1"]).copy(), "v2": np.asarray(columns["v2"]).copy()}
    halves["v1"][:150] = np.nan  # type: ignore[call-overload]
    halves["v2"][145:] = np.nan  # type: ignore[call-overload]
    with pytest.raises(InputError, match="v1 and v2 have values together in 0 rows; 10 are needed"):
        run(write(tmp_path / "t.csv", halves), tmp_path)
    with pytest.raises(InputError, match="no row is without a missing value"):
        run(tmp_path / "t.csv", tmp_path, missing="drop")


def test_warnings_say_what_to_doubt(tmp_path: Path, rng: np.random.Generator) -> None:
    loadings = np.array([[0.8, 0], [0.7, 0], [0.7, 0], [0.5, 0.5], [0, 0.8], [0, 0.8], [0, 0]])
    values = oracles.planted_table(loadings, 80, rng)[0]
    found = run(write(tmp_path / "t.csv", dict(zip("abcdefg", values.T, strict=True))), tmp_path, n_factors=2)
    told = "\n".join(found.warnings)
    assert "80 rows for 7 columns are few" in told
    assert "no factor explains g: every loading is below 0.3" in told
    assert "more than one factor explains d" in told
    doubled = run(
        write(tmp_path / "t.csv", {**dict(zip("abcdefg", values.T, strict=True)), "h": values[:, 0]}),
        tmp_path,
        n_factors=2,
        columns="a,b,c,d,e,f,g,h",
    )
    assert any("least squares (minres)" in warning for warning in doubled.warnings)


def test_the_same_seed_gives_the_same_content(tmp_path: Path, columns: dict[str, list[object] | np.ndarray]) -> None:
    path = write(tmp_path / "t.csv", columns)
    digests = []
    for seed in (1, 1, 2):
        with hdf5.open(run(path, tmp_path, seed=seed).path) as reader:
            digests.append(reader.attributes["content_digest"])
    assert digests[0] == digests[1] != digests[2], "the thresholds of the parallel analysis are drawn"


def test_exports(tmp_path: Path, columns: dict[str, list[object] | np.ndarray]) -> None:
    path = write(tmp_path / "t.csv", {"id": [f"p{i}" for i in range(300)], **columns})
    names = ("l.csv", "l.scores.csv", "l.json", "l.scores.json", "l.npz", "l.parquet")
    found = run(path, tmp_path, exports=tuple(str(tmp_path / name) for name in names))
    rows = list(csv.DictReader((tmp_path / "l.csv").read_text(encoding="utf-8").splitlines()))
    assert list(rows[0]) == ["column", "F1", "F2", "communality"]
    np.testing.assert_allclose([float(row["F1"]) for row in rows], found.model.pattern[:, 0], rtol=1e-6)
    scores = list(csv.DictReader((tmp_path / "l.scores.csv").read_text(encoding="utf-8").splitlines()))
    assert (len(scores), scores[4]["id"]) == (300, "p4")
    assert float(scores[4]["F2"]) == pytest.approx(found.model.scores[4, 1], rel=1e-6)
    told = json.loads((tmp_path / "l.json").read_text(encoding="utf-8"))
    assert told["loadings"][8]["column"] == "v9"
    assert told["correlation"] == found.model.correlation.tolist()
    assert json.loads((tmp_path / "l.scores.json").read_text(encoding="utf-8"))["scores"][0]["id"] == "p0"
    arrays = np.load(tmp_path / "l.npz")
    np.testing.assert_array_equal(arrays["score"], found.model.scores)
    assert arrays["column"].tolist() == NAMES
    with pytest.raises(UsageError, match="no format"):
        run(path, tmp_path, exports=("l.xlsx",))


def stack_truth(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """values (60, 6, 2) of 2 factors, and their loadings."""
    loadings = oracles.planted_loadings((3, 3), 0.7, 0.9, rng)
    scores = rng.standard_normal((60, 2))
    weights = np.array([[1.3, 0.8], [0.7, 1.1]])
    values = np.einsum("ir,jr,kr->ijk", scores, loadings, weights)
    return values + 0.3 * rng.standard_normal(values.shape), loadings


def test_wide_and_long_tables_make_the_same_stack(tmp_path: Path, rng: np.random.Generator) -> None:
    values, loadings = stack_truth(rng)
    people = [f"p{i:02}" for i in range(60)]
    wide = {f"{name}_{part}": values[:, j, k] for j, name in enumerate("abcdef") for k, part in enumerate(["x", "y"])}
    order = rng.permutation(120)
    flat = values.transpose(2, 0, 1).reshape(120, 6)[order]
    long = {
        "term": np.array(["x"] * 60 + ["y"] * 60)[order],
        "person": np.array(people * 2)[order],
        **dict(zip("abcdef", flat.T, strict=True)),
    }
    one = run(write(tmp_path / "wide.csv", {"person": people, **wide}), tmp_path)
    assert any("taken as a stack of 2 tables" in note for note in one.notes)
    two = run(write(tmp_path / "long.csv", long), tmp_path, stack="term")
    for found in (one, two):
        assert (found.n_factors, found.columns, set(found.slices)) == (2, list("abcdef"), {"x", "y"})
        assert oracles.congruence(found.model.pattern, loadings).min() > 0.98
        assert sorted(found.ids) == people
    first, second = (dict(zip(f.ids, f.model.scores[:, 0], strict=True)) for f in (one, two))
    np.testing.assert_allclose([second[name] for name in people], [first[name] for name in people], atol=0.02)
    with hdf5.open(two.path) as reader:
        assert reader.get("slices/weight").shape == (2, 2)
        assert list(reader.get("slices/name")) == two.slices
    assert verify(two.path) == []
    exported = tmp_path / "s.npz"
    run(tmp_path / "wide.csv", tmp_path, exports=(str(exported),))
    assert np.load(exported)["slice"].tolist() == ["x", "y"]


def test_stacks_are_taken_apart_or_asked_for(tmp_path: Path, rng: np.random.Generator) -> None:
    values, _ = stack_truth(rng)
    wide = {f"{name}{part}": values[:, j, k] for j, name in enumerate("abcdef") for k, part in enumerate(["_x", "_y"])}
    path = write(tmp_path / "wide.csv", {**wide, "age": rng.standard_normal(60)})
    plain = run(path, tmp_path)
    assert (plain.slices, len(plain.columns), plain.model.method) == ([], 13, "ml")
    asked = run(path, tmp_path, stack="suffix:_x,_y")
    assert (asked.slices, asked.columns) == (["x", "y"], list("abcdef"))
    assert asked.left_out == {"age": "it has no ending of the stack"}
    chosen = run(path, tmp_path, columns="?_*")
    assert chosen.slices == ["x", "y"]
    assert run(path, tmp_path, columns="?_*", stack="none").slices == []


def test_a_long_stack_needs_ids_that_come_once_a_slice(tmp_path: Path, rng: np.random.Generator) -> None:
    values = {name: rng.standard_normal(40) for name in "abcd"}
    path = write(tmp_path / "t.csv", {"year": [1, 2] * 20, "who": ["p", "p"] * 20, **values})
    with pytest.raises(InputError, match=r":4: 'p' comes a second time in slice '1' \(first in line 2\)"):
        run(path, tmp_path, stack="year", id_column="who")


def test_the_planted_students_are_recovered(tmp_path: Path, sample_data: Path) -> None:
    truth = json.loads((sample_data / "students.truth.json").read_text(encoding="utf-8"))
    stacked = run(sample_data / "students.csv", tmp_path)
    assert (stacked.n_factors, stacked.slices) == (3, ["written", "oral"])
    wanted = np.array([truth["subjects"][name] for name in stacked.columns])
    assert oracles.congruence(stacked.model.pattern, wanted).min() > 0.95
    one_table = run(sample_data / "students.csv", tmp_path, stack="none")
    wanted = np.array([truth["loadings"][name] for name in one_table.columns])
    assert (one_table.n_factors, one_table.slices) == (3, [])
    assert oracles.congruence(one_table.model.pattern, wanted).min() > 0.95


GROUPS = {
    "spatial": {"t1", "t2", "t3", "t4"},
    "verbal": {"t5", "t6", "t7", "t8", "t9"},
    "speed": {"t10", "t11", "t12", "t13"},
    "memory": {"t14", "t15", "t16", "t17", "t18", "t19"},
}


@pytest.mark.shared_data
@pytest.mark.parametrize("wanted", ["t1_visual_perception:t24_woody_mccall", "t*", None])
@pytest.mark.parametrize("rotation", ["promax", "oblimin"])
def test_the_four_groups_of_holzinger_and_swineford(
    shared_data: Path, tmp_path: Path, wanted: str | None, rotation: str
) -> None:
    path = shared_data / "tensors" / "holzinger_swineford_1939.csv"
    found = run(path, tmp_path, columns=wanted, rotation=rotation)
    assert found.n_factors == 4
    own = [{found.columns[i].split("_")[0] for i in group.own} for group in found.model.groups]
    for tests in GROUPS.values():
        assert sum(tests <= group for group in own) == 1
    assert found.model.adequacy is not None
    assert found.model.adequacy.kmo > 0.85
    assert found.ids[:3] == ["1", "2", "3"]
    if wanted is None:
        assert found.left_out["age_months"] == "follows from age and month_since_birthday"
        assert {"sex", "school", "grade", "age_years"} <= set(found.left_out)


@pytest.mark.shared_data
def test_golden_numbers_of_holzinger_and_swineford(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "tensors" / "holzinger_swineford_1939.csv"
    found = run(path, tmp_path, columns="t1_visual_perception:t24_woody_mccall")
    np.testing.assert_allclose(found.model.parallel.eigenvalues[:5], [7.28, 2.40, 1.82, 1.61, 0.99], atol=0.005)
    statistics = found.model.statistics
    assert statistics is not None
    assert (statistics.df, round(statistics.chi_square, 1)) == (186, 263.1)
    assert (statistics.rmsea, statistics.tli) == (pytest.approx(0.040, abs=5e-4), pytest.approx(0.956, abs=5e-4))
    top = [found.columns[group.own[0]] for group in found.model.groups]
    assert top == ["t7_sentence", "t4_lozenges", "t10_addition", "t14_word_recognition"]
