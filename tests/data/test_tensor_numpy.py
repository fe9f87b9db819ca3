"""Tensors from .npy and .npz files."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tdtool.errors import InputError, ResourceError, UsageError
from tests.data.source_reading import COMPRESSIONS
from tests.data.tensor_reading import SHAPE, dense, read, refused, sample


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("dtype", "result"),
    [
        *(("<f8", "f8"), (">f8", "f8"), ("<f4", "f4"), (">f4", "f4"), ("f2", "f4"), ("g", "f8"), ("i2", "f8")),
        *((">i8", "f8"), ("u1", "f8"), ("?", "f8"), ("<c8", "c8"), (">c16", "c16"), ("G", "c16")),
    ],
)
def test_npy_dtypes_and_layouts(tmp_path: Path, order: Any, dtype: str, result: str) -> None:
    written = np.asarray(sample() / 10, order=order).astype(dtype, order=order)
    np.save(tmp_path / "x.npy", written)
    tensor = read(tmp_path / "x.npy")
    assert isinstance(tensor.values, np.ndarray)
    assert tensor.values.dtype == np.dtype(result)
    assert tensor.values.dtype.isnative
    assert tensor.values.flags.f_contiguous == (order == "F")
    np.testing.assert_array_equal(tensor.values, written.astype(result))
    assert tensor.missing is None
    assert tensor.description == f"npy, array of 2 x 3 x 5 x 7 {np.dtype(result)}"


def test_npy_is_mapped_and_its_file_never_changed(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, sample())
    before = path.read_bytes()
    tensor = read(path)
    assert isinstance(tensor.values, np.ndarray)
    assert not tensor.values.flags.owndata
    tensor.values[:] = 0
    assert path.read_bytes() == before
    assert tensor.source == {
        "path": "x.npy",
        "bytes": len(before),
        "blake2b": hashlib.blake2b(before, digest_size=16).hexdigest(),
        "format": "npy",
        "key": None,
    }


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_compressed_files(tmp_path: Path, suffix: str, name: str) -> None:
    content = io.BytesIO()
    np.save(content, sample()) if name == "x.npy" else np.savez(content, x=sample())
    path = tmp_path / (name + suffix)
    path.write_bytes(COMPRESSIONS[suffix](content.getvalue()))
    np.testing.assert_array_equal(dense(read(path)), sample())


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    np.save(content, sample())
    monkeypatch.setattr("sys.stdin", type("In", (), {"buffer": io.BytesIO(content.getvalue())}))
    tensor = read("-")
    np.testing.assert_array_equal(dense(tensor), sample())
    assert tensor.source["path"] == "standard input"
    assert tensor.source["blake2b"] is None


def test_nan_is_missing(tmp_path: Path) -> None:
    values = sample()
    values[1, 2, 3, 4] = values[0, 0, 0, 0] = np.nan
    np.save(tmp_path / "x.npy", values)
    tensor = read(tmp_path / "x.npy")
    assert tensor.missing is not None
    assert np.argwhere(tensor.missing).tolist() == [[0, 0, 0, 0], [1, 2, 3, 4]]
    assert "2 values missing (1.0%)" in tensor.description


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_value_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    monkeypatch.setattr("tdtool.data.tensor._BLOCK", 1)
    values = sample()
    values[0, 1, 2, 3] = np.nan
    values[1, 2, 3, 4] = values[1, 2, 3, 5] = value
    np.save(tmp_path / "x.npy", values)
    error = refused(tmp_path / "x.npy", InputError)
    assert error.what == "the value at [1, 2, 3, 4] (counted from 0) is infinite or too large"
    assert error.exit_code == 3


def test_long_double_that_is_too_large(tmp_path: Path) -> None:
    if np.finfo(np.longdouble).max <= np.finfo(np.float64).max:
        pytest.skip("long double is double here")
    np.save(tmp_path / "x.npy", np.array([[1, 2], [3, np.longdouble("1e400")]], np.longdouble))
    assert "[1, 1]" in refused(tmp_path / "x.npy", InputError).what


def test_large_whole_numbers_are_counted(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[1, 2**53], [2**53 + 1, -(2**60)]]))
    tensor = read(tmp_path / "x.npy")
    assert tensor.ledger.counters == {"whole numbers beyond 2**53, rounded": 2}
    assert "2 whole numbers beyond 2**53, rounded" in tensor.description


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (np.float64(3), "the array is a single number; a tensor has 2 to 8 modes"),
        (np.arange(3.0), "the array is a vector of 3; a tensor has 2 to 8 modes"),
        (np.zeros((2, 0, 3)), "the array is empty: its shape is 2 x 0 x 3"),
        (np.zeros((1,) * 9), "the array has 9 modes (1 x 1 x 1 x 1 x 1 x 1 x 1 x 1 x 1); at most 8 can be handled"),
        (np.full((2, 3), np.nan), "all its values are missing"),
        (np.array([["a", "b"]]), "the array holds text, not numbers"),
        (np.array([["2020-01-01"]], "M8[D]"), "the array holds dates, not numbers"),
        (np.zeros((2, 3), [("a", "f8")]), "the array holds records, not numbers"),
        (np.array([[{}, None]]), "it is pickled, which is refused: reading it could run code"),
    ],
)
def test_npy_refused(tmp_path: Path, values: np.ndarray, what: str) -> None:
    np.save(tmp_path / "x.npy", values)
    assert refused(tmp_path / "x.npy", InputError).what == what


def test_npy_cut_or_continued(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, sample())
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert refused(path, InputError).what == "it ends too early: 1,679 of 1,680 bytes of values are there"
    path.write_bytes(whole + b"12")
    assert refused(path, InputError).what == "2 bytes follow the array"
    path.write_bytes(whole[:40])
    assert "it is not a numpy array" in refused(path, InputError).what


def _npy_that_claims(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": shape, "fortran_order": False, "descr": "<f8"})
    return header.getvalue() + bytes(80)


def test_a_terabyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(_npy_that_claims((1000, 1000, 125_000)))
    error = refused(tmp_path / "x.npy", ResourceError)
    assert error.what == "the array needs 1.0 TB of memory and 1.1 GB are allowed"
    assert error.exit_code == 4
    assert error.hint
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", _npy_that_claims((1000, 1000, 125_000)))
    assert refused(tmp_path / "x.npz", InputError).what == "x.npy in it does not have the size it claims"


def test_memory_counts_the_copy(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", sample().astype(np.int16))
    assert read(tmp_path / "x.npy", memory=210 * 10)
    assert refused(tmp_path / "x.npy", ResourceError, memory=210 * 10 - 1)


def test_npz_picks_the_tensor(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, y=np.arange(9.0), X=sample(), names=np.array(["a"]))
    tensor = read(path)
    assert tensor.source["key"] == "X"
    assert tensor.description == "npz, array X of 2 x 3 x 5 x 7 float64"
    np.savez_compressed(path, small=sample((3, 5)), X=sample(), mask=np.zeros((99, 99), bool))
    tensor = read(path)
    np.testing.assert_array_equal(dense(tensor), sample())
    assert "the largest of 2 arrays; the others: small (3 x 5 float64)" in tensor.description
    np.testing.assert_array_equal(dense(read(path, key="small")), sample((3, 5)))
    error = refused(path, InputError, key="nothing")
    assert error.what == "there is no array 'nothing'"
    assert error.hint == "it has small (3 x 5 float64), X (2 x 3 x 5 x 7 float64), mask (99 x 99 bool)"


def test_npz_objects_are_passed_over_and_never_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, X=sample(), meta=np.array([{"a": 1}], object))
    np.testing.assert_array_equal(dense(read(path)), sample())
    assert "meta.npy in it is pickled, which is refused" in refused(path, InputError, key="meta").what
    np.savez(path, meta=np.array([[{"a": 1}]], object))
    assert "there is no array of numbers with two or more modes" in refused(path, InputError).what


def test_npz_mask(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    mask = np.zeros(SHAPE, bool)
    mask[0, 1, 2, 3] = True
    values = sample()
    values[0, 1, 2, 3] = np.inf
    values[1, 0, 0, 0] = np.nan
    np.savez(path, X=values, mask=mask, ones=mask.astype(np.uint8), wrong=mask[0], twos=mask * 2)
    for name in ("mask", "ones"):
        tensor = read(path, key="X", mask=name)
        assert tensor.missing is not None
        assert np.argwhere(tensor.missing).tolist() == [[0, 1, 2, 3], [1, 0, 0, 0]]
    assert "the mask wrong is 3 x 5 x 7, the tensor 2 x 3 x 5 x 7" in refused(path, InputError, mask="wrong").what
    assert "holds int64, not bool" in refused(path, InputError, mask="twos").what
    assert "there is no array 'none'" in refused(path, InputError, mask="none").what


def test_npz_labels_and_modes(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    labels = {"labels0": np.array(["north", "süd"]), "labels1": np.array([b"a", b"b", b"c"]), "labels2": np.arange(5)}
    np.savez(path, X=sample(), modes=np.array(["p", "q", "r", "s"]), labels3=np.array(["one too few"] * 6), **labels)
    tensor = read(path)
    assert tensor.labels == (["north", "süd"], ["a", "b", "c"], ["0", "1", "2", "3", "4"], None)
    assert tensor.mode_names == ("p", "q", "r", "s")
    assert "labels for p, q, r" in tensor.description


@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_scipy_sparse(tmp_path: Path, kind: str) -> None:
    matrix = np.where(np.arange(35).reshape(5, 7) % 3 == 0, sample((5, 7)), 0)
    sp.save_npz(tmp_path / "x.npz", sp.coo_array(matrix).asformat(kind))
    tensor = read(tmp_path / "x.npz")
    np.testing.assert_array_equal(dense(tensor), matrix)
    assert "sparse" in tensor.description
    matrix[3, 0] = np.nan
    sp.save_npz(tmp_path / "x.npz", sp.coo_array(matrix).asformat(kind))
    assert "the value at [3, 0] (counted from 0) is nan" in refused(tmp_path / "x.npz", InputError).what


def test_npz_bombs(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, X=np.zeros((1000, 16_000)))
    error = refused(path, InputError, max_ratio=100)
    assert "it grows to more than 100 times its size" in error.what
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("X.npy", _npy_that_claims((2, 5)))
    assert "compressed in a way that numpy does not use" in refused(path, InputError).what


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("x.npy", b"", "it is empty"),
        ("x.pkl", b"\x80\x04K\x01.", "pickled data is refused: reading it could run code"),
        ("x.bin", b"some\0bytes", "it is a binary file of no known format"),
        ("x.zip", b"PK\x03\x04" + bytes(60), "it is a zip archive without arrays in it"),
        ("x.csv", "a,b".encode("utf-16"), "it is UTF-16 text; UTF-8 is needed"),
        ("x.mat", b"\0\0\0\0" + bytes(30), "it is a MATLAB file older than version 5, or none"),
        ("x.parquet", b"PAR1" + bytes(30), "it is a Parquet file"),
    ],
)
def test_refused_by_its_look(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(content)
    error = refused(tmp_path / name, InputError)
    assert error.what == what
    assert error.hint


def test_settings_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, sample())
    assert refused(path, UsageError, format="xlsx").what == "there is no format 'xlsx'"
    assert refused(path, UsageError, key="X").what == "key is 'X', and the input is a numpy array (.npy)"
    assert "it is a numpy array (.npy), not HDF5" in refused(path, InputError, format="hdf5").what
    np.testing.assert_array_equal(dense(read(path, format="npy")), sample())
    assert refused(tmp_path / "none", InputError).what == "there is no such file or directory"
    assert refused(tmp_path, InputError).what == "it is a directory, not a file"
