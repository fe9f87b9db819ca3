"""The parser of edge lists and the table of numbers, against Python's own strings and dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tdtool.kernels import edges_cpu
from tdtool.kernels.edges_cpu import EdgeBlock, LineLayout, fill_number_slots, number_codes, parse_edges
from tests.oracles_graph import is_whole

COMMA, QUOTE, TAB = ord(","), ord('"'), ord("\t")


def parse(text: str, *, numbers: bool = True, **layout: int) -> EdgeBlock:
    return parse_edges(np.frombuffer(bytearray(text.encode()), np.uint8), LineLayout(**layout), numbers=numbers)


def names_of(text: str, block: EdgeBlock, quote: str = '"') -> list[tuple[str, ...]]:
    """The names at the spans, doubled quotes undone."""
    data = text.encode()
    found = []
    for edge in block.ends.T.tolist():
        pieces = [(data[edge[3 * end] : edge[3 * end + 1]].decode(), edge[3 * end + 2]) for end in range(2)]
        found.append(tuple(piece.replace(quote * 2, quote) if escaped else piece for piece, escaped in pieces))
    return found


@pytest.mark.parametrize("separator", [" ", "\t", ",", ";", " , ", "   ", " \t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", " \n"])
def test_numbers(separator: str, end: str) -> None:
    edges = [(1, 22), (0, -5), (2**63 - 1, -(2**63) + 1), (7, 10**18)]
    text = (
        f"# c{end}"
        + "".join(f"{tail}{separator}{head}{end}" for tail, head in edges)
        + f"{end}//{end}3{separator}4{end}"
    )
    byte = next((ord(each) for each in separator.strip()), edges_cpu.BLANKS)
    block = parse(text, separator=byte)
    assert block.status == edges_cpu.OK
    assert block.ends.T.tolist() == [list(edge) for edge in [*edges, (3, 4)]]
    assert block.lines.tolist() == [1, 2, 3, 4, 7]
    assert (block.stop, block.line, block.weights.size) == (len(text), 8, 0)


@given(st.one_of(st.integers(-(2**64), 2**64).map(str), st.text("0123456789+-.e ", max_size=20)).map(str.strip))
@example("007")
@example("0")
@example("-0")
@example("+1")
@example("9223372036854775807")
@example("9223372036854775808")
@example("-9223372036854775807")
def test_only_numbers_as_python_writes_them(word: str) -> None:
    block = parse(f"1,2\n{word},3\n", separator=COMMA)
    if is_whole(word) and int(word) > -(2**63):
        assert (block.status, block.ends[0].tolist()) == (edges_cpu.OK, [1, int(word)])
    else:
        assert (block.status, block.stop, block.line) == (edges_cpu.NOT_A_NUMBER, 4, 1)
        assert block.ends.T.tolist() == [[1, 2]]


@given(st.lists(st.tuples(*2 * (st.text('ab",; é', max_size=5),)), min_size=1, max_size=5))
def test_names_in_quotes(edges: list[tuple[str, str]]) -> None:
    text = "".join(",".join('"' + name.replace('"', '""') + '"' for name in edge) + "\n" for edge in edges)
    block = parse(text, numbers=False, separator=COMMA, quote=QUOTE)
    assert block.status == edges_cpu.OK
    assert names_of(text, block) == edges
    text = text.replace(",", " ") if not any("," in name for edge in edges for name in edge) else ""
    if text:
        block = parse(text, numbers=False, quote=QUOTE)
        assert names_of(text, block) == edges


def test_names_without_quotes() -> None:
    text = 'Ada Lovelace \t Bob\t3\n\tCarl\t\n#x\t"D"\t1\n'
    block = parse(text, numbers=False, separator=TAB, n_columns=3, comments=False)
    assert block.status == edges_cpu.OK
    assert names_of(text, block) == [("Ada Lovelace", "Bob"), ("", "Carl"), ("#x", '"D"')]
    text = "  Ada  Bob # once\n%Bob Carl\nCarl\tÉmile \n"
    block = parse(text, numbers=False)
    assert names_of(text, block) == [("Ada", "Bob"), ("Carl", "Émile")]
    assert block.lines.tolist() == [0, 2]


def test_chosen_columns_and_weights() -> None:
    text = "9;0.5;a;7;x\n8;-12.25;b;6;y\n"
    block = parse(text, separator=ord(";"), tail=3, head=0, weight=1, n_columns=5)
    assert block.ends.tolist() == [[7, 6], [9, 8]]
    assert block.weights.tolist() == [0.5, -12.25]
    assert block.hard.shape == (3, 0)


@given(st.from_regex(r"\A[-+]?([0-9]{1,25}(\.[0-9]{0,25})?|\.[0-9]{1,25})([eE][-+]?[0-9]{1,3})?\Z"))
@example("0.1")
@example("9007199254740993")
@example("450359962737049.5")
@example("804069164.78528394")
def test_a_weight_is_the_nearest_float_or_left(text: str) -> None:
    line = f"1 2 {text}\n"
    block = parse(line, weight=2, n_columns=3)
    if block.hard.size:
        assert block.hard[0].tolist() == [0]
        assert line[block.hard[1, 0] : block.hard[2, 0]] == text
    else:
        assert block.weights.tolist() == [float(text)]


def test_what_is_easy_is_not_left_to_the_caller() -> None:
    for text in ("3", "-0.25", "+4.", ".5", "450359962737049.5"):
        assert parse(f"1 2 {text}\n", weight=2, n_columns=3).hard.shape == (3, 0), text
    for text in ("nan", "1.2.3", "1e5", "-", "1_0", "99999999999999999999", "0.00000000000000000000001"):
        assert parse(f"1 2 {text}\n", weight=2, n_columns=3).hard.shape == (3, 1), text


def test_attributes_of_networkx_are_one_column() -> None:
    text = "0 1 {'weight': 3.5, 'x': 'a b'}\n1 2 {}\n"
    block = parse(text, weight=2, n_columns=3)
    assert [text[start:stop] for _, start, stop in block.hard.T.tolist()] == ["{'weight': 3.5, 'x': 'a b'}", "{}"]


@pytest.mark.parametrize(
    ("line", "layout", "status", "n_fields"),
    [
        ("1", {}, edges_cpu.WRONG_FIELDS, 1),
        ("1 2 3", {}, edges_cpu.WRONG_FIELDS, 3),
        ("1,2,", {"separator": COMMA}, edges_cpu.WRONG_FIELDS, 3),
        ('"1,2', {"separator": COMMA, "quote": QUOTE}, edges_cpu.UNCLOSED, 0),
        ('1,"2"3', {"separator": COMMA, "quote": QUOTE}, edges_cpu.UNCLOSED, 1),
        ("1 x", {}, edges_cpu.NOT_A_NUMBER, 2),
    ],
)
def test_a_wrong_line_is_named(line: str, layout: dict[str, int], status: int, n_fields: int) -> None:
    good = "5,6\n" if layout else "5 6\n"
    block = parse(f"{good}\n{line}\n{good}", **layout)
    assert (block.status, block.line, block.n_fields, block.stop) == (status, 2, n_fields, 5)
    assert block.ends.T.tolist() == [[5, 6]]


def test_the_buffer_ends_with_a_newline() -> None:
    with pytest.raises(ValueError, match="does not end with a newline"):
        parse("1 2")


@given(st.lists(st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1)), max_size=40), st.integers(0, 9))
def test_codes_in_order_of_arrival(numbers: list[int], start: int) -> None:
    known, slots, n_known = np.empty(2, np.int64), np.zeros(4, np.int32), 0
    codes, done = np.full(len(numbers), -1, np.int32), min(start, len(numbers))
    while True:
        done, n_known = number_codes(np.array(numbers, np.int64), done, known, n_known, slots, codes)
        if done == len(numbers):
            break
        known, slots = np.concatenate([known, known]), np.zeros(2 * slots.size, np.int32)
        fill_number_slots(known, n_known, slots)
    first_seen = list(dict.fromkeys(numbers[start:]))
    assert known[:n_known].tolist() == first_seen
    assert codes[start:].tolist() == [first_seen.index(number) for number in numbers[start:]]


@pytest.mark.parametrize("shift", [0, 13, 31, 40, 51])
def test_numbers_far_apart_do_not_collide(shift: int) -> None:
    """Multiples of a large power of two: with their low bits alone all would be in one slot."""
    numbers = np.arange(3000, dtype=np.int64) << shift
    slots = np.zeros(8192, np.int32)
    done, n_known = number_codes(numbers, 0, np.empty(4096, np.int64), 0, slots, np.empty(3000, np.int32))
    assert (done, n_known) == (3000, 3000)
    taken = np.flatnonzero(np.r_[0, slots, 0] == 0)
    assert np.diff(taken).max() < 40
