"""Counting words, renumbering them, and pairs of neighbours: each kernel against a few lines of Python."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tdtool.kernels import count_cpu, pairs_cpu, word_table

_N_TERMS = 7
_DOCUMENTS = st.lists(st.lists(st.integers(-1, _N_TERMS - 1), max_size=12), max_size=6)


def _flat(documents: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    tokens = np.array([token for document in documents for token in document], np.int32)
    return tokens, np.cumsum([len(document) for document in documents], dtype=np.int64)


def _counted(documents: list[list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    tokens, ends = _flat(documents)
    indptr = np.empty(ends.size + 1, np.int64)
    indices, counts = np.empty(tokens.size, np.int32), np.empty(tokens.size, np.int32)
    size = count_cpu.count_tokens(tokens, ends, _N_TERMS, indptr, indices, counts)
    assert size == indptr[-1]
    return indptr, indices[:size], counts[:size]


@settings(deadline=None)
@given(_DOCUMENTS)
def test_counts_of_each_document(documents: list[list[int]]) -> None:
    indptr, indices, counts = _counted(documents)
    for document, first, last in zip(documents, indptr, indptr[1:], strict=False):
        expected = Counter(token for token in document if token >= 0)
        assert list(zip(indices[first:last], counts[first:last], strict=True)) == list(expected.items())


@settings(deadline=None)
@given(_DOCUMENTS, st.permutations([0, 1, 2, 3, -1, -1, -1]))
def test_frequencies_and_new_numbers(documents: list[list[int]], new: list[int]) -> None:
    indptr, indices, counts = _counted(documents)
    frequency, total = np.zeros(_N_TERMS, np.int64), np.zeros(_N_TERMS, np.int64)
    count_cpu.add_frequencies(indices, counts, frequency, total)
    assert frequency.tolist() == [sum(term in document for document in documents) for term in range(_N_TERMS)]
    assert total.tolist() == [sum(document.count(term) for document in documents) for term in range(_N_TERMS)]
    numbers, lengths = np.array(new, np.int32), np.empty(len(documents), np.int32)
    count_cpu.kept_lengths(indptr, indices, numbers, lengths)
    new_indices, new_counts = np.empty_like(indices), np.empty_like(counts)
    size = count_cpu.renumber(indptr, indices, counts, numbers, 4, new_indices, new_counts)
    expected = [sorted(Counter(new[t] for t in d if t >= 0 and new[t] >= 0).items()) for d in documents]
    assert lengths.tolist() == [len(entries) for entries in expected]
    entries = [entry for part in expected for entry in part]
    assert list(zip(new_indices[:size], new_counts[:size], strict=True)) == entries


@settings(deadline=None)
@given(_DOCUMENTS, st.lists(st.integers(0, 2), min_size=_N_TERMS, max_size=_N_TERMS), st.integers(2, 3))
def test_pairs_are_counted_and_joined(documents: list[list[int]], n_words: list[int], length: int) -> None:
    tokens, ends = _flat(documents)
    keys, values = np.zeros(128, np.int64), np.zeros(128, np.int64)
    n_new = pairs_cpu.count_pairs(tokens, ends, np.array(n_words, np.uint8), length, keys, values)
    expected = Counter(
        (a, b)
        for document in documents
        for a, b in pairwise(document)
        if a != b and min(a, b) >= 0 and min(n_words[a], n_words[b]) > 0 and n_words[a] + n_words[b] == length
    )
    found = {
        (int(key >> 32), int(key & 0xFFFFFFFF)): int(value) for key, value in zip(keys, values, strict=True) if key
    }
    assert (found, n_new) == (dict(expected), len(expected))
    chosen = {pair: 100 + place for place, pair in enumerate(sorted(expected)[::2])}
    keys, values = np.zeros(128, np.int64), np.zeros(128, np.int64)
    packed = np.array([(a << 32) + b for a, b in chosen] + [0], np.int64)
    pairs_cpu.insert_pairs(packed, np.array([*chosen.values(), 9], np.int64), keys, values)
    joined, joined_ends = np.empty(tokens.size, np.int32), np.empty(ends.size, np.int64)
    size = pairs_cpu.join_pairs(tokens, ends, keys, values, joined, joined_ends)
    parts = [_joined(document, chosen) for document in documents]
    assert joined[:size].tolist() == [token for part in parts for token in part]
    assert joined_ends.tolist() == np.cumsum([len(part) for part in parts]).astype(int).tolist()


def _joined(document: list[int], chosen: dict[tuple[int, int], int]) -> list[int]:
    result, place = [], 0
    while place < len(document):
        pair = (document[place], document[place + 1]) if place + 1 < len(document) else (-1, -1)
        result.append(chosen.get(pair, document[place]))
        place += 2 if pair in chosen else 1
    return result


def test_slots_lead_to_words_after_they_are_filled_again() -> None:
    source, bounds = np.frombuffer(bytearray(b"onetwothree"), np.uint8), np.array([0, 3, 6, 11])
    hashes, numbers = np.empty(3, np.int64), np.empty(3, np.int32)
    word_table.hash_words(source, bounds, hashes)
    assert len(set(hashes.tolist())) == 3
    slots = np.zeros(8, np.int64)
    word_table.fill_slots(hashes, 3, slots)
    table = (source, bounds, hashes, slots)
    assert word_table.add_words(source, bounds, hashes, 3, *table, 3, False, numbers) == 3
    assert numbers.tolist() == [0, 1, 2]


def test_slots_hold_words_that_share_a_hash() -> None:
    slots = np.zeros(8, np.int64)
    word_table.fill_slots(np.full(3, 7), 3, slots)
    assert slots.tolist() == [(7 << 32) + 2, (7 << 32) + 3, 0, 0, 0, 0, 0, (7 << 32) + 1]
