"""Decompositions in other formats say what their files say."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tdtool.store.exports import export_all
from tests.store.samples import (
    IDS,
    PLACES,
    RANK,
    RANKS,
    SHAPE,
    cp_content,
    factors_content,
    tucker_content,
    write_cp,
    write_factors,
    write_tucker,
)

SUFFIXES = ("csv", "tsv", "json", "parquet", "npz")
SAFE = ["'=now()", "\x1b[1mbold", "三", "four", "5", "-6", "g"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every export of one file of each kind."""
    folder = tmp_path_factory.mktemp("exports")
    files = {
        "cp": (write_cp(folder / "cp.h5"), ""),
        "tucker": (write_tucker(folder / "tucker.h5"), ".core"),
        "complex": (write_tucker(folder / "complex.h5", tucker_content(imaginary=True)), ".core"),
        "factors": (write_factors(folder / "factors.h5"), ".scores"),
    }
    for name, (path, part) in files.items():
        export_all(path, [folder / f"{name}{kind}.{suffix}" for suffix in SUFFIXES for kind in {"", part}])
    return folder


def table(path: Path) -> list[dict[str, str]]:
    """Rows of a .csv or .tsv."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


def arrays(path: Path) -> dict[str, Any]:
    """Arrays of a .npz."""
    with np.load(path, allow_pickle=False) as found:
        return dict(found)


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_components_as_a_table(exported: Path, suffix: str) -> None:
    rows, content = table(exported / f"cp.{suffix}"), cp_content()
    assert list(rows[0]) == ["mode", "index", "label", "component", "weight", "value"]
    assert len(rows) == sum(SHAPE) * RANK
    first = rows[: SHAPE[0] * RANK]
    assert {row["mode"] for row in first} == {"place"}
    assert [row["label"] for row in first[::RANK]] == SAFE
    values = np.array([float(row["value"]) for row in first]).reshape(SHAPE[0], RANK)
    np.testing.assert_array_equal(values, content["factors/mode0"])
    assert [float(row["weight"]) for row in rows[-RANK:]] == content["components/weight"].tolist()
    assert [(row["mode"], row["index"], row["label"], row["component"]) for row in rows[-RANK:]] == [
        ("mode2", "4", "", str(component)) for component in range(RANK)
    ]


def test_components_as_parquet_and_matrices(exported: Path) -> None:
    columns, content = pq.read_table(exported / "cp.parquet").to_pydict(), cp_content()
    assert columns["label"][: SHAPE[0] * RANK : RANK] == PLACES
    values = np.concatenate([content[f"factors/mode{mode}"].reshape(-1) for mode in range(3)])
    np.testing.assert_array_equal(columns["value"], values)
    found = arrays(exported / "cp.npz")
    assert set(found) == {"weights", "factor_0", "factor_1", "factor_2", "labels_0", "mode_names"}
    for mode in range(3):
        np.testing.assert_array_equal(found[f"factor_{mode}"], content[f"factors/mode{mode}"], strict=True)
    np.testing.assert_array_equal(found["weights"], content["components/weight"], strict=True)
    assert found["labels_0"].tolist() == PLACES
    assert found["mode_names"].tolist() == ["place", "sex", "mode2"]


def test_components_as_json(exported: Path) -> None:
    whole, content = json.loads((exported / "cp.json").read_text(encoding="utf-8")), cp_content()
    assert whole["modes"] == [
        {"name": "place", "labels": PLACES},
        {"name": "sex", "labels": None},
        {"name": "mode2", "labels": None},
    ]
    assert whole["relative_error"] == 0.25
    assert [component["weight"] for component in whole["components"]] == content["components/weight"].tolist()
    assert whole["components"][1]["factors"][2] == content["factors/mode2"][:, 1].tolist()


@pytest.mark.parametrize("kind", ["tucker", "complex"])
def test_core_and_factors(exported: Path, kind: str) -> None:
    content = tucker_content(imaginary=kind == "complex")
    core = content["core/values"] + (1j * content["core/imaginary"] if kind == "complex" else 0)
    factor = content["factors/mode1"] + (1j * content["imaginary/mode1"] if kind == "complex" else 0)
    found = arrays(exported / f"{kind}.npz")
    np.testing.assert_array_equal(found["core"], core, strict=True)
    np.testing.assert_array_equal(found["factor_1"], factor, strict=True)
    rows = table(exported / f"{kind}.core.csv")
    assert len(rows) == core.size
    place = tuple(int(rows[7][f"component_{mode}"]) for mode in range(3))
    assert place == np.unravel_index(7, RANKS)
    assert complex(float(rows[7]["value"]), float(rows[7].get("imaginary", 0))) == core[place]
    factors = [row for row in table(exported / f"{kind}.csv") if row["mode"] == "sex"]
    assert [(row["index"], row["component"]) for row in factors] == [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")]
    assert [float(row["value"]) for row in factors] == factor.real.reshape(-1).tolist()
    whole = json.loads((exported / f"{kind}.json").read_text(encoding="utf-8"))
    stored = np.array(whole["factors"][1]["factor"])
    np.testing.assert_array_equal(stored[..., 0] + 1j * stored[..., 1] if kind == "complex" else stored, factor)
    assert np.array(whole["core"]).shape == (*RANKS, *((2,) if kind == "complex" else ()))


def test_loadings_and_scores(exported: Path) -> None:
    content = factors_content()
    rows = table(exported / "factors.csv")
    assert [row["column"] for row in rows] == ["'=a", "b", "c", "d", "e"]
    np.testing.assert_array_equal(
        [np.float32(row["F2"]) for row in rows], content["loadings/pattern"][:, 1].astype("f4")
    )
    scores = table(exported / "factors.scores.tsv")
    assert [row["F2"] for row in scores][1] == "", "not known"
    assert np.float32(scores[2]["F1"]) == np.float32(content["scores/value"][2, 0])
    told = json.loads((exported / "factors.scores.json").read_text(encoding="utf-8"))["scores"]
    assert [row["id"] for row in told] == IDS
    assert told[1]["F2"] is None
    whole = json.loads((exported / "factors.json").read_text(encoding="utf-8"))
    assert whole["correlation"] == content["factors/correlation"].tolist()
    assert whole["loadings"][3]["communality"] == content["loadings/communality"][3]
    found = arrays(exported / "factors.npz")
    np.testing.assert_array_equal(found["score"], content["scores/value"], strict=True)
    assert found["column"].tolist() == content["variables/name"]


def test_bytes_are_the_same_every_time(exported: Path, tmp_path: Path) -> None:
    write_cp(tmp_path / "cp.h5")
    for suffix in SUFFIXES:
        export_all(tmp_path / "cp.h5", [tmp_path / f"cp.{suffix}"])
        assert (tmp_path / f"cp.{suffix}").read_bytes() == (exported / f"cp.{suffix}").read_bytes()
