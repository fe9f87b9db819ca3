"""The partitions of a store as Parquet files: one row a document or node, lists of its entries."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tdtool.data import graph_store
from tdtool.data.corpus import Rows
from tdtool.data.corpus_writer import partition_digest
from tdtool.data.graph_store import NodeRows
from tdtool.data.parquet_folder import PartFacts, damaged, is_part_name, is_there, part_file, read_file, write_file
from tdtool.data.parquet_table import MOST_FILE_BYTES, decoded, encoded
from tdtool.store.digest import array_digest, as_bytes, bytes_digest

__all__ = [
    "NodeRows",
    "PartFacts",
    "check_sizes",
    "fault_in",
    "in_order",
    "read_node_part",
    "read_part",
    "write_node_part",
    "write_part",
]

#: No partition has more entries than this and those of its longest row, see `partition_starts`.
MOST_ENTRIES = 1 << 22
_AHEAD = 3
_MOST_ROWS = 1 << 28
_MOST_NUMBER = (1 << 31) - 1
Found = TypeVar("Found")

_INTEGERS: Any = pa.list_(pa.int32())
_FLOATS: Any = pa.list_(pa.float32())
_DOCUMENTS = pa.schema([pa.field("id", pa.string()), pa.field("terms", _INTEGERS), pa.field("counts", _INTEGERS)])
_NODES = pa.schema([pa.field("neighbours", _INTEGERS)])
_WEIGHTED_NODES = pa.schema([pa.field("neighbours", _INTEGERS), pa.field("weights", _FLOATS)])


def write_part(place: str, index: int, rows: Rows, ids: list[str]) -> PartFacts:
    """Write one partition of a corpus; nothing is done when it is there already.

    rows : counts are int32; ids : the names of its documents. A task may do this twice, or two tasks at a time.
    """
    names = [as_bytes(name).decode() for name in ids]
    digest = partition_digest(rows.indptr, rows.indices, rows.counts)
    facts = PartFacts(
        index, rows.start, rows.n_documents, rows.indices.size, digest, _corpus_file(index, digest, names)
    )
    if rows.counts.dtype.kind not in "iu" or len(ids) != rows.n_documents:
        raise ValueError(f"{len(ids)} names for {rows.n_documents} documents with counts of type {rows.counts.dtype}")
    if not is_there(place, facts, lambda: read_part(place, facts, _MOST_NUMBER)):
        columns = [pa.array(names, pa.string()), _lists(rows.indptr, rows.indices), _lists(rows.indptr, rows.counts)]
        write_file(place, facts.file, encoded(_DOCUMENTS, columns))
    return facts


def read_part(place: str, facts: PartFacts, n_terms: int) -> tuple[Rows, list[str]]:
    """One partition of a corpus, and its documents' names. InputError, with the file, unless it is as was written."""
    table = _read(place, facts, _DOCUMENTS, n_terms)
    indptr, terms = _unlisted(table, "terms", place, facts)
    others, counts = _unlisted(table, "counts", place, facts)
    if not np.array_equal(indptr, others):
        raise damaged(place, facts.file, "documents have terms without counts")
    if (fault := fault_in(indptr, terms, n_terms, "terms")) is not None:
        raise damaged(place, facts.file, fault)
    if counts.size and counts.min() < 1:
        raise damaged(place, facts.file, "has counts below 1")
    ids: list[Any] = table.column("id").to_pylist()
    digest = partition_digest(indptr, terms, counts)
    if digest != facts.digest or facts.file != _corpus_file(facts.index, digest, ids):
        raise damaged(place, facts.file, "its values are not those that were written (digest)")
    return Rows(facts.index, facts.start, indptr, terms, counts), ids


def write_node_part(place: str, rows: NodeRows) -> PartFacts:
    """Write one partition of a graph; nothing is done when it is there already."""
    digest = graph_store.partition_digest(rows.indptr, rows.neighbours, rows.weights)
    n_rows, n_entries = rows.indptr.size - 1, rows.neighbours.size
    facts = PartFacts(rows.index, rows.start, n_rows, n_entries, digest, part_file(rows.index, digest))
    weighted = rows.weights is not None
    if not is_there(place, facts, lambda: read_node_part(place, facts, _MOST_NUMBER, weighted=weighted)):
        columns = [_lists(rows.indptr, rows.neighbours)]
        if rows.weights is None:
            write_file(place, facts.file, encoded(_NODES, columns))
        else:
            columns.append(_lists(rows.indptr, rows.weights, pa.float32()))
            write_file(place, facts.file, encoded(_WEIGHTED_NODES, columns))
    return facts


def read_node_part(place: str, facts: PartFacts, n_nodes: int, *, weighted: bool) -> NodeRows:
    """One partition of a graph. InputError, with the file, unless it is as was written."""
    table = _read(place, facts, _WEIGHTED_NODES if weighted else _NODES, n_nodes)
    indptr, neighbours = _unlisted(table, "neighbours", place, facts)
    if (fault := fault_in(indptr, neighbours, n_nodes, "neighbours")) is not None:
        raise damaged(place, facts.file, fault)
    weights = None
    if weighted:
        others, weights = _unlisted(table, "weights", place, facts)
        if not np.array_equal(indptr, others):
            raise damaged(place, facts.file, "nodes have neighbours without weights")
        if not np.all((weights > 0) & np.isfinite(weights)):
            raise damaged(place, facts.file, "has weights that are not above 0")
    digest = graph_store.partition_digest(indptr, neighbours, weights)
    if digest != facts.digest or facts.file != part_file(facts.index, digest):
        raise damaged(place, facts.file, "its values are not those that were written (digest)")
    return NodeRows(facts.index, facts.start, indptr, neighbours, weights)


def in_order(read: Callable[[int], Found], n_partitions: int) -> Iterator[Found]:
    """What `read` finds in each partition, one after the other; a few are read ahead."""
    waiting: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(_AHEAD) as pool:
        try:
            for index in range(n_partitions):
                waiting.append(pool.submit(read, index))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def check_sizes(place: str, facts: PartFacts, n: int) -> None:
    """InputError unless a partition may have as many rows and entries as it says. n : words or nodes that there are."""
    if not (is_part_name(facts.file) and 0 <= facts.n_rows <= _MOST_ROWS and 0 <= facts.n_entries <= MOST_ENTRIES + n):
        what = f"partition {facts.index} says that it has {facts.n_rows:,} rows and {facts.n_entries:,} entries"
        raise damaged(place, facts.file, what)


def fault_in(indptr: NDArray[np.int64], values: NDArray[Any], n: int, what: str) -> str | None:
    """What is wrong with values (entries,) that should lie in 0 ... n - 1 and ascend within each row, None: nothing.

    indptr : (rows + 1,); what : the values' name.
    """
    if not values.size:
        return None
    if values.min() < 0 or values.max() >= n:
        return f"has {what} outside the {n:,} that there are"
    falls = np.flatnonzero(np.diff(values) <= 0) + 1  # where a row ends, values may fall
    return None if np.all(np.isin(falls, indptr)) else f"has {what} that do not ascend"


def _read(place: str, facts: PartFacts, schema: pa.Schema, n: int) -> pa.Table:
    check_sizes(place, facts, n)
    data = read_file(place, facts.file, MOST_FILE_BYTES)
    return decoded(data, schema, place, facts.file, n_rows=facts.n_rows, n_values=facts.n_rows + facts.n_entries)


def _lists(indptr: NDArray[np.int64], values: NDArray[Any], kind: Any = None) -> Any:
    """Rows as a column of lists : indptr (rows + 1,), values (entries,)."""
    return pa.ListArray.from_arrays(pa.array(indptr, pa.int32()), pa.array(values, kind or pa.int32()))


def _unlisted(table: pa.Table, name: str, place: str, facts: PartFacts) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The inverse of _lists."""
    column: Any = table.column(name).combine_chunks()
    values = column.flatten()
    indptr = np.zeros(len(column) + 1, np.int64)
    if len(column):
        offsets = column.offsets.to_numpy()
        indptr = (offsets - offsets[0]).astype(np.int64)
    if values.null_count or len(values) != facts.n_entries:
        raise damaged(place, facts.file, f"has {len(values):,} {name}, and {facts.n_entries:,} were written")
    return indptr, values.to_numpy(zero_copy_only=False)


def _corpus_file(index: int, digest: str, ids: list[str]) -> str:
    names = array_digest("documents/id", ids)
    return part_file(index, bytes_digest([digest.encode(), names.encode()]))
