"""Tensors from HDF5 files and from MATLAB files, of version 7.3 (which are HDF5) and 5."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from tdtool.errors import InputError, ResourceError
from tests.data.tensor_reading import SHAPE, dense, read, refused, sample

MASK = np.random.default_rng(3).random(SHAPE) < 0.1


@pytest.mark.parametrize(
    ("dtype", "result"),
    [("f8", "f8"), (">f4", "f4"), ("f2", "f4"), ("<i8", "f8"), ("u1", "f8"), ("?", "f8"), ("c16", "c16")],
)
@pytest.mark.parametrize("settings", [{}, {"compression": "gzip", "shuffle": True, "chunks": (1, 2, 3, 4)}])
def test_hdf5_dtypes(tmp_path: Path, dtype: str, result: str, settings: dict[str, Any]) -> None:
    path, values = tmp_path / "x.h5", (sample() / 10).astype(dtype)
    with h5py.File(path, "w") as file:
        file.create_dataset("deep/in/X", data=values, **settings)
    tensor = read(path)
    assert isinstance(tensor.values, np.ndarray)
    assert tensor.values.dtype == np.dtype(result)
    np.testing.assert_array_equal(tensor.values, values.astype(result))
    assert tensor.source["key"] == "deep/in/X"
    assert tensor.description == f"HDF5, array deep/in/X of 2 x 3 x 5 x 7 {np.dtype(result)}"


def test_hdf5_picks_by_path(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file["a/X"], file["a/Y"] = sample(), sample((3, 5))
        file["a/mask"] = MASK
    assert "the largest of 2 arrays; the others: a/Y (3 x 5 float64)" in read(path).description
    for key in ("a/Y", "/a/Y"):
        np.testing.assert_array_equal(dense(read(path, key=key)), sample((3, 5)))
    tensor = read(path, mask="a/mask")
    np.testing.assert_array_equal(tensor.missing, MASK)
    assert "there is no array 'a'" in refused(path, InputError, key="a").what


def test_hdf5_text_is_no_tensor(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["text"] = np.array([[b"a", b"b"]])
        file["pairs"] = np.zeros((2, 3), [("a", "f8"), ("b", "i4")])
    assert "holds text, not numbers" in refused(path, InputError, key="text").what
    assert "holds records, not numbers" in refused(path, InputError, key="pairs").what
    assert "there is no array of numbers with two or more modes" in refused(path, InputError).what


def test_hdf5_dimension_scales_are_labels(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("X", data=sample())
        file["shop"], file["year"] = np.array([b"n", "ü".encode()]), np.array([1987, 1988, 1989])
        file["depth"] = np.linspace(0, 1, 5)
        file.create_dataset("word", data=["a", "b", "c", "d", "e", "f", "g"], dtype=h5py.string_dtype())
        for mode, name in enumerate(("shop", "year", "depth", "word")):
            file[name].make_scale(name)
            data.dims[mode].attach_scale(file[name])
    tensor = read(path, key="X")
    assert tensor.labels == (["n", "ü"], ["1987", "1988", "1989"], None, list("abcdefg"))
    assert tensor.mode_names == ("shop", "year", "depth", "word")


def test_hdf5_compressed_file(tmp_path: Path) -> None:
    path, content = tmp_path / "x.h5.gz", io.BytesIO()
    with h5py.File(content, "w") as file:
        file["X"] = sample()
    path.write_bytes(gzip.compress(content.getvalue()))
    np.testing.assert_array_equal(dense(read(path)), sample())


def test_a_terabyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("X", (1000, 1000, 125_000), "f8", chunks=(10, 10, 10))
    error = refused(path, ResourceError)
    assert error.what == "the array X of (1000, 1000, 125000) float64 needs 1.0 TB of memory and 1.1 GB are allowed"
    assert error.exit_code == 4
    assert path.stat().st_size < 10_000


def test_hdf5_bomb_and_empty_storage(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=np.zeros((1000, 15_000)), compression="gzip")
        file.create_dataset("void", (3, 5), "f8")
        file.create_dataset("null", data=h5py.Empty("f8"))
        file["empty"], file["vector"] = np.zeros((0, 3)), np.zeros(3)
        file.create_dataset("chunky", (3, 5), "f8", maxshape=(None, None), chunks=(1 << 14, 1 << 14))
    assert "it grows to more than 100 times its size" in refused(path, InputError, max_ratio=100).what
    assert refused(path, InputError, key="void").what == "the values of void were never written"
    assert refused(path, InputError, key="null").what == "the array null is empty: it has no shape"
    assert refused(path, InputError, key="empty").what == "the array empty is empty: its shape is 0 x 3"
    assert "is a vector of 3" in refused(path, InputError, key="vector").what
    assert "chunks of more than 1.1 GB" in refused(path, InputError, key="chunky").what


def test_hdf5_links_and_outside_storage_are_not_followed(tmp_path: Path) -> None:
    path, other = tmp_path / "x.h5", tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["X"] = sample((3, 5))
    (tmp_path / "raw").write_bytes(bytes(3 * 5 * 8))
    with h5py.File(path, "w") as file:
        file["soft"], file["external"] = h5py.SoftLink("/group/X"), h5py.ExternalLink("other.h5", "X")
        file["group/X"] = sample()
        file["group/circle"] = file["group"]
        layout = h5py.VirtualLayout((3, 5), "f8")
        layout[:] = h5py.VirtualSource("other.h5", "X", (3, 5))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("outside", (3, 5), "f8", external=[(str(tmp_path / "raw"), 0, 120)])
    np.testing.assert_array_equal(dense(read(path)), sample())
    for key in ("soft", "external"):
        assert refused(path, InputError, key=key).what == f"{key!r} is a link to another place; it is not followed"
    for key in ("virtual", "outside"):
        assert (
            refused(path, InputError, key=key).what == f"the values of {key} lie in another file; that is not followed"
        )


def _mat73(path: Path, **variables: tuple[np.ndarray, str]) -> h5py.File:
    """As MATLAB writes it: a block of text in front, the axes reversed, the class as an attribute."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, (values, kind) in variables.items():
            file[name] = values.T
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
        cell = file.create_dataset("#refs#/a", data=np.zeros((30, 30, 30)))
        file.create_dataset("cells", (2, 2), h5py.ref_dtype)[:] = cell.ref
        file["cells"].attrs["MATLAB_class"] = np.bytes_("cell")
        file.create_group("object").attrs["MATLAB_class"] = np.bytes_("table")
        sparse = file.create_group("sparse")
        sparse.attrs["MATLAB_sparse"], sparse.attrs["MATLAB_class"] = 5, np.bytes_("double")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def test_mat73(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    text = np.array([[97, 98, 99]], np.uint16)
    _mat73(path, X=(sample(), "double"), M=(MASK.astype(np.uint8), "logical"), text=(text, "char"))
    tensor = read(path, key="X", mask="M")
    np.testing.assert_array_equal(tensor.missing, MASK)
    assert isinstance(tensor.values, np.ndarray)
    np.testing.assert_array_equal(tensor.values[~MASK], sample()[~MASK])
    assert read(path, key="X").description == "MATLAB 7.3, array X of 2 x 3 x 5 x 7 float64"
    assert "cells is a cell" in refused(path, InputError, key="cells").what
    assert "object is a table" in refused(path, InputError, key="object").what
    assert "text is a char" in refused(path, InputError, key="text").what
    assert "sparse is sparse, which is not read from version 7.3" in refused(path, InputError, key="sparse").what


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "u8", "c16", "c8", "i1"])
def test_mat5_dtypes(tmp_path: Path, dtype: str, compressed: bool) -> None:
    path, values = tmp_path / "x.mat", (sample() / 10).astype(dtype)
    scipy.io.savemat(path, {"small": 1.0, "X": values, "name": "text"}, do_compression=compressed)
    tensor = read(path)
    expected = {"f4": "f4", "c8": "c8", "c16": "c16"}.get(dtype, "f8")
    assert isinstance(tensor.values, np.ndarray)
    assert tensor.values.dtype == np.dtype(expected)
    np.testing.assert_array_equal(tensor.values, values.astype(expected))
    assert tensor.source["key"] == "X"
    assert tensor.description.startswith("MATLAB 5, array X of 2 x 3 x 5 x 7")


def test_mat5_mask_and_sparse(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    matrix = np.where(np.arange(35).reshape(5, 7) % 3 == 0, sample((5, 7)), 0)
    scipy.io.savemat(path, {"X": sample(), "M": MASK, "S": sp.csc_array(matrix)})
    np.testing.assert_array_equal(read(path, key="X", mask="M").missing, MASK)
    tensor = read(path, key="S")
    np.testing.assert_array_equal(dense(tensor), matrix)
    assert "MATLAB 5, sparse matrix S" in tensor.description
    assert "the mask S is sparse" in refused(path, InputError, key="X", mask="S").what
    matrix[1, 2] = np.nan
    scipy.io.savemat(path, {"S": sp.csc_array(matrix)})
    assert "S holds values that are complex, NaN or infinite" in refused(path, InputError).what


def test_mat5_big_endian_by_hand(tmp_path: Path) -> None:
    """A file of the other byte order, doubles stored as bytes (as MATLAB does), the name in its tag."""
    numbers = np.arange(6, dtype=np.uint8)
    parts = [
        np.array([6, 8, 6, 0, 5, 8, 2, 3], ">u4").tobytes(),
        b"\x00\x01\x00\x01X\0\0\0",
        np.array([2, 6], ">u4").tobytes() + numbers.tobytes() + bytes(2),
    ]
    body = b"".join(parts)
    content = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + np.array([14, len(body)], ">u4").tobytes() + body
    (tmp_path / "x.mat").write_bytes(content)
    np.testing.assert_array_equal(dense(read(tmp_path / "x.mat")), np.arange(6.0).reshape(3, 2).T)


def test_mat5_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    cells = np.empty((2, 3), object)
    cells[:] = 1.0
    scipy.io.savemat(path, {"s": {"field": sample()}, "c": cells, "t": "text"})
    assert refused(path, InputError, key="s").what == "s is a struct, not an array of numbers"
    assert refused(path, InputError, key="c").what == "c is a cell, not an array of numbers"
    assert refused(path, InputError, key="t").what == "t is a char, not an array of numbers"
    assert "there is no array of numbers with two or more modes" in refused(path, InputError).what


def test_mat5_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    for compressed in (False, True):
        scipy.io.savemat(path, {"X": sample()}, do_compression=compressed)
        whole = path.read_bytes()
        path.write_bytes(whole[:-50])
        assert "damaged or incomplete: an element of" in refused(path, InputError).what
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "damaged or incomplete: Error -3" in refused(path, InputError).what
    scipy.io.savemat(path, {"X": np.zeros((1000, 15_000))}, do_compression=True)
    assert "it grows to more than 100 times its size" in refused(path, InputError, max_ratio=100).what
    assert refused(path, ResourceError, memory=100_000_000, max_ratio=10_000)
