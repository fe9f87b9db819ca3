"""The number parsers against Python's own."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tdtool.kernels import counts_cpu

number = st.from_regex(r"\A[-+]?[0-9]{0,12}(\.[0-9]{0,22})?([eE][-+]?[0-9]{1,2})?\Z")


def buffer(text: bytes) -> np.ndarray:
    return np.frombuffer(bytearray(text), np.uint8)


def _expected(text: str) -> tuple[int | None, int]:
    """The value and status of one number, by exact fractions."""
    try:
        value = Fraction(text)
    except ValueError:
        return None, counts_cpu.NOT_A_NUMBER
    if value < 0:
        return None, counts_cpu.NEGATIVE
    if value.denominator != 1:
        return None, counts_cpu.FRACTION
    return (int(value), counts_cpu.OK) if value <= counts_cpu.LARGEST else (None, counts_cpu.TOO_LARGE)


@settings(deadline=None)
@given(number)
@example("0")
@example("-0")
@example("-0.0")
@example("2147483647")
@example("2147483648")
@example("1.000000000000000e+00")
@example("1.0000000000000000000000")
@example("1.0000000000000000000001")
@example("-0.0000000000000000000001")
@example("120e-1")
@example("5e99")
@example(".5")
@example("5.")
@example("e5")
@example("1e")
def test_one_number(text: str) -> None:
    value, status = _expected(text.removesuffix(".") if text[:-1].strip("+-").isdigit() else text)
    _, _, found, wrong = counts_cpu.parse_triples(buffer(f"1 2 {text}\n".encode()), 3)
    if text == "":
        assert wrong == counts_cpu.WRONG_FIELDS
    elif status == counts_cpu.OK:
        assert (found.tolist(), wrong) == ([value], counts_cpu.OK)
    else:
        # A number may be wrong in two ways at once; it is never taken.
        assert wrong != counts_cpu.OK
        assert not len(found)
        if abs(len(text)) < 12 and status != counts_cpu.TOO_LARGE:
            assert wrong == status


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, counts_cpu.LARGEST)] * 3), max_size=20), st.sampled_from(["\n", "\r\n", " \n"])
)
def test_triples(rows: list[tuple[int, int, int]], end: str) -> None:
    text = "".join(f"{a}\t{b}  {c}{end}" for a, b, c in rows) + end
    first, second, third, status = counts_cpu.parse_triples(buffer(text.encode()), 3)
    assert status == counts_cpu.OK
    assert list(zip(first.tolist(), second.tolist(), third.tolist(), strict=True)) == rows


def test_pairs_of_numbers_count_one() -> None:
    first, second, third, status = counts_cpu.parse_triples(buffer(b"1 2\n3 4\n"), 2)
    assert (first.tolist(), second.tolist(), third.tolist(), status) == ([1, 3], [2, 4], [1, 1], counts_cpu.OK)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"1 2\n", counts_cpu.WRONG_FIELDS),
        (b"1 2 3 4\n", counts_cpu.WRONG_FIELDS),
        (b"1 x 3\n", counts_cpu.NOT_A_NUMBER),
        (b"1 2 3x\n", counts_cpu.NOT_A_NUMBER),
        (b"1 2 -3\n", counts_cpu.NEGATIVE),
        (b"1 2 0.5\n", counts_cpu.FRACTION),
        (b"1 2 3000000000\n", counts_cpu.TOO_LARGE),
        (b"\n1 2 3\n", counts_cpu.WRONG_FIELDS),
    ],
)
def test_the_line_behind_the_last_good_one_is_wrong(line: bytes, status: int) -> None:
    first, _, _, found = counts_cpu.parse_triples(buffer(b"1 1 1\n2 2 2\n" + line + b"3 3 3\n"), 3)
    assert (len(first), found) == (2, status)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 999), st.integers(0, 99), max_size=5), max_size=9))
def test_lines_of_pairs(rows: list[dict[int, int]]) -> None:
    text = "".join(f"{len(row)}{''.join(f' {i}:{c}' for i, c in row.items())}\n" for row in rows) + "\n"
    for leading in (True, False):
        indptr, indices, counts, lines, status, _ = counts_cpu.parse_pairs(
            buffer(text.encode()), leading_length=leading
        )
        assert status == counts_cpu.OK
        assert np.diff(indptr).tolist() == [len(row) for row in rows]
        assert indices.tolist() == [index for row in rows for index in row]
        assert counts.tolist() == [count for row in rows for count in row.values()]
        assert lines.tolist() == list(range(len(rows)))


@pytest.mark.parametrize(
    ("line", "leading", "status"),
    [
        (b"2 1:1\n", True, counts_cpu.WRONG_LENGTH),
        (b"1 1:1 2:2\n", True, counts_cpu.WRONG_LENGTH),
        (b"1 1:-1\n", True, counts_cpu.NEGATIVE),
        (b"1 1\n", True, counts_cpu.NO_COLON),
        (b"x 1:1\n", True, counts_cpu.NOT_A_NUMBER),
        (b"1 1:1 # why\n", True, counts_cpu.NOT_A_NUMBER),
        (b"x 1:1.5\n", False, counts_cpu.FRACTION),
        (b"x 1:\n", False, counts_cpu.NOT_A_NUMBER),
    ],
)
def test_a_wrong_line_of_pairs_is_named(line: bytes, leading: bool, status: int) -> None:
    text = b"1 1:1\n\n1 2:2\n" + line
    indptr, _, _, lines, found, wrong = counts_cpu.parse_pairs(buffer(text), leading_length=leading)
    assert (len(indptr) - 1, lines.tolist(), found, wrong) == (2, [0, 2], status, 3)


def test_svmlight_extras() -> None:
    text = b"# head\n+1 qid:3 1:2 # tail 5:5\n-1,2 #\n"
    indptr, indices, counts, lines, status, _ = counts_cpu.parse_pairs(buffer(text), leading_length=False)
    assert (indptr.tolist(), indices.tolist(), counts.tolist()) == ([0, 1, 1], [1], [2])
    assert (lines.tolist(), status) == ([1, 2], counts_cpu.OK)


def test_buffers_end_with_a_newline() -> None:
    with pytest.raises(ValueError, match="newline"):
        counts_cpu.parse_triples(buffer(b"1 2 3"), 3)
    with pytest.raises(ValueError, match="newline"):
        counts_cpu.parse_pairs(buffer(b""), leading_length=True)
