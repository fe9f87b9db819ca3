"""Tensors from CSV and TSV: rows of indices and a value, and tables with names."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest

from tdtool.errors import InputError, ResourceError
from tdtool.kernels.sparse_tensor import SparseTensor
from tests.data.source_reading import COMPRESSIONS
from tests.data.tensor_reading import dense, read, refused, sample

SIZES = (2, 3, 5)


def rows_of(values: np.ndarray, base: int = 1, separator: str = ",") -> list[str]:
    """A row for each cell that is not NaN, in no order."""
    places = list(itertools.product(*map(range, values.shape)))
    np.random.default_rng(1).shuffle(places)
    known = [tuple(map(int, place)) for place in places if not np.isnan(values[tuple(place)])]
    return [separator.join([*(str(i + base) for i in place), repr(values[place].item())]) for place in known]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize(("name", "separator"), [("x.csv", ","), ("x.tsv", "\t"), ("x.csv", ";"), ("x.csv", "|")])
def test_every_cell_a_row(tmp_path: Path, base: int, name: str, separator: str) -> None:
    values = sample(SIZES)
    path = write(tmp_path / name, separator.join(["i", "j", "k", "value"]), *rows_of(values, base, separator))
    tensor = read(path)
    np.testing.assert_array_equal(dense(tensor), values)
    assert tensor.missing is None
    assert tensor.labels == (None, None, None)
    assert tensor.mode_names == ("i", "j", "k")
    assert tensor.ledger.rows_used == 30
    assert f"indices count from {base}" in tensor.description
    write(path, *rows_of(values, base, separator))
    np.testing.assert_array_equal(dense(read(path)), values)


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_compressed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.csv{suffix}"
    path.write_bytes(COMPRESSIONS[suffix]("\n".join(["i,j,k,value", *rows_of(sample(SIZES))]).encode()))
    np.testing.assert_array_equal(dense(read(path)), sample(SIZES))


def test_standard_input_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdtool.data.readers.tensor_rows._BLOCK_BYTES", 64)
    text = "\n".join(["i,j,k,value", *rows_of(sample(SIZES))])
    monkeypatch.setattr("sys.stdin", type("In", (), {"buffer": io.BytesIO(text.encode())}))
    np.testing.assert_array_equal(dense(read("-")), sample(SIZES))


def test_lines_are_counted_over_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdtool.data.readers.tensor_rows._BLOCK_BYTES", 64)
    path = write(tmp_path / "x.csv", "i,j,k,value", *rows_of(sample(SIZES)), "", "1,1,1,inf")
    error = refused(path, InputError)
    assert (error.what, error.line) == ("the value in column 'value' is infinite or too large", 33)


def test_names_years_and_gaps(tmp_path: Path) -> None:
    lines = ["shop,year,week,sales", "Süd,1990,1,2.5", "Nord,1988,2,1.5", "Süd,1988,1,-3"]
    tensor = read(write(tmp_path / "x.csv", *lines))
    expected = np.full((2, 2, 2), np.nan)
    expected[0, 1, 0], expected[1, 0, 1], expected[0, 0, 0] = 2.5, 1.5, -3
    np.testing.assert_array_equal(dense(tensor), expected)
    assert tensor.labels == (["Süd", "Nord"], ["1988", "1990"], None)
    assert tensor.mode_names == ("shop", "year", "week")
    assert "5 values missing (62.5%)" in tensor.description
    assert "cells without a row (5) are missing values" in tensor.description


@pytest.mark.parametrize("word", ["", "NA", "nan", "NaN", "null", "N/A", " ", "?"])
def test_missing_words(tmp_path: Path, word: str) -> None:
    lines = ["i,j,value", "1,1,2.5", f"1,2,{word}", "2,1, 3.5 ", "2,2,1e-3"]
    np.testing.assert_array_equal(dense(read(write(tmp_path / "x.csv", *lines))), [[2.5, np.nan], [3.5, 1e-3]])


def test_counts_have_zeros_in_the_gaps(tmp_path: Path) -> None:
    few = [f"{i},{i},{i},{i + 1}" for i in range(50)]
    tensor = read(write(tmp_path / "x.csv", "user,item,day,count", *few))
    assert isinstance(tensor.values, SparseTensor)
    assert tensor.shape == (50, 50, 50)
    assert tensor.values.nnz == 50
    np.testing.assert_array_equal(dense(tensor)[np.arange(50), np.arange(50), np.arange(50)], np.arange(1, 51))
    assert "cells without a row (124,950) are 0, as the values are counts" in tensor.description
    some = read(write(tmp_path / "x.csv", "i,j,count", "1,1,5", "2,3,1", "1,2,0", "2,2,"))
    np.testing.assert_array_equal(dense(some), [[5, 0, 0], [0, np.nan, 1]])


def test_repeated_rows(tmp_path: Path) -> None:
    tensor = read(write(tmp_path / "x.csv", "i,j,count", "1,1,5", "2,1,1", "1,1,2"))
    np.testing.assert_array_equal(dense(tensor), [[7], [1]])
    assert "rows of a cell seen before (1) are added up" in tensor.description
    error = refused(write(tmp_path / "x.csv", "a,b,v", "x,y,0.5", "z,y,1", "x,y,2", "x,y,2"), InputError)
    assert (error.what, error.line) == ("a second row gives a value for [x, y]", 4)


def test_columns_by_name_and_number(tmp_path: Path) -> None:
    lines = ["day,shop,sold,price", "1,A,5,2.5", "2,A,6,1.5", "1,B,7,3.5", "2,B,8,4.5"]
    path = write(tmp_path / "x.csv", *lines)
    by_name = read(path, columns="shop,day", value="sold")
    np.testing.assert_array_equal(dense(by_name), [[5, 6], [7, 8]])
    assert by_name.labels == (["A", "B"], None)
    assert "columns not used: price" in by_name.description
    np.testing.assert_array_equal(dense(read(path, columns="2,1")), [[2.5, 1.5], [3.5, 4.5]])
    assert refused(path, InputError, columns="shop,week").what == "there is no column 'week'"
    assert refused(path, InputError, columns="shop,9").hint == "it has the columns day, shop, sold, price"
    assert "named twice" in refused(path, InputError, columns="shop,price", value="price").what
    assert "1 columns look like indices" in refused(path, InputError, columns="shop").what


def test_quotes_and_blank_lines(tmp_path: Path) -> None:
    lines = ["", '"a, b",b,"the ""value"""', '"x, 1",y,1.5', "", '"x ""2""",y,2.5']
    tensor = read(write(tmp_path / "x.csv", *lines))
    assert tensor.labels == (["x, 1", 'x "2"'], ["y"])
    assert tensor.mode_names == ("a, b", "b")
    np.testing.assert_array_equal(dense(tensor), [[1.5], [2.5]])
    assert tensor.ledger.skips["empty row"].examples == [f"{tmp_path / 'x.csv'}:4"]
    assert (tensor.ledger.rows_in, tensor.ledger.rows_used) == (3, 2)


def test_labelled_table(tmp_path: Path) -> None:
    tensor = read(write(tmp_path / "x.csv", "name,math,verbal,memory", "Ann,3,4.5,1", "Bob,,2,-1e3"))
    np.testing.assert_array_equal(dense(tensor), [[3, 4.5, 1], [np.nan, 2, -1000]])
    assert tensor.labels == (["Ann", "Bob"], ["math", "verbal", "memory"])
    assert tensor.mode_names == ("name", "column")
    assert tensor.description.startswith("CSV, table of 2 x 3 float64, 1 value missing")


@pytest.mark.parametrize("corner", ["", "name"])
def test_table_of_years(tmp_path: Path, corner: str) -> None:
    tensor = read(write(tmp_path / "x.csv", f"{corner},1987,1988,1989", "Ann,3,4,5", "Bob,5,2,3"))
    np.testing.assert_array_equal(dense(tensor), [[3, 4, 5], [5, 2, 3]])
    assert tensor.labels == (["Ann", "Bob"], ["1987", "1988", "1989"])


def test_bare_numbers_are_a_matrix(tmp_path: Path) -> None:
    tensor = read(write(tmp_path / "x.csv", "1.5,2,3", "2.5,3,4"))
    np.testing.assert_array_equal(dense(tensor), [[1.5, 2, 3], [2.5, 3, 4]])
    assert tensor.labels == (None, None)
    assert tensor.mode_names == ("mode0", "mode1")


def test_a_wide_table(tmp_path: Path) -> None:
    values = sample((3, 700))
    head = ",".join(["id", *(f"c{i}" for i in range(700))])
    lines = [f"r{i}," + ",".join(map(repr, row)) for i, row in enumerate(values.tolist())]
    tensor = read(write(tmp_path / "x.csv", head, *lines))
    np.testing.assert_array_equal(dense(tensor), values)
    assert tensor.labels[1] is not None
    assert tensor.labels[1][-1] == "c699"


@pytest.mark.parametrize(
    ("lines", "line", "what"),
    [
        (["a,b,v", "x,y,1", "x,z"], 3, "the row has 2 columns, the others have 3"),
        (["a,b,v", "", "x,y,1.5", "x,z,1,2"], 4, "the row has 4 columns, the others have 3"),
        (["a,b,v", "x,y,1.5", *["x,z,1"] * 1500, "x,z,bar"], 1503, "the value 'bar' in column 'v' is not a number"),
        (["a,b,v", "x,y,1.5", "x,z,inf"], 3, "the value in column 'v' is infinite or too large"),
        (["a,b,v", "x,y,1.5", ",z,2"], 3, "an index is empty"),
        (["a,b,v", "x,y,foo"], 1, "no column holds numbers that could be the values"),
        (["a,b,v"], 1, "there are names and no rows below them"),
        (["hello world"], 1, "it has one column; a tensor needs at least an index and values"),
        (["a;b;v", "x;y;1,5", "x;z;2,5"], None, "the numbers are written with a decimal comma (1,5)"),
        (["a,b,v", "x,y,NA", "x,z,"], 1, "no column holds numbers that could be the values"),
        (["a,b,c,d,e,f,g,h,i,v", "p,p,p,p,p,p,p,p,p,1"], 1, "9 columns look like indices; a tensor has 2 to 8 modes"),
    ],
)
def test_refused(tmp_path: Path, lines: list[str], line: int | None, what: str) -> None:
    path = write(tmp_path / "x.csv", *lines)
    error = refused(path, InputError)
    assert (error.what, error.line) == (what, line)
    assert error.hint is not None or "names and no rows" in what or "one column" in what


def test_a_quote_that_never_closes(tmp_path: Path) -> None:
    assert refused(write(tmp_path / "x.csv", "a,b,v", 'x,"y,1', *["x,z,2"] * 9), InputError).exit_code == 3


def test_a_broken_grid_that_is_too_large(tmp_path: Path) -> None:
    rows = [f"a{i},b{i},c{i},{i}.5" for i in range(1000)]
    error = refused(write(tmp_path / "x.csv", "a,b,c,v", *rows), ResourceError)
    assert "the tensor with all its cells needs 10 GB" in error.what
    assert "more than 1,000 rows" in refused(tmp_path / "x.csv", ResourceError, memory=10_000).what
