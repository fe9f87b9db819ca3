"""Edge lists and tables of edges as text."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdtool.errors import InputError, ResourceError, UsageError
from tests.data.graph_reading import read, refused, weights_of
from tests.data.source_reading import COMPRESSIONS
from tests.oracles_graph import canonical, matrix_of, merged_edges

NAMES = st.one_of(
    st.integers(-5, 30).map(str),
    st.integers(-(2**63), 2**63).map(str),
    st.sampled_from(["007", "7", "+1", "1.0", "é", "Ada Lovelace", 'say "x"', "a,b", "source", "-"]),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1, max_size=4),
)
WEIGHTS = st.one_of(st.integers(0, 5), st.floats(2**-20, 2**20, width=32))


def written(edges: list[tuple[str, str]], weights: list[float] | None, separator: str) -> str:
    """A table with a header and quotes around every name."""
    columns = ["source", "target"] + (["weight"] if weights is not None else [])
    rows = [separator.join(columns)]
    for i, edge in enumerate(edges):
        cells = ['"' + name.replace('"', '""') + '"' for name in edge]
        rows.append(separator.join(cells + ([repr(float(weights[i]))] if weights is not None else [])))
    return "\n".join(rows) + "\n"


@given(st.lists(st.tuples(NAMES, NAMES, WEIGHTS), min_size=1, max_size=12), st.booleans(), st.sampled_from(",;\t"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path: Path, found: list[tuple[str, str, float]], weighted: bool, separator: str) -> None:
    edges = [(tail, head) for tail, head, _ in found]
    weights = [weight for _, _, weight in found] if weighted else None
    path = tmp_path / ("x.tsv" if separator == "\t" else "x.csv")
    path.write_text(written(edges, weights, separator), encoding="utf-8")
    if weights is not None and len(set(weights)) == 1 and weights[0]:
        weights = [1.0] * len(weights)
    merged, tally = merged_edges(edges, weights)
    if not merged:
        assert "a graph with no edges" in refused(path, InputError).what
        return
    graph = read(path)
    names = canonical([name for edge in edges for name in edge])
    assert graph.names() == names
    np.testing.assert_allclose(graph.adjacency().toarray(), matrix_of(merged, names), rtol=1e-6)
    assert graph.ledger.counters.get("loops left out", 0) == tally["loops"]
    assert graph.ledger.counters.get("duplicate edges merged", 0) == tally["repeated"]
    assert graph.ledger.counters.get("edges given in both directions", 0) == tally["both"]


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("kind", ["blanks", "tabs", "commas", "words"])
def test_edge_lists(tmp_path: Path, rng: np.random.Generator, suffix: str, kind: str) -> None:
    edges = rng.integers(0, 23, (57, 2))
    separator = {"blanks": "  ", "tabs": "\t", "commas": ", ", "words": " "}[kind]
    name = "n%d" if kind == "words" else "%d"
    text = "".join(separator.join(name % end for end in edge) + "\n" for edge in edges.tolist())
    path = tmp_path / f"graph.edges{suffix}"
    path.write_bytes(COMPRESSIONS[suffix](text.encode()))
    graph = read(path)
    names = canonical([name % end for end in edges.reshape(-1).tolist()])
    merged, _ = merged_edges((name % tail, name % head) for tail, head in edges.tolist())
    assert graph.names() == names
    assert isinstance(graph.ids, list) == (kind == "words")
    np.testing.assert_array_equal(graph.adjacency().toarray(), matrix_of(merged, names))
    assert graph.path == path
    assert graph.source["format"] == "edges"
    assert graph.source["bytes"] == path.stat().st_size


@pytest.mark.parametrize("name", ["%d", "node %d"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_order_of_the_lines_does_not_matter(
    tmp_path: Path, rng: np.random.Generator, name: str, weighted: bool
) -> None:
    lines = [
        f"{name % tail}\t{name % head}" + (f"\t{weight!r}" if weighted else "") + "\n"
        for tail, head, weight in zip(*rng.integers(-9, 90, (2, 200)).tolist(), rng.random(200).tolist(), strict=True)
    ]
    path = tmp_path / "x.tsv"
    path.write_text("".join(lines))
    first = read(path)
    for _ in range(3):
        path.write_text("".join(lines[i] for i in rng.permutation(len(lines))))
        other = read(path)
        assert first.names() == other.names()
        np.testing.assert_array_equal(first.indptr, other.indptr)
        np.testing.assert_array_equal(first.neighbours, other.neighbours)
        np.testing.assert_array_equal(first.weights, other.weights)


def test_blocks_are_joined_where_they_were_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are no numbers come after thousands that are; the codes given so far stay."""
    monkeypatch.setattr("tdtool.data.readers.counts_batches._BLOCK", 100)
    path = tmp_path / "x.txt"
    lines = [f"{i} {i + 1} {i % 3 + 1}\n" for i in range(2000)]
    path.write_text("".join(lines) + "1999 007 5\n007 x 6")
    graph = read(path)
    names = canonical([*map(str, range(2001)), "007", "x"])
    assert graph.names() == names
    edges = [*((str(i), str(i + 1)) for i in range(2000)), ("1999", "007"), ("007", "x")]
    merged, _ = merged_edges(edges, [*(i % 3 + 1.0 for i in range(2000)), 5.0, 6.0])
    np.testing.assert_array_equal(graph.adjacency().toarray(), matrix_of(merged, names))
    path.write_text("".join(lines) + "1999 007 5\n007 x -6\n")
    assert refused(path, InputError).line == 2002


def test_more_numbers_than_the_table_has_room_for_at_first(tmp_path: Path, rng: np.random.Generator) -> None:
    numbers = rng.permutation(9000) * 977
    path = tmp_path / "x.txt"
    path.write_text("".join(f"{tail} {head}\n" for tail, head in itertools.pairwise(numbers)))
    graph = read(path)
    np.testing.assert_array_equal(graph.ids, np.arange(9000) * 977)
    place = numbers // 977
    assert weights_of(graph).keys() == {
        (str(min(pair) * 977), str(max(pair) * 977)) for pair in itertools.pairwise(place.tolist())
    }


def test_a_line_that_the_sample_cuts_is_no_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdtool.data.readers.streams.HEAD_BYTES", 12)
    (tmp_path / "x.txt").write_text("1 2 5\n3 4 1e3\n")
    assert weights_of(read(tmp_path / "x.txt")) == {("1", "2"): 5, ("3", "4"): 1000}


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", type("In", (), {"buffer": io.BytesIO(b"3 5\n5 a\n")}))
    graph = read("-")
    assert weights_of(graph) == {("3", "5"): 1.0, ("5", "a"): 1.0}
    assert graph.path is None
    assert graph.source == {"path": "standard input", "bytes": None, "blake2b": None, "format": "edges"}


def test_what_networkx_writes(tmp_path: Path, rng: np.random.Generator) -> None:
    graph = nx.karate_club_graph()
    nx.write_edgelist(graph, tmp_path / "x.edgelist")
    np.testing.assert_array_equal(
        read(tmp_path / "x.edgelist").adjacency().toarray(), nx.to_numpy_array(graph, weight="weight")
    )
    nx.write_weighted_edgelist(graph, tmp_path / "x.edgelist")
    np.testing.assert_array_equal(
        read(tmp_path / "x.edgelist").adjacency().toarray(), nx.to_numpy_array(graph, weight="weight")
    )
    nx.write_edgelist(graph, tmp_path / "x.edgelist", data=False)
    assert read(tmp_path / "x.edgelist", weight="none").weights is None


#: Text, what is read from it, and words of the description and the notes.
READ = {
    "snap": (
        "# Directed graph (each pair is saved once): x.txt \n# Nodes: 3 Edges: 2\n# From\tTo\n1\t2\n2\t3\n",
        {("1", "2"): 1, ("2", "3"): 1},
        "edge list of SNAP, separated by tabs; 3 nodes, 2 edges; directed: symmetrised",
    ),
    "snap cut short": (
        "# Undirected graph: x\n# Nodes: 3 Edges: 2\n1\t2\n",
        {("1", "2"): 1},
        "1 edge; its comments promise 2 edges and 1 are there: is it complete?",
    ),
    "konect": (
        "% asym positive\n% 2 3 3\n1 2 0.5 1300000000\n2 3 2 1300000001\n",
        {("1", "2"): 0.5, ("2", "3"): 2},
        "KONECT, separated by blanks, weights in column 3; 3 nodes, 2 edges of weight 0.5 to 2; column 4 is not used",
    ),
    "comments": ("// a\n% b\n# c\n\n1 2\n# d\n2 3 # e\n", {("1", "2"): 1, ("2", "3"): 1}, "separated by blanks"),
    "byte order mark and carriage returns": ("\ufeff1;2\r\n2;3\r\n", {("1", "2"): 1, ("2", "3"): 1}, "semicolons"),
    "gephi": (
        "Id,Source,Target,Type,Weight\n0,x,y,Undirected,2\n1,y,z,Undirected,3\n",
        {("x", "y"): 2, ("y", "z"): 3},
        "separated by commas, ends in columns 'Source' and 'Target', weights in column 'Weight'",
    ),
    "header of unknown names": ("reader,book,rating\n1,2,5\n3,2,4\n", {("1", "2"): 5, ("2", "3"): 4}, "'rating'"),
    "header of words": ("name,friend\nann,bob\nbob,cat\n", {("ann", "bob"): 1, ("bob", "cat"): 1}, "2 edges"),
    "a header of words that are nodes": ("source,target\ntarget,drain\n", {("drain", "target"): 1}, "2 nodes"),
    "no header": ("user,item\nitem,x\n", {("item", "user"): 1, ("item", "x"): 1}, "3 nodes"),
    "letters": ("a b\nc d\n", {("a", "b"): 1, ("c", "d"): 1}, "4 nodes"),
    "hashtags": ("source\ttarget\n#me\t#you\n#you\t#us\n", {("#me", "#you"): 1, ("#us", "#you"): 1}, "2 edges"),
    "comment below a header": ("a,b\n1,2\n# more\n2,3\n", {("1", "2"): 1, ("2", "3"): 1}, "2 edges"),
    "quotes and blanks": ('"Ada L" Bob\nBob "C ""D"""\n', {("Ada L", "Bob"): 1, ("Bob", 'C "D"'): 1}, "blanks"),
    "names with blanks": ("Ada L\tBob\nBob\tCarl D\n", {("Ada L", "Bob"): 1, ("Bob", "Carl D"): 1}, "tabs"),
    "times": (
        "1 2 1500000000\n2 3 1500000010\n",
        {("1", "2"): 1, ("2", "3"): 1},
        "column 3 looks like times and is not used (--weight 3 takes it)",
    ),
    "words in the third column": ("1 2 x\n2 3 y\n", {("1", "2"): 1, ("2", "3"): 1}, "column 3 is not used"),
    "years, so called": ("from,to,year\n1,2,7\n2,3,8\n", {("1", "2"): 1, ("2", "3"): 1}, "'year' is not used"),
    "equal weights": ("1 2 5\n2 3 5\n1 2 5\n", {("1", "2"): 2, ("2", "3"): 1}, "has the weight 5, and counts 1"),
    "both directions": ("1 2\n2 1\n2 3\n", {("1", "2"): 1, ("2", "3"): 1}, "in both directions were merged"),
    "both directions with weights": (
        "1 2 3\n2 1 3\n2 3 4\n3 2 4\n",
        {("1", "2"): 3, ("2", "3"): 4},
        "every edge is given in both directions with the same weight, and counts once",
    ),
    "exponents": ("1 2 1e-3\n2 3 2.5E+2\n", {("1", "2"): np.float32(1e-3), ("2", "3"): 250}, "0.001 to 250"),
    "leading zeros": ("007 7\n7 08\n", {("007", "7"): 1, ("08", "7"): 1}, "3 nodes"),
    "large numbers": (
        "9223372036854775807 2\n2 -9223372036854775808\n",
        {("2", "9223372036854775807"): 1, ("-9223372036854775808", "2"): 1},
        "3 nodes",
    ),
    "too large for 64 bits": ("9223372036854775808 3\n3 20\n", {("3", "9223372036854775808"): 1, ("20", "3"): 1}, ""),
    "beyond 32 bits": ("9 2147483648\n0 2147483648\n", {("9", "2147483648"): 1, ("0", "2147483648"): 1}, "3 nodes"),
    "broken utf-8": ("a\udcff b\nb c\n", {("a\\xff", "b"): 1, ("b", "c"): 1}, "3 nodes"),
    "row numbers of pandas": (
        ",source,target\n0,a,b\n1,b,c\n",
        {("a", "b"): 1, ("b", "c"): 1},
        "2 edges; column '' is not used",
    ),
    "row numbers below words that are no ends": (
        ",Ann,Bob\n0,a,b\n1,b,c\n",
        {("a", "b"): 1, ("b", "c"): 1},
        "ends in columns 'Ann' and 'Bob'",
    ),
    "row numbers of R": ('"","from","to"\n"1","a","b"\n"2","b","c"\n', {("a", "b"): 1, ("b", "c"): 1}, "2 edges"),
    "row numbers and a weight": ("Unnamed: 0,a,b,w\n4,x,y,2\n5,y,z,3\n", {("x", "y"): 2, ("y", "z"): 3}, "'w'"),
    "no row numbers": (",to,w\n4,x,2\n6,y,3\n", {("4", "x"): 2, ("6", "y"): 3}, "weights in column 'w'"),
    "an index that is an end": (",to\n4,x\n5,y\n", {("4", "x"): 1, ("5", "y"): 1}, "4 nodes"),
    "a number for each edge": (
        "".join(f"{i} {i + 20} {i + 1}\n" for i in range(10)),
        {(str(i), str(i + 20)): 1 for i in range(10)},
        "column 3 counts the rows and is not used (--weight 3 takes it)",
    ),
    "few weights that climb": ("1 2 1\n2 3 2\n3 4 3\n", {("1", "2"): 1, ("2", "3"): 2, ("3", "4"): 3}, "column 3"),
    "arrows": ("a -> b\nb -> c\n", {("a", "b"): 1, ("b", "c"): 1}, "ends in columns 1 and 3"),
    "arrows and weights": ("a -- b 2\nb -- c 3\n", {("a", "b"): 2, ("b", "c"): 3}, "weights in column 4"),
    "a single edge without newline": ("1 2", {("1", "2"): 1}, "2 nodes, 1 edge"),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_read(tmp_path: Path, case: str) -> None:
    text, edges, words = READ[case]
    path = tmp_path / "x.txt"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    graph = read(path)
    assert weights_of(graph) == edges
    assert words in "; ".join([graph.description, *graph.notes])


#: Text, settings, the line and the words of the error.
REFUSED = {
    "empty": ("", {}, None, "it is empty"),
    "blank": ("\n \n", {}, None, "it holds nothing but blank lines"),
    "comments": ("# 1 2\n", {}, None, "it holds nothing but comments"),
    "one column": ("# x\n1\n2\n", {}, 2, "the line has one column; an edge needs two"),
    "names and nothing else": ("source,target\n", {}, 1, "there are names of columns and no edges below them"),
    "short line": ("1 2\n1\n2 3\n", {}, 2, "the line has 1 column, the others have 2"),
    "long line": ("a,b\n\nb,c,d\nc,d\n", {}, 3, "the line has 3 columns, the others have 2"),
    "negative": ("1 2 5\n3 4 -1\n", {}, 2, "the weight -1 is negative"),
    "not a number": ("1 2 5\n3 4 nan\n", {}, 2, "the weight is nan"),
    "infinite": ("1 2 5\n3 4 1e999\n", {}, 2, "the weight is inf"),
    "a word": ("source,target,weight\n1,2,5\n3,4,many\n", {}, 3, "the weight 'many' is not a number"),
    "missing": ("source,target,weight\n1,2,5\n3,4,\n", {}, 3, "the weight is missing"),
    "attribute": ("0 1 {'weight': 2}\n1 2 {'weight': 'x'}\n", {}, 2, "the weight is nan"),
    "open quote": ('a,b\n"c,d\nd,e\nf,g\n', {}, 2, "a quote in this line is not closed"),
    "loops": ("1 1\n2 2\n", {}, None, "it is a graph with no edges once 2 loops from a node to itself are left out"),
    "one loop": ("1 1\n", {}, None, "it is a graph with no edges once 1 loop from a node to itself is left out"),
    "zeros": ("1 2 0\n2 3 0\n", {}, None, "it is a graph with no edges"),
    "no such column": ("a,b\n1,2\n", {"columns": "a,c"}, None, "there is no column 'c'"),
    "no such number": ("1 2\n", {"columns": "1,3"}, None, "there is no column '3'"),
    "no such weight": ("1 2\n", {"weight": "3"}, None, "there is no column '3'"),
    "only one end": ("1 2\n", {"weight": "1"}, None, "besides the weight there is one column; an edge needs two"),
    "old line ends": ("1 2\r3 4\r", {}, None, "its lines end as on old Macs, with a carriage return alone"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    text, settings, line, what = REFUSED[case]
    path = tmp_path / "x.txt"
    path.write_text(text, newline="")
    error = refused(path, InputError, **settings)
    assert (error.what, error.line) == (what, line)
    assert error.exit_code == 3


def test_columns_of_very_long_names_are_told_briefly(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    names = ["from", "to", "weight", *(f"{'x' * 500}{i}" for i in range(30))]
    path.write_text("\n".join(",".join(row) for row in (names, ["a", "b", "1", *"2" * 30], ["b", "c", "3", *"4" * 30])))
    graph = read(path)
    assert weights_of(graph) == {("a", "b"): 1, ("b", "c"): 3}
    assert max(map(len, (graph.description, *graph.notes))) < 700
    error = refused(path, InputError, columns="from,nowhere")
    assert error.hint is not None
    assert error.hint.endswith(" and 13 more")
    assert len(error.hint) < 1300


def test_settings_that_contradict(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("1 2 3\n")
    assert "an edge has two ends" in refused(path, UsageError, columns="1").what
    assert "an edge has two ends" in refused(path, UsageError, columns="2,2").what
    assert "both an end and the weight" in refused(path, UsageError, columns="1,2", weight="2").what
    assert refused(path, UsageError, format="dot").what == "there is no format 'dot'"
    assert "and the input is an edge list" in refused(path, UsageError, key="x").what


def test_chosen_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("day,who,whom,calls\n3,ann,bob,2\n4,bob,cat,7\n")
    graph = read(path, columns="who,whom", weight="calls")
    assert weights_of(graph) == {("ann", "bob"): 2, ("bob", "cat"): 7}
    assert "ends in columns 'who' and 'whom', weights in column 'calls'" in graph.description
    assert weights_of(read(path, columns="2,3")) == {("ann", "bob"): 1, ("bob", "cat"): 1}
    assert weights_of(read(path, columns="3,2", weight="1")) == {("ann", "bob"): 3, ("bob", "cat"): 4}
    path.write_text("5 1 2\n6 2 3\n")
    assert weights_of(read(path, weight="1", format="edges")) == {("1", "2"): 5, ("2", "3"): 6}
    assert weights_of(read(path, weight="none")) == {("1", "5"): 1, ("2", "6"): 1}


def test_bipartite(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("b 2\nb a\na a\n10 a\n")
    graph = read(path, bipartite=True)
    assert graph.n_left == 3
    assert graph.names() == ["10", "a", "b", "2", "a"]
    matrix = graph.adjacency().toarray()
    np.testing.assert_array_equal(matrix[:3, 3:], [[0, 1], [0, 1], [1, 1]])
    assert not matrix[:3, :3].any()
    assert not matrix[3:, 3:].any()
    assert "3 + 2 nodes, 4 edges" in graph.description
    path.write_text("% bip unweighted\n3 1\n1 1\n")
    graph = read(path)
    assert (graph.n_left, graph.names()) == (2, ["1", "3", "1"])


def test_rows_without_a_name_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("source,target,weight\na,b,2\n,c,3\nd,,4\n1,2,5\n")
    graph = read(path)
    assert weights_of(graph) == {("a", "b"): 2, ("1", "2"): 5}
    assert graph.ledger.skips["an end of the edge has no name"].examples == [f"{path}:3", f"{path}:4"]
    assert (graph.ledger.rows_in, graph.ledger.rows_used) == (4, 2)


def test_too_large_for_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("".join(f"{i} {i + 1}\n" for i in range(1000)))
    error = refused(path, ResourceError, memory=20_000)
    assert error.what.startswith("a graph of more than 1,000 edges needs ")
    assert "of memory and 20 KB are allowed" in error.what


@pytest.mark.parametrize(("suffix", "what"), [(".gz", "gzip"), (".bz2", "bzip2"), (".xz", "xz"), (".zst", "zstd")])
def test_compressed_data_that_is_cut_short(tmp_path: Path, rng: np.random.Generator, suffix: str, what: str) -> None:
    text = "".join(f"{tail} {head}\n" for tail, head in rng.integers(0, 10**6, (3000, 2)).tolist())
    path = tmp_path / f"x.txt{suffix}"
    path.write_bytes(COMPRESSIONS[suffix](text.encode())[:-9])
    assert f"the {what} data ends too early" in refused(path, InputError).what


@pytest.mark.shared_data
def test_coauthors(shared_data: Path) -> None:
    graph = read(shared_data / "graphs" / "dblp" / "edges.txt.gz")
    assert (graph.n_nodes, graph.n_edges) == (317_080, 1_049_866)
    assert graph.degrees.max() == 343
    assert isinstance(graph.ids, np.ndarray)
    assert graph.ids[-1] == 317_079
