"""One flipped bit is found, wherever it is, and nothing that a file holds can take verify down."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdtool.errors import InputError
from tdtool.store import schema
from tdtool.store import verify as verify_module
from tdtool.store.probe import probe
from tdtool.store.seal import LENGTH, add_seal, check_seal
from tdtool.store.verify import verify, verify_fully
from tests.store.samples import (
    corpus_content,
    cp_content,
    factors_content,
    topics_content,
    tucker_content,
    write_corpus,
    write_cp,
    write_documents,
    write_factors,
    write_topics,
    write_tucker,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verify")
    write_topics(path / "topics.h5")
    write_corpus(path / "corpus.h5")
    write_documents(path / "documents.h5")
    write_cp(path / "cp.h5")
    write_tucker(path / "tucker.h5", tucker_content(imaginary=True))
    write_factors(path / "factors.h5")
    return path


@pytest.mark.parametrize("name", ["topics", "corpus", "documents", "cp", "tucker", "factors"])
def test_good_file(folder: Path, name: str) -> None:
    found = verify_fully(folder / f"{name}.h5")
    assert found.findings == []
    assert found.schema == f"tdtool.{name}"
    assert len(found.content_digest) == 32


def _flip(path: Path, offset: int, bit: int, target: Path) -> Path:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    target.write_bytes(data)
    return target


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), name=st.sampled_from(["topics", "corpus"]))
def test_one_flipped_bit_is_found(folder: Path, place: float, bit: int, name: str) -> None:
    path = folder / f"{name}.h5"
    assert check_seal(_flip(path, int(place * path.stat().st_size), bit, folder / "flipped.h5")) is not None


@pytest.mark.parametrize(("place", "bit"), [(0.02, 0), (0.4, 7), (0.77, 3), (0.999, 1)])
def test_flipped_bit_is_found_by_the_child(folder: Path, tmp_path: Path, place: float, bit: int) -> None:
    path = folder / "topics.h5"
    assert verify(_flip(path, int(place * path.stat().st_size), bit, tmp_path / "flipped.h5"))


def _places(file_path: Path) -> dict[str, tuple[int, int]]:
    """First byte and length of each array's values in a file."""
    places = {}
    with h5py.File(file_path) as file:
        groups = schema.SCHEMAS[file.attrs["schema"]].groups
        for path in [f"{group}/{name}" for group in groups if group in file for name in file[group]]:
            dataset = file[path].id
            if file[path].chunks is not None:
                chunk = dataset.get_chunk_info(0)
                places[path] = (chunk.byte_offset, chunk.size)
            else:
                places[path] = (dataset.get_offset(), dataset.get_storage_size())
    return places


@pytest.mark.parametrize("name", ["topics", "corpus", "cp", "tucker", "factors"])
def test_damaged_array_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    path = folder / f"{name}.h5"
    rng = np.random.default_rng(1)
    for array, (start, length) in _places(path).items():
        offset = start + int(rng.integers(length))
        if array.startswith(("vocabulary/term", "documents/id", "labels/", "modes/", "slices/name")) or array in (
            "scores/id",
            "variables/name",
        ):
            offset = start + 8  # where the text lies: elsewhere the damage is to the structure
        findings = probe(_flip(path, offset, int(rng.integers(8)), tmp_path / "flipped.h5")).findings
        assert array in [finding.where for finding in findings], array


def _rewrite(path: Path, change: Callable[[h5py.File], Any]) -> Path:
    """Change a file and seal it again, as an attacker would."""
    path.write_bytes(path.read_bytes()[:-LENGTH])
    with h5py.File(path, "r+") as file:
        change(file)
    add_seal(path)
    return path


def test_changed_value_under_a_new_seal(folder: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(folder / "topics.h5", tmp_path / "m.h5"))

    def change(file: h5py.File) -> None:
        file["documents/length"][2] = 99

    assert [finding.where for finding in verify(_rewrite(path, change))] == ["documents/length"]


def test_swapped_digests_under_a_new_seal(folder: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(folder / "topics.h5", tmp_path / "m.h5"))

    def change(file: h5py.File) -> None:
        file.attrs["content_digest"] = "0" * 32

    assert [finding.what for finding in verify(_rewrite(path, change))] == [
        "the content digest is not that of the arrays"
    ]


@pytest.mark.parametrize(
    ("array", "values", "message"),
    [
        ("counts/indptr", [0, 3, 2, 6], "does not climb from 0 to 6"),
        ("counts/indptr", [1, 2, 3, 6], "does not climb"),
        ("partitions/start", [0, 2, 2], "does not climb from 0 to 3"),
        ("counts/indices", np.array([0, 3, 1, 0, 1, 4], np.int32), "outside the vocabulary of 4"),
        ("counts/indices", np.array([0, -1, 1, 0, 1, 2], np.int32), "outside the vocabulary"),
        ("counts/data", np.array([5, 0, 2, 1, 1, 9], np.int32), "counts below 1"),
    ],
)
def test_corpus_that_would_lead_kernels_astray(tmp_path: Path, array: str, values: Any, message: str) -> None:
    path = write_corpus(tmp_path / "c.h5", corpus_content() | {array: values})
    (finding,) = verify(path)
    assert finding.where == array
    assert message in finding.what


@pytest.mark.parametrize(
    ("value", "message"), [(0.5, "row 1 is no distribution"), (np.nan, "not finite"), (-1, "row 1")]
)
def test_shares_must_sum_to_one(tmp_path: Path, value: float, message: str) -> None:
    content = topics_content()
    content["topics/topic_word"] = content["topics/topic_word"].copy()
    content["topics/topic_word"][1, 4] += value
    findings = verify(write_topics(tmp_path / "m.h5", content))
    assert any(finding.where == "topics/topic_word" and message in finding.what for finding in findings)


def _scaled(content: dict[str, Any], name: str, factor: Any) -> dict[str, Any]:
    return content | {name: content[name] * factor}


@pytest.mark.parametrize(
    ("write", "content", "where", "message"),
    [
        (write_cp, _scaled(cp_content(), "components/weight", [1, 3, 1]), "components/weight", "not descending"),
        (write_cp, _scaled(cp_content(), "components/weight", [1, 1, -1]), "components/weight", "at least 0"),
        (write_cp, _scaled(cp_content(), "factors/mode1", [1, 1, 1.001]), "factors/mode1", "length is not 1"),
        (write_cp, _scaled(cp_content(), "history/error", np.inf), "history/error", "not finite"),
        (write_tucker, _scaled(tucker_content(), "factors/mode2", 1.01), "factors/mode2", "not orthonormal"),
        (write_tucker, _scaled(tucker_content(), "factors/mode1", np.nan), "factors/mode1", "not finite"),
        (
            write_factors,
            factors_content() | {"factors/correlation": np.array([[1, 0.5], [0.25, 1]])},
            "factors/correlation",
            "no matrix of correlations",
        ),
    ],
)
def test_decomposition_that_is_none(
    tmp_path: Path, write: Callable[..., Path], content: dict[str, Any], where: str, message: str
) -> None:
    findings = probe(write(tmp_path / "d.h5", content)).findings
    assert any(finding.where == where and message in finding.what for finding in findings)


def test_component_of_zeros_is_one(tmp_path: Path) -> None:
    content = _scaled(cp_content(), "components/weight", [1, 1, 0])
    assert probe(write_cp(tmp_path / "cp.h5", _scaled(content, "factors/mode1", [1, 1, 0]))).findings == []


def test_seal_finds_what_was_cut_or_added(folder: Path, tmp_path: Path) -> None:
    data = (folder / "corpus.h5").read_bytes()
    for changed in (data[:-1], data + b"\n", data[:-60], b""):
        path = tmp_path / "c.h5"
        path.write_bytes(changed)
        assert check_seal(path) is not None


def test_file_that_is_no_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_text("hello")
    assert "not an HDF5 file" in [finding.what for finding in verify(path)]
    with pytest.raises(InputError, match="no such file"):
        verify(tmp_path / "none.h5")
    with pytest.raises(InputError, match="not a plain file"):
        verify(tmp_path)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed the HDF5 library (SIGSEGV)"),
        ("import time; time.sleep(60)", "did not end within"),
        ("raise MemoryError", "reading it failed (MemoryError)"),
    ],
)
def test_child_that_dies_is_a_finding(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    """The child is replaced by one that ends as HDF5 may on a hostile file."""
    (tmp_path / "child.py").write_text(code)
    monkeypatch.setattr(verify_module, "_PROBE", "child")
    monkeypatch.setattr(verify_module, "_SECONDS", 1)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (finding,) = verify(folder / "corpus.h5")
    assert message in finding.what
