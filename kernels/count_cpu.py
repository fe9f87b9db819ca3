"""From the words of documents in their order to sparse counts, and from one numbering of the words to another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tdtool.kernels.backend import jit


@jit
def count_tokens(
    tokens: NDArray[np.int32],
    ends: NDArray[np.int64],
    n_terms: int,
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    counts: NDArray[np.int32],
) -> int:
    """Count the words of each document; returns the number of entries.

    tokens : (n_tokens,) int32, -1 for none; ends : (D,) int64, the place in `tokens` after each document;
    indptr : (D + 1,) int64, indices, counts : (n_tokens,) int32, filled; entries in order of first use in the document.
    """
    where = np.full(
        n_terms, -1, np.int64
    )  # the last entry of each word: of this document when it is not before its first
    n_entries, place = 0, 0
    for document in range(ends.size):
        first = n_entries
        indptr[document] = first
        while place < ends[document]:
            token = tokens[place]
            place += 1
            if token < 0:
                continue
            if where[token] >= first:
                counts[where[token]] += 1
            else:
                where[token] = n_entries
                indices[n_entries] = token
                counts[n_entries] = 1
                n_entries += 1
    indptr[ends.size] = n_entries
    return n_entries


@jit
def add_frequencies(
    indices: NDArray[np.int32],
    counts: NDArray[np.int32],
    document_frequency: NDArray[np.int64],
    total: NDArray[np.int64],
) -> None:
    """Add sparse counts to the words' frequencies and totals, (V,) int64. indices, counts : (nnz,) int32."""
    for entry in range(indices.size):
        document_frequency[indices[entry]] += 1
        total[indices[entry]] += counts[entry]


@jit
def kept_lengths(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], numbers: NDArray[np.int32], lengths: NDArray[np.int32]
) -> None:
    """Kept entries of each document. numbers : (V,) int32, -1 for a word left out; lengths : (D,) int32, filled."""
    for document in range(lengths.size):
        kept = 0
        for entry in range(indptr[document], indptr[document + 1]):
            kept += numbers[indices[entry]] >= 0
        lengths[document] = kept


@jit
def renumber(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    counts: NDArray[np.int32],
    numbers: NDArray[np.int32],
    n_kept_terms: int,
    new_indices: NDArray[np.int32],
    new_counts: NDArray[np.int32],
) -> int:
    """Entries under the words' new numbers, ascending within a document, without the words that are left out.

    indptr : (D + 1,) int64; numbers : (V,) int32 below n_kept_terms, -1 left out; new_* : (nnz,) int32, filled; returns
    how many entries are kept. Two transpositions sort them in linear time: words in order visit their documents.
    """
    n_documents = indptr.size - 1
    term_ends = np.zeros(n_kept_terms + 1, np.int64)
    document_ends = np.zeros(n_documents + 1, np.int64)
    for document in range(n_documents):
        for entry in range(indptr[document], indptr[document + 1]):
            number = numbers[indices[entry]]
            if number >= 0:
                term_ends[number + 1] += 1
                document_ends[document + 1] += 1
    for number in range(n_kept_terms):
        term_ends[number + 1] += term_ends[number]
    for document in range(n_documents):
        document_ends[document + 1] += document_ends[document]
    n_kept = term_ends[n_kept_terms]
    documents, by_term = np.empty(n_kept, np.int32), np.empty(n_kept, np.int32)
    for document in range(n_documents):
        for entry in range(indptr[document], indptr[document + 1]):
            number = numbers[indices[entry]]
            if number >= 0:
                documents[term_ends[number]], by_term[term_ends[number]] = document, counts[entry]
                term_ends[number] += 1
    place = 0
    for number in range(n_kept_terms):
        while place < term_ends[number]:
            target = document_ends[documents[place]]
            new_indices[target], new_counts[target] = number, by_term[place]
            document_ends[documents[place]] += 1
            place += 1
    return n_kept
