"""GraphML (Brandes and others 2002), streamed through expat; no document type, so no entity can expand or reach out."""

from __future__ import annotations

import dataclasses
import xml.parsers.expat
from collections.abc import Callable
from typing import NoReturn

from tdtool.config import GraphConfig
from tdtool.data.ledger import Ledger
from tdtool.data.readers.graph_checks import NO_WEIGHT, WEIGHTS, as_weight, shown
from tdtool.data.readers.graph_named import NamedGraph
from tdtool.data.readers.graph_types import FoundGraph
from tdtool.data.readers.streams import Input
from tdtool.errors import InputError

_STEP = 1 << 20
#: A tag, and the text of one element, may be this long.
_LONGEST = 16 << 20
_LONGEST_TEXT = 1 << 20
_DEEPEST = 200
#: Attributes of nodes that name them, best first.
_LABELS = ("label", "name")
_MOST_KEYS = 10_000


@dataclasses.dataclass
class _Key:
    """A declared attribute. of : node, edge, graph or all."""

    of: str
    name: str
    default: str | None = None


@dataclasses.dataclass
class _Element:
    """An open node or edge. ends : of an edge."""

    line: int
    key: str = ""
    ends: tuple[str, str] = ("", "")
    label: str | None = None
    weight: str | None = None


def read_graphml(source: Input, config: GraphConfig, memory: int, ledger: Ledger) -> FoundGraph:
    """The graph of a GraphML file. Nodes are called by the attribute `label` (or `name`) where all have different ones,
    else by their ids; weights are the edges' attribute `weight` or `value`.

    Nodes inside of nodes are nodes like others; ports are not told apart. Raises InputError, with the line, for what is
    not well-formed, has a document type, hyperedges or several graphs; ResourceError for what does not fit.
    """
    handler = _Handler(NamedGraph(source.path, memory, ledger), config, source.path)
    parser = handler.parser
    n_read = 0
    with source.open() as stream:
        try:
            while data := stream.read(_STEP):
                parser.Parse(data, False)
                n_read += len(data)
                if n_read - parser.CurrentByteIndex > _LONGEST:
                    handler.refuse("a tag does not end within 16 MB")
            parser.Parse(b"", True)
        except xml.parsers.expat.ExpatError as error:
            what = xml.parsers.expat.ErrorString(error.code)
            raise InputError(f"the XML is broken: {what}", path=source.path, line=error.lineno) from error
        except (LookupError, ValueError) as error:
            raise InputError(
                f"its character encoding cannot be read ({error})", path=source.path, hint="save it as UTF-8"
            ) from error
    return handler.finish()


class _Handler:
    """What the elements mean."""

    def __init__(self, graph: NamedGraph, config: GraphConfig, path: str) -> None:
        self._graph, self._config, self._path = graph, config, path
        self._keys: dict[str, _Key] = {}
        self._last_key = ""
        self._label_key: str | None = None
        self._weight_key: str | None = None
        self._chosen = False
        self._open: list[str] = []
        self._elements: list[_Element] = []  # open nodes and edges
        self._text: list[str] = []
        self._text_for, self._text_depth, self._text_size = "", 0, 0
        self._n_graphs, self._n_nested, self._n_ports = 0, 0, 0
        self._default_directed = False
        self._directions: set[bool] = set()
        self._starts = {
            "key": self._start_key,
            "default": self._start_default,
            "graph": self._start_graph,
            "node": self._start_node,
            "edge": self._start_edge,
            "data": self._start_data,
            "NodeLabel": self._start_label,
            "hyperedge": self._start_hyperedge,
            "port": self._start_port,
        }
        self.parser = xml.parsers.expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._doctype

    def refuse(self, what: str, hint: str | None = None) -> NoReturn:
        """InputError at the line that is being read."""
        raise InputError(what, path=self._path, line=self.parser.CurrentLineNumber, hint=hint)

    def finish(self) -> FoundGraph:
        """The graph, at the end of the file."""
        if not self._n_graphs:
            raise InputError("there is no <graph> in it", path=self._path)
        weight = None if self._weight_key is None else self._keys[self._weight_key].name
        notes = (
            *([f"{self._n_ports:,} ports are not told apart"] if self._n_ports else ()),
            *(["nodes inside of nodes are nodes like others"] if self._n_nested else ()),
            *(["some of its edges are directed, some not"] if len(self._directions) > 1 else ()),
        )
        return self._graph.finish(
            directed=True in self._directions,
            kind="GraphML",
            weight=weight,
            bipartite=self._config.bipartite,
            notes=notes,
        )

    def _doctype(self, *_: object) -> None:
        self.refuse(
            "it has a document type (<!DOCTYPE ...>), which is refused: it could make the file grow without end",
            "delete that declaration; GraphML needs none",
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if not self._open and name != "graphml":
            self.refuse(f"it is XML, and begins with <{name[:40]}>, not with <graphml>")
        if len(self._open) >= _DEEPEST:
            self.refuse(f"elements lie more than {_DEEPEST} deep in each other")
        self._open.append(name)
        if name in self._starts:
            self._starts[name](attributes)

    def _end(self, name: str) -> None:
        if self._text_for and self._text_depth == len(self._open):
            self._take_text("".join(self._text))
        local = self._open.pop()
        if local == "node":
            node = self._elements.pop()
            self._graph.add_node(node.key, node.label, node.line)
        elif local == "edge":
            self._add_edge(self._elements.pop())

    def _characters(self, text: str) -> None:
        if not self._text_for or self._text_depth != len(self._open):
            return
        self._text.append(text)
        self._text_size += len(text)
        if self._text_size > _LONGEST_TEXT:
            self.refuse("a text is longer than 1 MB")

    def _capture(self, purpose: str) -> None:
        """Keep the text of the element that was opened just now."""
        self._text, self._text_for, self._text_depth, self._text_size = [], purpose, len(self._open), 0

    def _take_text(self, text: str) -> None:
        purpose, self._text_for = self._text_for, ""
        if purpose.startswith("default "):
            self._keys[purpose.removeprefix("default ")].default = text
        elif purpose == "label":
            self._elements[-1].label = text.strip()
        else:
            self._elements[-1].weight = text.strip()

    def _start_key(self, attributes: dict[str, str]) -> None:
        if len(self._keys) >= _MOST_KEYS:
            self.refuse(f"it declares more than {_MOST_KEYS:,} attributes")
        key = attributes.get("id", "")
        self._keys[key] = _Key(attributes.get("for", "all"), attributes.get("attr.name", key))
        self._last_key = key

    def _start_default(self, _: dict[str, str]) -> None:
        if self._open[-2:-1] == ["key"]:
            self._capture(f"default {self._last_key}")

    def _start_graph(self, attributes: dict[str, str]) -> None:
        inside = "graph" in self._open[:-1]
        self._n_graphs += not inside
        self._n_nested += inside
        if self._n_graphs > 1:
            self.refuse("there is a second <graph> in it", "keep one graph a file")
        if not inside:
            self._default_directed = attributes.get("edgedefault", "undirected") == "directed"

    def _start_node(self, attributes: dict[str, str]) -> None:
        self._choose()
        if not attributes.get("id"):
            self.refuse("the node has no id")
        label = None if self._label_key is None else self._keys[self._label_key].default
        self._elements.append(_Element(self.parser.CurrentLineNumber, key=attributes["id"], label=label))

    def _start_edge(self, attributes: dict[str, str]) -> None:
        self._choose()
        for end in ("source", "target"):
            if not attributes.get(end):
                self.refuse(f"the edge has no {end}")
        directed = attributes.get("directed")
        self._directions.add(self._default_directed if directed is None else directed in ("true", "1"))
        weight = None if self._weight_key is None else self._keys[self._weight_key].default
        ends = attributes["source"], attributes["target"]
        self._elements.append(_Element(self.parser.CurrentLineNumber, ends=ends, weight=weight))

    def _start_data(self, attributes: dict[str, str]) -> None:
        parent, key = self._open[-2:-1], attributes.get("key")
        if key is not None and parent == ["node"] and key == self._label_key:
            self._capture("label")
        elif key is not None and parent == ["edge"] and key == self._weight_key:
            self._capture("weight")

    def _start_label(self, _: dict[str, str]) -> None:
        if self._label_key is None and self._elements and "edge" not in self._open and not self._elements[-1].label:
            self._capture("label")

    def _start_hyperedge(self, _: dict[str, str]) -> None:
        self.refuse("it has hyperedges", "write each as the edges between its ends")

    def _start_port(self, _: dict[str, str]) -> None:
        self._n_ports += 1

    def _add_edge(self, edge: _Element) -> None:
        weight = None
        if edge.weight and self._weight_key is not None:
            weight = as_weight(edge.weight, self._keys[self._weight_key].name, self._path, edge.line)
        self._graph.add_edge(*edge.ends, weight, edge.line)

    def _choose(self) -> None:
        """Which of the declared attributes is the label, and which the weight; once, before the first node or edge."""
        if self._chosen:
            return
        self._chosen = True
        named = self._named("node", lambda name: name.lower())
        self._label_key = next((named[name] for name in _LABELS if name in named), None)
        wanted = self._config.weight
        if wanted is None:
            named = self._named("edge", lambda name: name.lower())
            self._weight_key = next((named[name] for name in WEIGHTS if name in named), None)
        elif wanted != NO_WEIGHT:
            named = self._named("edge", lambda name: name)
            if wanted not in named:
                have = f"edges have {', '.join(map(shown, list(named)[:20]))}" if named else "edges have no attributes"
                self.refuse(f"edges have no attribute {wanted!r}", have)
            self._weight_key = named[wanted]

    def _named(self, of: str, form: Callable[[str], str]) -> dict[str, str]:
        """Attribute name -> key, of the first with that name."""
        named: dict[str, str] = {}
        for key, declared in self._keys.items():
            if declared.of in (of, "all"):
                named.setdefault(form(declared.name), key)
        return named
