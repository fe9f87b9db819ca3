"""From a tensor in a file to components in a file, and every way in which that cannot be."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from tdtool.config import DecomposeConfig, TensorConfig
from tdtool.decompose.results import CPFit, TuckerFit
from tdtool.errors import InputError, ResourceError, TdtoolError, UsageError
from tdtool.kernels import threads
from tdtool.run import decompose as run_module
from tdtool.run.components import core_entries, cp_components, squares_of, top_entries, tucker_modes
from tdtool.run.decompose import DecomposeResult, decompose, plan_decompose
from tdtool.store import hdf5
from tdtool.store.verify import verify
from tests.store.samples import names

SHAPE = (7, 5, 6)
LABELS = [f"place {i}" for i in range(7)]


def planted(rank: int = 2, shape: tuple[int, ...] = SHAPE, seed: int = 3) -> tuple[np.ndarray, list[np.ndarray]]:
    """A tensor of `rank` positive components, and its factors."""
    rng = np.random.default_rng(seed)
    factors = [rng.gamma(1.0, size=(size, rank)) for size in shape]
    equation = ",".join(f"{chr(97 + mode)}z" for mode in range(len(shape)))
    return np.einsum(f"{equation}->{''.join(chr(97 + mode) for mode in range(len(shape)))}", *factors), factors


def saved(folder: Path, **arrays: Any) -> str:
    """The arrays in a .npz."""
    path = folder / "t.npz"
    np.savez(path, **arrays)
    return str(path)


def run(source: str, folder: Path, name: str = "out.h5", **settings: Any) -> DecomposeResult:
    """Decompose with DecomposeConfig(**settings)."""
    return decompose(source, folder / name, decompose=DecomposeConfig(**settings), workers=1)


def matched(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The largest cosine of each true column with a found one."""
    unit = truth / np.linalg.norm(truth, axis=0)
    return np.abs(unit.T @ found).max(axis=1)


def test_planted_components_are_found_and_stored(tmp_path: Path) -> None:
    tensor, factors = planted()
    result = run(saved(tmp_path, X=tensor, labels0=np.array(LABELS)), tmp_path, rank=2)
    assert isinstance(result.fit, CPFit)
    assert result.fit.relative_error < 1e-4
    for found, truth in zip(result.fit.factors, factors, strict=True):
        assert matched(found, truth).min() > 0.9999
    with hdf5.open(tmp_path / "out.h5") as reader:
        assert reader.schema.name == "tdtool.cp"
        np.testing.assert_array_equal(reader.get("components/weight"), result.fit.weights)
        np.testing.assert_array_equal(reader.get("factors/mode2"), result.fit.factors[2])
        assert reader.get("labels/mode0") == LABELS
        assert "labels/mode1" not in reader
        assert reader.get("modes/name") == ["mode0", "mode1", "mode2"]
        assert reader.get("history/error").tolist() == list(result.fit.errors)
        assert reader.attributes["norm"] == pytest.approx(np.linalg.norm(tensor))
        assert reader.attributes["config"]["decompose"]["rank"] == 2
        assert reader.attributes["source"]["path"] == "t.npz"
    assert verify(tmp_path / "out.h5") == []


def test_components_are_told_by_label(tmp_path: Path) -> None:
    tensor, factors = planted(rank=1)
    result = run(saved(tmp_path, X=tensor, labels0=np.array(LABELS)), tmp_path, rank=1)
    (component,) = result.components(2)
    strongest = np.argsort(-factors[0][:, 0])[:2]
    assert [label for label, _ in component["modes"][0]["top"]] == [LABELS[i] for i in strongest]
    assert component["modes"][1]["top"][0][0] == f"[{np.argmax(factors[1][:, 0])}]"
    assert component["weight"] == pytest.approx(np.linalg.norm(tensor))
    assert component["share"] == pytest.approx(1.0)
    assert json.loads(json.dumps(result.as_dict()))["components"][0]["weight"] == component["weight"]


def test_rank_is_chosen_and_said_why(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tensor = planted(2, (9, 8, 10))[0]
    tensor += 0.01 * np.linalg.norm(tensor) / math.sqrt(tensor.size) * rng.standard_normal(tensor.shape)
    result = run(saved(tmp_path, X=tensor), tmp_path, max_rank=3)
    choice = result.decomposition.choice
    assert choice is not None
    assert (choice.rank, isinstance(result.fit, CPFit) and result.fit.rank) == (2, 2)
    assert [row["rank"] for row in result.selection()] == [trial.rank for trial in choice.table]
    assert choice.reason
    with hdf5.open(result.path) as reader:
        assert reader.get("selection/rank").tolist() == [trial.rank for trial in choice.table]
        assert reader.attributes["reason"] == choice.reason


def test_same_seed_same_content(tmp_path: Path) -> None:
    source = saved(tmp_path, X=planted(3)[0] + np.random.default_rng(1).standard_normal(SHAPE))
    digests = []
    for name, seed in (("a.h5", 1), ("b.h5", 1), ("c.h5", 2)):
        run(source, tmp_path, name, method="sketch", rank=2, seed=seed, hash_length=64, max_iters=2)
        with hdf5.open(tmp_path / name) as reader:
            digests.append(reader.attributes["content_digest"])
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("case", ["cp", "cp-nonneg", "missing", "tucker"])
def test_same_content_for_any_number_of_workers(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "GRAIN", 2**18)
    shape, rng = (61, 57, 63), np.random.default_rng(8)
    tensor = planted(3, shape)[0] + rng.random(shape)
    if case == "missing":
        tensor[rng.random(shape) < 0.2] = np.nan
    settings: dict[str, Any] = {"ranks": (3, 2, 4)} if case == "tucker" else {"rank": 3}
    config = DecomposeConfig(method="cp" if case == "missing" else case, max_iters=9, **settings)
    digests = []
    for workers in (1, 2, 3):
        result = decompose(saved(tmp_path, X=tensor), tmp_path / f"{workers}.h5", decompose=config, workers=workers)
        with hdf5.open(result.path) as reader:
            digests.append(reader.attributes["content_digest"])
    assert len(set(digests)) == 1


@pytest.mark.parametrize("method", ["tucker", "hosvd"])
@pytest.mark.parametrize("part", [0, 1j])
def test_tucker_real_and_complex(tmp_path: Path, method: str, part: complex) -> None:
    rng = np.random.default_rng(5)
    core = rng.standard_normal((2, 3, 2)) + part * rng.standard_normal((2, 3, 2))
    factors = [rng.standard_normal((n, r)) for n, r in zip(SHAPE, (2, 3, 2), strict=True)]
    tensor = np.einsum("abc,ia,jb,kc->ijk", core, *factors)
    result = run(saved(tmp_path, X=tensor), tmp_path, method=method, max_error=1e-3)
    assert isinstance(result.fit, TuckerFit)
    assert result.fit.ranks == (2, 3, 2), "chosen by --max-error"
    assert result.fit.relative_error < 1e-6
    with hdf5.open(result.path) as reader:
        stored = reader.get("core/values") + (1j * reader.get("core/imaginary") if part else 0)
        assert ("imaginary/mode1" in reader) == bool(part)
    np.testing.assert_array_equal(stored, result.fit.core)
    assert verify(result.path) == []
    largest = result.core()[0]
    value = complex(*largest["value"]) if part else largest["value"]
    assert result.fit.core[tuple(largest["components"])] == value
    assert abs(value) == pytest.approx(np.abs(result.fit.core).max())


def test_error_of_each_mode_is_that_of_its_projection(tmp_path: Path) -> None:
    tensor = np.random.default_rng(8).standard_normal(SHAPE)
    result = run(saved(tmp_path, X=tensor), tmp_path, method="tucker", ranks=(2, 3, 4))
    factor = result.fit.factors[1]
    left = tensor - np.einsum("ijk,jl->ilk", tensor, factor @ factor.T)
    errors = [mode["relative_error"] for mode in result.modes(1)]
    assert errors[1] == pytest.approx(np.linalg.norm(left) / np.linalg.norm(tensor))
    shares = [component["share"] for component in result.modes(1)[2]["components"]]
    assert sum(shares) == pytest.approx(1 - result.fit.relative_error**2)


def test_missing_values_are_filled_by_the_model(tmp_path: Path) -> None:
    tensor, factors = planted(1)
    holes = tensor.copy()
    holes[np.random.default_rng(0).random(SHAPE) < 0.2] = np.nan
    result = run(saved(tmp_path, X=holes), tmp_path, rank=1, max_iters=500, tol=1e-10)
    assert result.n_missing == int(np.isnan(holes).sum())
    assert result.n_values + result.n_missing == holes.size
    assert matched(result.fit.factors[0], factors[0])[0] > 0.99999
    assert result.decomposition.norm == pytest.approx(math.sqrt(np.nansum(holes**2)))


def test_symmetric_powers(tmp_path: Path) -> None:
    vectors = np.linalg.qr(np.random.default_rng(2).standard_normal((6, 3)))[0]
    tensor = np.einsum("r,ir,jr,kr->ijk", [3.0, 2.0, 1.0], vectors, vectors, vectors)
    result = run(saved(tmp_path, X=tensor), tmp_path, method="power", rank=3)
    assert isinstance(result.fit, CPFit)
    np.testing.assert_allclose(result.fit.weights, [3, 2, 1], rtol=1e-6)


def test_sketch_says_that_exact_is_cheaper(tmp_path: Path) -> None:
    result = run(saved(tmp_path, X=planted()[0]), tmp_path, method="sketch", rank=2, hash_length=512, restarts=1)
    assert result.fit.relative_error < 0.5
    assert any("exact is cheaper" in warning for warning in result.warnings)


def test_sparse_tensor_stays_sparse(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    path = tmp_path / "t.tns"
    places = [f"{i + 1} {j + 1} {k + 1} {rng.gamma(1.0)}" for i in range(9) for j in range(4) for k in range(i % 3)]
    path.write_text("\n".join(places))
    result = run(str(path), tmp_path, rank=2, restarts=1)
    assert result.n_values == len(places)
    assert isinstance(result.fit, CPFit)
    assert 0 < result.fit.relative_error < 1
    assert result.ledger.rows_used == len(places)


# ---- what cannot be


GOOD = planted()[0]
SYMMETRIC = np.einsum("i,j,k->ijk", *[np.arange(1.0, 5)] * 3)
WITH_HOLES = np.where(np.arange(210).reshape(SHAPE) == 17, np.nan, GOOD)

USAGE: dict[str, tuple[dict[str, Any], str]] = {
    "rank with tucker": ({"method": "tucker", "rank": 2}, "--rank is for CP; --method tucker takes --ranks"),
    "ranks with cp": ({"ranks": (2, 2, 2)}, "--ranks is for tucker and hosvd"),
    "number of ranks": ({"method": "tucker", "ranks": (2, 2)}, "--ranks has 2 numbers, and the tensor has 3 modes"),
    "rank 0": ({"rank": 0}, "a rank of 0"),
    "ranks 0": ({"method": "hosvd", "ranks": (2, 0, 1)}, "a rank of 0"),
    "no method": ({"method": "parafac"}, "no method 'parafac'"),
    "sketch without rank": ({"method": "sketch"}, "needs a --rank"),
    "max error": ({"method": "tucker", "max_error": 1.0}, "lies between 0 and 1"),
    "tol": ({"rank": 1, "tol": -1.0}, "at least 0"),
    "no restarts": ({"rank": 1, "restarts": 0}, "--restarts is 0"),
    "max rank": ({"max_rank": 0}, "--max-rank is 0"),
}
INPUT: dict[str, tuple[np.ndarray, dict[str, Any], str]] = {
    "rank above size": (
        GOOD,
        {"method": "tucker", "ranks": (2, 6, 3)},
        "rank 6 of mode mode1 .* the size 5 of that mode",
    ),
    "rank above the others": (GOOD, {"method": "hosvd", "ranks": (5, 2, 2)}, "the 4 that the other ranks allow"),
    "rank beyond any": (GOOD, {"rank": 31}, "more than the 30 that any tensor of 7 x 5 x 6"),
    "missing in tucker": (WITH_HOLES, {"method": "tucker"}, "1 of 210 values are missing; --method tucker needs all"),
    "missing in power": (WITH_HOLES, {"method": "power", "rank": 1}, "values are missing"),
    "missing in sketch": (WITH_HOLES, {"method": "sketch", "rank": 1}, "values are missing"),
    "complex in cp": (GOOD * 1j, {"rank": 1}, "complex, and --method cp needs real ones"),
    "complex in power": (SYMMETRIC * 1j, {"method": "power", "rank": 1}, "complex"),
    "negative": (
        GOOD - 1e9 * (GOOD[0, 3, 5] == GOOD),
        {"method": "cp-nonneg", "rank": 1},
        r"negative value, .* at \[0, 3, 5\]",
    ),
    "zeros": (GOOD * 0, {"rank": 1}, "all its values are 0"),
    "huge": (GOOD * 1e200, {"rank": 1}, "its largest value is .*e\\+20"),
    "huge in single": ((GOOD * 1e30).astype(np.float32), {"rank": 1}, "its largest value is .*e\\+3"),
    "tiny": (GOOD * 1e-200, {"rank": 1}, "its largest value is .*e-"),
    "not symmetric": (GOOD[:5, :5, :5], {"method": "power", "rank": 1}, "exchanging its modes changes its values"),
    "no cube": (GOOD, {"method": "power", "rank": 1}, "7 x 5 x 6 is no cube"),
    "too many powers": (SYMMETRIC, {"method": "power", "rank": 5}, "rank 5 is more than the size 4"),
    "slice without values": (
        np.where(np.arange(5)[:, None] == 3, np.nan, GOOD),
        {"rank": 1},
        r"no value is known at mode1 \[3\]",
    ),
    "infinite": (np.where(GOOD[0, 0, 0] == GOOD, np.inf, GOOD), {"rank": 1}, "infinite"),
    "empty": (GOOD[:0], {"rank": 1}, "empty"),
    "a vector": (GOOD[0, 0], {"rank": 1}, "no array of numbers with two or more modes"),
    "a number": (np.array(3.0), {"rank": 1}, "number"),
}


@pytest.mark.parametrize("case", USAGE)
def test_contradicting_settings(tmp_path: Path, case: str) -> None:
    settings, message = USAGE[case]
    with pytest.raises(UsageError, match=message):
        run(saved(tmp_path, X=GOOD), tmp_path, **settings)
    assert names(tmp_path) == ["t.npz"]


@pytest.mark.parametrize("case", INPUT)
def test_tensor_that_the_method_cannot_take(tmp_path: Path, case: str) -> None:
    tensor, settings, message = INPUT[case]
    source = saved(tmp_path, X=tensor)
    with pytest.raises(InputError, match=message) as caught:
        run(source, tmp_path, **settings)
    assert caught.value.path == source
    assert names(tmp_path) == ["t.npz"]


@pytest.mark.parametrize("method", ["tucker", "hosvd", "power"])
def test_sparse_tensor_where_all_values_are_needed(tmp_path: Path, method: str) -> None:
    (tmp_path / "t.tns").write_text("1 1 1 2.0\n2 2 2 1.0\n")
    with pytest.raises(InputError, match=rf"sparse, and --method {method} needs all values\n.*cp"):
        run(str(tmp_path / "t.tns"), tmp_path, method=method)


def test_first_negative_value_is_named(tmp_path: Path) -> None:
    tensor = GOOD.copy()
    tensor[2, 4, 1] = tensor[3, 0, 0] = -0.5
    source = saved(tmp_path, X=tensor, labels0=np.array(LABELS))
    with pytest.raises(InputError, match=r"-0.5 at \[2, 4, 1\] \(counted from 0; mode0 place 2\)"):
        run(source, tmp_path, method="cp-nonneg", rank=1)
    (tmp_path / "t.tns").write_text("1 1 1 2.0\n2 3 2 -1.0\n3 1 1 -4\n")
    with pytest.raises(InputError, match=r"-1 at \[1, 2, 1\] \(counted from 0\)"):
        run(str(tmp_path / "t.tns"), tmp_path, method="cp-nonneg", rank=1)


def test_blas_has_one_thread_and_kernels_have_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[set[int], int]] = []
    fit = run_module.fit_tensor

    def watched(*arguments: Any) -> Any:
        blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
        seen.append((blas, threads.current()))
        return fit(*arguments)

    monkeypatch.setattr(run_module, "fit_tensor", watched)
    source = saved(tmp_path, X=planted()[0])
    with threadpool_limits(2, user_api="blas"):
        decompose(source, tmp_path / "out.h5", decompose=DecomposeConfig(rank=2), workers=3)
    assert seen == [({1}, 3)]


def test_output_is_checked_before_the_input(tmp_path: Path) -> None:
    (tmp_path / "out.h5").write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        run("nowhere.npz", tmp_path, rank=1)
    with pytest.raises(UsageError, match="suffix"):
        decompose("nowhere.npz", tmp_path / "x.h5", exports=["factors.xyz"])
    with pytest.raises(InputError, match=r"nowhere\.npz"):
        decompose("nowhere.npz", tmp_path / "x.h5")


def test_too_little_memory_is_told_before_the_fit(tmp_path: Path) -> None:
    source = saved(tmp_path, X=np.ones((64, 64, 64)))
    with pytest.raises(ResourceError, match=r"needs about .* MB.*\n.*--method sketch.*float32.*\.tns.*--memory"):
        decompose(source, tmp_path / "x.h5", decompose=DecomposeConfig(rank=50), memory=5 << 20)
    assert names(tmp_path) == ["t.npz"]


@pytest.mark.parametrize("error", [MemoryError(), np.linalg.LinAlgError("SVD did not converge")])
def test_errors_below_are_put_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("tdtool.run.decompose.fit_tensor", fail)
    with pytest.raises(TdtoolError) as caught:
        run(saved(tmp_path, X=GOOD), tmp_path, rank=1)
    assert isinstance(caught.value, ResourceError if isinstance(error, MemoryError) else InputError)
    assert names(tmp_path) == ["t.npz"]


def test_plan_counts_and_writes_nothing(tmp_path: Path) -> None:
    source = saved(tmp_path, X=WITH_HOLES)
    plan = plan_decompose(source, decompose=DecomposeConfig(max_rank=4), workers=1)
    assert (plan.shape, plan.n_values, plan.n_missing, plan.ranks) == (SHAPE, 209, 1, (1, 2, 3, 4))
    assert plan.tensor_bytes == 210 * 9
    assert plan.held_bytes > plan.tensor_bytes
    assert plan.operations > 4 * 210
    assert names(tmp_path) == ["t.npz"]
    with pytest.raises(UsageError, match="--ranks has 1"):
        plan_decompose(saved(tmp_path, X=GOOD), decompose=DecomposeConfig(method="hosvd", ranks=(1,)))


def test_array_is_chosen_by_key(tmp_path: Path) -> None:
    source = saved(tmp_path, X=GOOD, Y=planted(1, (3, 4, 2))[0])
    plan = plan_decompose(source, tensor=TensorConfig(key="Y"), decompose=DecomposeConfig(rank=1))
    assert plan.shape == (3, 4, 2)


# ---- what is told of components


def test_smooth_columns_are_told_by_their_peaks() -> None:
    axis = np.arange(60.0)
    column = np.exp(-(((axis - 20) / 6) ** 2)) - 0.5 * np.exp(-(((axis - 45) / 4) ** 2))
    assert [label for label, _ in top_entries(column, None, 5)] == ["[20]", "[45]"]
    assert top_entries(column, None, 1) == [("[20]", float(column[20]))]
    rough = np.random.default_rng(0).standard_normal(60)
    assert [label for label, _ in top_entries(rough, None, 3)] == [f"[{i}]" for i in np.argsort(-np.abs(rough))[:3]]
    assert len(top_entries(column, [str(i) for i in range(60)], 5)) == 5, "labels say what a number would not"
    assert top_entries(np.zeros(3), None, 2) == []


def test_shares_are_of_the_sum_of_squares() -> None:
    unit = np.eye(3)[:, :2]
    (first, second) = cp_components(np.array([3.0, 1.0]), [unit, unit], ["a", "b"], [None, None], 10.0, 1)
    assert (first["share"], second["share"]) == (0.9, 0.1)
    core = np.array([[3.0, 0.0], [0.0, 1j]])
    modes = tucker_modes(core, [unit, unit], ["a", "b"], [None, None], 10.0, 1)
    assert [component["share"] for component in modes[1]["components"]] == [0.9, 0.1]
    assert core_entries(core, 10.0)[1] == {"components": [1, 1], "value": [0.0, 1.0], "share": 0.1}
    assert squares_of(2.0, 10, 5) == 8.0
