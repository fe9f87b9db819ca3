"""Tables of names: shared out, merged, put in order, looked up."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdtool.data.graph_numbering import number_nodes
from tdtool.data.name_tables import HEAD, TAIL, NameTable, in_buckets, merged_names, stacked
from tdtool.data.readers.graph_names import names_of
from tdtool.errors import InputError

NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=20)
WORDS = st.lists(
    st.text(st.characters(codec="utf-8", min_codepoint=33), min_size=1, max_size=3), unique=True, max_size=20
)


def of_words(words: list[str], roles: list[int] | None = None) -> NameTable:
    encoded = [word.encode() for word in words]
    text = np.frombuffer(bytearray(b"".join(encoded)), np.uint8)
    given_roles = None if roles is None else np.array(roles, np.uint8)
    return NameTable.of_text(text, np.cumsum([0, *map(len, encoded)], dtype=np.int64), given_roles)


def as_dict(table: NameTable) -> dict[str, int]:
    """Every name with its roles."""
    names = names_of(table.text, table.bounds) if table.numbers is None else [str(n) for n in table.numbers.tolist()]
    assert len(set(names)) == len(names) == table.size
    return dict(zip(names, table.roles.tolist(), strict=True))


@given(st.one_of(NUMBERS, WORDS), st.integers(1, 5), st.randoms(use_true_random=False))
def test_buckets_hold_every_name_once(names: list[int] | list[str], n_buckets: int, draw: object) -> None:
    roles = [1 + place % 3 for place in range(len(names))]
    texts = [str(name) for name in names]
    numbers = all(isinstance(name, int) for name in names)
    table = (
        NameTable.of_numbers(np.array(names, np.int64), np.array(roles, np.uint8))
        if numbers
        else of_words(texts, roles)
    )
    buckets = in_buckets(table, n_buckets)
    assert as_dict(table) == dict(zip(texts, roles, strict=True))
    joined = {name: role for _, part in buckets for name, role in as_dict(part).items()}
    assert joined == as_dict(table)
    for (one, first), (other, second) in itertools.combinations(buckets, 2):
        assert one != other
        assert not as_dict(first).keys() & as_dict(second).keys()
    again = {
        name: bucket
        for bucket, part in in_buckets(table.chosen(np.arange(table.size)[::-1]), n_buckets)
        for name in as_dict(part)
    }
    assert again == {name: bucket for bucket, part in buckets for name in as_dict(part)}
    assert as_dict(table.as_text()) == as_dict(table)
    assert as_dict(stacked([part for _, part in buckets])) == as_dict(table)


def test_many_names_are_spread() -> None:
    for numbers in (np.arange(3000), np.arange(3000) << 40, -np.arange(3000) * 3000):
        sizes = [part.size for _, part in in_buckets(NameTable.of_numbers(numbers.astype(np.int64)), 7)]
        assert len(sizes) == 7
        assert max(sizes) < 2 * 3000 / 7
    assert [part.size for _, part in in_buckets(of_words([f"node{i}" for i in range(50)]), 1)] == [50]


def test_merged() -> None:
    one, other = of_words(["a", "é", "b"], [1, 2, 1]), of_words(["c", "é", "a"], [2, 1, 1])
    assert as_dict(merged_names([one, other])) == {"a": 1, "é": 3, "b": 1, "c": 2}
    numbers = [
        NameTable.of_numbers(np.array(n, np.int64), np.array(r, np.uint8)) for n, r in (([5, -1], [1, 1]), ([-1], [2]))
    ]
    assert as_dict(merged_names(numbers)) == {"5": 1, "-1": 3}
    assert as_dict(merged_names([])) == {}
    assert as_dict(merged_names([one, numbers[0].as_text()])) == {"a": 1, "é": 2, "b": 1, "5": 1, "-1": 1}


def test_roles() -> None:
    table = of_words(["a", "b", "c", "d"]).with_roles(np.array([0, 2], np.int32), np.array([1, 2], np.int32))
    assert table.roles.tolist() == [TAIL, HEAD, TAIL | HEAD, 0]


@pytest.mark.parametrize("bipartite", [False, True])
@pytest.mark.parametrize("words", [["b", "é", "a", "10", "9"], ["30", "-4", "7", "11", "5"]])
def test_numbering(words: list[str], bipartite: bool) -> None:
    table = of_words(words, [1, 2, 3, 0, 2])
    numbering, names, n_left = number_nodes(table, "x", bipartite=bipartite)
    assert isinstance(names, list) == ("b" in words)
    key = int if "b" not in words else str
    left, right = [words[0], words[2], words[3]], [words[1], words[2], words[4]]
    expected = sorted(left, key=key) + sorted(right, key=key) if bipartite else sorted(words, key=key)
    assert [str(name) for name in names] == expected
    assert n_left == (3 if bipartite else None)
    sent = pickle.loads(pickle.dumps(numbering))  # noqa: S301 -- as tasks get it
    tails, heads = sent.find(of_words([words[2], words[0]]))
    assert [expected[node] for node in tails] == [words[2], words[0]]
    assert expected[heads[0]] == words[2]
    assert (heads[0] == tails[0]) != bipartite
    with pytest.raises(InputError, match="changed while they were read"):
        sent.find(of_words(["new"]))


def test_numbers_are_found_among_numbers_and_among_text() -> None:
    numbers = NameTable.of_numbers(np.array([30, -4, 7], np.int64))
    for every in (numbers, numbers.as_text()):
        numbering, names, _ = number_nodes(every, "x", bipartite=False)
        assert np.asarray(names).tolist() == [-4, 7, 30]
        assert numbering.find(NameTable.of_numbers(np.array([7, 30], np.int64)))[0].tolist() == [1, 2]
        with pytest.raises(InputError, match="changed while they were read"):
            numbering.find(NameTable.of_numbers(np.array([8], np.int64)))
