"""Tables of numbers: delimiters, decimal commas, holes, compression, Parquet, stacks, and every kind of bad table."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdtool.config import SourceConfig
from tdtool.data.readers.factor_table import Table, is_infinite, read_table
from tdtool.data.table_stack import long_stack, recognise_endings, split_ending, wide_stack
from tdtool.errors import InputError
from tests.data.source_reading import COMPRESSIONS

NAN = np.nan


def table(tmp_path: Path, content: bytes | str, name: str = "t.csv") -> Table:
    """What is read of a file with this content."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(str(path), SourceConfig())


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_and_compression(tmp_path: Path, suffix: str, delimiter: str) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(
        [("id", "a b", "t1"), ("x", 1, 2.5), ("y, z", -3e2, ""), ("w", 0, 7)]
    )
    found = table(tmp_path, COMPRESSIONS[suffix](out.getvalue().encode()), f"t.csv{suffix}")
    assert found.names == ["id", "a b", "t1"]
    np.testing.assert_array_equal(found.column("a b").values, [1, -300, 0])
    np.testing.assert_array_equal(found.column("t1").values, [2.5, NAN, 7])
    assert found.column("id").cells == ["x", "y, z", "w"]
    assert found.column("id").bad == (0, "x")
    assert found.column("id").n_bad == 3
    assert found.lines.tolist() == [2, 3, 4]
    assert (found.n_rows, found.column("t1").n_values) == (3, 2)
    assert found.source["bytes"] == len(out.getvalue())
    assert len(found.source["digest"]) == 32


@settings(max_examples=50)
@given(
    st.lists(
        st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), min_size=3, max_size=3),
        min_size=1,
        max_size=12,
    )
)
def test_numbers_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[float | None]]
) -> None:
    lines = ["a,b,c", *(",".join("NA" if cell is None else repr(cell) for cell in row) for row in rows)]
    found = table(tmp_path_factory.mktemp("numbers"), "\n".join(lines))
    for place, column in enumerate(found.columns):
        wanted = [NAN if row[place] is None else row[place] for row in rows]
        np.testing.assert_array_equal(column.values, np.array(wanted, float))
        assert column.n_bad == 0


def test_what_counts_as_missing(tmp_path: Path) -> None:
    cells = ["", " ", "NA", "n/a", "nan", "NaN", ".", "-", "?", "NULL", "None", "#N/A", "missing", "1"]
    found = table(tmp_path, "a;b\n" + "".join(f"{cell};1\n" for cell in cells)).column("a")
    assert found.n_values == 1
    assert found.n_bad == 0


def test_decimal_commas(tmp_path: Path) -> None:
    found = table(tmp_path, "name;x;y\nana;1,5;1\nbo;-2,25e1;2\ncy;3;3\n")
    np.testing.assert_array_equal(found.column("x").values, [1.5, -22.5, 3])
    np.testing.assert_array_equal(found.column("y").values, [1, 2, 3])
    mixed = table(tmp_path, "name;x\nana;1,5\nbo;2.5\n").column("x")
    assert mixed.bad == (1, "2.5"), "a point among commas could mean thousands"


@pytest.mark.parametrize("cell", ["1_000", "0x1F", "1e", "--1", "1 2", "abc", "inf", "-Infinity", "1e999", "1.2.3"])
def test_what_is_no_number(tmp_path: Path, cell: str) -> None:
    column = table(tmp_path, f"a,b\n1,1\n{cell},2\n3,3\n").column("a")
    assert column.bad == (1, cell)
    assert column.n_bad == 1
    assert is_infinite(cell) == (cell in ("inf", "-Infinity", "1e999"))


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    found = table(tmp_path, '\ufeffa,b\r\n\r\n"one\r\ntwo",1\r\n\r\nthree,2\r\n')
    assert found.names == ["a", "b"]
    assert found.lines.tolist() == [3, 6]
    assert found.column("a").cells == ["one\r\ntwo", "three"]


def test_names_left_out_are_numbered(tmp_path: Path) -> None:
    assert table(tmp_path, ",x\n1,2\n").names == ["column 1", "x"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"a,b\n", "no rows below its header"),
        (b"a,b\n1,2\n1,2,3\n", "t.csv:3: this row has 3 cells, the header 2"),
        (b"a,b\n1,2\n\n1\n", "t.csv:4: this row has 1 cells, the header 2"),
        (b"1,2\n3,4\n", "t.csv:1: the first row is numbers"),
        (b"a,b,a\n1,2,3\n", "t.csv:1: two columns are called 'a'"),
        (b'a,b\n1,"2\n3,4\n', "t.csv:2: the quotes do not add up"),
        (b"\x80\x04\x95\x00\x00", "binary file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
        (b"PAR1" + bytes(50), "Parquet file is damaged"),
        (b"PK\x03\x04" + bytes(50), "zip"),
    ],
)
def test_bad_tables(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(InputError) as caught:
        table(tmp_path, content)
    assert words in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_table(str(tmp_path / "none.csv"), SourceConfig())
    with pytest.raises(InputError, match="directory"):
        read_table(str(tmp_path), SourceConfig())


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    columns = {"id": ["a", None, "c"], "x": [1, None, 3], "y": [0.5, float("inf"), 2.0], "z": ["1.5", "2", "x"]}
    pq.write_table(pa.table(columns), path)
    found = read_table(str(path), SourceConfig())
    np.testing.assert_array_equal(found.column("x").values, [1, NAN, 3])
    assert found.column("y").bad == (1, "inf")
    assert found.column("z").bad == (2, "x")
    assert found.column("id").cells == ["a", "", "c"]
    assert found.lines.tolist() == [1, 2, 3]
    assert found.description == "Parquet, 3 rows, 4 columns"


@pytest.mark.parametrize(
    ("names", "endings"),
    [
        ("a_x a_y b_x b_y c_x c_y", ["_x", "_y"]),
        ("a_b_x a_b_y b.x b.y", None),
        ("a_x a_y b_x b_y c_x", None),
        ("a_x a_y b_x b_y", None),
        ("a_x b_x c_x", None),
        ("a_1 a_2 b_1 b_2 c_1 c_2", None),
        ("a_1999 a_2001 b_1999 b_2001 c_2001 c_1999", ["_1999", "_2001"]),
        ("a.t1 a.t2 a.t3 b.t1 b.t2 b.t3 c.t3 c.t2 c.t1", [".t1", ".t2", ".t3"]),
        ("a_x a_y b_x b_y c_x c_y age", None),
        ("long_name_x long_name_y b_x b_y c_x c_y", ["_x", "_y"]),
    ],
)
def test_endings_are_recognised_where_all_columns_share_them(names: str, endings: list[str] | None) -> None:
    assert recognise_endings(names.split()) == endings


def test_the_longest_ending_counts() -> None:
    assert split_ending("a_oral", ["al", "_oral"]) == ("a", "_oral")
    assert split_ending("_oral", ["_oral"]) is None
    assert split_ending("a", ["_oral"]) is None


def test_a_wide_stack_and_what_does_not_fit_in() -> None:
    values = np.arange(14.0).reshape(2, 7)
    names = ["a_x", "b_y", "age", "a_y", "b_x", "c_x", "d_y"]
    stack, left_out = wide_stack(values, names, ["p", "q"], ["_x", "_y"])
    assert (stack.names, stack.slices, stack.ids) == (["a", "b"], ["x", "y"], ["p", "q"])
    np.testing.assert_array_equal(stack.values[1], [[7, 10], [11, 8]])
    assert left_out == {
        "age": "it has no ending of the stack",
        "c_x": "there is no c_y to go with c_x",
        "d_y": "there is no d_x to go with d_y",
    }


def test_a_long_stack_is_matched_by_ids() -> None:
    values = np.array([[1.0, 2], [3, 4], [5, 6]])
    lines = np.array([2, 3, 4])
    stack = long_stack(values, ["u", "v"], ["p", "q", "p"], ["1", "1", "2"], path="t", lines=lines)
    assert (stack.ids, stack.names, stack.slices) == (["p", "q"], ["u", "v"], ["1", "2"])
    np.testing.assert_array_equal(stack.values[0], [[1, 5], [2, 6]])
    np.testing.assert_array_equal(stack.values[1], [[3, NAN], [4, NAN]])
    with pytest.raises(InputError, match=r"t:4: 'p' comes a second time in slice '1' \(first in line 2\)"):
        long_stack(values, ["u", "v"], ["p", "q", "p"], ["1", "1", "1"], path="t", lines=lines)
