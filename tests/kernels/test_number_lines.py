"""The parser of lines of whole numbers against Python's own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdtool.kernels import number_lines_cpu as kernel


def parse(text: str) -> tuple[list[list[int]], list[int], int, int]:
    numbers, indptr, lines, status, line = kernel.parse_number_lines(np.frombuffer(bytearray(text.encode()), np.uint8))
    rows = [numbers[start:stop].tolist() for start, stop in itertools.pairwise(indptr)]
    return rows, lines.tolist(), status, line


@given(
    st.lists(st.one_of(st.none(), st.lists(st.integers(0, 10**18 - 1), max_size=4)), min_size=1, max_size=6),
    st.sampled_from([" ", "\t", "  \t"]),
    st.sampled_from(["\n", " \r\n"]),
)
def test_rows(rows: list[list[int] | None], separator: str, newline: str) -> None:
    """None stands for a comment."""
    text = "".join((" % 1 x" if row is None else separator.join(map(str, row))) + newline for row in rows)
    found, lines, status, _ = parse(text)
    assert status == kernel.OK
    assert found == [row for row in rows if row is not None]
    assert lines == [line for line, row in enumerate(rows) if row is not None]


@pytest.mark.parametrize(
    ("text", "rows", "status", "line"),
    [
        ("1 2\n3 x\n4\n", [[1, 2]], kernel.NOT_A_NUMBER, 1),
        ("1 2\n\n3 -4\n", [[1, 2], []], kernel.NOT_A_NUMBER, 2),
        ("1.5\n", [], kernel.NOT_A_NUMBER, 0),
        ("1%\n", [], kernel.NOT_A_NUMBER, 0),
        ("7\n%\n1000000000000000000\n", [[7]], kernel.TOO_LARGE, 2),
        ("000000000000000000\n", [[0]], kernel.OK, 1),
    ],
)
def test_what_is_wrong(text: str, rows: list[list[int]], status: int, line: int) -> None:
    found, _, got, at = parse(text)
    assert (found, got, at) == (rows, status, line)


def test_a_last_line_needs_its_end() -> None:
    with pytest.raises(ValueError, match="newline"):
        parse("1 2")
