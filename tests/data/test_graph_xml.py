"""GraphML and GML: what networkx writes is read back, and what other programs write is understood."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdtool.data.readers import graph_gml, graph_graphml
from tdtool.errors import InputError, ResourceError
from tests.data.graph_reading import read, refused, weights_of

WRITERS = {"gml": nx.write_gml, "graphml": nx.write_graphml}
#: What XML can hold and no program trims; GML writes the rest as character references.
NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=5)


@st.composite
def networks(draw: st.DrawFn, names: st.SearchStrategy[str] = NAMES) -> nx.Graph:
    """A few named nodes, some alone, with weighted edges and loops; at least one edge that is none."""
    nodes = draw(st.lists(names, min_size=2, max_size=7, unique=True))
    graph = draw(st.sampled_from([nx.Graph, nx.DiGraph]))()
    graph.add_nodes_from(nodes)
    ends = st.sampled_from(nodes)
    weights = st.integers(1, 40).map(lambda eighths: eighths / 8)
    for one, other, weight in draw(st.lists(st.tuples(ends, ends, weights), max_size=12)):
        graph.add_edge(one, other, weight=weight)
    graph.add_edge(nodes[0], nodes[1], weight=0.375)
    return graph


def expected(graph: nx.Graph) -> dict[tuple[str, str], float]:
    """Edges by their ends, both directions added up; where all weights are one they only say that there is an edge."""
    edges: dict[tuple[str, str], float] = {}
    found = [(one, other, data["weight"]) for one, other, data in graph.edges(data=True)]
    if len({weight for _, _, weight in found}) == 1:
        found = [(one, other, 1.0) for one, other, _ in found]
    for one, other, weight in found:
        if one != other:
            pair = (min(one, other), max(one, other))
            edges[pair] = edges.get(pair, 0) + weight
    return edges


def halved(graph: nx.Graph) -> bool:
    """Whether all edges are given in both directions with equal weights, which means each of them once."""
    weight = {(one, other): data["weight"] for one, other, data in graph.edges(data=True) if one != other}
    return graph.is_directed() and all(weight.get((b, a)) == w for (a, b), w in weight.items())


@pytest.mark.parametrize("kind", WRITERS)
@given(network=networks())
@settings(max_examples=60)
def test_what_networkx_writes(tmp_path_factory: pytest.TempPathFactory, kind: str, network: nx.Graph) -> None:
    path = tmp_path_factory.getbasetemp() / f"network.{kind}"
    WRITERS[kind](network, path)
    graph = read(path)
    assert set(graph.names()) == set(network)
    if not halved(network):
        assert weights_of(graph) == pytest.approx(expected(network))
    assert ("directed: symmetrised" in graph.notes) == (network.is_directed() and not halved(network)) or halved(
        network
    )


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("step", [1, 7, 64])
def test_pieces_of_any_size(tmp_path: Path, kind: str, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = nx.relabel_nodes(nx.karate_club_graph(), lambda node: f'Ünal "{node}" [#&]')
    WRITERS[kind](network, tmp_path / f"karate.{kind}")
    whole = read(tmp_path / f"karate.{kind}")
    monkeypatch.setattr(graph_gml, "_STEP", step)
    monkeypatch.setattr(graph_graphml, "_STEP", step)
    assert weights_of(read(tmp_path / f"karate.{kind}")) == weights_of(whole)
    assert (whole.n_nodes, whole.n_edges) == (34, 78)


GML = """Creator "by
hand"  Version 1
# graph [ node [ ] ]
graph [
  comment "[ ] #"
  directed 0
  edge [ source 07 target 2.0 value 0.5 graphics [ fill "#FF0000" Line [ point [ x 1.5 ] ] ] ]
  node [ id 7 label "a &amp; b" graphics [ x 1 y 2 ] ]
  node [ id 2 name "c&#233;" ]
  node [ id +11 label plain ]
  edge [ source 11 target 7 value 2E0 label "not a weight" ]
]
"""


def test_gml_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "hand.gml"
    path.write_text("\ufeff" + GML)
    graph = read(path)
    assert graph.names() == ["a & b", "cé", "plain"]
    assert weights_of(graph) == {("a & b", "cé"): 0.5, ("a & b", "plain"): 2.0}
    assert read(path, weight="none").weights is None


@pytest.mark.parametrize("labels", ['label "x"', ""])
def test_nodes_that_share_a_label_are_called_by_their_ids(tmp_path: Path, labels: str) -> None:
    path = tmp_path / "same.gml"
    path.write_text(f'graph [ node [ id 10 label "x" ] node [ id 9 {labels} ] edge [ source 9 target 10 ] ]')
    graph = read(path)
    assert graph.ids.tolist() == [9, 10]  # type: ignore[union-attr]
    why = "1 node has no label" if labels == "" else "some nodes share a label"
    assert f"{why}: nodes are called by their ids" in graph.notes


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("graph [\n node [ id 1 ]\n node [ id 1 ]\n]", 3, "the node '1' is there a second time"),
        ("graph [\n node [ id 1 ]\n edge [ source 1\n target 2 ] ]", 3, "ends at '2', and there is no such node"),
        ("graph [\n node [ label 1 ]\n]", 2, "the node has no id"),
        ("graph [ node [ id 1 ]\n\nedge [ target 1 ] ]", 3, "the edge has no source"),
        ("graph [ node [ id 1 ]\nedge [ source 1 target 1 weight -2 ] ]", 2, "weight of an edge is -2"),
        ("graph [ node [ id 1 ]\nedge [ source 1 target 1 value 1e999 ] ]", 2, "value of an edge is inf"),
        (
            'graph [ node [ id 1 ]\nedge [ source 1 target 1 weight "a\x1bb" ] ]',
            2,
            r"'a\x1bb' of an edge is not a number",
        ),
        ("graph [\n node [ id 1 ]\n", 2, "ends too early"),
        ("graph [ ]\n]", 2, "closes nothing"),
        ("graph [\n id ]", 2, "the key 'id' has no value"),
        ("graph [\n [ id 1 ] ]", 2, "'[' stands where a key is wanted"),
        ("graph [ node [ id 1 ] ]\n graph [ ]", 2, "second graph"),
        ('graph [\n label "open ]', 2, "a quote is not closed"),
        ("graph [ " + "a [ " * 200, 1, "more than 100 deep"),
        ("graph [ directed 1 ]", None, "no edges"),
        ("Creator me\nVersion 1\n", 2, "no graph"),
    ],
)
def test_broken_gml(tmp_path: Path, content: str, line: int | None, message: str) -> None:
    path = tmp_path / "broken.gml"
    path.write_text(content)
    error = refused(path, InputError)
    assert message in error.what
    assert error.line == line


def test_a_weight_that_edges_lack(tmp_path: Path) -> None:
    path = tmp_path / "hand.gml"
    path.write_text(GML.replace("value", "strength"))
    assert read(path, weight="strength").weights is not None
    error = refused(path, InputError, weight="Strength")
    assert "no edge has the attribute 'Strength'" in error.what
    assert "strength" in str(error.hint)


def graphml(body: str, keys: str = "", directed: str = "undirected") -> str:
    """A GraphML file with a namespace, a comment and a processing instruction."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!-- made by hand --><?keep out?>\n'
        f'<g:graphml xmlns:g="http://graphml.graphdrawing.org/xmlns">{keys}\n'
        f'<g:graph edgedefault="{directed}">{body}</g:graph>\n</g:graphml>\n'
    )


KEYS = (
    '<key id="d0" for="node" attr.name="Label"><default>unnamed</default></key>'
    '<key id="d1" for="edge" attr.name="weight"><default>0.5</default></key>'
    '<key id="d2" for="edge" attr.name="colour"/><key id="d3" for="all" attr.name="flow"/>'
)
NODES = '<node id="n1"><data key="d0"> A &amp;&#x42; </data></node><node id="n2"><data key="d0">C</data></node>'
EDGES = (
    '<edge source="n1" target="n2"><data key="d2">red</data><data key="d3">7</data></edge>'
    '<edge source="n2" target="n3"><data key="d1">2</data><data key="d3">3</data></edge>'
)


def test_graphml_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "hand.graphml"
    path.write_text(graphml(EDGES + NODES + '<node id="n3"><port name="p"/><desc>x</desc></node>', KEYS))
    graph = read(path)
    assert weights_of(graph) == {("A &B", "C"): 0.5, ("C", "unnamed"): 2.0}
    assert "1 ports are not told apart" in graph.notes
    assert weights_of(read(path, weight="flow"))[("A &B", "C")] == 7
    error = refused(path, InputError, weight="cost")
    assert "'weight', 'colour', 'flow'" in str(error.hint)


@pytest.mark.parametrize(("default", "own"), [("directed", "false"), ("undirected", "true")])
def test_graphml_of_other_programs(tmp_path: Path, default: str, own: str) -> None:
    """yEd draws its labels, and puts groups of nodes into nodes; an edge may say its own direction."""
    label = '<data key="d9"><y:ShapeNode xmlns:y="y"><y:NodeLabel x="1">{}<y:Model/></y:NodeLabel></y:ShapeNode></data>'
    inner = f'<graph><node id="n1::a">{label.format("in")}</node><edge source="n1" target="n1::a"/></graph>'
    path = tmp_path / "yed.graphml"
    path.write_text(
        graphml(
            f'<node id="n1">{label.format("out")}{inner}</node><node id="n2">{label.format("far")}</node>'
            f'<edge source="n2" target="n1" directed="{own}"/>',
            '<key for="node" id="d9" yfiles.type="nodegraphics"/>',
            default,
        )
    )
    graph = read(path)
    assert set(weights_of(graph)) == {("in", "out"), ("far", "out")}
    assert {"nodes inside of nodes are nodes like others", "some of its edges are directed, some not"} <= set(
        graph.notes
    )


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "ascii"])
def test_graphml_encodings(tmp_path: Path, encoding: str) -> None:
    content = (
        '<?xml version="1.0" encoding="{}"?><graphml><graph><node id="é"/><node id="b"/><edge source="é" target="b"/>'
    )
    text = content.format(encoding) + "</graph></graphml>"
    path = tmp_path / "encoded.graphml"
    path.write_bytes(text.encode(encoding, "xmlcharrefreplace"))
    assert read(path).names() == ["b", "é"]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ('<?xml version="1.0"?>\n<!DOCTYPE graphml [<!ENTITY a "aaaa">]>\n<graphml/>', 2, "document type"),
        ("<graphml>\n<graph>\n<node id='1'>\n</graph></graphml>", 4, "mismatched tag"),
        ("<graphml>\n<graph><node id='1'/>&lol;</graph></graphml>", 2, "undefined entity"),
        ("<graphml>\n<graph/>\n<graph/></graphml>", 3, "second <graph>"),
        ("<graphml>\n</graphml>", None, "no <graph>"),
        ("<graphml><graph>\n<hyperedge/></graph></graphml>", 2, "hyperedges"),
        ("<graphml><graph>\n<node/></graph></graphml>", 2, "the node has no id"),
        ("<graphml><graph><node id='1'/>\n<edge source='1'/></graph></graphml>", 2, "the edge has no target"),
        ("<graphml><graph><node id='1'/>\n<node id='1'/></graph></graphml>", 2, "second time"),
        ("<graphml><graph><node id='1'/>\n<edge source='1' target='2'/></graph></graphml>", 2, "no such node"),
        ("<graphml>" + "<a>" * 300, 1, "more than 200 deep"),
        ("<graphml", 1, "the XML is broken"),
        ('<?xml version="1.0" encoding="klingon"?><graphml/>', None, "encoding"),
        (
            graphml(NODES + "\n<edge source='n1' target='n2'><data key='d1'>much</data></edge>", KEYS),
            5,
            "is not a number",
        ),
    ],
)
def test_broken_graphml(tmp_path: Path, content: str, line: int | None, message: str) -> None:
    path = tmp_path / "broken.graphml"
    path.write_text(content)
    error = refused(path, InputError, format="graphml")
    assert message in str(error)
    assert error.line == line


def test_what_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_graphml, "_STEP", 1 << 10)
    monkeypatch.setattr(graph_graphml, "_LONGEST", 1 << 12)
    monkeypatch.setattr(graph_graphml, "_LONGEST_TEXT", 1 << 11)
    monkeypatch.setattr(graph_gml, "_STEP", 1 << 10)
    monkeypatch.setattr(graph_gml, "_LONGEST_TOKEN", 1 << 12)
    for name, content, message in (
        ("tag.graphml", graphml(f'<node id="{"x" * 9000}"/>'), "a tag does not end"),
        ("text.graphml", graphml(f'<node id="1"><data key="d0">{"x " * 4000}</data></node>', KEYS), "a text is longer"),
        ("quote.gml", f'graph [ label "{"x " * 4000}" ]', "does not end"),
    ):
        (tmp_path / name).write_text(content)
        assert message in refused(tmp_path / name, InputError).what


@pytest.mark.timeout(30)
@pytest.mark.parametrize("filler", ["\n", " ", "#\n", "a\n", 'x "" ', "k [ ] ", "k [ v [ ] ] ", "k [ x 1 ] "])
def test_time_grows_with_the_length_only(tmp_path: Path, filler: str) -> None:
    path = tmp_path / "long.gml"
    path.write_text(
        f"graph [ node [ id 1 ] node [ id 2 ]{filler * (400_000 // len(filler))} edge [ source 1 target 2 ] ]"
    )
    assert read(path).n_edges == 1


@pytest.mark.parametrize("kind", WRITERS)
def test_memory_is_limited(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdtool.data.readers.graph_named._CHECKED_EVERY", 16)
    path = tmp_path / f"karate.{kind}"
    WRITERS[kind](nx.karate_club_graph(), path)
    assert "memory" in refused(path, ResourceError, memory=5000).what


@pytest.mark.parametrize("kind", WRITERS)
def test_two_kinds(tmp_path: Path, kind: str) -> None:
    network = nx.Graph([("reader 2", "book"), ("reader 1", "book"), ("reader 1", "atlas")])
    WRITERS[kind](network, tmp_path / f"books.{kind}")
    graph = read(tmp_path / f"books.{kind}", bipartite=True)
    assert (graph.names(), graph.n_left) == (["reader 1", "reader 2", "atlas", "book"], 2)
    WRITERS[kind](nx.cycle_graph(["a", "b", "c"]), tmp_path / f"odd.{kind}")
    assert "not of two kinds" in refused(tmp_path / f"odd.{kind}", InputError, bipartite=True).what
