"""Graphs read in parts are those that are read at once, to the bit and to the word."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdtool.config import GraphConfig, SourceConfig
from tdtool.data.graph import Graph, read_graph
from tdtool.data.readers.graph_splits import plan_splits
from tdtool.data.readers.streams import Input
from tdtool.errors import InputError
from tests.data.graph_by_parts import assert_same, read_by_parts
from tests.data.graph_reading import MEMORY

NAMES = st.sampled_from(["0", "7", "007", "-3", "12", "9223372036854775808", "-9223372036854775808", "é", "Ada", "a b"])
WEIGHTS = st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0, 1e-46, 3.5, 1e16])
SIZES = ((1, 3), (13, 7), (40, 1), (1 << 20, 1 << 20))


def compare(path: Path, sizes: tuple[tuple[int, int], ...] = SIZES, **config: object) -> None:
    """Read at once and in parts of several sizes: the same graph, or the same error."""
    given_config = GraphConfig(**config)  # type: ignore[arg-type]
    for split_bytes, range_entries in sizes:
        whole, parts = outcome(
            lambda: read_graph(str(path), given_config, memory=MEMORY),
            lambda: read_by_parts(path, given_config, split_bytes=split_bytes, range_entries=range_entries),  # noqa: B023
        )
        if isinstance(whole, Graph) and isinstance(parts, Graph):
            assert_same(parts, whole)
        else:
            assert str(parts) == str(whole)


def outcome(*readings: Callable[[], Graph]) -> list[Graph | InputError]:
    """What each reading ends in."""
    found: list[Graph | InputError] = []
    for reading in readings:
        try:
            found.append(reading())
        except InputError as error:
            found.append(error)
    return found


TEXTS = {
    "numbers": ("x.edges", b"3 1\n1 2\n2 3\n10 3\n2 1\n3 3\n"),
    "no newline at the end": ("x.edges", b"3 1\n1 2\n22 333"),
    "carriage returns": ("x.edges", b"3 1\r\n1 2\r\n\r\n2 3\r\n"),
    "blank lines": ("x.edges", b"\n\n3 1\n\n\n1 2\n\n"),
    "a mark and a header": ("x.csv", b"\xef\xbb\xbfsource,target,weight\nann,bob,2\nbob,cy,0.5\nbob,ann,1\n"),
    "a mark alone": ("x.edges", b"\xef\xbb\xbf1 2\n2 3\n3 4\n"),
    "long comments": ("x.edges", b"# Directed graph\n# " + b"x" * 90 + b"\n# Nodes: 5 Edges: 70\n1\t2\n2\t1\n5\t4\n"),
    "comments in the middle": ("x.edges", b"1 2\n# 3 4\n2 3 # 9\n% 7 7\n5 4\n"),
    "KONECT": ("x.txt", b"% bip weighted\n% 4 3 3\n1 1 2\n2 1 1\n3 3 1\n1 1 5\n"),
    "quotes": ("x.csv", b'a,b\n"x, y",z\nz,"say ""x"""\n"say ""x""",w\n'),
    "a name is missing": ("x.csv", b"source,target\na,b\n,c\nd,\n,\nb,c\n,\n,\n,\nc,a\n,\n"),
    "late words": ("x.edges", b"1 2\n2 3\n" * 600 + b"x 2\n3 007\n" + b"7 8\n" * 30),
    "networkx": ("x.edges", b"1 2 {'weight': 0.5}\n2 3 {'weight': 2}\n3 1 {'weight': 1e-3}\n2 1 {}\n"),
    "weights of one number": ("x.edges", b"1 2 3.5\n2 3 3.5\n3 1 3.5\n2 1 3.5\n1 2 3.5\n"),
    "weights of zero": ("x.csv", b"source,target,weight\na,b,0\nb,c,2\nc,c,0\n" + b"d,a,0\n" * 7),
    "both directions": ("x.edges", b"1 2 0.1\n2 1 0.1\n2 3 0.7\n3 2 0.7000000001\n"),
    "nearly both directions": ("x.edges", b"1 2 0.1\n2 1 0.1\n2 3 0.7\n3 2 0.70001\n"),
    "no names at all": ("x.csv", b"source,target\n,\n,\n"),
    "only loops": ("x.edges", b"1 1\n2 2\n"),
    "not UTF-8": ("x.edges", b"a\xff b\na\\xff c\nb c\nc a\xff\nd\xc3 b\nb \xa9d\n"),
    "half a letter each": ("x.edges", b"x\xc3 b\n\xa9y b\nb c\n"),
    "too heavy": ("x.edges", b"1 2 2e38\n1 2 2e38\n3 4 1\n"),
    "tiny weights": ("x.edges", b"1 2 1e-50\n2 3 1e-300\n3 4 2e-40\n"),
    "columns": ("x.edges", b"1 2 9\n2 3\n3 4 1\n" + b"3 4 2\n" * 9),
    "a quote is open": ("x.csv", b'source,target\na,b\nb,c\n"c,d\ne,f\n'),
    "a bad weight": ("x.csv", b"source,target,weight\na,b,1\nb,c,1\nb,d,x\n"),
    "a negative weight": ("x.csv", b"source,target,weight\na,b,1\nb,c,1\n\n\nb,d,-1\n"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_text(tmp_path: Path, case: str) -> None:
    name, text = TEXTS[case]
    (tmp_path / name).write_bytes(text)
    compare(tmp_path / name)


@pytest.mark.parametrize("config", [{"bipartite": True}, {"weight": "none"}, {"weight": "3"}, {"columns": "2,1"}])
def test_settings(tmp_path: Path, rng: np.random.Generator, config: dict[str, object]) -> None:
    edges = rng.integers(0, 29, (211, 2))
    weights = rng.integers(1, 9, 211) / 10
    lines = (f"{tail}\t{head}\t{w}\n" for (tail, head), w in zip(edges.tolist(), weights.tolist(), strict=True))
    path = tmp_path / "x.tsv"
    path.write_text("".join(lines))
    compare(path, ((97, 31), (500, 10_000)), **config)


@given(st.lists(st.tuples(NAMES, NAMES, WEIGHTS), min_size=1, max_size=14), st.booleans(), st.booleans(), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_edges(
    tmp_path: Path, edges: list[tuple[str, str, float]], weighted: bool, bipartite: bool, data: st.DataObject
) -> None:
    rows = ["source,target,weight" if weighted else "source,target"]
    rows += [f"{tail},{head},{weight!r}" if weighted else f"{tail},{head}" for tail, head, weight in edges]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    sizes = (data.draw(st.integers(1, 60)), data.draw(st.integers(1, 12)))
    compare(path, (sizes,), bipartite=bipartite)


def tables() -> dict[str, pa.Table]:
    """Tables of edges, a few rows each."""
    tails, heads = [3, 1, None, 2, 2, 1, 3], [1, 2, 4, 3, None, 3, 3]
    words = [None if end is None else f"n{end}" for end in tails]
    return {
        "numbers": pa.table({"source": tails, "target": heads}),
        "floats": pa.table({"source": pa.array(tails, pa.float64()), "target": heads, "weight": [0.5] * 6 + [2.0]}),
        "text": pa.table({"a": words, "b": words[::-1], "weight": [1, 0, 2, 3, 4, 5, 6]}),
        "dictionary": pa.table({"a": pa.array(words).dictionary_encode(), "b": pa.array(heads)}),
        "a bad weight": pa.table({"a": tails, "b": heads, "weight": [1.0, 1, 1, 1, 1, -1, 1]}),
        "halves": pa.table({"a": pa.array(tails, pa.float64()), "b": pa.array([0.5] * 7)}),
    }


@pytest.mark.parametrize("case", tables())
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_parquet(tmp_path: Path, case: str, rows: int) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(tables()[case], path, row_group_size=rows)
    for bipartite in (False, True):
        compare(path, ((1, 2), (150, 5), (1 << 20, 100)), bipartite=bipartite)


def test_parts_cover_the_input(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"source,target\n" + b"".join(b"n%d,n%d\n" % (i, i * i) for i in range(50)))
    source = Input(str(path), SourceConfig())
    for split_bytes in (1, 7, 100, 1 << 20):
        splits = plan_splits(source, "csv", GraphConfig(), split_bytes=split_bytes)
        assert splits is not None
        assert splits.begin == len(b"source,target\n")
        assert all(one[1] == other[0] for one, other in itertools.pairwise(splits.parts))
        assert splits.parts[0][0] == 0
        assert splits.parts[0][1] > splits.begin
        assert splits.parts[-1][1] == path.stat().st_size
        assert max(stop - start for start, stop in splits.parts[1:] or [(0, 0)]) <= split_bytes


def test_small_row_groups_are_read_together(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(tables()["numbers"], path, row_group_size=1)
    metadata = pq.ParquetFile(path).metadata
    sizes = [metadata.row_group(group).total_byte_size for group in range(7)]
    source = Input(str(path), SourceConfig())
    for split_bytes in (1, sizes[0] + sizes[1], sizes[0] + sizes[1] - 1, 3 * max(sizes), 100 * max(sizes)):
        splits = plan_splits(source, "parquet", GraphConfig(), split_bytes=split_bytes)
        assert splits is not None
        assert [group for part in splits.parts for group in part] == list(range(7))
        for part in splits.parts:
            held = sum(sizes[group] for group in part)
            assert held <= split_bytes or len(part) == 1
            assert part[-1] == 6 or held + sizes[part[-1] + 1] > split_bytes


@pytest.mark.parametrize("name", ["x.mtx", "x.edges.gz", "x.gml"])
def test_what_cannot_be_cut(tmp_path: Path, name: str) -> None:
    import gzip

    texts = {
        "x.mtx": b"%%MatrixMarket matrix coordinate pattern general\n2 2 1\n1 2\n",
        "x.edges.gz": gzip.compress(b"1 2\n"),
        "x.gml": b"graph [ node [ id 1 ] ]\n",
    }
    (tmp_path / name).write_bytes(texts[name])
    kind = {"x.mtx": "matrix-market", "x.edges.gz": "edges", "x.gml": "gml"}[name]
    source = Input(str(tmp_path / name), SourceConfig())
    assert plan_splits(source, kind, GraphConfig(), split_bytes=100) is None
