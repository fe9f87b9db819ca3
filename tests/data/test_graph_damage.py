"""Damaged graph files of every format: an error in the user's words, or a right graph; never anything else."""

from __future__ import annotations

import bz2
import gzip
import io
import random
from pathlib import Path

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import scipy.sparse as sp

from tdtool.data.graph import Graph
from tdtool.errors import InputError, ResourceError, TdtoolError
from tests.data.graph_reading import read

N_FILES = 60


def network() -> nx.Graph:
    """11 nodes with names, 17 edges of different weights."""
    graph = nx.gnm_random_graph(11, 17, seed=1)
    for number, (_, _, data) in enumerate(graph.edges(data=True)):
        data["weight"] = 1 + number / 4
    return nx.relabel_nodes(graph, {node: f"né {node}" for node in graph})


GRAPH = network()
ADJACENCY = nx.to_scipy_sparse_array(GRAPH)
PAIRS = np.argwhere(sp.triu(ADJACENCY).toarray())


def _saved(write: object, *arguments: object, **settings: object) -> bytes:
    content = io.BytesIO()
    write(*arguments[:1], content, *arguments[1:], **settings)  # type: ignore[operator]
    return content.getvalue()


def _packed(**arrays: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def _market(matrix: object, **settings: object) -> bytes:
    content = io.BytesIO()
    scipy.io.mmwrite(content, matrix, **settings)
    return content.getvalue()


def _sparse(matrix: object) -> bytes:
    content = io.BytesIO()
    sp.save_npz(content, matrix)
    return content.getvalue()


def _metis(*, weighted: bool) -> bytes:
    rows = [f"% by hand\n11 17 {'011' if weighted else ''}"]
    for node in range(11):
        ends = np.flatnonzero(ADJACENCY[[node]].toarray()[0]).tolist()
        row = [f"{end + 1} {int(4 * ADJACENCY[node, end])}" if weighted else str(end + 1) for end in ends]
        rows.append(" ".join([*(["3"] if weighted else []), *row]))
    return ("\n".join(rows) + "\n").encode()


def _parquet(**columns: object) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    return content.getvalue()


NAMES = [(one, other, data["weight"]) for one, other, data in GRAPH.edges(data=True)]
FILES = {
    "x.gml": _saved(nx.write_gml, GRAPH),
    "x.gml.gz": gzip.compress(_saved(nx.write_gml, GRAPH), mtime=0),
    "x.graphml": _saved(nx.write_graphml, GRAPH),
    "plain.metis": _metis(weighted=False),
    "weights.metis": _metis(weighted=True),
    "general.mtx": _market(sp.triu(ADJACENCY)),
    "symmetric.mtx": _market(ADJACENCY),
    "pattern.mtx.bz2": bz2.compress(_market((ADJACENCY > 0).astype(int), field="pattern")),
    "dense.mtx": _market(ADJACENCY.toarray()),
    "csr.npz": _sparse(ADJACENCY.tocsr()),
    "bsr.npz": _sparse(sp.bsr_array(ADJACENCY)),
    "edges.npz": _packed(edges=PAIRS, weights=np.arange(1.0, 18), names=np.array([f"n{i}" for i in range(11)])),
    "square.npz": _packed(A=ADJACENCY.toarray()),
    "numbers.parquet": _parquet(u=PAIRS[:, 0], v=PAIRS[:, 1]),
    "names.parquet": _parquet(
        source=[one for one, _, _ in NAMES], target=[other for _, other, _ in NAMES], w=[w for *_, w in NAMES]
    ),
}


def _damaged(whole: bytes, rng: random.Random) -> bytes:
    """Cut short, some bytes changed (to those that mean something, often), or a piece moved."""
    kind, content = rng.random(), bytearray(whole)
    if kind < 0.2:
        return whole[: rng.randrange(len(whole))]
    if kind < 0.8:
        for _ in range(rng.choice([1, 1, 2, 5, 20])):
            within = min(len(content), rng.choice([64, 300, 1 << 30]))
            content[rng.randrange(within)] = rng.choice([*b'\0\n "#-.09;<>[]ae', 127, 128, 255, rng.randrange(256)])
        return bytes(content)
    start, other = rng.randrange(len(content)), rng.randrange(len(content))
    content[start : start + rng.randrange(1, 30)] = content[other : other + rng.randrange(30)]
    return bytes(content)


def _outcome(path: Path) -> Graph | TdtoolError:
    try:
        return read(path)
    except (InputError, ResourceError) as error:
        return error


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(tmp_path: Path, name: str) -> None:
    path, rng, refused = tmp_path / name, random.Random(name), 0
    path.write_bytes(FILES[name])
    assert (read(path).n_nodes, read(path).n_edges) == (11, 17)
    for _ in range(N_FILES):
        path.write_bytes(_damaged(FILES[name], rng))
        found = _outcome(path)
        if isinstance(found, TdtoolError):
            refused += 1
            assert str(path) in str(found)
            assert str(found).isprintable() or "\x1b" not in str(found)
    assert refused >= N_FILES // 4
