"""The row scanner against Python's csv module and plain splitting."""

from __future__ import annotations

import csv
import io
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdtool.kernels import rows_cpu
from tdtool.kernels.rows_cpu import NO_BYTE

COMMA, QUOTE = 44, 34
cell = st.text(st.sampled_from('ab,"\né '), max_size=6)
table = st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(cell, min_size=n, max_size=n), min_size=1, max_size=9))


def scan(text: bytes, *, final: bool = True, capacity: int = 50, **settings: int) -> tuple[np.ndarray, int, int, bool]:
    """Facts of the rows found, bytes and lines used, whether a quote is open."""
    out = np.full((rows_cpu.N_FACTS, capacity), -7, np.int64)
    options = {"delimiter": COMMA, "quote": QUOTE, "text_column": 0, "id_column": -1, **settings}
    buffer = np.frombuffer(bytearray(text), np.uint8)
    n, used, lines, unclosed = rows_cpu.scan_rows(buffer, final=final, out=out, **options)  # type: ignore[arg-type]
    return out[:, :n], used, lines, unclosed


def cells(text: bytes, column: int, **settings: int) -> list[str]:
    facts, _, _, _ = scan(text, text_column=column, **settings)
    places = (rows_cpu.TEXT_START, rows_cpu.TEXT_STOP, rows_cpu.TEXT_ESCAPED)
    buffer = np.frombuffer(bytearray(text), np.uint8)
    out, offsets = rows_cpu.gather(buffer, *(facts[place].copy() for place in places), quote=QUOTE)
    return [out[start:stop].tobytes().decode() for start, stop in itertools.pairwise(offsets)]


@settings(deadline=None)
@given(table)
def test_quoted_fields_are_those_of_the_csv_module(rows: list[list[str]]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_MINIMAL).writerows(rows)
    text = out.getvalue().encode()
    facts, used, lines, unclosed = scan(text)
    assert facts[rows_cpu.N_FIELDS].tolist() == [len(row) for row in rows]
    assert not facts[rows_cpu.MALFORMED].any()
    assert (used, lines, unclosed) == (len(text), text.count(b"\n"), False)
    for column in range(len(rows[0])):
        assert cells(text, column) == [row[column] for row in rows]


@settings(deadline=None)
@given(st.text(st.sampled_from('ab,"\n'), max_size=30))
def test_plain_fields_are_those_of_split(text: str) -> None:
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    facts, _, _, _ = scan(text.encode(), quote=NO_BYTE)
    assert facts[rows_cpu.N_FIELDS].tolist() == [line.count(",") + 1 for line in lines]
    assert facts[rows_cpu.ROW_LINE].tolist() == list(range(len(lines)))
    assert facts[rows_cpu.BLANK].tolist() == [line == "" for line in lines]
    assert cells(text.encode(), 0, quote=NO_BYTE) == [line.split(",")[0] for line in lines]


@settings(deadline=None)
@given(table, st.integers(0, 60))
def test_a_cut_buffer_gives_the_rows_before_the_cut(rows: list[list[str]], cut: int) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    text = out.getvalue().encode()
    whole, _, _, _ = scan(text)
    part, used, lines, unclosed = scan(text[:cut], final=False)
    n = part.shape[1]
    assert np.array_equal(part, whole[:, :n])
    assert not unclosed
    rest, _, _, _ = scan(text[used:])
    assert rest.shape[1] == whole.shape[1] - n
    assert np.array_equal(rest[rows_cpu.ROW_LINE] + lines, whole[rows_cpu.ROW_LINE, n:])


def test_line_ends_of_windows_and_physical_lines() -> None:
    facts, _, lines, _ = scan(b'a,"b\r\nc"\r\nd,e\r\n,\r\n')
    assert facts[rows_cpu.ROW_LINE].tolist() == [0, 2, 3]
    assert lines == 4
    assert cells(b'a,"b\r\nc"\r\nd,e\r\n,\r\n', 1) == ["b\r\nc", "e", ""]


def test_text_behind_a_closing_quote_is_kept_raw() -> None:
    facts, _, _, _ = scan(b'"a"b,c\n"d",e\n')
    assert facts[rows_cpu.MALFORMED].tolist() == [1, 0]
    assert cells(b'"a"b,c\n"d",e\n', 0) == ['"a"b', "d"]


def test_an_open_quote_at_the_end() -> None:
    facts, used, lines, unclosed = scan(b'a,b\n"c,d\ne')
    assert (facts.shape[1], used, lines, unclosed) == (1, 4, 1, True)
    assert scan(b'a,b\n"c,d\ne', final=False)[1:] == (4, 1, False)


def test_capacity_ends_a_scan() -> None:
    facts, used, lines, _ = scan(b"a\nb\nc\n", capacity=2)
    assert (facts.shape[1], used, lines) == (2, 4, 2)


def test_ids_and_separators() -> None:
    facts, _, _, _ = scan(b'x,"i""1"\ny,i2\n', id_column=1)
    places = (rows_cpu.ID_START, rows_cpu.ID_STOP, rows_cpu.ID_ESCAPED)
    buffer = np.frombuffer(bytearray(b'x,"i""1"\ny,i2\n'), np.uint8)
    out, offsets = rows_cpu.gather(buffer, *(facts[place].copy() for place in places), quote=QUOTE, separator=0)
    assert out.tobytes() == b'i"1\0i2\0'
    assert offsets.tolist() == [0, 4, 7]


def test_facts_need_their_room() -> None:
    with pytest.raises(ValueError, match="out has 3 rows"):
        rows_cpu.scan_rows(
            np.zeros(1, np.uint8),
            delimiter=COMMA,
            quote=QUOTE,
            text_column=0,
            id_column=-1,
            final=True,
            out=np.zeros((3, 5), np.int64),
        )
