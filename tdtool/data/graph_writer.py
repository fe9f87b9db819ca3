"""A graph file from partitions that arrive one after the other, in memory of one of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdtool.data.graph_store import partition_digest
from tdtool.data.parquet_parts import NodeRows
from tdtool.store import hdf5
from tdtool.store.schema import GRAPH


def write_graph_rows(
    path: Path,
    rows: Iterable[NodeRows],
    indptr: NDArray[np.int64],
    starts: NDArray[np.int64],
    names: list[str],
    *,
    n_left: int | None,
    weighted: bool,
    attributes: dict[str, Any],
    force: bool = False,
) -> None:
    """Write the file that `write_graph` makes of the whole graph, whole or not at all.

    rows : of all partitions, in order; indptr : (n + 1,) of all nodes; starts : (P + 1,), first node of each partition;
    names : n; attributes : ledger (as_dict), description, notes, source and more, as JSON values.
    """
    size = int(indptr[-1])
    digests, position = [], 0
    with hdf5.create(path, GRAPH, force=force) as writer:
        writer.put("graph/indptr", indptr)
        neighbours = writer.stream("graph/neighbours", (size,), np.int32)
        weights = writer.stream("graph/weights", (size,), np.float32) if weighted else None
        for part in rows:
            neighbours.write(position, part.neighbours)
            if weights is not None and part.weights is not None:
                weights.write(position, part.weights)
            digests.append(partition_digest(part.indptr, part.neighbours, part.weights))
            position += part.neighbours.size
        writer.put("nodes/name", names)
        if n_left is not None:
            writer.put("nodes/side", (np.arange(len(names)) >= n_left).astype(np.uint8))
        writer.put("partitions/start", starts)
        writer.put("partitions/digest", digests)
        for name, value in attributes.items():
            writer.attribute(name, value)
