"""Graphs as matrices and lists of neighbours: Matrix Market, METIS, .npz and Parquet."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tdtool.data.readers import counts_batches, graph_parquet
from tdtool.errors import InputError, ResourceError, UsageError
from tests.data.graph_reading import read, refused, weights_of

#: 5 nodes, weights exact in float32, one loop, one entry of 0, one edge in both directions.
ROWS, COLUMNS = [0, 1, 3, 1, 2, 2, 0], [1, 0, 2, 4, 2, 4, 3]
VALUES = [1.5, 0.25, 2.0, 3.0, 9.0, 0.0, 1.0]
MATRIX = sp.coo_array((VALUES, (ROWS, COLUMNS)), shape=(5, 5))
SUMMED = {(0, 1): 1.75, (2, 3): 2.0, (1, 4): 3.0, (0, 3): 1.0}


def named(edges: dict[tuple[int, int], float], first: int) -> dict[tuple[str, str], float]:
    """The same edges of nodes that are counted from `first`."""
    return {(str(one + first), str(other + first)): weight for (one, other), weight in edges.items()}


def test_matrix_market_general(tmp_path: Path) -> None:
    path = tmp_path / "general.mtx"
    scipy.io.mmwrite(path, MATRIX, comment="made by hand\nin lines")
    graph = read(path)
    assert weights_of(graph) == named(SUMMED, 1)
    assert graph.ids.tolist() == [1, 2, 3, 4, 5]  # type: ignore[union-attr]
    assert graph.ledger.skips["weight 0"].count == graph.ledger.counters["loops left out"] == 1
    assert read(path, weight="none").n_edges == 4, "a stored 0 is no edge"


@pytest.mark.parametrize("symmetry", ["symmetric", "skew-symmetric"])
@pytest.mark.parametrize("dense", [False, True])
def test_matrix_market_of_one_triangle(tmp_path: Path, symmetry: str, dense: bool) -> None:
    lower = sp.tril(MATRIX.T, -1)
    matrix = lower.T + (lower if symmetry == "symmetric" else -lower)
    path = tmp_path / "half.mtx"
    scipy.io.mmwrite(path, matrix.toarray() if dense else matrix, symmetry=symmetry)
    graph = read(path)
    assert weights_of(graph) == named({(0, 1): 1.5, (1, 4): 3.0, (0, 3): 1.0}, 1)
    assert ("of a skew-symmetric matrix the signs are dropped" in graph.notes) == (symmetry != "symmetric")


def test_matrix_market_pattern_compressed(tmp_path: Path) -> None:
    path = tmp_path / "pattern.mtx"
    scipy.io.mmwrite(path, sp.coo_array((np.ones(3, int), ([0, 2, 2], [1, 3, 0])), shape=(4, 4)), field="pattern")
    (tmp_path / "pattern.mtx.gz").write_bytes(gzip.compress(path.read_bytes()))
    graph = read(tmp_path / "pattern.mtx.gz")
    assert weights_of(graph) == named({(0, 1): 1, (2, 3): 1, (0, 2): 1}, 1)


def test_matrix_market_of_two_kinds(tmp_path: Path) -> None:
    path = tmp_path / "books.mtx"
    scipy.io.mmwrite(path, MATRIX.tocsr()[:3])
    graph = read(path)
    assert (graph.n_left, graph.n_nodes, graph.name(1), graph.name(3 + 1)) == (3, 8, "2", "2")
    assert any("two kinds" in note for note in graph.notes)
    scipy.io.mmwrite(tmp_path / "square.mtx", MATRIX, symmetry="general")
    assert read(tmp_path / "square.mtx", bipartite=True).n_left == 5
    scipy.io.mmwrite(tmp_path / "both.mtx", MATRIX + MATRIX.T)
    assert "symmetric" in refused(tmp_path / "both.mtx", UsageError, bipartite=True).what


def test_many_digits_and_small_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    matrix = sp.triu(sp.random_array((23, 23), density=0.3, rng=rng), 1)
    path = tmp_path / "digits.mtx"
    scipy.io.mmwrite(path, matrix, precision=17)
    monkeypatch.setattr(counts_batches, "_BLOCK", 64)
    adjacency = read(path).adjacency().toarray()
    assert np.array_equal(adjacency, (matrix + matrix.T).toarray().astype(np.float32))


BANNER = "%%MatrixMarket matrix coordinate real general\n% a\n\n"
ARRAY = BANNER.replace("coordinate", "array")


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("%%MatrixMarket vector\n1 1\n", 1, "does not begin as"),
        (BANNER.replace("real", "complex"), 1, "'complex' matrices"),
        (BANNER.replace("general", "hermitian"), 1, "'hermitian' matrices"),
        (ARRAY.replace("real", "pattern") + "2 2\n", 1, "pattern"),
        (BANNER, 3, "no line with the sizes"),
        (BANNER + "3 3\n", 4, "rows, columns and entries"),
        (BANNER + "3 -3 1\n", 4, "rows, columns and entries"),
        (BANNER + "3 0 0\n", 4, "3 x 0"),
        (BANNER + "2147483648 1 1\n", 4, "no graph's"),
        (BANNER.replace("general", "symmetric") + "3 4 1\n", 4, "is square"),
        (BANNER + "3 3 2\n1 2 1\n", 4, "promises 2 entries and there are 1"),
        (BANNER + "3 3 1\n1 2 1\n2 3 1\n", 4, "promises 1 entries and there are more"),
        (BANNER + "3 3 2\n1 2 1\n4 3 1\n", 6, "row 4 is not between 1 and the 3"),
        (BANNER + "3 3 1\n1 0 1\n", 5, "column 0"),
        (BANNER + "3 3 1\n1 x 1\n", 5, "not a whole number"),
        (BANNER + "3 3 1\n1 2\n", 5, "fewer than three"),
        (BANNER + "3 3 1\n1 2 3 4\n", 5, "more than three"),
        (BANNER + "3 3 2\n1 2 1\n\n1 3 -0.5\n", 7, "is -0.5"),
        (BANNER + "3 3 1\n1 3 nan\n", 5, "is nan"),
        (BANNER + "3 3 1\n1 3 x\x1by\n", 5, r"'x\x1by' is not a number"),
        (BANNER.replace("real", "pattern") + "3 3 1\n1 3 4\n", 5, "number of fields"),
        (BANNER.replace("real", "pattern") + "3 3 2\n1 3\n4 1\n", 6, "row 4"),
        (ARRAY + "2 2\n1\n2\n3\n", 4, "promises 4 entries and there are 3"),
        (ARRAY + "2 2\n1\n2 q\n3\n", 6, "'q' is not a number"),
        (ARRAY + "2 2\n0\n0\n-1\n0\n", 7, "is -1"),
        (BANNER + "3 3 1\n2 2 1\n", None, "no edges"),
    ],
)
def test_broken_matrix_market(tmp_path: Path, content: str, line: int | None, message: str) -> None:
    path = tmp_path / "broken.mtx"
    path.write_text(content)
    error = refused(path, InputError, format="matrix-market")
    assert message in error.what
    assert error.line == line


@pytest.mark.parametrize("content", [BANNER + "99999999 99999999 1\n1 2 1\n", ARRAY + "9999 9999\n1\n"])
def test_sizes_that_do_not_fit_are_refused_before_anything_is_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "huge.mtx").write_text(content)
    assert "memory" in refused(tmp_path / "huge.mtx", ResourceError).what


# ---- METIS: 5 nodes, the last without edges

METIS = {
    "": ["2 3", "1 3 4", "2 1", "2", ""],
    "1": ["2 7 3 8", "1 7 3 9 4 6", "2 9 1 8", "2 6", ""],
    "10": ["5 2 3", "6 1 3 4", "7 2 1", "8 2", "9"],
    "011 2": ["0 5 2 7 3 8", "0 6 1 7 3 9 4 6", "0 7 2 9 1 8", "0 8 2 6", "0 9"],
    "100": ["5 2 3", "6 1 3 4", "7 2 1", "8 2", "9"],
    "111": ["1 5 2 7 3 8", "1 6 1 7 3 9 4 6", "1 7 2 9 1 8", "1 8 2 6", "1 9"],
}


@pytest.mark.parametrize("fmt", METIS)
@pytest.mark.parametrize("block", [32, 1 << 16])
def test_metis(tmp_path: Path, fmt: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts_batches, "_BLOCK", block)
    first, *rest = METIS[fmt]
    path = tmp_path / "x.metis"
    path.write_text("\n".join(["% made by hand", f"5 4 {fmt}", first, "%", *rest, "", ""]))
    graph = read(path)
    weighted = fmt.split()[0].zfill(3)[2] == "1" if fmt else False
    weights = [7, 8, 9, 6] if weighted else [1] * 4
    pairs = [("1", "2"), ("1", "3"), ("2", "3"), ("2", "4")]
    assert weights_of(graph) == dict(zip(pairs, weights, strict=True))
    assert graph.n_nodes == 5
    assert ("weights and sizes of nodes are passed over" in graph.notes) == (
        "1" in fmt.split()[0].zfill(3)[:2] if fmt else False
    )
    assert read(path, weight="none").weights is None


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 9)), min_size=1, max_size=15),
    st.booleans(),
)
@settings(max_examples=50)
def test_metis_of_any_graph(
    tmp_path_factory: pytest.TempPathFactory, edges: list[tuple[int, int, int]], weighted: bool
) -> None:
    kept = {(min(one, other), max(one, other)): weight for one, other, weight in edges if one != other} | {(0, 1): 5}
    kept |= {(2, 6): 4}
    lists: list[list[str]] = [[] for _ in range(7)]
    for (one, other), weight in kept.items():
        for here, there in ((one, other), (other, one)):
            lists[here].append(f"{there + 1} {weight}" if weighted else str(there + 1))
    path = tmp_path_factory.getbasetemp() / "any.metis"
    path.write_text(f"7 {len(kept)} {'1' if weighted else ''}\n" + "".join(f"{' '.join(row)}\n" for row in lists))
    graph = read(path)
    equal = not weighted or len(set(kept.values())) == 1
    assert weights_of(graph) == named({pair: 1 if equal else weight for pair, weight in kept.items()}, 1)
    assert graph.n_nodes == 7


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("% nothing\n", 1, "no header"),
        ("5\n", 1, "two to four"),
        ("3 x\n", 1, "two to four"),
        ("3 3 1 1 1\n", 1, "two to four"),
        ("2147483648 1\n", 1, "promises 2,147,483,648 nodes"),
        ("3 3 2\n", 1, "fmt is 002"),
        ("3 3 0011\n", 1, "fmt is 0011"),
        ("3 3 10 0\n", 1, "ncon is 0"),
        ("%\n3 3\n2 3\n1 3\n", 2, "promises 3 nodes and there are 2"),
        ("3 3\n2 3\n1 3\n1 2\n\n1\n", 6, "there are more lines"),
        ("3 2\n2 3\n1 3\n1 2\n", 1, "4 entries, and there are 6"),
        ("3 3\n2 3\n1 3\n1 4\n", 4, "neighbour 4 is not between 1 and the 3"),
        ("3 3\n2 3\n1 0\n1 2\n", 3, "neighbour 0"),
        ("3 3\n2 3\n1 -3\n1 2\n", 3, "not a whole number"),
        ("3 3\n2 3\n1 3.0\n1 2\n", 3, "not a whole number"),
        ("3 3\n2 3\n1 9999999999999999999\n1 2\n", 3, "18 digits"),
        ("3 3 1\n2 1 3\n1 1\n\n", 2, "a neighbour without a weight"),
        ("3 1 10\n1 2\n\n1\n", 3, "fewer numbers"),
        ("3 2\n2 3\n1\n2\n", 2, "node 1 lists node 3 more often than node 3 lists node 1"),
        ("3 2\n2\n1 3\n1\n", 4, "node 3 lists node 1 more often"),
        ("3 2\n2\n1 1\n2\n", 3, "node 2 lists node 1 more often"),
        ("3 2 1\n2 7\n1 7 3 8\n2 9\n", 3, "has the weight 8 in the line of one and 9"),
        ("3 0\n\n\n\n", None, "no edges"),
        ("1 1\n1\n", None, "no edges"),
    ],
)
def test_broken_metis(tmp_path: Path, content: str, line: int | None, message: str) -> None:
    path = tmp_path / "broken.metis"
    path.write_text(content)
    error = refused(path, InputError)
    assert message in error.what
    assert error.line == line


def test_metis_beyond_the_memory_and_of_two_kinds(tmp_path: Path) -> None:
    (tmp_path / "x.metis").write_text("99999999 1\n2\n1\n")
    assert "memory" in refused(tmp_path / "x.metis", ResourceError).what
    assert "first kind" in refused(tmp_path / "x.metis", UsageError, bipartite=True).what


# ---- numpy


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr"])
def test_scipy_matrices(tmp_path: Path, kind: str) -> None:
    sp.save_npz(tmp_path / "a.npz", MATRIX.asformat(kind))
    assert weights_of(read(tmp_path / "a.npz")) == named(SUMMED, 0)


def test_blocks_of_a_bsr_matrix(tmp_path: Path, rng: np.random.Generator) -> None:
    dense = np.triu(rng.integers(0, 3, (6, 6)), 1)
    sp.save_npz(tmp_path / "b.npz", sp.bsr_array(dense, blocksize=(2, 3)))
    assert np.array_equal(read(tmp_path / "b.npz").adjacency().toarray(), dense + dense.T)


def test_arrays_of_edges(tmp_path: Path) -> None:
    edges = np.column_stack([ROWS, COLUMNS])
    np.savez(tmp_path / "e.npz", edges=edges, weights=VALUES)
    assert weights_of(read(tmp_path / "e.npz")) == named(SUMMED, 0)
    np.savez(tmp_path / "names.npz", edges=edges, weights=VALUES, names=["e", "d", "ç", "b", "a"], other=np.zeros(3))
    assert weights_of(read(tmp_path / "names.npz")) == {("d", "e"): 1.75, ("b", "ç"): 2, ("a", "d"): 3, ("b", "e"): 1}
    np.savez(tmp_path / "index.npz", edge_index=edges.T + 10**15, strength=np.array(VALUES) * 2)
    graph = read(tmp_path / "index.npz", weight="strength")
    assert weights_of(graph) == {pair: 2 * weight for pair, weight in named(SUMMED, 10**15).items()}
    np.savez(tmp_path / "two.npz", edges=np.array([[0, 1], [1, 2]], np.uint8))
    assert weights_of(read(tmp_path / "two.npz")) == named({(0, 1): 1, (1, 2): 1}, 0)
    assert read(tmp_path / "two.npz", bipartite=True).n_left == 2
    np.savez(tmp_path / "columns.npz", edge_index=np.array([[0, 1], [2, 3]]))
    assert weights_of(read(tmp_path / "columns.npz")) == named({(0, 2): 1, (1, 3): 1}, 0)


def test_square_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", A=MATRIX.toarray(), text=np.array(["x"]))
    assert weights_of(read(tmp_path / "a.npz")) == named(SUMMED, 0)
    assert read(tmp_path / "a.npz", weight="none").n_edges == 4
    np.savez(tmp_path / "two.npz", A=np.array([[False, True], [True, False]]), B=np.zeros((3, 2), int))
    assert read(tmp_path / "two.npz", key="A").n_edges == 1
    assert "2 arrays could be the graph" in refused(tmp_path / "two.npz", InputError).what
    np.savez(tmp_path / "names.npz", A=MATRIX.toarray(), names=["a", "b", "a", "c", "d"])
    assert read(tmp_path / "names.npz").names() == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("arrays", "settings", "message"),
    [
        ({"A": np.zeros((2, 3))}, {}, "no array of it can be a graph"),
        ({"A": np.eye(3)}, {"key": "B"}, "there is no array 'B'"),
        ({"A": np.eye(3) * -1}, {}, "value at [0, 0] (counted from 0) of an edge is -1"),
        ({"A": np.full((3, 3), np.nan)}, {}, "is nan"),
        ({"A": np.eye(3) * 1j}, {"key": "A"}, "complex128"),
        ({"edges": np.zeros((3, 2))}, {"key": "edges"}, "edges are (m, 2) whole numbers"),
        ({"edges": np.full((3, 2), 2**63, np.uint64)}, {}, "beyond 63 bits"),
        (
            {"edges": np.eye(3, 2, dtype=int), "weights": np.ones(2)},
            {},
            "the array weights is 2, and there are 3 edges",
        ),
        ({"edges": np.eye(3, 2, dtype=int)}, {"weight": "w"}, "there is no array 'w'"),
        ({"edges": np.array([[0, 1]], object)}, {"key": "edges"}, "pickled"),
        ({"format": np.array("dia"), "shape": np.array([2, 2]), "data": np.ones(2)}, {}, "'dia'"),
        (
            {"format": np.array("bsr"), "shape": np.array([3, 3]), "data": np.ones((1, 2, 2))},
            {},
            "do not fit the shape",
        ),
        ({"format": np.array("bsr"), "shape": np.array([3, 3]), "data": np.ones(2)}, {}, "do not fit its shape"),
    ],
)
def test_broken_npz(tmp_path: Path, arrays: dict[str, np.ndarray], settings: dict[str, str], message: str) -> None:
    np.savez(tmp_path / "broken.npz", **arrays, allow_pickle=True)
    assert message in refused(tmp_path / "broken.npz", InputError, **settings).what


# ---- Parquet


def parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_parquet, "_BATCH_ROWS", 2)
    names = ["ä", None, "b", "c", ""]
    path = parquet(
        tmp_path / "t.parquet", n=[9] * 5, to=["b", "x", "c", "b", "y"], **{"from": names}, value=[1, 2, 3, 4, 5]
    )
    graph = read(path)
    assert weights_of(graph) == {("b", "ä"): 1, ("b", "c"): 7}
    assert graph.ledger.skips["an end of the edge has no name"].examples == [f"{path}:2", f"{path}:5"]
    assert weights_of(read(path, columns="from,n", weight="none")) == {("9", "ä"): 1, ("9", "b"): 1, ("9", "c"): 1}
    assert (read(path, bipartite=True).n_left, read(path, bipartite=True).n_nodes) == (3, 5)


@pytest.mark.parametrize(
    "kind",
    [pa.int8(), pa.uint64(), pa.float64(), pa.string(), pa.large_binary(), pa.dictionary(pa.int8(), pa.string())],
)
def test_parquet_types(tmp_path: Path, kind: pa.DataType) -> None:
    ends = [pa.array(["1", "2", "3"]), pa.array(["2", "3", "11"])]
    if pa.types.is_dictionary(kind):
        columns = [column.dictionary_encode() for column in ends]
    else:
        columns = [(column.cast(pa.int64()) if pa.types.is_primitive(kind) else column).cast(kind) for column in ends]
    path = parquet(tmp_path / "t.parquet", a=columns[0], b=columns[1])
    assert read(path).ids.tolist() == [1, 2, 3, 11]  # type: ignore[union-attr]
    mixed = parquet(tmp_path / "m.parquet", a=columns[0], b=["x", "1", "2"])
    assert weights_of(read(mixed)) == {("1", "x"): 1, ("1", "2"): 1, ("2", "3"): 1}


@pytest.mark.parametrize(
    ("columns", "line", "message"),
    [
        ({"a": [1, 2]}, None, "one column"),
        ({"a": pa.array([], pa.int64()), "b": pa.array([], pa.int64())}, None, "no rows"),
        ({"a": [1, 2], "b": [[1], [2]]}, None, "list<element: int64>"),
        ({"a": [1, 2.5], "b": [2, 3]}, None, "not whole"),
        ({"a": pa.array([2**63, 1], pa.uint64()), "b": [2, 3]}, None, "beyond 64 bits"),
        ({"a": [1, 2, 3], "b": [2, 3, 1], "weight": [1, 2, -1]}, 3, "weight of an edge is -1"),
        ({"a": [1, 2, 3], "b": [2, 3, 1], "weight": [1.0, None, 2]}, 2, "weight of an edge is nan"),
        ({"a": [1, 2], "b": [2, 3], "weight": ["x", "y"]}, None, "holds string, not numbers"),
        ({"a": [None, None], "b": [2, 3]}, None, "null"),
    ],
)
def test_broken_parquet(
    tmp_path: Path,
    columns: dict[str, object],
    line: int | None,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graph_parquet, "_BATCH_ROWS", 2)
    error = refused(parquet(tmp_path / "broken.parquet", **columns), InputError)
    assert message in error.what
    assert error.line == line
