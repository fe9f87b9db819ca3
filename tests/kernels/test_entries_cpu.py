"""The parser of sparse entries against Python's own numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tdtool.kernels import entries_cpu as entries


def parse(text: str, order: int = 2) -> tuple:
    return entries.parse_entries(np.frombuffer(bytearray(text.encode()), np.uint8), order)


def values_of(text: str, order: int = 2) -> list[float]:
    """The values, those that the kernel leaves read by Python."""
    _, values, _, hard, status, _ = parse(text, order)
    assert status == entries.OK
    for row, start, stop in hard.T.tolist():
        values[row] = float(text.encode()[start:stop])
    return values.tolist()


@given(st.from_regex(r"\A[-+]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][-+]?[0-9]{1,3})?\Z"))
@example("9007199254740993")
@example("123456789012345678")
@example("0.1")
@example("1e22")
@example("1e23")
@example("8.5e-22")
@example("1e999999999")
@example("-0")
@example("00000000000000000000000000001")
@example("2.2250738585072011e-308")
def test_a_value_is_the_nearest_float(text: str) -> None:
    (found,) = values_of(f"1 2 {text}\n")
    assert np.array_equal(np.float64(found), np.float64(text))
    assert np.signbit(found) == np.signbit(float(text))


def test_what_is_easy_is_not_left_to_the_caller() -> None:
    for text in ("3", "-0.25", "1e22", "450359962737049.5", "12345.678e-3"):
        assert parse(f"1 2 {text}\n")[3].shape == (3, 0), text
    for text in ("nan", "1.2.3", "1e", "0x10", "12345678901234567890", "1e-40", "+", "--1"):
        assert parse(f"1 2 {text}\n")[3].shape == (3, 1), text


def test_indices_lines_and_comments() -> None:
    text = "# a comment\n1 2 3.5\n\n  4\t5 \t-6 \r\n% another\n7 8 9 # behind\n123456789012345678 0 1\n"
    indices, values, lines, hard, status, _ = parse(text)
    assert status == entries.OK
    assert indices.tolist() == [[1, 4, 7, 123456789012345678], [2, 5, 8, 0]]
    assert values.tolist() == [3.5, -6, 9, 1]
    assert lines.tolist() == [1, 3, 5, 6]
    assert hard.size == 0


@pytest.mark.parametrize("order", [1, 2, 3, 5, 7])
def test_orders(order: int) -> None:
    rows = np.random.default_rng(order).integers(0, 10**6, (11, order + 1))
    text = "".join(" ".join(map(str, row)) + "\n" for row in rows.tolist())
    indices, values, *_ = parse(text, order)
    assert indices.T.tolist() == rows[:, :-1].tolist()
    assert values.tolist() == rows[:, -1].tolist()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("1 2", entries.TOO_FEW),
        ("1", entries.TOO_FEW),
        ("1 2 3 4", entries.TOO_MANY),
        ("1 -2 3", entries.NOT_AN_INDEX),
        ("1.0 2 3", entries.NOT_AN_INDEX),
        ("a 2 3", entries.NOT_AN_INDEX),
        ("1,2,3", entries.NOT_AN_INDEX),
        ("1234567890123456789 2 3", entries.TOO_LARGE),
        ("1 2 99999999999999999999 4", entries.TOO_MANY),
    ],
)
def test_a_wrong_line_is_named(line: str, status: int) -> None:
    indices, values, _, hard, found, at = parse(f"1 1 5\n\n1 2 6\n{line}\n1 1 1\n")
    assert (found, at) == (status, 3)
    assert values.tolist() == [5, 6]
    assert indices.shape == (2, 2)
    assert hard.size == 0


def test_the_buffer_ends_with_a_newline() -> None:
    for text in (b"1 2 3", b""):
        with pytest.raises(ValueError, match="does not end with a newline"):
            entries.parse_entries(np.frombuffer(bytearray(text), np.uint8), 2)
