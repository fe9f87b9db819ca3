"""A corpus: sparse word counts in partitions, in memory or memory-mapped from its file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tdtool.data.ledger import Ledger
from tdtool.errors import InputError
from tdtool.store import hdf5
from tdtool.store.content import check_counts

if TYPE_CHECKING:
    from scipy.sparse import csr_array, csr_matrix

#: What a step returns to be summed over the partitions, and what it leaves behind for one partition (see engine.py).
Partials = tuple[NDArray[Any], ...]
State = dict[str, NDArray[Any]]
#: `map_reduce(step, *parameters, about=...) -> sums`: how moments and models reach the data, whatever the engine.
MapReduce = Callable[..., Partials]

#: Counter of the ledger.
OUT_OF_VOCABULARY = "out-of-vocabulary tokens"
#: Entries of a partition: small corpora still spread over the cores, large ones keep few partial results in flight.
_SMALLEST, _USUAL, _LARGEST = 1 << 13, 1 << 18, 1 << 22


def partition_starts(indptr: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where partitions begin, from the stored entries alone (never from the number of workers).

    indptr : (D + 1,) int64 -> (P + 1,) int64, the first document of each partition and at last D.
    """
    n_documents, n_entries = indptr.size - 1, int(indptr[-1])
    size = max(min(n_entries // 8, _USUAL), n_entries // 64)
    size = min(max(size, _SMALLEST), _LARGEST)
    cuts = np.searchsorted(indptr[:-1], np.arange(0, n_entries, size), side="left")
    return np.unique(np.concatenate([cuts[cuts < n_documents], [0, n_documents]])).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class Rows:
    """One partition: D_p documents from document `start` on.

    indptr : (D_p + 1,) int64 from 0; indices : (nnz,) int32; counts : (nnz,) int32 or float32.
    """

    index: int
    start: int
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    counts: NDArray[Any]

    @property
    def n_documents(self) -> int:
        """D_p, the documents of this partition."""
        return self.indptr.size - 1


class CorpusFacts(Protocol):
    """What every corpus knows without looking at its entries, wherever they are; see Corpus."""

    @property
    def n_documents(self) -> int:
        """D."""

    @property
    def n_terms(self) -> int:
        """V."""

    @property
    def n_entries(self) -> int:
        """Stored counts."""

    @property
    def n_partitions(self) -> int:
        """P."""

    @property
    def starts(self) -> NDArray[np.int64]:
        """(P + 1,) first document of each partition."""

    @property
    def vocabulary(self) -> list[str]:
        """V words."""

    @property
    def ledger(self) -> Ledger:
        """The documents that were read."""

    @property
    def attributes(self) -> dict[str, Any]:
        """How it came about."""

    def id_blocks(self) -> Iterator[tuple[int, list[str]]]:
        """(first document, names) of all documents, some thousands at a time."""


@dataclasses.dataclass(frozen=True)
class Corpus:
    """D documents over V words. Its entries may live on disk; everything else is small.

    indptr : (D + 1,) int64; indices, counts : (nnz,), memory-mapped when the corpus was opened from a file;
    starts : (P + 1,) int64, first document of each partition; term_map : (stored terms,) int32, what each stored term
    is in `vocabulary`, -1 where it is not, or None when they are the same; ids : the documents' names, or None where
    they stay in the file (see id_blocks).
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    counts: NDArray[Any]
    starts: NDArray[np.int64]
    vocabulary: list[str]
    ids: list[str] | None
    ledger: Ledger
    attributes: dict[str, Any]
    path: Path | None = None
    term_map: NDArray[np.int32] | None = None

    @classmethod
    def open(cls, path: str | Path, *, check: bool = True) -> Corpus:
        """Open a corpus file; its entries stay on disk. check : look at every entry first (a file from outside)."""
        path = Path(path)
        with hdf5.open(path) as reader:
            reader.require("tdtool.corpus")
            for finding in check_counts(reader) if check else ():
                raise InputError(f"{finding.where} {finding.what}", path=path, hint="run: tdtool verify")
            indptr = reader.get("counts/indptr")
            return cls(
                indptr=indptr,
                indices=hdf5.memory_map(path, "counts/indices"),
                counts=hdf5.memory_map(path, "counts/data"),
                starts=reader.get("partitions/start"),
                vocabulary=reader.get("vocabulary/term"),
                ids=None,
                ledger=Ledger.from_dict(reader.attributes["ledger"]),
                attributes=reader.attributes,
                path=path,
            )

    @classmethod
    def from_csr(
        cls,
        document_term: csr_array | csr_matrix,
        vocabulary: list[str] | None = None,
        document_ids: list[str] | None = None,
    ) -> Corpus:
        """A corpus in memory from a (D, V) sparse matrix of non-negative numbers."""
        matrix = document_term.copy()
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        n_documents, n_terms = matrix.shape
        indptr = matrix.indptr.astype(np.int64)
        whole = np.issubdtype(matrix.dtype, np.integer) and (matrix.nnz == 0 or matrix.data.max() < 2**31)
        return cls(
            indptr=indptr,
            indices=matrix.indices.astype(np.int32),
            counts=matrix.data.astype(np.int32 if whole else np.float32),
            starts=partition_starts(indptr),
            vocabulary=vocabulary or [f"term{i}" for i in range(n_terms)],
            ids=document_ids or [str(d) for d in range(n_documents)],
            ledger=Ledger(n_documents, n_documents),
            attributes={},
        )

    @property
    def n_documents(self) -> int:
        """D."""
        return self.indptr.size - 1

    @property
    def n_terms(self) -> int:
        """V."""
        return len(self.vocabulary)

    @property
    def n_entries(self) -> int:
        """Stored counts."""
        return int(self.indptr[-1])

    @property
    def n_partitions(self) -> int:
        """P."""
        return self.starts.size - 1

    def id_blocks(self) -> Iterator[tuple[int, list[str]]]:
        """(first document, names) of all documents, some thousands at a time."""
        if self.ids is not None:
            yield 0, self.ids
        elif self.path is not None:
            with hdf5.open(self.path) as reader:
                yield from reader.blocks("documents/id")

    def names(self, first: int, last: int) -> list[str]:
        """The names of documents first ... last - 1."""
        if self.ids is not None:
            return self.ids[first:last]
        if self.path is None:
            return []
        with hdf5.open(self.path) as reader:
            return list(reader.rows("documents/id", first, last))

    @property
    def document_ids(self) -> list[str]:
        """The names of all documents, in memory."""
        return [name for _, names in self.id_blocks() for name in names]

    def rows(self, index: int) -> Rows:
        """Partition `index`."""
        return self.between(int(self.starts[index]), int(self.starts[index + 1]), index)

    def between(self, first: int, last: int, index: int = 0) -> Rows:
        """Documents first ... last - 1, as if they were partition `index`."""
        begin, end = int(self.indptr[first]), int(self.indptr[last])
        indptr = self.indptr[first : last + 1] - begin
        rows = Rows(index, first, indptr, np.asarray(self.indices[begin:end]), np.asarray(self.counts[begin:end]))
        return rows if self.term_map is None else translated(rows, self.term_map)

    def seen_through(self, vocabulary: list[str]) -> Corpus:
        """The same documents in the words of another vocabulary; words it lacks disappear, and are counted."""
        places = term_map(self.vocabulary, vocabulary)
        if self.term_map is not None:
            places = np.where(self.term_map >= 0, places[self.term_map], np.int32(-1))
        seen = dataclasses.replace(self, vocabulary=vocabulary, term_map=places)
        before, after = (sum(int(c.rows(i).counts.sum()) for i in range(self.n_partitions)) for c in (self, seen))
        ledger = Ledger.from_dict(self.ledger.as_dict())
        ledger.count(OUT_OF_VOCABULARY, before - after)
        return dataclasses.replace(seen, ledger=ledger)

    def matrix(self) -> csr_array:
        """The whole corpus as a scipy array (D, V); for corpora that fit in memory."""
        import scipy.sparse as sp

        parts = [self.rows(index) for index in range(self.n_partitions)]
        sizes = np.concatenate([[0], *(np.diff(part.indptr) for part in parts)])
        indices = np.concatenate([np.zeros(0, np.int32), *(part.indices for part in parts)])
        counts = np.concatenate([np.zeros(0, self.counts.dtype), *(part.counts for part in parts)])
        return sp.csr_array((counts, indices, np.cumsum(sizes)), shape=(self.n_documents, self.n_terms))


def term_map(stored: list[str], vocabulary: list[str]) -> NDArray[np.int32]:
    """What each stored term is in another vocabulary, -1 where it is not: (stored terms,) int32."""
    place = {term: i for i, term in enumerate(vocabulary)}
    return np.array([place.get(term, -1) for term in stored], dtype=np.int32)


def translated(rows: Rows, places: NDArray[np.int32]) -> Rows:
    """Entries in another vocabulary, ascending within each document. places : (stored terms,) int32, of term_map."""
    terms = places[rows.indices]
    documents = np.repeat(np.arange(rows.n_documents), np.diff(rows.indptr))
    known = np.flatnonzero(terms >= 0)
    order = known[np.lexsort((terms[known], documents[known]))]
    sizes = np.bincount(documents[order], minlength=rows.n_documents)
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Rows(rows.index, rows.start, indptr, terms[order], rows.counts[order])
